"""From what a child said to the verdict on its device: each phase judged, and what did not run named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gpudoctor.bench.job import LEFT_OUT, End, Event, Job, Level, Phase
from gpudoctor.bench.measures import Burned, Counters, Curve, Rate, Replayed, Sample, Trained, Traits
from gpudoctor.bench.phases.numerics import Numerics
from gpudoctor.bench.result import DeviceResult, Judgement, PhaseResult, Status
from gpudoctor.bench.running.children import Heard
from gpudoctor.bench.running.sampler import summarise
from gpudoctor.bench.verdicts.clocks import judge_clocks
from gpudoctor.bench.verdicts.correctness import judge_burn, judge_numerics, judge_replay, judge_training
from gpudoctor.bench.verdicts.health import judge_health
from gpudoctor.bench.verdicts.rates import judge_rates

# Without these nothing is proved: speed alone does not make a pass.
ESSENTIAL = (Phase.NUMERICS, Phase.TRAINING, Phase.REPLAY)


class Observed(NamedTuple):
    """What was seen of one GPU from outside its child; empty without NVML."""

    samples: Sequence[Sample] = ()
    before: Counters | None = None
    after: Counters | None = None
    failure: str = ""  # why there are none, or fewer than there should be
    seconds: float = 0.0  # between the two counts
    busy: str = ""  # "2 other processes compute on it", "" it was idle


def judge_device(job: Job, heard: Heard, observed: Observed) -> DeviceResult:
    """All phases of one device judged; `conclude_device` sums them up, once nothing more is added."""
    opened = next((event for event in heard.events if event.kind == "opened"), None)
    about: Mapping[str, Any] = opened.data if opened else {}
    device = DeviceResult(about.get("text", ""), job.backend, about.get("home", ""), about.get("traits"))
    device.versions = dict(about.get("versions", {}))
    traits = traits_from(about.get("traits"))
    ends = {event.phase: event for event in heard.events if event.kind == "ended"}
    began = [event.phase for event in heard.events if event.kind == "began"]
    for phase in job.phases:
        ended = ends.get(phase.value)
        if ended is not None:
            judged = _judge_phase(phase, ended, traits, observed)
            _add_what_was_left_out(judged, heard)
            device.phases.append(judged)
        elif began and began[-1] == phase.value and heard.failure and heard.blames_device:
            text = f"It failed in the middle of {phase.value}: {heard.failure}."
            found = Judgement("bench.does-not-train", Status.FAILED, phase.value, text)
            device.phases.append(PhaseResult(phase.value, Status.FAILED, text, [found]))
        else:
            text = f"It did not run: {heard.failure or 'its child said nothing of it'}."
            device.phases.append(PhaseResult(phase.value, Status.SKIPPED, text))
    if observed.before is not None and observed.after is not None:
        device.phases.append(judge_health(observed.before, observed.after, observed.seconds))
    elif job.backend != "numpy" and traits is not None:
        text = f"The counters of the GPU could not be read: {observed.failure or 'NVML gave none'}."
        device.phases.append(PhaseResult("health", Status.SKIPPED, text))
    if observed.samples:
        device.health = summarise(observed.samples, observed.samples[0].at, observed.samples[-1].at)
    return device


def _judge_burn(burned: Burned, traits: Traits | None, observed: Observed) -> PhaseResult:
    """The bits and the heat of a stretch of full load."""
    judged = judge_burn(burned)
    samples = [sample for sample in observed.samples if burned.began <= sample.at <= burned.ended]
    if traits is None:
        return judged
    clocks = judge_clocks(samples, traits, observed.before)
    judged.numbers["clocks"] = clocks.numbers
    judged.judgements += clocks.judgements
    if clocks.judgements and judged.status is Status.PASSED:
        judged.status, judged.reason = Status.WARNED, clocks.judgements[0].text
    elif clocks.words:
        judged.reason = f"{judged.reason} {clocks.words}"
    return judged


def _add_what_was_left_out(judged: PhaseResult, heard: Heard) -> None:
    notes = [event.reason for event in heard.events if event.kind == "note" and event.phase == judged.name]
    left_out = [note.removeprefix(LEFT_OUT) for note in notes if note.startswith(LEFT_OUT)]
    if left_out:
        judged.numbers["left_out"] = left_out
        judged.reason += f" Left out: {'; '.join(left_out)}."


def _judge_phase(phase: Phase, ended: Event, traits: Traits | None, observed: Observed) -> PhaseResult:
    if ended.end == End.FAILED.value:
        found = Judgement("bench.does-not-train", Status.FAILED, phase.value, ended.reason)
        return PhaseResult(phase.value, Status.FAILED, ended.reason, [found])
    if ended.end != End.MEASURED.value or "measured" not in ended.data:
        return PhaseResult(phase.value, Status.SKIPPED, ended.reason or "It did not run.")
    told = ended.data["measured"]
    match phase:
        case Phase.NUMERICS:
            curves = tuple(Curve(**curve) for curve in told["curves"])
            return judge_numerics(Numerics(curves, told["gradient_errors"]))
        case Phase.TRAINING:
            return judge_training(Trained(**told))
        case Phase.REPLAY:
            return judge_replay([Replayed(**replay) for replay in told])
        case Phase.BURN:
            return _judge_burn(Burned(**told), traits, observed)
        case Phase.THROUGHPUT | Phase.BETWEEN_GPUS:
            rates = [Rate(**rate) for rate in told]
            if observed.busy:
                numbers = {"rates": [rate._asdict() for rate in rates]}
                return PhaseResult(phase.value, Status.NOT_MEASURED, f"Busy: {observed.busy}.", [], numbers)
            return judge_rates(rates, traits, observed.samples, observed.before)


def conclude_device(device: DeviceResult, job: Job, heard: Heard) -> None:
    """Put the verdict on the device as a whole into it."""
    opened = next((event for event in heard.events if event.kind == "opened"), None)
    what = "The CPU" if job.backend == "numpy" else "The GPU"
    failed = [one for one in device.judgements if one.status is Status.FAILED]
    if opened is None:
        # It never came as far as the device: with CUDA that is a driver that does not answer.
        device.status = Status.FAILED if heard.blames_device else Status.SKIPPED
        device.reason = f"The device could not be opened: {heard.failure or 'its child said nothing'}."
        return
    if opened.end:
        device.status = Status.FAILED if opened.end == End.FAILED.value else Status.SKIPPED
        device.reason = opened.reason
        return
    if failed:
        device.status, device.reason = Status.FAILED, failed[0].text
        return
    wanted = [phase for phase in ESSENTIAL if phase in job.phases]
    missing = [phase for phase in wanted if (one := device.phase(phase.value)) is None or not _ran(one)]
    if missing or not wanted:
        first = device.phase(missing[0].value) if missing else None
        device.status = Status.SKIPPED
        device.reason = f"{what} was not proved to train: {first.reason if first else 'no phase of it ran.'}"
        return
    training = device.phase(Phase.TRAINING.value)
    trains = training.reason.partition(": ")[2].rstrip(".") if training else "its loss falls"
    device.status, device.reason = Status.PASSED, f"{what} trains: {trains}."
    if device.judgements:
        device.status = Status.WARNED
        device.reason += f" But: {device.judgements[0].text}"
        return
    speed = device.phase(Phase.THROUGHPUT.value)
    if speed is not None and not _ran(speed) and Phase.THROUGHPUT in job.phases:
        device.reason += f" Its speed was not measured: {speed.reason}"
    if job.backend == "numpy":
        device.reason += " That says nothing about a GPU."


def _ran(phase: PhaseResult) -> bool:
    return phase.status in (Status.PASSED, Status.WARNED, Status.FAILED)


def traits_from(told: Mapping[str, Any] | None) -> Traits | None:
    """The traits again, out of JSON."""
    if not told:
        return None
    return Traits(**{**told, "capability": tuple(told["capability"])})


def phases_of(level: Level, backend: str) -> tuple[Phase, ...]:
    """The phases of a run on one device."""
    burn = (Phase.BURN,) if level is Level.BURN and backend != "torch" else ()
    return (*ESSENTIAL, Phase.THROUGHPUT, *burn)
