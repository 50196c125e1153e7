"""The program that installs packages here, and its command lines as argument lists, never for a shell.

Every name and version in them was read from the machine, so each is tried against a strict pattern first; what does
not fit raises UnsafeWord and no command is made of it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.host import Unavailable
from gpudoctor.registry import fact

Argv = tuple[str, ...]

# No trailing "+" or "-": at the end of a name they tell apt-get to install or to remove.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9+._-]*[A-Za-z0-9])?(?::[a-z0-9]+)?")
_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9+._~:^-]*[A-Za-z0-9])?")


class UnsafeWord(Exception):
    """Something read from this machine that must not become a part of a command; the text says what."""


class PackageManager(NamedTuple):
    """What installs packages. `reason`: in words for the user, why nothing can be installed where `kind` is ""."""

    kind: str  # "apt", "dnf", "zypper", "pacman", ""
    reason: str = ""


@fact
def package_manager(system: OperatingSystem, packages: Packages | Unavailable) -> PackageManager:
    """From the package database that was found, else from the distribution; "" on systems that change as one image."""
    database = packages.manager if isinstance(packages, Packages) else ""
    match database, system.family:
        case ("dpkg", _) | ("", "debian"):
            return PackageManager("apt")
        case ("pacman", _) | ("", "arch"):
            if system.id == "steamos":
                return PackageManager("", f"{system.pretty_name} is updated as one image")
            return PackageManager("pacman")
        case (_, "suse"):
            if "micro" in system.id or system.id in ("opensuse-aeon", "opensuse-kalpa"):
                return PackageManager("", f"{system.pretty_name} is changed through transactional-update")
            return PackageManager("zypper")
        case ("rpm", _) | ("", "fedora"):
            if system.ostree:
                return PackageManager("", f"{system.pretty_name} is changed through rpm-ostree")
            return PackageManager("dnf")
    return PackageManager("", "no package manager that gpudoctor knows was found")


def package_name(text: str) -> str:
    """The same text. Raises UnsafeWord if it is no package name (with ":architecture", if need be)."""
    if not _NAME.fullmatch(text):
        raise UnsafeWord(f"{text!r} is no name of a package")
    return text


def package_version(text: str) -> str:
    """The same text. Raises UnsafeWord if it is no version of a package."""
    if not _VERSION.fullmatch(text):
        raise UnsafeWord(f"{text!r} is no version of a package")
    return text


def _apt(command: str, *words: str, removing: bool = False) -> Argv:
    # Settings that somebody has changed stay as they are; nothing is removed that was not asked for.
    keep = () if removing else ("--no-remove",)
    return ("apt-get", "-y", *keep, "-o", "Dpkg::Options::=--force-confold", command, *words)


def install(manager: PackageManager, names: Sequence[str]) -> Argv:
    """Install these packages, or upgrade them to the newest version that the repositories have."""
    names = [package_name(name) for name in names]
    match manager.kind:
        case "apt":
            return _apt("install", *names)
        case "dnf":
            return ("dnf", "-y", "install", *names)
        case "zypper":
            return ("zypper", "--non-interactive", "install", *names)
        case "pacman":
            # Without -y: the list of packages stays the one of the last full upgrade, so this is no partial upgrade.
            return ("pacman", "-S", "--noconfirm", "--needed", *names)
    raise ValueError(manager.kind)


def simulate_install(manager: PackageManager, names: Sequence[str]) -> Argv:
    """Ends with 0 only if `install` would find and could install them; changes nothing."""
    return simulate(install(manager, names))


def install_versions(manager: PackageManager, versions: Mapping[str, str]) -> Argv | None:
    """Install these packages in exactly these versions; None where the package manager cannot."""
    pairs = [(package_name(name), package_version(version)) for name, version in versions.items()]
    match manager.kind:
        case "apt":
            return _apt("install", *(f"{name}={version}" for name, version in pairs))
        case "dnf":
            return ("dnf", "-y", "install", *(f"{name}-{version}" for name, version in pairs))
        case "zypper":
            words = [f"{name}={version}" for name, version in pairs]
            return ("zypper", "--non-interactive", "install", "--auto-agree-with-licenses", *words)
        case "pacman":
            return None
    raise ValueError(manager.kind)


def upgrade(manager: PackageManager, names: Sequence[str]) -> Argv:
    """Bring installed packages to the newest version; on Arch everything, for it knows no partial upgrade."""
    names = [package_name(name) for name in names]
    match manager.kind:
        case "apt":
            return _apt("install", "--only-upgrade", *names)
        case "dnf":
            return ("dnf", "-y", "upgrade", *names)
        case "zypper":
            return ("zypper", "--non-interactive", "update", "--auto-agree-with-licenses", *names)
        case "pacman":
            return ("pacman", "-Syu", "--noconfirm")
    raise ValueError(manager.kind)


def reinstall(manager: PackageManager, names: Sequence[str]) -> Argv:
    """Put the files of installed packages back in place."""
    names = [package_name(name) for name in names]
    match manager.kind:
        case "apt":
            return _apt("install", "--reinstall", *names)
        case "dnf":
            return ("dnf", "-y", "reinstall", *names)
        case "zypper":
            return ("zypper", "--non-interactive", "install", "--force", "--auto-agree-with-licenses", *names)
        case "pacman":
            return ("pacman", "-S", "--noconfirm", *names)
    raise ValueError(manager.kind)


def fetch(manager: PackageManager, names: Sequence[str]) -> Argv:
    """Download installed packages once more, so that a reinstallation cannot fail for want of them."""
    argv = reinstall(manager, names)
    match manager.kind:
        case "apt":
            return (argv[0], "--download-only", *argv[1:])
        case "dnf":
            return (*argv[:3], "--downloadonly", *argv[3:])  # dnf5 knows it behind the command only
        case "zypper":
            return (*argv[:3], "--download-only", *argv[3:])
        case _:
            return ("pacman", "-Sw", *argv[2:])


def replace(manager: PackageManager, new: Sequence[str], old: Sequence[str]) -> Argv | None:
    """Install `new` and remove `old` in one transaction; None where the package manager has none for both."""
    new, old = [package_name(name) for name in new], [package_name(name) for name in old]
    match manager.kind:
        case "apt":
            return _apt("install", *new, *(f"{name}-" for name in old), removing=True)
        case "dnf":
            return ("dnf", "-y", "install", "--allowerasing", *new)
        case "zypper":
            words = [*new, *(f"!{name}" for name in old)]
            return ("zypper", "--non-interactive", "install", "--auto-agree-with-licenses", *words)
        case "pacman":
            return None
    raise ValueError(manager.kind)


def exchange_versions(
    manager: PackageManager,
    new: Mapping[str, str],
    old: Sequence[str] = (),
    *,
    older: bool = False,
    lean: bool = False,
) -> Argv | None:
    """Install packages in these versions ("" any) and remove `old` in one transaction; None where that cannot be said.

    `older`: some of them are older than what is installed. `lean`: without what they merely recommend.
    """
    words = [_exactly(manager, package_name(name), version) for name, version in new.items()]
    old = [package_name(name) for name in old]
    match manager.kind:
        case "apt":
            words += [f"{name}-" for name in old]
            options = ("--allow-downgrades",) * older + ("--no-install-recommends",) * lean
            return _apt("install", *options, *words, removing=bool(old))
        case "dnf":
            return ("dnf", "-y", "install", *(("--allowerasing",) if old else ()), *words)
    return None


def _exactly(manager: PackageManager, name: str, version: str) -> str:
    if not version:
        return name
    return f"{name}{'=' if manager.kind == 'apt' else '-'}{package_version(version)}"


def remove(manager: PackageManager, names: Sequence[str]) -> Argv:
    """Remove packages; their settings stay, and so does what nothing needs any more."""
    names = [package_name(name) for name in names]
    match manager.kind:
        case "apt":
            return _apt("remove", *names, removing=True)
        case "dnf":
            return ("dnf", "-y", "--setopt=clean_requirements_on_remove=False", "remove", *names)
        case "zypper":
            return ("zypper", "--non-interactive", "remove", *names)
        case "pacman":
            return ("pacman", "-R", "--noconfirm", *names)
    raise ValueError(manager.kind)


def hold(manager: PackageManager, names: Sequence[str], *, release: bool = False) -> Argv | None:
    """Hold packages back from upgrades, or release them; None where that stands in a configuration file."""
    names = [package_name(name) for name in names]
    match manager.kind:
        case "apt":
            return ("apt-mark", "unhold" if release else "hold", *names)
        case "dnf":
            return ("dnf", "-y", "versionlock", "delete" if release else "add", *names)
        case "zypper":
            return ("zypper", "--non-interactive", "removelock" if release else "addlock", *names)
        case "pacman":
            return None
    raise ValueError(manager.kind)


def unhold(manager: PackageManager, names: Sequence[str]) -> Argv | None:
    """Release packages that are held back; None where that stands in a configuration file."""
    return hold(manager, names, release=True)


def clean(manager: PackageManager) -> Argv | None:
    """Delete downloaded package files; None on Arch, whose cache is the only way back to an older version."""
    match manager.kind:
        case "apt":
            return ("apt-get", "clean")
        case "dnf":
            return ("dnf", "clean", "packages")
        case "zypper":
            return ("zypper", "--non-interactive", "clean")
    return None


def simulate(argv: Argv) -> Argv:
    """The same command as a trial: it ends with 0 only if the real one could be done, and changes nothing.

    dnf downloads the packages and lets rpm test the transaction, for `--assumeno` ends with 1 either way.
    """
    match argv[0]:
        case "apt-get":
            return (argv[0], "-s", *argv[1:])
        case "dnf":
            return (argv[0], "--setopt=tsflags=test", *argv[1:])
        case "zypper":
            return (*argv[:3], "--dry-run", *argv[3:])
        case "pacman":
            # A refreshed list of packages without an upgrade would be a partial upgrade in waiting.
            return (argv[0], argv[1].replace("y", ""), "--print", *argv[2:])
    raise ValueError(argv[0])
