"""What CUDA and the GPUs themselves say of the links between GPUs."""

from gpudoctor import Evidence, Unavailable
from gpudoctor.facts.answers import Cuda, Nvml

NOT_READY = 802  # CUDA_ERROR_SYSTEM_NOT_READY
_UNFINISHED = ("not_started", "in_progress")


def signs_of_links(cuda: Cuda | Unavailable, nvml: Nvml | Unavailable) -> tuple[Evidence, ...]:
    """Signs that the links are not set up; () where nobody says anything of the kind."""
    if isinstance(cuda, Cuda) and cuda.return_code == 0:
        return ()  # seen to work: whatever else is written somewhere
    found = []
    if isinstance(cuda, Cuda) and cuda.return_code == NOT_READY:
        found.append(Evidence("cuInit", f"{NOT_READY} {cuda.return_name}: {cuda.message}"))
    for gpu in nvml.gpus if isinstance(nvml, Nvml) else ():
        state = gpu.values.get("fabric_state")
        if state in _UNFINISHED:
            found.append(Evidence(f"NVML, GPU {gpu.number}, fabric state", str(state).replace("_", " ")))
    return tuple(found)
