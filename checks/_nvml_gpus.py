"""The GPUs that NVML answers for, and how findings name them and tell a person to reach them."""

from collections.abc import Mapping, Sequence

from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.processes import Holder

GIB = 1 << 30


def answering(nvml: Nvml) -> tuple[NvmlGpu, ...]:
    """Those that gave their values; none where NVML itself failed."""
    return tuple(gpu for gpu in nvml.gpus if nvml.return_code == 0 and gpu.return_code == 0)


def place(gpu: NvmlGpu) -> str:
    """The PCI address, or NVML's number where the GPU does not give it: the subject of a finding."""
    return gpu.pci_address or f"GPU {gpu.number}"


def called(gpu: NvmlGpu) -> str:
    """ "GPU 0000:01:00.0 (NVIDIA H200)"."""
    name = f" ({gpu.name})" if gpu.name else ""
    return f"GPU {gpu.pci_address or gpu.number}{name}"


def processes_on(gpu: NvmlGpu) -> tuple[int, ...] | None:
    """The ids of the processes that NVML shows on a GPU; None where it did not tell."""
    told = gpu.values.get("processes")
    if not isinstance(told, list):
        return None
    entries = [entry for entry in told if isinstance(entry, Mapping)]
    return tuple(dict.fromkeys(id for entry in entries if isinstance(id := entry.get("pid"), int)))


def shown(processes: Sequence[int], holders: Sequence[Holder]) -> str:
    """ "python (4711, user 1000), process 4712": at most four of them."""
    known = {holder.process_id: holder for holder in holders}
    words = [
        f"{known[id].command} ({id}, user {known[id].user_id})" if id in known else f"process {id}" for id in processes
    ]
    more = f" and {len(words) - 4} more" if len(words) > 4 else ""
    return ", ".join(words[:4]) + more


def on_host(remedy: str, container: str) -> str:
    """The same remedy, with where it has to be done."""
    return f"On the host of this container: {remedy[0].lower()}{remedy[1:]}" if container else remedy
