"""Do replay and checksum find silent faults as often as they should? `benchmarks/faults.py` counts over more runs."""

import math

import numpy
import pytest
from faulty_devices import (
    FaultyDevice,
    exponent_bit,
    high_bit,
    last_part_of_k,
    low_bit,
    not_a_number,
    stuck_bit,
    zero_element,
    zero_tile,
)

from gpudoctor.bench.devices.device import NumpyDevice
from gpudoctor.bench.job import Job, Level, Phase
from gpudoctor.bench.judge import Observed, conclude_device, judge_device
from gpudoctor.bench.measuring.checksum import RESIDUAL_LIMIT, Checked
from gpudoctor.bench.measuring.materials import numerics_materials
from gpudoctor.bench.phases import numerics, replay
from gpudoctor.bench.run import hear_here
from gpudoctor.bench.verdicts.correctness import judge_numerics, judge_replay

JOB = Job("numpy", (Phase.REPLAY,), Level.DEFAULT, 0)
LOAD = replay.Load((4, 8), 16, 10)
RUNS = 12


@pytest.fixture(scope="module")
def products():
    """How many products one training makes."""
    device = FaultyDevice(zero_element, at=-1)
    replay.weights_after(device, device.computing_in(device.precisions[0]), 0, LOAD)
    return device.products


def replays(fault, products, monkeypatch):
    """Replays in which one product of the second, checked training goes wrong."""
    monkeypatch.setattr(replay, "ON_CPU", LOAD)
    targets = numpy.random.default_rng(1).integers(0, products, RUNS)
    for run, target in enumerate(targets):
        device = FaultyDevice(fault, at=products + int(target), seed=run)
        (found,) = replay.measure_replay(device, JOB, lambda line: None)
        assert device.products == 2 * products
        yield found


@pytest.mark.parametrize(
    ("fault", "replay_at_least", "checksum_at_least"),
    [
        (low_bit, 3, 0),
        (high_bit, 11, 8),
        (exponent_bit, 12, 11),
        (zero_element, 11, 11),
        (zero_tile, 12, 12),
        (last_part_of_k, 12, 12),
        (not_a_number, 12, 12),
    ],
)
def test_one_faulty_product_is_found(fault, replay_at_least, checksum_at_least, products, monkeypatch):
    found = list(replays(fault, products, monkeypatch))
    assert sum(one.first != one.second for one in found) >= replay_at_least
    assert sum(not one.residual <= RESIDUAL_LIMIT for one in found) >= checksum_at_least
    for one in found:
        judged = judge_replay([one])
        seen = one.first != one.second or not one.residual <= RESIDUAL_LIMIT
        assert (judged.status.value, bool(judged.judgements)) == (("failed", True) if seen else ("passed", False))


def test_a_permanent_fault_repeats_itself_but_not_under_the_checksum_nor_beside_a_healthy_device(monkeypatch):
    monkeypatch.setattr(replay, "ON_CPU", LOAD)
    (sick,) = replay.measure_replay(FaultyDevice(stuck_bit, at=None), JOB, lambda line: None)
    (healthy,) = replay.measure_replay(NumpyDevice(), JOB, lambda line: None)
    assert sick.first == sick.second
    assert sick.residual > RESIDUAL_LIMIT
    assert sick.first != healthy.first
    assert healthy.first == healthy.second
    assert healthy.residual < RESIDUAL_LIMIT / 3


def test_a_healthy_product_of_any_size_stays_below_the_limit():
    rng = numpy.random.default_rng(3)
    checked = Checked(numpy)
    for rows, inner, columns in ((1, 1, 1), (3, 5000, 2), (2000, 64, 64), (64, 2000, 32)):
        checked.matmul(
            rng.standard_normal((rows, inner)).astype("float32"),
            rng.standard_normal((inner, columns)).astype("float32"),
        )
    checked.matmul(numpy.zeros((4, 4), "float32"), numpy.zeros((4, 4), "float32"))
    assert checked.residual < RESIDUAL_LIMIT / 3


def test_a_nan_in_one_product_is_not_lost_among_later_ones():
    checked = Checked(numpy)
    checked.matmul(numpy.full((2, 2), numpy.nan), numpy.ones((2, 2)))
    checked.matmul(numpy.ones((2, 2)), numpy.ones((2, 2)))
    assert math.isnan(checked.residual)


def test_what_was_never_checked_has_no_residual():
    with pytest.raises(ValueError, match="no product"):
        Checked(numpy).residual  # noqa: B018


@pytest.mark.parametrize("fault", [not_a_number, zero_tile, last_part_of_k, stuck_bit])
def test_a_device_that_is_always_wrong_is_failed_with_the_id_that_explains_it(fault, monkeypatch):
    monkeypatch.setattr(replay, "ON_CPU", LOAD)
    with numpy.errstate(invalid="ignore", over="ignore"):
        heard = hear_here(JOB, FaultyDevice(fault, at=None))
    device = judge_device(JOB, heard, Observed())
    conclude_device(device, JOB, heard)
    assert device.status.value == "failed"
    assert {one.id for one in device.judgements} == {"bench.replay-differs"}


@pytest.mark.parametrize("fault", [not_a_number, zero_tile, last_part_of_k, stuck_bit])
def test_the_curve_of_a_device_that_is_always_wrong_leaves_that_of_float64(fault, monkeypatch):
    whole = numerics_materials(0)
    short = whole._replace(
        images=tuple(one[:8] for one in whole.images[:4]), labels=tuple(one[:8] for one in whole.labels[:4])
    )
    monkeypatch.setattr(numerics, "numerics_materials", lambda seed: short)
    monkeypatch.setattr(numerics, "gradient_errors", lambda xp: {})
    healthy = numerics.measure_numerics(NumpyDevice(), JOB, lambda line: None)
    assert healthy.curves[0].loss_error < 1e-5
    assert healthy.curves[0].gradient_error < 1e-5
    with numpy.errstate(invalid="ignore", over="ignore"):
        measured = numerics.measure_numerics(FaultyDevice(fault, at=None), JOB, lambda line: None)
    judged = judge_numerics(measured)
    assert judged.status.value == "failed"
    assert "bench.numerics-wrong" in {one.id for one in judged.judgements}
