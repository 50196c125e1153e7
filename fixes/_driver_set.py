"""The packages that make up one driver and have to be of one version."""

import re
from collections.abc import Iterable, Mapping

from gpudoctor.facts.package_manager import package_name
from gpudoctor.facts.packages import Package, Packages

# Behind the epoch, up to where packaging begins: "580.95.05" of "3:580.95.05-1.fc42", "570.124.06_k6.4.0-1".
_VERSION = re.compile(r"(?:[0-9]+:)?([0-9]{3}\.[0-9]{2,3}(?:\.[0-9]{2})?)(?![0-9.])")

# They go with any driver, or are not part of it; some distributions number them on their own.
_APART = ("container", "-settings", "-modprobe", "-xconfig", "-persistenced", "cuda-toolkit", "cuda-compat", "-pinning")
_PREFIXES = ("libcuda1", "libnvcuvid1", "libnvoptix1", "cuda-drivers")

UNFINISHED = ("unpacked", "half-configured", "half-installed", "triggers", "triggers-awaited", "triggers-pending")


def driver_version(package: Package) -> str:
    """The driver's version in the package's, "" if there is none in it."""
    found = _VERSION.match(package.version)
    return found.group(1) if found else ""


def driver_packages(packages: Packages) -> tuple[Package, ...]:
    """Installed packages of the driver that carry its version."""
    return tuple(package for package in packages.installed() if _belongs(package.name) and driver_version(package))


def _belongs(name: str) -> bool:
    return ("nvidia" in name or name.startswith(_PREFIXES)) and not any(word in name for word in _APART)


def was_driver_package(name: str) -> bool:
    """By its name alone: for packages that are gone, whose version tells nothing any more."""
    return _belongs(name)


def by_branch(packages: Iterable[Package]) -> Mapping[int, tuple[Package, ...]]:
    """Driver packages by branch: 535, 580..."""
    found: dict[int, tuple[Package, ...]] = {}
    for package in packages:
        branch = int(driver_version(package).partition(".")[0])
        found[branch] = (*found.get(branch, ()), package)
    return found


def version_key(version: str) -> tuple[int, ...]:
    """Orders driver versions."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def targets(chosen: Iterable[Package], packages: Packages) -> tuple[str, ...]:
    """Names for the package manager, with the architecture where it is not the machine's own. Raises UnsafeWord."""
    counts: dict[str, int] = {}
    for package in packages.installed():
        if package.architecture not in ("all", "noarch", "any", ""):
            counts[package.architecture] = counts.get(package.architecture, 0) + 1
    own = max(counts, key=lambda architecture: counts[architecture], default="")
    separator = ":" if packages.manager == "dpkg" else "."
    names = []
    for package in chosen:
        foreign = package.architecture in counts and package.architecture != own
        names.append(package_name(package.name + (separator + package.architecture if foreign else "")))
    return tuple(dict.fromkeys(names))


def unfinished(packages: Packages) -> tuple[Package, ...]:
    """Packages whose installation was begun and not ended, of whatever name."""
    return tuple(package for package in packages.packages if package.state in UNFINISHED)
