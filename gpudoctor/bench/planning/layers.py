"""The layers of a convolution net as data, each with the size of what it makes of an image.

Nothing here needs NumPy: a net can be planned where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple


class BadArchitecture(Exception):
    """There is no such net; the text says why, in a sentence."""


class Shape(NamedTuple):
    """The size of an image, or of what a layer makes of it. Behind a fully connected layer it is 1 x 1 x outputs."""

    rows: int
    columns: int
    channels: int

    @property
    def values(self) -> int:
        """How many numbers that is."""
        return self.rows * self.columns * self.channels

    def __str__(self) -> str:
        """ "224x224x3", as in a net's text."""
        return f"{self.rows}x{self.columns}x{self.channels}"


class Activation(str, Enum):
    """What a layer's output goes through, one value at a time."""

    NONE = "none"
    RELU = "relu"
    SILU = "silu"


class PoolKind(str, Enum):
    """What a window of a pool gives: its largest value, or the mean of its values."""

    MAX = "pool"
    AVERAGE = "avgpool"


@dataclass(frozen=True)
class Convolution:
    """`filters` windows of kernel x kernel, slid over the image in steps of `stride`.

    padding: how many zeros are put around the image. None: (kernel - 1) // 2, which keeps the size of the image where
    the kernel is odd and the stride 1; then the kernel must not be larger than the image itself.
    """

    filters: int
    kernel: int = 3
    stride: int = 1
    padding: int | None = None
    activation: Activation = Activation.RELU

    @property
    def frame(self) -> int:
        """The padding as a number."""
        return (self.kernel - 1) // 2 if self.padding is None else self.padding


@dataclass(frozen=True)
class Pool:
    """One value for each window of size x size. What does not fill a window at the far edges is dropped."""

    kind: PoolKind = PoolKind.MAX
    size: int = 2
    stride: int = 2


@dataclass(frozen=True)
class GlobalAverage:
    """The mean of each channel over the whole image."""


@dataclass(frozen=True)
class Residual:
    """Two 3 x 3 convolutions with a way around them: Y = activation(conv(relu(conv(X))) + X).

    The first one has the stride. Where it, or another number of channels, would make the sum impossible, the way
    around is a 1 x 1 convolution of the same stride.
    """

    filters: int
    stride: int = 1
    activation: Activation = Activation.RELU

    def way_around(self, image: Shape) -> Convolution | None:
        """The 1 x 1 convolution of the way around, None where that is X itself."""
        if self.stride == 1 and self.filters == image.channels:
            return None
        return Convolution(self.filters, 1, self.stride, 0, Activation.NONE)

    @property
    def convolutions(self) -> tuple[Convolution, Convolution]:
        """Those of the straight way."""
        return Convolution(self.filters, 3, self.stride, 1), Convolution(self.filters, 3, 1, 1, Activation.NONE)


@dataclass(frozen=True)
class FullyConnected:
    """Every output is a weighted sum of every input, and a bias."""

    outputs: int
    activation: Activation = Activation.RELU


@dataclass(frozen=True)
class Dropout:
    """Zeroes this share of the values, in training only."""

    rate: float = 0.5


Layer = Convolution | Pool | GlobalAverage | Residual | FullyConnected | Dropout
Weighted = Convolution | Residual | FullyConnected


def word_of(layer: Layer) -> str:
    """A layer in the words of a net's text: "conv5-64/2p0". Its activation is not part of it."""
    match layer:
        case Convolution():
            kernel = "" if layer.kernel == 3 else f"{layer.kernel}-"
            stride = "" if layer.stride == 1 else f"/{layer.stride}"
            return f"conv{kernel}{layer.filters}{stride}{'' if layer.padding is None else f'p{layer.padding}'}"
        case Pool():
            size = "" if layer.size == layer.stride == 2 else str(layer.size)
            return f"{layer.kind.value}{size}{'' if layer.stride == layer.size else f'/{layer.stride}'}"
        case GlobalAverage():
            return "gap"
        case Residual():
            return f"res{layer.filters}{'' if layer.stride == 1 else f'/{layer.stride}'}"
        case FullyConnected():
            return f"fc{layer.outputs}"
        case Dropout():
            return f"dropout{layer.rate:g}"


def without_activation(layer: Weighted) -> Weighted:
    """The same layer, whose values come out as they are: what gives the scores."""
    return replace(layer, activation=Activation.NONE)


def output_of(layer: Layer, image: Shape) -> Shape:
    """What the layer makes of an image of that size. Raises BadArchitecture if it does not fit."""
    match layer:
        case Convolution():
            return _convolved(layer, image)
        case Pool():
            if layer.size > min(image.rows, image.columns):
                raise BadArchitecture(
                    f"{word_of(layer)}: a window of {layer.size}x{layer.size} is larger than the image that reaches "
                    f"it, {image}."
                )
            return Shape(
                _windows(image.rows, layer.size, layer.stride, 0),
                _windows(image.columns, layer.size, layer.stride, 0),
                image.channels,
            )
        case GlobalAverage():
            return Shape(1, 1, image.channels)
        case Residual():
            return Shape(
                _windows(image.rows, 3, layer.stride, 1), _windows(image.columns, 3, layer.stride, 1), layer.filters
            )
        case FullyConnected():
            return Shape(1, 1, layer.outputs)
        case Dropout():
            return image


def _convolved(layer: Convolution, image: Shape) -> Shape:
    kernel, stride, padding = layer.kernel, layer.stride, layer.frame
    smallest = min(image.rows, image.columns)
    if kernel > smallest + (0 if layer.padding is None else 2 * padding):
        padded = f" with padding {padding}" if layer.padding else ""
        meant = (
            f" ({word_of(replace(layer, padding=padding))} if that is meant)"
            if smallest + 2 * padding >= kernel
            else ""
        )
        raise BadArchitecture(
            f"{word_of(layer)}: a {kernel}x{kernel} filter is larger than the image that reaches it, "
            f"{image}{padded}{meant}."
        )
    if padding >= kernel:
        raise BadArchitecture(
            f"{word_of(layer)}: with padding {padding}, a {kernel}x{kernel} filter sees nothing but zeros at the edges."
        )
    for side in image[:2]:
        # Of what is left behind the last window, `padding` are zeros, and between windows kernel - stride are skipped
        # by design. Anything more is a part of the image that silently does not count.
        unseen = (side - kernel + 2 * padding) % stride - padding
        if unseen > max(0, stride - kernel):
            raise BadArchitecture(
                f"{word_of(layer)}: the stride does not fit, for ({side} - {kernel} + 2*{padding}) / {stride} is no "
                f"whole number and {unseen} of {side} pixels would never be seen; another stride or padding would do."
            )
    return Shape(
        _windows(image.rows, kernel, stride, padding), _windows(image.columns, kernel, stride, padding), layer.filters
    )


def _windows(side: int, size: int, stride: int, padding: int) -> int:
    """(W - F + 2P) / S + 1, rounded down."""
    return (side - size + 2 * padding) // stride + 1
