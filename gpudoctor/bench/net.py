"""A net is a row of nodes: forward through all of them, backward through all of them, and a step downhill."""

from __future__ import annotations

from typing import NamedTuple

import numpy

from gpudoctor.bench.nodes import (
    Array,
    ArrayModule,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    Kept,
    MaxPool,
    Node,
    ReLU,
    SiLU,
)

Net = tuple[Node, ...]

# One tuple of arrays for each node of the net, empty for a node that learns nothing.
PerNode = list[tuple[Array, ...]]


class Forward(NamedTuple):
    """What going forward leaves behind. outputs[i] is the output of node i; the last one is the scores."""

    outputs: list[Array]
    kept: list[Kept]

    @property
    def scores(self) -> Array:
        """(images, classes): the larger, the likelier."""
        return self.outputs[-1]


class Backward(NamedTuple):
    """The gradients of the loss: by the output of each node, and by the parameters of each node."""

    outputs: list[Array]
    parameters: PerNode


def relu_net(size: int, classes: int, widths: tuple[int, int] = (8, 16), hidden: int = 64) -> Net:
    """The usual small image net: two times convolution, rectifier, pool; then two fully connected nodes.

    For images (N, size, size, 1) with size divisible by four. widths are the channels of the two convolutions.
    """
    first, second = widths
    return (
        *(Conv(1, first), ReLU(), MaxPool()),
        *(Conv(first, second), ReLU(), MaxPool()),
        *(Flatten(), Dense(second * (size // 4) ** 2, hidden), ReLU(), Dense(hidden, classes)),
    )


def smooth_net(size: int, classes: int, widths: tuple[int, int] = (8, 16), hidden: int = 64) -> Net:
    """The same net without kinks: SiLU for the rectifier, the average for the maximum.

    Rounding cannot flip a sign or a winner in it, so two devices can be compared far more sharply on this net.
    """
    first, second = widths
    return (
        *(Conv(1, first), SiLU(), AveragePool()),
        *(Conv(first, second), SiLU(), AveragePool()),
        *(Flatten(), Dense(second * (size // 4) ** 2, hidden), SiLU(), Dense(hidden, classes)),
    )


def initial_parameters(net: Net, xp: ArrayModule, rng: numpy.random.Generator, dtype: str) -> PerNode:
    """The parameters before training, on the device of xp. The same generator gives the same values on each device."""
    return [tuple(xp.asarray(values.astype(dtype)) for values in node.initial(rng)) for node in net]


def forward(net: Net, xp: ArrayModule, images: Array, parameters: PerNode) -> Forward:
    """Sends images through the net."""
    outputs, kept = [], []
    x = images
    for node, own in zip(net, parameters, strict=True):
        x, needed = node.forward(xp, x, *own)
        outputs.append(x)
        kept.append(needed)
    return Forward(outputs, kept)


def backward(net: Net, xp: ArrayModule, went: Forward, d_scores: Array) -> Backward:
    """Sends the gradient of the scores back through the net, last node first."""
    outputs: list[Array] = [d_scores]
    parameters: PerNode = []
    for index in reversed(range(len(net))):
        parameters.append(net[index].gradients(xp, outputs[-1], went.kept[index]))
        # What the first node would send back is the gradient of the images, and nobody learns from that.
        if index > 0:
            outputs.append(net[index].backward(xp, outputs[-1], went.kept[index]))
    return Backward(outputs[::-1], parameters[::-1])


def zeros_like(xp: ArrayModule, parameters: PerNode) -> PerNode:
    """The velocities at rest: one for each parameter."""
    return [tuple(xp.zeros_like(parameter) for parameter in own) for own in parameters]


def momentum_step(
    parameters: PerNode, velocities: PerNode, gradients: PerNode, *, rate: float, momentum: float
) -> None:
    """One step of stochastic gradient descent with momentum, in place.

    velocity = momentum * velocity + gradient;    parameter = parameter - rate * velocity
    """
    for own, moving, slopes in zip(parameters, velocities, gradients, strict=True):
        for parameter, velocity, gradient in zip(own, moving, slopes, strict=True):
            velocity *= momentum
            velocity += gradient
            parameter -= rate * velocity
