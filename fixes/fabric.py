"""The fabric manager of NVSwitch machines: install it to fit the driver, start it, load what it needs."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Run, Step, Unavailable, WriteFile, fix
from gpudoctor.facts.driver_packages import brings_libraries, maker_of
from gpudoctor.facts.fabric import FabricManager, Nvlink5Board, fabric_manager_package
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.package_manager import PackageManager, exchange_versions, install, install_versions
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._packaging import change, finish_first
from ._proofs import has_line, installed, installed_versions, loaded
from ._remedies import by_remedy
from ._scope import by_hand_if_unsafe, driver_release, kernel_release, own_driver

UNIT = "nvidia-fabricmanager.service"
MODULES_LOAD = "/etc/modules-load.d/gpudoctor-nvlink5.conf"
_UNBRANCHED_SINCE = 580  # NVIDIA's own packages carry no branch in their name from here on


@fix("start-fabric-manager", cures=["fabric.manager-not-ready"], effort=Effort.RELOAD)
@by_hand_if_unsafe
def start_fabric_manager(
    confinement: Confinement, kernel: Kernel, manager: FabricManager, gpus: PciGpus, board: Nvlink5Board
) -> Iterator[Step]:
    """Start the fabric manager, now and at each start of the machine."""
    if not own_driver(confinement) or confinement.driver_container or not kernel.running:
        return
    if manager.unit and manager.process_id == 0 and _has_switches(gpus, board):
        yield from _enabled(manager)
        yield _started("start", "The GPUs wait for it to set up the links between them.")


@fix(
    "match-fabric-manager",
    cures=["fabric.manager-version-mismatch", "fabric.manager-not-ready"],
    effort=Effort.FINISH_PACKAGES,
)
@by_hand_if_unsafe
def match_fabric_manager(
    confinement: Confinement,
    kernel: Kernel,
    packages: Packages,
    tool: PackageManager,
    versions: DriverVersions,
    manager: FabricManager | Unavailable,
    gpus: PciGpus | Unavailable,
    board: Nvlink5Board | Unavailable,
    findings: Findings,
) -> Iterator[Step]:
    """Install the fabric manager in exactly the driver's version."""
    version = versions.user_space or versions.loaded
    there = fabric_manager_package(packages)
    if not own_driver(confinement) or confinement.driver_container or not version:
        return
    if there is None and not _has_switches(gpus, board):
        return
    if there is not None and there.upstream in ("", version):
        return  # it is the right one: starting it is another repair
    driver_release(version)
    name = there.name if there is not None else ""
    wanted = _package(packages, tool, version, there)
    argv = None
    if wanted is not None and not (there is not None and there.hold):
        new, exact = wanted
        replaced = [name] if name and name != new else []
        argv = exchange_versions(tool, {new: exact}, replaced, older=True) or (
            install_versions(tool, {new: exact}) if tool.kind == "zypper" and not replaced else None
        )
    if wanted is None or argv is None:
        held = f"release the hold on {name}, then " if there is not None and there.hold else ""
        text = f"{held}install nvidia-fabricmanager {version} from where the driver came, and restart its service."
        yield Step(
            Manual(f"{text[0].upper()}{text[1:]}"),
            f"It works with driver {version} only in exactly this version, and gpudoctor has no command for it here.",
            Phase.AFTERWARDS,
            Risk.MEDIUM,
        )
        return
    new, exact = wanted
    yield from finish_first(tool, packages)
    why = f"The fabric manager works with driver {version} only in exactly this version."
    undo = Manual(f"Install {name} {there.version} again.") if there is not None else Manual(f"Remove {new} again.")
    yield from change(tool, argv, why, installed_versions(tool, {new: exact}), undo)
    if kernel.running and versions.loaded == version:
        known = manager if isinstance(manager, FabricManager) else FabricManager()
        yield from _enabled(known)
        yield _started("restart", "Now it fits the driver, and sets up the links between the GPUs.")


def _package(packages: Packages, tool: PackageManager, version: str, there: Package | None) -> tuple[str, str] | None:
    """Name and version of the package that fits this driver, as its maker would number it; the trial tells whether he
    has it. None where nobody packages it: Arch, and drivers of a .run file.
    """
    driver = next((p for p in packages.installed() if brings_libraries(p.name)), None)
    model = there if there is not None else driver
    if tool.kind not in ("apt", "dnf", "zypper") or model is None:
        return None
    branch = int(version.partition(".")[0])
    by_nvidia = tool.kind != "apt" or maker_of(model) == "NVIDIA"
    old_name = "nvidia-fabric-manager" if tool.kind == "dnf" else f"nvidia-fabricmanager-{branch}"
    name = "nvidia-fabricmanager" if by_nvidia and branch >= _UNBRANCHED_SINCE else old_name
    if there is not None and there.upstream.partition(".")[0] == str(branch):
        name = there.name
    if tool.kind != "apt":
        return name, version  # their package managers find the revision
    if not model.upstream:
        return None
    revision = model.version.rpartition(":")[2].removeprefix(model.upstream)
    return name, f"{version}{revision}"


@fix("load-nvlink5-modules", cures=["fabric.nvlink5-modules-missing"], effort=Effort.RELOAD)
@by_hand_if_unsafe
def load_nvlink5_modules(
    confinement: Confinement,
    kernel: Kernel,
    board: Nvlink5Board,
    modules: LoadedModules,
    manager: FabricManager,
    packages: Packages,
    tool: PackageManager,
    system: OperatingSystem,
    findings: Findings,
) -> Iterator[Step]:
    """Load the modules that lead to the NVLink switches, and install what sets those up."""
    if not own_driver(confinement) or confinement.driver_container or not kernel.running or not board.name:
        return
    missing = [name for name in board.modules if name not in modules.users]
    absent = [name for name in missing if name not in board.loadable]
    if (absent and (system.id != "ubuntu" or tool.kind != "apt")) or not tool.kind:
        for _, finding in findings.items[:1]:
            yield by_remedy(finding, "which package of this system has that")
        return
    names = [f"linux-modules-extra-{kernel_release(kernel.release)}"] if absent else []
    names += [] if board.subnet_manager_there else ["nvlsm"]
    if names:
        yield from finish_first(tool, packages)
        why = f"{' and '.join(names)}: without it the NVLink switches of this {board.name} cannot be set up."
        undo = Manual(f"Remove {' and '.join(names)} again.")
        yield from change(tool, install(tool, names), why, installed(tool, names), undo)
    if missing:
        yield Step(
            WriteFile(MODULES_LOAD, "".join(f"{name}\n" for name in board.modules)),
            "So that the modules are loaded at each start, before the fabric manager looks for the switches.",
            Phase.CONFIGURE,
            Risk.LOW,
            verify=has_line(MODULES_LOAD, board.modules[0]),
        )
        yield Step(
            Run(("modprobe", "-a", *missing)),
            "They show the adapters that lead to the NVLink switches.",
            Phase.RELOAD,
            Risk.LOW,
            verify=loaded(missing[-1]),
            undo=Run(("modprobe", "-r", *reversed(missing))),
        )
    if manager.unit:
        yield _started("restart", "It looks for the switches only when it starts.")


@fix("disable-fabric-manager", cures=["fabric.manager-unneeded"], effort=Effort.RELOAD)
@by_hand_if_unsafe
def disable_fabric_manager(confinement: Confinement, kernel: Kernel, manager: FabricManager) -> Iterator[Step]:
    """Let systemd no longer start a fabric manager that has nothing to do."""
    if own_driver(confinement) and kernel.running and manager.enabled and not manager.process_id:
        yield Step(
            # A reload of systemd takes the GPU away from containers that run.
            Run(("systemctl", "--no-reload", "disable", UNIT)),
            "There is no NVSwitch, so the service only fails at each start.",
            Phase.CONFIGURE,
            Risk.LOW,
            verify=Run(("test", "!", "-e", f"/etc/systemd/system/multi-user.target.wants/{UNIT}")),
            undo=Run(("systemctl", "--no-reload", "enable", UNIT)),
        )


@fix("set-up-links", cures=["fabric.manager-not-ready"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def set_up_links(
    confinement: Confinement,
    findings: Findings,
    manager: FabricManager | Unavailable,
    packages: Packages | Unavailable,
    gpus: PciGpus | Unavailable,
    board: Nvlink5Board | Unavailable,
) -> Iterator[Step]:
    """Look why the links between the GPUs are not set up, where the fabric manager runs, or is none of this machine's.

    Where it only has to be installed or started, that is the repair.
    """
    if not own_driver(confinement):
        return
    if _has_switches(gpus, board) and isinstance(manager, FabricManager) and manager.process_id == 0:
        there = fabric_manager_package(packages) if isinstance(packages, Packages) else None
        if manager.unit or (there is None and isinstance(packages, Packages)):
            return
    for _, finding in findings.items[:1]:
        yield by_remedy(finding, "who sets up the switches")


@fix("look-at-links", cures=["pci.link-degraded", "pci.p2p-blocked"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def look_at_links(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Look after the seat of a GPU, or the settings of firmware and kernel for the paths between GPUs."""
    told: set[str] = set()
    for _, finding in findings.items if own_driver(confinement) else ():
        if finding.remedy not in told:
            told.add(finding.remedy)
            yield by_remedy(finding, "which of these suits this machine")


def _has_switches(gpus: PciGpus | Unavailable, board: Nvlink5Board | Unavailable) -> bool:
    return (isinstance(gpus, PciGpus) and gpus.nvswitches > 0) or (isinstance(board, Nvlink5Board) and bool(board.name))


def _enabled(manager: FabricManager) -> Iterator[Step]:
    if not manager.enabled:
        yield Step(
            # A reload of systemd takes the GPU away from containers that run.
            Run(("systemctl", "--no-reload", "enable", UNIT)),
            "So that it also runs after the next start of the machine.",
            Phase.RELOAD,
            Risk.LOW,
            verify=Run(("test", "-e", f"/etc/systemd/system/multi-user.target.wants/{UNIT}")),
            undo=Run(("systemctl", "--no-reload", "disable", UNIT)),
        )


def _started(verb: str, why: str) -> Step:
    return Step(
        Run(("systemctl", verb, UNIT)),
        why,
        Phase.RELOAD,
        Risk.MEDIUM,
        verify=Run(("systemctl", "is-active", "--quiet", UNIT)),
        undo=Run(("systemctl", "stop", UNIT)),
    )
