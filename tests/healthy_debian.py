"""Healthy machines with Ubuntu and Debian, by package and by NVIDIA's .run file."""

from pathlib import Path

from family_machines import Files, dkms
from healthy_machines import DESKTOP, INTEL, L40S, LAPTOP, T4, UBUNTU_CORE, Running, answers, bus, listed, running
from healthy_parts import BLACKLIST, MULTIARCH, gcc, gsp, kernel, libraries, loaded, modules, secure_boot, system

from gpudoctor.facts.packages import Package

NOBLE = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n'
JAMMY = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n'
BOOKWORM = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
GCC_13 = "gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)"
NOBLE_GCC = "x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0"
JAMMY_GCC = "x86_64-linux-gnu-gcc-12 (Ubuntu 12.3.0-1ubuntu1~22.04) 12.3.0"
BOOKWORM_GCC = "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"


def noble_packages(version: str, *kernels: str) -> dict[str, str]:
    """As a real laptop of 2025 had them."""
    own = f"{version}-0ubuntu0.24.04.3"
    names = (
        *("libnvidia-cfg1-580", "libnvidia-common-580:all", "libnvidia-compute-580", "libnvidia-compute-580:i386"),
        *("libnvidia-decode-580", "libnvidia-decode-580:i386", "libnvidia-encode-580", "libnvidia-encode-580:i386"),
        *("libnvidia-extra-580", "libnvidia-fbc1-580", "libnvidia-fbc1-580:i386", "libnvidia-gl-580"),
        *("libnvidia-gl-580:i386", "nvidia-compute-utils-580", "nvidia-driver-580-open", "nvidia-utils-580"),
        *(f"nvidia-firmware-580-{version}", "nvidia-kernel-common-580", "nvidia-kernel-source-580-open"),
        "xserver-xorg-video-nvidia-580",
    )
    found = dict.fromkeys(names, own)
    found["libnvidia-egl-wayland1"] = "1:1.1.13-1ubuntu0.1"
    found["libnvidia-egl-wayland1:i386"] = "1:1.1.13-1ubuntu0.1"
    found |= {"nvidia-prime:all": "0.8.17.2", "nvidia-settings": "510.47.03-0ubuntu4"}
    found |= {"screen-resolution-extra:all": "0.18.3ubuntu0.24.04.1", "gcc-13": "13.3.0-6ubuntu2~24.04"}
    found |= {"shim-signed": "1.58+15.8-0ubuntu1", "mokutil": "0.6.0-2build3", "cuda-toolkit-13-0": "13.0.2-1"}
    newest = kernels[0].removesuffix("-generic").replace("-", ".", 2)
    for name in ("linux-image", "linux-headers"):
        found[f"{name}-generic-hwe-24.04"] = f"{newest}~24.04.1"
    found["linux-modules-nvidia-580-open-generic-hwe-24.04"] = f"{newest}~24.04.1"
    for release in kernels:
        number = release.removesuffix("-generic")
        for name in ("linux-image", "linux-headers", "linux-modules", "linux-modules-nvidia-580-open"):
            found[f"{name}-{release}"] = f"{number}.{number.rpartition('-')[2]}~24.04.1"
        found[f"linux-objects-nvidia-580-open-{release}"] = f"{number}.{number.rpartition('-')[2]}~24.04.1"
        found[f"linux-signatures-nvidia-{release}"] = f"{number}.{number.rpartition('-')[2]}~24.04.1+1"
    return found


NOBLE_REMOVED = {
    "linux-image-6.11.0-29-generic": "6.11.0-29.29~24.04.1",
    "nvidia-kernel-common-570": "570.158.01-0ubuntu0.24.04.1",
    "nvidia-compute-utils-570": "570.158.01-0ubuntu0.24.04.1",
}
NOBLE_HISTORY = """
Start-Date: 2026-11-18  06:12:01
Commandline: /usr/bin/unattended-upgrade
Install: linux-image-6.14.0-37-generic:amd64 (6.14.0-37.37~24.04.1, automatic), \
linux-modules-nvidia-580-open-6.14.0-37-generic:amd64 (6.14.0-37.37~24.04.1, automatic)
Upgrade: libnvidia-compute-580:amd64 (580.82.07-0ubuntu0.24.04.1, 580.95.05-0ubuntu0.24.04.3), \
libnvidia-compute-580:i386 (580.82.07-0ubuntu0.24.04.1, 580.95.05-0ubuntu0.24.04.3)
End-Date: 2026-11-18  06:15:44
"""


def noble_desktop(running_kernel: str, newest: str, version: str = "580.95.05", user: int = 0) -> Files:
    """Ready-made modules of Canonical for both kernels; driver 570 was here before."""
    files = system(NOBLE, running_kernel, NOBLE_GCC, user=user)
    releases = sorted({running_kernel, newest}, reverse=True)
    for release in releases:
        files |= kernel(release) | modules(release, "kernel/nvidia-580-open", version, suffix=".zst", signed=True)
        bits = f"/lib/modules/{release}/kernel/nvidia-580-open/bits"
        files |= {f"{bits}/{name}.o": "" for name in ("nvidia", "nvidia-modeset")}
    files |= {"/boot/vmlinuz": f"-> vmlinuz-{newest}", "/etc/default/grub": "GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\n"}
    entries = "".join(
        f"menuentry 'Ubuntu, with Linux {release}' --class gnu {{\n\tlinux /boot/vmlinuz-{release} root=UUID=0a\n}}\n"
        for release in releases
    )
    files["/boot/grub/grub.cfg"] = 'set default="0"\n' + entries
    files |= gcc("gcc-13") | gsp(version, suffix=".zst")
    files |= loaded(version, compiler=GCC_13) | secure_boot()
    files |= libraries(version, cached=[MULTIARCH, "/usr/lib/i386-linux-gnu"])
    files[f"/usr/lib/i386-linux-gnu/libcuda.so.{version}"] = ""
    files["/usr/lib/i386-linux-gnu/libcuda.so.1"] = f"-> libcuda.so.{version}"
    files["/lib/modprobe.d/nvidia-graphics-drivers.conf"] = BLACKLIST
    files["/lib/modprobe.d/nvidia-kms.conf"] = "options nvidia-drm modeset=1\n"
    files["/lib/modprobe.d/nvidia-runtimepm.conf"] = 'options nvidia "NVreg_DynamicPowerManagement=0x02"\n'
    files |= {"/etc/prime-discrete": "on-demand\n", "/var/log/apt/history.log": NOBLE_HISTORY}
    return files


def ubuntu_laptop(folder: Path, user: int) -> Running:
    version = "580.95.05"
    files = noble_desktop("6.14.0-37-generic", "6.14.0-37-generic", user=user)
    older = "6.14.0-36-generic"
    files |= kernel(older) | modules(older, "kernel/nvidia-580-open", version, suffix=".zst", signed=True)
    files |= bus([LAPTOP], others=INTEL)
    packages = listed(noble_packages(version, "6.14.0-37-generic", older), {"": UBUNTU_CORE}, removed=NOBLE_REMOVED)
    said = answers([LAPTOP], version, MULTIARCH)
    return running(folder, files, packages=packages, cards=[LAPTOP], said=said, user=user)


def ubuntu_server_mok(folder: Path, user: int) -> Running:
    release, version, key = "6.8.0-87-generic", "570.195.03", b"\x30\x82 a certificate of this machine's owner"
    files = system(JAMMY, release, JAMMY_GCC, user=user) | kernel(release) | kernel("6.8.0-85-generic")
    for number in (release, "6.8.0-85-generic"):
        files |= modules(number, "updates/dkms", version, is_open=False, signed=True)
    files |= dkms("nvidia", version, built=[release, "6.8.0-85-generic"]) | gcc("gcc-12") | gsp(version)
    files |= loaded(version, is_open=False, compiler="gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04.2)")
    files |= secure_boot(own_key=key) | {"/var/lib/shim-signed/mok/MOK.der": key}
    files |= libraries(version) | bus([T4, T4._replace(address="0000:af:00.0")])
    own = f"{version}-0ubuntu0.22.04.1"
    names = (
        *("libnvidia-cfg1-570-server", "libnvidia-common-570-server:all", "libnvidia-compute-570-server"),
        *("libnvidia-decode-570-server", "libnvidia-encode-570-server", "libnvidia-extra-570-server"),
        *("libnvidia-fbc1-570-server", "libnvidia-gl-570-server", "nvidia-compute-utils-570-server"),
        *("nvidia-dkms-570-server", "nvidia-driver-570-server", f"nvidia-firmware-570-server-{version}"),
        *("nvidia-kernel-common-570-server", "nvidia-kernel-source-570-server", "nvidia-utils-570-server"),
        "xserver-xorg-video-nvidia-570-server",
    )
    packages = dict.fromkeys(names, own) | {"dkms:all": "2.8.7-2ubuntu2.2", "gcc-12": "12.3.0-1ubuntu1~22.04.2"}
    packages |= {
        "nvidia-container-toolkit": "1.18.0-1",
        "libnvidia-container1": "1.18.0-1",
        "shim-signed": "1.51.4+15.8",
    }
    packages |= {f"linux-image-{release}": "6.8.0-87.88~22.04.1", f"linux-headers-{release}": "6.8.0-87.88~22.04.1"}
    packages |= {"linux-image-generic-hwe-22.04": "6.8.0-87.88~22.04.1", "linux-firmware:all": "20220329.git681281e4"}
    files |= {"/lib/modprobe.d/nvidia-graphics-drivers.conf": BLACKLIST}
    cards = [T4, T4._replace(address="0000:af:00.0")]
    return running(
        folder,
        files,
        packages=listed(packages, {"": UBUNTU_CORE}),
        cards=cards,
        said=answers(cards, version, MULTIARCH, cuda=12080),
        user=user,
    )


def ubuntu_nvidia_repository(folder: Path, user: int) -> Running:
    """NVIDIA's packages since 580 carry no branch in their names."""
    release, version = "6.8.0-87-generic", "590.48.01"
    files = system(NOBLE, release, NOBLE_GCC, user=user) | kernel(release)
    files |= modules(release, "updates/dkms", version, suffix=".zst") | dkms("nvidia", version, built=[release])
    files |= gcc("gcc-13") | gsp(version) | loaded(version, compiler=GCC_13) | libraries(version) | bus([L40S])
    names = (
        *("cuda-drivers", "nvidia-open", "nvidia-driver-open", "nvidia-dkms-open", "nvidia-kernel-source-open:all"),
        *("libnvidia-compute", "libnvidia-cfg1", "libnvidia-common:all", "libnvidia-decode", "libnvidia-encode"),
        *("libnvidia-extra", "libnvidia-fbc1", "libnvidia-gl", "libnvidia-gpucomp", "nvidia-driver-cuda"),
        *("nvidia-firmware", "nvidia-kernel-common", "nvidia-modprobe", "nvidia-persistenced", "nvidia-settings"),
        *("xserver-xorg-video-nvidia", "nvidia-xconfig"),
    )
    packages = dict.fromkeys(names, f"{version}-1ubuntu1")
    packages |= {
        "libnvidia-egl-wayland1": "1:1.1.20-1",
        "libnvidia-egl-gbm1": "1.1.2.1-1",
        "cuda-toolkit-13-1": "13.1.0-1",
    }
    packages |= {
        "dkms:all": "1:3.2.2-1ubuntu1",
        "gcc-13": "13.3.0-6ubuntu2~24.04",
        "linux-image-generic": "6.8.0-87.88",
    }
    packages |= {f"linux-image-{release}": "6.8.0-87.88", f"linux-headers-{release}": "6.8.0-87.88"}
    packages |= {
        "nvidia-fabricmanager": f"{version}-1",
        "libnvidia-nscq": f"{version}-1",
        "nvidia-imex": f"{version}-1",
    }
    packages |= {"datacenter-gpu-manager-4-core": "1:4.4.2-1", "cuda-keyring:all": "1.1-1"}
    files["/usr/lib/modprobe.d/nvidia-graphics-drivers.conf"] = BLACKLIST
    found = listed(
        packages, {"": "NVIDIA CORPORATION <cudatools@nvidia.com>", "linux": UBUNTU_CORE, "gcc": UBUNTU_CORE}
    )
    return running(folder, files, packages=found, cards=[L40S], said=answers([L40S], version, MULTIARCH), user=user)


def bookworm_files(release: str, version: str, user: int, *others: str) -> tuple[Files, list[Package]]:
    files = system(BOOKWORM, release, BOOKWORM_GCC, user=user) | kernel(release)
    for number in others:
        files |= kernel(number)
    files |= modules(release, "updates/dkms", version, prefix="nvidia-current-open") | libraries(version)
    files |= dkms("nvidia-current-open", version, built=[release]) | gcc("gcc-12") | gsp(version)
    files |= loaded(version, compiler="gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)") | {
        "/vmlinuz": f"-> boot/vmlinuz-{release}"
    }
    own = f"{version}-0+deb12u1"
    names = (
        *("firmware-nvidia-gsp", "libcuda1", "libnvidia-ml1", "libnvidia-ptxjitcompiler1", "nvidia-alternative"),
        *("nvidia-open-kernel-dkms", "nvidia-open-kernel-support", "nvidia-smi", "nvidia-driver-bin", "libnvcuvid1"),
        *("nvidia-driver-libs", "nvidia-driver", "libgl1-nvidia-glvnd-glx", "nvidia-kernel-support"),
    )
    packages = dict.fromkeys(names, own) | {"nvidia-modprobe": "535.161.07-1~deb12u1", "dkms:all": "3.0.10-8+deb12u1"}
    packages |= {
        "nvidia-persistenced": "535.171.04-1~deb12u1",
        "glx-alternative-nvidia": "1.2.2",
        "gcc-12": "12.2.0-14+deb12u1",
    }
    packages |= {"nvidia-settings": "535.171.04-1~deb12u1", "nvidia-installer-cleanup": "20220217+3~deb12u1"}
    for number in (release, *others):
        packages |= {f"linux-image-{number}": "6.1.159-1", f"linux-headers-{number}": "6.1.159-1"}
    packages |= {"linux-image-amd64": "6.1.159-1", "linux-headers-amd64": "6.1.159-1"}
    files["/etc/modprobe.d/nvidia-blacklists-nouveau.conf"] = "-> /etc/alternatives/glx--nvidia-blacklists-nouveau.conf"
    files["/etc/alternatives/glx--nvidia-blacklists-nouveau.conf"] = "-> /etc/nvidia/nvidia-blacklists-nouveau.conf"
    files["/etc/nvidia/nvidia-blacklists-nouveau.conf"] = "blacklist nouveau\n"
    files["/etc/modprobe.d/nvidia.conf"] = (
        "alias nvidia nvidia-current-open\noptions nvidia-current-open NVreg_OpenRmEnableUnsupportedGpus=1\n"
    )
    makers = {"": "Debian NVIDIA Maintainers <pkg-nvidia-devel@lists.alioth.debian.org>", "linux": "Debian Kernel Team"}
    return files | bus([DESKTOP]), listed(packages, makers)


def debian_open(folder: Path, user: int) -> Running:
    files, found = bookworm_files("6.1.0-41-amd64", "535.261.03", user)
    return running(
        folder,
        files,
        packages=found,
        cards=[DESKTOP],
        said=answers([DESKTOP], "535.261.03", MULTIARCH, cuda=12020),
        user=user,
    )


def debian_older_kernel_bare(folder: Path, user: int) -> Running:
    """The kernel before this one never got a module: nobody will boot it."""
    files, found = bookworm_files("6.1.0-41-amd64", "535.261.03", user, "6.1.0-38-amd64")
    return running(
        folder,
        files,
        packages=found,
        cards=[DESKTOP],
        said=answers([DESKTOP], "535.261.03", MULTIARCH, cuda=12020),
        user=user,
    )


def runfile(folder: Path, user: int, *, with_dkms: bool) -> Running:
    release, version = "6.8.0-87-generic", "580.95.05"
    files = system(NOBLE, release, NOBLE_GCC, user=user) | kernel(release)
    files |= modules(release, "updates/dkms" if with_dkms else "kernel/drivers/video", version)
    files |= dkms("nvidia", version, built=[release]) if with_dkms else {}
    files |= gcc("gcc-13") | gsp(version) | loaded(version, compiler=GCC_13) | libraries(version) | bus([DESKTOP])
    files |= {"/var/lib/nvidia/log": f"1.0-5809505 ({version})\nX.Org\n", "/var/lib/nvidia/dirs": "/usr/lib\n"}
    files |= {"/usr/bin/nvidia-uninstall": "-> nvidia-installer", "/usr/bin/nvidia-installer": ""}
    files["/var/log/nvidia-installer.log"] = f"nvidia-installer log file\ninstaller version: {version}\nsuccess\n"
    files["/usr/lib/modprobe.d/nvidia-installer-disable-nouveau.conf"] = (
        "blacklist nouveau\noptions nouveau modeset=0\n"
    )
    packages = {f"linux-image-{release}": "6.8.0-87.88", f"linux-headers-{release}": "6.8.0-87.88"}
    packages |= {
        "linux-image-generic": "6.8.0-87.88",
        "gcc-13": "13.3.0-6ubuntu2~24.04",
        "cuda-toolkit-13-0": "13.0.2-1",
    }
    packages |= {"dkms:all": "3.0.11-1ubuntu13"} if with_dkms else {}
    found = listed(packages | {"nvidia-container-toolkit": "1.18.0-1"}, {"": UBUNTU_CORE})
    said = answers([DESKTOP], version, MULTIARCH)
    made = running(folder, files, packages=found, cards=[DESKTOP], said=said, user=user)
    (folder / "var/lib/nvidia").chmod(0o700)  # as the installer makes it
    return made


def runfile_plain(folder: Path, user: int) -> Running:
    return runfile(folder, user, with_dkms=False)


def runfile_dkms(folder: Path, user: int) -> Running:
    return runfile(folder, user, with_dkms=True)
