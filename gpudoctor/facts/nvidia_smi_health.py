"""What `nvidia-smi -q` and `-q -x` say of memory errors, replaced rows and clocks, as the NVML probe gives it."""

import re
from collections.abc import Mapping

PREFIX = "health:"  # of the cells that are kept for it

# The last words of a path: -q and XML differ in them, and so do releases.
_UNCORRECTED = re.compile(r"ecc_errors/volatile/(?:[sd]ram_uncorrectable(?:_parity|_sec-?ded)?|double_bit/total)")
_ROWS = {
    "remapped_rows/correctable_error": "correctable",
    "remapped_rows/remapped_row_corr": "correctable",
    "remapped_rows/uncorrectable_error": "uncorrectable",
    "remapped_rows/remapped_row_unc": "uncorrectable",
    "remapped_rows/pending": "pending",
    "remapped_rows/remapped_row_pending": "pending",
    "remapped_rows/remapping_failure_occurred": "failed",
    "remapped_rows/remapped_row_failure": "failed",
}
_PAGES = (
    "retired_pages/pending_page_blacklist",
    "retired_pages/pending_blacklist",
    "retired_pages/pending_retirement",
)
_REASONS = re.compile(r"clocks_(?:event|throttle)_reasons/(?:.*/)?(?:clocks_(?:event|throttle)_reasons?_)?(.+)")
# NVML's bits, by what nvidia-smi calls them.
_BITS = {
    "idle": (0x1, "GpuIdle"),
    "gpu_idle": (0x1, "GpuIdle"),
    "sw_power_cap": (0x4, "SwPowerCap"),
    "hw_slowdown": (0x8, "HwSlowdown"),
    "sw_thermal_slowdown": (0x20, "SwThermalSlowdown"),
    "hw_thermal_slowdown": (0x40, "HwThermalSlowdown"),
    "hw_power_brake_slowdown": (0x80, "HwPowerBrakeSlowdown"),
}
_NUMBERS = {
    "utilization/gpu": "utilization_percent",
    "utilization/gpu_util": "utilization_percent",
    "gpu_power_readings/current_power_limit": "power_limit_w",
    "power_readings/enforced_power_limit": "power_limit_w",
    "gpu_power_readings/default_power_limit": "power_limit_default_w",
    "power_readings/default_power_limit": "power_limit_default_w",
}


def tells_health(path: str) -> bool:
    """Is this one of them?"""
    known = path in _ROWS or path in _PAGES or path in _NUMBERS
    return known or bool(_UNCORRECTED.fullmatch(path) or _REASONS.fullmatch(path))


def health_values(cells: Mapping[str, str]) -> dict[str, object]:
    """The probe's fields, from the cells that were kept; those that are not told are left out."""
    values: dict[str, object] = {}
    errors: list[int] = []
    rows: dict[str, object] = {}
    reasons: dict[int, str] = {}
    clocks_told = False
    for key, cell in cells.items():
        path, word = key.removeprefix(PREFIX), cell.strip().lower()
        number = re.match(r"[0-9]{1,12}(?:\.[0-9]{1,6})?", word)
        if not key.startswith(PREFIX):
            continue
        if path in _ROWS:
            rows[_ROWS[path]] = {"yes": True, "no": False}.get(word, int(word) if word.isdecimal() else None)
        elif path in _PAGES:
            if word in ("yes", "no"):
                values["retired_pages_pending"] = word == "yes"
        elif path in _NUMBERS:
            if number:
                values[_NUMBERS[path]] = int(number[0]) if path.startswith("utilization") else float(number[0])
        elif _UNCORRECTED.fullmatch(path):
            errors += [int(word)] if word.isdecimal() else []
        elif (found := _REASONS.fullmatch(path)) and found[1] in _BITS and word in ("active", "not active"):
            clocks_told = True
            reasons |= dict([_BITS[found[1]]]) if word == "active" else {}
    if errors:
        values["ecc_uncorrected_volatile"] = sum(errors)
    if any(value is not None for value in rows.values()):
        values["remapped_rows"] = rows
    if clocks_told:
        values["clocks_event_reasons"] = sum(reasons)
        values["clocks_event_reason_names"] = [reasons[bit] for bit in sorted(reasons)]
    return values
