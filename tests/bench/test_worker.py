"""A child's work: every phase ends in exactly one event, whatever the device does meanwhile."""

import json

import numpy
import pytest

from gpudoctor.bench.devices.device import NumpyDevice
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.job import LEFT_OUT, End, Event, Job, Level, Phase
from gpudoctor.bench.measures import Curve, Rate
from gpudoctor.bench.phases import numerics, replay, training
from gpudoctor.bench.running.worker import plain, run_job, run_on

PHASES = (Phase.NUMERICS, Phase.TRAINING, Phase.REPLAY, Phase.THROUGHPUT)
SMALL = replay.Load((4, 8), 8, 4)


def job(*phases, backend="cupy", **changes):
    return Job(backend, phases or PHASES, Level.QUICK, 0, **changes)


def events_of(given, device=None):
    said = []
    if device is None:
        run_job(given, said.append)
    else:
        run_on(device, {}, given, said.append)
    assert [Event.from_json(event.to_json()) for event in said] == said
    assert said[-1].kind == "finished"
    ended = [event.phase for event in said if event.kind == "ended"]
    assert ended == [phase.value for phase in given.phases]
    return said


def ends(said):
    return {event.phase: event for event in said if event.kind == "ended"}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(replay, "ON_CPU", SMALL)
    monkeypatch.setattr(replay, "ON_GPU", SMALL)


def test_nothing_to_run_on_ends_every_phase_with_the_reason(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cupy", None)
    said = events_of(job())
    assert said[0].kind == "opened"
    assert said[0].end == End.SKIPPED.value
    assert "gpudoctor[cuda13]" in said[0].reason
    assert {event.end for event in ends(said).values()} == {End.SKIPPED.value}


def test_a_gpu_that_multiplies_wrongly_is_failed_before_anything_runs(install_cupy):
    install_cupy(wrong=True)
    said = events_of(job())
    assert said[0].end == End.FAILED.value
    assert "computes wrongly" in said[0].reason
    assert said[0].data["versions"]["cupy"] == "14.2.0"


def test_a_gpu_replays_and_tells_what_it_is(install_cupy):
    install_cupy()
    said = events_of(job(Phase.REPLAY))
    assert said[0].data["traits"]["name"] == "Test GPU"
    measured = ends(said)["replay"].data["measured"]
    assert [one["precision"] for one in measured] == ["fp32", "tf32", "fp16", "bf16"]
    assert all(one["first"] == one["second"] for one in measured)
    assert measured[0]["residual"] < 1e-6
    assert measured[0]["first"] != measured[1]["first"]
    json.dumps(said[0].data)


def test_a_device_lost_in_a_phase_fails_it_and_leaves_the_later_ones_undone(install_cupy):
    gpu = install_cupy(dies_at=40)
    said = events_of(job(Phase.REPLAY, Phase.TRAINING))
    assert gpu.products == 40
    assert ends(said)["replay"].end == End.FAILED.value
    assert "cudaErrorLaunchFailure" in ends(said)["replay"].reason
    assert ends(said)["training"].end == End.SKIPPED.value
    assert "Not run" in ends(said)["training"].reason


def test_no_memory_for_one_phase_skips_it_and_the_next_one_runs(monkeypatch):
    def full(device, job, say):
        raise MemoryError("Unable to allocate 80 GiB")

    monkeypatch.setattr(training, "measure_training", full)
    said = ends(events_of(job(Phase.TRAINING, Phase.REPLAY, backend="numpy")))
    assert said["training"].end == End.SKIPPED.value
    assert "Unable to allocate" in said["training"].reason
    assert said["replay"].end == End.MEASURED.value


def test_an_array_on_the_cpu_is_a_failure_of_the_gpu(install_cupy):
    install_cupy(falls_back=("exp",))
    said = ends(events_of(job(Phase.TRAINING)))
    assert said["training"].end == End.FAILED.value
    assert "fell back to the CPU" in said["training"].reason


def test_a_precision_that_cannot_be_had_is_left_out_by_name(monkeypatch):
    monkeypatch.setattr(numerics, "gradient_errors", lambda xp: {})
    monkeypatch.setattr(NumpyDevice, "precisions", (Precision.FP32, Precision.BF16))
    whole = numerics.numerics_materials(0)
    monkeypatch.setattr(
        numerics, "numerics_materials", lambda seed: whole._replace(images=whole.images[:2], labels=whole.labels[:2])
    )
    said = events_of(job(Phase.NUMERICS), NumpyDevice())
    notes = [event.reason for event in said if event.kind == "note"]
    assert any(note.startswith(f"{LEFT_OUT}bf16") for note in notes)
    assert [curve["precision"] for curve in ends(said)["numerics"].data["measured"]["curves"]] == ["fp32"]


def test_named_tuples_become_objects_and_their_numbers_stay():
    rate = Rate("copy", "", "1 GiB", "GB/s", 3.0, 4.0, 0.1, 1.0, 2.0)
    assert plain([rate, Precision.FP16, (1, 2)]) == [rate._asdict(), "fp16", [1, 2]]
    curve = Curve("fp32", (1.0, float("nan")), (1.0, 1.0), float("nan"), 0.0)
    again = Curve(**json.loads(json.dumps(plain(curve))))
    assert numpy.isnan(again.losses[1])
    assert numpy.isnan(again.loss_error)


@pytest.mark.parametrize("text", ["", "{}", '{"backend": "cupy"}', "[]"])
def test_a_text_that_is_no_job_raises(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Job.from_json(text)
