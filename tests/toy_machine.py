"""A machine that plans are carried out on without any disk or process, and what it leaves wherever it is killed.

Every command leaves a mark of its own, and its way back takes the mark away: what was done is what lies there. It can
be killed before anything, and after each write of the journal and each change of the machine, which is before the next
one: between two of these the executor changes nothing that outlives it.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from gpudoctor.execute import Keeper, execute, roll_back
from gpudoctor.journal import Journal, Progress, Record, Saved, Stage
from gpudoctor.plan_data import Scope
from gpudoctor.repair import Manual, Phase, RemoveFile, Run, Step, WriteFile

State = dict[str, bytes]  # marks ("marks/...") and files ("files/etc/x")


class ToyMachine:
    """`place`: called wherever it can be killed. `fails`: steps whose command ends with 1."""

    def __init__(self, state: State | None = None, boots: int = 1, *, fails: frozenset[str] = frozenset()) -> None:
        self.state, self.boots, self._fails = dict(state or {}), boots, fails
        self.said: list[str] = []
        self.place: Callable[[], None] = lambda: None

    def boot(self) -> str:
        return str(self.boots)

    def run(self, step: Step, command: Run) -> int:
        mark, there = mark_of(step), mark_of(step) in self.state
        if str(step.action) in self._fails and command == step.action:
            return 1
        if step.derives:
            self.state[mark] = self._sum()
            self.place()
            return 0
        # Many programs refuse to do a thing twice: what is taken out cannot be taken out again.
        if command == step.action:
            if there and step.verify is not None:
                return 1
            self.state[mark] = b"undoable" if isinstance(step.undo, Run) and not step.changes_nothing else b""
        else:
            if not there and step.verify is not None:
                return 1
            self.state.pop(mark, None)
        self.place()
        return 0

    def proves(self, step: Step, command: Run) -> bool:
        match step.action:
            case WriteFile(path, text):
                return self.state.get(file_of(path)) == text.encode("utf-8", "surrogateescape")
            case RemoveFile(path):
                return file_of(path) not in self.state
            case Run():
                return mark_of(step) in self.state
        return True

    def read(self, path: str) -> Saved | None:
        data = self.state.get(file_of(path))
        return None if data is None else Saved(data, 0o644, 0, 0)

    def write(self, step: Step, path: str, data: bytes, like: Saved | None) -> None:
        self.state[file_of(path)] = data
        self.place()

    def remove(self, step: Step, path: str) -> None:
        del self.state[file_of(path)]
        self.place()

    def restart(self) -> bool:
        self.boots += 1
        self.place()
        return True

    def by_person(self, instruction: str) -> bool:
        return True

    def stop_wanted(self) -> bool:
        return False

    def tell(self, words: str) -> None:
        self.said.append(words)

    def lay_out(self, steps: tuple[Step, ...]) -> None:
        """The files that the plan was made from."""
        for step in steps:
            match step.action:
                case WriteFile(path, _, str(was)):
                    self.state[file_of(path)] = was.encode("utf-8", "surrogateescape")
                case RemoveFile(path):
                    self.state[file_of(path)] = b"to be removed"
        for step in steps:
            if step.derives:
                self.state[mark_of(step)] = self._sum()

    def _sum(self) -> bytes:
        """Of all that can be taken back: what is made from other files is as good as they are."""
        kept = [item for item in sorted(self.state.items()) if item[1] == b"undoable" or item[0].startswith("files")]
        return sha256(repr(kept).encode()).digest()


def file_of(path: str) -> str:
    return f"files{path}"


def mark_of(step: Step) -> str:
    return f"marks/{step.phase.name} {step.action!r}"


class Left(NamedTuple):
    """What outlives a process: the machine, and the journal as it was saved last; None if none was."""

    state: State
    boots: int
    journal: Journal | None


class Kept:
    """A journal that outlives a killed process as a file does. Every save is a place to die."""

    def __init__(self, machine: ToyMachine, journal: Journal | None = None) -> None:
        self._machine, self.journal = machine, journal

    def save(self, journal: Journal) -> None:
        self.journal = journal
        self._machine.place()


def begun(steps: tuple[Step, ...]) -> Journal:
    records = tuple(Record() for _ in steps)
    return Journal("20261125-143000", "toy", 0, 0.0, Scope(), ("toy.broken",), steps, records, Stage.RUNNING)


def carried_to_the_end(left: Left, steps: tuple[Step, ...]) -> list[Left]:
    """Begin, or go on with what lies there, over restarts until all is carried out. Returns what would be left at each
    place to die; the last is the end.
    """
    places: list[Left] = []
    for _ in range(len(steps) + 2):
        places += _places(left, lambda journal, machine, kept: execute(journal or begun(steps), machine, kept))
        left = places[-1]
        assert left.journal is not None
        if left.journal.stage is not Stage.WAITING_FOR_RESTART:
            return places
    raise AssertionError("it never ends")


def taken_back(left: Left) -> list[Left]:
    """Undo what lies there. Returns what would be left at each place to die; the last is the end."""

    def work(journal: Journal | None, machine: ToyMachine, keeper: Keeper) -> None:
        assert journal is not None
        roll_back(journal, machine, keeper)

    return _places(left, work)


def _places(left: Left, work: Callable[[Journal | None, ToyMachine, Keeper], object]) -> list[Left]:
    """What one process does that begins with this."""
    machine = ToyMachine(left.state, left.boots)
    kept = Kept(machine, left.journal)
    places: list[Left] = []
    machine.place = lambda: places.append(Left(dict(machine.state), machine.boots, kept.journal))
    machine.place()
    work(left.journal, machine, kept)
    return places


def kind(step: Step) -> tuple[object, ...]:
    """All of a step that the executor goes by."""
    return (
        type(step.action).__name__,
        isinstance(step.action, WriteFile) and step.action.was is None,
        step.changes_nothing,
        step.phase is Phase.RELOAD,
        step.derives,
        step.verify is not None,
        type(step.undo).__name__,
    )


def representative(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps without those that only repeat: that one kind follows another once more tells nothing new, and the time
    that a plan takes to be killed everywhere grows with the square of its length.
    """
    seen: set[tuple[object, ...]] = set()
    kept: list[Step] = []
    for step in steps:
        neighbours = (kind(kept[-1]) if kept else (), kind(step))
        if neighbours not in seen:
            seen.add(neighbours)
            kept.append(step)
    return tuple(kept)


def stays_behind(steps: tuple[Step, ...], journal: Journal) -> set[str]:
    """The steps that an undone run says it could not take back."""
    pairs = zip(steps, journal.records, strict=True)
    return {str(step.action) for step, record in pairs if record.progress is Progress.KEPT}


def can_stay(step: Step) -> bool:
    """Is there no way back from this step by a program?"""
    return isinstance(step.action, Manual) or (isinstance(step.action, Run) and not isinstance(step.undo, Run))
