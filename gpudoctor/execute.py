"""Carry a plan out, step by step, and take it back: every change is in the journal before it is made."""

from typing import Protocol

from gpudoctor.journal import Journal, Progress, Record, Saved, Stage
from gpudoctor.repair import Manual, Phase, Reboot, RemoveFile, Run, Step, WriteFile


class Refused(Exception):
    """An action could not be carried out; the text says why, in words for the user. Nothing was changed by it."""


class Machine(Protocol):
    """What carries actions out."""

    def boot(self) -> str:
        """Which boot this is; another text after each restart."""

    def run(self, step: Step, command: Run) -> int:
        """Run the command of a step, its output live. Returns the exit code. Raises Refused."""

    def proves(self, step: Step, command: Run) -> bool:
        """Does a command that changes nothing end with 0?"""

    def read(self, path: str) -> Saved | None:
        """A file, links followed; None if there is none. Raises Refused."""

    def write(self, step: Step, path: str, data: bytes, like: Saved | None) -> None:
        """Put a whole file in place in one go, links followed, with rights and owner as of `like`. Raises Refused."""

    def remove(self, step: Step, path: str) -> None:
        """Remove a file. Raises Refused."""

    def restart(self) -> bool:
        """Restart the machine now; False if its owner wants to do it later. Raises Refused."""

    def by_person(self, instruction: str) -> bool:
        """Has a person done this?"""

    def stop_wanted(self) -> bool:
        """Has the user asked to stop between two steps?"""

    def tell(self, words: str) -> None:
        """Say what happens now."""


class Keeper(Protocol):
    """What keeps the journal; `gpudoctor.journal.JournalFile` does."""

    def save(self, journal: Journal) -> None: ...


def execute(journal: Journal, machine: Machine, keeper: Keeper) -> Journal:
    """Carry out the steps that are not done yet. Returns the journal as it was saved last.

    Stops at the first step that fails, at a restart, and where a person is needed. Raises OSError if the journal
    cannot be written: nothing is changed then that is not in it.
    """
    journal = journal._replace(stage=Stage.RUNNING)
    keeper.save(journal)
    for number, step in enumerate(journal.steps):
        if journal.records[number].progress is Progress.DONE:
            continue
        if machine.stop_wanted():
            return _saved(journal._replace(stage=Stage.STOPPED), keeper)
        machine.tell(f"step {number + 1} of {len(journal.steps)}: {_words(step)}")
        journal = _carry_out(journal, number, machine, keeper)
        if journal.records[number].progress is not Progress.DONE:
            return journal
    return _saved(journal._replace(stage=Stage.CARRIED_OUT), keeper)


def _carry_out(journal: Journal, number: int, machine: Machine, keeper: Keeper) -> Journal:
    step, record = journal.steps[number], journal.records[number]
    try:
        match step.action:
            case Manual(instruction):
                if not machine.by_person(instruction):
                    return _saved(journal._replace(stage=Stage.WAITING_FOR_PERSON), keeper)
            case Reboot():
                if record.progress is not Progress.STARTED or record.boot == machine.boot():
                    return _restart(journal, number, machine, keeper)
            case Run() as command:
                proof = step.verify
                if record.progress is Progress.STARTED:
                    # It was interrupted. Where its proof did not hold before and does now, it came to its end.
                    if proof is not None and not record.proved_before and machine.proves(step, proof):
                        return _done(journal, number, machine, keeper)
                else:
                    proved = proof is not None and machine.proves(step, proof)
                    journal = _started(journal, number, Record(proved_before=proved), keeper)
                code = machine.run(step, command)
                if not command.succeeds_with(code):
                    raise Refused(f"it ended with exit code {code}")
            case WriteFile() as action:
                journal = _write(journal, number, action, machine, keeper)
            case RemoveFile(path):
                if record.progress is not Progress.STARTED:
                    journal = _started(journal, number, Record(saved=machine.read(path)), keeper)
                if machine.read(path) is not None:
                    machine.remove(step, path)
    except Refused as reason:
        return _failed(journal, number, str(reason), machine, keeper)
    return _done(journal, number, machine, keeper)


def _started(journal: Journal, number: int, record: Record, keeper: Keeper) -> Journal:
    return _saved(journal.at(number, record._replace(progress=Progress.STARTED)), keeper)


def _restart(journal: Journal, number: int, machine: Machine, keeper: Keeper) -> Journal:
    record = Record(Progress.STARTED, boot=machine.boot())
    journal = _saved(journal.at(number, record, Stage.WAITING_FOR_RESTART), keeper)
    machine.restart()
    return journal


def _write(journal: Journal, number: int, action: WriteFile, machine: Machine, keeper: Keeper) -> Journal:
    """Raises Refused where the file is not what the plan was made from."""
    step, now = journal.steps[number], machine.read(action.path)
    wanted, expected = _bytes(action.text), None if action.was is None else _bytes(action.was)
    if journal.records[number].progress is Progress.STARTED and now is not None and now.data == wanted:
        return journal
    if (None if now is None else now.data) != expected:
        state = "is gone" if now is None else "has changed" if expected is not None else "is there already"
        raise Refused(f"{action.path} {state}, other than when the plan was made")
    if journal.records[number].progress is not Progress.STARTED:
        journal = _started(journal, number, Record(saved=now), keeper)
    machine.write(step, action.path, wanted, now)
    return journal


def _done(journal: Journal, number: int, machine: Machine, keeper: Keeper) -> Journal:
    step, record = journal.steps[number], journal.records[number]
    try:
        if step.verify is not None and not machine.proves(step, step.verify):
            raise Refused(f"it did not do what it is for: {step.verify}")
    except Refused as reason:
        return _failed(journal, number, str(reason), machine, keeper)
    return _saved(journal.at(number, record._replace(progress=Progress.DONE, note="")), keeper)


def _failed(journal: Journal, number: int, reason: str, machine: Machine, keeper: Keeper) -> Journal:
    record = journal.records[number]
    begun = record.progress is Progress.STARTED
    progress = Progress.FAILED if begun else Progress.PENDING
    journal = _saved(journal.at(number, record._replace(progress=progress, note=reason), Stage.FAILED), keeper)
    machine.tell(f"step {number + 1} failed: {reason}")
    if journal.steps[number].phase is Phase.RELOAD:
        # A driver that is half unloaded is worse than the old one: what was taken out goes back in at once.
        machine.tell("putting back what the steps with the loaded driver have changed")
        first = next(i for i, step in enumerate(journal.steps) if step.phase is Phase.RELOAD)
        for back in range(number, first - 1, -1):
            journal = _take_back(journal, back, machine, keeper)
        journal = _saved(journal._replace(stage=Stage.FAILED), keeper)
    return journal


def roll_back(journal: Journal, machine: Machine, keeper: Keeper) -> Journal:
    """Take back, last step first, what was carried out and can be undone; the others are KEPT, and a note says why.

    What is made from other files is made anew when those are back. Raises OSError if the journal cannot be written.
    """
    journal = _saved(journal._replace(stage=Stage.UNDOING), keeper)
    numbers = range(len(journal.steps))
    back = [number for number in reversed(numbers) if not journal.steps[number].derives]
    for number in (*back, *(number for number in numbers if journal.steps[number].derives)):
        if machine.stop_wanted():
            return journal
        journal = _take_back(journal, number, machine, keeper)
    kept = any(record.progress is Progress.KEPT for record in journal.records)
    return _saved(journal._replace(stage=Stage.PARTLY_UNDONE if kept else Stage.UNDONE), keeper)


def _take_back(journal: Journal, number: int, machine: Machine, keeper: Keeper) -> Journal:
    step, record = journal.steps[number], journal.records[number]
    if record.progress in (Progress.PENDING, Progress.UNDONE):
        return journal
    if step.changes_nothing:
        return _saved(journal.at(number, record._replace(progress=Progress.UNDONE)), keeper)
    machine.tell(f"undoing step {number + 1}: {_words(step)}")
    journal = _saved(journal.at(number, record._replace(progress=Progress.UNDOING)), keeper)
    try:
        note = _reverse(step, record, machine)
    except Refused as reason:
        note = str(reason)
    if note:
        machine.tell(f"step {number + 1} stays: {note}")
    progress = Progress.KEPT if note else Progress.UNDONE
    return _saved(journal.at(number, record._replace(progress=progress, note=note)), keeper)


def _reverse(step: Step, record: Record, machine: Machine) -> str:
    """Take one step back. Returns why it stays, "" if it is gone. Raises Refused."""
    match step.action:
        case Manual(instruction):
            return f"a person did it, and can take it back: {instruction}"
        case Reboot():
            return ""  # a restart leaves nothing behind that could be taken back
        case WriteFile() as action:
            return _put_back(step, action.path, _bytes(action.text), record.saved, machine)
        case RemoveFile(path):
            return _put_back(step, path, None, record.saved, machine)
    match step.undo:
        case Run() as command:
            code = machine.run(step, command)
            if command.succeeds_with(code):
                return ""
            # What failed or was interrupted may have changed nothing at all; then there was nothing to take back.
            proof = step.verify
            undone = proof is not None and not record.proved_before and not machine.proves(step, proof)
            return "" if undone else f"`{command}` ended with exit code {code}"
        case Manual(instruction):
            return instruction
        case None:
            return "there is no way back from it"


def _put_back(step: Step, path: str, written: bytes | None, saved: Saved | None, machine: Machine) -> str:
    """The file as it was, unless somebody else has changed it since."""
    now = machine.read(path)
    if (now and now.data) == (saved and saved.data):
        return ""
    if (now and now.data) != written:
        return f"{path} was changed by somebody else afterwards, and is left alone"
    if saved is None:
        machine.remove(step, path)
    else:
        machine.write(step, path, saved.data, saved)
    return ""


def _saved(journal: Journal, keeper: Keeper) -> Journal:
    keeper.save(journal)
    return journal


def _words(step: Step) -> str:
    return f"{'by hand: ' if isinstance(step.action, Manual) else ''}{step.action}"


def _bytes(text: str) -> bytes:
    # What was no UTF-8 in the file was read as surrogates, and is written as it was.
    return text.encode("utf-8", "surrogateescape")
