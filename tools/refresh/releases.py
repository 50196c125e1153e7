"""Which releases of a project a table is to have, and what their wheels' names tell."""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version
from pypi_simple import DistributionPackage

from refresh.index import Index, Unreadable


class Left(NamedTuple):
    """Something that the index has, and that the table does not get."""

    what: str  # a sentence without its full stop
    by_hand: bool  # True: a person keeps this part; False: it could not be read this time


class Releases(NamedTuple):
    """The final releases of a project with a wheel for one machine, oldest first, at least one; none withdrawn."""

    project: str
    wheels: dict[str, tuple[DistributionPackage, ...]]

    def new(self, known: Collection[str], oldest: str = "") -> tuple[str, ...]:
        """Those that a table lacks. Older ones than its first release were left out of it on purpose."""
        first = Version(oldest) if oldest else min(map(Version, known), default=Version("0"))
        have = {Version(version) for version in known}
        return tuple(version for version in self.wheels if Version(version) not in have and Version(version) > first)

    def latest(self, number: int, known: Iterable[str]) -> tuple[str, ...]:
        """The newest of those that a table has: what `--again N` reads once more."""
        have = [version for version in known if version in self.wheels]
        return tuple(sorted(have, key=Version)[-number:]) if number else ()

    def newest(self) -> str:
        return next(reversed(self.wheels))

    def pythons(self, version: str) -> list[str]:
        """The CPython releases that have a wheel: ["cp310", "cp314", "cp314t"]."""
        found = set()
        for wheel in self.wheels[version]:
            for tag in parse_wheel_filename(wheel.filename)[3]:
                if re.fullmatch(r"cp3\d+", tag.interpreter):
                    found.add(tag.interpreter + ("t" if re.fullmatch(r"cp3\d+t", tag.abi) else ""))
        return sorted(found, key=python_order)

    def one(self, version: str) -> DistributionPackage:
        """The wheel that is read for a release: that of the newest Python, free-threaded ones last."""

        def order(wheel: DistributionPackage) -> tuple[bool, int]:
            tag = min(map(str, parse_wheel_filename(wheel.filename)[3]))
            digits = re.match(r"cp3(\d+)-cp3\d+(t?)", tag)
            return (digits is None or not digits[2], int(digits[1]) if digits else 0)

        return max(self.wheels[version], key=order)


def releases(index: Index, project: str, machine: str = "x86_64") -> Releases:
    """Raises Unreachable and Unreadable."""
    found: dict[Version, list[DistributionPackage]] = {}
    for file in index.files(project):
        version = _version(file)
        if version is not None and file.package_type == "wheel" and _runs_on(file.filename, machine):
            found.setdefault(version, []).append(file)
    if not found:
        raise Unreadable(f"{project} has no wheel for Linux on {machine}")
    return Releases(project, {str(version): tuple(found[version]) for version in sorted(found)})


def source_only(index: Index, project: str) -> tuple[str, ...]:
    """The final releases that come as source alone, oldest first."""
    kinds: dict[Version, set[str | None]] = {}
    for file in index.files(project):
        if (version := _version(file)) is not None:
            kinds.setdefault(version, set()).add(file.package_type)
    return tuple(str(version) for version in sorted(kinds) if "wheel" not in kinds[version])


def python_order(tag: str) -> tuple[int, str]:
    return int(re.sub(r"\D", "", tag.removeprefix("cp3"))), tag


def _version(file: DistributionPackage) -> Version | None:
    """None for what no table takes: withdrawn files, pre-releases, names that are no wheel's or source's."""
    if file.is_yanked or file.package_type not in ("wheel", "sdist"):
        return None
    try:
        parse = parse_wheel_filename if file.package_type == "wheel" else parse_sdist_filename
        version = parse(file.filename)[1]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return None if version.is_prerelease else version


def _runs_on(filename: str, machine: str) -> bool:
    platforms = {tag.platform for tag in parse_wheel_filename(filename)[3]}
    return any(
        platform == "any" or (platform.startswith(("manylinux", "linux")) and platform.endswith(machine))
        for platform in platforms
    )
