"""A machine that plans are carried out on in a folder, and that is killed by SIGKILL wherever a test wants it.

Every command leaves a mark of its own, and its way back takes the mark away: what was done is what lies there. Files
of the plan lie below the folder. It can die before anything, and after each write of the journal and each change of
the machine, which is before the next one.
"""

import os
import signal
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from gpudoctor.execute import execute, roll_back
from gpudoctor.journal import Journal, JournalFile, Progress, Saved, Stage, begin, load, runs
from gpudoctor.plan_data import Scope
from gpudoctor.repair import Manual, Phase, RemoveFile, Run, Step, WriteFile

State = dict[str, bytes]


class ToyMachine:
    """`lethal`: which place to die at, counted from 1; 0: none. `fails`: steps whose command ends with 1."""

    def __init__(self, folder: Path, lethal: int = 0, fails: frozenset[str] = frozenset()) -> None:
        self._folder, self._lethal, self._fails = folder, lethal, fails
        self.deaths = 0
        self.said: list[str] = []
        for name in ("marks", "files"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def die_here(self) -> None:
        self.deaths += 1
        if self.deaths == self._lethal:
            os.kill(os.getpid(), signal.SIGKILL)

    def boot(self) -> str:
        boot = self._folder / "boot"
        return boot.read_text() if boot.exists() else "1"

    def run(self, step: Step, command: Run) -> int:
        mark, there = self.mark(step), self.mark(step).exists()
        if str(step.action) in self._fails and command == step.action:
            return 1
        if step.derives:
            mark.write_bytes(self._sum())
            self.die_here()
            return 0
        # Many programs refuse to do a thing twice: what is taken out cannot be taken out again.
        if command == step.action:
            if there and step.verify is not None:
                return 1
            mark.write_bytes(b"undoable" if isinstance(step.undo, Run) and not step.changes_nothing else b"")
        else:
            if not there and step.verify is not None:
                return 1
            mark.unlink(missing_ok=True)
        self.die_here()
        return 0

    def proves(self, step: Step, command: Run) -> bool:
        match step.action:
            case WriteFile(path, text):
                file = self.read(path)
                return file is not None and file.data == text.encode("utf-8", "surrogateescape")
            case RemoveFile(path):
                return self.read(path) is None
            case Run():
                return self.mark(step).exists()
        return True

    def read(self, path: str) -> Saved | None:
        try:
            return Saved(self._file(path).read_bytes(), 0o644, 0, 0)
        except FileNotFoundError:
            return None

    def write(self, step: Step, path: str, data: bytes, like: Saved | None) -> None:
        file = self._file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        self.die_here()

    def remove(self, step: Step, path: str) -> None:
        self._file(path).unlink()
        self.die_here()

    def restart(self) -> bool:
        (self._folder / "boot").write_text(str(int(self.boot()) + 1))
        self.die_here()
        return True

    def by_person(self, instruction: str) -> bool:
        return True

    def stop_wanted(self) -> bool:
        return False

    def tell(self, words: str) -> None:
        self.said.append(words)

    def state(self) -> State:
        """Marks and files by name. What a restart did is no state of these."""
        found = [path for name in ("marks", "files") for path in (self._folder / name).rglob("*") if path.is_file()]
        return {str(path.relative_to(self._folder)): path.read_bytes() for path in found}

    def lay_out(self, steps: tuple[Step, ...]) -> None:
        """The files that the plan was made from."""
        for step in steps:
            match step.action:
                case WriteFile(path, _, str(was)):
                    self._lay(path, was.encode("utf-8", "surrogateescape"))
                case RemoveFile(path):
                    self._lay(path, b"to be removed")
        for step in steps:
            if step.derives:
                self.mark(step).write_bytes(self._sum())

    def _sum(self) -> bytes:
        """Of all that can be taken back: what is made from other files is as good as they are."""
        state = self.state()
        kept = [(name, data) for name, data in sorted(state.items()) if data == b"undoable" or name[:5] == "files"]
        return sha256(repr(kept).encode()).digest()

    def _lay(self, path: str, data: bytes) -> None:
        self._file(path).parent.mkdir(parents=True, exist_ok=True)
        self._file(path).write_bytes(data)

    def _file(self, path: str) -> Path:
        return self._folder / "files" / path.lstrip("/")

    def mark(self, step: Step) -> Path:
        return self._folder / "marks" / sha256(repr((step.action, step.phase)).encode()).hexdigest()[:16]


class LethalJournal(JournalFile):
    """A journal whose every write is a place to die."""

    def __init__(self, folder: Path, run: str, machine: ToyMachine) -> None:
        super().__init__(str(folder), run)
        self._machine = machine

    def save(self, journal: Journal) -> None:
        super().save(journal)
        self._machine.die_here()


def the_run(folder: Path) -> Journal | None:
    """The journal as it lies there, None if none was written."""
    names = runs(str(folder / "state"))
    return load(str(folder / "state"), names[-1]) if names else None


def carried_to_the_end(folder: Path, steps: tuple[Step, ...], lethal: int = 0) -> Journal | None:
    """Begin, or go on with what lies there, over restarts until all is carried out; None if it died before.

    Each process that is to die does so on its own; places to die are counted over all of them.
    """
    passed = folder / "passed"
    passed.unlink(missing_ok=True)

    def work() -> None:
        before = int(passed.read_text()) if passed.exists() else 0
        machine = ToyMachine(folder, max(0, lethal - before))
        machine.die_here()
        journal = the_run(folder) or begin(str(folder / "state"), "toy", Scope(), ("toy.broken",), steps)
        execute(journal, machine, LethalJournal(folder / "state", journal.run, machine))
        passed.write_text(str(before + machine.deaths))

    for _ in range(len(steps) + 2):
        if _died(work, lethal):
            return None
        journal = the_run(folder)
        assert journal is not None
        if journal.stage is not Stage.WAITING_FOR_RESTART:
            return journal
    raise AssertionError("it never ends")


def taken_back(folder: Path, lethal: int = 0) -> bool:
    """Undo what lies there. Returns whether it died."""

    def work() -> None:
        machine = ToyMachine(folder, lethal)
        journal = the_run(folder)
        assert journal is not None
        roll_back(journal, machine, LethalJournal(folder / "state", journal.run, machine))

    return _died(work, lethal)


def _died(work: Callable[[], None], lethal: int) -> bool:
    """Where nothing is to die, nothing is left behind by it either: it needs no process of its own."""
    if not lethal:
        work()
        return False
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child must never return into the test runner
            import traceback

            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "see the traceback on standard error"
    return False


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
    that a plan takes to be killed everywhere grows with the cube of its length.
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
