"""What has come and gone since the last look: the memory of `check --changed-since`, and of the hooks for timers."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gpudoctor.findings import Outcome, Problem, Report, Severity
from gpudoctor.host import BadSource
from gpudoctor.reports.text import visible
from gpudoctor.state import replace_file, require_own

ACKNOWLEDGED, UNKNOWN = "ACKNOWLEDGED", "UNKNOWN"
_BEGINNINGS = (b"[]", b'[["')  # of every file that `write_state` has written, without the white space


class Known(NamedTuple):
    """What the last report said of a problem."""

    severity: str  # name of a Severity, UNKNOWN or ACKNOWLEDGED
    summary: str
    remedy: str


State = Mapping[Problem, Known]


class Changes(NamedTuple):
    """Since the last look."""

    came: State  # what is new or worse, and what is no longer acknowledged
    went: State  # what is gone, as it was known last
    eased: State  # warnings that were errors


def state_after(report: Report, before: State) -> State:
    """What is wrong now. A problem that was known stays so where its check could not tell this time."""
    found = {
        ranked.problem: Known(
            ACKNOWLEDGED if ranked.acknowledged else ranked.severity.name,
            visible(ranked.finding.summary),
            visible(ranked.finding.remedy),
        )
        for ranked in report.findings
        if ranked.severity > Severity.INFO
    }
    for outcome in report.outcomes:
        if outcome.matters:
            found[outcome.check.id, "", "unknown"] = Known(UNKNOWN, _reason(outcome), "")
    silent = {outcome.check.id for outcome in report.outcomes if not outcome.looked}
    kept = {problem: known for problem, known in before.items() if problem[0] in silent and problem[2] != "unknown"}
    return {**kept, **found}


def _reason(outcome: Outcome) -> str:
    return visible(f"{outcome.check.id} could not be told: {outcome.why}")


def changes_between(before: State, now: State) -> Changes:
    """What a person wants to hear of: that something was acknowledged is no news to who did it."""
    return Changes(
        {problem: known for problem, known in now.items() if _is_news(known, before.get(problem))},
        {problem: known for problem, known in before.items() if problem not in now},
        {
            problem: known
            for problem, known in now.items()
            if known.severity == "WARNING" and problem in before and before[problem].severity == "ERROR"
        },
    )


def _is_news(known: Known, before: Known | None) -> bool:
    """Is it new, or an error that was a warning, or no longer acknowledged?"""
    if known.severity == ACKNOWLEDGED:
        return False
    if before is None or before.severity == ACKNOWLEDGED:
        return True
    return known.severity == "ERROR" and before.severity != "ERROR"


def changes_in_words(before: State, now: State) -> str:
    """A report for a person, "" if nothing has changed."""
    changes = changes_between(before, now)
    if not any(changes):
        return ""
    came: dict[str, list[Known]] = {"New:": [], "Worse:": [], "No longer acknowledged:": []}
    for problem, known in changes.came.items():
        was = before.get(problem)
        heading = "New:" if was is None else "Worse:" if was.severity != ACKNOWLEDGED else "No longer acknowledged:"
        came[heading].append(known)
    paragraphs = [[heading, *_listed(rows)] for heading, rows in came.items() if rows]
    for heading, state in (("Less severe than before:", changes.eased), ("Gone:", changes.went)):
        rows = [f"  {known.severity} {known.summary}" for known in state.values()]
        paragraphs += [[heading, *rows]] if rows else []
    still = len(now) - len(changes.came) - len(changes.eased)
    last = [f"{still} more as before."] if still else []
    if changes.came:
        # Nothing repairs what could not be told.
        repairs = any(known.severity != UNKNOWN for known in changes.came.values())
        last.append(
            "`gpudoctor check` shows all of it with its proof" + (", `gpudoctor fix` repairs it." if repairs else ".")
        )
    elif not now:
        last.append("Nothing is wrong any more.")
    return "\n\n".join("\n".join(paragraph) for paragraph in (*paragraphs, last) if paragraph) + "\n"


def _listed(came: Iterable[Known]) -> Iterable[str]:
    for known in came:
        yield f"  {known.severity} {known.summary}"
        if known.remedy:
            yield f"    {known.remedy}"


def known_before(path: str, say: Callable[[str], None]) -> State:
    """What was told last; nothing the first time, and where the file is damaged, which is said: all is told anew then.

    Raises BadSource for a file that others could have written, OSError for one that cannot be read.
    """
    try:
        require_own(path)
        with open(path, encoding="utf-8") as file:
            rows = json.load(file)
        return {
            (str(id), str(subject), str(place)): Known(str(severity), str(summary), str(remedy))
            for id, subject, place, severity, summary, remedy in rows
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, RecursionError):
        say(f"{path} is damaged: everything is reported anew")
        return {}


def require_memory(path: str) -> None:
    """Refuse a file of something else, which would be overwritten; one that a crash left empty or short is no such.

    Raises BadSource, also for a file that others could have written, and OSError for one that cannot be read.
    """
    try:
        require_own(path)
        with open(path, "rb") as file:
            beginning = b"".join(file.read(64).strip(b"\0").split())
    except FileNotFoundError:
        return
    if not any(beginning.startswith(ours) or ours.startswith(beginning) for ours in _BEGINNINGS):
        raise BadSource(f"{path} is no file of --changed-since, and is left as it is: name another, or remove it first")


def write_state(path: str, now: State) -> None:
    """In one go: after a crash there is the old file or the new one. Raises OSError. `path` is absolute."""
    replace_file(path, json.dumps([[*problem, *known] for problem, known in sorted(now.items())], indent=1).encode())
