"""What the speed of convolutions and of training is measured on, and what the rest of the device would allow for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy

from gpudoctor.bench import net as nets
from gpudoctor.bench.devices.device import Array, ArrayModule, Device, WithProduct
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.devices.strided_products import Products
from gpudoctor.bench.measuring.noise import dtype_of, filled
from gpudoctor.bench.net import Net, PerNode
from gpudoctor.bench.nodes import Conv, Dense, Flatten, MaxPool, Node, ReLU, SoftmaxCrossEntropy
from gpudoctor.bench.nodes.shift_conv import strided_products

SIZE = 32  # of the images, in pixels
CHANNELS = 8  # of the images of the net: 3 colours, padded to what tensor cores take
CLASSES = 10

# So small that the parameters keep their value in every precision: what is learned by heart has gradients of zero, and
# zeros are quick.
_RATE = 1e-15
_MOMENTUM = 0.9

# The gradients as if the batch were this large: divided by a batch of thousands, they are lost in float16.
_SCALED_TO = 32

# An array that a pass leaves behind is written once, and read twice: forward, and on the way back.
_TOUCHED = 3

# momentum_step reads or writes arrays of the parameters' size this often: two operations of three, one of two and one
# of three again, for parameter, velocity and gradient.
_UPDATED = 11


class Work(NamedTuple):
    """What one call does."""

    images: int
    flops: float  # multiplications and additions of its matrix products
    moved: float  # bytes read and written, were no cache there to help
    held: float  # bytes in memory at the fullest moment, parameters left out

    def seconds(self, flops: float, moved: float) -> float:
        """How long it takes at these rates, in operations and bytes a second, one after the other."""
        return self.flops / flops + self.moved / moved


class Load(NamedTuple):
    """A call to be timed. `run` gives an array of one number that depends on all of it, and does not wait."""

    work: Work
    run: Callable[[], Array]


def vgg_like(widths: tuple[int, ...], hidden: int) -> Net:
    """Two convolutions of each width and a pool, as often as there are widths; then two fully connected nodes."""
    net: list[Node] = []
    before = CHANNELS
    for width in widths:
        net += [Conv(before, width), ReLU(), Conv(width, width), ReLU(), MaxPool()]
        before = width
    left = before * (SIZE // 2 ** len(widths)) ** 2
    return (*net, Flatten(), Dense(left, hidden), ReLU(), Dense(hidden, CLASSES))


def training_load(device: Device, net: Net, precision: Precision, batch: int, seed: int) -> Load:
    """Forward, backward and a step of momentum, everything stored in this precision. `run` gives the loss."""
    xp = device.computing_in(precision)
    images = filled(device, (batch, SIZE, SIZE, CHANNELS), precision, seed)
    labels = device.xp.asarray(numpy.random.default_rng([seed, 10]).integers(0, CLASSES, batch))
    parameters = _parameters(device, net, precision, seed)
    velocities = nets.zeros_like(device.xp, parameters)
    end = SoftmaxCrossEntropy()

    def step(there: ArrayModule, back_again: ArrayModule) -> tuple[Array, nets.Forward, nets.Backward]:
        went = nets.forward(net, there, images, parameters, 0)
        loss, kept = end.forward(there, went.scores, labels)
        d_scores = end.backward(back_again, kept)
        d_scores *= max(1.0, batch / _SCALED_TO)
        back = nets.backward(net, back_again, went, d_scores)
        nets.momentum_step(parameters, velocities, back.parameters, rate=_RATE, momentum=_MOMENTUM)
        return loss, went, back

    there, back_again = _Weighing(xp), _Weighing(xp)
    _, went, back = step(there, back_again)
    left = _bytes(went.outputs, went.kept, back.outputs)
    moved = _TOUCHED * left + there.moved + back_again.moved + _UPDATED * _bytes(parameters)
    held = left + max(there.largest, back_again.largest)
    first, *others = _flops(went.outputs, parameters)
    # The first node owes no dX: that would be the gradient of the images.
    return Load(Work(batch, 2 * first + 3 * sum(others), moved, held), lambda: step(xp, xp)[0])


def convolution_load(device: Device, conv: Node, channels: int, precision: Precision, batch: int, seed: int) -> Load:
    """One convolution forward and all of its way back, to the images and to the weights. `run` gives a number of dX."""
    xp = device.computing_in(precision)
    x = filled(device, (batch, SIZE, SIZE, channels), precision, seed)
    dy = filled(device, (batch, SIZE, SIZE, channels), precision, seed, start=x.size)
    (parameters,) = _parameters(device, (conv,), precision, seed)

    def there_and_back(there: ArrayModule, back_again: ArrayModule) -> tuple[Array, ...]:
        y, kept = conv.forward(there, x, *parameters)
        slopes = conv.gradients(back_again, dy, kept)
        return conv.backward(back_again, dy, kept), y, kept, slopes

    there, back_again = _Weighing(xp), _Weighing(xp)
    dx, y, kept, _ = there_and_back(there, back_again)
    left = _bytes(y, kept, dy, dx)
    moved = _TOUCHED * left + there.moved + back_again.moved
    held = left + max(there.largest, back_again.largest)
    flops = 3 * _flops([y], [parameters])[0]
    return Load(Work(batch, flops, moved, held), lambda: there_and_back(xp, xp)[0][:1, 0, 0, 0])


class _Weighing(WithProduct):
    """An array module that adds up the bytes that are moved for its products, as if no cache helped."""

    def __init__(self, xp: ArrayModule) -> None:
        super().__init__(xp, self._weighed)
        self._inner, self.moved = xp, 0.0
        self.largest = 0.0  # bytes of one product: its factors may be there for it alone

    def strided_products(self, c: Array, a: Array, b: Array, steps: Sequence[Products]) -> None:
        """As a GPU's array module has it, for ShiftConv."""
        strided_products(self._inner)(c, a, b, steps)
        for step in steps:
            factors = step.rows * step.inner * a.itemsize + step.inner * step.columns * b.itemsize
            sums = step.rows * step.columns * c.itemsize * (2 if step.add else 1)
            self.moved += step.batch * (factors + sums)

    def _weighed(self, a: Array, b: Array) -> Array:
        c = self._inner.matmul(a, b)
        # A matrix of patches is first written, and then read.
        self.moved += 2 * (a.nbytes + b.nbytes) + c.nbytes
        self.largest = max(self.largest, a.nbytes + b.nbytes + c.nbytes)
        return c


def _parameters(device: Device, net: Net, precision: Precision, seed: int) -> PerNode:
    rng = numpy.random.default_rng([seed, 11])
    return nets.initial_parameters(net, device.xp, rng, dtype_of(precision).name)


def _flops(outputs: list[Array], parameters: PerNode) -> list[float]:
    """Of each node with weights, forward: each of its numbers is a sum over all weights of its channel."""
    return [
        2.0 * output.size * own[0].size / own[0].shape[-1]
        for output, own in zip(outputs, parameters, strict=True)
        if own
    ]


def _bytes(*values: object) -> float:
    """Of all arrays in nested lists and tuples."""
    total = 0.0
    for value in values:
        total += _bytes(*value) if isinstance(value, list | tuple) else getattr(value, "nbytes", 0)
    return total
