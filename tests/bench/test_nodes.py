"""What the nodes compute: the sums and rules of their docstrings, extreme numbers, NaN, views, dropout."""

import itertools
import math

import numpy
import pytest

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
    MatMul,
    Maximum,
    MaxPool,
    MeanSquaredError,
    Multiply,
    ReLU,
    SiLU,
    SoftmaxCrossEntropy,
)


@pytest.fixture
def rng():
    return numpy.random.default_rng(1)


@pytest.mark.parametrize(
    ("padding", "stride", "shape"), [(1, 1, (2, 4, 5, 3)), (0, 2, (2, 1, 2, 3)), (2, 3, (2, 2, 3, 3))]
)
def test_convolution_is_the_sum_that_its_docstring_gives(padding, stride, shape, rng):
    conv = Conv(2, 3, kernel=3, padding=padding, stride=stride)
    x, w, b = rng.standard_normal((2, 4, 5, 2)), rng.standard_normal((3, 3, 2, 3)), rng.standard_normal(3)
    y, _ = conv.forward(numpy, x, w, b)
    assert y.shape == shape
    for n, i, j, o in numpy.ndindex(y.shape):
        expected = b[o]
        for u, v, c in itertools.product(range(3), range(3), range(2)):
            row, column = stride * i + u - padding, stride * j + v - padding
            if 0 <= row < 4 and 0 <= column < 5:
                expected += x[n, row, column, c] * w[u, v, c, o]
        assert y[n, i, j, o] == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("kernel", "padding", "stride"), [(3, 1, 1), (4, 0, 2), (2, 1, 3)])
def test_a_convolution_of_sequences_is_that_of_images_one_row_high(kernel, padding, stride, rng):
    node = Conv1d(2, 3, kernel, padding, stride)
    w, b = node.initial(rng)
    x = rng.standard_normal((3, 9, 2))
    y, kept = node.forward(numpy, x, w, b + 1)
    as_image = numpy.zeros((3, kernel, 9 + 2 * padding, 2))  # as high as the kernel, with a single row in use
    as_image[:, 0, padding : padding + 9] = x
    wide = numpy.zeros((kernel, kernel, 2, 3))
    wide[0] = w
    expected, _ = Conv(2, 3, kernel, 0, stride).forward(numpy, as_image, wide, b + 1)
    numpy.testing.assert_allclose(y, expected[:, 0], rtol=1e-12, atol=1e-12)
    assert node.backward(numpy, y, kept).shape == x.shape


@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, 2), (2, 3), (3, 1)])
def test_pools_take_what_each_window_holds_and_drop_what_fills_none(size, stride, rng):
    x = rng.standard_normal((2, 7, 8, 3))
    step = stride or size
    rows, columns = (7 - size) // step + 1, (8 - size) // step + 1
    for pool, summary in ((MaxPool(size, stride), numpy.max), (AveragePool(size, stride), numpy.mean)):
        y, _ = pool.forward(numpy, x)
        assert y.shape == (2, rows, columns, 3)
        for i, j in itertools.product(range(rows), range(columns)):
            window = x[:, i * step : i * step + size, j * step : j * step + size]
            numpy.testing.assert_allclose(y[:, i, j], summary(window, axis=(1, 2)), rtol=1e-12)


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


def test_a_nan_goes_through_every_node_and_is_not_lost(rng):
    x = rng.standard_normal((1, 4, 4, 1))
    x[0, 1, 1, 0] = numpy.nan
    dropped = Dropout(0.5).at((0,)).forward(numpy, numpy.ones_like(x))[0] == 0
    for node in (ReLU(), SiLU(), MaxPool(), AveragePool(), Conv(1, 2), Flatten(), Dropout(0.5).at((0,))):
        assert numpy.isnan(node.forward(numpy, x, *node.initial(rng))[0]).any(), node
    assert numpy.isnan(Dropout(0.5).at((0,)).forward(numpy, numpy.where(dropped, numpy.nan, x))[0])[dropped].all()
    for joint in (Add(), Multiply(), Maximum()):
        for both in ((x, numpy.ones_like(x)), (numpy.ones_like(x), x)):
            assert numpy.isnan(joint.forward(numpy, *both)[0]).any(), joint
    assert numpy.isnan(MeanSquaredError().forward(numpy, x, numpy.zeros_like(x))[0])


@pytest.mark.parametrize(
    "node", [ReLU(), SiLU(), MaxPool(), AveragePool(), Conv(1, 2), Dropout(0.5).at((0,))], ids=repr
)
def test_a_nan_on_the_way_back_is_not_lost(node, rng):
    y, kept = node.forward(numpy, numpy.full((1, 4, 4, 1), -1.0), *node.initial(rng))
    assert numpy.isnan(node.backward(numpy, numpy.full(y.shape, numpy.nan), kept)).any()


def test_a_view_with_other_strides_gives_what_its_copy_gives(rng):
    views = [
        rng.standard_normal((2, 2, 4, 4)).transpose(0, 2, 3, 1),  # channels first in memory
        rng.standard_normal((4, 8, 8, 2))[::2, ::2, ::2],
        rng.standard_normal((2, 4, 4, 2))[:, ::-1, ::-1],
    ]
    for node in (
        Conv(2, 3),
        Conv(2, 3, 1, 0),
        Conv(2, 3, 3, 1, 2),
        MaxPool(),
        MaxPool(3, 1),
        AveragePool(),
        ReLU(),
        SiLU(),
    ):
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


def test_joints_do_to_single_numbers_what_their_names_say():
    a, b, dy = numpy.array([2.0, -1.0, 3.0]), numpy.array([5.0, -4.0, 3.0]), numpy.array([10.0, 100.0, 8.0])
    for joint, y, d_a, d_b in (
        (Add(), [7, -5, 6], [10, 100, 8], [10, 100, 8]),
        (Multiply(), [10, 4, 9], [50, -400, 24], [20, -100, 24]),
        (Maximum(), [5, -1, 3], [0, 100, 4], [10, 0, 4]),  # equals share
    ):
        got, kept = joint.forward(numpy, a, b)
        assert got.tolist() == y
        assert [side.tolist() for side in joint.backward(numpy, dy, kept)] == [d_a, d_b]


def test_branches_equal_the_same_nodes_put_together_by_hand(rng):
    node = Branches(((MatMul(3, 3), ReLU()), (Dense(3, 3),), ()), Multiply())
    w, v, b = node.initial(rng)
    assert node.learns == 3
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    y, kept = node.forward(numpy, x, w, v, b + 1)
    first, second = numpy.maximum(x @ w, 0), x @ v + b + 1
    numpy.testing.assert_allclose(y, first * second * x)
    dw, dv, db = node.gradients(numpy, dy, kept)
    numpy.testing.assert_allclose(dw, x.T @ (dy * second * x * (first > 0)))
    numpy.testing.assert_allclose(dv, x.T @ (dy * first * x))
    numpy.testing.assert_allclose(db, (dy * first * x).sum(axis=0))
    by_hand = (dy * second * x * (first > 0)) @ w.T + (dy * first * x) @ v.T + dy * first * second
    numpy.testing.assert_allclose(node.backward(numpy, dy, kept), by_hand)
    numpy.testing.assert_allclose(node.backward(numpy, 2 * dy, kept), 2 * by_hand)  # nothing of the first call is left


def test_branches_refuse_a_single_path_and_dropout_a_rate_of_one():
    with pytest.raises(ValueError, match="two paths"):
        Branches(((ReLU(),),), Add())
    for rate in (1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Dropout(rate)


@pytest.mark.parametrize("node", [Conv(1, 1, 3, 0), Conv(1, 1, 5, 0, 4), MaxPool(3), AveragePool(3, 1)], ids=repr)
def test_a_kernel_or_window_larger_than_the_image_is_refused(node, rng):
    with pytest.raises(ValueError, match="does not fit into"):
        node.forward(numpy, numpy.ones((1, 4, 2, 1)), *node.initial(rng))


def test_a_branch_adds_up_what_comes_back():
    ways, kept = Branch(3).forward(numpy, numpy.array([1.0]))
    assert [way.tolist() for way in ways] == [[1.0]] * 3
    assert Branch(3).backward(numpy, (numpy.array([1.0]), numpy.array([2.0]), numpy.array([4.0])), kept) == 7.0


def test_mean_squared_error_is_the_mean_of_the_squares():
    loss, kept = MeanSquaredError().forward(numpy, numpy.array([[1.0, 2.0]]), numpy.array([[0.0, 4.0]]))
    assert float(loss) == 2.5
    assert MeanSquaredError().backward(numpy, kept).tolist() == [[1.0, -2.0]]


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    x = numpy.ones((300, 200), dtype="float32")
    y, mask = Dropout(rate, seed=1).at((4, 2)).forward(numpy, x)
    assert y.dtype == mask.dtype == "float32"
    assert abs((y == 0).mean() - rate) < 0.01
    assert set(numpy.unique(y[y > 0])) == {numpy.float32(1 / (1 - rate))}
    assert abs(y.mean() - 1) < 0.03
    # Neighbours are dropped independently of each other, along rows and along columns.
    for a, b in ((y[:, 1:], y[:, :-1]), (y[1:], y[:-1])):
        assert abs(((a == 0) & (b == 0)).mean() - rate**2) < 0.01
    assert not numpy.array_equal(y, Dropout(rate, seed=2).at((4, 2)).forward(numpy, x)[0]) or rate == 0


def test_dropout_draws_the_same_mask_on_every_machine():
    _, mask = Dropout(0.5).at((0, 3)).forward(numpy, numpy.ones(24))
    assert "".join("1" if value else "0" for value in mask) == "111110100000110011001110"
