"""Device files under /dev, the module behind /dev/nvidia-uvm, and who may open them."""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Risk, Run, Step, Unavailable, WriteFile, fix
from gpudoctor.facts.accounts import Accounts
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.system import Confinement, Identity, Kernel

from ._modules import UVM, exchange_uvm, main_module, module_name, restart, uvm_is_free
from ._proofs import has_line, loaded, there
from ._scope import account, by_hand_if_unsafe, own_driver

CONTROL = "/dev/nvidiactl"
CONTROL_MINOR = "255"
UVM_OPTIONS = "/etc/modprobe.d/gpudoctor-uvm.conf"


@fix(
    "create-device-nodes",
    cures=["devices.nodes-missing", "devices.uvm-node-missing"],
    effort=Effort.RELOAD,
)
@by_hand_if_unsafe
def create_device_nodes(
    confinement: Confinement,
    kernel: Kernel,
    nodes: DeviceNodes,
    modules: LoadedModules,
    gpus: PciGpus | Unavailable,
) -> Iterator[Step]:
    """Create the device files of the loaded driver."""
    if not own_driver(confinement) or not kernel.running or "nvidia" not in modules.users:
        return
    count = sum(gpu.driver == "nvidia" for gpu in gpus.gpus) if isinstance(gpus, PciGpus) else 1
    minors = [str(minor) for minor in range(max(count, 1))]
    missing = [f"/dev/nvidia{minor}" for minor in minors if nodes.get(f"/dev/nvidia{minor}") is None]
    missing += [CONTROL] if nodes.get(CONTROL) is None else []
    if missing:
        words = [word for minor in (*minors, CONTROL_MINOR) for word in ("-c", minor)]
        yield Step(
            Run(("nvidia-modprobe", *words)),
            f"The driver is loaded, and {', '.join(missing[:4])} {'is' if len(missing) == 1 else 'are'} not there.",
            Phase.RELOAD,
            Risk.LOW,
            verify=there(missing[0]),
            undo=Manual("The device files are gone by themselves after the next restart."),
        )
    node, major = nodes.get(UVM), nodes.majors.get("nvidia-uvm")
    if "nvidia_uvm" in modules.users and (node is None or (major is not None and node.device[0] != major)):
        yield _uvm_node()


@fix("load-uvm", cures=["kernel.uvm-not-loaded"], effort=Effort.RELOAD)
@by_hand_if_unsafe
def load_uvm(confinement: Confinement, kernel: Kernel, modules: LoadedModules) -> Iterator[Step]:
    """Load the module that CUDA needs, and create its device file."""
    if not own_driver(confinement) or not kernel.running or "nvidia" not in modules.users:
        return
    if "nvidia_uvm" not in modules.users:
        yield Step(
            Run(("modprobe", "nvidia_uvm")),
            "CUDA reaches the GPU's memory through this module, and it is not loaded.",
            Phase.RELOAD,
            Risk.LOW,
            verify=loaded("nvidia_uvm"),
            undo=Run(("modprobe", "-r", "nvidia_uvm")),
        )
        yield _uvm_node()


def _uvm_node() -> Step:
    return Step(
        # -u alone makes the files of nvidia_uvm, and with it -c counts those.
        Run(("nvidia-modprobe", "-u", "-c", "0")),
        f"{UVM} must be there with the number that the kernel gave to the module this time.",
        Phase.RELOAD,
        Risk.LOW,
        verify=there(UVM),
        undo=Manual("The device file is gone by itself after the next restart."),
    )


@fix("disable-uvm-hmm", cures=["kernel.uvm-hmm"], effort=Effort.RELOAD)
@by_hand_if_unsafe
def disable_uvm_hmm(
    confinement: Confinement,
    kernel: Kernel,
    files: ModuleFiles,
    modules: LoadedModules | Unavailable,
    users: DeviceUsers | Unavailable,
) -> Iterator[Step]:
    """Switch off the memory sharing of nvidia_uvm that this kernel has no room for."""
    if not own_driver(confinement):
        return
    module = main_module(files, kernel.release)
    # modprobe goes by the name of the file, which on Debian begins with nvidia-current.
    names = dict.fromkeys(("nvidia_uvm", f"{module_name(module)}-uvm".replace("-", "_") if module else "nvidia_uvm"))
    lines = [f"options {name} uvm_disable_hmm=1" for name in names]
    yield Step(
        WriteFile(UVM_OPTIONS, "".join(f"{line}\n" for line in lines)),
        "The module finds no free addresses for the GPU's memory and fails; without this feature it needs none. "
        "Programs that use plain malloc memory on the GPU lose it.",
        Phase.CONFIGURE,
        Risk.LOW,
        verify=has_line(UVM_OPTIONS, lines[0]),
    )
    if not kernel.running:
        return
    if uvm_is_free(modules, users):
        yield from exchange_uvm("Loaded anew it follows the setting.")
    else:
        yield restart("nvidia_uvm is in use, so it reads the setting at the next start.")


@fix("join-device-group", cures=["devices.permission-denied"], effort=Effort.RELOAD)
@by_hand_if_unsafe
def join_device_group(
    confinement: Confinement, identity: Identity, nodes: DeviceNodes, accounts: Accounts
) -> Iterator[Step]:
    """Add the user to the group that the device files belong to."""
    if confinement.container or confinement.wsl or identity.root:
        return
    node = nodes.get(CONTROL) or next(iter(nodes.nodes), None)
    if node is None:
        return
    of_group = node.mode & 0o060 == 0o060 and node.group not in (0, *identity.group_ids)
    user, group = accounts.users.get(identity.user_id, ""), accounts.groups.get(node.group, "")
    if of_group and user and group:
        user, group = account(user), account(group)
        yield Step(
            Run(("usermod", "-aG", group, user)),
            f"{node.path} is open to the group {group} (mode 0{node.mode:o}), and {user} is not in it.",
            Phase.CONFIGURE,
            Risk.LOW,
            verify=Run(("grep", "-Eq", f"^{group}:[^:]*:[^:]*:(.*,)?{user}(,.*)?$", "/etc/group")),
            undo=Run(("gpasswd", "-d", user, group)),
        )
        yield Step(
            Manual("Log out and in again: membership counts from the login on."),
            "Running programs keep the groups that they were started with.",
            Phase.AFTERWARDS,
            root=False,
        )
    elif of_group:
        yield Step(
            Manual(
                f"Have user {identity.user_id} added to group {node.group}, which the device files belong to, where "
                "this site keeps its accounts; then log in again."
            ),
            "The user or the group is not one of this machine's own files.",
            Phase.CONFIGURE,
        )
    else:
        yield Step(
            Manual(
                f"{node.path} belongs to user {node.user}, group {node.group}, mode 0{node.mode:o}. Look for "
                "NVreg_DeviceFileMode, NVreg_DeviceFileUID and NVreg_DeviceFileGID in modprobe.d: they decide it, and "
                "what is changed on the files themselves is put back. Access lists and SELinux can forbid it too."
            ),
            "Who may use the GPU is decided by the driver's options, and no group here opens the device files.",
            Phase.CONFIGURE,
        )
