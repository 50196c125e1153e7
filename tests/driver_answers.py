"""Answers of NVML, libcuda and /proc as their probes print them, for machines that have no driver to ask."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gpudoctor.host import ProbeAnswer
from gpudoctor.machine import RootHost

NVML = {
    0: "NVML_SUCCESS",
    4: "NVML_ERROR_NO_PERMISSION",
    9: "NVML_ERROR_DRIVER_NOT_LOADED",
    12: "NVML_ERROR_LIBRARY_NOT_FOUND",
    15: "NVML_ERROR_GPU_IS_LOST",
    18: "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
}
CUDA = {
    0: "CUDA_SUCCESS",
    100: "CUDA_ERROR_NO_DEVICE",
    803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    999: "CUDA_ERROR_UNKNOWN",
}


class Gpu(NamedTuple):
    """One GPU on the bus, and what NVML says of it."""

    device_id: str = "20B2"
    driver: str = "nvidia"
    answer: int | None = 0  # NVML's return code for it; None: NVML does not list it
    gone: bool = False  # its configuration space reads as all ones


class Answers(RootHost):
    """What NVML and libcuda answer, as their probes print it."""

    def __init__(self, root: str, answers: Mapping[str, dict[str, object]]) -> None:
        super().__init__(root)
        self.answers = answers

    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        return {name: ProbeAnswer(self.answers[name], "") for name in names}


def address_of(number: int) -> str:
    """Where the n-th GPU sits on the bus."""
    return f"0000:{number + 1:02x}:00.0"


def driver_answers(
    loaded: str, user_space: str, gpus: Sequence[Gpu], nvml: int | None, cuda: int | None
) -> dict[str, dict[str, object]]:
    """What the probes print. Return codes that are not given follow from the versions."""
    fits = bool(loaded) and loaded == user_space
    listed = [(number, gpu) for number, gpu in enumerate(gpus) if gpu.driver == "nvidia" and gpu.answer is not None]
    if nvml is None:
        nvml = 0 if fits else 18 if loaded and user_space else 12 if not user_space else 9
    if cuda is None:
        cuda = 0 if fits and any(gpu.answer == 0 for _, gpu in listed) else 803 if loaded and user_space else 100
        cuda = 100 if fits and cuda else cuda
    told: list[dict[str, object]] = [
        {
            "index": index,
            "return_code": gpu.answer,
            "return_name": NVML[gpu.answer or 0],
            "name": "NVIDIA GPU" if not gpu.answer else None,
            "uuid": f"GPU-{number}" if not gpu.answer else None,
            "pci_address": address_of(number) if not gpu.answer else None,
            "field_errors": {},
        }
        for index, (number, gpu) in enumerate(listed)
    ]
    return {
        "nvml": {
            "return_code": nvml,
            "return_name": NVML[nvml],
            "message": "",
            "library_path": "libnvidia-ml.so.1" if user_space else "",
            "nvml_version": f"13.{user_space}",
            "driver_version": loaded,
            "cuda_driver_version": 13000,
            "gpus": told if nvml == 0 else [],
        },
        "cuda": {
            "return_code": cuda if user_space else None,
            "return_name": CUDA[cuda] if user_space else "",
            "message": "",
            "error": "" if user_space else "libcuda.so.1: cannot open shared object file",
            "library_path": "libcuda.so.1" if user_space else "",
            "driver_version": 13000,
            "device_count": sum(gpu.answer == 0 for _, gpu in listed) if cuda == 0 else 0,
        },
        "processes": {"holders": [], "deleted_libraries": [], "unreadable": 0},
    }
