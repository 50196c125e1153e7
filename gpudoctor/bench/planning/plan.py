"""What a convolution net will cost before it is run: sizes, parameters, arithmetic and memory, layer by layer.

Arithmetic: a multiplication with its addition (MAC) is two operations (FLOP). Only convolutions and fully connected
layers are counted; biases, activations and pools are less than a hundredth of it in nets of any size.

Memory of one image, in the numbers that a layer gives:

    forward         the image and the output of every layer, an activation in place of what it changes: the count of the
                    CS231n notes. It is what training keeps; a net that only answers can do with two layers at a time.
    with backward   the same again for the gradients of the outputs, and what going backward needs beside them: one byte
                    for each number of a rectifier, maximum pool or dropout (which passed), two numbers for SiLU.

Memory that no image adds to: the parameters, their gradients and the velocities of momentum, in float32 also where the
images are stored in 16 bits (and then once more in 16 bits), as mixed precision training does.

Not counted, for every library and GPU is different: buffers that a convolution takes while it runs (cuDNN's workspace),
and what an allocator leaves between its pieces. A program that frees each gradient as soon as it is used takes less:
PyTorch 2.13 on a CPU took 74 MB more for each image of VGG16, of the 136 MB that are planned. Nets of this project keep
more (`Keeping`): a step of theirs takes 0.7 to 1.3 times what Keeping.OWN_UNFOLDED plans, which a test measures.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import Enum
from typing import NamedTuple

from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.planning.architecture import Architecture
from gpudoctor.bench.planning.layers import (
    Activation,
    Convolution,
    Dropout,
    FullyConnected,
    GlobalAverage,
    Layer,
    Pool,
    PoolKind,
    Residual,
    Shape,
    Weighted,
    output_of,
    word_of,
)

MIB = 1 << 20

# A CUDA context takes 300 to 500 MB, and cuBLAS has a workspace of up to 32 MiB beside it.
RESERVE = 600 * MIB

BYTES = {Precision.FP64: 8, Precision.FP32: 4, Precision.TF32: 4, Precision.FP16: 2, Precision.BF16: 2}

# Of the benchmark itself: fewer images than that say nothing about a GPU, more say no more.
LEAST_BATCH, MOST_BATCH = 32, 4096


@dataclass(frozen=True)
class Cost:
    """What one step of a layer takes for one image, in numbers (not bytes) but for `parameters`, which are shared."""

    parameters: int = 0
    macs: int = 0  # multiplications with their additions
    outputs: int = 0  # kept for the way back
    masks: int = 0  # of them, those that a rectifier, a maximum or dropout may stop
    extra: int = 0  # kept beside the outputs: SiLU's input and slope
    activated: int = 0  # of the outputs, those that an activation changed

    def __add__(self, other: Cost) -> Cost:
        """Both, number by number."""
        return Cost(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))


class Keeping(Enum):
    """What a program keeps of each image while it trains."""

    IN_PLACE = "in place"  # as libraries can: an activation overwrites what it changes
    OWN = "own"  # as the nets of this project: both are kept, and the gradients of both
    OWN_UNFOLDED = "own, unfolded"  # and the patches of the largest convolution, all at once, as on a GPU


class LayerPlan(NamedTuple):
    """One layer."""

    words: str  # "conv5-64/2", with its activation where that is not ReLU: "conv64 silu"
    output: Shape
    cost: Cost


class Plan(NamedTuple):
    """A whole net."""

    architecture: Architecture
    layers: tuple[LayerPlan, ...]
    total: Cost
    most_patches: int  # of one convolution, unfolded (im2col) to go forward or backward
    most_parameters: int  # of one layer
    first_macs: int  # of the first layer that multiplies: nobody needs the gradient of its input

    @property
    def flop(self) -> int:
        """Of one image, forward."""
        return 2 * self.total.macs

    @property
    def training_flop(self) -> int:
        """Of one image, forward and backward: each product comes back as two, but for the gradient of the images."""
        return 2 * (3 * self.total.macs - self.first_macs)

    def forward_numbers(self) -> int:
        """What one image takes going forward: itself and the outputs of all layers."""
        return self.architecture.image.values + self.total.outputs

    def forward_bytes(self, precision: Precision) -> int:
        """The same in bytes."""
        return self.forward_numbers() * BYTES[precision]

    def training_bytes(self, precision: Precision, keeping: Keeping = Keeping.IN_PLACE) -> int:
        """What one image takes with backward, as the module's docstring counts."""
        numbers = self.forward_numbers() + self.total.outputs + self.total.extra
        if keeping is not Keeping.IN_PLACE:
            numbers += 2 * self.total.activated
        if keeping is Keeping.OWN_UNFOLDED:
            numbers += self.most_patches
        return numbers * BYTES[precision] + self.total.masks

    def fixed_bytes(self, precision: Precision, keeping: Keeping = Keeping.IN_PLACE) -> int:
        """What training takes whatever the batch: parameters, gradients, velocities."""
        numbers = 3 * self.total.parameters
        if keeping is not Keeping.IN_PLACE:
            numbers += self.most_parameters  # one layer's step, before it is subtracted
        copy = self.total.parameters * BYTES[precision] if BYTES[precision] < 4 else 0
        return numbers * max(4, BYTES[precision]) + copy

    def batch_bytes(self, batch: int, precision: Precision, keeping: Keeping = Keeping.IN_PLACE) -> int:
        """What training with this many images at a time takes in all, RESERVE left out."""
        return self.fixed_bytes(precision, keeping) + batch * self.training_bytes(precision, keeping)


def plan_of(architecture: Architecture) -> Plan:
    """The plan of a net. Raises BadArchitecture if a layer does not fit what reaches it."""
    layers = []
    total = Cost()
    most_patches = first_macs = most_parameters = 0
    for came, layer, went in architecture:
        cost = _cost(layer, came, went)
        layers.append(LayerPlan(_words(layer), went, cost))
        total += cost
        most_parameters = max(most_parameters, cost.parameters)
        for convolution, reached in _convolutions(layer, came):
            most_patches = max(most_patches, _patches(convolution, reached, backward=reached is not architecture.image))
        first_macs = first_macs or _first_macs(layer, came, cost)
    return Plan(architecture, tuple(layers), total, most_patches, most_parameters, first_macs)


def largest_batch(plan: Plan, free_bytes: int, precision: Precision, keeping: Keeping = Keeping.IN_PLACE) -> int:
    """The most images at a time that training this net fits into, 0 where not even one does.

    free_bytes: of the GPU, before the program starts; RESERVE of it goes to CUDA.
    """
    left = free_bytes - RESERVE - plan.fixed_bytes(precision, keeping)
    return max(0, left // plan.training_bytes(precision, keeping))


def benchmark_batch(image_bytes: int, free_bytes: int) -> int:
    """How many images at a time the benchmark trains on: half of the free memory, less RESERVE, as a power of two.

    From LEAST_BATCH to MOST_BATCH; 0 where LEAST_BATCH does not fit, for so full a GPU is busy with something else.
    """
    images = (free_bytes // 2 - RESERVE) // image_bytes
    return min(MOST_BATCH, 1 << (images.bit_length() - 1)) if images >= LEAST_BATCH else 0


def _words(layer: Layer) -> str:
    smooth = isinstance(layer, Weighted) and layer.activation is Activation.SILU
    return f"{word_of(layer)} silu" if smooth else word_of(layer)


def _cost(layer: Layer, came: Shape, went: Shape) -> Cost:
    match layer:
        case Convolution():
            return _convolved(layer, came)
        case Pool():
            return Cost(outputs=went.values, masks=went.values if layer.kind is PoolKind.MAX else 0)
        case GlobalAverage():
            return Cost(outputs=went.values)
        case Residual():
            steps = [_convolved(convolution, reached) for convolution, reached in _convolutions(layer, came)]
            return sum(steps, _activated(layer.activation, went.values) + Cost(outputs=went.values))
        case FullyConnected():
            products = came.values * layer.outputs
            summed = Cost(products + layer.outputs, products, layer.outputs)
            return summed + _activated(layer.activation, layer.outputs)
        case Dropout():
            return Cost(outputs=went.values, masks=went.values)


def _convolutions(layer: Layer, came: Shape) -> list[tuple[Convolution, Shape]]:
    """The convolutions inside a layer, each with the image that reaches it."""
    match layer:
        case Convolution():
            return [(layer, came)]
        case Residual():
            first, second = layer.convolutions
            around = layer.way_around(came)
            between = output_of(first, came)
            return [(first, came), (second, between), *([(around, came)] if around else [])]
        case _:
            return []


def _convolved(layer: Convolution, came: Shape) -> Cost:
    went = output_of(layer, came)
    weights = layer.kernel**2 * came.channels  # of one filter
    return Cost(
        parameters=(weights + 1) * layer.filters,
        macs=weights * went.values,
        outputs=went.values,
    ) + _activated(layer.activation, went.values)


def _patches(layer: Convolution, came: Shape, *, backward: bool) -> int:
    """Forward a window of the input for each pixel of the output, backward a row of the output's for each place."""
    went = output_of(layer, came)
    forward = layer.kernel**2 * came.channels * went.rows * went.columns
    return max(forward, layer.kernel * went.channels * went.rows * came.columns if backward else 0)


def _activated(activation: Activation, values: int) -> Cost:
    match activation:
        case Activation.NONE:
            return Cost()
        case Activation.RELU:
            return Cost(activated=values, masks=values)
        case Activation.SILU:
            return Cost(activated=values, extra=2 * values)


def _first_macs(layer: Layer, came: Shape, cost: Cost) -> int:
    """Those whose input is the images: of a residual block, all but the second convolution's."""
    if isinstance(layer, Residual):
        _, (second, between), *_ = _convolutions(layer, came)
        return cost.macs - _convolved(second, between).macs
    return cost.macs
