"""The report as GitHub's Markdown: for issues, pull requests, chats and the summary of a CI job."""

import re
from collections.abc import Iterator

from gpudoctor import __version__
from gpudoctor.findings import Outcome, Ranked, Report, Status
from gpudoctor.registry import Facts
from gpudoctor.reports.machine import in_words, machine_summary
from gpudoctor.reports.text import CERTAINTY, verdict_of, visible

# Of the marks of Markdown those that mean something within a line: none of our lines begins with a foreign word.
_MARKS = re.compile(r"([\\`*_\[\]<>#|~&@])")


def as_markdown(command: str, report: Report, facts: Facts, duration_ms: int) -> str:
    """The cause first, its proof folded. Nothing that the machine says is taken for Markdown or HTML."""
    return "\n".join(_lines(command, report, facts, duration_ms)) + "\n"


def _lines(command: str, report: Report, facts: Facts, duration_ms: int) -> Iterator[str]:
    yield f"## gpudoctor {command}: {report.status}"
    yield ""
    yield f"{prose(verdict_of(report, command))} ({duration_ms} ms, exit code {report.exit_code})"
    yield ""
    yield from _machine(facts)
    for ranked in report.findings:
        yield from _finding(ranked)
    yield from _undecided([outcome for outcome in report.outcomes if outcome.matters])
    counts = {status: sum(outcome.status is status for outcome in report.outcomes) for status in Status}
    told = ", ".join(f"{count} {status.value}" for status, count in counts.items() if count)
    yield f"{len(report.outcomes)} checks: {told}. gpudoctor {__version__}"


def _machine(facts: Facts) -> Iterator[str]:
    machine = machine_summary(facts)
    rows = {
        "System": " · ".join(word for word in (machine.os_name, machine.confinement) if word),
        "Kernel": machine.kernel_words,
        "Driver": machine.driver,
        "GPU": in_words(machine.gpus),
    }
    lines = [f"| {name} | {prose(value)} |" for name, value in rows.items() if value]
    for one in machine.pythons:
        if one.frameworks:
            where = f"{prose(one.prefix)}: " if one.prefix else ""
            lines.append(f"| Python {prose(one.version)} | {where}{prose(', '.join(one.frameworks))} |")
    if lines:
        yield from ("| Machine | |", "| --- | --- |", *lines, "")


def _finding(ranked: Ranked) -> Iterator[str]:
    finding = ranked.finding
    word = "ACKNOWLEDGED" if ranked.acknowledged else ranked.severity.name
    yield f"### {word}: {prose(ranked.headline)}"
    yield ""
    certainty = [CERTAINTY[ranked.certainty]] if ranked.certainty else []
    about = [code(ranked.check.id), *certainty, *(code(one) for one in (finding.subject, finding.environment) if one)]
    yield " · ".join(about)
    yield ""
    if ranked.acknowledged:
        yield f"Acknowledged until {prose(ranked.acknowledged.expires)}: {prose(ranked.acknowledged.reason)}"
        yield ""
    if finding.remedy:
        yield f"**What to do.** {prose(finding.remedy)}"
        yield ""
    if ranked.explains:
        yield f"It explains: {', '.join(code(id) for id in ranked.explains)}"
        yield ""
    if finding.evidence:
        yield "<details><summary>Proof</summary>"
        yield ""
        yield from (f"- {code(evidence.source)}: {code(evidence.value)}" for evidence in finding.evidence)
        yield ""
        yield "</details>"
        yield ""


def _undecided(outcomes: list[Outcome]) -> Iterator[str]:
    if outcomes:
        yield "### Could not be told"
        yield ""
        for outcome in outcomes:
            yield f"- {code(outcome.check.id)}: {prose(outcome.why)}"
        yield ""


def prose(text: str) -> str:
    """As it stands there; what is between two backticks becomes code, as our own sentences mean it."""
    parts = visible(text).split("`")
    if len(parts) % 2 == 0:  # a backtick of somebody else's
        return _escaped(visible(text))
    return "".join(code(part) if number % 2 else _escaped(part) for number, part in enumerate(parts))


def code(text: str) -> str:
    """A code span, whatever is in the text: a backtick would end it, a pipe would end the cell of a table."""
    plain = visible(text).strip()
    if not plain or "`" in plain or "|" in plain or "\\" in plain:
        return _escaped(plain)
    return f"`{plain}`"


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\1", text)
