"""The four driver versions that explain most broken machines, and whether a driver is wanted here at all."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_packages import Part, brings_libraries, driver_packages
from gpudoctor.facts.kernels import InstalledKernels, ModuleFile, ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Kernel
from gpudoctor.host import NotRunning, Unavailable
from gpudoctor.registry import fact


class DriverVersions(NamedTuple):
    """Each "" where there is none; `loaded` is also "" on a disk, where nothing is loaded."""

    loaded: str  # L: the module in the kernel
    on_disk: str  # D: the module that modprobe would load for the running kernel
    on_disk_path: str
    user_space: str  # U: what libcuda.so.1 or libnvidia-ml.so.1 leads to
    user_space_path: str
    packaged: str  # P: the user-space driver package
    packaged_name: str
    next_boot: str = ""  # where another kernel boots next: the module that it would load

    @property
    def only_after_restart(self) -> bool:
        """On NixOS modprobe goes on with the modules of the generation that was booted."""
        return self.on_disk_path.startswith("/run/current-system/")


class DriverWanted(NamedTuple):
    """Why somebody wants an NVIDIA driver here: packages, a DKMS source, traces of the installer, libraries."""

    reasons: tuple[str, ...]


@fact
def driver_versions(
    kernel: Kernel,
    loaded: LoadedDriver | Unavailable,
    files: ModuleFiles,
    libraries: DriverLibraries,
    packages: Packages | Unavailable,
    kernels: InstalledKernels | Unavailable,
) -> DriverVersions:
    """All four, side by side."""
    if isinstance(loaded, Unavailable) and not isinstance(loaded, NotRunning):
        raise loaded
    module = next(iter(files.of(kernel.release)), None) or ModuleFile("", "", "", "", "", "", "", 0.0)
    library = libraries.get("libcuda.so.1") or libraries.get("libnvidia-ml.so.1")
    package = next(
        (p for p in packages.installed() if brings_libraries(p.name)) if isinstance(packages, Packages) else iter(()),
        None,
    )
    next_boot = kernels.next_boot if isinstance(kernels, InstalledKernels) else ""
    coming = next(iter(files.of(next_boot)), None) if next_boot not in ("", kernel.release) else None
    return DriverVersions(
        loaded.version if isinstance(loaded, LoadedDriver) else "",
        module.version,
        module.path,
        libraries.version,
        library.real_path if library else "",
        package.upstream if package else "",
        package.name if package else "",
        coming.version if coming else "",
    )


@fact
def driver_wanted(
    packages: Packages | Unavailable,
    dkms: Dkms,
    runfile: RunfileTraces,
    libraries: DriverLibraries | Unavailable,
    files: ModuleFiles | Unavailable,
) -> DriverWanted:
    """From what is installed; a package manager that cannot be read leaves the others to decide.

    Libraries and modules count where nothing else tells, as on Gentoo and NixOS, whose packages nobody knows here.
    """
    reasons = []
    if isinstance(packages, Packages):
        driver = [member for member in driver_packages(packages) if member.part not in (Part.TOOL, Part.FIRMWARE)]
        reasons += [f"package {member.name}" for member in driver[:3]]
    reasons += [f"DKMS source {source.module}/{source.version}" for source in dkms.sources]
    reasons += [f"installer trace {path}" for path in runfile.paths[:1]]
    return DriverWanted(tuple(reasons or _lying_there(libraries, files)))


def _lying_there(libraries: DriverLibraries | Unavailable, files: ModuleFiles | Unavailable) -> Iterator[str]:
    if isinstance(libraries, DriverLibraries):
        own = (one for one in libraries.libraries if one.version and "/compat" not in one.real_path)
        yield from (f"library {one.real_path}" for one in islice(own, 1))
    if isinstance(files, ModuleFiles):
        yield from (f"module {file.path}" for file in files.files[:1])
