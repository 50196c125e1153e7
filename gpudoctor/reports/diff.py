"""The report of `diff`: whether anything became worse, in its first line; then findings, checks, and the machine."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gpudoctor.changes import ChangedOutcome, ChangedPart, Changes, GoneFinding, NewFinding, Side
from gpudoctor.findings import Outcome, Ranked, Severity, Status
from gpudoctor.machine_parts import FOUND_BY
from gpudoctor.registry import Facts
from gpudoctor.reports.machine import machine_summary
from gpudoctor.reports.text import BOLD, DIM, STYLES, finding_lines, some_of, styled, wrapped


class Labels(NamedTuple):
    """What the user calls the two: "before.json", "this machine"."""

    before: str
    after: str


_MOST = 12  # lines of a part, and ids in a line; JSON has all
_ALIKE = 3  # from so many on, things that changed in the same way share a line


def verdict(changes: Changes) -> tuple[str, str]:
    """A word for it, and a sentence."""
    new = _counted(changes.worse)
    mended = _counted([one.ranked for one in changes.gone if _is_mended(one)])
    gone = f" Gone: {mended}." if mended else ""
    match changes.status:
        case "error" | "warning":
            lost = ", ".join(f"{one.item.name} ({one.before})" for one in changes.lost_gpus)
            if lost:
                count = len(changes.lost_gpus)
                more = f" New: {new}." if new else ""
                return (
                    "WORSE",
                    f"{f'{count} GPUs are' if count > 1 else 'A GPU is'} gone from the bus: {lost}.{more}{gone}",
                )
            severer = len(changes.worse) > len(changes.new)
            return "WORSE", f"New{' or more severe' if severer else ''}: {new}{_first_told(changes)}.{gone}"
        case "unknown":
            return "UNKNOWN", f"Nothing is worse as far as can be told, but {_lost(changes)} no longer be told.{gone}"
    if mended:
        return "BETTER", f"Gone: {mended}. Nothing became worse."
    if changes.nothing:
        return "SAME", "Nothing changed" + (" in what both could tell." if changes.untold else ".")
    return "NO WORSE", "Nothing became worse."


def _first_told(changes: Changes) -> str:
    """How much of what is new may have been there before, when nobody could tell."""
    severe = [one for one in changes.new if one.ranked.severity > Severity.INFO]
    count = sum(one.before is None or one.before.status is Status.UNKNOWN for one in severe)
    if not count:
        return ""
    return f" ({f'{count} of them ' if count < len(changes.worse) else ''}could not be told before)"


def _lost(changes: Changes) -> str:
    count = len(changes.lost)
    return f"what {count} check{'s' if count > 1 else ''} could tell before can"


def _is_mended(gone: GoneFinding) -> bool:
    return gone.now is not None and gone.now.status in (Status.OK, Status.FOUND)


def _counted(findings: Iterable[Ranked]) -> str:
    severities = [ranked.severity for ranked in findings if ranked.severity > Severity.INFO]
    counts = ((severities.count(severity), severity.name.lower()) for severity in (Severity.ERROR, Severity.WARNING))
    return ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count)


def as_text(changes: Changes, before: Side, after: Side, labels: Labels, duration_ms: int, *, colour: bool) -> str:
    """At most 80 columns wherever the words allow it."""
    label, sentence = verdict(changes)
    style = STYLES[changes.status] if colour else ""
    bold, dim = (BOLD, DIM) if colour else ("", "")
    first, *more = wrapped(sentence, " " * 9)
    lines = [styled(label.ljust(9), style) + styled(first[9:], bold), *(styled(line, bold) for line in more)]
    lines += wrapped(f"Before: {labels.before} · {_machine(before.facts)}", "", dim, hanging="  ")
    lines += wrapped(f"After: {labels.after} · {_machine(after.facts)}", "", dim, hanging="  ")
    if changes.strangers:
        lines += wrapped(f"These look like two machines: {'; '.join(changes.strangers)}.", "", hanging="  ")
    for heading, told in (
        ("New findings", [*_new(changes, colour)]),
        ("Findings that are gone", [*_gone(changes.gone)]),
        ("Findings that changed", [*_changed(changes, colour)]),
        ("Outcomes that changed", [*_outcomes(changes.outcomes)]),
        ("The machine", [*_parts(changes.parts, bold)]),
        ("Could not be compared", [*_untold(changes)]),
    ):
        if told:
            lines += ["", styled(heading, bold), *told]
    lines += ["", *wrapped(f"({duration_ms} ms, exit code {changes.exit_code})", "")]
    return "\n".join(lines) + "\n"


def _machine(facts: Facts) -> str:
    machine = machine_summary(facts)
    kernel = f"kernel {machine.kernel_words}" if machine.kernel else ""
    driver = f"driver {machine.driver} loaded" if machine.driver else ""
    words = [word for word in (machine.os_name, machine.confinement, kernel, driver) if word]
    return " · ".join(words) or "an unknown system"


def _new(changes: Changes, colour: bool) -> Iterator[str]:
    for number, one in enumerate(changes.new):
        if number:
            yield ""
        yield from finding_lines(one.ranked, colour, when=_then(one))


def _then(new: NewFinding) -> str:
    """What its check had said before: that it was fine, or that nobody could know."""
    if new.before is None:
        return "before: not checked"
    if new.before.status is Status.FOUND:
        return "before: found on other subjects only"
    return f"before: {_state(new.before)}"


def _gone(gone: Sequence[GoneFinding]) -> Iterator[str]:
    for one in gone:
        ranked = one.ranked
        named = f"{ranked.check.id}{f' ({ranked.finding.subject})' if ranked.finding.subject else ''}"
        if one.now is None:
            now = "not checked now"
        elif one.now.status is Status.OK:
            now = "fine now"
        elif one.now.status is Status.FOUND:
            now = "now found on other subjects only"
        else:
            now = f"now {_state(one.now)}"
        yield from wrapped(f"{ranked.severity.name.lower()} {named}: {now}", "  ", hanging="    ")
        yield from wrapped(f"It was: {ranked.finding.summary or ranked.check.title}", "    ", hanging="      ")


def _state(outcome: Outcome) -> str:
    """In words: "ok", "unknown: NVML gave no answer in 10 s", "explained by kernel.module-missing"."""
    if outcome.status is Status.BLOCKED:
        return outcome.reason or "explained by another finding"
    if outcome.status is Status.CRASHED:
        return f"our own bug: {(outcome.reason.strip().splitlines() or ['no reason given'])[-1]}"
    return f"{outcome.status.value}: {outcome.reason}" if outcome.reason else outcome.status.value


def _changed(changes: Changes, colour: bool) -> Iterator[str]:
    for number, (before, after) in enumerate(changes.changed):
        if number:
            yield ""
        was = {(one.source, one.value) for one in before.finding.evidence}
        now = {(one.source, one.value) for one in after.finding.evidence}
        severity = f", {before.severity.name.lower()} before" if before.severity != after.severity else ""
        subject = f" ({after.finding.subject})" if after.finding.subject else ""
        word = after.severity.name.lower()
        first, *more = wrapped(f"{word} {after.check.id}{subject}{severity}", "  ", hanging="    ")
        yield from (styled(first, STYLES[word] if colour else ""), *more)
        if before.finding.summary != after.finding.summary:
            yield from wrapped(f"It was: {before.finding.summary}", "    ", hanging="      ")
        yield from wrapped(f"It is: {after.finding.summary or after.check.title}", "    ", hanging="      ")
        for mark, rows in (("-", before.finding.evidence), ("+", after.finding.evidence)):
            for one in rows:
                if (one.source, one.value) not in was & now:
                    yield from wrapped(f"{mark} {one.source}: {one.value}", "    ", hanging="      ")


def _outcomes(changed: Sequence[ChangedOutcome]) -> Iterator[str]:
    """Those that changed for the same reason in one line; what can no longer be told first."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in sorted(changed, key=lambda one: not one.after.matters):
        alike.setdefault((_short(one.before), _short(one.after)), []).append(one.after.check.id)
    for (before, after), ids in alike.items():
        yield from wrapped(f"{before} -> {after} ({some_of(ids)})", "  ", hanging="    ")


def _short(outcome: Outcome) -> str:
    """Checks that ask a system which does not run give reasons with their own beginning."""
    if outcome.not_running:
        return f"not asked: {outcome.reason.partition(': ')[2] or outcome.reason}"
    return _state(outcome)


def _parts(parts: Sequence[ChangedPart], bold: str) -> Iterator[str]:
    by_part: dict[str, list[ChangedPart]] = {}
    for one in parts:
        by_part.setdefault(one.part, []).append(one)
    for part, changed in by_part.items():
        yield styled(f"  {part}{_amount(changed)}", bold)
        rows = [*_environments(changed)] if any(one.item.group for one in changed) else [*_rows(changed)]
        for row in rows[:_MOST]:
            yield from wrapped(row, "    ", hanging="        ")
        if len(rows) > _MOST:
            yield f"    and {len(rows) - _MOST} more: --format json lists them all"


def _amount(changed: Sequence[ChangedPart]) -> str:
    counts = {
        "changed": sum(None not in (one.before, one.after) for one in changed),
        "new": sum(one.before is None for one in changed),
        "gone": sum(one.after is None for one in changed),
    }
    return f": {', '.join(f'{count} {word}' for word, count in counts.items() if count)}" if len(changed) > 3 else ""


def _rows(changed: Sequence[ChangedPart]) -> Iterator[str]:
    """A line a change: what changed in the same way in one line, what is gone first, what is new last."""
    alike: dict[tuple[str | None, str | None], list[str]] = {}
    for one in changed:
        alike.setdefault((one.before, one.after), []).append(one.item.name)
    rows: list[tuple[int, str, str]] = []
    for (before, after), names in alike.items():
        # A path with a value behind it is a line of its own.
        shared = len(names) >= _ALIKE and not any(name.startswith("/") for name in names)
        for name in [some_of(names, _ALIKE)] if shared else names:
            rows.append((_order(before, after), names[0], f"{_mark(before, after)}{name}{_moved(before, after)}"))
    yield from (row for *_, row in sorted(rows, key=lambda row: row[0]))


def _order(before: str | None, after: str | None) -> int:
    return 0 if after is None else 2 if before is None else 1


def _mark(before: str | None, after: str | None) -> str:
    return "- " if after is None else "+ " if before is None else ""


def _moved(before: str | None, after: str | None) -> str:
    if before is None or after is None:
        return f": {before or after}"
    old, new = (value.split(":") if value.startswith("/") else [] for value in (before, after))
    if len(old) > 1 or len(new) > 1:  # a list of folders: which came, which went
        pieces = [f"+ {one}" for one in new if one not in old] + [f"- {one}" for one in old if one not in new]
        return f": {', '.join(pieces) or 'the same folders in another order'}"
    return f": {before} -> {after}"


def _environments(changed: Sequence[ChangedPart]) -> Iterator[str]:
    """An environment that came or went in one line, what changed in one that stayed a line each."""
    by_prefix: dict[str, list[ChangedPart]] = {}
    for one in changed:
        by_prefix.setdefault(one.item.group, []).append(one)
    for prefix, rows in by_prefix.items():
        own = next((one for one in rows if not one.item.name), None)
        if own is None or None not in (own.before, own.after):
            named = [one._replace(item=one.item._replace(name=one.item.name or "Python")) for one in rows]
            yield from (f"{prefix}: {row}" for row in _rows(named))
            continue
        packages = [f"{one.item.name} {one.after or one.before}" for one in rows if one.item.name not in ("", FOUND_BY)]
        by = [one.after or one.before or "" for one in rows if one.item.name == FOUND_BY]
        # A CUDA build first: it is what the environment is for.
        packages.sort(key=lambda words: not words.endswith(")"))
        words = ", ".join(
            (own.after or own.before or "", *filter(None, (some_of(packages, 4),)), *(f"found by {one}" for one in by))
        )
        yield f"{_mark(own.before, own.after)}{prefix}: {words}"


def _untold(changes: Changes) -> Iterator[str]:
    alike: dict[tuple[str, str], list[str]] = {}
    for one in changes.untold:
        alike.setdefault((one.before, one.after), []).append(one.part)
    for (before, after), parts in alike.items():
        if before == after:
            reason = f"neither tells: {before}"
        else:
            reason = "; ".join(f"{when}: {why}" for when, why in (("before", before), ("after", after)) if why)
        yield from wrapped(f"{', '.join(parts)} ({reason})", "  ", hanging="    ")
