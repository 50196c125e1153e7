"""Are the hand-written gradients right? Each is compared with what nudging the number itself does to the loss.

For a number a anywhere in the net the derivative is close to (L(a + h) - L(a - h)) / 2h, the central difference.
In float64 it agrees with a right gradient to seven digits and more, and a wrong gradient is off in the first ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy

from gpudoctor.bench import net as nets
from gpudoctor.bench.nodes import (
    Array,
    ArrayModule,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Node,
    ReLU,
    SiLU,
    SoftmaxCrossEntropy,
)

# The largest relative error of a right gradient. Those measured stay below 1e-7.
LIMIT = 1e-5

# Rounding errs by about 1e-16 / NUDGE, the curvature of the loss by about NUDGE squared: here they are even.
NUDGE = 1e-5

# Entries tried of each parameter of a whole net; of a single node every entry is tried.
SAMPLE = 12

# Always the same numbers: a random kink of ReLU or MaxPool within a NUDGE of its input would look like an error.
_SEED = 20160811

NODES: tuple[tuple[Node, tuple[int, ...]], ...] = (
    (Dense(5, 4), (3, 5)),
    (Conv(2, 3), (2, 4, 5, 2)),
    (ReLU(), (4, 6)),
    (SiLU(), (4, 6)),
    (MaxPool(), (2, 4, 6, 2)),
    (AveragePool(), (2, 4, 6, 2)),
    (Flatten(), (2, 3, 2, 2)),
)


def gradient_errors(xp: ArrayModule) -> dict[str, float]:
    """The worst relative error of each node and of the two whole nets, computed by xp in float64."""
    errors = {type(node).__name__: node_error(xp, node, shape) for node, shape in NODES}
    errors["SoftmaxCrossEntropy"] = loss_error(xp)
    errors["ReLU net"] = net_error(xp, nets.relu_net(8, 10, widths=(3, 4), hidden=6))
    errors["smooth net"] = net_error(xp, nets.smooth_net(8, 10, widths=(3, 4), hidden=6))
    return errors


def node_error(xp: ArrayModule, node: Node, shape: tuple[int, ...]) -> float:
    """The worst relative error of dX and of every parameter's gradient, for L = sum of Y times a random dY."""
    rng = numpy.random.default_rng(_SEED)
    x = xp.asarray(rng.standard_normal(shape))
    parameters = tuple(_away_from_zero(xp, rng, values) for values in node.initial(rng))
    y, kept = node.forward(xp, x, *parameters)
    dy = xp.asarray(rng.standard_normal(y.shape))

    def loss() -> float:
        return float((node.forward(xp, x, *parameters)[0] * dy).sum())

    gradients = (node.backward(xp, dy, kept), *node.gradients(xp, dy, kept))
    return max(
        relative_error(loss, array, gradient, range(array.size))
        for array, gradient in zip((x, *parameters), gradients, strict=True)
    )


def loss_error(xp: ArrayModule) -> float:
    """The worst relative error of the gradient that the loss sends back to the scores."""
    rng = numpy.random.default_rng(_SEED)
    node = SoftmaxCrossEntropy()
    scores, labels = xp.asarray(rng.standard_normal((4, 6))), xp.asarray(rng.integers(0, 6, 4))
    _, kept = node.forward(xp, scores, labels)

    def loss() -> float:
        return float(node.forward(xp, scores, labels)[0])

    return relative_error(loss, scores, node.backward(xp, kept), range(scores.size))


def net_error(xp: ArrayModule, net: nets.Net) -> float:
    """The worst relative error of a sample of the parameters of a net for images (N, 8, 8, 1) and ten classes."""
    rng = numpy.random.default_rng(_SEED)
    images, labels = xp.asarray(rng.standard_normal((6, 8, 8, 1))), xp.asarray(rng.integers(0, 10, 6))
    parameters = [tuple(_away_from_zero(xp, rng, values) for values in node.initial(rng)) for node in net]
    end = SoftmaxCrossEntropy()

    def loss() -> float:
        return float(end.forward(xp, nets.forward(net, xp, images, parameters).scores, labels)[0])

    went = nets.forward(net, xp, images, parameters)
    _, kept = end.forward(xp, went.scores, labels)
    gradients = nets.backward(net, xp, went, end.backward(xp, kept)).parameters
    errors = []
    for own, slopes in zip(parameters, gradients, strict=True):
        for array, gradient in zip(own, slopes, strict=True):
            sample = rng.permutation(array.size)[:SAMPLE]
            errors.append(relative_error(loss, array, gradient, sample.tolist()))
    return max(errors)


def relative_error(loss: Callable[[], float], array: Array, gradient: Array, positions: range | list[int]) -> float:
    """The largest |numeric - gradient| over the given flat positions of array, relative to the larger of the two.

    An entry below a thousandth of the largest is measured against that thousandth: it has no more digits to compare.
    A gradient of another shape, with an entry that is not finite, or of zeros alone is infinitely wrong.
    array (contiguous) is nudged in place and put back.
    """
    if gradient.shape != array.shape:
        return float("inf")
    numbers, slopes = array.reshape(-1), gradient.reshape(-1)
    numeric, analytic = [], []
    for position in positions:
        before = float(numbers[position])
        numbers[position] = before + NUDGE
        above = loss()
        numbers[position] = before - NUDGE
        below = loss()
        numbers[position] = before
        numeric.append((above - below) / (2 * NUDGE))
        analytic.append(float(slopes[position]))
    return largest_relative_difference(numeric, analytic)


def largest_relative_difference(numeric: list[float], analytic: list[float]) -> float:
    """As in relative_error, for numbers already at hand; infinite for a NaN, an infinity, or nothing but zeros."""
    found, said = numpy.array(numeric), numpy.array(analytic)
    larger = numpy.maximum(abs(found), abs(said))
    if not (numpy.isfinite(larger).all() and larger.max() > 0):
        return float("inf")
    return float((abs(found - said) / numpy.maximum(larger, larger.max() / 1000)).max())


def _away_from_zero(xp: ArrayModule, rng: numpy.random.Generator, values: Array) -> Array:
    # Biases begin at zero, and at zero a forgotten bias would go unnoticed.
    return xp.asarray(values + 0.1 * rng.standard_normal(values.shape))
