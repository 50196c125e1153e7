"""Versioned libraries in folders: NVIDIA's cuDNN and NCCL, where the system and toolkits keep them."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from gpudoctor.facts.c_headers import read_header, triple
from gpudoctor.facts.elf import Elf
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loader import DEFAULT_FOLDERS, Found, LoaderCache, find_library
from gpudoctor.facts.toolkits import CudaToolkits
from gpudoctor.host import Host, Unavailable

T = TypeVar("T")


class SharedLibrary(NamedTuple):
    """One soname in a folder, and the file behind it."""

    soname: str  # "libcudnn_ops.so.9"
    path: str
    real_path: str  # with all links followed
    version: str  # "9.10.2", "" if no file name tells

    @property
    def major(self) -> int | None:
        number = self.soname.rpartition(".so.")[2]
        return int(number) if number.isdecimal() else None


class Header(NamedTuple):
    """The header that programs are compiled with."""

    path: str  # "/usr/include/cudnn_version.h"
    real_path: str  # with all links followed: Debian's alternatives choose among several
    version: str  # "9.10.2", "" if the file does not tell


def libraries_in(host: Host, folder: str, beginning: str) -> tuple[SharedLibrary, ...]:
    """What the loader finds in a folder under names that begin so, one for each soname."""
    names = [name for name in host.list(folder) or () if name.startswith(beginning) and ".so." in name]
    found = []
    for name in names:
        if name.rpartition(".so.")[2].isdecimal():
            path = f"{folder}/{name}"
            real = host.resolve(path)
            if real is not None:
                found.append(SharedLibrary(name, path, real, _version(host, folder, name, real, names)))
    return tuple(found)


def _version(host: Host, folder: str, soname: str, real: str, names: list[str]) -> str:
    """From the name of the file behind the soname. Copying without links makes a file of each link; then the file
    with a version in its name that is as large tells.
    """
    version = real.rpartition(".so.")[2]
    if "." in version:
        return version
    longer = [name for name in names if name.startswith(f"{soname}.")]
    if not longer:
        return ""
    size = _size(host, real)
    same = [name for name in longer if _size(host, f"{folder}/{name}") == size]
    return same[0].rpartition(".so.")[2] if len(same) == 1 else ""


def _size(host: Host, path: str) -> int:
    status = host.status(path)
    return status.size if status else -1


def system_folders(
    host: Host,
    environment: Environment | Unavailable,
    cache: LoaderCache,
    toolkits: CudaToolkits | Unavailable,
    beginning: str,
) -> tuple[str, ...]:
    """Where libraries may lie whose sonames begin so: the folders that the loader searches, then those of CUDA
    toolkits and /usr/local/lib, where people copy them to.
    """
    cached = [path.rpartition("/")[0] for name in cache.sonames(beginning) for path in cache.paths(name)]
    known = toolkits.toolkits if isinstance(toolkits, CudaToolkits) else ()
    others = [f"{toolkit.folder}/{name}" for toolkit in known for name in ("lib64", "lib")]
    folders: dict[str, str] = {}
    for folder in dict.fromkeys((*_library_path(environment), *cached, *DEFAULT_FOLDERS, *others, "/usr/local/lib")):
        try:
            real = host.resolve(folder)
        except Unavailable:  # whoever looks into it will meet the reason
            real = folder
        if real is not None:
            folders.setdefault(real, folder)  # /lib is a link to /usr/lib on most systems: thousands of names
    return tuple(folders.values())


def look_into(folders: tuple[str, ...], look: Callable[[str], T | None]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """What `look` finds in these folders, in their order, and why others could not be looked into."""
    found = []
    unread = []
    for folder in folders:
        try:
            here = look(folder)
        except Unavailable as reason:
            unread.append(str(reason))
        else:
            found += [] if here is None else [here]
    return tuple(found), tuple(unread)


def loaded(host: Host, soname: str, environment: Environment | Unavailable, cache: LoaderCache) -> Found | None:
    """What a program gets that says nothing of where to look, None if nothing."""
    return find_library(host, soname, "", Elf("", "", (), (), ()), _library_path(environment), cache)


def _library_path(environment: Environment | Unavailable) -> tuple[str, ...]:
    folders = environment.folders("LD_LIBRARY_PATH") if isinstance(environment, Environment) else ()
    return tuple(folder.rstrip("/") for folder in folders if folder.startswith("/"))


def include_folders(host: Host, toolkits: CudaToolkits | Unavailable) -> tuple[str, ...]:
    """The folders in which compilers look for headers of the system and of CUDA toolkits."""
    known = toolkits.toolkits if isinstance(toolkits, CudaToolkits) else ()
    folders = (
        "/usr/local/include",
        "/usr/include/x86_64-linux-gnu",
        "/usr/include/aarch64-linux-gnu",
        "/usr/include",
        *(f"{toolkit.folder}/include" for toolkit in known),
    )
    return tuple(folder for folder in folders if host.exists(folder))


def header_in(host: Host, folder: str, name: str, numbers: tuple[str, str, str]) -> Header | None:
    """A header in a folder, with the version that these three names stand for; None if there is none to be read."""
    path = f"{folder}/{name}"
    try:
        text = read_header(host, path)
        real = host.resolve(path)
    except Unavailable:
        return None
    return None if text is None or real is None else Header(path, real, triple(text, numbers))
