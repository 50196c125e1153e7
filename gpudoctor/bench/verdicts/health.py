"""What a GPU counted while the benchmark ran: errors of its memory, of its links, and what the driver reported."""

from __future__ import annotations

from typing import Any, NamedTuple

from gpudoctor.bench.measures import Counters
from gpudoctor.bench.result import Judgement, PhaseResult, Status, by_the_worst

ID = "bench.faults-counted"

# DCGM lets this many replays pass during its PCIe test (max_pcie_replays); its health watch speaks up at 8 a minute,
# so that any are worth a word. A replay costs time, and no data.
MOST_REPLAYS = 80

# CRC errors of NVLink matter from this rate a second on, says NVIDIA (DCGM, dcgm_gpu_hardware_limits.h).
NVLINK_ERRORS_A_SECOND = 100


class _Counted(NamedTuple):
    field: str  # of Counters
    one: str
    many: str
    meaning: str  # a sentence


_UNCORRECTED = _Counted(
    "ecc_uncorrected",
    "uncorrected memory error",
    "uncorrected memory errors",
    "What was computed with that memory is wrong.",
)
_CORRECTED = _Counted(
    "ecc_corrected",
    "corrected memory error",
    "corrected memory errors",
    "Nothing was lost; a GPU that keeps counting them wears out.",
)
_REMAPPED = _Counted(
    "remapped_rows", "remapped row of memory", "remapped rows of memory", "A row of its memory failed in this run."
)
_REPLAYS = _Counted(
    "pcie_replays", "PCIe replay", "PCIe replays", "Packets were damaged on the way: look at its seat, riser and slot."
)
_NVLINK = _Counted("nvlink_errors", "NVLink error", "NVLink errors", "Packets between GPUs were damaged on the way.")
_XIDS = _Counted(
    "xids", "Xid in the kernel's log", "Xids in the kernel's log", "NVIDIA's list of Xid errors tells what each means."
)


def judge_health(before: Counters, after: Counters, seconds: float = 0.0) -> PhaseResult:
    """The phase health. Failed: data was lost or a part failed; warned: errors that were put right.

    seconds: between the two, 0 unknown. What was not told before and after is not judged; `numbers` says what rose.
    """
    found: list[Judgement] = []
    rose: dict[str, int] = {}
    for counted in (_UNCORRECTED, _REMAPPED, _XIDS, _NVLINK, _REPLAYS, _CORRECTED):
        first, last = getattr(before, counted.field), getattr(after, counted.field)
        if first is None or last is None:
            continue
        # A driver that was reset in between counts from nought again.
        rise = last - first if last >= first else last
        rose[counted.field] = rise
        if rise > 0:
            name = counted.one if rise == 1 else counted.many
            text = f"During the run the GPU counted {rise:,} new {name}. {counted.meaning}"
            found.append(Judgement(ID, _severity(counted, rise, seconds), counted.many, text))
    numbers: dict[str, Any] = {
        "before": before._asdict(),
        "after": after._asdict(),
        "rose": rose,
        "judged": [ID] if rose else [],
    }
    if found:
        return by_the_worst("health", found, numbers)
    if not rose:
        return PhaseResult("health", Status.SKIPPED, "NVML tells no error counters of this GPU.", [], numbers)
    names = ", ".join(_WORDS[field] for field in rose)
    return PhaseResult("health", Status.PASSED, f"No new errors: {names}.", [], numbers)


_WORDS = {
    "ecc_uncorrected": "uncorrected memory errors",
    "ecc_corrected": "corrected memory errors",
    "remapped_rows": "remapped rows",
    "xids": "Xids",
    "nvlink_errors": "NVLink",
    "pcie_replays": "PCIe replays",
}


def _severity(counted: _Counted, rise: int, seconds: float) -> Status:
    if counted is _CORRECTED:
        return Status.WARNED
    if counted is _REPLAYS:
        return Status.FAILED if rise > MOST_REPLAYS else Status.WARNED
    if counted is _NVLINK and seconds > 0:
        return Status.FAILED if rise / seconds >= NVLINK_ERRORS_A_SECOND else Status.WARNED
    return Status.FAILED
