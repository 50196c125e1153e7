"""Packages held back on purpose: dnf's version locks, zypper's locks, pacman's IgnorePkg."""

from collections.abc import Iterable
from typing import NamedTuple

from gpudoctor.facts.packages import Package


class Lock(NamedTuple):
    """One line or entry that holds packages."""

    pattern: str
    match: str  # "glob", "exact", "substring", "regex"
    case_sensitive: bool = True


def apply(locks: Iterable[Lock], packages: Iterable[Package]) -> tuple[Package, ...]:
    """The packages, those that a lock names with hold set."""
    locks = tuple(locks)
    return tuple(
        package._replace(hold=True) if any(_names(lock, package) for lock in locks) else package for package in packages
    )


def versionlock_list(text: str) -> list[Lock]:
    """dnf 4: a line each, "nvidia-driver-3:580.95.05-1.el9.*" or "*nvidia*". A line with "!" bars one version, it
    holds nothing.
    """
    lines = (line.strip() for line in text.split("\n"))
    return [Lock(line, "glob") for line in lines if line and line[0] not in "#!"]


def versionlock_toml(text: str) -> list[Lock]:
    """dnf 5: tables [[packages]] with a name and conditions. Only "!=" bars one version, it holds nothing."""
    locks = []
    for table in text.split("[[packages]]")[1:]:
        values = [line.split("#", 1)[0].partition("=") for line in table.split("\n")]
        read = [(key.strip(), value.strip().strip("\"'")) for key, _, value in values]
        name = next((value for key, value in read if key == "name"), "")
        operators = {value for key, value in read if key == "comparator"}
        if name and operators != {"!="}:
            locks.append(Lock(name, "glob"))
    return locks


def zypper_locks(text: str) -> list[Lock]:
    """Entries "key: value", an empty line between them; by default part of a name in any case, as locks(5) says."""
    locks = []
    for entry in text.split("\n\n"):
        values = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in entry.split("\n"))]
        single = dict(values)
        if single.get("type", "package") != "package" or single.get("install_status", "").startswith("no"):
            continue
        case_sensitive = single.get("case_sensitive", "") in ("on", "true")
        match = single.get("match_type", "substring")
        locks += [Lock(value, match, case_sensitive) for key, value in values if key == "solvable_name" and value]
    return locks


def ignored_packages(text: str) -> list[Lock]:
    """pacman.conf: "IgnorePkg = linux nvidia*"."""
    locks = []
    for line in text.split("\n"):
        key, _, value = line.partition("=")
        if key.strip() == "IgnorePkg":
            locks += [Lock(word, "glob") for word in value.split("#", 1)[0].split()]
    return locks


def _names(lock: Lock, package: Package) -> bool:
    names = [package.name]
    if lock.match == "glob":
        epoch, _, version = package.version.rpartition(":")
        stem = f"{package.name}-{epoch or 0}:{version}"
        plain = f"{package.name}-{version}"
        names += [stem, f"{stem}.{package.architecture}", plain, f"{plain}.{package.architecture}"]
        names.append(f"{epoch or 0}:{plain}.{package.architecture}")  # as yum wrote it
    pattern = lock.pattern
    if not lock.case_sensitive and lock.match != "regex":
        pattern, names = pattern.lower(), [name.lower() for name in names]
    match lock.match:
        case "exact" | "word":
            return pattern in names
        case "glob":
            from fnmatch import fnmatchcase  # here for start-up: locks are rare

            return any(fnmatchcase(name, pattern) for name in names)
        case "regex":
            return _found(pattern, package.name, lock.case_sensitive)
        case _:
            return pattern in names[0]


def _found(pattern: str, name: str, case_sensitive: bool) -> bool:
    import re  # here for start-up

    try:
        return re.search(pattern, name, 0 if case_sensitive else re.IGNORECASE) is not None
    except re.error:  # zypper refuses it as well: such a lock holds nothing
        return False
