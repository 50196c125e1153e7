"""The throughput phase: on the CPU, on devices with a fault, and on a stand-in for a GPU."""

import math

import numpy
import pytest

from gpudoctor.bench.devices.cupy_device import import_cupy, open_cupy
from gpudoctor.bench.devices.device import NumpyDevice
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.job import Job, Level, Phase
from gpudoctor.bench.measuring import convolution_check, noise, products, workload
from gpudoctor.bench.measuring.convolution_check import convolution_deviation
from gpudoctor.bench.measuring.timing import Protocol
from gpudoctor.bench.nodes import Conv
from gpudoctor.bench.nodes.shift_conv import ShiftConv
from gpudoctor.bench.phases import throughput
from gpudoctor.bench.result import Status
from gpudoctor.bench.verdicts.rates import ERROR_LIMITS, judge_rates

AT_ONCE = Protocol(0.0, 2, 0.0)
SMALL = throughput.Sizes(AT_ONCE, 96, 1 << 16, 1 << 14, 8, (8, 8), 16, 4)


def job(level=Level.DEFAULT, **kwargs):
    return Job("numpy", (Phase.THROUGHPUT,), level, 0, **kwargs)


def measured(device, level=Level.DEFAULT, **kwargs):
    said = []
    rates = throughput.measure_throughput(device, job(level, **kwargs), said.append)
    return rates, said


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(throughput, "ON_CPU", SMALL)
    monkeypatch.setattr(throughput, "ON_GPU", SMALL)
    monkeypatch.setattr(throughput, "ON_GPU_IN_SHORT", SMALL)
    monkeypatch.setattr(workload, "SIZE", 8)
    monkeypatch.setattr(convolution_check, "SHAPE", (4, 8, 8))


@pytest.fixture
def gpu(install_cupy, small):
    install_cupy(properties={"l2CacheSize": 1024})
    return open_cupy(import_cupy())


def test_the_cpu_is_timed_and_its_numbers_are_right(small):
    rates, said = measured(NumpyDevice())
    assert [rate.what for rate in rates] == ["product", "copy", "convolution", "training"]
    for rate in rates:
        assert 0 < rate.median <= rate.best < math.inf
        assert rate.spread >= 0
        assert rate.began < rate.ended
    by_what = {rate.what: rate for rate in rates}
    assert 0 < by_what["product"].error < ERROR_LIMITS["fp32"] / 5
    assert 0 < by_what["convolution"].error < ERROR_LIMITS["fp32"] / 5
    assert by_what["copy"].error == 0.0
    assert by_what["training"].unit == "images/s"
    assert "batch 4" in by_what["training"].detail
    assert judge_rates(rates, None).status is Status.PASSED
    assert len(said) == 4


def test_in_a_hurry_no_net_is_timed(small):
    assert [rate.what for rate in measured(NumpyDevice(), Level.QUICK)[0]] == ["product", "copy"]


def test_nothing_is_timed_beside_somebody_else(small):
    assert measured(NumpyDevice(), busy=True)[0] == []


def test_a_gpu_is_timed_in_every_precision_and_on_both_paths(gpu):
    rates, _ = measured(gpu)
    assert [(rate.what, rate.precision) for rate in rates] == [
        *(("product", name) for name in ("fp32", "tf32", "fp16", "bf16")),
        *(("copy", ""), ("to device", ""), ("to host", "")),
        *(("convolution", "fp32"), ("convolution", "fp32"), ("convolution", "fp16"), ("convolution", "fp16")),
        *(("training", "fp32"), ("training", "fp16")),
    ]
    for rate in rates:
        if rate.what == "product" or (rate.what, rate.precision) == ("convolution", "fp32"):
            assert 0 < rate.error < ERROR_LIMITS[rate.precision], rate
        if rate.what in ("convolution", "training"):
            assert 0 < rate.modelled < math.inf
    assert [rate.detail.rpartition(", ")[2] for rate in rates[7:]] == [
        "im2col",
        "shift",
        "im2col",
        "shift",
        "shift",
        "shift",
    ]


class WrongProduct(NumpyDevice):
    """Every product has one number that is not what it should be."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def multiply_into(self, c, a, b, precision):
        super().multiply_into(c, a, b, precision)
        self.spoil(c)


def spoiled_by(value):
    def spoil(c):
        c[5, 7] = c[5, 7] + 1 if value is None else value

    return spoil


@pytest.mark.parametrize("value", [None, 0.0, math.nan, math.inf])
def test_a_product_with_one_wrong_number_exceeds_its_limit(value, small):
    rates, _ = measured(WrongProduct(spoiled_by(value)), Level.QUICK)
    assert not rates[0].error <= ERROR_LIMITS["fp32"]
    judged = judge_rates(rates, None)
    assert judged.status is Status.FAILED
    assert judged.judgements[0].id == "bench.numerics-wrong"


def test_what_a_product_leaves_out_is_not_taken_for_its_result(small):
    class Lazy(NumpyDevice):
        def multiply_into(self, c, a, b, precision):
            half = len(a) // 2
            super().multiply_into(c[:half], a[:half], b, precision)

    assert math.isnan(measured(Lazy(), Level.QUICK)[0][0].error)


@pytest.mark.parametrize("way", ["copy_into", "send", "fetch"])
def test_a_copy_that_flips_a_bit_or_does_nothing_is_wrong(way, gpu, small, monkeypatch):
    right = getattr(NumpyDevice, way)

    def flipping(self, target, source):
        right(self, target, source)
        target.view("uint8").reshape(-1)[77] ^= 4

    for wrong in (flipping, lambda self, target, source: None):
        monkeypatch.setattr(NumpyDevice, way, wrong)
        rates, _ = measured(AsLarge(gpu.traits._replace(l2_bytes=1024)), Level.QUICK)
        errors = {rate.what: rate.error for rate in rates}
        touched = ("copy",) if way == "copy_into" else ("to device", "to host")
        assert all(errors[what] > 0 for what in touched)
        assert judge_rates(rates, None).status is Status.FAILED


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.TF32, Precision.FP16, Precision.BF16])
def test_expected_products_are_what_float64_gives(precision, gpu):
    size = 70  # not a multiple of the stripes
    made = products.operands(gpu, size, precision, 5)
    a, b = (noise.widened(gpu.to_host(one), precision).astype("float64") for one in (made.a, made.b))
    wanted = products.expected(size, precision, 5)
    numpy.testing.assert_allclose(wanted.stripe, (a @ b)[wanted.rows], rtol=1e-12)
    numpy.testing.assert_allclose(wanted.sums, (a @ b).sum(axis=0), rtol=1e-9, atol=1e-9)
    assert abs(a).min() > 0
    assert a.std() == pytest.approx(1, abs=0.05)
    gpu.multiply_into(made.c, made.a, made.b, precision)
    assert 0 < products.deviation(gpu, made, wanted).error < ERROR_LIMITS[precision.value]


@pytest.mark.parametrize("node", [Conv(8, 8), ShiftConv(8, 8)])
def test_both_paths_of_a_convolution_are_right_and_one_that_is_turned_wrongly_is_seen(node, gpu):
    assert convolution_deviation(NumpyDevice(), node, 8, Precision.FP32, 0).error < ERROR_LIMITS["fp32"] / 3
    assert convolution_deviation(gpu, node, 8, Precision.TF32, 0).error < ERROR_LIMITS["tf32"]

    class TurnedWrongly(type(node)):
        def backward(self, xp, dy, kept):
            return super().backward(xp, dy, kept)[:, ::-1]

    assert convolution_deviation(NumpyDevice(), TurnedWrongly(8, 8), 8, Precision.FP32, 0).error > 0.1


def test_noise_is_the_same_on_the_cpu_and_on_a_device_and_is_repeated(gpu):
    block = noise.noise(3, Precision.FP32)[:1000]
    target = gpu.xp.empty(2500, "float32")
    noise.fill(gpu, target, block, start=400)
    assert numpy.array_equal(gpu.to_host(target), noise.repeated(block, 400, 2500))
    assert gpu.to_host(target)[600] == block[0]


def test_the_work_of_the_net_is_what_its_layers_add_up_to():
    net = workload.vgg_like((64, 128, 256), 256)
    work = workload.training_load(NumpyDevice(), net, Precision.FP32, 1, 0).work
    layers = [(32, 8, 64), (32, 64, 64), (16, 64, 128), (16, 128, 128), (8, 128, 256), (8, 256, 256)]
    forward = [2 * size * size * 9 * inputs * outputs for size, inputs, outputs in layers]
    dense = [2 * 4 * 4 * 256 * 256, 2 * 256 * 10]
    assert work.flops == 3 * sum(forward + dense) - forward[0]
    activations = sum(4 * size * size * outputs for size, _, outputs in layers)
    patches = [4 * size * size * 9 * inputs for size, inputs, _ in layers]
    assert work.held > 3 * activations + max(patches)  # before and after the rectifier, and a gradient
    assert work.moved > 3 * 3 * activations + 2 * 3 * sum(patches)


def test_without_patches_a_convolution_holds_less_and_computes_as_much():
    loads = [
        workload.convolution_load(NumpyDevice(), node, 16, Precision.FP32, 2, 0)
        for node in (Conv(16, 16), ShiftConv(16, 16))
    ]
    patches, shift = (load.work for load in loads)
    assert patches.flops == shift.flops == 3 * 2 * 2 * 32 * 32 * 9 * 16 * 16
    assert shift.held < patches.held / 2
    assert shift.moved < patches.moved
    numpy.testing.assert_allclose(loads[0].run(), loads[1].run(), rtol=1e-4)


def test_the_model_adds_the_time_of_products_and_of_copies():
    assert workload.Work(8, flops=6e12, moved=3e9, held=0).seconds(2e12, 1e9) == 6.0


def test_a_training_that_is_timed_does_not_change_what_it_computes(small):
    load = workload.training_load(NumpyDevice(), workload.vgg_like((8,), 8), Precision.FP32, 4, 0)
    losses = [float(load.run()) for _ in range(20)]
    assert losses[0] == pytest.approx(losses[-1], rel=1e-5)
    assert losses[0] > 0.5


class AsLarge(NumpyDevice):
    """The CPU with the size of a GPU."""

    def __init__(self, traits):
        super().__init__()
        self.traits = traits

    def free_bytes(self):
        return 79 * 2**30


def test_a_batch_that_does_not_fit_is_halved_and_the_rate_tells_the_batch_that_ran(small, gpu, monkeypatch):
    real = throughput.training_load

    def crowded(device, net, precision, batch, seed):
        if batch > 4:
            raise MemoryError("out of memory")
        return real(device, net, precision, batch, seed)

    monkeypatch.setattr(throughput, "training_load", crowded)
    monkeypatch.setattr(throughput, "ON_GPU", SMALL._replace(images=16))
    device = AsLarge(gpu.traits._replace(l2_bytes=1024))
    rates, said = measured(device)
    assert "batch 4," in next(rate.detail for rate in rates if rate.what == "training")
    assert sum("out of memory" in line for line in said) == 2


def test_too_little_memory_for_a_batch_worth_timing_is_said_as_such(small, gpu):
    device = AsLarge(gpu.traits._replace(l2_bytes=1024))
    device.free_bytes = lambda: 600 * 2**20
    rates, said = measured(device)
    assert [rate.what for rate in rates] == ["product", "copy", "to device", "to host"]
    left_out = [line for line in said if line.startswith("left out: ")]
    assert len(left_out) == 3
    assert all("too little for a batch" in line for line in left_out)


def test_a_training_whose_loss_is_no_number_is_a_failure_and_not_a_rate(small, monkeypatch):
    from gpudoctor.bench.devices.device import DoesNotTrain, WithProduct

    class Sick(NumpyDevice):
        def computing_in(self, precision):
            return WithProduct(numpy, lambda a, b: numpy.matmul(a, b) * numpy.float32(math.nan))

    with pytest.raises(DoesNotTrain, match="gave nan"):
        measured(Sick())


def test_products_shrink_with_the_memory_and_copies_exceed_the_cache(gpu, monkeypatch):
    device = AsLarge(gpu.traits._replace(l2_bytes=200 << 20))
    large = SMALL._replace(product=8192, copied=1 << 30, sent=256 << 20)
    monkeypatch.setattr(throughput, "ON_GPU", large)
    assert throughput.sizes_for(device, Level.DEFAULT).product == 8192
    assert throughput.sizes_for(device, Level.DEFAULT).copied == 8 * (200 << 20)
    device.free_bytes = lambda: 1 << 30
    sizes = throughput.sizes_for(device, Level.DEFAULT)
    assert 3 * 4 * sizes.product**2 <= (1 << 30) // 3
    assert sizes.copied <= 1 << 28
