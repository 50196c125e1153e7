"""More than one driver on one disk: two branches, two vendors, or packages and NVIDIA's own installer."""

from collections.abc import Iterator, Sequence

from gpudoctor import Effort, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_packages import driver_packages, released_together
from gpudoctor.facts.driver_sets import branch_sets, makers, set_to_keep
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.package_manager import PackageManager, fetch, install, package_version, reinstall, remove
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._modules import refresh_initramfs, restart
from ._packaging import change, finish_first, targets
from ._proofs import libraries_found, removed
from ._runfiles import uninstalled
from ._scope import by_hand_if_unsafe, own_driver


@fix("one-branch", cures=["packages.two-branches", "packages.overwrite-conflict"], effort=Effort.ONE_ORIGIN)
@by_hand_if_unsafe
def one_branch(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    packages: Packages,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
) -> Iterator[Step]:
    """Remove the packages of the branch that the kernel module does not belong to."""
    sets = branch_sets(driver_packages(packages))
    if not own_driver(confinement) or not manager.kind or len(sets) < 2:
        return
    kept = set_to_keep(sets, (versions.loaded, versions.on_disk, versions.user_space))
    leaving = tuple(member for name, members in sets.items() if name != kept for member in members)
    names = targets(leaving, packages)
    proof = removed(manager, names)
    yield from change(
        manager,
        remove(manager, names),
        f"Branch {kept} stays, for its kernel module is the one in use; these belong to another one and put files "
        "in the same places. Look in the trial at what goes with them."
        + ("" if proof else " Its exit status is the proof."),
        proof,
        Run(install(manager, names)),
        phase=Phase.REMOVE,
        risk=Risk.HIGH,
    )
    yield from finish_first(manager, packages)
    stay = targets((member for member in sets[kept] if member.version), packages)
    yield Step(
        Run(reinstall(manager, stay)),
        f"The packages that went may have taken files with them that branch {kept} put in the same place.",
        Phase.INSTALL,
        Risk.MEDIUM,
        verify=libraries_found(),
        undo=Manual("The same files are put back; there is nothing to go back to."),
    )
    if kernel.running and isinstance(driver, LoadedDriver) and driver.loaded:
        yield restart("Programs that run now may still use the libraries of the other branch.")


@fix("one-origin", cures=["packages.mixed-origins", "packages.two-branches"], effort=Effort.ONE_ORIGIN)
@by_hand_if_unsafe
def one_origin(confinement: Confinement, manager: PackageManager, packages: Packages) -> Iterator[Step]:
    """Decide for one maker of the driver's packages, and keep the other's away."""
    origins = makers(packages)
    if not own_driver(confinement) or len(origins) < 2:
        return
    vendors = "; ".join(
        f"{maker}: {', '.join(member.name for member in members[:4])}{' and others' if len(members) > 4 else ''}"
        for maker, members in sorted(origins.items(), key=lambda item: -len(item[1]))
    )
    yield Step(
        Manual(f"Choose one of these makers ({vendors}), and {_keep_away(manager)}"),
        "Two makers cut one driver into packages in two ways, and each upgrade may mix them again; which of them to "
        "trust with upgrades is the owner's choice.",
        Phase.AFTERWARDS,
        Risk.MEDIUM,
    )


def _keep_away(manager: PackageManager) -> str:
    match manager.kind:
        case "apt":
            return (
                "pin the other away in /etc/apt/preferences.d for the packages nvidia-driver* nvidia-kernel* "
                "nvidia-dkms* libnvidia-* libcuda1 cuda-drivers* (not for the packages of containers); see "
                "`apt-cache policy`, and install the branch from the one that stays, with -s first."
            )
        case "dnf":
            return (
                "disable the other repository's driver (`dnf config-manager`, exclude=), then run `dnf distro-sync` on "
                "the driver's packages, with --assumeno first."
            )
        case "zypper":
            return "lower the other repository's priority or disable it, then `zypper dup --from` the one that stays."
        case _:
            return "take every package of the driver from it."


@fix("remove-runfile", cures=["packages.runfile-and-packages"], effort=Effort.ONE_ORIGIN)
@by_hand_if_unsafe
def remove_runfile(
    confinement: Confinement,
    manager: PackageManager,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    dkms: Dkms,
    packages: Packages,
    runfile: RunfileTraces,
    libraries: DriverLibraries | Unavailable,
    driver: LoadedDriver | Unavailable,
) -> Iterator[Step]:
    """Uninstall the driver that was installed by hand, and put back the packages' files that go with it."""
    versions = {member.version for member in released_together(packages)}
    # With data and settings of the same release that fit any driver: the uninstaller takes those along too.
    members = [package for package in packages.installed() if package.upstream in versions]
    if not own_driver(confinement) or not manager.kind or not members or not runfile.paths:
        return
    if not runfile.uninstaller:
        yield _without_uninstaller(runfile, libraries)
        return
    names = targets(members, packages)
    yield Step(
        Run(fetch(manager, names)),
        "The packages are downloaded before anything is removed: without them the machine would be left without a "
        "driver.",
        Phase.SIMULATE,
        verify=_on_offer(manager, members, packages),
    )
    version = runfile.version or "that was installed by hand"
    yield uninstalled(
        version, f"Driver {version} lies over the one of the packages, and comes back over it after every upgrade."
    )
    yield from finish_first(manager, packages)
    yield Step(
        Run(reinstall(manager, names)),
        "The uninstaller deletes files that packages own, and may put back older ones: all are written anew.",
        Phase.INSTALL,
        Risk.MEDIUM,
        verify=libraries_found(),
        undo=Manual("The packages' own files are put back; there is nothing to go back to."),
    )
    release = kernels.next_boot or kernel.release
    if dkms.sources:
        yield Step(
            Run(("dkms", "autoinstall", "-k", release)),
            "The uninstaller may have taken the module along; DKMS builds the one of the packages. Its exit status is "
            "the proof.",
            Phase.BUILD,
            Risk.LOW,
            undo=Manual("Nothing that worked before is changed by it."),
        )
    yield refresh_initramfs(release, system, kernels, None)
    if kernel.running:
        yield restart("The module that was installed by hand may still be loaded.")


def _on_offer(manager: PackageManager, members: Sequence[Package], packages: Packages) -> Run | None:
    """apt-get ends with 0 even where the installed version of a package cannot be had any more: it only says so."""
    if manager.kind != "apt":
        return None
    versions = (package_version(package.version) for package in members)
    names = (targets((package,), packages)[0] for package in members)
    return Run(("apt-get", "--print-uris", "download", *(f"{n}={v}" for n, v in zip(names, versions, strict=True))))


def _without_uninstaller(runfile: RunfileTraces, libraries: DriverLibraries | Unavailable) -> Step:
    found = libraries.libraries if isinstance(libraries, DriverLibraries) else ()
    leftovers = dict.fromkeys(library.real_path for library in found if library.version == runfile.version)
    which = f" (for example {', '.join(list(leftovers)[:3])})" if leftovers and runfile.version else ""
    version = runfile.version or "of the same version"
    return Step(
        Manual(
            f"The uninstaller is gone. Run NVIDIA's installer {version} with --uninstall; or find the files that no "
            f"package owns{which}, remove them by hand, and reinstall the driver's packages."
        ),
        f"Traces of a driver that was installed by hand: {', '.join(runfile.paths[:3])}.",
        Phase.REMOVE,
        Risk.HIGH,
    )
