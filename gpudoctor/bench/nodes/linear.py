"""Nodes that multiply by a matrix, and the one that makes rows for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy

from gpudoctor.bench.devices.device import Array, ArrayModule
from gpudoctor.bench.nodes.node import Kept, WithoutParameters, weights_for_relu


@dataclass(frozen=True)
class MatMul:
    """The product with a matrix: every output is a weighted sum of every input.

    forward    Y = X W                    X (images, inputs), W (inputs, outputs), Y (images, outputs)
    backward   dX = dY W^T                an input reached every output through its row of W, so it answers for all
               dW = X^T dY                a weight met every image once, so its gradient is the sum over the images
    """

    inputs: int
    outputs: int
    learns: ClassVar[int] = 1

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]:
        """W (inputs, outputs)."""
        return (weights_for_relu(rng, (self.inputs, self.outputs), summed=self.inputs),)

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y (images, outputs)."""
        (w,) = parameters
        return xp.matmul(x, w), (x, w)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX (images, inputs)."""
        _, w = kept
        return xp.matmul(dy, w.T)

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]:
        """dW."""
        x, _ = kept
        return (xp.matmul(x.T, dy),)


@dataclass(frozen=True)
class Dense:
    """The fully connected node: MatMul, and a number of its own added to each output.

    forward    Y = X W + b                X (images, inputs), W (inputs, outputs), b (outputs,), Y (images, outputs)
    backward   dX = dY W^T
               dW = X^T dY
               db = sum of dY over the images
    """

    inputs: int
    outputs: int
    learns: ClassVar[int] = 2

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]:
        """W (inputs, outputs) and b (outputs,)."""
        return weights_for_relu(rng, (self.inputs, self.outputs), summed=self.inputs), numpy.zeros(self.outputs)

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y (images, outputs)."""
        w, b = parameters
        y = xp.matmul(x, w)
        y += b
        return y, (x, w)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX (images, inputs)."""
        _, w = kept
        return xp.matmul(dy, w.T)

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]:
        """dW and db."""
        x, _ = kept
        return xp.matmul(x.T, dy), dy.sum(axis=0)


@dataclass(frozen=True)
class Flatten(WithoutParameters):
    """Lays each image out as one row, for Dense. X (N, ...), Y (N, product of the rest).

    forward    Y = X in another shape
    backward   dX = dY in the old shape
    """

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y, two-dimensional."""
        return x.reshape(len(x), -1), x.shape

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        return dy.reshape(kept)
