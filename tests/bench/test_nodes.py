"""Forward, backward, shapes and dtypes of the nodes; and that the gradient check sees a broken backward pass."""

import itertools
import math

import numpy
import pytest

from gpudoctor.bench import net as nets
from gpudoctor.bench.gradient_check import (
    LIMIT,
    NODES,
    largest_relative_difference,
    loss_error,
    net_error,
    node_error,
)
from gpudoctor.bench.nodes import AveragePool, Conv, Dense, MaxPool, ReLU, SiLU, SoftmaxCrossEntropy

NAMES = [type(node).__name__ for node, _ in NODES]
NETS = {
    "relu": nets.relu_net(8, 10, widths=(2, 3), hidden=4),
    "smooth": nets.smooth_net(8, 10, widths=(2, 3), hidden=4),
}


@pytest.fixture
def rng():
    return numpy.random.default_rng(1)


@pytest.mark.parametrize(("node", "shape"), NODES, ids=NAMES)
def test_gradients_of_each_node_agree_with_differences(node, shape):
    assert node_error(numpy, node, shape) < LIMIT


@pytest.mark.parametrize("conv", [Conv(1, 2, 3, 0), Conv(2, 2, 1, 0), Conv(2, 1, 5, 2), Conv(1, 1, 3, 2)], ids=repr)
def test_gradients_of_other_kernels_and_paddings(conv):
    assert node_error(numpy, conv, (2, 6, 5, conv.channels_in)) < LIMIT


def test_gradients_of_the_loss_and_of_whole_nets():
    assert loss_error(numpy) < LIMIT
    for net in NETS.values():
        assert net_error(numpy, net) < LIMIT


@pytest.mark.parametrize(("node", "shape"), NODES, ids=NAMES)
def test_the_check_sees_a_backward_pass_that_is_one_percent_off(node, shape, monkeypatch):
    right = type(node).backward
    monkeypatch.setattr(type(node), "backward", lambda *args: 1.01 * right(*args))
    assert node_error(numpy, node, shape) > LIMIT


@pytest.mark.parametrize("kind", [Dense, Conv])
@pytest.mark.parametrize("which", [0, 1], ids=["weights", "bias"])
def test_the_check_sees_a_wrong_gradient_of_a_parameter(kind, which, monkeypatch):
    right = kind.gradients

    def one_off(*args):
        gradients = list(right(*args))
        gradients[which] = 0.99 * gradients[which]
        return tuple(gradients)

    monkeypatch.setattr(kind, "gradients", one_off)
    node, shape = next((node, shape) for node, shape in NODES if isinstance(node, kind))
    assert node_error(numpy, node, shape) > LIMIT
    assert net_error(numpy, NETS["relu"]) > LIMIT


def test_the_check_sees_a_wrong_loss_gradient(monkeypatch):
    monkeypatch.setattr(SoftmaxCrossEntropy, "backward", lambda self, xp, kept: kept[0] - kept[1])
    assert loss_error(numpy) > LIMIT
    assert net_error(numpy, NETS["smooth"]) > LIMIT


def test_a_gradient_of_another_shape_is_infinitely_wrong(monkeypatch):
    monkeypatch.setattr(ReLU, "backward", lambda self, xp, dy, kept: (dy * kept).ravel())
    assert node_error(numpy, ReLU(), (4, 6)) == math.inf


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_not_finite_is_infinitely_wrong(broken):
    for values in itertools.permutations([broken, 1.0, 2.0]):
        assert largest_relative_difference(list(values), [1.0, 1.0, 2.0]) == math.inf
        assert largest_relative_difference([1.0, 1.0, 2.0], list(values)) == math.inf


def test_zeros_alone_prove_nothing():
    assert largest_relative_difference([0.0, 0.0], [0.0, 0.0]) == math.inf


def test_convolution_is_the_sum_that_its_docstring_gives(rng):
    conv = Conv(2, 3, kernel=3, padding=1)
    x, w, b = rng.standard_normal((2, 4, 5, 2)), rng.standard_normal((3, 3, 2, 3)), rng.standard_normal(3)
    y, _ = conv.forward(numpy, x, w, b)
    assert y.shape == (2, 4, 5, 3)
    for n, i, j, o in numpy.ndindex(y.shape):
        expected = b[o]
        for u, v, c in itertools.product(range(3), range(3), range(2)):
            row, column = i + u - 1, j + v - 1
            if 0 <= row < 4 and 0 <= column < 5:
                expected += x[n, row, column, c] * w[u, v, c, o]
        assert y[n, i, j, o] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_pools_and_rectifiers_give_the_numbers_of_their_formulas():
    x = numpy.array([[1.0, 2.0, -3.0, -3.0], [4.0, 3.0, -3.0, -5.0]]).reshape(1, 2, 4, 1)
    dy = numpy.array([10.0, 6.0]).reshape(1, 1, 2, 1)
    highest, kept = MaxPool().forward(numpy, x)
    assert highest.ravel().tolist() == [4.0, -3.0]
    # Three equals share what one winner would get.
    assert MaxPool().backward(numpy, dy, kept).reshape(2, 4).tolist() == [[0, 0, 2, 2], [10, 0, 2, 0]]
    mean, kept = AveragePool().forward(numpy, x)
    assert mean.ravel().tolist() == [2.5, -3.5]
    assert AveragePool().backward(numpy, dy, kept).reshape(2, 4).tolist() == [[2.5, 2.5, 1.5, 1.5]] * 2
    assert ReLU().forward(numpy, x)[0].ravel().tolist() == [1, 2, 0, 0, 4, 3, 0, 0]
    assert SiLU().forward(numpy, numpy.array([1.0]))[0][0] == pytest.approx(1 / (1 + math.exp(-1)))


def test_silu_and_softmax_stand_extreme_inputs():
    with numpy.errstate(over="raise", invalid="raise", divide="raise"):
        y, _ = SiLU().forward(numpy, numpy.array([-1e4, 0.0, 1e4], dtype="float32"))
        scores = numpy.array([[1e4, 0.0]], dtype="float32")
        loss, _ = SoftmaxCrossEntropy().forward(numpy, scores, numpy.array([0]))
    assert y.tolist() == [0.0, 0.0, 1e4]
    assert float(loss) == 0.0


def test_a_nan_goes_through_every_node_and_is_not_lost():
    x = numpy.ones((1, 4, 4, 1))
    x[0, 1, 1, 0] = numpy.nan
    for node in (ReLU(), SiLU(), MaxPool(), AveragePool()):
        assert numpy.isnan(node.forward(numpy, x)[0]).any(), node


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_dtype_and_shapes_stay_through_forward_backward_and_step(net, dtype, rng):
    images = rng.standard_normal((6, 8, 8, 1)).astype(dtype)
    labels = rng.integers(0, 10, 6)
    parameters = nets.initial_parameters(net, numpy, rng, dtype)
    velocities = nets.zeros_like(numpy, parameters)
    went = nets.forward(net, numpy, images, parameters)
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
    for own, moving, slopes in zip(parameters, velocities, back.parameters, strict=True):
        for parameter, velocity, gradient in zip(own, moving, slopes, strict=True):
            assert parameter.dtype == velocity.dtype == gradient.dtype == dtype
            assert parameter.shape == velocity.shape == gradient.shape


def test_a_view_with_other_strides_gives_what_its_copy_gives(rng):
    views = [
        rng.standard_normal((2, 2, 4, 4)).transpose(0, 2, 3, 1),  # channels first in memory
        rng.standard_normal((4, 8, 8, 2))[::2, ::2, ::2],
        rng.standard_normal((2, 4, 4, 2))[:, ::-1, ::-1],
    ]
    for node in (Conv(2, 3), Conv(2, 3, 1, 0), MaxPool(), AveragePool(), ReLU(), SiLU()):
        parameters = node.initial(rng)
        for view in views:
            assert not view.flags.c_contiguous
            y, kept = node.forward(numpy, view, *parameters)
            y_of_copy, kept_of_copy = node.forward(numpy, view.copy(), *parameters)
            numpy.testing.assert_allclose(y, y_of_copy, rtol=1e-13, atol=1e-13)
            dy = rng.standard_normal((*y.shape[:3], 2 * y.shape[3]))[..., ::2]
            numpy.testing.assert_allclose(
                node.backward(numpy, dy, kept), node.backward(numpy, dy.copy(), kept_of_copy), rtol=1e-13, atol=1e-13
            )


def test_momentum_gathers_speed():
    parameter, gradient = numpy.array([1.0]), numpy.array([2.0])
    velocities = nets.zeros_like(numpy, [(parameter,)])
    for expected in (1.0 - 0.1 * 2.0, 0.8 - 0.1 * (0.5 * 2.0 + 2.0)):
        nets.momentum_step([(parameter,)], velocities, [(gradient,)], rate=0.1, momentum=0.5)
        assert parameter[0] == pytest.approx(expected)
