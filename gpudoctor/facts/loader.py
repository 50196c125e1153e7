"""The dynamic loader's way to a library: what its settings say, and which file it would take (ld.so(8))."""

from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.facts.elf import Elf, elf_machine
from gpudoctor.facts.ld_cache import paths_of, sonames_in
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class Found(NamedTuple):
    """The file that the loader takes for a soname."""

    path: str  # as the loader names it
    real_path: str  # with all links followed
    by: str  # "RPATH of /x/lib.so", "LD_LIBRARY_PATH", "RUNPATH of /x/lib.so", "ld.so.cache", "default folders"


class LoaderCache(NamedTuple):
    """/etc/ld.so.cache: what ldconfig found in the folders of the system."""

    content: bytes  # b"" if there is none

    def paths(self, soname: str) -> tuple[str, ...]:
        """64-bit libraries of this name, in the order in which the loader tries them."""
        return paths_of(self.content, (soname,)).get(soname, ())

    def sonames(self, beginning: str) -> tuple[str, ...]:
        return sonames_in(self.content, beginning)


class LoaderFolder(NamedTuple):
    """A folder that ld.so.conf adds to those of the system."""

    folder: str
    path: str  # the file that names it
    line: int  # counted from 1


class LoaderConfig(NamedTuple):
    """The folders of /etc/ld.so.conf and the files it includes, in the order in which ldconfig takes them."""

    folders: tuple[LoaderFolder, ...]


# The same question as that of the driver's libraries: a snapshot keeps the answer once.
_CACHE = "/etc/ld.so.cache"
_CACHE_LIMIT = 4 * 1024 * 1024
_CONFIG = "/etc/ld.so.conf"

# Where the loader looks last, and where distributions put libraries: multiarch folders are Debian's.
DEFAULT_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
)


@fact
def loader_cache(host: Host) -> LoaderCache:
    return LoaderCache(host.read_bytes(_CACHE, _CACHE_LIMIT) or b"")


@fact
def loader_config(host: Host) -> LoaderConfig:
    return LoaderConfig(tuple(_folders_of(host, _CONFIG, [])))


def _folders_of(host: Host, path: str, seen: list[str]) -> list[LoaderFolder]:
    if path in seen:  # a file that includes itself
        return []
    seen.append(path)
    found = []
    for number, line in enumerate((host.read(path) or "").split("\n"), start=1):
        words = line.partition("#")[0].split()
        if words and words[0] == "include":
            for pattern in words[1:]:
                for included in _matching(host, pattern if pattern.startswith("/") else f"/etc/{pattern}"):
                    found += _folders_of(host, included, seen)
        elif words and words[0].startswith("/"):
            # "/opt/lib=libc5" was a way to name the kind of library; it is still read.
            found.append(LoaderFolder(words[0].partition("=")[0].rstrip("/") or "/", path, number))
    return found


def _matching(host: Host, pattern: str) -> list[str]:
    """The files that a pattern of an include line names: a shell pattern in its last part."""
    from fnmatch import fnmatchcase  # here for start-up

    folder, _, name = pattern.rpartition("/")
    return [f"{folder}/{found}" for found in host.list(folder) or () if fnmatchcase(found, name)]


def find_library(
    host: Host, soname: str, elf_path: str, elf: Elf, library_path: Sequence[str], cache: LoaderCache
) -> Found | None:
    """What the loader takes for a name that the ELF file at `elf_path` needs, None if it finds nothing.

    `library_path`: the folders of LD_LIBRARY_PATH. Two things can come first and are not known from one file: a
    library of this name that the process has loaded already, and the RPATH of what loaded this file.
    """
    if "/" in soname:
        return _taken(host, soname, "its own path", elf)
    steps = [
        (elf.rpath if not elf.runpath else (), f"RPATH of {elf_path}"),
        (library_path, "LD_LIBRARY_PATH"),
        (elf.runpath, f"RUNPATH of {elf_path}"),
    ]
    for folders, by in steps:
        for folder in folders:
            found = _taken(host, f"{expanded(folder, elf_path)}/{soname}", by, elf) if folder else None
            if found:
                return found
    for path in cache.paths(soname):
        found = _taken(host, path, "ld.so.cache", elf)
        if found:
            return found
    for folder in DEFAULT_FOLDERS:
        found = _taken(host, f"{folder}/{soname}", "default folders", elf)
        if found:
            return found
    return None


def expanded(folder: str, elf_path: str) -> str:
    """A folder of RPATH or RUNPATH with $ORIGIN filled in: the folder of the file itself, links not followed."""
    origin = elf_path.rpartition("/")[0]
    return folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin).rstrip("/")


def _taken(host: Host, path: str, by: str, elf: Elf) -> Found | None:
    """None where nothing is there, and where the file is for other machines: the loader passes over both."""
    try:
        real_path = host.resolve(path)
        if real_path is None:
            return None
        # What is no ELF file at all stops the loader, and so is the answer.
        is_elf = host.read_bytes(path, 4) == b"\x7fELF"
        if is_elf and elf.machine and elf_machine(host, path) != elf.machine:
            return None
    except Unavailable:  # a folder that only others may enter: the loader, running as this user, passes over it too
        return None
    return Found(path, real_path, by)
