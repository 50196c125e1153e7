"""The journal of a repair: written before every change, so that after a crash it is known what may have happened.

Each write replaces the whole file and is on the disk before the change begins: a journal is never half of one.
"""

import base64
import enum
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gpudoctor import __version__
from gpudoctor.host import BadSource
from gpudoctor.plan_data import (
    BadPlan,
    Json,
    Scope,
    digest,
    flag,
    items,
    mapping,
    scope_as_data,
    scope_of,
    step_as_data,
    step_of,
    text,
    texts,
)
from gpudoctor.repair import Step
from gpudoctor.state import make_folder, replace_file, require_own

SCHEMA = 1
SIZE_LIMIT = 64 * 1024 * 1024  # bytes; a journal holds the former contents of the files that a plan changes
ROOM = 8 * 1024 * 1024  # bytes that must be free where the journal is: it must never fail for want of room half-way
_RUN = re.compile(r"[0-9]{8}-[0-9]{6}(?:-[0-9]+)?")


class Progress(enum.Enum):
    """How far a step has come."""

    PENDING = "pending"
    STARTED = "started"  # about to be carried out, or being so
    DONE = "done"  # carried out, and verified
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"
    KEPT = "kept"  # it cannot be taken back, or not by gpudoctor


class Stage(enum.Enum):
    """How far a run has come. A run in the first or in UNDOING that nobody works on was interrupted."""

    RUNNING = "running"
    WAITING_FOR_PERSON = "waiting for a person"
    WAITING_FOR_RESTART = "waiting for a restart"
    STOPPED = "stopped"  # by the user, between two steps
    FAILED = "failed"  # a step failed
    CARRIED_OUT = "carried out"  # all steps; what the diagnosis says afterwards is not known yet
    REPAIRED = "repaired"
    NOT_REPAIRED = "not repaired"  # all steps are carried out, and a finding is still there
    UNDOING = "undoing"
    UNDONE = "undone"
    PARTLY_UNDONE = "partly undone"


UNFINISHED = (Stage.RUNNING, Stage.WAITING_FOR_PERSON, Stage.WAITING_FOR_RESTART, Stage.UNDOING)
RESUMABLE = (
    *(Stage.RUNNING, Stage.WAITING_FOR_PERSON, Stage.WAITING_FOR_RESTART, Stage.STOPPED, Stage.FAILED),
    Stage.CARRIED_OUT,
)
OVER = (Stage.UNDONE, Stage.PARTLY_UNDONE)


class Saved(NamedTuple):
    """A file as it was before a step changed it."""

    data: bytes
    mode: int  # permission bits
    user: int
    group: int


class Record(NamedTuple):
    """What is known of one step."""

    progress: Progress = Progress.PENDING
    proved_before: bool = False  # its proof held already before it was begun, so that it proves nothing afterwards
    boot: str = ""  # the boot that a restart was asked for in
    saved: Saved | None = None  # None: there was no such file, or the step changes none
    note: str = ""  # why it failed, or cannot be taken back


class Journal(NamedTuple):
    """One run: a plan, on which machine, and what became of each of its steps."""

    run: str  # "20261125-143000"
    machine: str  # see `machine_identity`
    user: int  # user id of who carries it out
    began: float  # seconds since the epoch
    scope: Scope
    cures: tuple[str, ...]  # ids of the findings that it is to cure
    steps: tuple[Step, ...]
    records: tuple[Record, ...]  # one a step
    stage: Stage

    def at(self, number: int, record: Record, stage: Stage | None = None) -> "Journal":
        """The same with another record for the step of this index."""
        records = (*self.records[:number], record, *self.records[number + 1 :])
        return self._replace(records=records, stage=stage or self.stage)


class JournalFile:
    """Where a journal is kept. What is saved is on the disk when `save` returns."""

    def __init__(self, folder: str, run: str) -> None:
        self.path = os.path.join(folder, "runs", f"{run}.json")

    def save(self, journal: Journal) -> None:
        """Raises OSError; the journal from before is still there then."""
        body = _as_data(journal)
        document = {"schema": SCHEMA, "gpudoctor": __version__, "journal": body, "sha256": digest(body)}
        replace_file(self.path, json.dumps(document).encode())


def begin(folder: str, machine: str, scope: Scope, cures: Sequence[str], steps: Sequence[Step]) -> Journal:
    """A journal of which nothing is saved yet. Raises OSError or BadSource where none can be kept: nothing may be
    changed then.
    """
    runs = os.path.join(folder, "runs")
    make_folder(runs)
    room = os.statvfs(runs)
    if room.f_bavail * room.f_frsize < ROOM:
        raise BadSource(f"{runs}: less than {ROOM >> 20} MiB are free, too little for the journal; nothing was changed")
    began = time.time()
    stem = time.strftime("%Y%m%d-%H%M%S", time.localtime(began))
    run, count = stem, 1
    while os.path.lexists(JournalFile(folder, run).path):
        count += 1
        run = f"{stem}-{count}"
    records = tuple(Record() for _ in steps)
    return Journal(run, machine, os.geteuid(), began, scope, tuple(cures), tuple(steps), records, Stage.RUNNING)


def load(folder: str, run: str) -> Journal:
    """One journal. Raises BadSource (BadPlan) for one that is missing, damaged or not to be trusted."""
    if not _RUN.fullmatch(run):
        raise BadSource(f"{run!r} is no run; `gpudoctor fix --history` lists them")
    path = JournalFile(folder, run).path
    try:
        for place in (folder, os.path.dirname(path), path):
            require_own(place)
        with open(path, "rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise BadSource(f"there is no run {run}; `gpudoctor fix --history` lists those there are") from None
    except OSError as error:
        raise BadSource(f"{path}: {error.strerror}") from error
    journal = _journal_of(path, data)
    if journal.run != run:
        raise BadPlan(f"{path} is the journal of run {journal.run}, under another name")
    return journal


def runs(folder: str) -> tuple[str, ...]:
    """The runs there are, the oldest first."""
    try:
        names = os.listdir(os.path.join(folder, "runs"))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise BadSource(f"{folder}/runs: {error.strerror}") from error
    found = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    return tuple(sorted((run for run in found if _RUN.fullmatch(run)), key=_order))


def _order(run: str) -> tuple[str, int]:
    return run[:15], int(run[16:] or 1)


def _as_data(journal: Journal) -> dict[str, Json]:
    return {
        "run": journal.run,
        "machine": journal.machine,
        "user": journal.user,
        "began": journal.began,
        "scope": scope_as_data(journal.scope),
        "cures": list(journal.cures),
        "steps": [step_as_data(step) for step in journal.steps],
        "records": [_record_as_data(record) for record in journal.records],
        "stage": journal.stage.value,
    }


def _record_as_data(record: Record) -> dict[str, Json]:
    saved = record.saved
    return {
        "progress": record.progress.value,
        "proved_before": record.proved_before,
        "boot": record.boot,
        "saved": saved and {**saved._asdict(), "data": base64.b64encode(saved.data).decode("ascii")},
        "note": record.note,
    }


def _journal_of(path: str, data: bytes) -> Journal:
    try:
        document = mapping(json.loads(data), path)
    except (ValueError, RecursionError):
        raise BadPlan(
            f"{path} is damaged: no whole JSON. Nothing is done by half a journal; read it, then remove it"
        ) from None
    if document.get("schema") != SCHEMA:
        raise BadPlan(f"{path} was written by another version of gpudoctor ({document.get('gpudoctor')})")
    body = mapping(document.get("journal"), path)
    if digest(body) != document.get("sha256"):
        raise BadPlan(
            f"{path} is not as gpudoctor wrote it: its checksum is wrong. Nothing is done by it; read and remove it"
        )
    try:
        journal = Journal(
            text(body, "run"),
            text(body, "machine"),
            _number(body, "user"),
            _seconds(body, "began"),
            scope_of(body.get("scope")),
            texts(body, "cures"),
            tuple(step_of(step) for step in items(body, "steps")),
            tuple(_record_of(record) for record in items(body, "records")),
            Stage(text(body, "stage")),
        )
    except ValueError as error:
        raise BadPlan(f"{path}: {error}") from None
    except BadPlan as reason:
        raise BadPlan(f"{path}: {reason}") from None
    if len(journal.records) != len(journal.steps):
        raise BadPlan(f"{path} has {len(journal.steps)} steps and records of {len(journal.records)}")
    return journal


def _record_of(data: Json) -> Record:
    fields = mapping(data, "a record")
    saved = None
    if fields.get("saved") is not None:
        file = mapping(fields.get("saved"), "a saved file")
        content = base64.b64decode(text(file, "data"), validate=True)
        saved = Saved(content, *(_number(file, name) for name in ("mode", "user", "group")))
    return Record(
        Progress(text(fields, "progress")),
        flag(fields, "proved_before"),
        text(fields, "boot"),
        saved,
        text(fields, "note"),
    )


def _number(fields: Mapping[str, Json], name: str) -> int:
    found = fields.get(name)
    if not isinstance(found, int) or found < 0:
        raise BadPlan(f"{name!r} is no number")
    return found


def _seconds(fields: Mapping[str, Json], name: str) -> float:
    found = fields.get(name)
    if not isinstance(found, int | float):
        raise BadPlan(f"{name!r} is no time")
    return float(found)
