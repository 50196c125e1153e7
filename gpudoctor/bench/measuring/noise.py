"""Normally distributed numbers for everything that is timed or filled: the same bits on every device.

Zeros are quick: a product of zeros draws less power, so that the clock stays higher, by 13 % on an H200. The numbers
are drawn once on the CPU, and the device repeats them as often as is asked for: the CPU knows what must lie there.
"""

from __future__ import annotations

from functools import lru_cache

import numpy

from gpudoctor.bench.devices.bfloat16 import from_bfloat16, to_bfloat16
from gpudoctor.bench.devices.device import Array, Device
from gpudoctor.bench.devices.precision import Precision

# A prime: rows of a matrix do not repeat with it, whatever their length.
LENGTH = 1_048_573

_DTYPES = {
    Precision.FP64: "float64",
    Precision.FP32: "float32",
    Precision.TF32: "float32",
    Precision.FP16: "float16",
    Precision.BF16: "uint16",
}
_NAN_IN_BF16 = 0x7FC0


def dtype_of(precision: Precision) -> numpy.dtype:
    """How numbers of this precision lie in memory; BF16 as uint16 that holds the bits."""
    return numpy.dtype(_DTYPES[precision])


def stored(numbers: Array, precision: Precision) -> Array:
    """float32 numbers of the CPU as they lie in memory in this precision."""
    if precision is Precision.BF16:
        return to_bfloat16(numpy, numbers)
    return numbers.astype(_DTYPES[precision])


def widened(array: Array, precision: Precision) -> Array:
    """What lies in memory in this precision as numbers: float32 for BF16, everything else as it is."""
    return from_bfloat16(array) if precision is Precision.BF16 else array


def poison(array: Array, precision: Precision) -> None:
    """NaN everywhere: what a later computation leaves out cannot be taken for its result."""
    array.fill(_NAN_IN_BF16 if precision is Precision.BF16 else numpy.nan)


@lru_cache(maxsize=len(Precision))
def noise(seed: int, precision: Precision) -> Array:
    """(LENGTH,) on the CPU, stored, not to be written to: what is repeated."""
    numbers = numpy.random.default_rng([seed, 8]).standard_normal(LENGTH, dtype=numpy.float32)
    block = stored(numbers, precision)
    block.flags.writeable = False
    return block


def repeated(block: Array, start: int, count: int) -> Array:
    """(count,) on the CPU: the part from `start` of the block, repeated without an end."""
    first = start % len(block)
    if first + count <= len(block):
        return block[first : first + count]
    return numpy.resize(numpy.roll(block, -first), count)


def fill(device: Device, target: Array, block: Array, start: int = 0) -> None:
    """The same on the device, into an array of one dimension; `block` on the CPU."""
    there = device.xp.asarray(block)
    first = start % len(block)
    at = min(len(block) - first, len(target))
    target[:at] = there[first : first + at]
    for begin in range(at, len(target), len(block)):
        end = min(begin + len(block), len(target))
        target[begin:end] = there[: end - begin]


def filled(device: Device, shape: tuple[int, ...], precision: Precision, seed: int, start: int = 0) -> Array:
    """An array on the device, of noise."""
    target = device.xp.empty(shape, dtype_of(precision))
    fill(device, target.reshape(-1), noise(seed, precision), start)
    return target
