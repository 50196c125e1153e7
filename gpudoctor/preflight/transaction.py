"""What a package manager is about to do, whoever said so: a simulation, or the package manager itself to its hook."""

import re
from typing import NamedTuple

from gpudoctor.facts.package_names import is_of_interest


class Change(NamedTuple):
    """One package of a transaction."""

    name: str  # without architecture: "libcuda1"
    architecture: str  # "amd64", "" where it is not said
    old: str  # version now, "" where it is not installed, or where nobody says (dnf, pacman)
    new: str  # version afterwards, "" where it is removed
    origin: str = ""  # where it comes from, as the package manager says: "Debian-Security:12/oldstable-security", ""


class Transaction(NamedTuple):
    """All changes of one transaction, in the order in which they were named."""

    manager: str  # as of Packages: "dpkg", "rpm", "pacman"
    changes: tuple[Change, ...]
    kept_back: tuple[str, ...]  # upgradable packages that stay as they are, where the package manager says so
    source: str  # for the user: "apt-get -s dist-upgrade", "apt", a file


class NoTransaction(Exception):
    """What was given is no transaction, or none that can be judged; the text says why, in words for the user."""


# Stricter than any package manager: shell characters, blanks, slashes and control characters have no place in these.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._@-]{0,199}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._~:^-]{0,199}")
_ARCHITECTURE = re.compile(r"[a-z0-9_-]{0,30}")

# Follow kernels in name and version, and have no part in building or loading a module.
_NO_KERNEL = ("linux-libc-dev", "linux-base", "linux-firmware", "linux-doc", "linux-cpupower", "linux-perf")
_KERNELS_OF_PROXMOX = ("proxmox-kernel", "proxmox-headers", "proxmox-default-", "pve-kernel", "pve-headers")


def change(name: str, architecture: str, old: str, new: str, origin: str = "") -> Change:
    """A change of words that something else wrote. Raises NoTransaction if one of them cannot be what it should be."""
    if not _NAME.fullmatch(name):
        raise NoTransaction(f"{name[:80]!r} is no name of a package")
    for version in (old, new):
        if version and not _VERSION.fullmatch(version):
            raise NoTransaction(f"{version[:80]!r} is no version of a package (said of {name})")
    if not _ARCHITECTURE.fullmatch(architecture):
        raise NoTransaction(f"{architecture[:80]!r} is no architecture (said of {name})")
    return Change(name, architecture, old, new, origin)


def concerns_gpu(transaction: Transaction) -> bool:
    """Does it touch the driver, a kernel or its headers, CUDA, cuDNN, DKMS or a compiler? Cheap: by names alone."""
    return any(
        (is_of_interest(change.name) and not change.name.startswith(_NO_KERNEL))
        or change.name.startswith(_KERNELS_OF_PROXMOX)
        for change in transaction.changes
    )
