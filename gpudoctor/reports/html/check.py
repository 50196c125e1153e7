"""The report of `check` as a page: the cause first, what it explains, what to do; proof folded, nothing left out."""

import shlex
from collections.abc import Iterable, Iterator, Sequence

from gpudoctor.diagnose import explained_by
from gpudoctor.findings import Outcome, Ranked, Report, Severity, Status
from gpudoctor.registry import Facts, registry
from gpudoctor.repair import fixes_for
from gpudoctor.reports.html.elements import Element, Node, element
from gpudoctor.reports.html.machine import environments_section, gpus_section, machine_lead, trials_section
from gpudoctor.reports.html.page import page
from gpudoctor.reports.html.pieces import (
    KINDS,
    badge,
    command,
    counted,
    disclosure,
    icon,
    listed,
    pairs,
    prose,
    section,
    table,
)
from gpudoctor.reports.machine import machine_summary
from gpudoctor.reports.text import CERTAINTY, NOT_RECORDED, verdict_of

_KINDS = {
    Status.OK: "ok",
    Status.BLOCKED: "skipped",
    Status.UNKNOWN: "unknown",
    Status.CRASHED: "unknown",
    Status.SKIPPED: "skipped",
}
_WEIGHTY = "It keeps this machine from being called fine."
_WORDS = {Status.BLOCKED: "explained", Status.CRASHED: "our own bug", Status.FOUND: "found"}


def as_html(command: str, report: Report, facts: Facts, duration_ms: int) -> str:
    """The whole page, with a final line break. The fixes' plugins must be loaded."""
    machine = machine_summary(facts)
    wrong = [ranked for ranked in report.findings if ranked.severity > Severity.INFO and not ranked.acknowledged]
    known = [ranked for ranked in report.findings if ranked not in wrong]
    places = {id(ranked): f"finding-{number}" for number, ranked in enumerate(report.findings, 1)}
    anchors = [(ranked, places[id(ranked)]) for ranked in report.findings]
    verdict = verdict_of(report, command)
    return page(
        f"gpudoctor {command}: {verdict}",
        command,
        report.status,
        verdict,
        _findings("What is wrong, and what to do", wrong, report, places),
        _findings("Worth knowing", known, report, places),
        gpus_section(facts, anchors),
        environments_section(machine, anchors),
        trials_section(machine),
        _untold(report.outcomes),
        _checked(report.outcomes),
        lead=machine_lead(machine),
        ending=f"took {duration_ms:,} ms · exit code {report.exit_code}",
    )


def _findings(title: str, findings: Sequence[Ranked], report: Report, places: dict[int, str]) -> Element | None:
    if not findings:
        return None
    return section(title, *(_finding(ranked, report, places[id(ranked)]) for ranked in findings))


def _finding(ranked: Ranked, report: Report, anchor: str) -> Element:
    finding, kind = ranked.finding, ranked.severity.name.lower()
    where = [("On", finding.subject), ("In", finding.environment)]
    notes = [
        *([f"Acknowledged until {told.expires}: {told.reason}"] if (told := ranked.acknowledged) else []),
        *([CERTAINTY[ranked.certainty]] if ranked.certainty else []),
    ]
    return element(
        "article",
        _labels(kind, kind, ranked.check.id),
        element("h3", *prose(ranked.headline)),
        *(element("p", *prose(note)) for note in notes),
        pairs(((name, element("code", value)) for name, value in where if value), "where")
        if any(value for _, value in where)
        else None,
        _consequences(ranked, report.outcomes),
        _remedy(ranked),
        _proof(ranked),
        class_=f"finding {kind}",
        id=anchor,
    )


def _labels(kind: str, word: str, id: str) -> Element:
    # The blank is for whoever copies it, or has no style sheet.
    return element("div", badge(kind, word), " ", element("code", id, class_="id"), class_="labels")


def _consequences(ranked: Ranked, outcomes: Sequence[Outcome]) -> Element | None:
    """What fired as well, and is over once the cause is."""
    rows: list[Node] = []
    for outcome in outcomes:
        if outcome.check.id in ranked.explains:
            said = dict.fromkeys(finding.summary for finding in explained_by(ranked.finding, outcome))
            for summary in said or (outcome.check.title,):
                rows.append(element("span", *prose(summary), " ", element("code", outcome.check.id, class_="id")))
    if not rows:
        return None
    return element("div", element("h4", "It explains"), listed(rows), class_="explains")


def _remedy(ranked: Ranked) -> Element | None:
    id = ranked.check.id
    fixes = [registry.fixes[name] for name in fixes_for(id)]
    parts: list[Node] = [element("p", *prose(ranked.finding.remedy))] if ranked.finding.remedy else []
    if fixes:
        parts.append(element("p", "gpudoctor plans it step by step, shows every step, and asks before it begins:"))
        where = ["--python", ranked.finding.environment] if ranked.finding.environment else []
        parts.append(command(shlex.join(["gpudoctor", "fix", "--only", id, *where])))
        first = "It takes the least invasive that helps here:" if len(fixes) > 1 else "It would:"
        parts.append(element("p", first, class_="note"))
        parts.append(listed((element("span", *prose(fix.title)) for fix in fixes), "ways"))
    elif ranked.severity > Severity.INFO:
        parts += [element("p", "This is for a person to repair. What it means, and what comes of it:")]
        parts += [command(f"gpudoctor explain {id}")]
    return element("div", element("h4", "What to do"), *parts, class_="remedy") if parts else None


def _proof(ranked: Ranked) -> Element | None:
    evidence = ranked.finding.evidence
    if not evidence:
        return None
    return disclosure(
        f"Proof: {counted(len(evidence), 'reading')}",
        element(
            "dl",
            *(element("div", element("dt", one.source), element("dd", one.value)) for one in evidence),
            class_="evidence",
        ),
        class_="proof",
    )


def _untold(outcomes: Sequence[Outcome]) -> Element | None:
    """Unknown is not fine: by reason, what it left undecided. Crashes are ours, with the traceback to report."""
    reasons: dict[str, list[Outcome]] = {}
    crashed = [outcome for outcome in outcomes if outcome.status is Status.CRASHED]
    for outcome in outcomes:
        if outcome.reason and not outcome.not_running and outcome.status in (Status.UNKNOWN, Status.FOUND):
            reasons.setdefault(NOT_RECORDED if outcome.not_recorded else outcome.reason, []).append(outcome)
    if not (reasons or crashed):
        return None
    # What keeps the machine from being called fine comes first.
    ordered = sorted(reasons.items(), key=lambda item: not any(one.matters for one in item[1]))
    return section(
        "What could not be told",
        *(_unknown(reason, members) for reason, members in ordered),
        *(_crash(outcome) for outcome in crashed),
    )


def _unknown(reason: str, members: Sequence[Outcome]) -> Element:
    matters = any(one.matters for one in members)
    return element(
        "article",
        element(
            "div",
            badge("unknown", "unknown"),
            f" {_WEIGHTY}" if matters else None,
            class_="labels",
        ),
        element("h3", *prose(reason)),
        listed(_named(one) for one in members),
        class_="untold",
    )


def _crash(outcome: Outcome) -> Element:
    last = outcome.reason.strip().splitlines()[-1:] or ["no reason given"]
    return element(
        "article",
        _labels("unknown", "our own bug", outcome.check.id),
        element("h3", last[0]),
        disclosure("Traceback, for the report of the bug", element("pre", outcome.reason), class_="proof"),
        class_="untold",
    )


def _checked(outcomes: Sequence[Outcome]) -> Element:
    ordered = sorted(outcomes, key=lambda outcome: outcome.check.id)
    words: dict[str, list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: [*Status].index(outcome.status)):
        words.setdefault(_word(outcome), []).append(outcome)
    return section(
        "What was checked",
        listed((badge(_worst_kind(members), f"{len(members):,} {word}") for word, members in words.items()), "counts"),
        *_idle(outcomes),
        disclosure(
            f"All {counted(len(outcomes), 'check')}",
            table("All checks", ("Check", "Outcome", "Why"), (_row(outcome) for outcome in ordered), "checks"),
        ),
    )


def _idle(outcomes: Iterable[Outcome]) -> Iterator[Element]:
    """Why so many were not run, a line for each reason."""
    reasons: dict[tuple[str, str], int] = {}
    for outcome in outcomes:
        if outcome.status is Status.SKIPPED:
            reasons[("skipped", outcome.reason)] = reasons.get(("skipped", outcome.reason), 0) + 1
        elif outcome.not_running:
            reason = outcome.reason.partition(": ")[2] or outcome.reason
            reasons[("not asked", reason)] = reasons.get(("not asked", reason), 0) + 1
    if reasons:
        yield listed(
            (
                element("span", *prose(f"{counted(count, 'check')} {word}: {reason}"))
                for (word, reason), count in reasons.items()
            ),
            "idle",
        )


def _row(outcome: Outcome) -> tuple[Node, Node, Node]:
    why = outcome.reason.strip().splitlines()[-1:] or (["see above"] if outcome.status is Status.FOUND else [""])
    kind = _kind(outcome)
    mark = element("span", icon(kind), _word(outcome), class_=f"outcome {kind}")
    return _named(outcome), mark, element("span", *prose(why[0]))


def _word(outcome: Outcome) -> str:
    if outcome.same_reason:
        return "unknown for a reason told above"
    return "not asked" if outcome.not_running else _WORDS.get(outcome.status, outcome.status.value)


def _kind(outcome: Outcome) -> str:
    if outcome.not_running:
        return "skipped"
    if outcome.status is not Status.FOUND:
        return _KINDS[outcome.status]
    return max(finding.severity or outcome.check.severity for finding in outcome.findings).name.lower()


def _worst_kind(outcomes: Sequence[Outcome]) -> str:
    kinds = {_kind(outcome) for outcome in outcomes}
    return next(kind for kind in KINDS if kind in kinds)


def _named(outcome: Outcome) -> Element:
    title = outcome.check.title
    words = [] if title == outcome.check.id else [element("br"), element("span", *prose(title), class_="title")]
    return element("span", element("code", outcome.check.id), *words, class_="check")
