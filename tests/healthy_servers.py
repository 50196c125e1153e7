"""Healthy servers: held drivers, batch jobs and what they share a machine with, clouds, old GPUs."""

from pathlib import Path

from family_machines import Files, dkms
from healthy_debian import GCC_13, NOBLE, NOBLE_GCC
from healthy_machines import EIGHT, H200, L40S, T4, UBUNTU_CORE, Card, Running, answers, bus, listed, running
from healthy_parts import MULTIARCH, gcc, gsp, kernel, libraries, loaded, modules, system

from gpudoctor.facts.packages import Package

SERVER = "6.8.0-87-generic"


# What a container does not see of its host.
OF_THE_HOST = ("/lib/modules", "/boot/v", "/boot/i", "/var/lib/dkms", "/usr/src")


def without(files: Files, *beginnings: str) -> Files:
    return {path: content for path, content in files.items() if not path.startswith(beginnings)}


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
    packages |= {
        "linux-image-generic": "6.8.0-87.88",
        "dkms:all": "3.0.11-1ubuntu13",
        "gcc-13": "13.3.0-6ubuntu2~24.04",
    }
    packages |= {f"nvidia-fabricmanager-{branch.partition('-')[0]}": own, "nvidia-container-toolkit": "1.18.0-1"}
    packages |= {f"libnvidia-nscq-{branch.partition('-')[0]}": own}
    found = listed(packages, {"": UBUNTU_CORE}, depends=depends)
    return [package._replace(hold=package.name.startswith(held)) if held else package for package in found]


def held_server(folder: Path, user: int) -> Running:
    """Eight H200; the driver's packages are on hold, as guides have it: but for those that nobody thinks of."""
    version, branch = "580.95.05", "580-server"
    held = (
        f"nvidia-driver-{branch}",
        f"nvidia-dkms-{branch}",
        f"nvidia-kernel-common-{branch}",
        f"nvidia-utils-{branch}",
    )
    held += (f"nvidia-compute-utils-{branch}", f"libnvidia-compute-{branch}", f"libnvidia-gl-{branch}", "nvidia-fabric")
    files = server_files(version, EIGHT, user)
    files["/proc/self/mountinfo"] = (
        "29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
        "812 29 0:61 / /var/lib/docker/overlay2/0a1b/merged rw - overlay overlay rw,lowerdir=/var/lib/docker/x\n"
    )
    said = answers(EIGHT, version, MULTIARCH)
    return running(
        folder, files, packages=server_packages(version, branch, held=held), cards=EIGHT, said=said, user=user
    )


def slurm_job(folder: Path, user: int) -> Running:
    """The same server, seen from a job that was given one GPU: the device files of the others are there, and refuse."""
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
    files = without(files, *OF_THE_HOST, f"{MULTIARCH}/lib")
    files["/etc/ld.so.cache"] = b""
    files["/proc/self/mountinfo"] = (
        "1201 1160 0:96 / / ro,nosuid,nodev,relatime - overlay overlay ro,"
        "lowerdir=/var/lib/apptainer/mnt/session/overlay-lowerdir:/var/lib/apptainer/mnt/session/rootfs\n"
    )
    said = answers(EIGHT, version, place)
    packages = listed({"gcc-13": "13.3.0-6ubuntu2~24.04"}, {"": UBUNTU_CORE})
    return running(folder, files, packages=packages, cards=EIGHT, said=said, user=user)


def lxc_guest(folder: Path, user: int) -> Running:
    """Proxmox: the host's device files are bound in, the libraries are the guest's own packages."""
    version = "580.95.05"
    files = server_files(version, (L40S,), user) | {
        "/run/systemd/container": "lxc\n",
        "/proc/self/cgroup": "0::/init.scope\n",
    }
    files = without(files, *OF_THE_HOST)
    packages = listed(
        dict.fromkeys(("libnvidia-compute-580", "nvidia-utils-580"), f"{version}-0ubuntu0.24.04.3"), {"": UBUNTU_CORE}
    )
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
    packages |= {
        "linux-modules-nvidia-570-server-open-gcp": "6.14.0-1017.18~24.04.1",
        "linux-image-gcp": "6.14.0-1017.18",
    }
    packages |= {
        f"linux-image-{release}": "6.14.0-1017.18~24.04.1",
        f"linux-objects-nvidia-570-server-open-{release}": "6.14",
    }
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
    files = without(files, "/lib/firmware/")
    packages = server_packages(version, "470-server", flavour="")
    packages = [package for package in packages if not package.name.startswith("nvidia-firmware")]
    packages = [p._replace(depends=tuple(d for d in p.depends if "firmware" not in d)) for p in packages]
    said = answers([card], version, MULTIARCH, cuda=11040)
    return running(folder, files, packages=packages, cards=[card], said=said, user=user)
