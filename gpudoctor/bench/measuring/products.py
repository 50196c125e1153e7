"""Large matrix products of noise, and how far they are from what float64 on the CPU gives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy

from gpudoctor.bench.devices.device import Array, Device
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.measuring.noise import dtype_of, filled, noise, repeated, widened
from gpudoctor.bench.verdicts.rates import ERROR_LIMITS

_ROWS = 64  # of the product that are compared number by number
_AT_ONCE = 512  # rows that the CPU widens to float64 at a time
_B_STARTS = 349_525  # in the noise, where A starts at 0

# Deviations by rounding are normally distributed: of 8192 the largest is about four times the mean (L2).
_OUTLIER = 4


class Operands(NamedTuple):
    """C = A B with square matrices of noise, on the device. `c` holds anything before the product is asked for."""

    a: Array
    b: Array
    c: Array
    precision: Precision
    seed: int

    @property
    def flops(self) -> float:
        """Multiplications and additions of one product."""
        return 2.0 * len(self.a) ** 3


class Expected(NamedTuple):
    """Parts of the product, by float64 on the CPU."""

    rows: Array  # (64,) which rows
    stripe: Array  # (64, n) these rows
    sums: Array  # (n,) of each column


class Deviation(NamedTuple):
    """How far a product is from what was expected."""

    # Relative (L2), of the part of the result where it is largest; where one number is further off than rounding
    # explains, a quarter of its own deviation; NaN if any number is.
    error: float
    outliers: int  # numbers whose deviation is more than four times the limit, NaN among them


def operands(device: Device, size: int, precision: Precision, seed: int) -> Operands:
    """A, B and room for C, each size x size."""
    a = filled(device, (size, size), precision, seed)
    b = filled(device, (size, size), precision, seed, _B_STARTS)
    return Operands(a, b, device.xp.empty((size, size), dtype_of(precision)), precision, seed)


def expected(size: int, precision: Precision, seed: int) -> Expected:
    """What the product of these operands must be, without a look at the device: so its memory is checked as well.

    One random row out of each of 64 stripes, so that a multiprocessor that is wrong in every tile it computes is
    seen; and the sum of each column, so that every number of the product counts.
    """
    # TF32 begins with the same numbers, and rounds them on the way.
    return _expected(size, Precision.FP32 if precision is Precision.TF32 else precision, seed)


@lru_cache(maxsize=len(Precision))
def _expected(size: int, precision: Precision, seed: int) -> Expected:
    block = noise(seed, precision)

    def part(start: int, row: int, rows: int) -> Array:
        taken = repeated(block, start + row * size, rows * size)
        return widened(taken, precision).astype("float64").reshape(rows, size)

    edges = numpy.linspace(0, size, min(_ROWS, size) + 1).astype(int)
    rows = numpy.random.default_rng([seed, 9]).integers(edges[:-1], edges[1:])
    chosen = [part(0, int(row), 1) for row in rows]
    steps = [(row, min(_AT_ONCE, size - row)) for row in range(0, size, _AT_ONCE)]
    sums = sum(part(0, row, count).sum(axis=0) for row, count in steps)
    left = numpy.vstack([*chosen, sums])
    right = sum(left[:, row : row + count] @ part(_B_STARTS, row, count) for row, count in steps)
    return Expected(rows, right[:-1], right[-1])


def deviation(device: Device, found: Operands, wanted: Expected) -> Deviation:
    """Compares the product in `found.c`."""
    limit = ERROR_LIMITS[found.precision.value]
    rows = device.to_host(widened(found.c[device.xp.asarray(wanted.rows)], found.precision))
    steps = [slice(row, row + _AT_ONCE) for row in range(0, len(found.c), _AT_ONCE)]
    parts = [widened(found.c[step], found.precision).sum(axis=0, dtype="float64") for step in steps]
    sums = device.to_host(sum(parts[1:], parts[0]))
    return deviation_of([(rows, wanted.stripe), (sums, wanted.sums)], limit)


def deviation_of(compared: Sequence[tuple[Array, Array]], limit: float) -> Deviation:
    """How far arrays on the CPU are from what they should be: pairs of found and wanted, the latter in float64."""
    errors, outliers = [], 0
    with numpy.errstate(invalid="ignore", over="ignore"):
        for found, wanted in compared:
            off = (found.astype("float64") - wanted) / numpy.sqrt((wanted * wanted).mean())
            errors += [numpy.sqrt((off * off).mean()), abs(off).max() / _OUTLIER]
            outliers += int((~(abs(off) <= _OUTLIER * limit)).sum())
    # numpy.max keeps a NaN, which Python's max may lose.
    return Deviation(float(numpy.max(errors)), outliers)
