"""Nets as a whole: dtypes and shapes on the way forward and back, steps of training, dropout by step."""

import numpy
import pytest

from gpudoctor.bench import net as nets
from gpudoctor.bench.devices.device import WithProduct
from gpudoctor.bench.nodes import (
    Add,
    Branches,
    Conv,
    Conv1d,
    Dense,
    Dropout,
    Flatten,
    MatMul,
    Maximum,
    MaxPool,
    Multiply,
    ReLU,
    SiLU,
    SoftmaxCrossEntropy,
)

NETS = {
    "relu": nets.relu_net(8, 10, widths=(2, 3), hidden=4),
    "smooth": nets.smooth_net(8, 10, widths=(2, 3), hidden=4),
    "everything": (
        *(Conv(1, 4, kernel=3, padding=1, stride=2), Dropout(0.2)),
        Branches(((Conv(4, 4), SiLU(), Conv(4, 4)), ()), Add()),
        Branches(((Conv(4, 4, 1, 0),), (Conv(4, 4, 1, 0), Dropout(0.2))), Maximum()),
        Branches(((Conv(4, 4, 1, 0),), (Conv(4, 4, 1, 0), ReLU())), Multiply()),
        *(MaxPool(3, 1), Flatten(), MatMul(16, 12), Dropout(0.5), Dense(12, 10)),
    ),
}


@pytest.fixture
def rng():
    return numpy.random.default_rng(1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_dtype_and_shapes_stay_through_forward_backward_and_step(net, dtype, rng):
    images = rng.standard_normal((6, 8, 8, 1)).astype(dtype)
    labels = rng.integers(0, 10, 6)
    parameters = nets.initial_parameters(net, numpy, rng, dtype)
    velocities = nets.zeros_like(numpy, parameters)
    went = nets.forward(net, numpy, images, parameters, step=0)
    loss, kept = SoftmaxCrossEntropy().forward(numpy, went.scores, labels)
    back = nets.backward(net, numpy, went, SoftmaxCrossEntropy().backward(numpy, kept))
    nets.momentum_step(parameters, velocities, back.parameters, rate=0.1, momentum=0.9)

    assert went.scores.shape == (6, 10)
    assert loss.dtype == dtype
    assert loss.shape == ()
    assert kept[0].dtype == dtype
    for output, gradient in zip(went.outputs, back.outputs, strict=True):
        assert output.dtype == gradient.dtype == dtype
        assert output.shape == gradient.shape
    for node, own, moving, slopes in zip(net, parameters, velocities, back.parameters, strict=True):
        assert len(own) == node.learns
        for parameter, velocity, gradient in zip(own, moving, slopes, strict=True):
            assert parameter.dtype == velocity.dtype == gradient.dtype == dtype
            assert parameter.shape == velocity.shape == gradient.shape


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_every_product_is_of_two_matrices_and_goes_through_the_array_module(net, rng):
    shapes = []

    def product(a, b):
        shapes.append((a.ndim, b.ndim))
        return numpy.zeros((a.shape[0], b.shape[1]), a.dtype)

    parameters = nets.initial_parameters(net, numpy, rng, "float32")
    went = nets.forward(net, WithProduct(numpy, product), rng.standard_normal((3, 8, 8, 1)), parameters)
    nets.backward(net, WithProduct(numpy, product), went, numpy.ones((3, 10)))
    assert set(shapes) == {(2, 2)}
    assert not went.scores.any()  # all biases are zero, so with such a product no image gets through


def test_nothing_that_a_net_was_given_is_changed_by_going_forward_and_back(rng):
    net = NETS["everything"]
    images, d_scores = rng.standard_normal((3, 8, 8, 1)), rng.standard_normal((3, 10))
    parameters = nets.initial_parameters(net, numpy, rng, "float64")
    for array in (images, d_scores, *(array for own in parameters for array in own)):
        array.flags.writeable = False
    went = nets.forward(net, numpy, images, parameters, step=1)
    outputs = [output.copy() for output in went.outputs]
    nets.backward(net, numpy, went, d_scores)
    for before, after in zip(outputs, went.outputs, strict=True):
        assert numpy.array_equal(before, after)


def test_momentum_gathers_speed():
    parameter, gradient = numpy.array([1.0]), numpy.array([2.0])
    velocities = nets.zeros_like(numpy, [(parameter,)])
    for expected in (1.0 - 0.1 * 2.0, 0.8 - 0.1 * (0.5 * 2.0 + 2.0)):
        nets.momentum_step([(parameter,)], velocities, [(gradient,)], rate=0.1, momentum=0.5)
        assert parameter[0] == pytest.approx(expected)


def scores(net, parameters, x, step):
    return nets.forward(net, numpy, x, parameters, step).scores


def test_dropout_draws_by_step_and_place_and_not_at_all_in_evaluation():
    net = (Dropout(0.5), Dropout(0.5), Branches(((Dropout(0.5),), (Dropout(0.5),)), Add()))
    parameters = [()] * 3
    ones = numpy.ones((40, 50))
    assert numpy.array_equal(scores(net, parameters, ones, None), 2 * ones)
    assert numpy.array_equal(scores(net, parameters, ones, 5), scores(net, parameters, ones, 5))
    assert not numpy.array_equal(scores(net, parameters, ones, 5), scores(net, parameters, ones, 6))
    went = nets.forward(net, numpy, ones, parameters, step=5)
    first, second = went.outputs[0] > 0, went.outputs[1] > 0
    assert abs((first & second).mean() - 0.25) < 0.05  # two masks that know nothing of each other
    one, other = nets.forward(net[2:], numpy, ones, [()], step=5).scores, ones
    assert set(numpy.unique(one)) == {0.0, 2.0, 4.0}
    assert abs((one == 2.0).mean() - 0.5) < 0.06
    assert other.all()


def test_a_net_with_a_residual_block_and_a_gate_learns(rng):
    net = (
        *(Conv1d(1, 6), SiLU(), Branches(((Conv1d(6, 6), SiLU()), ()), Add())),
        *(Branches(((Conv1d(6, 6),), (Conv1d(6, 6), SiLU())), Multiply()), Flatten(), Dropout(0.1), Dense(54, 2)),
    )
    x = rng.standard_normal((64, 9, 1))
    labels = (x[:, 2, 0] * x[:, 6, 0] > 0).astype(int)  # no sum of single numbers tells it
    parameters = nets.initial_parameters(net, numpy, rng, "float64")
    velocities = nets.zeros_like(numpy, parameters)
    end = SoftmaxCrossEntropy()
    for step in range(120):
        went = nets.forward(net, numpy, x, parameters, step)
        _, kept = end.forward(numpy, went.scores, labels)
        back = nets.backward(net, numpy, went, end.backward(numpy, kept))
        nets.momentum_step(parameters, velocities, back.parameters, rate=0.03, momentum=0.9)
    assert (scores(net, parameters, x, None).argmax(axis=1) == labels).mean() > 0.95
