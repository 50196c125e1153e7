"""Healthy servers and unusual installations: held drivers, batch jobs, drivers in containers, old GPUs, ostree, Gentoo."""

from pathlib import Path

from family_machines import dkms
from healthy_kinds import (
    FEDORA,
    FEDORA_GCC,
    GCC_13,
    INTEL,
    MULTIARCH,
    NOBLE,
    NOBLE_GCC,
    NOBLE_HISTORY,
    UBUNTU_CORE,
    gcc,
    gsp,
    noble_desktop,
    noble_packages,
)
from healthy_machines import (
    DESKTOP,
    L40S,
    LAPTOP,
    T4,
    Card,
    Files,
    Running,
    answers,
    bus,
    kernel,
    libraries,
    listed,
    loaded,
    modules,
    running,
    system,
)
from healthy_places import H200

from gpudoctor.facts.packages import Package

SERVER = "6.8.0-87-generic"
EIGHT = tuple(card._replace(listed=True) for card in H200)


def server_files(version: str, cards: tuple[Card, ...], user: int, *, is_open: bool = True) -> Files:
    files = system(NOBLE, SERVER, NOBLE_GCC, arguments="ro console=ttyS0", user=user) | kernel(SERVER)
    files |= modules(SERVER, "updates/dkms", version, suffix=".zst", is_open=is_open)
    files |= dkms("nvidia", version, built=[SERVER]) | gcc("gcc-13") | gsp(version) | libraries(version)
    files |= loaded(version, is_open=is_open, compiler=GCC_13) | bus(cards, nvswitches=4)
    return files | {"/lib/modprobe.d/nvidia-graphics-drivers.conf": "blacklist nouveau\nalias nouveau off\n"}


def server_packages(version: str, branch: str, *, held: tuple[str, ...] = (), flavour: str = "-open") -> list[Package]:
    """Ubuntu's server set with the dependencies that tie it together."""
    own = f"{version}-0ubuntu0.24.04.1"
    exact = {
        f"libnvidia-compute-{branch}": (),
        f"libnvidia-cfg1-{branch}": (),
        f"libnvidia-decode-{branch}": (f"libnvidia-compute-{branch}",),
        f"libnvidia-encode-{branch}": (f"libnvidia-decode-{branch}",),
        f"libnvidia-fbc1-{branch}": (f"libnvidia-gl-{branch}",),
        f"libnvidia-gl-{branch}": (),
        f"libnvidia-extra-{branch}": (),
        f"xserver-xorg-video-nvidia-{branch}": (f"libnvidia-cfg1-{branch}",),
        f"nvidia-compute-utils-{branch}": (f"libnvidia-compute-{branch}",),
        f"nvidia-utils-{branch}": (f"libnvidia-compute-{branch}",),
        f"nvidia-kernel-common-{branch}": (f"nvidia-firmware-{branch}-{version}",),
        f"nvidia-kernel-source-{branch}{flavour}": (),
        f"nvidia-dkms-{branch}{flavour}": (f"nvidia-kernel-source-{branch}{flavour}",),
        f"nvidia-firmware-{branch}-{version}": (),
        f"libnvidia-common-{branch}:all": (),
    }
    top = f"nvidia-driver-{branch}{flavour}"
    parts = [name for name in exact if not name.startswith(("nvidia-firmware", "libnvidia-common", "nvidia-dkms"))]
    depends = {name: tuple(f"{other} (= {own})" for other in others) for name, others in exact.items()}
    depends[top] = tuple(f"{name} (= {own})" for name in parts)
    packages = dict.fromkeys((*exact, top), own)
    packages |= {f"linux-image-{SERVER}": "6.8.0-87.88", f"linux-headers-{SERVER}": "6.8.0-87.88"}
    packages |= {"linux-image-generic": "6.8.0-87.88", "dkms:all": "3.0.11-1ubuntu13", "gcc-13": "13.3.0-6ubuntu2~24.04"}
    packages |= {f"nvidia-fabricmanager-{branch.partition('-')[0]}": own, "nvidia-container-toolkit": "1.18.0-1"}
    packages |= {f"libnvidia-nscq-{branch.partition('-')[0]}": own}
    found = listed(packages, {"": UBUNTU_CORE}, depends=depends)
    return [package._replace(hold=package.name.startswith(held)) if held else package for package in found]


def held_server(folder: Path, user: int) -> Running:
    """Eight H200; the driver's packages are on hold, as guides have it: but for those that nobody thinks of."""
    version, branch = "580.95.05", "580-server"
    held = (f"nvidia-driver-{branch}", f"nvidia-dkms-{branch}", f"nvidia-kernel-common-{branch}", f"nvidia-utils-{branch}")
    held += (f"nvidia-compute-utils-{branch}", f"libnvidia-compute-{branch}", f"libnvidia-gl-{branch}", "nvidia-fabric")
    files = server_files(version, EIGHT, user)
    said = answers(EIGHT, version, MULTIARCH)
    return running(folder, files, packages=server_packages(version, branch, held=held), cards=EIGHT, said=said, user=user)


def slurm_job(folder: Path, user: int) -> Running:
    """The same server, seen from a job that was given one GPU: device files of all are there, those of others refuse."""
    version = "580.95.05"
    files = server_files(version, H200, user)
    files["/proc/self/cgroup"] = "0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n"
    said = answers(H200, version, MULTIARCH)
    packages = server_packages(version, "580-server")
    return running(folder, files, packages=packages, cards=H200, said=said, minors=range(8), user=user)


def apptainer(folder: Path, user: int) -> Running:
    """`apptainer exec --nv` on that server: the libraries are bound to a folder of its own."""
    version, place = "580.95.05", "/.singularity.d/libs"
    files = server_files(version, EIGHT, user) | libraries(version, place, cached=[])
    for path in [path for path in files if path.startswith(("/lib/modules", f"{MULTIARCH}/libcuda", f"{MULTIARCH}/libnvidia", "/boot/", "/var/lib/dkms", "/usr/src"))]:
        del files[path]
    files["/etc/ld.so.cache"] = b""
    files["/proc/self/mountinfo"] = (
        "1201 1160 0:96 / / ro,nosuid,nodev,relatime - overlay overlay ro,lowerdir=/var/lib/apptainer/mnt/session/overlay-lowerdir"
        ":/var/lib/apptainer/mnt/session/rootfs\n"
    )
    said = answers(EIGHT, version, place)
    packages = listed({"gcc-13": "13.3.0-6ubuntu2~24.04"}, {"": UBUNTU_CORE})
    return running(folder, files, packages=packages, cards=EIGHT, said=said, user=user)


def lxc_guest(folder: Path, user: int) -> Running:
    """Proxmox: the host's device files are bound in, the libraries are the guest's own packages."""
    version = "580.95.05"
    files = server_files(version, (L40S,), user) | {"/run/systemd/container": "lxc\n", "/proc/self/cgroup": "0::/init.scope\n"}
    for path in [path for path in files if path.startswith(("/lib/modules", "/boot/v", "/boot/i", "/var/lib/dkms", "/usr/src"))]:
        del files[path]
    packages = listed(dict.fromkeys(("libnvidia-compute-580", "nvidia-utils-580"), f"{version}-0ubuntu0.24.04.3"), {"": UBUNTU_CORE})
    said = answers([L40S], version, MULTIARCH)
    return running(folder, files, packages=packages, cards=[L40S], said=said, user=user)


def headless_cloud(folder: Path, user: int) -> Running:
    """What clouds install: a ready-made module of the server branch, compute libraries, no graphics."""
    release, version = "6.14.0-1017-gcp", "570.195.03"
    files = system(NOBLE, release, NOBLE_GCC, user=user) | kernel(release, headers="")
    files |= modules(release, "kernel/nvidia-570srv-open", version, signed=True) | gsp(version)
    files |= loaded(version, compiler=GCC_13) | libraries(version) | bus([T4])
    own = f"{version}-0ubuntu0.24.04.1"
    names = ("libnvidia-cfg1", "libnvidia-compute", "nvidia-compute-utils", "nvidia-kernel-common", "nvidia-utils")
    packages = {f"{name}-570-server": own for name in names}
    packages |= {f"nvidia-firmware-570-server-{version}": own, "nvidia-headless-no-dkms-570-server-open": own}
    packages |= {f"linux-modules-nvidia-570-server-open-{release}": "6.14.0-1017.18~24.04.1"}
    packages |= {"linux-modules-nvidia-570-server-open-gcp": "6.14.0-1017.18~24.04.1", "linux-image-gcp": "6.14.0-1017.18"}
    packages |= {f"linux-image-{release}": "6.14.0-1017.18~24.04.1", f"linux-objects-nvidia-570-server-open-{release}": "6.14"}
    said = answers([T4], version, MULTIARCH, cuda=12080)
    return running(folder, files, packages=listed(packages, {"": UBUNTU_CORE}), cards=[T4], said=said, user=user)


def pascal(folder: Path, user: int) -> Running:
    """A GPU that only the proprietary modules of branch 580 and older serve."""
    card = Card("0000:01:00.0", "1b80", "NVIDIA GeForce GTX 1080", display=True)
    version = "580.95.05"
    files = server_files(version, (card,), user, is_open=False)
    packages = server_packages(version, "580", flavour="")
    return running(folder, files, packages=packages, cards=[card], said=answers([card], version, MULTIARCH), user=user)


def kepler(folder: Path, user: int) -> Running:
    """A GPU that branch 470 serves last."""
    card = Card("0000:05:00.0", "102d", "Tesla K80")
    version = "470.256.02"
    files = server_files(version, (card,), user, is_open=False)
    for path in [path for path in files if "/firmware/" in path]:
        del files[path]
    packages = server_packages(version, "470-server", flavour="")
    packages = [package for package in packages if not package.name.startswith("nvidia-firmware")]
    packages = [p._replace(depends=tuple(d for d in p.depends if "firmware" not in d)) for p in packages]
    said = answers([card], version, MULTIARCH, cuda=11040)
    return running(folder, files, packages=packages, cards=[card], said=said, user=user)


def silverblue(folder: Path, user: int) -> Running:
    """Fedora as one image: kernels lie with their modules, /boot has copies under other names."""
    release, version = "6.17.5-200.fc42.x86_64", "580.95.05"
    files = system(FEDORA.replace("Workstation", "Silverblue"), release, FEDORA_GCC, user=user)
    files |= {f"/lib/modules/{release}/vmlinuz": "", f"/lib/modules/{release}/initramfs.img": "", "/ostree/repo/config": ""}
    files |= {f"/boot/ostree/fedora-0a1b2c/vmlinuz-{release}": "", "/usr/bin/gcc": ""}
    files |= modules(release, "extra/nvidia", version, suffix=".xz", signed=True) | libraries(version, "/usr/lib64")
    files |= loaded(version, compiler="gcc version 15.2.1 (GCC)") | gsp(version, "/usr/lib/firmware/nvidia") | bus([DESKTOP])
    own = f"3:{version}-1.fc42"
    names = ("xorg-x11-drv-nvidia", "xorg-x11-drv-nvidia-cuda", "xorg-x11-drv-nvidia-cuda-libs", "xorg-x11-drv-nvidia-libs")
    packages = dict.fromkeys((*names, f"kmod-nvidia-{release}", "nvidia-modprobe"), own)
    packages |= {"kernel-core": "6.17.5-200.fc42", "kernel-devel": "6.17.5-200.fc42"}
    found = listed(packages, {"": "RPM Fusion", "kernel": "Fedora Project"})
    said = answers([DESKTOP], version, "/usr/lib64")
    return running(folder, files, manager="rpm", packages=found, cards=[DESKTOP], said=said, user=user)


def gentoo(folder: Path, user: int) -> Running:
    """No package manager that gpudoctor knows."""
    release, version = "6.12.57-gentoo-dist", "580.95.05"
    files = system('ID=gentoo\nPRETTY_NAME="Gentoo Linux"\n', release, "gcc (Gentoo 14.3.0 p8) 14.3.0", user=user)
    files |= kernel(release, initramfs="initramfs-{}.img", headers="/usr/src/linux-{}")
    files |= modules(release, "video", version, suffix=".xz") | libraries(version, "/usr/lib64") | {"/usr/bin/gcc": ""}
    files |= loaded(version, compiler="gcc version 14.3.0 (Gentoo 14.3.0 p8)") | gsp(version) | bus([DESKTOP])
    files["/var/db/pkg/x11-drivers/nvidia-drivers-580.95.05/PF"] = "nvidia-drivers-580.95.05\n"
    said = answers([DESKTOP], version, "/usr/lib64")
    return running(folder, files, manager="", cards=[DESKTOP], said=said, user=user)


def upgrade_running(folder: Path, user: int) -> Running:
    """unattended-upgrade is unpacking a new driver this minute; the old one is loaded and worked a moment ago."""
    old, new, release = "580.82.07", "580.95.05", "6.14.0-37-generic"
    files = noble_desktop(release, release, old, user) | bus([LAPTOP], others=INTEL)
    for path in [path for path in files if path.startswith(MULTIARCH)]:
        del files[path]
    files |= libraries(new) | modules(release, "kernel/nvidia-580-open", new, suffix=".zst", signed=True)
    files["/var/log/apt/history.log"] = NOBLE_HISTORY.rpartition("End-Date")[0]
    files |= {"/proc/locks": "1: FLOCK  ADVISORY  WRITE 914 00:1a:1021 0 EOF\n"
              "2: POSIX  ADVISORY  WRITE 2811 fd:01:1180313 0 EOF\n2: -> POSIX  ADVISORY  WRITE 2990 fd:01:1180313 0 EOF\n"}
    files |= {"/proc/914/comm": "cron\n", "/proc/2811/comm": "unattended-upgr\n"}
    packages = listed(noble_packages(old, release), {"": UBUNTU_CORE})
    fresh = ("libnvidia-compute-580", "libnvidia-gl-580", "nvidia-kernel-common-580", "nvidia-utils-580")
    packages = [
        package._replace(version=package.version.replace(old, new), state="unpacked") if package.name in fresh else package
        for package in packages
    ]
    said = answers([LAPTOP], old, MULTIARCH)
    said["nvml"] |= {"return_code": 18, "return_name": "NVML_ERROR_LIB_RM_VERSION_MISMATCH", "gpus": []}
    said["cuda"] |= {"return_code": 803, "return_name": "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "device_count": 0}
    return running(folder, files, packages=packages, cards=[LAPTOP], said=said, user=user)
