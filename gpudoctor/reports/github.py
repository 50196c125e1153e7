"""The report as annotations of GitHub Actions, and the job's summary.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands; the letters that are escaped are
those of the toolkit: https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.findings import Report, Severity
from gpudoctor.registry import Facts
from gpudoctor.reports.text import sentence, visible

MOST = 10  # annotations of one level that GitHub shows of a step; what comes after them is lost without a word
SUMMARY_LIMIT = 1024 * 1024  # bytes of a step's summary; a longer one is thrown away as a whole
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


class _Annotation(NamedTuple):
    level: str
    title: str
    message: str


def as_annotations(command: str, report: Report, facts: Facts, duration_ms: int) -> str:
    """Workflow commands, the cause first, as many as GitHub shows: the last one of a level counts the rest."""
    told: dict[str, list[_Annotation]] = {level: [] for level in _LEVELS.values()}
    for annotation in _annotations(report):
        told[annotation.level].append(annotation)
    lines = [_command(annotation) for level in told.values() for annotation in _capped(level)]
    return "".join(f"{line}\n" for line in lines)


def _annotations(report: Report) -> Iterator[_Annotation]:
    for ranked in report.findings:
        finding = ranked.finding
        words = [ranked.headline]
        words += [f"{evidence.source}: {evidence.value}" for evidence in finding.evidence]
        words += [f"What to do: {finding.remedy}"] if finding.remedy else []
        words += [f"It explains: {', '.join(ranked.explains)}"] if ranked.explains else []
        level = _LEVELS[ranked.severity]
        if ranked.acknowledged:
            level = "notice"
            words.append(f"Acknowledged until {ranked.acknowledged.expires}: {ranked.acknowledged.reason}")
        yield _Annotation(level, f"gpudoctor {ranked.check.id}", "\n".join(visible(word) for word in words))
    level = "error" if "unknown" in report.exits.failing else "warning"
    if report.untold:
        yield _Annotation(level, "gpudoctor", visible(sentence(report.untold)))
    for outcome in report.outcomes:
        if outcome.matters:
            yield _Annotation(level, f"gpudoctor {outcome.check.id}", visible(f"It could not be told: {outcome.why}"))


def _capped(annotations: list[_Annotation]) -> list[_Annotation]:
    if len(annotations) <= MOST:
        return annotations
    rest = annotations[MOST - 1 :]
    titles = ", ".join(dict.fromkeys(annotation.title.removeprefix("gpudoctor ") for annotation in rest))
    more = _Annotation(rest[0].level, f"gpudoctor: {len(rest)} more", f"Not shown one by one: {titles}")
    return [*annotations[: MOST - 1], more]


def _command(annotation: _Annotation) -> str:
    return f"::{annotation.level} title={escaped_property(annotation.title)}::{escaped(annotation.message)}"


def escaped(text: str) -> str:
    """As the toolkit's escapeData."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escaped_property(text: str) -> str:
    """As the toolkit's escapeProperty."""
    return escaped(text).replace(":", "%3A").replace(",", "%2C")


def summary_file() -> str:
    """Where the runner wants the job's summary of this step, "" outside of a runner."""
    return os.environ.get("GITHUB_STEP_SUMMARY", "")


def append_summary(path: str, text: str) -> None:
    """Add to the summary of this step what fits into it, cut at the end of a line. Raises OSError."""
    with open(path, "ab") as file:
        room = SUMMARY_LIMIT - file.tell()
        data = text.encode("utf-8", "replace")
        if len(data) > room:
            notice = b"\n\n(cut: a summary holds 1 MiB)\n"
            data = data[: max(room - len(notice), 0)].rpartition(b"\n")[0] + notice
        file.write(data if len(data) <= room else b"")
