"""What is installed on real and likely machines, as the package managers' databases tell it."""

from collections.abc import Iterable

from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.system import OperatingSystem

DEBIAN = OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)", "debian")
UBUNTU = OperatingSystem("ubuntu", "24.04", "Ubuntu 24.04.3 LTS", "debian")
FEDORA = OperatingSystem("fedora", "42", "Fedora Linux 42", "fedora")
SUSE = OperatingSystem("opensuse-leap", "15.6", "openSUSE Leap 15.6", "suse")
ARCH = OperatingSystem("arch", "", "Arch Linux", "arch")

# Seen in the archive of Debian 12: main, and what its security updates bring.
OLD, NEW = "535.261.03-1", "535.309.01-0+deb12u1"


def package(
    name: str,
    version: str,
    *depends: str,
    state: str = "installed",
    hold: bool = False,
    vendor: str = "",
    architecture: str = "amd64",
) -> Package:
    return Package(name, version, architecture, state, hold, vendor, depends, state == "removed")


def bookworm(version: str = OLD, modprobe: str = "535.161.07-1~deb12u1") -> dict[str, Package]:
    """Debian 12 with the driver from non-free: the whole list that a real machine had, by name."""
    upstream = version.partition("-")[0]
    alternative = f"nvidia-alternative (= {version})"
    firmware = f"firmware-nvidia-gsp (= {upstream}) | firmware-nvidia-gsp-{upstream}"
    support = "20220217+3~deb12u1"
    found = (
        package("dkms", "3.0.10-8+deb12u1", architecture="all"),
        package("firmware-nvidia-gsp", version),
        package("gcc-12", "12.2.0-14+deb12u1"),
        package("glx-alternative-nvidia", "1.2.2", "update-glx (= 1.2.2)", "glx-diversions (= 1.2.2)"),
        package(
            "libcuda1",
            version,
            "nvidia-support",
            alternative,
            f"libnvidia-ptxjitcompiler1 (= {version})",
            f"libnvidia-pkcs11-openssl3 (= {version})",
            "libc6 (>= 2.34)",
        ),
        package("libnvidia-ml1", version, alternative),
        package("libnvidia-pkcs11-openssl3", version, alternative),
        package("libnvidia-ptxjitcompiler1", version),
        package("linux-headers-6.1.0-50-amd64", "6.1.176-1"),
        package("linux-image-6.1.0-50-amd64", "6.1.176-1"),
        package("linux-image-amd64", "6.1.176-1"),
        package("linux-kbuild-6.1", "6.1.176-1"),
        package("nvidia-alternative", version, "nvidia-legacy-check (>= 495)", "glx-alternative-nvidia (>= 1.2)"),
        package("nvidia-installer-cleanup", support),
        package("nvidia-kernel-common", support),
        package("nvidia-kernel-dkms", version, "nvidia-installer-cleanup", firmware, "nvidia-kernel-support--v1"),
        package("nvidia-kernel-support", version, alternative, "nvidia-modprobe (>= 535)"),
        package("nvidia-legacy-check", version),
        package("nvidia-modprobe", modprobe),
        package("nvidia-smi", version, alternative, f"libnvidia-ml1 (= {version})"),
        package("nvidia-support", support),
    )
    return {one.name: one for one in found}


def bookworm_held() -> Packages:
    """The same after `apt-mark hold nvidia-kernel-dkms` and a real `apt-get dist-upgrade`: two packages stayed."""
    machine = bookworm(NEW, "535.309.01-0+deb12u1")
    old = bookworm(OLD)
    machine["nvidia-kernel-dkms"] = old["nvidia-kernel-dkms"]._replace(hold=True)
    machine["firmware-nvidia-gsp"] = old["firmware-nvidia-gsp"]
    return dpkg(machine.values())


def bookworm_held_back() -> Packages:
    """After the hold and `apt upgrade`: apt kept nearly all back, and moved on what no exact dependency ties."""
    machine = bookworm(OLD, "535.309.01-0+deb12u1")
    machine["nvidia-kernel-dkms"] = machine["nvidia-kernel-dkms"]._replace(hold=True)
    machine["nvidia-legacy-check"] = machine["nvidia-legacy-check"]._replace(version=NEW)
    return dpkg(machine.values())


def tesla_470() -> Packages:
    """Debian 12 with the legacy driver 470 and kernel 6.12, for which it could not be built."""
    version = "470.256.02-1~deb12u1"
    firmware = "firmware-nvidia-tesla-470-gsp (= 470.256.02) | firmware-nvidia-gsp-470.256.02"
    return dpkg(
        (
            package("dkms", "3.0.10-8+deb12u1", architecture="all"),
            package("linux-image-6.12.95+deb12-amd64", "6.12.95-1~bpo12+1"),
            package("nvidia-kernel-common", "20220217+3~deb12u1"),
            package("nvidia-modprobe", "535.161.07-1~deb12u1"),
            package("nvidia-tesla-470-alternative", version),
            package("nvidia-tesla-470-kernel-dkms", version, firmware, state="half-configured"),
            package("nvidia-tesla-470-kernel-support", version, f"nvidia-tesla-470-alternative (= {version})"),
        )
    )


UBUNTU_VERSION = "580.95.05-0ubuntu0.24.04.2"
UBUNTU_DEVELOPERS = "Ubuntu Core Developers <ubuntu-devel-discuss@lists.ubuntu.com>"


def ubuntu(
    branch: str = "580", version: str = UBUNTU_VERSION, flavour: str = "-open", vendor: str = UBUNTU_DEVELOPERS
) -> dict[str, Package]:
    """The desktop driver with DKMS, its dependencies as Ubuntu's packages have them."""
    upstream = version.partition("-")[0]
    parts = ("gl", "compute", "extra", "decode", "encode", "cfg1", "fbc1")
    source, common = f"nvidia-kernel-source-{branch}{flavour}", f"nvidia-kernel-common-{branch}"
    near = [f"{name} ({sign} {end})" for name in (source, common) for sign, end in _near(upstream)]
    top = [f"libnvidia-{part}-{branch} (= {version})" for part in parts]
    top += [f"nvidia-dkms-{branch}{flavour} ({sign} {end})" for sign, end in _near(upstream)]
    top += [f"{name} (= {version})" for name in (source, f"nvidia-compute-utils-{branch}", f"nvidia-utils-{branch}")]
    found = [
        package(f"nvidia-driver-{branch}{flavour}", version, *top),
        package(f"nvidia-dkms-{branch}{flavour}", version, "dkms", *near),
        *(package(f"libnvidia-{part}-{branch}", version) for part in parts),
        *(package(name, version) for name in (source, common, f"nvidia-utils-{branch}")),
        package(f"nvidia-compute-utils-{branch}", version, f"libnvidia-compute-{branch}"),
        package(f"libnvidia-common-{branch}", version, architecture="all"),
        package(f"xserver-xorg-video-nvidia-{branch}", version, f"libnvidia-cfg1-{branch} (= {version})"),
        # Each version leaves its firmware behind until an autoremove.
        package(f"nvidia-firmware-{branch}-{upstream}", version),
        package(f"nvidia-firmware-{branch}-580.82.07", "580.82.07-0ubuntu0.24.04.1"),
        package("nvidia-prime", "0.8.17.2"),
        package("nvidia-settings", "510.47.03-0ubuntu4"),
        package("nvidia-container-toolkit", "1.17.8-1"),
        package("libnvidia-container1", "1.17.8-1"),
        package("libnvidia-egl-wayland1", "1:1.1.13-1build1"),
        package("cuda-toolkit-13-0", "13.0.2-1"),
        package("cuda-compat-13-0", "580.82.07-0ubuntu1"),
        package("linux-image-6.8.0-90-generic", "6.8.0-90.91"),
    ]
    return {one.name: one._replace(vendor=vendor) for one in found}


def _near(upstream: str) -> tuple[tuple[str, str], ...]:
    return (("<=", f"{upstream}-1"), (">=", upstream))


def ubuntu_prebuilt(branch: str = "580-server") -> dict[str, Package]:
    """A server without DKMS: Ubuntu's signed modules for two kernels, and the package that brings the next ones."""
    names = [f"linux-modules-nvidia-{branch}-6.8.0-{number}-generic" for number in (88, 90)]
    machine = ubuntu(branch, flavour="")
    for gone in (f"nvidia-driver-{branch}", f"nvidia-dkms-{branch}"):
        del machine[gone]
    for name, version in zip(names, ("6.8.0-88.89", "6.8.0-90.91+1"), strict=True):
        machine[name] = package(name, version, vendor="Canonical Kernel Team <kernel-team@lists.ubuntu.com>")
    follow = f"linux-modules-nvidia-{branch}-generic"
    machine[follow] = package(follow, "6.8.0-90.91+1", vendor="Canonical Kernel Team <kernel-team@lists.ubuntu.com>")
    return machine


def fedora_rpmfusion(version: str = "3:580.95.05-1.fc42") -> dict[str, Package]:
    """RPM Fusion: a module that akmods built for the last kernel stays behind in its old version."""
    plain = version.partition("-")[0]
    found = (
        package("akmod-nvidia", version, "akmods", f"xorg-x11-drv-nvidia-kmodsrc (= {plain})"),
        package("kmod-nvidia-6.16.8-200.fc42.x86_64", "3:580.82.09-1.fc42"),
        package("kmod-nvidia-6.16.10-200.fc42.x86_64", version),
        package("xorg-x11-drv-nvidia", version, f"nvidia-kmod (>= {plain})"),
        package("xorg-x11-drv-nvidia-cuda", version, f"xorg-x11-drv-nvidia-cuda-libs(x86-64) (= {version})"),
        package("xorg-x11-drv-nvidia-cuda-libs", version),
        package("xorg-x11-drv-nvidia-libs", version),
        package("xorg-x11-drv-nvidia-libs", version, architecture="i686"),
        package("xorg-x11-drv-nvidia-power", version),
        package("xorg-x11-drv-nvidia-kmodsrc", version),
        package("nvidia-settings", "3:580.82.09-1.fc42"),
        package("nvidia-modprobe", "3:580.82.09-1.fc42"),
        package("nvidia-persistenced", "3:580.95.05-2.fc42"),
        package("nvidia-gpu-firmware", "20251011-1.fc42"),
        package("kernel-core", "6.16.10-200.fc42"),
    )
    return {f"{one.name}.{one.architecture}": one._replace(vendor="RPM Fusion") for one in found}


def suse(version: str = "580.95.05") -> dict[str, Package]:
    """SUSE's signed module with NVIDIA's libraries: the documented way."""
    found = (
        package(
            "nvidia-open-driver-G06-signed-kmp-default",
            f"{version}_k6.4.0_150600.23.65-150600.3.1",
            vendor="SUSE LLC <https://www.suse.com/>",
        ),
        package("kernel-firmware-nvidia-gspx-G06", "580.82.07-150600.1.1", vendor="SUSE LLC <https://www.suse.com/>"),
        package("nvidia-compute-G06", "580.95.05-lp156.40.1", vendor="NVIDIA Corporation"),
        package("nvidia-compute-G06-32bit", "580.95.05-lp156.40.1", vendor="NVIDIA Corporation"),
        package("nvidia-gl-G06", "580.95.05-lp156.40.1", vendor="NVIDIA Corporation"),
        package("nvidia-compute-utils-G06", "580.95.05-lp156.40.1", vendor="NVIDIA Corporation"),
        package("nvidia-persistenced", "580.82.07-lp156.1.1", vendor="NVIDIA Corporation"),
        package("kernel-firmware-nvidia", "20241128-150600.3.1", vendor="SUSE LLC <https://www.suse.com/>"),
    )
    return {one.name: one for one in found}


def arch(version: str = "580.95.05") -> dict[str, Package]:
    packager = "Sven-Hendrik Haase <svenstaro@archlinux.org>"
    found = (
        package("nvidia-open", f"{version}-12", f"nvidia-utils (= {version})"),
        package("nvidia-utils", "580.95.05-1"),
        package("lib32-nvidia-utils", "580.95.05-1", "nvidia-utils (= 580.95.05)"),
        package("opencl-nvidia", "580.95.05-1"),
        package("nvidia-settings", "580.82.07-1"),
        package("linux-firmware-nvidia", "20251011-1"),
        package("nvidia-container-toolkit", "1.17.8-1"),
        package("linux", "6.16.10.arch1-1"),
    )
    return {one.name: one._replace(vendor=packager) for one in found}


def dpkg(packages: Iterable[Package], damage: str = "") -> Packages:
    return Packages("dpkg", tuple(packages), damage)


def rpm(packages: Iterable[Package]) -> Packages:
    return Packages("rpm", tuple(packages))


def pacman(packages: Iterable[Package]) -> Packages:
    return Packages("pacman", tuple(packages))


HEALTHY = {
    "debian": (DEBIAN, dpkg(bookworm().values())),
    "debian upgraded": (DEBIAN, dpkg(bookworm(NEW, NEW).values())),
    "ubuntu": (UBUNTU, dpkg(ubuntu().values())),
    "ubuntu prebuilt": (UBUNTU, dpkg(ubuntu_prebuilt().values())),
    "fedora": (FEDORA, rpm(fedora_rpmfusion().values())),
    "suse": (SUSE, rpm(suse().values())),
    "arch": (ARCH, pacman(arch().values())),
    "no driver": (DEBIAN, dpkg((package("linux-image-amd64", "6.1.176-1"), package("dkms", "3.0.10-8+deb12u1")))),
}
