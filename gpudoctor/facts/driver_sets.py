"""What is wrong between the packages of a driver: lagging, of two branches or makers, on hold in part, removed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.facts.driver_packages import (
    DriverPackage,
    Part,
    as_driver_package,
    as_ubuntu_modules,
    driver_packages,
    maker_of,
)
from gpudoctor.facts.driver_version import newest
from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.host import Unavailable

# A module made for one kernel carries the kernel's version, and a package without files breaks nothing by lagging.
_COMPARED = (Part.LIBRARY, Part.MODULE, Part.FIRMWARE, Part.TOOL)
BRINGS_FILES = (Part.LIBRARY, Part.MODULE, Part.READY_MODULE)
_ONE_RUN = 600.0  # seconds: some logs give each package of a run its own time


def by_family(members: Iterable[DriverPackage]) -> Mapping[str, tuple[DriverPackage, ...]]:
    """Sets of packages that could each be a driver; within one of them versions must agree."""
    found: dict[str, tuple[DriverPackage, ...]] = {}
    for member in members:
        found[member.family] = (*found.get(member.family, ()), member)
    return found


class Lag(NamedTuple):
    """Packages of one driver in different versions."""

    newest: str  # driver version of those ahead
    ahead: tuple[DriverPackage, ...]
    behind: tuple[DriverPackage, ...]  # those on hold first
    tied: tuple[DriverPackage, ...]  # as old, but without files of their own: they move with those behind


def lagging(packages: Packages) -> Iterator[Lag]:
    """One for each set of packages that should be of one version and is not."""
    for members in by_family(driver_packages(packages)).values():
        compared = [member for member in members if member.part in _COMPARED]
        top = newest(member.version for member in compared)
        behind = sorted((m for m in compared if m.version != top), key=lambda member: not member.package.hold)
        if behind:
            tied = (member for member in members if member.part is Part.META and member.version != top)
            yield Lag(top, tuple(m for m in compared if m.version == top), tuple(behind), tuple(tied))


def branch_sets(members: Sequence[DriverPackage]) -> Mapping[str, tuple[DriverPackage, ...]]:
    """Packages by the branch of their libraries ("580", "580-server", "tesla-470"): there must be one only.

    Names without a branch (Debian, rpm) are one set, whatever versions it holds: that is another ill.
    """
    label = newest(m.version for m in members if m.part is Part.LIBRARY and not m.series).partition(".")[0]
    sets: dict[str, tuple[DriverPackage, ...]] = {}
    for member in members:
        sets[member.series or label] = (*sets.get(member.series or label, ()), member)
    return {name: found for name, found in sets.items() if any(member.part is Part.LIBRARY for member in found)}


def set_to_keep(sets: Mapping[str, tuple[DriverPackage, ...]], versions: Iterable[str]) -> str:
    """The name of the set that one of these driver versions belongs to, the first the most; else of the largest."""
    for version in filter(None, versions):
        # Of the desktop's and the server's set of one branch only the whole version may tell.
        for wanted in (version, version.partition(".")[0] + "."):
            for name, found in sets.items():
                if any(f"{member.version}.".startswith(wanted) for member in found):
                    return name
    return max(sets, key=lambda name: len(sets[name]))


def makers(packages: Packages) -> Mapping[str, tuple[DriverPackage, ...]]:
    """The driver's packages by who built them, where that can be told."""
    # On SUSE the signed module of SUSE beside NVIDIA's libraries is the documented way, and Fedora's are built here.
    parts = BRINGS_FILES if packages.manager == "dpkg" else (Part.LIBRARY,)
    found: dict[str, tuple[DriverPackage, ...]] = {}
    for member in driver_packages(packages):
        maker = maker_of(member.package) if member.part in parts else ""
        if maker:
            found[maker] = (*found.get(maker, ()), member)
    return found


class PartlyHeld(NamedTuple):
    """Packages on hold, and those of the same driver that the next upgrade can move on without them."""

    held: tuple[DriverPackage, ...]
    free: tuple[DriverPackage, ...]


def partly_held(packages: Packages) -> Iterator[PartlyHeld]:
    """One for each driver of which a part only is on hold; what a held package holds with it is not free."""
    for members in by_family(driver_packages(packages)).values():
        held = tuple(member for member in members if member.package.hold)
        bound = _bound_to([member.name for member in held], members)
        free = tuple(member for member in members if member.name not in bound and _moves_on(member))
        if held and free:
            yield PartlyHeld(held, free)


def _moves_on(member: DriverPackage) -> bool:
    """A module of one kernel stays as it is; the package that follows a flavour brings new ones."""
    if member.part is Part.READY_MODULE:
        modules = as_ubuntu_modules(member.name)
        return modules is not None and modules.flavour != ""
    return member.part in (Part.LIBRARY, Part.MODULE) and not member.only_32_bit


class _Requirement(NamedTuple):
    """One alternative of a dependency: "libnvidia-ml1 (= 535.309.01-1)"."""

    name: str
    operator: str  # "" any version
    version: str


def _requirements_of(dependency: str) -> tuple[_Requirement, ...]:
    """The alternatives of "a (= 1) | b"."""
    found = []
    for alternative in dependency.split("|"):
        name, _, condition = alternative.strip().partition(" (")
        operator, _, version = condition.rstrip(")").partition(" ")
        found.append(_Requirement(name.partition("(")[0].partition(":")[0], operator, version.strip()))
    return tuple(found)


def _bound_to(held: Iterable[str], members: Iterable[DriverPackage]) -> set[str]:
    """The names that cannot move while these are held: their dependencies allow no newer version of each other."""
    members = tuple(members)
    names = {member.name for member in members}
    pairs = [
        {member.name, requirement.name}
        for member in members
        for dependency in member.package.depends
        for requirement in _requirements_of(dependency)
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
    """What the driver's own packages need. What may be met by a provided name is passed over."""
    known = packages.installed()
    for member in driver_packages(packages):
        for dependency in member.package.depends:
            wanted = _requirements_of(dependency)
            if any(requirement.operator != "=" or ".so" in requirement.name for requirement in wanted):
                continue
            there = [package for package in known if any(package.name == one.name for one in wanted)]
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


def _is_own(wanted: tuple[_Requirement, ...]) -> bool:
    return all("nvidia" in requirement.name or requirement.name.startswith("libcuda1") for requirement in wanted)


class Removed(NamedTuple):
    """A package of the driver that was installed once and is not any more."""

    member: DriverPackage
    event: PackageEvent | None  # None: only its settings tell of it


def removed_driver(packages: Packages, history: PackageHistory | Unavailable) -> tuple[Removed, ...]:
    """The packages of the driver that was removed last; settings of older ones may lie around for years.

    In the order of the package manager's list, what left no settings last; empty where nothing but programs or
    firmware went.
    """
    events: dict[str, PackageEvent] = {}
    for event in history.events if isinstance(history, PackageHistory) else ():
        events.pop(event.package, None)
        if event.action in ("remove", "purge"):
            events[event.package] = event
    left = {package.name: package for package in packages.packages if package.state == "removed"}
    for name, event in events.items():
        left.setdefault(name, Package(name, event.old or event.new, "", "removed", False, ""))
    members = [as_driver_package(left[name], packages.manager) for name in left if packages.get(name) is None]
    found = [Removed(member, events.get(member.name)) for member in members if member]
    driver = [removed for removed in found if removed.member.part not in (Part.TOOL, Part.FIRMWARE)]
    if not driver:
        return ()
    times = [removed.event.time for removed in driver if removed.event]
    run = [one for one in found if not times or (one.event and max(times) - one.event.time < _ONE_RUN)]
    if any(one.event and "autoremove" in one.event.command for one in run):
        # What an autoremove takes had lost the package that somebody chose: in an earlier run.
        series = {one.member.series for one in run}
        chosen = [one for one in found if one.member.part is Part.META and one.member.series in series]
        run += [one for one in chosen if one not in run]
    return tuple(run)
