"""Runs the children of a benchmark, one a GPU, side by side: hears their events, and ends what hangs.

A child that hangs, crashes or talks rubbish costs its own result and no other's.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import NamedTuple, NoReturn

from gpudoctor.bench.job import Event, Job
from gpudoctor.bench.measures import Sample
from gpudoctor.bench.running.deaths import death, oom_kills
from gpudoctor.bench.running.lines import Speaker, end_all, listen, listen_to_the_end, start_speaker
from gpudoctor.bench.running.sampler import Sampler
from gpudoctor.children import OUTPUT_LIMIT, Account, own_python

QUIET = 60.0  # seconds without an event, after which a child counts as hung
SLOWNESS = 5.0  # ... or so many times what the phase was said to take, whichever is longer
TICK = 0.1  # seconds between two looks at everything
LEAVE_TAKING = 5.0  # seconds from "finished" to the end of the process, before it is killed
_TRACEBACK = 0.3  # seconds for a hung child to write where it hangs

_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)

# SIGUSR1 makes a worker write on standard error where in the code it is; so does a crash.
_WORKER = (
    "import faulthandler, signal; faulthandler.enable(); faulthandler.register(signal.SIGUSR1); "
    "from gpudoctor.bench.running.worker import main; main()"
)


class Worker(NamedTuple):
    """A child that is to be started."""

    name: str  # of the result, and for a person: "GPU 0"
    argv: Sequence[str]
    environment: Mapping[str, str]
    job: Job
    seconds: float  # it is ended after this time, whatever it does
    uuid: str = ""  # of the samples to show with it
    plan: tuple[tuple[str, float], ...] = ()  # its phases and about how many seconds each takes, for the progress
    account: Account | None = None  # in whose name it runs
    first: Callable[[], None] | None = None  # what it does before it becomes the command


class Heard(NamedTuple):
    """What a child said, and how it ended.

    `failure` is "" when it said all that it had to say, up to `finished`; else a sentence without a full stop. `note`
    is what was odd about its end when it had said everything. `blames_device`: it hung or crashed, as programs do on a
    sick GPU; what was killed, could not be started or gave up by itself says nothing of the device.
    """

    events: tuple[Event, ...]
    failure: str
    stderr_tail: str
    note: str = ""
    blames_device: bool = False

    @property
    def unfinished(self) -> str:
        """The phase in which it was when it failed, "" between two."""
        return _phase_of(self.events)


class Moment(NamedTuple):
    """Where one child stands."""

    name: str
    phase: str  # "" before the first and between two
    fraction: float  # of the whole job, 0 to 1, as far as it can be told
    notes: tuple[str, ...]  # all so far
    sample: Sample | None
    over: bool  # nothing more will come
    failure: str = ""


def worker_argv() -> list[str]:
    """The command of the child that computes with CuPy or NumPy in this Python (`gpudoctor.bench.running.worker`)."""
    return own_python(_WORKER)


def gpu_environment(uuid: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables (`given`, or our own) of a child that sees this GPU or MIG instance and no other.

    The workspace makes cuBLAS give the same bits each time (cuBLAS, "Results reproducibility"). NVIDIA_TF32_OVERRIDE is
    left out: it would turn products in float32 into TF32, or these into those, behind our back.
    """
    variables = os.environ if given is None else given
    return {
        **{name: value for name, value in variables.items() if name != "NVIDIA_TF32_OVERRIDE"},
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": uuid,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def run_children(
    workers: Sequence[Worker],
    *,
    watch: Callable[[tuple[Moment, ...]], None] = lambda moments: None,
    sampler: Sampler | None = None,
    quiet: float = QUIET,
) -> dict[str, Heard]:
    """Run all workers at once until the last has ended, and tell `watch` about ten times a second where they stand.

    By the workers' names: what each said. A sampler is read meanwhile. `quiet`: see QUIET. When this is left by an
    exception - Ctrl-C, or SIGTERM and SIGHUP, which become SystemExit here - no child is left behind.
    """
    running = [_Run(worker) for worker in workers]
    with _ended_by_signals():
        try:
            for run in running:
                _start(run)
            while any(run.heard is None for run in running):
                listen([*_speakers(running), *([sampler.speaker] if sampler and sampler.speaker else [])], TICK)
                if sampler:
                    sampler.take_in()
                for run in running:
                    _attend(run, quiet)
                watch(tuple(_moment(run, sampler) for run in running))
        finally:
            end_all([run.speaker for run in running if run.speaker and run.heard is None])
    return {run.worker.name: run.heard for run in running if run.heard}


@dataclass
class _Run:
    """A worker under way."""

    worker: Worker
    speaker: Speaker | None = None
    events: list[Event] = field(default_factory=list)
    event_at: float = 0.0  # time.monotonic() of the last event
    began_at: float = 0.0  # ... and of the phase's first
    oom_kills: int | None = None  # of the machine, before it was started
    heard: Heard | None = None  # at its end

    @property
    def finished(self) -> bool:
        return bool(self.events) and self.events[-1].kind == "finished"


def _start(run: _Run) -> None:
    worker = run.worker
    run.oom_kills = oom_kills()
    try:
        run.speaker = start_speaker(
            worker.argv,
            worker.environment,
            given=worker.job.to_json() + "\n",
            account=worker.account,
            first=worker.first,
        )
    except OSError as error:
        run.heard = Heard((), f"{worker.argv[0]} cannot be started: {error.strerror}", "")
    run.event_at = time.monotonic()


def _speakers(running: Sequence[_Run]) -> list[Speaker]:
    return [run.speaker for run in running if run.speaker and run.heard is None]


def _attend(run: _Run, quiet: float) -> None:
    """Take in what one worker said; settle it if it is over, or should be."""
    speaker = run.speaker
    if speaker is None or run.heard is not None:
        return
    ended = speaker.ended
    if ended:
        listen_to_the_end(speaker)
    rubbish = _hear(run, speaker)
    if rubbish:
        _settle(run, speaker, rubbish)
    elif ended:
        _settle(run, speaker, "")
    elif run.finished:
        if time.monotonic() - run.event_at > LEAVE_TAKING:
            _settle(run, speaker, "")
    else:
        _settle_if_late(run, speaker, quiet)


def _hear(run: _Run, speaker: Speaker) -> str:
    """New events. What is wrong with what was said, "" nothing."""
    for line in speaker.take_lines():
        if run.finished:
            return ""  # nothing counts after the last word
        try:
            run.events.append(Event.from_json(line))
        except ValueError:
            return f"it said what is no event of a benchmark: {line[:80]!r}"
        run.event_at = time.monotonic()
        if run.events[-1].kind == "began":
            run.began_at = run.event_at
    return f"it printed more than {OUTPUT_LIMIT >> 20} MiB" if speaker.flooded else ""


def _settle_if_late(run: _Run, speaker: Speaker, quiet: float) -> None:
    now = time.monotonic()
    phase = _phase_of(run.events)
    where = f"in {phase}" if phase else "between two phases" if run.events else "while it was starting"
    announced = next((event.seconds for event in reversed(run.events) if event.kind == "began"), 0.0) if phase else 0.0
    patience = max(quiet, SLOWNESS * announced)
    if now - speaker.child.started > run.worker.seconds:
        reason = f"it was ended {where}: the whole run may take {run.worker.seconds:.0f} s"
    elif now - run.event_at > patience:
        reason = f"it hung {where}: nothing was heard for {patience:.0f} s"
    else:
        return
    _ask_where(speaker)
    _settle(run, speaker, reason, late=True)


def _ask_where(speaker: Speaker) -> None:
    """Let a hung worker write its traceback on standard error; a program that does not know the signal dies of it."""
    with suppress(ProcessLookupError, PermissionError):
        speaker.child.process.send_signal(signal.SIGUSR1)
    until = time.monotonic() + _TRACEBACK
    while time.monotonic() < until and not speaker.ended:
        listen([speaker], TICK / 2)


def _settle(run: _Run, speaker: Speaker, reason: str, *, late: bool = False) -> None:
    """End a worker; `reason`: why it was not let go on, "" if it ended by itself or had said everything."""
    alive = not speaker.ended
    (code,) = end_all([speaker])
    stuck = "stuck in the kernel: it cannot be killed" if code is None else ""
    failure, note = reason, ""
    if run.finished and not reason:
        if alive:
            note = stuck or f"it had not ended {LEAVE_TAKING:.0f} s after its last word, and was killed"
        elif code:
            note = f"after its last word it ended badly: {death(code, run.oom_kills, oom_kills())}"
    elif not reason:
        failure = death(code or 0, run.oom_kills, oom_kills())
        last = speaker.last_words.splitlines()[-1:]
        failure += f": {last[0][:200]}" if last and code and code > 0 else ""
    elif stuck:
        failure = f"{reason}, and it is {stuck}"
    crashed = not reason and code is not None and -code in _CRASHES
    run.heard = Heard(tuple(run.events), failure, speaker.last_words, note, bool(failure) and (late or crashed))


def _phase_of(events: Sequence[Event]) -> str:
    """The phase that has begun and not ended."""
    for event in events[::-1]:
        if event.kind == "ended":
            return ""
        if event.kind == "began":
            return event.phase
    return ""


def _moment(run: _Run, sampler: Sampler | None) -> Moment:
    phase = "" if run.heard else _phase_of(run.events)
    notes = tuple(event.reason for event in run.events if event.kind == "note" and event.reason)
    samples = sampler.samples.get(run.worker.uuid) if sampler else None
    failure = run.heard.failure if run.heard else ""
    fraction = 1.0 if run.heard and not failure else _fraction(run)
    return Moment(
        run.worker.name, phase, fraction, notes, samples[-1] if samples else None, run.heard is not None, failure
    )


def _fraction(run: _Run) -> float:
    """The phases that are over, and of this one as much as its time allows, by the seconds that all were to take."""
    ended = {event.phase for event in run.events if event.kind == "ended"}
    phase = _phase_of(run.events)
    plan = dict(run.worker.plan) or {name.value: 1.0 for name in run.worker.job.phases}
    whole = sum(plan.values())
    if not whole:
        return 0.0
    done = sum(seconds for name, seconds in plan.items() if name in ended)
    began = next((event for event in reversed(run.events) if event.kind == "began"), None)
    if phase and began and began.seconds > 0:
        done += plan.get(phase, 0.0) * min(1.0, (time.monotonic() - run.began_at) / began.seconds)
    return min(1.0, done / whole)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind what is under way, as Ctrl-C does, instead of ending us on the spot."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():  # only that one may say what signals do
        numbers = []
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
