"""GPUs that several programs want: set to serve only one, or filled by nobody to be seen."""

from collections.abc import Iterator, Sequence

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.process_view import ProcessView
from gpudoctor.facts.processes import DeviceUsers, Holder
from gpudoctor.facts.system import Confinement, Identity

from ._nvml_gpus import GIB, answering, called, on_host, place, processes_on, shown
from ._scope import own_driver
from ._surroundings import CONTAINER, WSL

_MPS_SERVER = "nvidia-cuda-mps"  # cut to the 15 characters that the kernel keeps


@check(
    "gpu.compute-mode-exclusive",
    severity=Severity.WARNING,
    after=["driver.nvml-failed"],
    symptoms=[
        sure(
            r"CUDA-capable device(s|\(s\))? (are|is|is/are) busy or unavailable",
            beside=r"Exclusive_Process|Exclusive_Thread|\bE\. (Process|Thread)|\bProhibited\b",
        ),
        r"CUDA-capable device(s|\(s\))? (are|is|is/are) busy or unavailable",
        r"CUDA_ERROR_DEVICE_UNAVAILABLE",
        r"cudaErrorDevices?Unavailable",
        hint(r"Compute Mode\s*: (Exclusive_Process|Exclusive_Thread|Prohibited)"),
        likely(r"\b(error|code|returned)\W{1,3}46\b", beside=r"cuda|cuInit"),
        sure(r"exclusive-thread device already in use by a different thread"),
    ],
)
def compute_mode_exclusive(
    nvml: Nvml,
    users: DeviceUsers | Unavailable,
    view: ProcessView | Unavailable,
    identity: Identity,
    confinement: Confinement,
) -> Iterator[Finding | Undecided]:
    """A GPU is set to serve one process only, which somebody else is, or to serve none.

    What: The compute mode says who may compute on a GPU: everybody (default), one process at a time
    (EXCLUSIVE_PROCESS), nobody (PROHIBITED). All others are told that the device is busy or unavailable. Batch
    systems, and those who run MPS, set it on purpose: an idle GPU in this mode is no fault. It is a warning where
    strangers have every GPU, and a fault where they have the one of a batch job.

    Proof: NVML's compute mode, and the processes that it lists on that GPU.

    Repair: Wait for the process or speak with its owner; or, if the GPU's owner agrees, `sudo nvidia-smi -i N -c 0`.

    Reference: CUDA C++ Programming Guide, "Compute Mode"; nvidia-smi(1), -c
    """
    there = answering(nvml)
    closed = [gpu for gpu in there if gpu.values.get("compute_mode") == "prohibited"]
    for gpu in closed:
        if len(closed) == len(there):
            severity = Severity.ERROR
        else:  # a GPU that serves a display is often kept from computing
            severity = Severity.INFO if gpu.values.get("display_active") is True else Severity.WARNING
        yield Finding(
            f"{called(gpu)} is set to serve no CUDA program (compute mode: prohibited).",
            place(gpu),
            (Evidence(f"NVML, GPU {gpu.number}", "compute mode: prohibited"),),
            _open(gpu, confinement),
            severity,
        )
    single = [gpu for gpu in there if gpu.values.get("compute_mode") in _ONE_ONLY]
    seen = isinstance(view, ProcessView) and view.whole and not confinement.container
    if isinstance(users, Unavailable) or not seen or any(processes_on(gpu) is None for gpu in single):
        if single:
            names = ", ".join(place(gpu) for gpu in single)
            yield Undecided(
                f"{names}: set to serve one process only, and whether it does cannot be seen", matters=False
            )
        return
    own = {holder.process_id for holder in users.holders if holder.user_id == identity.user_id}
    busy = {gpu.number: computing for gpu in single if (computing := _computing(gpu, users.holders))}
    free = [gpu for gpu in there if gpu not in closed and gpu.number not in busy]
    for gpu in there:
        computing = busy.get(gpu.number, ())
        strangers = [id for id in computing if id not in own]
        if not computing or (confinement.batch_job and not strangers):
            continue
        # Whoever looks after the whole machine sees a GPU at work; whoever wants one, and has none left, sees a fault.
        shut_out = bool(strangers) and not identity.root and not free
        severity = Severity.WARNING if shut_out else Severity.INFO
        yield Finding(
            f"{called(gpu)} is set to serve one process only, and that is {shown(computing, users.holders)}.",
            place(gpu),
            (
                Evidence(f"NVML, GPU {gpu.number}", "compute mode: exclusive process"),
                Evidence(f"NVML, processes of GPU {gpu.number}", shown(computing, ())),
            ),
            f"Wait until it has ended, or speak with its owner. {_open(gpu, confinement)}",
            Severity.ERROR if confinement.batch_job else severity,
        )


# Drivers before CUDA 8 had a mode for one thread, too.
_ONE_ONLY = ("exclusive_process", "exclusive_thread")


def _computing(gpu: NvmlGpu, holders: Sequence[Holder]) -> tuple[int, ...]:
    """The processes that compute on a GPU; none where they share it through MPS, which lets others in."""
    servers = {holder.process_id for holder in holders if holder.command.startswith(_MPS_SERVER)}
    told = gpu.values.get("processes")
    entries = [entry for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []
    if any(entry.get("kind") == "mps" or entry.get("pid") in servers for entry in entries):
        return ()
    # Graphics does not count for the compute mode.
    return tuple(id for entry in entries if entry.get("kind") == "compute" and isinstance(id := entry.get("pid"), int))


def _open(gpu: NvmlGpu, confinement: Confinement) -> str:
    if confinement.batch_job:
        return "Tell the batch system's administrator: the mode is for him to set."
    number = gpu.pci_address or str(gpu.number)
    return on_host(f"If the GPU's owner agrees: `sudo nvidia-smi -i {number} -c 0`.", confinement.container)


# Programs of the driver that hold every GPU and compute on none.
_SERVICES = ("nvidia-persiste", "nv-hostengine", "nv-fabricmanage", "nvidia-powerd", "nvidia-smi", "dcgm-exporter")
# Their memory is the machine's as well: the kernel itself may use it.
_COHERENT = ("GH200", "GB200", "GB300", "GB10")


@check(
    "gpu.memory-without-process",
    severity=Severity.WARNING,
    after=["driver.nvml-failed", "gpu.reset-required"],
    symptoms=[
        # A process that is gone has no name any more, and its memory has not come back.
        likely(r"\| +\d+ .{0,30}\d +(C|G|C\+G|M\+C) +Unknown Error +\d+MiB"),
        likely(r"kill: .{0,12}\d+\)? ?- No such process", beside=r"nvidia-smi|gpustat|MiB"),
        r"No running processes found\W.{0,40}\bbut\b.{0,60}(memory|MiB|GiB|GB)",
        r"(memory|MiB|GiB|GB)\b.{0,60}\b(but|yet|although|while|and)\b.{0,30}no (running |visible )?process",
        hint(r"No running processes found", beside=r"\| *[1-9]\d{3,}MiB */ *\d+MiB", without=rf"{CONTAINER}|{WSL}"),
        hint(r"\b(GPU|video) memory (is |was )?(still |not )+(being )?(in use|used|released|freed|occupied|cleared)"),
        hint(r"\b(defunct|zombie)\b", beside=r"nvidia-smi|gpustat"),
    ],
)
def memory_without_process(
    confinement: Confinement,
    nvml: Nvml,
    modules: LoadedModules | Unavailable,
    users: DeviceUsers | Unavailable,
    view: ProcessView | Unavailable,
) -> Iterator[Finding | Undecided]:
    """Much of a GPU's memory is in use, and no process is listed that uses it.

    What: A process that hangs in the kernel, or whose parent does not collect it, or that was stopped half-way,
    can keep memory while nvidia-smi lists nobody; programs then run out of memory on a GPU that looks idle.
    Inside a container that is normal, for it does not see the processes of others. Some memory always belongs
    to the driver: less than 1 GiB, or a 32nd of the whole, is not counted.

    Proof: NVML's used memory and its list of processes, and the processes that have /dev/nvidiaN open.

    Repair: Find out who holds it (`sudo fuser -v /dev/nvidia*`; states D and Z in `ps -eo pid,ppid,stat,user,comm`),
    and let its owner end that one process, or for a zombie its parent. If nobody holds the GPU, reset it.

    Reference: nvidia-smi(1), "Processes"; proc_pid_stat(5)
    """
    own_driver(confinement)
    if confinement.batch_job:
        raise NotApplicable("a batch job is not shown the processes of others")
    if isinstance(modules, LoadedModules) and modules.of_vgpu_host:
        raise NotApplicable("the memory belongs to virtual machines, which are no processes on the GPU")
    full = [gpu for gpu in answering(nvml) if _is_filled(gpu) and not processes_on(gpu)]
    if not full:
        return
    if isinstance(view, Unavailable) or not view.whole:
        yield Undecided("memory is in use, and the processes outside of this PID namespace are not seen", matters=False)
        return
    for gpu in full:
        if processes_on(gpu) is None:
            yield Undecided(f"{place(gpu)}: memory is in use, and its processes were not told", matters=False)
            continue
        used, total = gpu.values["memory_used_bytes"], gpu.memory_total_bytes or 0
        assert isinstance(used, int)
        node = f"/dev/nvidia{gpu.values.get('minor_number', '*')}"
        holding = _holding(users, node)
        if holding:
            names = shown([holder.process_id for holder in holding], holding)
            who = f"{names} {'has' if len(holding) == 1 else 'have'} {node} open."
            remedy = "Ask their owners; end none but that one process, by its id (`kill PID`), when its owner agrees."
        else:
            hidden = isinstance(users, Unavailable) or users.unreadable
            who = "Who holds it only root can see." if hidden else "Nobody has the GPU open."
            remedy = f"`sudo fuser -v {node}` lists who holds it, `ps -eo pid,ppid,stat,user,comm` who hangs (D, Z)."
            if not hidden:
                remedy += f" If nobody does, reset the GPU while it is idle: `sudo nvidia-smi -i {place(gpu)} -r`."
        yield Finding(
            f"{called(gpu)} has {used / GIB:.1f} of {total / GIB:.0f} GiB in use, and lists no process. {who}",
            place(gpu),
            (
                Evidence(f"NVML, GPU {gpu.number}", f"used: {used >> 20} MiB, processes: none"),
                *(
                    Evidence(f"/proc/{holder.process_id}/fd", f"{holder.command}, user {holder.user_id}: {node}")
                    for holder in holding[:4]
                ),
            ),
            remedy,
        )


def _is_filled(gpu: NvmlGpu) -> bool:
    used, total = gpu.values.get("memory_used_bytes"), gpu.memory_total_bytes
    if not isinstance(used, int) or not total or any(name in gpu.name for name in _COHERENT):
        return False
    # With MIG, processes belong to the instances.
    shared = gpu.values.get("mig_mode") is True or gpu.values.get("virtualization_mode") in ("host_vgpu", "host_vsga")
    return not shared and used > max(GIB, total // 32)


def _holding(users: DeviceUsers | Unavailable, node: str) -> list[Holder]:
    holders = users.holders if isinstance(users, DeviceUsers) else ()
    return [holder for holder in holders if node in holder.devices and holder.command not in _SERVICES]
