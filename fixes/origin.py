"""More than one driver on one disk: two branches, two vendors, or packages and NVIDIA's own installer."""

from collections.abc import Iterator, Mapping, Sequence

from gpudoctor import Effort, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.package_manager import PackageManager, fetch, install, reinstall, remove
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._driver_set import by_branch, driver_packages, targets
from ._modules import refresh_initramfs, restart
from ._packaging import change, finish_first
from ._proofs import gone, libraries_found, removed, there
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
    branches = by_branch(driver_packages(packages))
    if not own_driver(confinement) or not manager.kind or len(branches) < 2:
        return
    kept = _branch_to_keep(branches, versions)
    leaving = tuple(package for branch, members in branches.items() if branch != kept for package in members)
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
    stay = targets(branches[kept], packages)
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
    by_vendor: dict[str, list[str]] = {}
    for package in driver_packages(packages):
        by_vendor.setdefault(package.vendor.partition(" <")[0] or "unknown", []).append(package.name)
    if not own_driver(confinement) or len(by_vendor) < 2:
        return
    vendors = "; ".join(
        f"{vendor}: {', '.join(names[:4])}{' and others' if len(names) > 4 else ''}"
        for vendor, names in sorted(by_vendor.items(), key=lambda item: -len(item[1]))
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
    members = driver_packages(packages)
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
        verify=_downloaded(manager, members),
    )
    version = runfile.version or "that was installed by hand"
    yield Step(
        Run(("nvidia-uninstall", "--silent")),
        f"Driver {version} lies over the one of the packages, and comes back over it after every upgrade.",
        Phase.REMOVE,
        Risk.HIGH,
        verify=gone("/var/lib/nvidia/log"),
        undo=Manual(f"Run NVIDIA's installer {version} again."),
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


def _downloaded(manager: PackageManager, members: Sequence[Package]) -> Run | None:
    """apt-get ends with 0 even where a package cannot be downloaded any more; the file in its cache tells."""
    plain = [package for package in members if ":" not in package.version]
    first = next((p for p in plain if p.name.startswith(("libcuda1", "libnvidia-compute"))), next(iter(plain), None))
    if manager.kind != "apt" or first is None:
        return None
    return there(f"/var/cache/apt/archives/{first.name}_{first.version}_{first.architecture}.deb")


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


def _branch_to_keep(branches: Mapping[int, tuple[Package, ...]], versions: DriverVersions) -> int:
    for version in (versions.loaded, versions.on_disk, versions.user_space):
        branch = version.partition(".")[0]
        if branch.isdigit() and int(branch) in branches:
            return int(branch)
    return max(branches)
