"""The burn phase: it compares every bit, and what goes wrong under load is counted."""

import math

import numpy
import pytest

from gpudoctor.bench.devices.cupy_device import import_cupy, open_cupy
from gpudoctor.bench.devices.device import CannotRun, NumpyDevice, WithProduct
from gpudoctor.bench.job import Job, Level, Phase
from gpudoctor.bench.phases import burn, replay
from gpudoctor.bench.result import Status
from gpudoctor.bench.verdicts.correctness import judge_burn

WORDS = 64 * 64  # of one product


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(burn, "ON_CPU", burn.Size(64, 10 * 4 * WORDS))
    monkeypatch.setattr(burn, "ON_GPU", burn.Size(64, 10 * 4 * WORDS))
    for name in ("ON_CPU", "ON_GPU"):
        monkeypatch.setattr(replay, name, replay.Load((2, 4), 4, 2))


def burned(device, seconds=0.0, **kwargs):
    said = []
    job = Job("numpy", (Phase.BURN,), Level.BURN, 0, burn_seconds=seconds, **kwargs)
    return burn.measure_burn(device, job, said.append), said


def test_a_healthy_device_gives_the_same_bits_for_as_long_as_it_is_asked_to():
    result, _ = burned(NumpyDevice(), 0.1)
    assert (result.mismatches, result.wrong_hashes) == (0, 0)
    assert result.memory_bytes == 10 * 4 * WORDS
    assert 0.1 <= result.seconds < 5
    assert result.rounds > 10
    assert result.hashes >= 1
    assert 0 < result.worst_residual < 1e-6
    assert result.tflops > 0
    assert judge_burn(result).status is Status.PASSED


def test_no_time_at_all_still_compares_something():
    result, _ = burned(NumpyDevice(), 0.0)
    assert result.rounds >= 2
    assert result.hashes == 1


def test_a_gpu_is_loaded_in_every_precision_in_turn(install_cupy):
    install_cupy()
    used = []
    device = open_cupy(import_cupy())
    right = device.multiply_into
    device.multiply_into = lambda c, a, b, precision: (used.append(precision), right(c, a, b, precision))
    result, _ = burned(device, 0.3)
    assert set(used[len(device.precisions) * 3 :]) == set(device.precisions)
    assert (result.mismatches, result.wrong_hashes) == (0, 0)
    assert judge_burn(result).status is Status.PASSED


class Sick(NumpyDevice):
    """`spoil(number, c)` after each product that is made into memory."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil, self.products = spoil, 0

    def multiply_into(self, c, a, b, precision):
        super().multiply_into(c, a, b, precision)
        self.products += 1
        self.spoil(self.products, c)


def one_number(value, *, from_product):
    def spoil(number, c):
        if number >= from_product:
            c[3, 5] = c[3, 5] + 1 if value is None else value

    return spoil


@pytest.mark.parametrize("value", [None, math.nan, 0.0, math.inf])
@pytest.mark.parametrize("from_product", [1, 6])
def test_one_wrong_number_in_the_products_is_counted_whether_from_the_first_or_later(value, from_product):
    result, _ = burned(Sick(one_number(value, from_product=from_product)))
    assert result.mismatches >= 1
    assert judge_burn(result).status is Status.FAILED


def test_a_single_low_bit_once_is_one_mismatch():
    def spoil(number, c):
        if number == 7:
            c.view("uint32")[1, 2] ^= 1

    assert burned(Sick(spoil))[0].mismatches == 1


def test_memory_that_loses_a_bit_while_it_waits_is_seen():
    stored = []

    def spoil(number, c):
        stored.append(c)
        if number == 12:  # long after it was written, before it is compared
            stored[8].view("uint32")[0, 0] ^= 1 << 30

    assert burned(Sick(spoil))[0].mismatches == 1


def test_a_product_that_is_left_out_is_not_taken_for_the_one_of_the_round_before():
    class Lazy(NumpyDevice):
        products = 0

        def multiply_into(self, c, a, b, precision):
            self.products += 1
            if self.products <= 14:
                super().multiply_into(c, a, b, precision)

    assert burned(Lazy(), 0.2)[0].mismatches >= WORDS


class Forgetful(NumpyDevice):
    """Products of nets go wrong from one of them on."""

    def __init__(self, at, value):
        super().__init__()
        self.at, self.value, self.products = at, value, 0

    def computing_in(self, precision):
        def product(a, b):
            c = numpy.matmul(a, b)
            self.products += 1
            if self.products == self.at:
                c[0, 0] += self.value
            return c

        return WithProduct(numpy, product)


def test_a_training_that_ends_in_other_bits_and_a_product_against_its_sums_are_both_told():
    healthy = Forgetful(0, 0)
    assert burned(healthy)[0].wrong_hashes == 0
    result, _ = burned(Forgetful(healthy.products // 2 + 1, 0.5))  # the first of the second training
    assert result.wrong_hashes == result.hashes == 1
    assert result.worst_residual > 1e-6
    assert len(judge_burn(result).judgements) == 2


def test_hashes_are_compared_again_and_again(monkeypatch):
    monkeypatch.setattr(burn, "BETWEEN_HASHES", 0.02)
    result, said = burned(NumpyDevice(), 0.2)
    assert result.hashes > 2
    assert any("all the same to the bit" in line for line in said)


def test_out_of_memory_fills_half_of_it_and_says_so():
    class Tight(NumpyDevice):
        """Shares numpy but for `empty`, which has room for three products at a time."""

        def __init__(self):
            super().__init__()
            self.xp = WithProduct(numpy, numpy.matmul)
            self.xp.empty = self.empty

        def empty(self, shape, dtype="float64"):
            if dtype == "uint32" and shape > 3 * WORDS:
                raise MemoryError("out of memory")
            return numpy.empty(shape, dtype)

    result, said = burned(Tight())
    assert result.memory_bytes == 2 * 4 * WORDS
    assert [line for line in said if "out of memory" in line] == [
        "out of memory with 10 products in memory: trying 5",
        "out of memory with 5 products in memory: trying 2",
    ]


def test_nine_tenths_of_the_free_memory_are_filled_on_a_gpu(monkeypatch, install_cupy):
    install_cupy()
    device = open_cupy(import_cupy())
    monkeypatch.setattr(burn, "ON_GPU", burn.Size(64, None))
    device.free_bytes = lambda: 100 * 4 * WORDS
    result, _ = burned(device, 0.0)
    assert result.memory_bytes == 90 * 4 * WORDS


def test_the_memory_of_somebody_elses_gpu_is_not_filled():
    with pytest.raises(CannotRun, match="Somebody else"):
        burned(NumpyDevice(), busy=True)


def test_a_device_that_is_lost_in_the_middle_says_so_itself(install_cupy, errors_like_cupy):
    install_cupy()
    device = open_cupy(import_cupy())
    right, made = device.multiply_into, []

    def lost(c, a, b, precision):
        made.append(c)
        if len(made) == 30:
            raise errors_like_cupy.CUDARuntimeError("cudaErrorLaunchFailure: unspecified launch failure")
        right(c, a, b, precision)

    device.multiply_into = lost
    with pytest.raises(device.errors, match="LaunchFailure"):
        burned(device, 60.0)
