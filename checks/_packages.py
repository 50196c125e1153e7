"""What each package is to the driver: which part of it, of which version, in which set of packages, and from whom."""

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gpudoctor import Unavailable
from gpudoctor.facts.answers import Cuda, Nvml
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
_READY = ("linux-modules-nvidia-", "linux-objects-nvidia-", "linux-signatures-nvidia-")
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
    if "dkms" in words or "kmp" in words or ("kernel" in words and "source" in words):
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


def by_family(members: Iterable[DriverPackage]) -> Mapping[str, tuple[DriverPackage, ...]]:
    """Sets of packages that could each be a driver; within one of them versions must agree."""
    found: dict[str, tuple[DriverPackage, ...]] = {}
    for member in members:
        found[member.family] = (*found.get(member.family, ()), member)
    return found


def newest(versions: Iterable[str]) -> str:
    """The highest of some driver versions, which are numbers and dots."""
    return max(versions, key=lambda version: [int(part) for part in version.split(".")])


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


class Requirement(NamedTuple):
    """One alternative of a dependency: "libnvidia-ml1 (= 535.309.01-1)"."""

    name: str
    operator: str  # "" any version
    version: str


def requirements_of(dependency: str) -> tuple[Requirement, ...]:
    """The alternatives of "a (= 1) | b"."""
    found = []
    for alternative in dependency.split("|"):
        name, _, condition = alternative.strip().partition(" (")
        operator, _, version = condition.rstrip(")").partition(" ")
        found.append(Requirement(name.partition("(")[0].partition(":")[0], operator, version.strip()))
    return tuple(found)


def bound_to(held: Iterable[str], members: Iterable[DriverPackage]) -> set[str]:
    """The names that cannot move while these are held: their dependencies allow no newer version of each other."""
    members = tuple(members)
    names = {member.name for member in members}
    pairs = [
        {member.name, requirement.name}
        for member in members
        for dependency in member.package.depends
        for requirement in requirements_of(dependency)
        if requirement.name in names and requirement.operator in ("=", "<=", "<<", "<")
    ]
    bound = {*held}
    while grown := [pair for pair in pairs if pair & bound and not pair <= bound]:
        bound.update(*grown)
    return bound


class Unmet(NamedTuple):
    """A dependency on one exact version that is not there."""

    package: Package
    dependency: str  # as written
    instead: str  # "installed is 535.261.03-1", "it is not installed"


def unmet_exact(packages: Packages) -> Iterator[Unmet]:
    """Among the driver's own packages. What may be met by a provided name is passed over."""
    members = driver_packages(packages)
    for member in members:
        for dependency in member.package.depends:
            wanted = requirements_of(dependency)
            if any(requirement.operator != "=" or ".so" in requirement.name for requirement in wanted):
                continue
            there = [other.package for other in members if any(other.name == one.name for one in wanted)]
            if any(_is_version(one.version, found) for found in there for one in wanted if one.name == found.name):
                continue
            if there:
                yield Unmet(member.package, dependency, f"installed is {there[0].version}")
            elif packages.manager == "dpkg" and not packages.damage and _is_own(wanted):
                yield Unmet(member.package, dependency, "it is not installed")


def _is_version(version: str, package: Package) -> bool:
    """rpm and pacman leave out the release, a provided name carries the driver's version alone."""
    own = package.version
    return version in (own, package.upstream, own.partition(":")[2]) or own.startswith(f"{version}-")


def _is_own(wanted: tuple[Requirement, ...]) -> bool:
    return all("nvidia" in requirement.name or requirement.name.startswith("libcuda1") for requirement in wanted)


_KERNEL = ("linux-image", "linux-headers", "linux-modules", "linux-kbuild", "kernel", "initramfs-tools", "dracut")
_GPU = ("dkms", "akmod", "kmod-", "libcuda1", "libnvcuvid", "libnvoptix", "cuda-", "glx-", "update-glx")


def concerns_gpu(name: str) -> bool:
    """Would the GPU be missed if this package were broken: the driver, a kernel, and what builds modules?"""
    return "nvidia" in name or name.startswith((*_KERNEL, *_GPU))


UNFINISHED = ("unpacked", "half-configured", "half-installed")


def unfinished(packages: Packages) -> tuple[Package, ...]:
    """Whatever its name: begun and not ended. Waiting triggers alone are none."""
    return tuple(package for package in packages.packages if package.state in UNFINISHED)


def gpu_works(nvml: Nvml | Unavailable, cuda: Cuda | Unavailable) -> bool:
    """Seen, not inferred: both libraries started, and every GPU answered."""
    if isinstance(nvml, Unavailable) or isinstance(cuda, Unavailable) or nvml.return_code or cuda.return_code != 0:
        return False
    return bool(nvml.gpus) and all(gpu.return_code == 0 for gpu in nvml.gpus)
