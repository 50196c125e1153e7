"""Where ways meet and part: nodes with two inputs, and the one with several outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gpudoctor.bench.devices.device import Array, ArrayModule
from gpudoctor.bench.nodes.node import Kept


class Joint(Protocol):
    """A node with two inputs of one shape and an output of the same."""

    def forward(self, xp: ArrayModule, first: Array, second: Array) -> tuple[Array, Kept]: ...

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class Add:
    """The sum: it hands the gradient to both.

    forward    Y = A + B
    backward   dA = dY
               dB = dY
    """

    def forward(self, xp: ArrayModule, first: Array, second: Array) -> tuple[Array, Kept]:
        """Y."""
        return first + second, None

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, Array]:
        """dA and dB: both are dY itself."""
        return dy, dy


@dataclass(frozen=True)
class Multiply:
    """The product, entry by entry: each factor is the slope of the other.

    forward    Y = A B
    backward   dA = dY B
               dB = dY A
    """

    def forward(self, xp: ArrayModule, first: Array, second: Array) -> tuple[Array, Kept]:
        """Y."""
        return first * second, (first, second)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, Array]:
        """dA and dB."""
        first, second = kept
        return dy * second, dy * first


@dataclass(frozen=True)
class Maximum:
    """The larger of the two, entry by entry: a switch that sends the gradient back where the number came from.

    forward    Y = max(A, B)
    backward   dA = dY where A > B, else 0
               dB = dY where B > A, else 0                  equals share dY evenly
    """

    def forward(self, xp: ArrayModule, first: Array, second: Array) -> tuple[Array, Kept]:
        """Y. A NaN on either side gives NaN."""
        return xp.maximum(first, second), (first, second)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, Array]:
        """dA and dB."""
        first, second = kept
        to_first = (first > second).astype(dy.dtype)
        to_first += (first == second).astype(dy.dtype) / 2
        d_first = dy * to_first
        return d_first, dy - d_first


@dataclass(frozen=True)
class Branch:
    """The fork: one array goes several ways.

    forward    A = X, B = X, ...
    backward   dX = dA + dB + ...           X moved the loss along each way, so the ways add up
    """

    ways: int = 2

    def forward(self, xp: ArrayModule, x: Array) -> tuple[tuple[Array, ...], Kept]:
        """The same array, once for each way."""
        return (x,) * self.ways, None

    def backward(self, xp: ArrayModule, dys: tuple[Array, ...], kept: Kept) -> Array:
        """dX."""
        dx, *others = dys
        for dy in others:
            dx = dx + dy
        return dx
