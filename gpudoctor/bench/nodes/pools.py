"""Nodes that shrink images: of each window they keep the largest number, or the mean."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from gpudoctor.bench.devices.device import Array, ArrayModule
from gpudoctor.bench.nodes.node import Kept, WithoutParameters


@dataclass(frozen=True)
class MaxPool(WithoutParameters):
    """Keeps the largest of each window of size x size. X (N, H, W, channels), Y (N, H', W', channels).

    forward    Y = max over the window
    backward   dX = sum over the windows that it is in of dY where it was the largest, else 0; equals share dY evenly

    Windows begin every `stride` pixels (size, when not given); H' = (H - size) / stride + 1 rounded down, and what
    does not fill a window is left out. Sequences (N, L, channels) have windows of `size`.
    """

    size: int = 2
    stride: int | None = None

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y. A NaN in the window gives NaN."""
        first, *others = entries(x, self.size, self.stride or self.size)
        y = first
        for entry in others:
            y = xp.maximum(y, entry)
        return y, (x, y)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        x, y = kept
        stride = self.stride or self.size
        won = [entry == y for entry in entries(x, self.size, stride)]
        winners = won[0].astype(dy.dtype)
        for one in won[1:]:
            winners += one
        share = dy / winners
        dx = xp.zeros(x.shape, dtype=dy.dtype)
        for entry, one in zip(entries(dx, self.size, stride), won, strict=True):
            if stride < self.size:
                entry += share * one
            else:
                xp.multiply(share, one, out=entry)
        return dx


@dataclass(frozen=True)
class AveragePool(WithoutParameters):
    """Takes the mean of each window of size x size. X (N, H, W, channels), Y (N, H', W', channels), as in MaxPool.

    forward    Y = (sum over the window) / (its number of entries)
    backward   dX = sum over the windows that it is in of dY / (their number of entries)
    """

    size: int = 2
    stride: int | None = None

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y."""
        first, *others = entries(x, self.size, self.stride or self.size)
        y = first / (1 + len(others))
        for entry in others:
            y += entry / (1 + len(others))
        return y, x.shape

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        dx = xp.zeros(kept, dtype=dy.dtype)
        views = entries(dx, self.size, self.stride or self.size)
        share = dy / len(views)
        for entry in views:
            entry += share
        return dx


def entries(x: Array, size: int, stride: int) -> list[Array]:
    """For each place in a window a view of x with what all windows have there, of the shape of the pool's output.

    A few large strided operations take a third of the time of one reduction over axes of length two.
    """
    lengths = [(length - size) // stride + 1 for length in x.shape[1:-1]]
    if min(lengths) < 1:
        raise ValueError(f"A window of {size} does not fit into {x.shape[1:-1]}.")
    everything = (slice(None),)
    return [
        x[everything + tuple(slice(at, at + stride * count, stride) for at, count in zip(start, lengths, strict=True))]
        for start in product(range(size), repeat=len(lengths))
    ]
