"""The cells of nvidia-smi's outputs: what they are called, what their values are, and which are a GPU's error."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.answers import NvmlGpu
from gpudoctor.facts.nvidia_smi_health import PREFIX, health_values, tells_health

GPU_IS_LOST, RESET_REQUIRED, UNKNOWN = 15, 16, 999
MOST_GPUS = 256  # that are read of one text; no machine has as many
# The whole GPU is meant, whichever cell says it.
_WHOLE_GPU = (GPU_IS_LOST, RESET_REQUIRED)

# What nvidia-smi says for NVML's return codes. A longer saying stands before a shorter one that is part of it.
_SAYINGS = (
    ("driver/library version mismatch", 18),
    ("nvml/rm version mismatch", 18),
    ("libnvidia-ml.so", 12),
    ("shared library not found", 12),
    ("function not found", 13),
    ("gpu not found", 28),
    ("not found", 6),
    ("communicate with the nvidia driver", 9),
    ("driver not loaded", 9),
    ("gpu is lost", GPU_IS_LOST),
    ("requires reset", RESET_REQUIRED),
    ("requires restart", RESET_REQUIRED),
    ("insufficient permissions", 4),
    ("insufficient external power", 8),
    ("insufficiently powered", 8),
    ("insufficient memory", 20),
    ("interrupt", 11),
    ("timeout", 10),
    ("corrupted", 14),
    ("blocked by the operating system", 17),
    ("operating system has blocked", 17),
    ("requested functionality has been deprecated", 26),
    ("not supported", 3),
    ("not available", 3),
    ("invalid argument", 2),
    ("uninitialized", 1),
    ("unknown error", UNKNOWN),
)
# A cell that says so has no value. That tells nothing of the GPU's health.
_NO_VALUE = (3, 4, 6, 13, 25, 26)
# In a cell these stand alone; a name or a path may well hold the same words.
_CELL_ERRORS = {
    **{said: code for said, code in _SAYINGS if code not in _NO_VALUE},
    "gpu requires reset": RESET_REQUIRED,
    "gpu requires restart": RESET_REQUIRED,
    "err!": UNKNOWN,
}
_EMPTY_CELLS = ("", "n/a", "not active", *(said for said, code in _SAYINGS if code in _NO_VALUE))

# Fields as the NVML probe names them, by what -q, -q -x and --query-gpu call them.
_FIELDS = {
    "product_name": "name",
    "name": "name",
    "gpu_name": "name",
    "uuid": "uuid",
    "gpu_uuid": "uuid",
    "serial": "serial",
    "serial_number": "serial",
    "gpu_serial": "serial",
    "index": "index",
    "pci.bus_id": "pci_address",
    "gpu_bus_id": "pci_address",
    "persistence_mode": "persistence_mode",
    "compute_mode": "compute_mode",
    "compute_cap": "compute_capability",
    "fb_memory_usage/total": "memory_total_bytes",
    "fb_memory_usage/reserved": "memory_reserved_bytes",
    "fb_memory_usage/used": "memory_used_bytes",
    "fb_memory_usage/free": "memory_free_bytes",
    "memory.total": "memory_total_bytes",
    "memory.reserved": "memory_reserved_bytes",
    "memory.used": "memory_used_bytes",
    "memory.free": "memory_free_bytes",
    "mig_mode/current": "mig_mode",
    "mig_mode/current_mig": "mig_mode",
    "mig.mode.current": "mig_mode",
    "gpu_recovery_action": "recovery_action",
    "fabric/state": "fabric_state",
    "performance_state": "performance_state",
    "pstate": "performance_state",
    "ecc_mode/current": "ecc_mode",
    "ecc_mode/current_ecc": "ecc_mode",
    "ecc.mode.current": "ecc_mode",
    "temperature/gpu_temp": "temperature_c",
    "temperature/gpu_current_temp": "temperature_c",
    "temperature.gpu": "temperature_c",
    "power_readings/power_draw": "power_w",
    "gpu_power_readings/power_draw": "power_w",
    "gpu_power_readings/instant_power_draw": "power_w",
    "gpu_power_readings/instantaneous_power_draw": "power_w",
    "power.draw": "power_w",
    "gpu_virtualization_mode/virtualization_mode": "virtualization_mode",
    "vgpu_software_licensed_product/license_status": "license_state",
    "grid_licensed_product/license_status": "license_state",
}
# What nvidia-smi calls in other words than NVML.
_RECOVERY_ACTIONS = {"reset": "gpu_reset", "reboot": "node_reboot"}
_UNITS = {"": 1 << 20, "mib": 1 << 20, "mb": 1 << 20, "gib": 1 << 30, "kib": 1 << 10}

_ADDRESS = re.compile(r"([0-9A-Fa-f]{1,8}):([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2})\.([0-7])")


class Listed(NamedTuple):
    """One GPU as an output lists it."""

    line: int  # where it begins: GPUs without a number are counted in this order
    number: int | None  # None where the output does not tell it
    cells: Mapping[str, str]  # texts, under the NVML probe's names or, where that has none, nvidia-smi's own


class Listing(NamedTuple):
    """What an output lists."""

    driver_version: str  # "" if it does not tell
    cuda_version: int | None  # 12020 for CUDA 12.2
    attached: int | None  # how many GPUs it says there are
    gpus: tuple[Listed, ...]
    complete: bool  # it was not cut


def error_in(cell: str) -> int | None:
    """NVML's return code, if a cell has an error in place of a value."""
    return _CELL_ERRORS.get(_bare(cell))


def code_in(sentence: str) -> int | None:
    """NVML's return code, if a sentence of nvidia-smi gives a known reason."""
    lower = sentence.lower()
    return next((code for said, code in _SAYINGS if said in lower), None)


def value_of(cell: str) -> str:
    """The text of a cell, "" where it has no value."""
    return "" if _bare(cell) in _EMPTY_CELLS or error_in(cell) is not None else cell.strip()


def file_under(cells: dict[str, str], path: str, cell: str) -> None:
    """Add a cell by nvidia-smi's own name for it: those that the probe knows, too, and those with an error."""
    field = _FIELDS.get(path)
    if field and not value_of(cells.get(field, "")):
        cells[field] = cell
    elif not field and error_in(cell) is not None:
        cells[path] = cell
    elif not field and tells_health(path):
        cells[PREFIX + path] = cell


def known_column(name: str) -> bool:
    """Is this the heading of a column that we know, as "memory.total [MiB]"?"""
    path = name.partition(" [")[0]
    return path == "driver_version" or (path in _FIELDS and "/" not in path)


def address_in(text: str) -> str:
    """The first PCI address in a text as in /sys/bus/pci/devices ("0000:07:00.0"), "" without one."""
    found = _ADDRESS.search(text)
    if found is None:
        return ""
    domain, bus, device, function = found.groups()
    return f"{int(domain, 16):04x}:{bus}:{device}.{function}".lower()


def version_in(cell: str) -> str:
    """The driver version in a cell, without the remark that newer releases put behind it."""
    word = next(iter(cell.split()), "")
    return word if re.fullmatch(r"[0-9]{2,4}(\.[0-9]{1,4}){1,2}", word) else ""


def count_in(cell: str) -> int | None:
    """A number of a GPU or of GPUs."""
    return int(cell) if re.fullmatch(r"[0-9]{1,3}", cell.strip()) else None


def cuda_version_in(cell: str) -> int | None:
    """12020 for "12.2"."""
    word = next(iter(cell.split()), "")
    if not re.fullmatch(r"[0-9]{1,2}\.[0-9]{1,2}", word):
        return None
    major, minor = word.split(".")
    return int(major) * 1000 + int(minor) * 10


def gpu_of(listed: Listed, number: int, failed: int, names: Mapping[int, str]) -> NvmlGpu:
    """One GPU as the NVML probe would tell it. `failed`: the code of what nvidia-smi said of it elsewhere, or 0."""
    errors = {field: code for field, cell in listed.cells.items() if (code := error_in(cell)) is not None}
    code = failed or next((code for code in errors.values() if code in _WHOLE_GPU), 0)
    name = names.get(code, "")
    cells = {field: cell for field, cell in listed.cells.items() if field != "index" and not field.startswith(PREFIX)}
    values = {field: _typed(field, cell) for field, cell in cells.items()} | health_values(listed.cells)
    total, capability = values.get("memory_total_bytes"), values.get("compute_capability")
    persistence = values.get("persistence_mode")
    return NvmlGpu(
        number,
        code,
        name,
        str(values.get("name") or ""),
        str(values.get("uuid") or ""),
        str(values.get("pci_address") or ""),
        total if isinstance(total, int) else None,
        (capability[0], capability[1]) if isinstance(capability, list) else None,
        persistence if isinstance(persistence, bool) else None,
        {field: names.get(code, "") for field, code in errors.items()},
        {"index": number, "return_code": code, "return_name": name, **values},
    )


def _typed(field: str, cell: str) -> object:
    """A value of the type that the NVML probe gives it."""
    text = value_of(cell)
    quantity = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-z]{0,3})", text)
    match field:
        case "pci_address":
            return address_in(text) or None
        case "compute_capability":
            return [int(part) for part in text.split(".")] if re.fullmatch(r"[0-9]{1,2}\.[0-9]", text) else None
        case "persistence_mode" | "mig_mode" | "ecc_mode":
            return {"enabled": True, "on": True, "disabled": False, "off": False}.get(text.lower())
        case "virtualization_mode":
            return text.lower().replace("-", "").replace(" ", "_") or None
        case "fabric_state":
            return text.lower().replace(" ", "_") or None
        case "performance_state":
            return int(text[1:]) if re.fullmatch(r"P[0-9]{1,2}", text) else None
        case "license_state":
            return text.lower() or None
        case "recovery_action":
            return _RECOVERY_ACTIONS.get(text.lower(), text.lower().replace(" ", "_") or None)
        case "compute_mode":
            return text.lower().replace("e. process", "exclusive_process") or None
    if field.endswith("_bytes"):
        unit = _UNITS.get(quantity[2].lower()) if quantity else None
        return int(float(quantity[1]) * unit) if quantity and unit else None
    if field in ("temperature_c", "power_w", "ecc_uncorrected_volatile"):
        return (float if "." in quantity[1] else int)(quantity[1]) if quantity else None
    return text or None


def _bare(cell: str) -> str:
    return cell.strip().strip("[]").rstrip(".").lower()
