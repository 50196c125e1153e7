"""Times an operation on a device: warmed up by time, then in groups of back-to-back calls that last long enough.

A GPU raises its clock only under load, and takes up to a second for it; a single call is shorter than the clock that
times it is sharp. So the calls are timed in groups, and the spread between the groups says how far to trust them.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from gpudoctor.bench.devices.device import DoesNotTrain
from gpudoctor.bench.measures import Rate

# How long `calls` back-to-back calls of `work` take together, in seconds: as Device.seconds.
Clock = Callable[[Callable[[], object], int], float]

_MOST_CALLS = 1 << 20
_ATTEMPTS = 3


class Protocol(NamedTuple):
    """How an operation is timed."""

    warm_up: float  # seconds of calls before any is counted
    groups: int
    group: float  # seconds that a group lasts at least


class Timing(NamedTuple):
    """What the clock said, in seconds a call."""

    median: float  # over the groups
    best: float
    worst: float
    calls: int  # in each group
    began: float  # time.monotonic() around the groups
    ended: float


def time_calls(clock: Clock, work: Callable[[], object], protocol: Protocol) -> Timing:
    """Times `work`, which may return before the device is done.

    Raises DoesNotTrain when the clock gives no time that could be one: it is the device's own.
    """
    one = _warmed_up(clock, work, protocol.warm_up)
    for attempt in range(_ATTEMPTS):
        calls = min(max(1, math.ceil(protocol.group / one)), _MOST_CALLS)
        began = time.monotonic()
        groups = []
        for _ in range(protocol.groups):
            groups.append(_seconds(clock, work, calls) / calls)
            # The clock of the device rose after the warm-up: the group is too short to be counted.
            if attempt < _ATTEMPTS - 1 and calls < _MOST_CALLS and groups[-1] * calls < 0.8 * protocol.group:
                break
        else:
            ended = time.monotonic()
            return Timing(statistics.median(groups), min(groups), max(groups), calls, began, ended)
        one = groups[-1]
    raise AssertionError("the last attempt counts every group")


def rate_of(
    timing: Timing,
    amount: float,
    *,
    what: str,
    precision: str = "",
    detail: str,
    unit: str,
    error: float | None = None,
    modelled: float | None = None,
) -> Rate:
    """The timing as a rate: `amount` is what one call does, in the unit times seconds (GB for "GB/s")."""
    median, best, worst = amount / timing.median, amount / timing.best, amount / timing.worst
    spread = (best - worst) / median
    return Rate(
        what, precision, detail, unit, median, best, spread, timing.began, timing.ended, error, modelled
    )  # fmt: skip


def _warmed_up(clock: Clock, work: Callable[[], object], seconds: float) -> float:
    """Calls until the time is over; how long one of the last calls took."""
    until = time.monotonic() + seconds
    # Alone, because it may compile what the others only run.
    one = _seconds(clock, work, 1)
    calls = 1
    while True:
        took = _seconds(clock, work, calls)
        one = took / calls
        if time.monotonic() >= until:
            return one
        calls = min(2 * calls, max(1, int(seconds / 4 / one)), _MOST_CALLS)


def _seconds(clock: Clock, work: Callable[[], object], calls: int) -> float:
    seconds = clock(work, calls)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise DoesNotTrain(f"The device's clock says that {calls} calls took {seconds} seconds.")
    # Events of CUDA are half a microsecond apart: nothing takes no time at all.
    return max(seconds, 1e-7 * calls)
