"""What NVML says of a GPU's way to other GPUs: the state of the switches between them, and copies over PCI Express.

These questions are asked for what the answer tells of the machine. One that fails says nothing of the GPU's health.
"""

from collections.abc import Callable
from ctypes import byref
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import pynvml

P = ParamSpec("P")
T = TypeVar("T")

# nvml.h: NVML_GPU_FABRIC_STATE_*; 0 is "not supported": a GPU that is not on such a board.
_FABRIC_STATES = {1: "not_started", 2: "in_progress", 3: "completed"}
_READ, _NVLINK = 0, 2  # nvml.h: NVML_P2P_CAPS_INDEX_*; pynvml's own name for the first is no number
_MOST_GPUS = 16  # each is asked about each other one


def _none_if_it_fails(question: Callable[P, T | None]) -> Callable[P, T | None]:
    @wraps(question)
    def ask(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return question(*args, **kwargs)
        except (pynvml.NVMLError, AttributeError):  # AttributeError: an older nvidia-ml-py
            return None

    return ask


@_none_if_it_fails
def fabric_state(handle: Any) -> str | None:
    """Whether the NVLink switches are set up for this GPU: "not_started", "in_progress", "completed"."""
    info = pynvml.c_nvmlGpuFabricInfo_t()
    pynvml.nvmlDeviceGetGpuFabricInfo(handle, byref(info))
    return _FABRIC_STATES.get(int(info.state))


@_none_if_it_fails
def performance_state(handle: Any) -> int | None:
    """0 is P0, the fastest; 15 the slowest."""
    state = pynvml.nvmlDeviceGetPerformanceState(handle)
    return int(state) if 0 <= state <= 15 else None


@_none_if_it_fails
def pci_peers(index: int, handle: Any) -> list[int] | None:
    """Numbers of the GPUs that this one may read over PCI Express, and has no NVLink to. None: it is not told."""
    count = pynvml.nvmlDeviceGetCount()
    if not 1 < count <= _MOST_GPUS:
        return None
    found = []
    for other in range(count):
        if other != index:
            peer = pynvml.nvmlDeviceGetHandleByIndex(other)
            readable = pynvml.nvmlDeviceGetP2PStatus(handle, peer, _READ) == pynvml.NVML_P2P_STATUS_OK
            if readable and pynvml.nvmlDeviceGetP2PStatus(handle, peer, _NVLINK) != pynvml.NVML_P2P_STATUS_OK:
                found.append(other)
    return found
