"""The device nodes /dev/nvidia*: are they there, do they lead to the driver, and may this user open them?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, check, hint, likely
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.devices import DeviceNode, DeviceNodes
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.modprobe import ModprobeConfig
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, Identity

from ._gpus import silent_gpus
from ._return_codes import NO_PERMISSION
from ._surroundings import NO_MODULE

_CONTROL = "/dev/nvidiactl"
_UVM = "/dev/nvidia-uvm"
_GIVE_GPU = (
    "On the host, start the container with its GPU: `docker run --gpus all`, or the CDI device nvidia.com/gpu=all "
    "(podman: `--device nvidia.com/gpu=all`)."
)


@check(
    "devices.nodes-missing",
    after=[
        "kernel.module-not-loaded",
        "driver.rm-init-failed",
        "container.no-gpu-requested",
        "container.visible-devices-void",
    ],
    symptoms=[
        likely(r"/dev/nvidia(ctl|\d+|\*)['\"]?: no such file or directory", without=NO_MODULE),
        r"could not open the device file /dev/nvidia(ctl|\d+) \(No such file or directory\)",
        likely(
            r"/dev/nvidia(ctl|\d+|\*)['\"]?: no such file or directory", beside=r"\bnvidia_uvm \d{5,}|\bnvidia \d{6,}"
        ),
        hint(r"/dev/nvidia(ctl|\d+|\*)['\"]?: no such file or directory"),
        hint(r"Failed to query NVIDIA devices\. Please ensure that the NVIDIA device files"),
        hint(r"Waiting for gres\.conf file /dev/nvidia"),
        r"/dev/nvidia(0|ctl|\*)\S* (is|are|was|were)? ?(missing|not there|not present|does(n't| not) exist)",
        r"can't stat gres\.conf file \W?/dev/nvidia",
    ],
)
def nodes_missing(
    confinement: Confinement,
    loaded: LoadedDriver,
    nodes: DeviceNodes,
    gpus: PciGpus,
    nvml: Nvml | Unavailable,
    expected: ExpectedGpus,
) -> Iterator[Finding]:
    """The driver is loaded, but the device nodes through which programs reach it are not there.

    What: Programs talk to the driver through /dev/nvidiactl and one node for each GPU, /dev/nvidia0 and so
    on. They are made by the setuid program nvidia-modprobe when a program first asks, by
    nvidia-persistenced, or by udev; in a container by whoever starts it.

    Proof: /proc/driver/nvidia/version shows the driver, /dev lacks nodes, and NVML does not reach all GPUs.

    Repair: `sudo nvidia-modprobe -c0 -u` makes them; nvidia-persistenced makes them at each start. In a
    container: start it with its GPU. Do not make nodes by hand with mknod: their numbers can change.

    Reference: README of the NVIDIA driver, faq.html ("How and when are the NVIDIA device files created?")
    """
    if nodes.wsl or confinement.wsl:
        raise NotApplicable("WSL: GPUs are reached through /dev/dxg")
    if not loaded.loaded or (expected.number == 0 and not nodes.nodes):
        return
    wanted = sum(gpu.driver == "nvidia" for gpu in gpus.gpus)
    there = [node.path for node in nodes.nodes if node.path.removeprefix("/dev/nvidia").isdigit()]
    if confinement.container:
        # It is given some of the host's GPUs; how many is not for it to judge.
        wanted = min(wanted, 1)
        if isinstance(nvml, Nvml) and any(gpu.return_code == 0 for gpu in nvml.gpus):
            return
    elif isinstance(nvml, Nvml) and nvml.gpus and not silent_gpus(gpus, nvml):
        return
    missing = [] if nodes.get(_CONTROL) else [_CONTROL]
    if len(there) < wanted:
        missing.append(f"/dev/nvidiaN for {wanted - len(there)} of {wanted} GPUs" if there else "/dev/nvidia0")
    if not missing:
        return
    remedy = (
        "`sudo nvidia-modprobe -c0 -u` makes them; so that they come at every start, enable nvidia-persistenced "
        "(`sudo systemctl enable --now nvidia-persistenced`)."
    )
    yield Finding(
        f"Driver {loaded.version} is loaded, but not all of its device nodes are there: no {' and no '.join(missing)}.",
        missing[0],
        (
            Evidence("/dev", ", ".join(node.path for node in nodes.nodes[:6]) or "no nvidia nodes"),
            Evidence(loaded.source, loaded.version),
            *(
                Evidence(f"/sys/bus/pci/devices/{gpu.address}", f"driver: {gpu.driver or 'none'}")
                for gpu in gpus.gpus[:2]
            ),
        ),
        _GIVE_GPU if confinement.container else remedy,
    )


@check(
    "devices.uvm-node-missing",
    after=["devices.nodes-missing", "kernel.uvm-not-loaded"],
    symptoms=[
        r"/dev/nvidia-uvm(-tools)?['\"]?: no such file or directory",
        r"/dev/nvidia-uvm\S* (is |was )?(missing|not there|not present|does(n't| not) exist)",
        likely(r"cuInit\W.{0,30}\b999\b|CUDA_ERROR_UNKNOWN", beside=r"/dev/nvidiactl", without=r"nvidia[-_]uvm"),
        hint(r"error == cudaSuccess \(30 vs\. 0\)"),
    ],
)
def uvm_node_missing(
    confinement: Confinement,
    modules: LoadedModules,
    nodes: DeviceNodes,
    cuda: Cuda | Unavailable,
    expected: ExpectedGpus,
) -> Iterator[Finding]:
    """The module nvidia_uvm is loaded, but /dev/nvidia-uvm is missing or leads nowhere.

    What: CUDA needs /dev/nvidia-uvm beside the GPU's own nodes; nvidia-smi does not, and so looks healthy. The
    node's major number is given out anew whenever the module is loaded: a node made by hand, or one
    handed to a container before, can point to nothing.

    Proof: /proc/modules has nvidia_uvm; /dev/nvidia-uvm is absent, or its major number is not the one of
    nvidia-uvm in /proc/devices.

    Repair: `sudo nvidia-modprobe -c0 -u` makes the node with the right number; a container must be started anew.

    Reference: https://github.com/pytorch/pytorch/issues/49081;
    https://github.com/NVIDIA/nvidia-modprobe
    """
    if nodes.wsl or confinement.wsl:
        raise NotApplicable("WSL: GPUs are reached through /dev/dxg")
    if expected.number == 0 and not nodes.nodes:
        return
    # Where CUDA starts, the node came into being when it was asked for, as it does for every program.
    if "nvidia_uvm" not in modules.users or (isinstance(cuda, Cuda) and cuda.return_code == 0):
        return
    node, major = nodes.get(_UVM), nodes.majors.get("nvidia-uvm")
    if node and (major is None or node.device[0] == major):
        return
    if node:
        summary = (
            f"{_UVM} has major number {node.device[0]}, but the kernel gave {major} to nvidia-uvm: it leads nowhere."
        )
        proof = Evidence(_UVM, f"major {node.device[0]}, minor {node.device[1]}")
    else:
        summary = f"The module nvidia_uvm is loaded, but {_UVM}, which CUDA needs, is missing."
        proof = Evidence("/dev", ", ".join(other.path for other in nodes.nodes[:6]) or "no nvidia nodes")
    remedy = "`sudo nvidia-modprobe -c0 -u` makes the node with the right number."
    if node and not confinement.container:
        remedy = f"`sudo rm {_UVM}`, then `sudo nvidia-modprobe -c0 -u`, which makes it with the right number."
    yield Finding(
        summary,
        _UVM,
        (
            proof,
            Evidence("/proc/devices", f"{major} nvidia-uvm" if major is not None else "no nvidia-uvm"),
            Evidence("/proc/modules", "nvidia_uvm"),
            *([Evidence("cuInit", f"{cuda.return_code} {cuda.return_name}")] if isinstance(cuda, Cuda) else []),
        ),
        _GIVE_GPU if confinement.container else remedy,
        Severity.ERROR if isinstance(cuda, Cuda) else Severity.WARNING,
    )


@check(
    "devices.permission-denied",
    after=["devices.selinux-denied"],
    symptoms=[
        r"NVIDIA-SMI has failed because you do not have sufficient permissions",
        r"Failed to initialize NVML: Insufficient Permissions",
        r"could not open the device file /dev/nvidia\S* \((Permission denied|Operation not permitted)\)",
        r"NVML_ERROR_NO_PERMISSION|NVMLError_NoPermission",
        r"/dev/nvidia\S*: permission denied",
        # In brackets it stands for the name of somebody else's process.
        hint(r"(?<!\[)Insufficient Permissions", without=r"Unable to (set|change|reset)"),
        hint(r"\b(only )?works? (fine )?(only )?(with sudo|as root|under sudo)\b", beside=r"nvidia|cuda"),
    ],
)
def permission_denied(
    confinement: Confinement,
    identity: Identity,
    nodes: DeviceNodes,
    loaded: LoadedDriver,
    modprobe: ModprobeConfig | Unavailable,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """This user may not open the GPU's device nodes.

    What: Whoever computes on a GPU must read and write /dev/nvidiactl, /dev/nvidia0 and so on, and
    /dev/nvidia-uvm. The driver makes them open to everybody unless its options give them to a group,
    mostly video, as many shared machines do. To root everything looks fine.

    Proof: Owner, group and mode of the nodes against this user's groups; the module options
    NVreg_DeviceFileMode, NVreg_DeviceFileUID and NVreg_DeviceFileGID; NVML's return code 4.

    Repair: Have the user added to the group that owns the nodes, and log in anew: groups count from the login
    on. Do not chmod the nodes: the driver sets them back.

    Reference: Debian, /etc/modprobe.d/nvidia-options.conf (package nvidia-kernel-support);
    README of the NVIDIA driver, faq.html ("How and when are the NVIDIA device files created?")
    """
    if nodes.wsl or confinement.wsl:
        raise NotApplicable("WSL: GPUs are reached through /dev/dxg")
    refused = isinstance(nvml, Nvml) and nvml.return_code == NO_PERMISSION
    closed = [] if identity.root else [node for node in nodes.nodes if not _may_open(node, identity)]
    # An access list can allow what the mode forbids: what NVML and CUDA could use is open.
    seen = isinstance(nvml, Nvml) and nvml.return_code == 0
    answering = sum(gpu.return_code == 0 for gpu in nvml.gpus) if isinstance(nvml, Nvml) else 0
    counted = [node for node in nodes.nodes if node.path.removeprefix("/dev/nvidia").isdigit()]
    computes = isinstance(cuda, Cuda) and cuda.return_code == 0
    denied = [
        node
        for node in closed
        if (node.path == _CONTROL and not seen)
        or (node.path == _UVM and not computes)
        or (node in counted and not (seen and answering >= len(counted)))
    ]
    if denied:
        yield _closed(denied[0], denied, identity, loaded, modprobe, nvml, confinement)
    elif refused:
        where = "On the host, look at SELinux and at the container's device rules: " if confinement.container else ""
        yield Finding(
            "NVML says that this user lacks the permission, though the modes of /dev/nvidia* allow it.",
            _CONTROL,
            (
                Evidence("nvmlInit", f"{NO_PERMISSION} NVML_ERROR_NO_PERMISSION"),
                *(Evidence(node.path, _listing(node)) for node in nodes.nodes[:2]),
                Evidence("/proc/self/status", f"user {identity.user_id}"),
            ),
            f"{where}`sudo ausearch -m avc -ts recent` tells of SELinux; a device cgroup (of a batch system, a "
            "container, a systemd unit) can forbid it as well.",
        )


def _may_open(node: DeviceNode, identity: Identity) -> bool:
    """By the mode alone: reading and writing, for the one class that this user is in."""
    if node.user == identity.user_id:
        bits = node.mode >> 6
    elif node.group in identity.group_ids:
        bits = node.mode >> 3
    else:
        bits = node.mode
    return bits & 0o6 == 0o6


def _closed(
    node: DeviceNode,
    denied: list[DeviceNode],
    identity: Identity,
    loaded: LoadedDriver,
    modprobe: ModprobeConfig | Unavailable,
    nvml: Nvml | Unavailable,
    confinement: Confinement,
) -> Finding:
    more = f" (and {len(denied) - 1} more)" if len(denied) > 1 else ""
    evidence = [
        Evidence(node.path, _listing(node)),
        Evidence("/proc/self/status", f"user {identity.user_id}, groups {', '.join(map(str, identity.group_ids))}"),
    ]
    mode = loaded.parameters.get("DeviceFileMode", "")
    if mode.isdigit():
        owner = f"DeviceFileUID {loaded.parameters.get('DeviceFileUID', '0')}"
        group = f"DeviceFileGID {loaded.parameters.get('DeviceFileGID', '0')}"
        evidence.append(Evidence("/proc/driver/nvidia/params", f"DeviceFileMode 0{int(mode):o}, {owner}, {group}"))
    if isinstance(modprobe, ModprobeConfig):
        lines = [line for line in modprobe.lines if line.directive == "options" and "NVreg_DeviceFile" in line.rest]
        evidence += [Evidence(line.path, f"options {line.module} {line.rest}") for line in lines[:1]]
    if isinstance(nvml, Nvml) and nvml.return_code:
        evidence.append(Evidence("nvmlInit", f"{nvml.return_code} {nvml.return_name}"))
    return Finding(
        f"User {identity.user_id} may not use {node.path}{more}: it belongs to user {node.user}, group {node.group}, "
        f"mode 0{node.mode:o}.",
        node.path,
        tuple(evidence),
        _how_to_get_in(node, confinement),
    )


def _how_to_get_in(node: DeviceNode, confinement: Confinement) -> str:
    of_group = node.mode >> 3 & 0o6 == 0o6 and node.group != 0
    if confinement.container:
        join = f"--group-add {node.group}" if of_group else "a user who may open the nodes"
        return f"On the host, start the container with {join} (rootless podman: --group-add keep-groups)."
    if of_group:
        return (
            f'Join the group: `sudo usermod -aG "$(getent group {node.group} | cut -d: -f1)" "$USER"`, then log out '
            "and in again. No chmod: the driver sets it back."
        )
    return (
        "Ask the administrator to give the nodes to a group (module options NVreg_DeviceFileGID and "
        "NVreg_DeviceFileMode=0660 in /etc/modprobe.d, then reload the driver), and to add you to it."
    )


def _listing(node: DeviceNode) -> str:
    return f"mode 0{node.mode:o}, user {node.user}, group {node.group}"
