"""A plan killed wherever it can be killed: going on ends where an undisturbed run ends, undoing at the start."""

import atexit
import base64
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from hashlib import sha256
from pathlib import Path

from toy_machine import (
    State,
    ToyMachine,
    can_stay,
    carried_to_the_end,
    kind,
    representative,
    stays_behind,
    taken_back,
    the_run,
)

from gpudoctor.journal import Progress, Stage
from gpudoctor.repair import Step

_seen: set[tuple[object, ...]] = set()
_MEMORY = Path("/dev/shm")  # a journal is written thousands of times here, each time through to the disk


def hold_out(steps: tuple[Step, ...]) -> int:
    """Kill this plan everywhere, unless one of its shape was killed before. Returns in how many places it was."""
    steps = representative(steps)
    shape = tuple(kind(step) for step in steps)
    if not steps or shape in _seen or not _mine(shape):
        return 0
    _seen.add(shape)
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(base64.b64encode(pickle.dumps(steps)) + b"\n")
    server.stdin.flush()
    places, failure = pickle.loads(base64.b64decode(server.stdout.readline()))
    assert not failure, f"{failure}\n{steps}"
    assert isinstance(places, int)
    return places


def _mine(shape: tuple[object, ...]) -> bool:
    """Of the workers of one test run only the first that meets a shape kills it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if not run:
        return True
    folder = Path(tempfile.gettempdir()) / f"killed-runs-{run}"
    folder.mkdir(exist_ok=True)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        (folder / sha256(repr(shape).encode()).hexdigest()).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@cache
def _server() -> "subprocess.Popen[bytes]":
    """A small process that the killed ones are forked from: forking the test runner itself takes ten times as long."""
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.communicate)
    return server


def _serve() -> None:
    for line in sys.stdin.buffer:
        steps = pickle.loads(base64.b64decode(line))
        base = Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None))
        try:
            answer = (_killed_everywhere(base, steps), "")
        except Exception:  # noqa: BLE001 - whatever it is, the test that asked fails with it
            answer = (0, traceback.format_exc())
        finally:
            shutil.rmtree(base)
        sys.stdout.buffer.write(base64.b64encode(pickle.dumps(answer)) + b"\n")
        sys.stdout.buffer.flush()


def _killed_everywhere(base: Path, steps: tuple[Step, ...]) -> int:
    start, end = _laid_out(base / "start", steps), _undisturbed(base / "whole", steps)
    place = 0
    while True:
        place += 1
        folder = base / f"at-{place}"
        _laid_out(folder, steps)
        if carried_to_the_end(folder, steps, lethal=place):
            return place - 1
        copy = base / f"undo-{place}"
        shutil.copytree(folder, copy)
        journal = carried_to_the_end(folder, steps)
        assert journal is not None
        assert journal.stage is Stage.CARRIED_OUT, (place, journal.records)
        assert (ToyMachine(folder).state(), ToyMachine(folder).boot()) == end, place
        _undone(copy, steps, start, place, lethal=place)
        _undone(folder, steps, start, place)
        shutil.rmtree(folder)
        shutil.rmtree(copy)


def _laid_out(folder: Path, steps: tuple[Step, ...]) -> State:
    machine = ToyMachine(folder)
    machine.lay_out(steps)
    return machine.state()


def _undisturbed(folder: Path, steps: tuple[Step, ...]) -> tuple[State, str]:
    _laid_out(folder, steps)
    journal = carried_to_the_end(folder, steps)
    assert journal is not None
    assert journal.stage is Stage.CARRIED_OUT, journal.records
    return ToyMachine(folder).state(), ToyMachine(folder).boot()


def _undone(folder: Path, steps: tuple[Step, ...], start: State, place: int, lethal: int = 0) -> None:
    """Taken back; with `lethal` killed in the middle of that as well, and taken back again."""
    if the_run(folder) is None:
        assert ToyMachine(folder).state() == start, "changed before anything was written down"
        return
    if lethal:
        taken_back(folder, lethal)
    assert not taken_back(folder)
    journal = the_run(folder)
    assert journal is not None
    stay = stays_behind(steps, journal)
    assert stay <= {str(step.action) for step in steps if can_stay(step)}, (place, stay)
    assert journal.stage is (Stage.PARTLY_UNDONE if stay else Stage.UNDONE)
    assert all(record.progress in (Progress.PENDING, Progress.UNDONE, Progress.KEPT) for record in journal.records)
    # Marks of steps without a way back, and of trials, which change nothing, may be there still.
    lasting = {
        name
        for step in steps
        if can_stay(step) or step.changes_nothing
        for name in [f"marks/{ToyMachine(folder).mark(step).name}"]
    }
    left = {name: data for name, data in ToyMachine(folder).state().items() if name not in lasting}
    assert left == {name: data for name, data in start.items() if name not in lasting}, place


if __name__ == "__main__":
    _serve()
