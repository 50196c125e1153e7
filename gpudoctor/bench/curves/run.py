"""Measures a learning curve: on the CPU in this process, on a GPU in a child that may crash or hang for itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, NoReturn

from gpudoctor.bench.curves.curve import Point, architecture_for, default_sizes, measure_curve, read_data
from gpudoctor.bench.datasets.images import Split
from gpudoctor.bench.devices.device import CannotRun, Device, DoesNotTrain, NumpyDevice
from gpudoctor.bench.job import End, Event, Job, Level
from gpudoctor.bench.planning.text import text_of
from gpudoctor.bench.running.children import Moment, Worker, run_children
from gpudoctor.bench.running.worker import Emit, ended_by, open_device, plain, tell
from gpudoctor.children import own_python

_PHASE = "curve"
_QUIET = 600.0  # seconds: how long a child may be silent, between two looks at a large test set
_MOST_ON_CPU = 6400  # images, where the sizes are not given: more would take minutes for each
_LONGEST = 7 * 86400.0  # it is a person's own data and patience

_CHILD = (
    "import faulthandler, signal; faulthandler.enable(); faulthandler.register(signal.SIGUSR1); "
    "from gpudoctor.bench.curves.run import main; main({!r})"
)


class Task(NamedTuple):
    """What is to be measured."""

    data: str  # "digits", or the path of a CIFAR-10 folder
    net: str | None  # a text or a preset, None: what fits the pictures
    sizes: tuple[int, ...]  # numbers of training images, none above what there are; (): `default_sizes`
    seed: int

    def to_json(self) -> str:
        """One line."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Task:
        """The same task again."""
        told = json.loads(text)
        return cls(told["data"], told["net"], tuple(told["sizes"]), told["seed"])


class LearningCurve(NamedTuple):
    """What was measured, as far as it went."""

    task: Task
    data: str  # for a person
    classes: int
    available: int  # training images that there are
    test_images: int
    net: str  # as a text
    backend: str
    device: str = ""  # for a person, "" where none was opened
    versions: dict[str, str | None] = {}  # noqa: RUF012
    points: tuple[Point, ...] = ()
    end: End = End.SKIPPED
    reason: str = ""  # of an end that is not MEASURED
    note: str = ""  # something to know beside it

    @property
    def exit_code(self) -> int:
        """0 measured, 2 failed, 3 not run."""
        return {End.MEASURED: 0, End.FAILED: 2, End.SKIPPED: 3}[self.end]


def run_curve(task: Task, split: Split, backend: str, say: Callable[[str], None]) -> LearningCurve:
    """Measures on the backend: "numpy", "cupy", or "auto", which is the GPU if CuPy opens one and else the CPU.

    split: the data of the task. Raises BadArchitecture; everything else that goes wrong is in the answer.
    """
    net = text_of(architecture_for(split, task.net))
    begun = LearningCurve(
        *(task, split.name, len(split.classes), len(split.training.labels), len(split.test.labels), net, backend)
    )
    if backend == "numpy":
        return _on_cpu(begun, split, say)
    curve = _on_gpu(begun._replace(backend="cupy"), say)
    if backend == "auto" and curve.end is End.SKIPPED and not curve.device:
        say(f"no GPU is used: {curve.reason}")
        return _on_cpu(begun, split, say)._replace(note=f"No GPU was used: {curve.reason}")
    return curve


def main(text: str) -> NoReturn:
    """A child: measures the task on the GPU, prints events, and ends the process."""
    tell(partial(_measure, text))


def _measure(text: str, emit: Emit) -> None:
    versions: dict[str, str | None] = {}
    try:
        device = open_device("cupy", versions)
    except (CannotRun, DoesNotTrain, MemoryError) as why:
        emit(ended_by(why, _PHASE)._replace(data={"versions": versions}))
    else:
        task = Task.from_json(text)
        emit(Event("opened", data={"text": device.text, "versions": versions}))
        emit(Event("began", _PHASE))
        run_task(device, task, read_data(task.data, task.seed), emit)
    emit(Event("finished"))


def run_task(device: Device, task: Task, split: Split, emit: Emit) -> None:
    """Notes with one point each, and exactly one event `ended`, whatever the device does."""
    architecture = architecture_for(split, task.net)

    def say(text: str) -> None:
        emit(Event("note", _PHASE, reason=text))

    try:
        for point in measure_curve(device, architecture, split, task.sizes, seed=task.seed, say=say):
            emit(Event("note", _PHASE, data={"point": plain(point)}))
    except (CannotRun, DoesNotTrain, MemoryError) as why:
        emit(ended_by(why, _PHASE))
    except device.errors as why:
        emit(ended_by(why, _PHASE))
    else:
        emit(Event("ended", _PHASE, End.MEASURED.value))


def _on_cpu(begun: LearningCurve, split: Split, say: Callable[[str], None]) -> LearningCurve:
    begun = _with_sizes(begun, _MOST_ON_CPU)
    device = NumpyDevice()
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        if event.reason and event.kind == "note":
            say(event.reason)

    say(f"on {device.text}")
    run_task(device, begun.task, split, emit)
    return _told(begun._replace(backend="numpy", device=device.text), events, "")


def _on_gpu(begun: LearningCurve, say: Callable[[str], None]) -> LearningCurve:
    begun = _with_sizes(begun, begun.available)
    said = 0

    def watch(moments: tuple[Moment, ...]) -> None:
        nonlocal said
        for text in moments[0].notes[said:]:
            say(text)
        said = len(moments[0].notes)

    argv = own_python(_CHILD.format(begun.task.to_json()))
    job = Job("cupy", (), Level.DEFAULT, begun.task.seed)
    worker = Worker("curve", argv, dict(os.environ), job, _LONGEST)
    heard = run_children([worker], watch=watch, quiet=_QUIET)["curve"]
    return _told(begun, heard.events, heard.failure)


def _with_sizes(begun: LearningCurve, most: int) -> LearningCurve:
    sizes = begun.task.sizes or default_sizes(begun.available, most)
    return begun._replace(task=begun.task._replace(sizes=sizes))


def _told(begun: LearningCurve, events: list[Event] | tuple[Event, ...], failure: str) -> LearningCurve:
    """The curve, from what was said. A child that did not say how it ended has failed."""
    opened = next((event for event in events if event.kind == "opened"), None)
    ended = next((event for event in events if event.kind == "ended"), None)
    points = tuple(Point(**event.data["point"]) for event in events if "point" in event.data)
    versions = (opened or ended or Event("")).data.get("versions", {})
    device = opened.data["text"] if opened else begun.device
    end = End(ended.end) if ended else End.FAILED
    if end is End.MEASURED and len(points) != len(begun.task.sizes):
        end, failure = End.FAILED, "it did not say what it measured"
    reason = ended.reason if ended and end is not End.FAILED else ""
    if end is End.FAILED:
        reason = ended.reason if ended and ended.reason else f"The child that measured did not finish: {failure}."
    return begun._replace(device=device, versions=versions, points=points, end=end, reason=reason)
