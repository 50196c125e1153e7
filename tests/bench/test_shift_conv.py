"""The convolution without patches must be the convolution: the same numbers, and gradients that agree with nudges."""

import numpy
import pytest

from gpudoctor.bench import net as nets
from gpudoctor.bench.devices.device import NumpyDevice, WithProduct
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.gradient_check import LIMIT, node_error
from gpudoctor.bench.nodes import (
    Add,
    AveragePool,
    Branches,
    Conv,
    Dense,
    Flatten,
    ReLU,
    SoftmaxCrossEntropy,
    shift_conv,
)
from gpudoctor.bench.nodes.shift_conv import ShiftConv, with_fast_convolutions

# Images, rows, columns, channels in and out: odd sizes, one channel, one pixel, one row, one column.
SHAPES = [
    (2, 5, 7, 3, 4),
    (3, 8, 8, 8, 16),
    (1, 4, 4, 1, 2),
    (5, 9, 6, 4, 3),
    (1, 1, 1, 1, 1),
    (2, 1, 6, 2, 3),
    (2, 6, 1, 3, 1),
]


@pytest.fixture
def short_parts(monkeypatch):
    """dW is cut into many parts for small images, too."""
    monkeypatch.setattr(shift_conv, "_SHORTEST_PART", 4)
    shift_conv._steps_to_correlate.cache_clear()
    yield
    shift_conv._steps_to_correlate.cache_clear()


def there_and_back(xp, node, x, w, b, dy):
    y, kept = node.forward(xp, x, w, b)
    slopes = node.gradients(xp, dy, kept)
    return y, node.backward(xp, dy, kept), *slopes


def arrays(shape, kind="float64"):
    n, rows, columns, inputs, outputs = shape
    rng = numpy.random.default_rng(7)
    w, _ = Conv(inputs, outputs).initial(rng)
    x, dy = rng.standard_normal((n, rows, columns, inputs)), rng.standard_normal((n, rows, columns, outputs))
    return [one.astype(kind) for one in (x, w, rng.standard_normal(outputs), dy)]


def relative_error(found, wanted):
    return numpy.linalg.norm(found.astype("float64") - wanted) / numpy.linalg.norm(wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_gives_the_numbers_of_conv(shape):
    x, w, b, dy = arrays(shape)
    found = there_and_back(numpy, ShiftConv(*shape[3:]), x, w, b, dy)
    wanted = there_and_back(numpy, Conv(*shape[3:]), x, w, b, dy)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert relative_error(one, other) < 1e-14


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_cut_into_parts_are_the_same_sums(shape, short_parts):
    x, w, b, dy = arrays(shape)
    found = there_and_back(numpy, ShiftConv(*shape[3:]), x, w, b, dy)[2]
    assert relative_error(found, there_and_back(numpy, Conv(*shape[3:]), x, w, b, dy)[2]) < 1e-14
    if shape[0] * shape[1] * shape[2] > 30:
        assert shift_conv.Grid(*shape[:3]).parts(*shape[3:]) > 1


@pytest.mark.parametrize("shape", [(2, 5, 3, 3, 2), (1, 4, 4, 1, 2), (1, 1, 1, 1, 1), (2, 1, 6, 2, 3), (1, 6, 1, 3, 1)])
def test_its_gradients_agree_with_nudges(shape, short_parts):
    assert node_error(numpy, ShiftConv(*shape[3:]), shape[:4]) < LIMIT


def test_nothing_is_read_that_was_not_written(short_parts):
    class Poisoned(WithProduct):
        def empty(self, shape, dtype):
            flat = numpy.empty(shape, dtype)
            flat.view("uint8")[:] = 0xFF  # NaN in every format
            return flat

    for kind in ("float64", "float32", "float16"):
        x, w, b, dy = arrays((3, 5, 7, 3, 4), kind)
        for one in there_and_back(Poisoned(numpy, numpy.matmul), ShiftConv(3, 4), x, w, b, dy):
            assert numpy.isfinite(one).all()


@pytest.mark.parametrize("shape", SHAPES[:4])
def test_sixteen_bits_are_filled_up_to_eight_channels_and_cut_again(shape):
    x, w, b, dy = arrays(shape, "float16")
    found = there_and_back(numpy, ShiftConv(*shape[3:]), x, w, b, dy)
    wanted = there_and_back(numpy, Conv(*shape[3:]), *(one.astype("float64") for one in (x, w, b, dy)))
    for one, other in zip(found, wanted, strict=True):
        assert (one.shape, one.dtype) == (other.shape, "float16")
        assert relative_error(one, other) < 2e-3
    _, kept = ShiftConv(*shape[3:]).forward(numpy, x, w, b)
    assert kept[1].size % 8 == 0


def test_another_gradient_is_not_taken_for_the_one_laid_out_before():
    x, w, b, dy = arrays((2, 5, 7, 3, 4))
    fast, plain = ShiftConv(3, 4), Conv(3, 4)
    _, kept = fast.forward(numpy, x, w, b)
    _, kept_by_conv = plain.forward(numpy, x, w, b)
    for slope in (dy, 2 * dy, dy):
        assert (
            relative_error(fast.gradients(numpy, slope, kept)[0], plain.gradients(numpy, slope, kept_by_conv)[0])
            < 1e-14
        )
        for again in (slope, -slope, slope):
            assert relative_error(fast.backward(numpy, again, kept), plain.backward(numpy, again, kept_by_conv)) < 1e-14


def test_what_it_keeps_is_a_grid_and_not_nine_times_the_images():
    x, w, b, _ = arrays((8, 32, 32, 16, 16), "float32")
    _, kept = ShiftConv(16, 16).forward(numpy, x, w, b)
    assert x.nbytes < kept[1].nbytes < 1.1 * x.nbytes


def test_a_net_keeps_its_parameters_and_only_its_fitting_convolutions_change():
    net = (
        Conv(1, 4),
        ReLU(),
        Conv(4, 4, kernel=5, padding=2),
        Conv(4, 4, stride=2),
        Branches(((Conv(4, 4), ReLU(), Conv(4, 4)), ()), Add()),
        Conv(4, 8, padding=0),
        AveragePool(),
        Flatten(),
        Dense(8, 3),
    )
    fast = with_fast_convolutions(net)
    assert fast[0] == ShiftConv(1, 4)
    assert fast[4] == Branches(((ShiftConv(4, 4), ReLU(), ShiftConv(4, 4)), ()), Add())
    assert [new for new, old in zip(fast, net, strict=True) if new != old] == [fast[0], fast[4]]
    parameters = nets.initial_parameters(net, numpy, numpy.random.default_rng(8), "float64")
    again = nets.initial_parameters(fast, numpy, numpy.random.default_rng(8), "float64")
    images, labels = numpy.random.default_rng(9).standard_normal((4, 8, 8, 1)), numpy.array([0, 1, 2, 1])
    for one, other in zip(parameters, again, strict=True):
        for mine, yours in zip(one, other, strict=True):
            numpy.testing.assert_array_equal(mine, yours)
    slopes = []
    for row in (net, fast):
        went = nets.forward(row, numpy, images, parameters)
        end = SoftmaxCrossEntropy()
        _, kept = end.forward(numpy, went.scores, labels)
        back = nets.backward(row, numpy, went, end.backward(numpy, kept))
        slopes.append(numpy.concatenate([one.ravel() for own in back.parameters for one in own]))
    assert relative_error(slopes[1], slopes[0]) < 1e-13


@pytest.mark.parametrize(
    "precision", [Precision.FP64, *(Precision.FP32, Precision.TF32, Precision.FP16, Precision.BF16)]
)
@pytest.mark.parametrize("shape", [(2, 5, 7, 3, 4), (3, 8, 8, 8, 16)])
def test_a_gpu_convolves_as_the_cpu_does(precision, shape, gpu, short_parts):
    if precision not in (*gpu.precisions, Precision.FP64):
        pytest.skip(f"not on {gpu.text}")
    kind = "float64" if precision is Precision.FP64 else "float32"
    limit = {Precision.FP64: 1e-14, Precision.FP32: 1e-6, Precision.BF16: 1e-2}.get(precision, 2e-3)
    values = arrays(shape, kind)
    found = there_and_back(gpu.computing_in(precision), ShiftConv(*shape[3:]), *(gpu.xp.asarray(one) for one in values))
    wanted = there_and_back(numpy, Conv(*shape[3:]), *(one.astype("float64") for one in values))
    for one, other in zip(found, wanted, strict=True):
        assert gpu.place_of(one) == gpu.home
        assert one.dtype == kind
        assert relative_error(gpu.to_host(one), other) < limit


def test_a_gpu_convolves_numbers_of_sixteen_bits(gpu):
    if Precision.FP16 not in gpu.precisions:
        pytest.skip(f"not on {gpu.text}")
    values = arrays((3, 9, 6, 3, 16), "float16")
    on_device = [gpu.xp.asarray(one) for one in values]
    found = there_and_back(gpu.computing_in(Precision.FP16), ShiftConv(3, 16), *on_device)
    wanted = there_and_back(numpy, Conv(3, 16), *(one.astype("float64") for one in values))
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == "float16"
        assert relative_error(gpu.to_host(one), other) < 2e-3


def test_a_whole_net_on_a_gpu_has_the_gradient_of_the_cpu(gpu):
    net = nets.smooth_net(8, 10, widths=(3, 8), hidden=6)
    rng = numpy.random.default_rng(10)
    images, labels = rng.standard_normal((6, 8, 8, 1)).astype("float32"), rng.integers(0, 10, 6)
    slopes = []
    for device, row in ((NumpyDevice(), net), (gpu, net), (gpu, with_fast_convolutions(net))):
        xp = device.computing_in(Precision.FP32)
        parameters = nets.initial_parameters(row, xp, numpy.random.default_rng(11), "float32")
        went = nets.forward(row, xp, xp.asarray(images), parameters)
        end = SoftmaxCrossEntropy()
        _, kept = end.forward(xp, went.scores, xp.asarray(labels))
        back = nets.backward(row, xp, went, end.backward(xp, kept))
        nets.momentum_step(parameters, nets.zeros_like(xp, parameters), back.parameters, rate=0.1, momentum=0.9)
        every = [*back.parameters, *parameters]
        slopes.append(numpy.concatenate([device.to_host(one).ravel() for own in every for one in own]))
    assert relative_error(slopes[1], slopes[0]) < 1e-5
    assert relative_error(slopes[2], slopes[0]) < 1e-5


def test_the_bare_array_module_of_a_gpu_is_refused(gpu):
    x, w, b, _ = (gpu.xp.asarray(one) for one in arrays((1, 4, 4, 1, 2), "float32"))
    with pytest.raises(TypeError, match="computing_in"):
        ShiftConv(1, 2).forward(gpu.xp, x, w, b)
