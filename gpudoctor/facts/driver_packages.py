"""What each package is to the driver: which part of it, of which version, in which set of packages, and from whom."""

import enum
from functools import cache
from typing import NamedTuple

from gpudoctor.facts.packages import Package, Packages


class Part(enum.Enum):
    LIBRARY = "libraries, with the X driver"
    MODULE = "the kernel module, or the source that it is built from"
    READY_MODULE = "a module made for one kernel; its version is the kernel's"
    FIRMWARE = "firmware that the module loads, of exactly its version"
    TOOL = "programs and settings that are released with the driver"
    META = "no file of its own: it depends on the others"


class DriverPackage(NamedTuple):
    """An installed package that belongs to the driver."""

    package: Package
    part: Part
    version: str  # of the driver: "580.95.05"; "" for READY_MODULE
    family: str  # "" the usual driver; "tesla-470", "390xx", "G06": packaged apart from it, under names of their own
    series: str  # what the name says: "580", "580-server", or the family; "" where names carry no branch

    @property
    def name(self) -> str:
        return self.package.name

    @property
    def branch(self) -> int:
        return int(self.version.partition(".")[0] or 0)

    @property
    def only_32_bit(self) -> bool:
        return (
            self.package.architecture in ("i386", "i586", "i686")
            or self.name.startswith("lib32-")
            or self.name.endswith("-32bit")
        )


# Named as if they were parts of the driver. The first goes with the libraries in any version: data files.
_APART = (
    *("libnvidia-common", "libnvidia-container", "libnvidia-nscq"),
    *("nvidia-driver-pinning", "nvidia-driver-assistant", "nvidia-driver-local-repo"),
)
READY_MODULES = "linux-modules-nvidia-"
_READY = (READY_MODULES, "linux-objects-nvidia-", "linux-signatures-nvidia-")
_LIBRARIES = (
    *("lib", "xserver-xorg-video-nvidia", "xorg-x11-drv-nvidia", "xorg-x11-nvidia", "x11-video-nvidia"),
    *("nvidia-driver", "nvidia-compute", "nvidia-gl", "nvidia-video", "nvidia-opencl", "nvidia-egl", "nvidia-vulkan"),
    *("nvidia-vdpau", "opencl-nvidia"),
)
_TOOLS = ("nvidia-smi", "nvidia-alternative", "nvidia-driver-bin", "nvidia-driver-cuda", "nvidia-kmod-common")
_ARCH_MODULES = ("nvidia", "nvidia-lts", "nvidia-open", "nvidia-open-lts")


def driver_packages(packages: Packages) -> tuple[DriverPackage, ...]:
    """The installed ones, in the order of the database."""
    found = (as_driver_package(package, packages.manager) for package in packages.installed())
    return tuple(package for package in found if package)


def released_together(packages: Packages) -> tuple[DriverPackage, ...]:
    """The installed ones that carry the driver's version: all but the modules made for one kernel."""
    return tuple(member for member in driver_packages(packages) if member.version)


@cache
def as_driver_package(package: Package, manager: str) -> DriverPackage | None:
    """None for what belongs to no driver, and for what goes with any driver."""
    part = _part(package, manager)
    if part is None:
        return None
    version = "" if part is Part.READY_MODULE else package.upstream
    family, words = _family(package.name), package.name.split("-")
    number = next((word for word in words if len(word) == 3 and word.isdigit()), "")
    series = family
    if number and not family:
        # An old name may be kept to lead upgrades to a newer branch: its version tells which.
        series = (version.partition(".")[0] or number) + "-server" * ("server" in words)
    return DriverPackage(package, part, version, family, series)


def _part(package: Package, manager: str) -> Part | None:
    name, words = package.name, package.name.split("-")
    if name.startswith(_READY):
        return Part.READY_MODULE
    if not package.upstream or name.startswith(_APART):
        return None
    if name.startswith("kmod-nvidia") and any("." in word for word in words):
        return Part.READY_MODULE
    if "meta" in words:
        return Part.META
    if ("dkms" in words and "no" not in words) or "kmp" in words or ("kernel" in words and "source" in words):
        return Part.MODULE
    if name.startswith(("akmod-nvidia", "kmod-nvidia")) or (manager == "pacman" and name in _ARCH_MODULES):
        return Part.MODULE
    if "firmware" in words:
        # Ubuntu names them after their version, and SUSE keeps several: those lie side by side without harm.
        return Part.FIRMWARE if name.startswith("firmware-nvidia") else None
    if _is_meta(name, words, manager):
        return Part.META
    if manager == "pacman" and "utils" in words:
        return Part.LIBRARY
    if words[-1] in ("smi", "alternative", "bin") or "utils" in words or "kernel" in words:
        return Part.TOOL
    if name.startswith(_TOOLS) and not name.endswith("-libs"):
        return Part.TOOL
    if words[-1] in ("devel", "dev", "kmodsrc", "power", "check"):
        return None
    return Part.LIBRARY if name.startswith(_LIBRARIES) else None


def _is_meta(name: str, words: list[str], manager: str) -> bool:
    if name.startswith(("cuda-drivers", "nvidia-open", "nvidia-headless", "nvidia-drivers-G0")):
        return True
    if manager != "dpkg" or "driver" not in words or not name.startswith("nvidia-"):
        return False
    return not {"vdpau", "bin", "cuda"} & {*words}


def _family(name: str) -> str:
    words = name.split("-")
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "tesla":
            return f"tesla-{following}" if following.isdigit() else "tesla"
        if len(word) == 5 and word.endswith("xx") and word[:3].isdigit():
            return word
        if word[-3:-1] == "G0":  # SUSE: "G06", and formerly "computeG05"
            return word[-3:]
    return ""


_MAKERS = {
    "Debian": ("debian",),  # before NVIDIA: "Debian NVIDIA Maintainers"
    "Ubuntu": ("ubuntu", "canonical"),
    "RPM Fusion": ("rpm fusion", "rpmfusion"),
    "negativo17": ("negativo17", "slaanesh"),
    "SUSE": ("suse",),
    "Arch Linux": ("archlinux", "arch linux"),
    "NVIDIA": ("nvidia",),
}


def maker_of(package: Package) -> str:
    """Who built it: "NVIDIA", "Debian", "Ubuntu"...; "" where that cannot be told."""
    text = package.vendor.lower()
    maker = next((maker for maker, words in _MAKERS.items() if any(word in text for word in words)), "")
    # NVIDIA's packages for Ubuntu name Ubuntu's developers as maintainers; Ubuntu's own updates have longer revisions.
    return "" if maker == "Ubuntu" and package.version.endswith(("-0ubuntu1", "-1ubuntu1")) else maker


def brings_libraries(name: str) -> bool:
    """Is libcuda or libnvidia-ml in it? By the names of Debian, Ubuntu, NVIDIA, Fedora, SUSE and Arch."""
    if name in ("nvidia-utils", "nvidia-driver-libs", "nvidia-driver-cuda", "nvidia-driver-cuda-libs"):
        return True
    if name.startswith(("libcuda1", "libnvidia-ml", "libnvidia-compute", "nvidia-compute-G0")):
        return True
    # Of older branches: libnvidia-tesla-470-cuda1, xorg-x11-drv-nvidia-470xx-cuda-libs.
    return name.startswith(("libnvidia-", "xorg-x11-drv-nvidia")) and name.endswith(("-cuda1", "-ml1", "-libs"))


class UbuntuModules(NamedTuple):
    """An Ubuntu package of ready-made modules: linux-modules-nvidia-BRANCH[-server][-open]-KERNEL or -FLAVOUR."""

    name: str
    series: str  # "580-server-open"
    kernel: str  # release, "" for the package that follows a flavour
    flavour: str  # "generic-hwe-24.04", "" for the one of a kernel


def as_ubuntu_modules(name: str) -> UbuntuModules | None:
    """None for the name of any other package."""
    words = name.removeprefix(READY_MODULES).split("-")
    if not name.startswith(READY_MODULES) or not words[0].isdigit():
        return None
    split = 1
    while split < len(words) and words[split] in ("server", "open"):
        split += 1
    series, rest = "-".join(words[:split]), "-".join(words[split:])
    own = rest[:1].isdigit()
    return UbuntuModules(name, series, rest if own else "", "" if own else rest)


def ubuntu_modules(packages: Packages) -> tuple[UbuntuModules, ...]:
    """Those that are installed."""
    found = (as_ubuntu_modules(package.name) for package in packages.installed())
    return tuple(modules for modules in found if modules)
