"""Compatibility tables as data with sources, loaded when they are asked for.

Each JSON file carries `date` and `sources`; no version table stands in code. GPUs and NVML codes are read here;
`cuda`, `torch`, `cudnn`, `companions` and `wheels` of this package read the other tables.
"""

import json
import os
from functools import cache
from typing import Any, NamedTuple


class KnownGpu(NamedTuple):
    """A row of the GPU table."""

    name: str
    architecture: str
    compute_capability: str  # "9.0", "" unknown
    module: str  # "open-only", "proprietary-only", "either"
    last_branch: int | None  # last driver branch that serves it, None: still served
    first_driver: str  # first open driver release that lists it, "" where that says nothing of older drivers


def known_gpus() -> dict[str, KnownGpu]:
    """All GPUs of the table, by PCI device id in lower-case hexadecimal ("2335")."""
    return {device_id: gpu for device_id in load_table("gpus")["gpus"] if (gpu := known_gpu(device_id))}


def known_gpu(device_id: str) -> KnownGpu | None:
    """The GPU with this PCI device id in lower-case hexadecimal ("2335"); None if the table does not have it."""
    table = load_table("gpus")
    if device_id not in table["gpus"]:
        return None
    name, architecture, capability, first_driver, *module = table["gpus"][device_id]
    common = table["architectures"][architecture]
    needed = module[0] if module else common["module"]
    return KnownGpu(name, architecture, capability, needed, common["last_branch"], first_driver)


def nvml_codes() -> dict[int, str]:
    """The names of NVML's return codes: 18 is "NVML_ERROR_LIB_RM_VERSION_MISMATCH"."""
    return {int(code): name for code, name in load_table("nvml_codes")["codes"].items()}


def is_data_centre(name: str) -> bool | None:
    """Whether a GPU of this name is a data-centre card, on which CUDA forward compatibility is allowed.

    None where the name does not tell: virtual and integrated GPUs, large RTX cards (some servers with them are
    certified), names that are only a chip's.
    """
    ending = name.rpartition("-")[2]
    words = name.removeprefix("NVIDIA ").removeprefix("HGX ").replace("-", " ").split()
    if not words or (ending[:-1].isdigit() and ending[-1] in "ABCQ"):  # "NVIDIA A40-48Q": a virtual GPU
        return None
    for row in load_table("forward_compatibility")["names"]:
        if (
            all(word in words for word in row.get("all", ()))
            and ("any" not in row or any(word in words for word in row["any"]))
            and ("first" not in row or words[0] in row["first"])
        ):
            told: bool | None = row["data_centre"]
            return told
    return None


def table_dates() -> dict[str, str]:
    """Name of each table to the date at which its sources were read."""
    folder = os.path.dirname(__file__)
    names = sorted(name.removesuffix(".json") for name in os.listdir(folder) if name.endswith(".json"))
    return {name: load_table(name)["date"] for name in names}


@cache
def load_table(name: str) -> dict[str, Any]:
    """The content of one JSON file, read once; for the loaders of this package, which give it types."""
    with open(os.path.join(os.path.dirname(__file__), f"{name}.json"), encoding="utf-8") as file:
        table: dict[str, Any] = json.load(file)
    return table
