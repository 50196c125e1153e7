"""The driver's user-space libraries, as the dynamic loader would find them (U of the four versions)."""

from typing import NamedTuple

from gpudoctor.facts.driver_version import is_driver_version
from gpudoctor.facts.ld_cache import paths_of
from gpudoctor.host import Host, quietly
from gpudoctor.registry import fact


class DriverLibrary(NamedTuple):
    """One file behind a soname."""

    soname: str  # "libcuda.so.1"
    path: str  # as the loader names it
    real_path: str  # with all links followed: "/usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.535.309.01"
    version: str  # "535.309.01", "" if the file name does not tell
    source: str  # "ld.so.cache" or the folder that was looked into
    modified: float  # seconds since the epoch, of the file itself


class DriverLibraries(NamedTuple):
    """libcuda, libnvidia-ml and their companions; for each soname the one that the loader takes comes first."""

    libraries: tuple[DriverLibrary, ...]

    def get(self, soname: str) -> DriverLibrary | None:
        return next((library for library in self.libraries if library.soname == soname), None)

    @property
    def version(self) -> str:
        """The version of libcuda, or of libnvidia-ml where there is no libcuda, "" without both."""
        for soname in ("libcuda.so.1", "libnvidia-ml.so.1"):
            library = self.get(soname)
            if library and library.version:
                return library.version
        return ""


SONAMES = ("libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1")

# Where the libraries lie when the loader's cache does not know them: a disk without a cache, WSL, the folder into which
# cloud images mount the host's driver, and NixOS.
FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/run/opengl-driver/lib",
)

_CACHE = "/etc/ld.so.cache"
_CACHE_LIMIT = 4 * 1024 * 1024


@fact
def driver_libraries(host: Host) -> DriverLibraries:
    """From ld.so.cache; for what it does not have, from the standard folders."""
    cached = paths_of(host.read_bytes(_CACHE, _CACHE_LIMIT) or b"", SONAMES)
    found = [
        _library(host, soname, path, "ld.so.cache")
        for soname in SONAMES
        for path in dict.fromkeys(cached.get(soname, ()))
    ]
    folders = (
        [folder for folder in FOLDERS if not cached and _is_there(host, folder)] if len(cached) < len(SONAMES) else []
    )
    missing = [soname for soname in SONAMES if soname not in cached]
    found += [_library(host, soname, f"{folder}/{soname}", folder) for soname in missing for folder in folders]
    # CUDA's forward-compatibility libcuda is no part of the installed driver, even where the loader takes it first.
    return DriverLibraries(tuple(sorted(filter(None, found), key=lambda library: "/compat/" in library.real_path)))


def _is_there(host: Host, folder: str) -> bool:
    if folder.startswith("/run/"):  # a disk has none, and older snapshots were not asked for it
        return quietly(host.status, folder) is not None
    return host.status(folder) is not None


def _library(host: Host, soname: str, path: str, source: str) -> DriverLibrary | None:
    real_path = host.resolve(path)
    status = host.status(path) if real_path else None
    if real_path is None or status is None:
        return None
    version = real_path.rpartition(".so.")[2]
    known = version if is_driver_version(version) else ""
    return DriverLibrary(soname, path, real_path, known, source, status.modified)
