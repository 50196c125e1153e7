"""Silent faults of a device, put into its matrix products: what the benchmark is there to find."""

from collections.abc import Callable

import numpy

from gpudoctor.bench.devices.device import NumpyDevice, WithProduct


def low_bit(rng, c, a, b):
    _flip(rng, c, int(rng.integers(0, 12)))


def high_bit(rng, c, a, b):
    _flip(rng, c, int(rng.integers(12, 23)))


def exponent_bit(rng, c, a, b):
    _flip(rng, c, int(rng.integers(23, 31)))


def zero_element(rng, c, a, b):
    c[_somewhere(rng, c)] = 0


def zero_tile(rng, c, a, b):
    c[_tile(rng, c)] = 0


def last_part_of_k(rng, c, a, b):
    """A tile without the last quarter of its sum."""
    rows, columns = _tile(rng, c)
    kept = 3 * a.shape[1] // 4
    c[rows, columns] -= a[rows, kept:] @ b[kept:, columns]


def stuck_bit(rng, c, a, b):
    """Bit 13 is always 1 in the first tile of every product."""
    tile = numpy.ascontiguousarray(c[:16, :8])
    c[:16, :8] = (tile.view("uint32") | numpy.uint32(1 << 13)).view("float32")


def not_a_number(rng, c, a, b):
    c[_somewhere(rng, c)] = numpy.nan


Fault = Callable[[numpy.random.Generator, numpy.ndarray, numpy.ndarray, numpy.ndarray], None]


class FaultyDevice(NumpyDevice):
    """The CPU with a fault in the products numbered in `at`, counted from 0 over the device's life; None: in all."""

    def __init__(self, fault: Fault, at: int | None, seed: int = 0) -> None:
        super().__init__()
        self.products, self._fault, self._at = 0, fault, at
        self._rng = numpy.random.default_rng(seed)

    def computing_in(self, precision):
        healthy = super().computing_in(precision)

        def product(a, b):
            c = healthy.matmul(a, b)
            if self._at is None or self.products == self._at:
                self._fault(self._rng, c, a, b)
            self.products += 1
            return c

        return WithProduct(healthy, product)


def _flip(rng, c, bit):
    where = _somewhere(rng, c)
    c[where] = (c[where].view("uint32") ^ numpy.uint32(1 << bit)).view("float32")


def _somewhere(rng, c):
    return int(rng.integers(c.shape[0])), int(rng.integers(c.shape[1]))


def _tile(rng, c):
    row, column = (int(rng.integers(max(1, size // step))) * step for size, step in zip(c.shape, (16, 8), strict=True))
    return slice(row, row + 16), slice(column, column + 8)
