"""The report for a person: the cause first, its proof, what to do; the rest folded to one line per domain."""

from collections.abc import Iterator, Sequence

from gpudoctor import __version__
from gpudoctor.findings import Outcome, Ranked, Report, Severity, Status
from gpudoctor.registry import Facts
from gpudoctor.reports.machine import SOURCES, MachineSummary, in_words, machine_summary

WIDTH = 80

NOT_RECORDED = "not in the snapshot: gpudoctor did not ask for this when it was recorded"

STYLES = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "info": "\x1b[1;36m",
    "ok": "\x1b[1;32m",
    "unknown": "\x1b[1;35m",
}
# How certain a cause is that a text points to.
CERTAINTY = {
    "shown": "the text shows it",
    "likely": "likely, by what the text says",
    "possible": "possible, by what the text says",
}
BOLD, DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def as_text(report: Report, facts: Facts, duration_ms: int, *, colour: bool) -> str:
    """At most 80 columns wherever the words allow it."""
    machine = machine_summary(facts)
    lines = [*_head(machine, colour), ""]
    for ranked in report.findings:
        lines += [*finding_lines(ranked, colour), ""]
    lines += [*_rest(report.outcomes, colour), "", *_verdict(report, duration_ms, colour)]
    return "\n".join(lines) + "\n"


def _head(machine: MachineSummary, colour: bool) -> Iterator[str]:
    where = SOURCES[machine.source]
    kernel = f"kernel {machine.kernel_words}" if machine.kernel else ""
    driver = f"driver {machine.driver} loaded" if machine.driver else ""
    words = [machine.os_name, where, machine.confinement, kernel, driver]
    yield from wrapped(
        " · ".join(word for word in (f"gpudoctor {__version__}", *words) if word), "", DIM if colour else ""
    )
    if machine.gpus:
        yield from wrapped(f"GPU: {in_words(machine.gpus)}", "", DIM if colour else "")
    for one in machine.pythons:
        if one.in_use and one.frameworks:
            line = f"Python {one.version} in {one.prefix}: {', '.join(one.frameworks)}"
            yield from wrapped(line, "", DIM if colour else "", hanging="  ")
    others = sum(not one.in_use for one in machine.pythons)
    if others:
        more = f"{others} more Python environment{'s' if others > 1 else ''} with GPU frameworks, not in use"
        yield from wrapped(more, "", DIM if colour else "")
    for tried in machine.trials:
        yield from wrapped(f"Tried: {tried.words}", "", DIM if colour else "", hanging="  ")
    if machine.before_asking is not None:
        state = ", ".join(folded(machine.before_asking)) or "none"
        # Asking the driver may load modules and make device nodes: what was there shows what others had.
        yield from wrapped(f"NVIDIA modules and devices when this run began: {state}", "", DIM if colour else "")


def folded(names: Sequence[str]) -> Iterator[str]:
    """/dev/nvidia0 ... /dev/nvidia7 as one word."""
    numbered = [name for name in names if name.startswith("/dev/nvidia") and name[11:].isdigit()]
    for name in names:
        if name not in numbered or len(numbered) < 3:
            yield name
        elif name == numbered[0]:
            yield f"{len(numbered)} nodes /dev/nvidia[0-9]"


def finding_lines(ranked: Ranked, colour: bool, *, when: str = "", remedy: str = "What to do") -> Iterator[str]:
    """Summary, id, proof, remedy under this heading, what it explains. `when`: said behind the id."""
    finding, word = ranked.finding, ranked.severity.name.lower()
    label = word.upper().ljust(9)
    first, *more = wrapped(ranked.headline, " " * len(label))
    mark, bold = (DIM, DIM) if ranked.acknowledged else (STYLES[word], BOLD)
    mark, bold = (mark, bold) if colour else ("", "")
    yield styled(label, mark) + styled(first[len(label) :], bold)
    yield from (styled(line, bold) for line in more)
    yield from wrapped(f"{ranked.check.id}{when and f' · {when}'}", "         ", DIM if colour else "")
    if finding.evidence:
        yield "  Proof"
        for evidence in finding.evidence:
            yield from wrapped(f"{evidence.source}: {evidence.value}", "    ", hanging="      ")
    if finding.remedy:
        yield f"  {remedy}"
        yield from wrapped(finding.remedy, "    ")
    if ranked.acknowledged:
        known = f"Acknowledged until {ranked.acknowledged.expires}: {ranked.acknowledged.reason}"
        yield from wrapped(known, "  ", hanging="    ")
    if ranked.explains:
        yield from wrapped(f"It explains: {', '.join(ranked.explains)}", "  ", hanging="    ")


def _rest(outcomes: Sequence[Outcome], colour: bool) -> Iterator[str]:
    """One line for all that is fine, else a line per domain; what could not be told, and why, is never folded away.

    What an old snapshot does not have is one line as well: its reason is the same for all.
    """
    domains: dict[str, list[Outcome]] = {}
    idle: dict[tuple[str, str], int] = {}
    not_recorded: list[str] = []
    for outcome in outcomes:
        if outcome.status is Status.UNKNOWN and outcome.not_recorded:
            not_recorded.append(outcome.check.id)
        elif outcome.status is Status.UNKNOWN and outcome.not_running:
            why = ("not asked", outcome.reason.partition(": ")[2] or outcome.reason)
            idle[why] = idle.get(why, 0) + 1
        elif outcome.status is Status.SKIPPED:
            why = ("skipped", outcome.reason)
            idle[why] = idle.get(why, 0) + 1
        elif outcome.status is not Status.FOUND or outcome.reason:
            domains.setdefault(outcome.check.id.partition(".")[0], []).append(outcome)
    width = max((10, *(len(domain) for domain in domains)))
    clean = {name: members for name, members in domains.items() if all(m.status is Status.OK for m in members)}
    if clean:
        counted = ", ".join(f"{domain} {len(members)}" for domain, members in sorted(clean.items()))
        yield from _labelled("ok", counted, width, colour)
    for domain, members in sorted(domains.items()):
        if domain in clean:
            continue
        counts = {status: sum(member.status is status for member in members) for status in Status}
        counts[Status.FOUND] = 0  # shown above; here only for what else it could not tell
        said = ", ".join(f"{count} {status.value}" for status, count in counts.items() if count) or "not all told"
        mark = "unknown" if counts[Status.UNKNOWN] or counts[Status.CRASHED] else "ok" if counts[Status.OK] else ""
        yield f"{styled(domain.ljust(width), STYLES[mark] if colour and mark else '')} {said}"
        yield from _reasons(members)
    if not_recorded:
        named = f" ({', '.join(not_recorded)})" if len(not_recorded) < 4 else ""
        yield from _labelled("unknown", f"{_checks(len(not_recorded))}: {NOT_RECORDED}{named}", width, colour)
    for (word, reason), count in idle.items():
        checks = _checks(count)
        hanging = " " * (width + 1)
        yield from wrapped(f"{word.ljust(width)} {checks}: {reason}", "", DIM if colour else "", hanging=hanging)


def _checks(count: int) -> str:
    return f"{count} check{'s' if count > 1 else ''}"


def _labelled(word: str, text: str, width: int, colour: bool) -> Iterator[str]:
    """The word in its own style, and the text beside it."""
    first, *more = wrapped(text, " " * (width + 1))
    yield f"{styled(word.ljust(width), STYLES[word] if colour else '')} {first[width + 1 :]}"
    yield from more


def _reasons(members: Sequence[Outcome]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for member in members:
        if member.status is Status.CRASHED:
            yield from wrapped(f"{member.check.id}: our own bug: {member.why}", "  ", hanging="    ")
        elif member.status in (Status.UNKNOWN, Status.FOUND):
            reasons.setdefault(member.reason, []).append(member.check.id.partition(".")[2])
    for reason, names in reasons.items():
        named = ", ".join(names) if len(names) < 4 else f"{len(names)} checks"
        yield from wrapped(f"unknown: {reason} ({named})", "  ", hanging="    ")


def verdict_of(report: Report, command: str = "check") -> str:
    """What was found, and how much could not be told. `command`: "preflight" looks at what an upgrade makes worse."""
    if report.untold:
        return sentence(report.untold)
    upgrade = command == "preflight"
    found = _standing(report)
    known = sum(ranked.acknowledged is not None for ranked in report.findings)
    nothing = "Nothing gets worse" if upgrade else "Nothing wrong was found"
    nothing += " but what is acknowledged" if known else ""
    match report.status:
        case "ok" | "info":
            return f"{nothing}."
        case "unknown":
            return f"{nothing}, but not everything could be told."
    undecided = sum(outcome.matters for outcome in report.outcomes)
    beside = f" beside {known} acknowledged" if known else ""
    words = f"{', '.join(found)} {'foreseen' if upgrade else 'found'}{beside}."
    return words + (f" {undecided} more could not be told." if undecided else "")


def _standing(report: Report) -> list[str]:
    standing = [ranked.severity for ranked in report.findings if ranked.acknowledged is None]
    return [
        f"{count} {severity.name.lower()}{'s' if count > 1 else ''}"
        for severity in (Severity.ERROR, Severity.WARNING)
        if (count := standing.count(severity))
    ]


def _verdict(report: Report, duration_ms: int, colour: bool) -> Iterator[str]:
    words = verdict_of(report)
    if any(outcome.matters and outcome.status is Status.CRASHED for outcome in report.outcomes):
        words += " Please report the crash: `--format json` has its traceback."
    if _standing(report):
        words += " `gpudoctor fix` shows the repair step by step, and asks before it begins."
    style = STYLES.get(report.status, "") if colour else ""
    yield from wrapped(f"{words} ({duration_ms} ms, exit code {report.exit_code})", "", style)


def some_of(names: Sequence[str], most: int = 6) -> str:
    """The first of them, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def sentence(words: str) -> str:
    """The words with a capital letter and a full stop."""
    return f"{words[:1].upper()}{words[1:]}."


def styled(text: str, style: str) -> str:
    return f"{style}{text}{_PLAIN}" if style else text


def visible(text: str) -> str:
    """The text without control characters: what a machine says must not drive the reader's terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def wrapped(text: str, indent: str, style: str = "", *, hanging: str | None = None, width: int = WIDTH) -> list[str]:
    """Lines of at most `width` columns, wherever the words allow it. `hanging`: the indent of all but the first."""
    from textwrap import wrap

    lines = wrap(
        visible(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [styled(line, style) for line in lines]
