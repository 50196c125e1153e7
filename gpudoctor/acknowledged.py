"""Findings that somebody knows of: they stay visible, do not fail, and come back when they change or time is up.

The file, one table a finding:

    [[acknowledged]]
    id = "health.power-throttle"
    subject = "0000:17:00.0"
    severity = "warning"
    reason = "The power limit of this rack is lowered until its feed is renewed."
    expires = 2027-01-31
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from gpudoctor.findings import Acknowledgement, Problem, Ranked, Report, Severity
from gpudoctor.host import BadSource
from gpudoctor.near_names import meant, near_checks
from gpudoctor.registry import registry
from gpudoctor.toml_files import Table, read_toml, require_keys

LASTS = timedelta(days=90)  # where nobody has said yet how long

_UNEXPLAINED, _BEFORE = "Not explained yet;", " Acknowledged before,"

_KEYS = ("id", "subject", "environment", "severity", "reason", "expires")
_SEVERITIES: Mapping[str, Severity] = {"warning": Severity.WARNING, "error": Severity.ERROR}


class Entry(NamedTuple):
    """One finding, as it was when it was acknowledged."""

    problem: Problem
    severity: Severity
    reason: str
    expires: date  # its last day


def load_baseline(path: str, patience: float | None = None) -> tuple[Entry, ...]:
    """Read the file; the checks must be loaded. Raises BadSource for whatever in it cannot be meant.

    `patience`: seconds for which a pipe may be silent.
    """
    table = read_toml(path, patience)
    require_keys(table, ("acknowledged",), path)
    rows = table.get("acknowledged", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadSource(f"{path}: a finding is acknowledged in a table of its own, [[acknowledged]]")
    entries = [_entry(row, f"{path}: finding {number}") for number, row in enumerate(rows, 1)]
    for number, entry in enumerate(entries):
        if any(other.problem == entry.problem for other in entries[:number]):
            raise BadSource(f"{path}: finding {number + 1}: {_named(entry.problem)} is acknowledged twice")
    return tuple(entries)


def _entry(row: Table, where: str) -> Entry:
    require_keys(row, _KEYS, where)
    id = _text(row, "id", where)
    if id not in registry.checks:
        question = meant(near_checks(id, registry.checks), "see `gpudoctor explain`")
        raise BadSource(f"{where}: there is no check {id!r}; {question}")
    severity = _text(row, "severity", where)
    if severity not in _SEVERITIES:
        raise BadSource(f"{where}: severity is {' or '.join(_SEVERITIES)}, not {severity!r}")
    reason = _text(row, "reason", where)
    if not reason.strip():
        raise BadSource(f"{where}: a reason says why {id} may stay as it is")
    problem = id, _text(row, "subject", where, missing=""), _text(row, "environment", where, missing="")
    return Entry(problem, _SEVERITIES[severity], reason, _day(row, where))


def _text(row: Table, key: str, where: str, *, missing: str | None = None) -> str:
    value = row.get(key, missing)
    if value is None:
        raise BadSource(f"{where}: {key} is missing")
    if not isinstance(value, str):
        raise BadSource(f"{where}: {key} is a text in quotes, not {value!r}")
    return value


def _day(row: Table, where: str) -> date:
    """A date of TOML's, or a text of the same form."""
    value = row.get("expires")
    if value is None:
        raise BadSource(f"{where}: expires is missing: the last day on which it is acknowledged, 2027-01-31")
    if type(value) is date:  # a datetime is a date as well, and no day
        return value
    try:
        day = date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        day = None
    if day is None or day.isoformat() != value:  # later Pythons read other forms as well
        raise BadSource(f"{where}: expires is a day like 2027-01-31, not {value}")
    return day


def acknowledge(report: Report, entries: Iterable[Entry], today: date) -> tuple[Report, tuple[str, ...]]:
    """The report with these findings acknowledged and put last, and why others of the same name were not."""
    known = {entry.problem: entry for entry in entries}
    standing: list[Ranked] = []
    acknowledged: list[Ranked] = []
    notes = []
    for ranked in report.findings:
        entry = known.get(_in_a_file(ranked.problem))
        why = _lapsed(ranked, entry, today) if entry else ""
        if entry and not why:
            acknowledged.append(ranked._replace(acknowledged=Acknowledgement(entry.reason, entry.expires.isoformat())))
            continue
        standing.append(ranked)
        if why:
            notes.append(f"{_named(ranked.problem)} is no longer acknowledged: {why}")
    return report._replace(findings=(*standing, *acknowledged)), tuple(notes)


def _lapsed(ranked: Ranked, entry: Entry, today: date) -> str:
    if today > entry.expires:
        return f"that ended on {entry.expires}"
    if ranked.severity is not entry.severity:
        return f"it was of severity {entry.severity.name.lower()}, and is of {ranked.severity.name.lower()} now"
    return ""


def entries_for(report: Report, before: Sequence[Entry], today: date) -> tuple[Entry, ...]:
    """What a file has to say so that all that is wrong now is acknowledged.

    `before`: entries that keep their reason and day where they still hold. Those of findings that are gone are left
    out, but for those that nobody could look for this time.
    """
    silent = {outcome.check.id for outcome in report.outcomes if not outcome.looked}
    known = {entry.problem: entry for entry in before}
    kept = {entry.problem: entry for entry in before if entry.problem[0] in silent and today <= entry.expires}
    for ranked in report.findings:
        if ranked.severity > Severity.INFO:
            problem = _in_a_file(ranked.problem)
            entry = known.get(problem)
            holds = entry is not None and not _lapsed(ranked, entry, today)
            if not entry or not holds:
                entry = Entry(problem, ranked.severity, _unexplained(entry, today), today + LASTS)
            kept[problem] = entry
    return tuple(sorted(kept.values()))


def _unexplained(lapsed: Entry | None, today: date) -> str:
    """What stands there until a person writes why. What a person wrote before is not lost."""
    words = f"{_UNEXPLAINED} it was so on {today}."
    if lapsed is None:
        return words
    if lapsed.reason.startswith(_UNEXPLAINED):
        return words + "".join(lapsed.reason.partition(_BEFORE)[1:])
    return f"{words}{_BEFORE} until {lapsed.expires}: {lapsed.reason}"


def as_toml(entries: Iterable[Entry]) -> str:
    """The whole file, as `load_baseline` reads it."""
    lines = [
        "# Findings that are known here: `gpudoctor check --baseline FILE` shows them, and does not fail for them.",
        "# Write the reason and the last day of each. `--save-baseline` writes this file anew, and keeps both.",
    ]
    for (id, subject, environment), severity, reason, expires in entries:
        lines += ["", "[[acknowledged]]", f"id = {_quoted(id)}", f"subject = {_quoted(subject)}"]
        lines += [f"environment = {_quoted(environment)}"] if environment else []
        lines += [f"severity = {_quoted(severity.name.lower())}", f"reason = {_quoted(reason)}", f"expires = {expires}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # The strings of JSON are strings of TOML, but for one control character that only TOML forbids.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _in_a_file(problem: Problem) -> Problem:
    """Names on the machine need not be UTF-8; a file of TOML is."""
    id, subject, environment = (word.encode("utf-8", "replace").decode("utf-8") for word in problem)
    return id, subject, environment


def _named(problem: Problem) -> str:
    id, *rest = problem
    about = ", ".join(word for word in rest if word)
    return f"{id} ({about})" if about else id
