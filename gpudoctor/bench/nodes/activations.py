"""Nodes that change each number by itself: the rectifiers, and dropout."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gpudoctor.bench.devices.device import Array, ArrayModule
from gpudoctor.bench.nodes.node import Kept, WithoutParameters


@dataclass(frozen=True)
class ReLU(WithoutParameters):
    """The rectifier: lets through what is positive. X and Y of any one shape.

    forward    Y = max(X, 0)
    backward   dX = dY where X > 0, else 0
    """

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y, of X's shape. NaN stays NaN."""
        return xp.maximum(x, 0), x > 0

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        return dy * kept


@dataclass(frozen=True)
class SiLU(WithoutParameters):
    """A rectifier without the kink. X and Y of any one shape; s is the logistic function, s(x) = 1 / (1 + exp(-x)).

    forward    Y = X s(X)
    backward   dX = dY s(X) (1 + X (1 - s(X)))          by the product rule, with s' = s (1 - s)
    """

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y, of X's shape."""
        # The same function as 1 / (1 + exp(-x)), but exp overflows for a large negative x.
        s = (1 + xp.tanh(x / 2)) / 2
        return x * s, (x, s)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        x, s = kept
        return dy * (s * (1 + x * (1 - s)))


@dataclass(frozen=True)
class Dropout(WithoutParameters):
    """Drops each number with probability `rate` while the net trains, so that no output leans on one input alone.

    forward    Y = X M           M is 0 with probability rate, else 1 / (1 - rate), so that the mean of Y is X
    backward   dX = dY M

    In evaluation (no moment given) M is 1. M depends on the seed and on the moment alone, see `random_bits`.
    """

    rate: float
    seed: int = 0
    moment: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"A dropout rate lies between 0 and 1 (not 1 itself): {self.rate}")

    def at(self, moment: tuple[int, ...]) -> Dropout:
        """The same node with the mask of that moment of training."""
        return replace(self, moment=moment)

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y, of X's shape."""
        if self.moment is None:
            return x, None
        stays = random_bits(xp, x.size, self.seed, *self.moment) >= int(self.rate * 2**32)
        mask = stays.reshape(x.shape).astype(x.dtype)
        mask *= 1 / (1 - self.rate)
        return x * mask, mask

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        return dy if kept is None else dy * kept


def random_bits(xp: ArrayModule, count: int, *key: int) -> Array:
    """(count,) uint32: a sequence that looks random and depends on the numbers of the key alone.

    A generator that keeps no state: the place in the sequence is scrambled by `scrambled`, with the key mixed in. It
    is whole-number arithmetic, so a CPU and a GPU draw the same mask, and a replayed step draws it again.
    """
    mixed = 0
    for number in key:
        mixed = scrambled((mixed + number + 0x9E3779B9) & 0xFFFFFFFF) & 0xFFFFFFFF
    places = xp.arange(count, dtype=xp.uint32)
    return scrambled(scrambled(places) ^ mixed)


def scrambled(x: Array) -> Array:
    """A bijection of the 32-bit numbers that flips each bit of the result with probability 1/2 for each bit of x.

    The function "lowbias32" that Chris Wellons found by search (nullprogram.com/blog/2018/07/31/). x is an array of
    uint32, or an int below 2**32.
    """
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & 0xFFFFFFFF
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)
