"""What every node promises, and how weights begin."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy

from gpudoctor.bench.devices.device import Array, ArrayModule

# Whatever a node's forward wants its backward to have: arrays, shapes, tuples of them.
Kept = Any


class Node(Protocol):
    """What the net asks of each of its parts; the package's docstring says what the methods mean."""

    @property
    def learns(self) -> int:
        """How many arrays of parameters it has."""
        ...

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]: ...

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]: ...

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array: ...

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]: ...


@runtime_checkable
class Random(Protocol):
    """A node that draws anew at every step of training, or that holds one that does."""

    def at(self, moment: tuple[int, ...]) -> Node:
        """The same node at a moment of training: the number of the step, then the node's place in the net."""
        ...


class WithoutParameters:
    """The half of a node that has nothing to learn."""

    learns: ClassVar[int] = 0

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]:
        """Nothing to start from."""
        return ()

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]:
        """Nothing to correct."""
        return ()


def weights_for_relu(rng: numpy.random.Generator, shape: tuple[int, ...], summed: int) -> Array:
    """Normal weights of variance 2 / summed, where each output sums that many inputs: so that neither the values going
    forward nor the gradients going backward grow or die from one rectified node to the next."""
    return rng.standard_normal(shape) * (2 / summed) ** 0.5
