"""A convolution net as data: the images that come in and its layers, and the row of nodes that computes it.

Nothing here needs NumPy until `net_of` is called: a net can be planned where there is none. Texts are read by
`architecture_text`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpudoctor.bench.planning.layers import (
    Activation,
    BadArchitecture,
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

if TYPE_CHECKING:
    from gpudoctor.bench.net import Net
    from gpudoctor.bench.nodes import Node


@dataclass(frozen=True)
class Architecture:
    """The images that come in, and what they go through."""

    image: Shape
    layers: tuple[Layer, ...]

    def __iter__(self) -> Iterator[tuple[Shape, Layer, Shape]]:
        """Each layer with what comes in and what goes out. Raises BadArchitecture at the first that does not fit."""
        came, flat = self.image, False
        for layer in self.layers:
            if flat and not isinstance(layer, FullyConnected | Dropout):
                raise BadArchitecture(f"{word_of(layer)} needs an image, and behind a fully connected layer is none.")
            went = output_of(layer, came)
            yield came, layer, went
            came, flat = went, flat or isinstance(layer, FullyConnected)

    @property
    def output(self) -> Shape:
        """What the last layer gives."""
        return [went for _, _, went in self][-1]


def checked(architecture: Architecture) -> Architecture:
    """The same, when every layer fits what reaches it. Raises BadArchitecture."""
    if not any(isinstance(layer, Weighted) for layer in architecture.layers):
        raise BadArchitecture("A net needs a layer that learns: at least one convolution or fully connected layer.")
    for _ in architecture:
        pass
    return architecture


def pattern(
    image: Shape,
    classes: int,
    *,
    convolutions: int = 1,
    stages: int = 2,
    hidden_layers: int = 1,
    pool: bool = True,
    filters: int = 16,
    kernel: int = 3,
    hidden: int = 64,
    activation: Activation = Activation.RELU,
) -> Architecture:
    """INPUT -> [[CONV -> RELU]*N -> POOL?]*M -> [FC -> RELU]*K -> FC, the usual shape of a convolution net.

    N is `convolutions`, M `stages` and K `hidden_layers`; each may be 0. Every stage has twice the filters of the one
    before, as its images are half as high and wide. Raises BadArchitecture for what does not fit the image.
    """
    for name, number, least in (
        *(("convolutions", convolutions, 0), ("stages", stages, 0), ("hidden_layers", hidden_layers, 0)),
        *(("filters", filters, 1), ("kernel", kernel, 1), ("hidden", hidden, 1), ("classes", classes, 1)),
    ):
        if number < least:
            raise BadArchitecture(f"{name} must be {least} or more, not {number}.")
    layers: list[Layer] = []
    for stage in range(stages):
        layers += [Convolution(filters << stage, kernel, activation=activation)] * convolutions
        layers += [Pool()] if pool else []
    layers += [FullyConnected(hidden, activation)] * hidden_layers
    return checked(Architecture(image, (*layers, FullyConnected(classes, Activation.NONE))))


def net_of(architecture: Architecture) -> Net:
    """The nodes that compute it: for images (N, rows, columns, channels), with scores (N, outputs).

    Raises BadArchitecture where a layer does not fit, or there is no node for it.
    """
    # Here, for the nodes bring NumPy, and a plan must come without it.
    from gpudoctor.bench.nodes import Add, AveragePool, Branches, Conv, Dense, Flatten, MaxPool
    from gpudoctor.bench.nodes import Dropout as DropoutNode

    def convolution(came: Shape, layer: Convolution) -> tuple[Node, ...]:
        conv = Conv(came.channels, layer.filters, kernel=layer.kernel, padding=layer.frame, stride=layer.stride)
        return (conv, *_activation(layer.activation))

    nodes: list[Node] = []
    flat = False
    for came, layer, _ in architecture:
        match layer:
            case Convolution():
                nodes += convolution(came, layer)
            case Pool():
                pool = MaxPool if layer.kind is PoolKind.MAX else AveragePool
                nodes.append(pool(layer.size, layer.stride))
            case GlobalAverage():
                if came.rows != came.columns:
                    raise BadArchitecture(f"gap is computed for square images only, and {came} reaches it.")
                nodes.append(AveragePool(came.rows))
            case Residual():
                first, second = layer.convolutions
                straight = convolution(came, first) + convolution(came._replace(channels=layer.filters), second)
                around = layer.way_around(came)
                nodes.append(Branches((straight, convolution(came, around) if around else ()), Add()))
                nodes += _activation(layer.activation)
            case FullyConnected():
                nodes += [] if flat else [Flatten()]
                nodes += [Dense(came.values, layer.outputs), *_activation(layer.activation)]
                flat = True
            case Dropout():
                nodes.append(DropoutNode(layer.rate))
    return (*nodes, *(() if flat else (Flatten(),)))


def _activation(activation: Activation) -> tuple[Node, ...]:
    from gpudoctor.bench.nodes import ReLU, SiLU  # here as above

    match activation:
        case Activation.NONE:
            return ()
        case Activation.RELU:
            return (ReLU(),)
        case Activation.SILU:
            return (SiLU(),)
