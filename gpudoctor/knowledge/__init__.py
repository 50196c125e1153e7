"""Compatibility tables as data with sources, loaded when they are asked for.

Each JSON file carries `date` and `sources`; no version table stands in code.
"""

import json
import os
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
    table = _load("gpus")
    architectures = table["architectures"]
    known = {}
    for device_id, (name, architecture, capability, first_driver, *module) in table["gpus"].items():
        common = architectures[architecture]
        needed = module[0] if module else common["module"]
        known[device_id] = KnownGpu(name, architecture, capability, needed, common["last_branch"], first_driver)
    return known


def nvml_codes() -> dict[int, str]:
    """The names of NVML's return codes: 18 is "NVML_ERROR_LIB_RM_VERSION_MISMATCH"."""
    return {int(code): name for code, name in _load("nvml_codes")["codes"].items()}


def table_dates() -> dict[str, str]:
    """Name of each table to the date at which its sources were read."""
    folder = os.path.dirname(__file__)
    names = sorted(name.removesuffix(".json") for name in os.listdir(folder) if name.endswith(".json"))
    return {name: _load(name)["date"] for name in names}


def _load(name: str) -> dict[str, Any]:
    with open(os.path.join(os.path.dirname(__file__), f"{name}.json"), encoding="utf-8") as file:
        table: dict[str, Any] = json.load(file)
    return table
