"""Limits that a container is started with, and that GPU programs are known to run into."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.container_words import larger_shared_memory, more_locked_memory
from gpudoctor.facts.container import ContainerLimits, ContainerMounts
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.system import Confinement

from ._container import gpu_nodes
from ._surroundings import CONTAINER

_ENOUGH_SHARED = 256 << 20  # bytes; docker's and Kubernetes' own value is 64 MiB, podman's 62.5
_ENOUGH_LOCKED = 64 << 20  # bytes; usual values are 64 KiB and 8 MiB, a single buffer of NCCL has 4 MiB


def _with_gpu(confinement: Confinement, nodes: DeviceNodes | Unavailable) -> int:
    """How many GPUs this container has. Raises NotApplicable outside of containers, and in those without a GPU."""
    if not confinement.container:
        raise NotApplicable("this is no container")
    if isinstance(nodes, Unavailable):
        raise nodes
    if not gpu_nodes(nodes) and not nodes.wsl:
        raise NotApplicable("this container has no GPU")
    return len(gpu_nodes(nodes)) or 1


@check(
    "container.shared-memory-small",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"insufficient shared memory \(shm\)"),
        sure(r"DataLoader worker \(pid.*\) is killed by signal: Bus error"),
        sure(r"dataloader's workers are out of shared memory"),
        r"The SHMEM allocation limit is set to the default of 64MB",
        sure(r"Error while creating shared memory segment (?:/dev/shm/)?nccl-"),
        sure(r"Call to (?:posix_fallocate|ftruncate) failed ?: No space left on device"),  # of NCCL before 2.8
        sure(r"/dev/shm/nccl-\S+.* No space left on device"),
        sure(r"unable to (?:write to|allocate shared memory\(shm\) for) file </torch_\S+>: No space left on device"),
        r"unable to write to file </torch_",
        r"/dev/shm has only \d+ bytes available",
        r"No space left on device:? '?/dev/shm/",
        likely(r"\bSIGBUS\b|\bBus error\b", beside=r"\bncclShm\w+"),
        hint(r"\bBus error\b", beside=CONTAINER),
        r"NCCL WARN Error: (Could not map|failed to (extend|create)) .{0,30}/dev/shm/nccl-",
    ],
)
def shared_memory_small(
    confinement: Confinement, nodes: DeviceNodes | Unavailable, mounts: ContainerMounts
) -> Iterator[Finding | Undecided]:
    """The container's shared memory, /dev/shm, is too small for what GPU programs put there.

    What: PyTorch's data loaders hand batches over in /dev/shm, and NCCL lets the processes of one machine talk
    there. A container gets 64 MiB of it unless it asks for more: data loaders then die of a bus error, and NCCL
    stops with "unhandled system error". A program that uses neither does not notice: with one GPU it is what every
    container gets and most never miss, so that only those with several GPUs are warned.

    Proof: The size of the file system at /dev/shm, in /proc/self/mountinfo.

    Repair: Start the container anew with --shm-size=1g or more, or with --ipc=host; in Kubernetes mount an
    emptyDir with medium: Memory at /dev/shm.

    Reference: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html;
    https://docs.pytorch.org/docs/stable/multiprocessing.html
    """
    count = _with_gpu(confinement, nodes)
    if count == 1:  # nothing tells whether data loaders run here; where they fail, `explain` knows their words
        return
    if mounts.shared_memory is None:
        if not mounts.told:
            yield Undecided("the size of /dev/shm is not known", matters=False)
        return
    size = mounts.shared_memory_bytes
    if size is None or size >= _ENOUGH_SHARED:
        return
    yield Finding(
        f"/dev/shm of this {confinement.container} container has {_words(size)}: NCCL between its {count} GPUs, and "
        "data loaders of PyTorch, may fail for want of room.",
        "/dev/shm",
        (Evidence("/proc/self/mountinfo", f"/dev/shm: {mounts.shared_memory.text}"),),
        larger_shared_memory(confinement.container),
    )


@check(
    "container.memlock-small",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"Call to ibv_\w+ failed.*Cannot allocate memory"),
        sure(r"ibv_reg_mr\w*\(?.*Cannot allocate memory"),
        r"Please set max locked memory \(ulimit -l\) to 'unlimited'",
        r"RLIMIT_MEMLOCK is \d+ bytes",
    ],
)
def memlock_small(
    confinement: Confinement, nodes: DeviceNodes | Unavailable, limits: ContainerLimits
) -> Iterator[Finding]:
    """The container may lock too little memory for its InfiniBand or RoCE devices.

    What: A network card that reads and writes memory by itself needs that memory locked. A container mostly
    may lock 64 KiB or 8 MiB, so that NCCL and UCX cannot register their buffers ("Cannot allocate memory").

    Proof: "Max locked memory" in /proc/self/limits, while /dev/infiniband is there and the process does not have
    the right CAP_IPC_LOCK, which goes before the limit.

    Repair: Start the container anew with --ulimit memlock=-1, in Kubernetes with the capability IPC_LOCK.

    Reference: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
    """
    _with_gpu(confinement, nodes)
    if limits.locked_bytes is None or limits.locked_bytes >= _ENOUGH_LOCKED or not limits.rdma_devices:
        return
    yield Finding(
        f"This {confinement.container} container may lock {_words(limits.locked_bytes)} of memory, too little for its "
        "network devices: NCCL and UCX cannot register buffers with them.",
        "memlock",
        (Evidence("/proc/self/limits", limits.text), Evidence("/dev/infiniband", ", ".join(limits.rdma_devices[:4]))),
        more_locked_memory(confinement.container),
    )


def _words(size: int) -> str:
    """ "64 MiB"."""
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
