# ruff: noqa: UP006, UP035, UP045 (runs on the old Pythons of users' environments)
"""Times an operation of PyTorch as measuring.timing times ours, so that the rates can be laid side by side."""

import math
import statistics
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from gpudoctor.bench.pytorch.device import DoesNotTrain, TorchDevice

Rate = Dict[str, Any]  # as measures.Rate
Clock = Callable[[Callable[[], object], int], float]  # so many calls, back to back: seconds

_MOST_CALLS = 1 << 20
_ATTEMPTS = 3


class Timing(NamedTuple):
    """Seconds a call, over the groups; and time.monotonic() around them."""

    median: float
    best: float
    worst: float
    began: float
    ended: float


def time_calls(clock: Clock, work: Callable[[], object], task: Dict[str, Any]) -> Timing:
    """Warmed up by time, then groups of back-to-back calls that last long enough. `task`: `warm_up`, `groups`, `group`.

    Raises DoesNotTrain when the clock gives no time that could be one: it is the device's own.
    """
    until = time.monotonic() + task["warm_up"]
    one = _seconds(clock, work, 1)
    calls = 1
    while True:
        one = _seconds(clock, work, calls) / calls
        if time.monotonic() >= until:
            break
        calls = min(2 * calls, max(1, int(task["warm_up"] / 4 / one)), _MOST_CALLS)
    for attempt in range(_ATTEMPTS):
        calls = min(max(1, math.ceil(task["group"] / one)), _MOST_CALLS)
        began = time.monotonic()
        groups: List[float] = []
        while len(groups) < task["groups"]:
            groups.append(_seconds(clock, work, calls) / calls)
            # The clock of the device rose after the warm-up: the group is too short to be counted.
            if attempt < _ATTEMPTS - 1 and calls < _MOST_CALLS and groups[-1] * calls < 0.8 * task["group"]:
                break
        else:
            return Timing(statistics.median(groups), min(groups), max(groups), began, time.monotonic())
        one = groups[-1]
    raise AssertionError("the last attempt counts every group")


def clock_of(device: TorchDevice) -> Clock:
    """How long so many back-to-back calls take together, in seconds, by the device's own clock."""
    torch = device.torch

    def by_the_cpu(work: Callable[[], object], calls: int) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            work()
        return time.perf_counter() - began

    def by_the_gpu(work: Callable[[], object], calls: int) -> float:
        began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began.record()
        for _ in range(calls):
            work()
        ended.record()
        ended.synchronize()
        return float(began.elapsed_time(ended)) / 1000

    return by_the_cpu if device.where.type == "cpu" else by_the_gpu


def _seconds(clock: Clock, work: Callable[[], object], calls: int) -> float:
    seconds = clock(work, calls)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise DoesNotTrain(f"The device's clock says that {calls} calls took {seconds} seconds.")
    return max(seconds, 1e-7 * calls)


def rate_of(
    timing: Timing,
    amount: float,
    what: str,
    precision: str,
    detail: str,
    unit: str,
    *,
    error: Optional[float] = None,
    modelled: Optional[float] = None,
) -> Rate:
    """The timing as a rate: `amount` is what one call does, in the unit times seconds (GB for "GB/s")."""
    median, best, worst = (amount / seconds for seconds in (timing.median, timing.best, timing.worst))
    return {
        "what": what,
        "precision": precision,
        "detail": detail,
        "unit": unit,
        "median": median,
        "best": best,
        "spread": (best - worst) / median,
        "began": timing.began,
        "ended": timing.ended,
        "error": error,
        "modelled": modelled,
    }
