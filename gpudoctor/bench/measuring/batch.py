"""Less at a time when the memory runs out: a batch, or a fill of the memory, is halved before it is given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gpudoctor.bench.devices.device import Device

Measured = TypeVar("Measured")

HALVINGS = 2


def halving(
    device: Device, count: int, work: Callable[[int], Measured], say: Callable[[str], None], what: str = "images"
) -> Measured:
    """work(count); where the memory does not suffice for it with half as many, twice at most, and says so each time.

    The last MemoryError passes through.
    """
    for halved in range(HALVINGS + 1):
        try:
            return work(count)
        except MemoryError:
            if halved == HALVINGS or count < 2:
                raise
        # After the except clause: the error held on to the arrays of the frames that it came through.
        device.release()
        say(f"out of memory with {count:,} {what}: trying {count // 2:,}")
        count //= 2
    raise AssertionError("the last attempt returns or raises")
