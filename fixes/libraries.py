"""Put back files of the driver that are gone from the disk: libraries, and the firmware of newer GPUs."""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Run, Step, Unavailable, fix
from gpudoctor.facts.driver_packages import DriverPackage, brings_libraries, driver_packages
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.package_manager import PackageManager, install, install_versions, reinstall, remove
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._modules import main_module, refresh_initramfs, restart
from ._packaging import change, finish_first, targets
from ._proofs import installed, libraries_found, there
from ._scope import by_hand_if_unsafe, driver_release, own_driver

# Where no package is made of firmware alone: NVIDIA's repository, RPM Fusion, Arch.
_WITH_FIRMWARE = ("nvidia-kmod-common", "xorg-x11-drv-nvidia", "nvidia-utils")


@fix("reinstall-libraries", cures=["driver.library-missing"], effort=Effort.FINISH_PACKAGES)
@by_hand_if_unsafe
def reinstall_libraries(
    confinement: Confinement, manager: PackageManager, packages: Packages, versions: DriverVersions
) -> Iterator[Step]:
    """Put the driver's libraries back in place, from the packages that own them."""
    if not own_driver(confinement) or not manager.kind:
        return
    members = driver_packages(packages)
    owners = [member for member in members if brings_libraries(member.name)]
    if owners:
        names = targets(owners, packages)
        argv = reinstall(manager, names)
        undo: Run | Manual = Manual("The same files are put back; there is nothing to go back to.")
    else:
        names = _library_packages(manager, members)
        if not names:
            return
        argv, undo = install(manager, names), Run(remove(manager, names))
    yield from finish_first(manager, packages)
    yield from change(
        manager,
        argv,
        f"libcuda and libnvidia-ml come from {', '.join(names)}, and are not to be found now.",
        installed(manager, names),
        undo,
    )
    yield Step(
        Run(("ldconfig",)),
        "The loader looks its libraries up in a cache, which is written anew.",
        Phase.REBUILD,
        verify=libraries_found(),
        undo=Run(("ldconfig",)),
    )


@fix("install-gsp-firmware", cures=["driver.gsp-firmware-missing"], effort=Effort.FINISH_PACKAGES)
@by_hand_if_unsafe
def install_gsp_firmware(
    confinement: Confinement,
    manager: PackageManager,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    packages: Packages,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
) -> Iterator[Step]:
    """Install the GSP firmware of exactly the driver's version."""
    version = versions.loaded or versions.on_disk
    if not own_driver(confinement) or not manager.kind or not version:
        return
    members = driver_packages(packages)
    fitting = [
        package
        for package in packages.installed()
        if package.upstream == version and ("firmware" in package.name or package.name in _WITH_FIRMWARE)
    ]
    if fitting:
        names = targets(fitting, packages)
        argv, undo = reinstall(manager, names), Manual("The same files are put back; there is nothing to go back to.")
    else:
        found = _firmware_package(manager, members, driver_release(version))
        exact = install_versions(manager, found)
        names = tuple(found)
        if not names or exact is None:
            return
        # Where the name itself tells the version there is only one to choose from.
        argv = exact if all(found.values()) else install(manager, names)
        undo = Manual(f"Remove it again, or install its old version: {', '.join(names)}.")
    yield from finish_first(manager, packages)
    yield from change(
        manager,
        argv,
        f"Driver {version} starts the GPU with firmware of exactly its own version.",
        there(f"/lib/firmware/nvidia/{driver_release(version)}"),
        undo,
    )
    release = kernels.next_boot or kernel.release
    yield refresh_initramfs(release, system, kernels, main_module(files, release))
    if kernel.running:
        yield restart("The firmware is read when the module is loaded.", version if versions.on_disk == version else "")


def _library_packages(manager: PackageManager, members: tuple[DriverPackage, ...]) -> tuple[str, ...]:
    """What would bring the libraries to the kernel module that is there, by the names of the distribution."""
    names = {member.name for member in members}
    match manager.kind:
        case "apt" if names & {"nvidia-kernel-dkms", "nvidia-open-kernel-dkms"}:
            return ("libcuda1", "libnvidia-ml1")
        case "apt":
            for name in sorted(names):
                for prefix in ("nvidia-dkms-", "nvidia-kernel-common-", "nvidia-kernel-source-"):
                    if name.startswith(prefix):
                        return (f"libnvidia-compute-{name.removeprefix(prefix).removesuffix('-open')}",)
        case "dnf" if any(name.startswith("akmod-nvidia") for name in names):
            series = next(n for n in sorted(names) if n.startswith("akmod-nvidia")).removeprefix("akmod-nvidia")
            return (f"xorg-x11-drv-nvidia{series.removesuffix('-open')}-cuda-libs",)
        case "dnf" if any(name.startswith("kmod-nvidia") for name in names):
            return ("nvidia-driver-cuda-libs",)
        case "zypper":
            for name in sorted(names):
                if "-G0" in name:
                    return (f"nvidia-compute-G0{name.partition('-G0')[2][:1]}",)
        case "pacman":
            return ("nvidia-utils",)
    return ()


def _firmware_package(manager: PackageManager, members: tuple[DriverPackage, ...], version: str) -> dict[str, str]:
    """Name to version of the package that brings this driver's firmware, {} where no package of its own does."""
    if manager.kind != "apt":
        return {}
    fitting = {member.name: member.package.version for member in members if member.version == version}
    for name, exact in fitting.items():
        # Ubuntu: one package for each release, beside nvidia-kernel-common-580-server and its like.
        series = name.removeprefix("nvidia-kernel-common-")
        if series != name:
            return {f"nvidia-firmware-{series}-{version}": exact}
    for name in ("nvidia-kernel-dkms", "nvidia-open-kernel-dkms"):
        if name in fitting:
            return {"firmware-nvidia-gsp": fitting[name]}
    return {}
