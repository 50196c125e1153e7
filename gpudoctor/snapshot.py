"""Recorded machines: a snapshot is the answers that the checks got, so a replay gives the same outcomes.

Feeding a snapshot runs nothing: it is read as data, and what was not asked then is unknown now.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from gpudoctor.host import (
    PROBE_TIMEOUT,
    BadSource,
    Completed,
    FileStatus,
    Host,
    NotRecorded,
    NotRunning,
    ProbeAnswer,
    SqlValue,
    Unavailable,
)
from gpudoctor.plain_files import read_named
from gpudoctor.plain_json import plain_json

SCHEMA = 1
_LONGEST = 256 << 20  # bytes; a machine with many Python environments has some millions

_NAMED = "pythons"  # no question of the host's: what the user said when it was recorded

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


class SnapshotHost(Host):
    """The answers of another machine, by question."""

    source = "snapshot"

    def __init__(self, answers: Mapping[str, Json]) -> None:
        self._answers = answers
        named = answers.get(_NAMED)
        self.pythons = tuple(str(path) for path in named) if isinstance(named, list) else ()

    def read(self, path: str, *, first: int | None = None, last: int | None = None) -> str | None:
        return self._text(_read_key(path, first, last))

    def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
        answer = self._text(_key("bytes", path, limit, offset))
        try:
            return None if answer is None else base64.b64decode(answer, validate=True)
        except ValueError as error:
            raise Unavailable(f"the snapshot's bytes of {path} are damaged: {error}") from error

    def list(self, path: str) -> tuple[str, ...] | None:
        answer = self._answer(_key("list", path))
        if answer is None:
            return None
        if not isinstance(answer, list):
            self._damaged(_key("list", path))
        return tuple(str(name) for name in answer)

    def link(self, path: str) -> str | None:
        return self._text(_key("link", path))

    def resolve(self, path: str) -> str | None:
        return self._text(_key("resolve", path))

    def status(self, path: str) -> FileStatus | None:
        match self._answer(_key("status", path)):
            case None:
                return None
            case [
                str(kind),
                int(mode),
                int(user),
                int(group),
                int(size),
                int() | float() as modified,
                [int(a), int(b)],
            ]:
                return FileStatus(kind, mode, user, group, size, modified, (a, b))
            case _:
                self._damaged(_key("status", path))

    def digest(self, path: str) -> str | None:
        return self._text(_key("digest", path))

    def free_bytes(self, path: str) -> int | None:
        answer = self._answer(_key("free", path))
        if answer is None or isinstance(answer, int):
            return answer
        self._damaged(_key("free", path))

    def query(
        self, path: str, sql: str, parameters: Sequence[SqlValue] = ()
    ) -> tuple[tuple[SqlValue, ...], ...] | None:
        key = _key("query", path, sql, *parameters)
        answer = self._answer(key)
        if answer is None:
            return None
        if not isinstance(answer, list):
            self._damaged(key)
        return tuple(tuple(_sql_value(value) for value in row) for row in answer if isinstance(row, list))

    def run(self, argv: Sequence[str], *, timeout: float = PROBE_TIMEOUT) -> Completed | None:
        key = _key("run", *argv)
        match self._answer(key):
            case None:
                return None
            case {"exit_code": int(code), "stdout": str(stdout), "stderr": str(stderr)}:
                return Completed(tuple(argv), code, stdout, stderr)
            case _:
                self._damaged(key)

    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        return {name: self._probe(_key("probe", name)) for name in names}

    def try_framework(self, interpreter: str, framework: str, timeout: float) -> ProbeAnswer:
        return self._probe(_key("framework", interpreter, framework))

    def _probe(self, key: str) -> ProbeAnswer:
        match self._answer(key):
            case {"answer": dict(answer)}:
                return ProbeAnswer(answer, "")
            case {"failure": str(failure)}:
                return ProbeAnswer(None, failure)
            case _:
                self._damaged(key)

    def _text(self, key: str) -> str | None:
        answer = self._answer(key)
        if answer is None or isinstance(answer, str):
            return answer
        self._damaged(key)

    def _answer(self, key: str) -> Json:
        try:
            answer = self._answers[key]
        except KeyError:
            raise NotRecorded(f"not in the snapshot: {key}") from None
        if isinstance(answer, dict) and isinstance(answer.get("unavailable"), str):
            kind = NotRunning if answer.get("not_running") else Unavailable
            raise kind(answer["unavailable"])
        return answer

    def _damaged(self, key: str) -> NoReturn:
        raise Unavailable(f"the snapshot's answer to {key!r} is damaged")


class RecordingHost(Host):
    """Remembers every answer of another host, to be replayed elsewhere. `answers` fills as it is asked."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.source = host.source
        self.pythons = host.pythons
        self.answers: dict[str, Json] = {_NAMED: [*host.pythons]} if host.pythons else {}
        self._replay = SnapshotHost(self.answers)

    def read(self, path: str, *, first: int | None = None, last: int | None = None) -> str | None:
        self._record(_read_key(path, first, last), lambda: self._host.read(path, first=first, last=last))
        return self._replay.read(path, first=first, last=last)

    def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
        def ask() -> str | None:
            data = self._host.read_bytes(path, limit, offset=offset)
            return None if data is None else base64.b64encode(data).decode()

        self._record(_key("bytes", path, limit, offset), ask)
        return self._replay.read_bytes(path, limit, offset=offset)

    def list(self, path: str) -> tuple[str, ...] | None:
        def ask() -> Json:
            names = self._host.list(path)
            return None if names is None else [*names]

        self._record(_key("list", path), ask)
        return self._replay.list(path)

    def link(self, path: str) -> str | None:
        self._record(_key("link", path), lambda: self._host.link(path))
        return self._replay.link(path)

    def resolve(self, path: str) -> str | None:
        self._record(_key("resolve", path), lambda: self._host.resolve(path))
        return self._replay.resolve(path)

    def status(self, path: str) -> FileStatus | None:
        def ask() -> Json:
            found = self._host.status(path)
            return None if found is None else [*found[:-1], [*found.device]]

        self._record(_key("status", path), ask)
        return self._replay.status(path)

    def digest(self, path: str) -> str | None:
        self._record(_key("digest", path), lambda: self._host.digest(path))
        return self._replay.digest(path)

    def free_bytes(self, path: str) -> int | None:
        self._record(_key("free", path), lambda: self._host.free_bytes(path))
        return self._replay.free_bytes(path)

    def query(
        self, path: str, sql: str, parameters: Sequence[SqlValue] = ()
    ) -> tuple[tuple[SqlValue, ...], ...] | None:
        def ask() -> Json:
            rows = self._host.query(path, sql, parameters)
            return None if rows is None else [[_json_value(value) for value in row] for row in rows]

        self._record(_key("query", path, sql, *parameters), ask)
        return self._replay.query(path, sql, parameters)

    def run(self, argv: Sequence[str], *, timeout: float = PROBE_TIMEOUT) -> Completed | None:
        def ask() -> Json:
            done = self._host.run(argv, timeout=timeout)
            return done and {"exit_code": done.exit_code, "stdout": done.stdout, "stderr": done.stderr}

        self._record(_key("run", *argv), ask)
        return self._replay.run(argv)

    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        answers = self._host.probe(names)
        for name, answer in answers.items():
            self.answers[_key("probe", name)] = _recorded(answer)
        return answers

    def try_framework(self, interpreter: str, framework: str, timeout: float) -> ProbeAnswer:
        self._record(
            _key("framework", interpreter, framework),
            lambda: _recorded(self._host.try_framework(interpreter, framework, timeout)),
        )
        return self._replay.try_framework(interpreter, framework, timeout)

    def _record(self, key: str, ask: Callable[[], Json]) -> None:
        try:
            self.answers[key] = ask()
        except NotRecorded:
            pass  # the replay raises it again: a recording of a snapshot has what that has, and no more
        except NotRunning as reason:
            self.answers[key] = {"unavailable": str(reason), "not_running": True}
        except Unavailable as reason:
            self.answers[key] = {"unavailable": str(reason)}


def load(path: str, patience: float | None = None) -> SnapshotHost:
    """Open a snapshot file; "-" is standard input. Raises BadSource, in words for the user, if it is none.

    `patience`: seconds for which a pipe may be silent.
    """
    data = read_named(path, _LONGEST + 1, patience=patience, standard_input=True)
    path = "standard input" if path == "-" else path
    try:
        document = plain_json(data.decode()) if len(data) <= _LONGEST else None
    except ValueError as error:
        raise BadSource(f"{path}: not a snapshot: {error}") from error
    match document:
        case {"schema": int(schema), "answers": dict(answers)} if schema == SCHEMA:
            return SnapshotHost(answers)
        case {"schema": int(schema), "answers": _} if schema == SCHEMA:
            raise BadSource(f"{path}: not a snapshot: its answers are no object")
        case {"schema": int(schema), "answers": _}:
            raise BadSource(f"{path}: snapshot of schema {schema}; this gpudoctor reads schema {SCHEMA}")
        case _:
            raise BadSource(f"{path}: not a snapshot: no schema number and answers in it")


def as_document(answers: Mapping[str, Json], version: str) -> dict[str, Json]:
    """The snapshot file's content, ready for json.dump."""
    return {"schema": SCHEMA, "gpudoctor": version, "answers": dict(sorted(answers.items()))}


def _key(question: str, *words: SqlValue) -> str:
    said = (word for word in words if word is not None and word != 0)
    return " ".join([question, *(word if isinstance(word, str) else repr(word) for word in said)])


def _read_key(path: str, first: int | None, last: int | None) -> str:
    return _key("read", path, *(("first", first) if first else ()), last)


def _recorded(probed: ProbeAnswer) -> Json:
    return {"failure": probed.failure} if probed.answer is None else {"answer": _plain(probed.answer)}


def _plain(value: Mapping[str, object]) -> Json:
    plain: Json = json.loads(json.dumps(value))
    return plain


def _json_value(value: SqlValue) -> Json:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _sql_value(value: Json) -> SqlValue:
    match value:
        case {"base64": str(text)}:
            return base64.b64decode(text)
        case str() | int() | float() | None:
            return value
        case _:
            raise Unavailable("a damaged value in the snapshot's database rows")
