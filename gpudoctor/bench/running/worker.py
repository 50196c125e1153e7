"""A child of the benchmark: opens one device, runs the phases of its job, and prints what it measured.

It measures and judges nothing: a GPU that hangs or a driver that crashes takes this process with it, not the doctor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, NoReturn

from gpudoctor.bench.devices.device import CannotRun, Device, DoesNotTrain, NumpyDevice, in_words
from gpudoctor.bench.job import End, Event, Job, Level, Phase

Emit = Callable[[Event], None]

# Seconds, for the progress bar and for telling a hung device from a slow one: by level on a GPU, where the first run
# also compiles the kernels.
_EXPECTED = {
    Phase.NUMERICS: {Level.QUICK: 3.0, Level.DEFAULT: 8.0, Level.BURN: 8.0},
    Phase.TRAINING: {Level.QUICK: 2.0, Level.DEFAULT: 4.0, Level.BURN: 4.0},
    Phase.REPLAY: {Level.QUICK: 1.0, Level.DEFAULT: 4.0, Level.BURN: 4.0},
    Phase.THROUGHPUT: {Level.QUICK: 7.0, Level.DEFAULT: 38.0, Level.BURN: 38.0},
    Phase.BETWEEN_GPUS: {Level.QUICK: 5.0, Level.DEFAULT: 15.0, Level.BURN: 15.0},
}


def main() -> NoReturn:
    """Read a job from standard input, print its events on standard output, and end the process.

    Exit code 0: the events say everything, also that nothing could be run. 4: this Python cannot run it.
    """
    tell(lambda emit: run_job(Job.from_json(sys.stdin.readline()), emit))


def tell(run: Callable[[Emit], None]) -> NoReturn:
    """Let `run` tell its events on standard output, and end the process."""
    # CUDA's libraries and what they start may print. Their standard output becomes standard error, and the real one
    # is kept on a descriptor that programs started by a library do not inherit.
    kept = os.dup(1)
    os.dup2(2, 1)
    with open(kept, "w", encoding="utf-8") as stream:

        def emit(event: Event) -> None:
            stream.write(event.to_json() + "\n")
            stream.flush()

        run(emit)
    # Not sys.exit: the clean-up that libraries register for the end of a process can hang with a sick driver.
    os._exit(0)


def run_job(job: Job, emit: Emit) -> None:
    """Run all phases of a job, each to exactly one event `ended`, whatever goes wrong."""
    versions: dict[str, str | None] = {}
    try:
        device = open_device(job.backend, versions)
    except (CannotRun, DoesNotTrain, MemoryError) as why:
        refused = ended_by(why, "")
        emit(Event("opened", end=refused.end, reason=refused.reason, data={"versions": versions}))
        for phase in job.phases:
            emit(ended_by(why, phase.value))
        emit(Event("finished"))
        return
    run_on(device, versions, job, emit)


def run_on(device: Device, versions: dict[str, str | None], job: Job, emit: Emit) -> None:
    """The same on a device that is open."""
    about = {"text": device.text, "home": device.home, "traits": plain(device.traits)}
    about["versions"] = {**versions, **device.versions()}
    emit(Event("opened", data=about))
    lost = ""
    for phase in job.phases:
        if lost:
            emit(Event("ended", phase.value, End.SKIPPED.value, f"Not run: {lost}"))
            continue
        emit(Event("began", phase.value, seconds=expected_seconds(phase, job)))
        ended = run_phase(device, phase, job, partial(_note, emit, phase))
        if ended.end == End.FAILED.value and ended.data.get("lost"):
            lost = "the device failed before."
        emit(ended)
        if not lost:
            device.release()
    emit(Event("finished"))


def run_phase(device: Device, phase: Phase, job: Job, say: Callable[[str], None]) -> Event:
    """The event with which a phase ended. Only a fault of our own is let through."""
    try:
        return Event(
            "ended", phase.value, End.MEASURED.value, data={"measured": plain(_measure(phase)(device, job, say))}
        )
    except (CannotRun, DoesNotTrain, MemoryError) as why:
        return ended_by(why, phase.value)
    except device.errors as why:
        return ended_by(why, phase.value)


def ended_by(why: Exception, phase: str) -> Event:
    """The event with which a phase ended that raised this: one of ours, a full memory, or an error of the device."""
    match why:
        case CannotRun():
            return Event("ended", phase, End.SKIPPED.value, str(why))
        case DoesNotTrain():
            return Event("ended", phase, End.FAILED.value, str(why))
        case MemoryError():
            return Event("ended", phase, End.SKIPPED.value, f"Not enough memory is free: {in_words(why)}")
    reason = f"The device failed in the middle of the run: {in_words(why)}"
    # What CUDA reports as a failed launch or a lost GPU stays with the process: nothing after it would count.
    return Event("ended", phase, End.FAILED.value, reason, data={"lost": True})


def open_device(backend: str, versions: dict[str, str | None]) -> Device:
    """The device of a backend; the versions of what it computes with are put into `versions` as soon as they are known.

    Raises CannotRun when there is nothing to run on, DoesNotTrain when the first product was wrong.
    """
    if backend == "numpy":
        return NumpyDevice()
    from gpudoctor.bench.devices.cupy_device import (  # here: only its child needs CuPy
        cupy_versions,
        import_cupy,
        open_cupy,
    )

    cupy = import_cupy()
    versions.update(cupy_versions(cupy))
    return open_cupy(cupy)


def expected_seconds(phase: Phase, job: Job) -> float:
    """About how long a phase takes."""
    if phase is Phase.BURN:
        return job.burn_seconds
    return _EXPECTED[phase][job.level] if job.backend != "numpy" else 3.0


def _measure(phase: Phase) -> Callable[[Device, Job, Callable[[str], None]], Any]:
    # Imported one by one: a phase that is not wanted costs nothing.
    match phase:
        case Phase.NUMERICS:
            from gpudoctor.bench.phases.numerics import measure_numerics

            return measure_numerics
        case Phase.TRAINING:
            from gpudoctor.bench.phases.training import measure_training

            return measure_training
        case Phase.REPLAY:
            from gpudoctor.bench.phases.replay import measure_replay

            return measure_replay
        case Phase.THROUGHPUT:
            from gpudoctor.bench.phases.throughput import measure_throughput

            return measure_throughput
        case Phase.BURN:
            from gpudoctor.bench.phases.burn import measure_burn

            return measure_burn
        case Phase.BETWEEN_GPUS:
            from gpudoctor.bench.phases.between_gpus import measure_between_gpus

            return measure_between_gpus


def plain(value: Any) -> Any:
    """The same as JSON can say it: a named tuple as an object, an enum as its value."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return value


def _note(emit: Emit, phase: Phase, text: str) -> None:
    emit(Event("note", phase.value, reason=text))
