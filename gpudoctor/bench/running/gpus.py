"""Which GPUs a benchmark runs on: what NVML lists, what CUDA_VISIBLE_DEVICES leaves of it, and what was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gpudoctor.bench.devices.device import CannotRun
from gpudoctor.host import ProbeAnswer

_VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_INSTANCE = "MIG-"
_DIVIDED = (
    "{name} is divided into MIG instances: CUDA gives a program the first of them, and that is what is tested. "
    "Another is named by its UUID, --gpu MIG-... (`nvidia-smi -L` lists them)."
)


class NoSuchGpu(Exception):
    """A GPU was named that cannot be taken; the text says why, as the end of a sentence."""


class Gpu(NamedTuple):
    """A GPU, or a MIG instance of one, that is to be tested."""

    uuid: str  # "GPU-..." or "MIG-...", for CUDA_VISIBLE_DEVICES
    number: int | None  # NVML's, as nvidia-smi counts; None: a MIG instance named by its UUID
    model: str  # "NVIDIA A100-SXM4-80GB", "" not told
    pci_address: str  # "0000:07:00.0", "" not told
    memory_bytes: int | None
    free_bytes: int | None
    divided: bool = False  # into MIG instances: CUDA takes the first
    sickness: str = ""  # what NVML says of it where it cannot be tested: "GPU is lost (NVML_ERROR_GPU_IS_LOST)"

    @property
    def name(self) -> str:
        """For a person: "GPU 0"."""
        return self.uuid or "GPU" if self.number is None else f"GPU {self.number}"


class Choice(NamedTuple):
    """What is to be tested."""

    gpus: tuple[Gpu, ...]  # also those whose `sickness` says why they cannot be: they were asked for
    notes: tuple[str, ...]  # sentences


def chosen_gpus(
    probed: ProbeAnswer,
    *,
    wanted: Sequence[str] = (),
    all_gpus: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> Choice:
    """The GPUs to test, from the answer of the probe of NVML.

    wanted: numbers as nvidia-smi counts, or UUIDs (also their beginnings, as CUDA takes them), of GPUs or MIG
    instances. all_gpus: all that may be used. Without either the first that is not sick. environment: where
    CUDA_VISIBLE_DEVICES is set, no GPU outside it is taken.
    Raises CannotRun where there is no GPU to take, NoSuchGpu for a wanted one that is not there or is hidden.
    """
    if wanted and all_gpus:
        raise NoSuchGpu("--gpu and --all exclude each other")
    listed = _listed(probed)
    visible = environment.get(_VISIBLE)
    usable, notes = (listed, []) if visible is None else _visible(listed, visible, environment.get(_ORDER, ""))
    if wanted:
        gpus = _without_doubles([_wanted(word, listed, usable, visible) for word in wanted])
    elif not usable:
        raise CannotRun(f"{_VISIBLE}={visible} leaves no GPU." if listed else "NVML lists no GPU.")
    elif all_gpus:
        gpus = usable
    else:
        well = [gpu for gpu in usable if not gpu.sickness]
        gpus = (well or usable)[:1]
        notes += [f"{gpu.name} was not tested: {gpu.sickness}." for gpu in usable if gpu.sickness and gpu not in gpus]
        others = len(well) - 1
        if others > 0:
            notes.append(f"{others} other GPU{'s were' if others > 1 else ' was'} not tested: --all.")
    notes += [_DIVIDED.format(name=gpu.name) for gpu in gpus if gpu.divided]
    return Choice(tuple(gpus), tuple(notes))


def _listed(probed: ProbeAnswer) -> list[Gpu]:
    if probed.answer is None:
        raise CannotRun(f"NVML does not say which GPUs there are: {probed.failure}.")
    told = probed.answer
    if told.get("error"):
        raise CannotRun(f"NVML cannot be loaded: {told['error']}.")
    if told.get("return_code") != 0:
        raise CannotRun(f"NVML cannot be asked: {told.get('message')} ({told.get('return_name')}).")
    gpus = told.get("gpus")
    return [_gpu(gpu) for gpu in gpus] if isinstance(gpus, list) else []


def _gpu(told: Mapping[str, Any]) -> Gpu:
    sickness = ""
    if told.get("return_code") != 0:
        sickness = f"{told.get('message')} ({told.get('return_name')})"
    elif not told.get("uuid"):
        sickness = "NVML does not tell its UUID"
    elif told.get("compute_mode") == "prohibited":
        sickness = "its compute mode is prohibited: nothing may compute on it (`nvidia-smi -c 0` allows it again)"
    return Gpu(
        told.get("uuid") or "",
        told["index"],
        told.get("name") or "",
        told.get("pci_address") or "",
        told.get("memory_total_bytes"),
        told.get("memory_free_bytes"),
        told.get("mig_mode") is True,
        sickness,
    )


def _instance(uuid: str) -> Gpu:
    return Gpu(uuid, None, "", "", None, None)


def _visible(listed: Sequence[Gpu], visible: str, order: str) -> tuple[list[Gpu], list[str]]:
    """What CUDA_VISIBLE_DEVICES leaves, in its order, by CUDA's rules: the first wrong word ends the list."""
    notes: list[str] = []
    gpus: list[Gpu] = []
    words = [word.strip() for word in visible.split(",")]
    for word in words:
        gpu = _instance(word) if word.startswith(_INSTANCE) else _named(word, listed)
        if gpu is None:
            if word not in ("", "-1", "none", "NoDevFiles"):
                notes.append(f"{_VISIBLE}={visible}: there is no GPU {word}, and CUDA reads no further.")
            break
        gpus.append(gpu)
    if words[0].isdecimal() and len({gpu.model for gpu in listed}) > 1 and order != "PCI_BUS_ID":
        notes.append(
            f"{_VISIBLE}={visible} was read as nvidia-smi counts; CUDA itself puts the fastest GPU first unless "
            f"{_ORDER}=PCI_BUS_ID is set."
        )
    return _without_doubles(gpus), notes


def _wanted(word: str, listed: Sequence[Gpu], usable: Sequence[Gpu], visible: str | None) -> Gpu:
    gpu = _instance(word) if word.startswith(_INSTANCE) else _named(word, listed)
    if gpu is None:
        known = ", ".join(str(gpu.number) for gpu in listed) or "none"
        raise NoSuchGpu(f"there is no GPU {word}: NVML lists {known}")
    divided = gpu.number is None and any(one.number is not None for one in usable)
    if gpu not in usable and not divided:
        raise NoSuchGpu(f"{gpu.name} is hidden by {_VISIBLE}={visible}")
    return gpu


def _named(word: str, listed: Sequence[Gpu]) -> Gpu | None:
    """By its number, or by the beginning of its UUID where that is the beginning of one alone."""
    if word.isdecimal():
        return next((gpu for gpu in listed if gpu.number == int(word)), None)
    found = [gpu for gpu in listed if len(word) > len("GPU-") and gpu.uuid.lower().startswith(word.lower())]
    return found[0] if len(found) == 1 else None


def _without_doubles(gpus: Sequence[Gpu]) -> list[Gpu]:
    return list(dict.fromkeys(gpus))
