"""Are the hand-written gradients right? Each is compared with what nudging the number itself does to the loss.

For a number a anywhere in the net the derivative is close to (L(a + h) - L(a - h)) / 2h, the central difference.
In float64 it agrees with a right gradient to seven digits and more, and a wrong gradient is off in the first ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy

from gpudoctor.bench import net as nets
from gpudoctor.bench.devices.device import Array, ArrayModule
from gpudoctor.bench.nodes import (
    Add,
    AveragePool,
    Branch,
    Branches,
    Conv,
    Conv1d,
    Dense,
    Dropout,
    Flatten,
    Joint,
    MatMul,
    Maximum,
    MaxPool,
    MeanSquaredError,
    Multiply,
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
    (MatMul(5, 4), (3, 5)),
    (Dense(5, 4), (3, 5)),
    (Conv(2, 3), (2, 4, 5, 2)),
    (Conv(1, 2, kernel=2, padding=0, stride=2), (2, 5, 4, 1)),
    (Conv(2, 2, kernel=5, padding=2, stride=3), (1, 7, 5, 2)),
    (Conv1d(2, 3), (2, 5, 2)),
    (Conv1d(2, 2, kernel=4, padding=1, stride=3), (2, 8, 2)),
    (ReLU(), (4, 6)),
    (SiLU(), (4, 6)),
    (Dropout(0.4).at((7, 1)), (4, 6)),
    (MaxPool(), (2, 4, 6, 2)),
    (MaxPool(size=3, stride=2), (1, 6, 7, 2)),
    (AveragePool(), (2, 4, 6, 2)),
    (AveragePool(size=3, stride=2), (1, 6, 7, 2)),
    (Flatten(), (2, 3, 2, 2)),
    (Branches(((Conv(2, 2), SiLU()), ()), Add()), (1, 3, 4, 2)),
    (Branches(((Dense(3, 2),), (Dense(3, 2), SiLU()), (Dense(3, 2),)), Multiply()), (4, 3)),
    (Branches(((Dense(3, 2),), (Dense(3, 2), Dropout(0.3).at((7, 2)))), Maximum()), (4, 3)),
)

JOINTS: tuple[Joint, ...] = (Add(), Multiply(), Maximum())
LOSSES = (SoftmaxCrossEntropy(), MeanSquaredError())


def gradient_errors(xp: ArrayModule) -> dict[str, float]:
    """The worst relative error of each kind of node, and of the two whole nets, computed by xp in float64."""
    errors: dict[str, float] = {}
    for node, shape in NODES:
        errors[type(node).__name__] = max(errors.get(type(node).__name__, 0.0), node_error(xp, node, shape))
    errors |= {type(joint).__name__: joint_error(xp, joint) for joint in JOINTS}
    errors["Branch"] = branch_error(xp)
    errors |= {type(loss).__name__: loss_error(xp, loss) for loss in LOSSES}
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

    # In the order in which a net asks for them.
    slopes = node.gradients(xp, dy, kept)
    return _worst_error(loss, (x, *parameters), (node.backward(xp, dy, kept), *slopes))


def joint_error(xp: ArrayModule, joint: Joint) -> float:
    """The worst relative error of the gradients of both inputs."""
    rng = numpy.random.default_rng(_SEED)
    first, second, dy = (xp.asarray(rng.standard_normal((4, 6))) for _ in range(3))
    _, kept = joint.forward(xp, first, second)

    def loss() -> float:
        return float((joint.forward(xp, first, second)[0] * dy).sum())

    return _worst_error(loss, (first, second), joint.backward(xp, dy, kept))


def branch_error(xp: ArrayModule) -> float:
    """The worst relative error of dX where three ways part, for L = sum over the ways of output times a random dY."""
    rng = numpy.random.default_rng(_SEED)
    branch = Branch(3)
    x, *dys = (xp.asarray(rng.standard_normal((4, 6))) for _ in range(4))
    _, kept = branch.forward(xp, x)

    def loss() -> float:
        return sum(float((y * dy).sum()) for y, dy in zip(branch.forward(xp, x)[0], dys, strict=True))

    return _worst_error(loss, (x,), (branch.backward(xp, tuple(dys), kept),))


def loss_error(xp: ArrayModule, end: SoftmaxCrossEntropy | MeanSquaredError) -> float:
    """The worst relative error of the gradient that the loss sends back to the outputs of the net."""
    rng = numpy.random.default_rng(_SEED)
    x = xp.asarray(rng.standard_normal((4, 6)))
    classes = isinstance(end, SoftmaxCrossEntropy)
    truth = xp.asarray(rng.integers(0, 6, 4) if classes else rng.standard_normal((4, 6)))
    _, kept = end.forward(xp, x, truth)

    def loss() -> float:
        return float(end.forward(xp, x, truth)[0])

    return _worst_error(loss, (x,), (end.backward(xp, kept),))


def net_error(xp: ArrayModule, net: nets.Net, step: int | None = None) -> float:
    """The worst relative error of a sample of the parameters of a net for images (N, 8, 8, 1) and ten classes."""
    rng = numpy.random.default_rng(_SEED)
    images, labels = xp.asarray(rng.standard_normal((6, 8, 8, 1))), xp.asarray(rng.integers(0, 10, 6))
    parameters = [tuple(_away_from_zero(xp, rng, values) for values in node.initial(rng)) for node in net]
    end = SoftmaxCrossEntropy()

    def loss() -> float:
        return float(end.forward(xp, nets.forward(net, xp, images, parameters, step).scores, labels)[0])

    went = nets.forward(net, xp, images, parameters, step)
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


def _worst_error(loss: Callable[[], float], arrays: tuple[Array, ...], gradients: tuple[Array, ...]) -> float:
    return max(
        relative_error(loss, array, gradient, range(array.size))
        for array, gradient in zip(arrays, gradients, strict=True)
    )


def _away_from_zero(xp: ArrayModule, rng: numpy.random.Generator, values: Array) -> Array:
    # Biases begin at zero, and at zero a forgotten bias would go unnoticed.
    return xp.asarray(values + 0.1 * rng.standard_normal(values.shape))
