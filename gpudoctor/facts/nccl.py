"""NCCL: the library of the system, with the one that the loader takes, and the one in a folder."""

from typing import NamedTuple

from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.shared_libraries import (
    Header,
    SharedLibrary,
    header_in,
    include_folders,
    libraries_in,
    loaded,
    look_into,
    system_folders,
)
from gpudoctor.facts.toolkits import CudaToolkits
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class NcclLibraries(NamedTuple):
    """NCCL outside of Python environments."""

    libraries: tuple[SharedLibrary, ...]  # those of LD_LIBRARY_PATH first, then as the loader's cache has them
    headers: tuple[Header, ...]
    taken: SharedLibrary | None  # what a program without RUNPATH gets
    packages: tuple[Package, ...]
    unread: tuple[str, ...] = ()  # folders that could not be looked into, with the reason


_SONAME = "libnccl.so.2"


@fact
def nccl_libraries(
    host: Host,
    environment: Environment | Unavailable,
    cache: LoaderCache,
    toolkits: CudaToolkits | Unavailable,
    packages: Packages | Unavailable,
) -> NcclLibraries:
    """From LD_LIBRARY_PATH, ld.so.cache, the system's folders and those of CUDA toolkits, each file once."""
    places = system_folders(host, environment, cache, toolkits, _SONAME)
    libraries, unread = look_into(places, lambda folder: nccl_in(host, folder))
    found: dict[str, SharedLibrary] = {}
    for library in libraries:
        found.setdefault(library.real_path, library)
    known = packages.installed() if isinstance(packages, Packages) else ()
    headers = [_header(host, folder) for folder in include_folders(host, toolkits)]
    taken = loaded(host, _SONAME, environment, cache)
    return NcclLibraries(
        tuple(found.values()),
        tuple(header for header in headers if header),
        taken and (found.get(taken.real_path) or SharedLibrary(_SONAME, taken.path, taken.real_path, "")),
        tuple(package for package in known if "nccl" in package.name),
        unread,
    )


def nccl_in(host: Host, folder: str) -> SharedLibrary | None:
    """The NCCL in a folder of libraries, None if it has none. Raises Unavailable if it cannot be looked into.

    Where the file's name tells no version, as in Python's wheels, the header in the folder's own include folder does.
    """
    if not host.exists(f"{folder}/{_SONAME}"):  # quicker than to list a folder of thousands
        return None
    library = next((one for one in libraries_in(host, folder, "libnccl.so.") if one.soname == _SONAME), None)
    if library is None or library.version:
        return library
    header = _header(host, f"{folder.rpartition('/')[0]}/include")
    return library._replace(version=header.version) if header else library


def _header(host: Host, folder: str) -> Header | None:
    return header_in(host, folder, "nccl.h", ("NCCL_MAJOR", "NCCL_MINOR", "NCCL_PATCH"))
