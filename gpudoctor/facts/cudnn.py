"""cuDNN: its libraries and headers in a folder, and those of the system with the one that the loader takes."""

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


class CudnnFolder(NamedTuple):
    """The main and sub-libraries of one folder; of several major versions, where those lie together."""

    folder: str
    real_folder: str
    libraries: tuple[SharedLibrary, ...]  # by soname
    header: Header | None  # that of the include folder that goes with it

    @property
    def majors(self) -> tuple[int, ...]:
        """The major versions whose main library is here, ascending."""
        found = {one.major for one in self.libraries if one.soname.startswith("libcudnn.so.")}
        return tuple(sorted(major for major in found if major is not None))

    def of(self, major: int) -> tuple[SharedLibrary, ...]:
        return tuple(library for library in self.libraries if library.major == major)

    def version(self, major: int) -> str:
        """Of the main library, by its file's name; where that does not tell, as in Python's wheels, by the header."""
        main = next((one for one in self.libraries if one.soname == f"libcudnn.so.{major}"), None)
        if main is None or main.version:
            return main.version if main else ""
        version = self.header.version if self.header else ""
        return version if version.startswith(f"{major}.") else ""


class CudnnLibraries(NamedTuple):
    """cuDNN outside of Python environments."""

    folders: tuple[CudnnFolder, ...]  # those of LD_LIBRARY_PATH first, then as the loader's cache has them
    headers: tuple[Header, ...]  # in the order in which compilers look
    taken: tuple[SharedLibrary, ...]  # of each major version the main library that a program without RUNPATH gets
    packages: tuple[Package, ...]  # "libcudnn9-cuda-12", "cudnn"...
    unread: tuple[str, ...] = ()  # folders that could not be looked into, with the reason

    def folder(self, path: str) -> CudnnFolder | None:
        return next((folder for folder in self.folders if path in (folder.folder, folder.real_folder)), None)


_MAIN = "libcudnn.so."


@fact
def cudnn_libraries(
    host: Host,
    environment: Environment | Unavailable,
    cache: LoaderCache,
    toolkits: CudaToolkits | Unavailable,
    packages: Packages | Unavailable,
) -> CudnnLibraries:
    """From LD_LIBRARY_PATH, ld.so.cache, the system's folders and those of CUDA toolkits, each real folder once."""
    places = system_folders(host, environment, cache, toolkits, _MAIN)
    found, unread = look_into(places, lambda folder: cudnn_in(host, folder))
    headers = [_header(host, folder) for folder in include_folders(host, toolkits)]
    known = packages.installed() if isinstance(packages, Packages) else ()
    return CudnnLibraries(
        found,
        tuple({header.real_path: header for header in reversed(headers) if header}.values())[::-1],
        _taken(host, environment, cache, found),
        tuple(package for package in known if "cudnn" in package.name),
        unread,
    )


def cudnn_in(host: Host, folder: str) -> CudnnFolder | None:
    """The cuDNN in a folder of libraries (of the system, a toolkit, a conda environment, a wheel's nvidia/cudnn/lib);
    None if it has none. Raises Unavailable if it cannot be looked into.
    """
    libraries = libraries_in(host, folder, "libcudnn")
    real = host.resolve(folder) if libraries else None
    if real is None:
        return None
    # /usr/local/cuda/lib64 is a link to targets/x86_64-linux/lib: both have an include folder beside them.
    places = dict.fromkeys(f"{path.rpartition('/')[0]}/include" for path in (folder, real))
    if real.startswith("/usr/lib/"):  # a multiarch folder has its headers elsewhere
        places |= dict.fromkeys((f"/usr/include/{real.rpartition('/')[2]}", "/usr/include"))
    headers = (_header(host, place) for place in places)
    return CudnnFolder(folder, real, libraries, next(filter(None, headers), None))


def _header(host: Host, folder: str) -> Header | None:
    """cudnn_version.h, or up to cuDNN 7 cudnn.h itself."""
    names = ("CUDNN_MAJOR", "CUDNN_MINOR", "CUDNN_PATCHLEVEL")
    return header_in(host, folder, "cudnn_version.h", names) or header_in(host, folder, "cudnn.h", names)


def _taken(
    host: Host, environment: Environment | Unavailable, cache: LoaderCache, folders: tuple[CudnnFolder, ...]
) -> tuple[SharedLibrary, ...]:
    found = []
    for major in sorted({major for folder in folders for major in folder.majors}):
        soname = f"{_MAIN}{major}"
        taken = loaded(host, soname, environment, cache)
        versions = [
            folder.version(major)
            for folder in folders
            for library in folder.libraries
            if taken and library.soname == soname and library.real_path == taken.real_path
        ]
        found += [SharedLibrary(soname, *taken[:2], next(iter(versions), ""))] if taken else []
    return tuple(found)
