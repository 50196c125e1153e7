"""All that a driver on request has to fit, as one fact: several fixes plan the same way to it."""

from typing import NamedTuple

from gpudoctor import Unavailable, fact
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.display_manager import DisplayManager
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.own_installation import OwnInstallation
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.package_offers import PackageOffers
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import GIVEN_AWAY, PciGpu, PciGpus
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.requested_runfile import RequestedRunfile
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.secure_boot import SecureBoot
from gpudoctor.facts.storage import FreeSpace
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.facts.wanted import Wanted


class Ground(NamedTuple):
    """This machine, as far as a driver has to do with it."""

    wanted: Wanted
    confinement: Confinement
    manager: PackageManager
    system: OperatingSystem
    kernel: Kernel
    kernels: InstalledKernels
    files: ModuleFiles
    dkms: Dkms
    packages: Packages
    runfile: RunfileTraces  # of a driver that was installed by hand before
    archive: RequestedRunfile
    versions: DriverVersions
    driver: LoadedDriver | Unavailable
    modules: LoadedModules | Unavailable
    users: DeviceUsers | Unavailable
    gpus: PciGpus | Unavailable
    offers: PackageOffers | Unavailable
    display: DisplayManager | Unavailable
    secure_boot: SecureBoot | Unavailable
    compilers: HostCompilers | Unavailable
    space: FreeSpace | Unavailable
    own: OwnInstallation | Unavailable

    @property
    def own_gpus(self) -> tuple[PciGpu, ...]:
        """Those that are not kept for virtual machines."""
        gpus = self.gpus.gpus if isinstance(self.gpus, PciGpus) else ()
        return tuple(gpu for gpu in gpus if gpu.driver not in GIVEN_AWAY)

    @property
    def releases(self) -> tuple[str, ...]:
        """The kernels that must have the module: the running one, and the one that boots next."""
        wanted = dict.fromkeys((self.kernel.release, self.kernels.next_boot))
        return tuple(release for release in wanted if release and self.kernels.get(release) is not None)


@fact
def ground(
    wanted: Wanted,
    confinement: Confinement,
    manager: PackageManager,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    dkms: Dkms,
    packages: Packages,
    runfile: RunfileTraces,
    archive: RequestedRunfile,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
    users: DeviceUsers | Unavailable,
    gpus: PciGpus | Unavailable,
    offers: PackageOffers | Unavailable,
    display: DisplayManager | Unavailable,
    secure_boot: SecureBoot | Unavailable,
    compilers: HostCompilers | Unavailable,
    space: FreeSpace | Unavailable,
    own: OwnInstallation | Unavailable,
) -> Ground:
    """Raises Unavailable where one of the facts that no plan can do without cannot be had."""
    return Ground(
        wanted,
        confinement,
        manager,
        system,
        kernel,
        kernels,
        files,
        dkms,
        packages,
        runfile,
        archive,
        versions,
        driver,
        modules,
        users,
        gpus,
        offers,
        display,
        secure_boot,
        compilers,
        space,
        own,
    )
