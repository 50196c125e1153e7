"""Bring the driver's packages into one consistent state: finish, align, release, put back."""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_packages import driver_packages, released_together
from gpudoctor.facts.driver_sets import branch_sets, lagging, partly_held
from gpudoctor.facts.kernels import InstalledKernels
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import (
    PackageManager,
    clean,
    hold,
    install_versions,
    reinstall,
    unhold,
    upgrade,
)
from gpudoctor.facts.package_run import PackageRun
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.facts.versions import DriverVersions

from ._modules import after_package_change, load
from ._packaging import back_to, change, configure_all, finish_first, targets, waiting
from ._proofs import all_configured, dependencies_met, installed, installed_versions, not_held
from ._scope import by_hand_if_unsafe, own_driver


@fix(
    "finish-packages",
    cures=["packages.half-configured", "packages.held-or-broken"],
    effort=Effort.FINISH_PACKAGES,
)
@by_hand_if_unsafe
def finish_packages(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    packages: Packages,
    dkms: Dkms,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
    runfile: RunfileTraces | Unavailable,
    run: PackageRun | Unavailable,
) -> Iterator[Step]:
    """Let the package manager finish what was interrupted, and mend what dependencies are unmet."""
    if not own_driver(confinement):
        return
    if isinstance(run, PackageRun) and run.command:
        wait = f"Wait until {run.command} (process {run.process_id}) has ended, then run gpudoctor again."
        yield Step(Manual(wait), "It is at work; whoever interrupts it leaves packages half installed.", root=False)
        return
    match manager.kind:
        case "apt" if waiting(packages) or not any(package.hold for package in packages.installed()):
            yield from _runfile_first(packages, runfile)
            yield from finish_first(manager, packages)
            mend = ("apt-get", "-y", "--no-remove", "-o", "Dpkg::Options::=--force-confold", "--fix-broken", "install")
            yield from change(
                manager,
                mend,
                "Unmet dependencies are installed; nothing is removed for it.",
                all_configured(),
                Manual("What is finished stays so; there is nothing to go back to."),
                phase=Phase.CONFIGURE,
            )
            broken = tuple(package for package in waiting(packages) if package.state == "half-installed")
            if broken:
                names = targets(broken, packages)
                yield Step(
                    Run(reinstall(manager, names)),
                    f"Of {', '.join(names)} not even the files are all there: they are unpacked anew.",
                    Phase.CONFIGURE,
                    Risk.MEDIUM,
                    verify=installed(manager, names),
                    undo=Manual("What is finished stays so; there is nothing to go back to."),
                )
        case "zypper" if released_together(packages):
            yield from change(
                manager,
                ("zypper", "--non-interactive", "verify"),
                "What installed packages need and lack is installed.",
                dependencies_met(targets(released_together(packages), packages)),
                back_to(released_together(packages)),
            )
        case "dnf":
            members = released_together(packages)
            if not members:
                return
            names = targets(members, packages)
            yield from change(
                manager,
                ("dnf", "-y", "distro-sync", *names),
                "The driver's packages are brought to the versions of the repositories, all at once.",
                dependencies_met(names),
                back_to(members),
            )
        case "pacman":
            yield from change(
                manager,
                upgrade(manager, ()),
                "Arch knows only whole upgrades: all packages together.",
                Run(("pacman", "-Dk")),
                back_to(released_together(packages)),
            )
        case _:
            return
    if isinstance(driver, LoadedDriver) and driver.loaded:
        if driver.version != versions.user_space:
            yield from after_package_change(kernel, driver)
    elif dkms.sources:
        yield from load(kernel, driver, modules)


def _runfile_first(packages: Packages, runfile: RunfileTraces | Unavailable) -> Iterator[Step]:
    """Debian's package that clears the way for the driver refuses to, as long as one from a .run file is there."""
    stuck = any(package.name == "nvidia-installer-cleanup" for package in waiting(packages))
    if not stuck or isinstance(runfile, Unavailable) or not runfile.paths:
        return
    how = f"`{runfile.uninstaller}`" if runfile.uninstaller else "the .run file of the same version with `--uninstall`"
    yield Step(
        Manual(
            f"Decide which driver stays. For the packaged one: stop what uses the GPU and run {how}. For the one from "
            f"the .run file: go no further here, and remove the driver's packages instead."
        ),
        "nvidia-installer-cleanup will not be configured while NVIDIA's installer has a driver here, and the rest "
        "waits for it.",
        Phase.STOP,
        Risk.HIGH,
    )


@fix("align-packages", cures=["packages.partial-upgrade", "packages.held-or-broken"], effort=Effort.FINISH_PACKAGES)
@by_hand_if_unsafe
def align_packages(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    packages: Packages,
    driver: LoadedDriver | Unavailable,
) -> Iterator[Step]:
    """Bring all packages of the driver to one version, those on hold with them."""
    lags = [
        lag
        for lag in lagging(packages)
        # Libraries of two branches are another fault: there is no one version to bring them to.
        if len(branch_sets((*lag.ahead, *lag.behind))) < 2
    ]
    if not own_driver(confinement) or not manager.kind or not lags:
        return
    yield from finish_first(manager, packages)
    for lag in lags:
        laggards = (*lag.behind, *lag.tied)
        names = targets(laggards, packages)
        yield from _release(manager, tuple(member.package for member in laggards if member.package.hold), packages)
        full = {member.package.version for member in lag.ahead}
        # A package from another source is numbered in its own way: SUSE's module beside NVIDIA's libraries.
        alike = manager.kind == "apt" or full == {m.package.version.replace(m.version, lag.newest) for m in laggards}
        wanted = dict.fromkeys(names, full.pop()) if len(full) == 1 and alike else {}
        exact = install_versions(manager, wanted) if wanted else None
        yield from change(
            manager,
            _held_too(manager, exact or upgrade(manager, names)),
            f"{', '.join(m.name for m in laggards[:4])} {'are' if len(laggards) > 1 else 'is'} behind: the rest of the "
            f"driver is {lag.newest}, and all its parts must be of one version.",
            installed_versions(manager, wanted) if wanted and exact else installed(manager, names),
            back_to(laggards),
        )
    yield from after_package_change(kernel, driver, lags[0].newest if len(lags) == 1 else "")


@fix("release-holds", cures=["packages.held-or-broken"], effort=Effort.FINISH_PACKAGES)
@by_hand_if_unsafe
def release_holds(confinement: Confinement, manager: PackageManager, packages: Packages) -> Iterator[Step]:
    """Release a hold that lies on a part of the driver only: the rest moves on without it."""
    # Those that lag already are for align-packages, which releases them too.
    if own_driver(confinement) and manager.kind and not any(lagging(packages)):
        for held, _ in partly_held(packages):
            yield from _release(manager, tuple(member.package for member in held), packages)


@fix("free-space", cures=["packages.disk-full"], effort=Effort.FINISH_PACKAGES)
@by_hand_if_unsafe
def free_space(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    kernels: InstalledKernels | Unavailable,
    packages: Packages,
) -> Iterator[Step]:
    """Show what can go from a full disk, oldest kernels first, then finish what the lack of room interrupted."""
    if not own_driver(confinement):
        return
    if manager.kind == "apt":
        yield Step(
            Run(("apt-get", "-s", "autoremove")),
            "Only a list of what nothing needs any more; look whether a part of the driver is on it.",
            Phase.SIMULATE,
            root=False,
        )
    cleaning = clean(manager)
    if cleaning:
        yield Step(
            Run(cleaning),
            "Package files that were downloaded before are deleted; they come again when needed. Its exit status is "
            "the proof.",
            Phase.STOP,
            undo=Manual("What is needed is downloaded again."),
        )
    listed = kernels.kernels if isinstance(kernels, InstalledKernels) else ()
    keep = {kernel.release, kernels.next_boot if isinstance(kernels, InstalledKernels) else ""}
    old = [installed_kernel.release for installed_kernel in listed[1:] if installed_kernel.release not in keep]
    kernels_too = f"the packages of kernels that you do not boot any more ({', '.join(old)}), " if old else ""
    yield Step(
        Manual(
            f"Have at least 1 GB free on / and /var and 100 MB on /boot: remove {kernels_too}downloaded packages, old "
            f"logs, and what else need not be there. Keep the running kernel {kernel.release} and one more."
        ),
        "What may be deleted is its owner's choice; without room no package can be finished.",
        Phase.STOP,
        Risk.MEDIUM,
    )
    if manager.kind == "apt" and waiting(packages):
        yield configure_all(packages)


@fix("resolve-overwrite", cures=["packages.overwrite-conflict"], effort=Effort.ONE_ORIGIN)
@by_hand_if_unsafe
def resolve_overwrite(confinement: Confinement, manager: PackageManager, packages: Packages) -> Iterator[Step]:
    """Two packages claim the same file: name both, for one of them has to go."""
    stuck = waiting(packages)
    several = len(branch_sets(driver_packages(packages))) > 1  # that is for one-branch
    if not own_driver(confinement) or manager.kind != "apt" or not stuck or several:
        return
    names = ", ".join(package.name for package in stuck[:6])
    yield Step(
        Manual(
            f"Decide which driver stays. The package manager's message names the other package that has the file; "
            f"look with `apt-get -s remove THAT-PACKAGE` at what goes with it, remove it, then run "
            f"`apt-get --fix-broken install`. Waiting now: {names}. Never let dpkg overwrite the file by force."
        ),
        "Sets of packages from two makers or of two kinds (desktop, server) share file names, and only one can stay.",
        Phase.REMOVE,
        Risk.HIGH,
    )


def _release(manager: PackageManager, held: tuple[Package, ...], packages: Packages) -> Iterator[Step]:
    if not held:
        return
    names = targets(held, packages)
    argv, back = unhold(manager, names), hold(manager, names)
    if argv is None or back is None:
        yield Step(
            Manual(f"Take {', '.join(names)} out of IgnorePkg in /etc/pacman.conf."),
            "A part of the driver that is held back while the rest moves on breaks it.",
            Phase.STOP,
        )
        return
    proof = not_held(manager, names)
    yield Step(
        Run(argv),
        f"A hold on {', '.join(names)} alone lets the rest of the driver and the kernel move on without it."
        + ("" if proof else " Its exit status is the proof."),
        Phase.STOP,
        Risk.MEDIUM,
        verify=proof,
        undo=Run(back),
    )


def _held_too(manager: PackageManager, argv: tuple[str, ...]) -> tuple[str, ...]:
    # The trial runs while the hold is still on.
    return (argv[0], "--allow-change-held-packages", *argv[1:]) if manager.kind == "apt" else argv
