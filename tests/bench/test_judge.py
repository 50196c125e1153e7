"""From a child's words to a verdict: NaN never passes, and what did not run is never green."""

import math

import pytest

from gpudoctor.bench.job import End, Event, Job, Level, Phase
from gpudoctor.bench.judge import ESSENTIAL, Observed, conclude_device, judge_device
from gpudoctor.bench.measures import Burned, Counters, Curve, Rate, Replayed, Sample, Trained, Traits
from gpudoctor.bench.phases.numerics import Numerics
from gpudoctor.bench.result import Status
from gpudoctor.bench.running.children import Heard
from gpudoctor.bench.running.worker import plain
from gpudoctor.bench.verdicts.correctness import judge_burn, judge_numerics, judge_replay, judge_training

H100 = Traits("NVIDIA H100 80GB HBM3", "GPU-1", "0000:07:00.0", (9, 0), 132, 50 << 20, 80 << 30, 1980000, 2619000, 5120)
LOSSES = tuple(2.3 - 0.04 * step for step in range(30))
CURVE = Curve("fp32", LOSSES, LOSSES, 1e-7, 2e-7)
NUMERICS = Numerics((CURVE,), {"Conv": 1e-9})
TRAINED = Trained(1437, 360, 2.5, 0.1, (0.4, 0.1), (0.9, 0.98), 50000.0)
REPLAYED = Replayed("fp32", 20, "ab" * 32, "ab" * 32, 1e-7)
BURNED = Burned(600.0, 70 << 30, 400, 0, 60, 0, 2e-7, 45.0)
RATES = [
    Rate("product", "fp32", "8192", "TFLOPS", 50.0, 51.0, 0.01, 1.0, 2.0, 1e-6),
    Rate("copy", "", "1 GiB", "GB/s", 2900.0, 2950.0, 0.01, 2.0, 3.0, 0.0),
]
MEASURED = {
    Phase.NUMERICS: NUMERICS,
    Phase.TRAINING: TRAINED,
    Phase.REPLAY: [REPLAYED],
    Phase.THROUGHPUT: RATES,
}
JOB = Job("cupy", (*ESSENTIAL, Phase.THROUGHPUT), Level.DEFAULT, 0)
OPENED = Event("opened", data={"text": "NVIDIA H100 (GPU 0)", "home": "GPU 0", "traits": plain(H100), "versions": {}})


def ended(phase, measured=None):
    return Event("ended", phase.value, End.MEASURED.value, data={"measured": plain(measured or MEASURED[phase])})


def told(*left_out, instead=(), failure="", blames_device=False):
    """A child that measured everything but some phases."""
    events = [OPENED, *(ended(phase) for phase in JOB.phases if phase not in left_out), *instead]
    return Heard((*events, *([] if failure else [Event("finished")])), failure, "", "", blames_device)


def judged(heard, observed=Observed(), job=JOB):  # noqa: B008
    device = judge_device(job, heard, observed)
    conclude_device(device, job, heard)
    return device


def test_everything_in_order_passes():
    device = judged(told())
    assert device.status is Status.PASSED
    assert device.reason == "The GPU trains: it reads 98.0% of digits it never saw, after 2 epochs."
    assert device.traits["sm_count"] == 132


@pytest.mark.parametrize("phase", ESSENTIAL)
def test_a_phase_that_nobody_heard_of_is_no_pass(phase):
    device = judged(told(phase))
    assert device.status is Status.SKIPPED
    assert phase.value in [one.name for one in device.phases if one.status is Status.SKIPPED]
    assert "not proved to train" in device.reason


@pytest.mark.parametrize("phase", ESSENTIAL)
def test_a_phase_without_numbers_is_no_pass(phase):
    empty = Event("ended", phase.value, End.MEASURED.value)
    assert judged(told(phase, instead=[empty])).status is Status.SKIPPED


def test_nothing_replayed_and_no_curve_compared_are_no_pass():
    none = Event("ended", "replay", End.MEASURED.value, data={"measured": []})
    assert judged(told(Phase.REPLAY, instead=[none])).status is Status.SKIPPED
    assert judge_numerics(Numerics((), {})).status is Status.SKIPPED


def test_a_child_that_crashed_in_a_phase_fails_the_gpu_and_one_that_was_killed_does_not():
    began = Event("began", "replay")
    crashed = told(Phase.REPLAY, instead=[began], failure="it was ended by signal SIGSEGV", blames_device=True)
    device = judged(crashed)
    assert device.status is Status.FAILED
    assert "SIGSEGV" in device.reason
    assert device.judgements[0].id == "bench.does-not-train"
    killed = told(Phase.REPLAY, instead=[began], failure="it was ended by signal SIGKILL: memory ran out")
    assert judged(killed).status is Status.SKIPPED


def test_a_child_that_never_opened_its_gpu():
    assert judged(Heard((), "it hung while it was starting", "", "", True)).status is Status.FAILED
    assert judged(Heard((), "it ended with exit code 4", "")).status is Status.SKIPPED
    assert judged(Heard((), "", "")).status is Status.SKIPPED


def test_a_busy_gpu_trains_and_its_speed_is_not_measured():
    slow = [RATES[0]._replace(median=1.0)]
    heard = told(Phase.THROUGHPUT, instead=[ended(Phase.THROUGHPUT, slow)])
    device = judged(heard, Observed(busy="2 other processes compute on it"))
    assert device.phase("throughput").status is Status.NOT_MEASURED
    assert device.status is Status.PASSED
    assert "not measured: Busy: 2 other processes compute on it." in device.reason
    assert judged(heard).status is not Status.PASSED  # the same numbers on an idle one


def test_new_memory_errors_fail_a_run_that_otherwise_passed():
    before, after = Counters("GPU-1", ecc_uncorrected=0), Counters("GPU-1", ecc_uncorrected=1)
    device = judged(told(), Observed(before=before, after=after, seconds=60))
    assert device.status is Status.FAILED
    assert device.judgements[0].id == "bench.faults-counted"


def test_what_was_left_out_is_said_with_its_phase():
    note = Event("note", "throughput", reason="left out: training in fp16: not enough memory is free")
    device = judged(told(instead=[note]))
    assert "Left out: training in fp16" in device.phase("throughput").reason


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("field", ["loss_error", "gradient_error"])
def test_a_curve_with_a_number_that_is_none_fails(field, broken):
    result = judge_numerics(Numerics((CURVE._replace(**{field: broken}),), {}))
    assert result.status is Status.FAILED
    assert result.judgements[0].id == "bench.numerics-wrong"


def test_limits_are_those_of_the_precision():
    for precision, fine, wrong in (("fp32", 9e-6, 2e-5), ("tf32", 1.9e-2, 3e-2), ("fp16", 4e-3, 6e-3)):
        curve = CURVE._replace(precision=precision, loss_error=fine, gradient_error=fine)
        assert judge_numerics(Numerics((curve,), {})).status is Status.PASSED
        assert judge_numerics(Numerics((curve._replace(loss_error=wrong),), {})).status is Status.FAILED
        assert judge_numerics(Numerics((curve._replace(gradient_error=wrong),), {})).status is Status.FAILED
    curve = CURVE._replace(precision="bf16", loss_error=1.9e-2, gradient_error=4e-2)
    assert judge_numerics(Numerics((curve,), {})).status is Status.PASSED


@pytest.mark.parametrize("losses", [(2.3,) * 30, (), LOSSES[:10], (*LOSSES[:-1], math.nan)])
def test_a_loss_that_does_not_fall_does_not_train(losses):
    assert judge_numerics(Numerics((CURVE._replace(losses=losses),), {})).status is Status.FAILED


@pytest.mark.parametrize("error", [2e-5, math.nan, math.inf])
def test_a_wrong_gradient_is_named(error):
    result = judge_numerics(Numerics((CURVE,), {"Conv": 1e-9, "MaxPool": error}))
    assert result.status is Status.FAILED
    assert "MaxPool" in result.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracies": (0.9, 0.969)},
        {"accuracies": (0.9, math.nan)},
        {"losses": (0.4, 1.3)},
        {"losses": (0.4, math.nan)},
        {"losses": (), "accuracies": ()},
    ],
)
def test_a_net_that_did_not_learn_fails(changes):
    result = judge_training(TRAINED._replace(**changes))
    assert result.status is Status.FAILED
    assert "does not learn" in result.reason


@pytest.mark.parametrize("changes", [{"second": "cd" * 32}, {"residual": 2e-6}, {"residual": math.nan}])
def test_other_bits_or_a_product_off_its_sums_fail(changes):
    result = judge_replay([REPLAYED._replace(**changes)])
    assert result.status is Status.FAILED
    assert result.judgements[0].id == "bench.replay-differs"


def test_a_precision_without_checksum_is_judged_by_its_bits():
    assert judge_replay([REPLAYED._replace(residual=None)]).status is Status.PASSED


@pytest.mark.parametrize("changes", [{"mismatches": 1}, {"wrong_hashes": 1}, {"worst_residual": math.nan}])
def test_one_wrong_bit_under_load_fails(changes):
    assert judge_burn(BURNED).status is Status.PASSED
    assert judge_burn(BURNED._replace(**changes)).status is Status.FAILED


def test_heat_under_load_is_a_warning_where_the_bits_are_right():
    burn = Job("cupy", (*ESSENTIAL, Phase.BURN), Level.BURN, 0, 600.0)
    samples = [Sample(float(at), "GPU-1", 1200, 2619, 500.0, 92, 100, 0x40) for at in range(100)]
    heard = told(Phase.THROUGHPUT, instead=[ended(Phase.BURN, BURNED._replace(began=0.0, ended=100.0))])
    device = judged(heard, Observed(samples), burn)
    assert device.status is Status.WARNED
    assert device.judgements[0].id == "bench.clocks-throttled"
    cool = [sample._replace(sm_mhz=1900, reasons=0) for sample in samples]
    assert judged(heard, Observed(cool), burn).status is Status.PASSED


@pytest.mark.parametrize("changes", [{"rounds": 0}, {"hashes": 0}])
def test_a_burn_that_compared_nothing_is_no_pass(changes):
    assert judge_burn(BURNED._replace(**changes)).status is Status.SKIPPED
