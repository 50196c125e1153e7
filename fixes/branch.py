"""Another release of the driver: an older branch for GPUs that newer ones dropped, a newer one for newer GPUs."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_packages import released_together
from gpudoctor.facts.driver_version import newest
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import PackageManager, replace, upgrade
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem

from ._branches import UBUNTU, how_by_hand, rpm_fusion_exchange, ubuntu_exchange
from ._modules import after_package_change, lacking, load, name_to_be
from ._packaging import back_to, change, finish_first, targets
from ._proofs import installed, module_for
from ._scope import by_hand_if_unsafe, own_driver


@fix(
    "change-branch",
    cures=["driver.gpu-needs-legacy-branch", "driver.gpu-newer-than-driver"],
    effort=Effort.CHANGE_BRANCH,
)
@by_hand_if_unsafe
def change_branch(
    confinement: Confinement,
    manager: PackageManager,
    system: OperatingSystem,
    kernel: Kernel,
    gpus: PciGpus,
    packages: Packages,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
    findings: Findings,
) -> Iterator[Step]:
    """Install a branch of the driver that serves this GPU, all of it in one transaction."""
    if not own_driver(confinement):
        return
    subjects = {finding.subject for _, finding in findings.items}
    chosen = [gpu for gpu in gpus.gpus if gpu.address in subjects] or list(gpus.gpus)
    older = "driver.gpu-needs-legacy-branch" in {id for id, _ in findings.items}
    branch = _branch_for(chosen, older)
    if not branch:
        return
    open_module = any(gpu.module == "open-only" for gpu in chosen)
    exchange = {}
    if manager.kind == "apt" and system.id != "debian":
        exchange = ubuntu_exchange(packages, branch, open_module=open_module)
    if older and manager.kind == "dnf":
        exchange = rpm_fusion_exchange(packages, branch)
    if not exchange:
        yield _by_hand(manager, system, branch, older, chosen[0])
        return
    old, new = tuple(exchange), tuple(dict.fromkeys(exchange.values()))
    forth, back = replace(manager, new, old), replace(manager, old, new)
    if forth is None or back is None:
        return
    yield from finish_first(manager, packages)
    direction = "the last that serves it" if older else "the first that knows it"
    yield from change(
        manager,
        forth,
        f"{chosen[0].label} needs branch {branch}, {direction}; module and libraries change together.",
        installed(manager, new),
        Run(back),
        risk=Risk.HIGH,
    )
    if isinstance(driver, LoadedDriver) and driver.loaded:
        yield from after_package_change(kernel, driver)
    else:
        yield from load(kernel, driver, modules)


@fix(
    "upgrade-driver",
    cures=["kernel.driver-too-old-for-kernel", "driver.gpu-newer-than-driver"],
    effort=Effort.FINISH_PACKAGES,
)
@by_hand_if_unsafe
def upgrade_driver(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    dkms: Dkms,
    gpus: PciGpus | Unavailable,
    packages: Packages,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
    findings: Findings,
) -> Iterator[Step]:
    """Upgrade the driver's packages to the newest release that their repositories have."""
    members = released_together(packages)
    if not own_driver(confinement) or not manager.kind or not members:
        return
    version = newest(member.version for member in members)
    # Where the branch stands in the packages' names an upgrade never leaves it: that is for change-branch.
    named = any(UBUNTU.fullmatch(package.name) for package in packages.installed())
    latest = _branch_for(list(gpus.gpus), older=False) if isinstance(gpus, PciGpus) else ""
    asked = {id for id, _ in findings.items}
    if "driver.gpu-newer-than-driver" in asked and named and not version.startswith(latest):
        return
    bare, names = lacking(kernel, kernels, files), targets(members, packages)
    proof = module_for(bare[0], name_to_be(files, dkms)) if bare else None
    # Nothing is finished first: what is half configured is mostly this driver, and its build would fail once more.
    yield from change(
        manager,
        upgrade(manager, names),
        f"Driver {version} is too old here; the repositories that it came from may have a newer release. All its "
        "packages move together." + ("" if proof else " Its exit status is the proof."),
        proof,
        back_to(members),
    )
    if isinstance(driver, LoadedDriver) and driver.loaded:
        yield from after_package_change(kernel, driver)
    elif kernel.release in bare:
        yield from load(kernel, driver, modules)


def _branch_for(gpus: list[PciGpu], older: bool) -> str:
    if older:
        return str(min((gpu.last_branch for gpu in gpus if gpu.last_branch), default=""))
    return newest(gpu.first_driver for gpu in gpus if gpu.first_driver).partition(".")[0]


def _by_hand(manager: PackageManager, system: OperatingSystem, branch: str, older: bool, gpu: PciGpu) -> Step:
    how = how_by_hand(manager, system, branch, older=older)
    return Step(
        Manual(f"{how} Remove nothing before the new one can be had, and try it out without changes first."),
        f"{gpu.label} needs branch {branch} {'at most' if older else 'at least'}, and which packages bring it here is "
        "not known for certain.",
        Phase.INSTALL,
        Risk.HIGH,
    )
