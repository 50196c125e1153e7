"""A plan killed wherever it can be killed: going on ends where an undisturbed run ends, undoing at the start.

That is held out in memory, which takes a hundredth of the time of processes and files. `really_killed` is what shows
that these leave the same.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from toy_machine import (
    Left,
    State,
    ToyMachine,
    can_stay,
    carried_to_the_end,
    kind,
    mark_of,
    representative,
    stays_behind,
    taken_back,
)

from gpudoctor.execute import execute
from gpudoctor.journal import Journal, JournalFile, Progress, Stage, begin, load, runs
from gpudoctor.plan_data import Scope
from gpudoctor.repair import Step

_seen: set[tuple[object, ...]] = set()
_MEMORY = Path("/dev/shm")  # each write of a journal goes through to the disk


def hold_out(steps: tuple[Step, ...]) -> int:
    """Kill this plan everywhere, unless one of its shape was killed before. Returns in how many places it was."""
    steps = representative(steps)
    shape = tuple(kind(step) for step in steps)
    if not steps or shape in _seen:
        return 0
    _seen.add(shape)
    return _killed_everywhere(steps)


def undisturbed(steps: tuple[Step, ...]) -> list[Left]:
    """What lies there at each place at which this plan can be killed, the last of them its end."""
    machine = ToyMachine()
    machine.lay_out(steps)
    return carried_to_the_end(Left(machine.state, machine.boots, None), steps)


def _killed_everywhere(steps: tuple[Step, ...]) -> int:
    whole = undisturbed(steps)
    start, end = whole[0].state, whole[-1]
    assert end.journal is not None
    assert end.journal.stage is Stage.CARRIED_OUT, end.journal.records
    _reads_back(end.journal)
    for place, left in enumerate(whole):
        gone_on = carried_to_the_end(left, steps)[-1]
        assert gone_on.journal is not None
        assert gone_on.journal.stage is Stage.CARRIED_OUT, (place, gone_on.journal.records, steps)
        assert (gone_on.state, gone_on.boots) == (end.state, end.boots), (place, steps)
        _undone(left, steps, start, place)
        if gone_on != end:
            _undone(gone_on, steps, start, place)
    _undone(end, steps, start, len(whole))
    return len(whole)


def _undone(left: Left, steps: tuple[Step, ...], start: State, place: int) -> None:
    """Taken back; and killed in the middle of that as well, wherever it can be, and taken back again."""
    if left.journal is None:
        assert left.state == start, "changed before anything was written down"
        return
    undoing = taken_back(left)
    _all_is_back(undoing[-1], steps, start, place)
    for killed in undoing[:-1]:
        _all_is_back(taken_back(killed)[-1], steps, start, place)


def _all_is_back(left: Left, steps: tuple[Step, ...], start: State, place: int) -> None:
    journal = left.journal
    assert journal is not None
    stay = stays_behind(steps, journal)
    assert stay <= {str(step.action) for step in steps if can_stay(step)}, (place, stay, steps)
    assert journal.stage is (Stage.PARTLY_UNDONE if stay else Stage.UNDONE), (place, steps)
    assert all(record.progress in (Progress.PENDING, Progress.UNDONE, Progress.KEPT) for record in journal.records)
    # Marks of steps without a way back, and of trials, which change nothing, may be there still.
    lasting = {mark_of(step) for step in steps if can_stay(step) or step.changes_nothing}
    now = {name: data for name, data in left.state.items() if name not in lasting}
    assert now == {name: data for name, data in start.items() if name not in lasting}, (place, steps)


def _reads_back(journal: Journal) -> None:
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        os.mkdir(f"{folder}/runs", 0o700)
        JournalFile(folder, journal.run).save(journal)
        assert load(folder, journal.run) == journal


def really_killed(steps: tuple[Step, ...]) -> list[Left]:
    """What lies on the disk after a process with this plan was ended by SIGKILL, for each place to be killed at."""
    # A small process forks them: forking the test runner itself takes ten times as long.
    given, told = pickle.dumps(steps), subprocess.PIPE
    done = subprocess.run([sys.executable, __file__], input=given, stdout=told, check=True, timeout=60)
    return [Left(*left) for left in pickle.loads(done.stdout)]


def _kill_really() -> None:
    steps, found = pickle.load(sys.stdin.buffer), list[tuple[State, int, Journal | None]]()
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as base:
        while True:
            folder = Path(base, f"at-{len(found) + 1}")
            folder.mkdir()
            child = os.fork()
            if child == 0:
                _live_until(len(found) + 1, folder, steps)
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if code == 0:
                break
            assert code == -signal.SIGKILL, code
            found.append((*pickle.loads((folder / "machine").read_bytes()), _journal(folder)))
    sys.stdout.buffer.write(pickle.dumps(found))


def _live_until(lethal: int, folder: Path, steps: tuple[Step, ...]) -> None:
    """Carry the plan out with a journal on the disk, and die at this place, counted from 1."""
    machine, places = ToyMachine(), 0
    machine.lay_out(steps)

    def place() -> None:
        nonlocal places
        places += 1
        (folder / "machine").write_bytes(pickle.dumps((machine.state, machine.boots)))
        if places == lethal:
            os.kill(os.getpid(), signal.SIGKILL)

    class LethalFile(JournalFile):
        def save(self, journal: Journal) -> None:
            super().save(journal)
            place()

    machine.place = place
    while True:
        place()
        journal = _journal(folder) or begin(str(folder), "toy", Scope(), ("toy.broken",), steps)
        if execute(journal, machine, LethalFile(str(folder), journal.run)).stage is not Stage.WAITING_FOR_RESTART:
            return


def _journal(folder: Path) -> Journal | None:
    """The journal as it lies there, None if none was written."""
    names = runs(str(folder))
    return load(str(folder), names[-1]) if names else None


if __name__ == "__main__":
    _kill_really()
