"""Ready-made nets, and training: the parameters before it, and a step downhill."""

from __future__ import annotations

import numpy

from gpudoctor.bench.devices.device import ArrayModule
from gpudoctor.bench.nodes import AveragePool, Conv, Dense, Flatten, MaxPool, ReLU, SiLU
from gpudoctor.bench.nodes.row import Backward, Forward, Net, PerNode, backward, forward

__all__ = [
    "Backward",
    "Forward",
    "Net",
    "PerNode",
    "backward",
    "forward",
    "initial_parameters",
    "momentum_step",
    "relu_net",
    "smooth_net",
    "zeros_like",
]


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
