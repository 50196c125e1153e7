"""What changed between two states of a machine, or between two machines: findings, outcomes of checks, its parts."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gpudoctor.facts.environment import Environment
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, OperatingSystem
from gpudoctor.findings import Outcome, Ranked, Report, Severity, Status
from gpudoctor.host import Unavailable
from gpudoctor.machine_parts import GPUS, LED_TO, SWITCHES, Item, Part, machine_parts
from gpudoctor.registry import Facts


class Side(NamedTuple):
    """One of the two."""

    facts: Facts
    report: Report


class NewFinding(NamedTuple):
    """`before`: what had become of its check then; None: this version of the check was not there."""

    ranked: Ranked
    before: Outcome | None


class GoneFinding(NamedTuple):
    """`now`: what becomes of its check. Only `ok`, or a finding on another subject, says that this one is mended."""

    ranked: Ranked
    now: Outcome | None


class ChangedFinding(NamedTuple):
    """The same check on the same subject says something else."""

    before: Ranked
    after: Ranked


class ChangedOutcome(NamedTuple):
    """Of a check that found nothing, before or after."""

    before: Outcome
    after: Outcome


class ChangedPart(NamedTuple):
    """One thing of the machine. `before`: None, it is new; `after`: None, it is gone."""

    part: str  # "packages"
    item: Item
    before: str | None
    after: str | None


class Untold(NamedTuple):
    """A part that could not be compared, and which side does not tell it: the reason, "" where it does."""

    part: str
    before: str
    after: str


class Changes(NamedTuple):
    """All of it, in the order of a report: the worst first, then as a machine is built, then by name."""

    new: tuple[NewFinding, ...]
    gone: tuple[GoneFinding, ...]
    changed: tuple[ChangedFinding, ...]
    outcomes: tuple[ChangedOutcome, ...]
    parts: tuple[ChangedPart, ...]
    untold: tuple[Untold, ...]
    lost: tuple[Outcome, ...]  # of checks that matter and could tell before, and cannot tell any more
    strangers: tuple[str, ...]  # why these look like two machines; empty: they may well be one

    @property
    def worse(self) -> tuple[Ranked, ...]:
        """Findings that are new, or more severe than before."""
        severer = (one.after for one in self.changed if one.after.severity > one.before.severity)
        return (*(one.ranked for one in self.new), *severer)

    @property
    def lost_gpus(self) -> tuple[ChangedPart, ...]:
        """GPUs that left the bus. No check misses them where nobody said how many there must be."""
        gone = (one for one in self.parts if one.part == GPUS and one.after is None and one.item.name != SWITCHES)
        return () if self.strangers else tuple(gone)

    @property
    def status(self) -> str:
        """As of a report, over what became worse alone: "error", "warning", "unknown", "ok"."""
        if self.lost_gpus:
            return "error"
        worst = max((ranked.severity for ranked in self.worse), default=Severity.INFO)
        if worst > Severity.INFO:
            return worst.name.lower()
        return "unknown" if self.lost else "ok"

    @property
    def exit_code(self) -> int:
        return {"ok": 0, "warning": 1, "error": 2, "unknown": 3}[self.status]

    @property
    def nothing(self) -> bool:
        """Is all that could be compared the same?"""
        return not (self.new or self.gone or self.changed or self.outcomes or self.parts)


def changes_between(before: Side, after: Side) -> Changes:
    """Lay the two side by side."""
    was, now = _findings(before.report), _findings(after.report)
    old, new = _outcomes(before.report), _outcomes(after.report)
    parts, untold = _parts(
        machine_parts(before.facts), machine_parts(after.facts), _led(before.facts), _led(after.facts)
    )
    return Changes(
        new=tuple(NewFinding(ranked, old.get(ranked.check.id)) for key, ranked in now.items() if key not in was),
        gone=tuple(GoneFinding(ranked, new.get(ranked.check.id)) for key, ranked in was.items() if key not in now),
        changed=tuple(
            ChangedFinding(was[key], ranked)
            for key, ranked in now.items()
            if key in was and _said(ranked) != _said(was[key])
        ),
        outcomes=tuple(_changed_outcomes(old, new)),
        parts=parts,
        untold=untold,
        lost=tuple(one for id, one in sorted(new.items()) if one.matters and id in old and not old[id].matters),
        strangers=tuple(_strangers(before.facts, after.facts)),
    )


def _findings(report: Report) -> dict[tuple[str, str, str, int], Ranked]:
    """By check, subject and environment. A check may say several things of one subject: they are counted."""
    found: dict[tuple[str, str, str, int], Ranked] = {}
    for ranked in report.findings:
        number = 0
        while (key := (ranked.check.id, ranked.finding.subject, ranked.finding.environment, number)) in found:
            number += 1
        found[key] = ranked
    return found


def _said(ranked: Ranked) -> tuple[Severity, str, frozenset[tuple[str, str]]]:
    evidence = frozenset((one.source, one.value) for one in ranked.finding.evidence)
    return ranked.severity, ranked.finding.summary, evidence


def _outcomes(report: Report) -> dict[str, Outcome]:
    return {outcome.check.id: outcome for outcome in report.outcomes}


def _changed_outcomes(old: Mapping[str, Outcome], new: Mapping[str, Outcome]) -> Iterator[ChangedOutcome]:
    """Where a finding is on one of the sides, that says it already."""
    for id in sorted(old.keys() & new.keys()):
        before, after = old[id], new[id]
        if before.status is not after.status and Status.FOUND not in (before.status, after.status):
            yield ChangedOutcome(before, after)


def _parts(
    old: Mapping[str, Part | Unavailable], new: Mapping[str, Part | Unavailable], led_then: str, led_now: str
) -> tuple[tuple[ChangedPart, ...], tuple[Untold, ...]]:
    changed: list[ChangedPart] = []
    untold: list[Untold] = []
    for name, before in old.items():
        after = new[name]
        if isinstance(before, Unavailable) or isinstance(after, Unavailable):
            reasons = (str(one) if isinstance(one, Unavailable) else "" for one in (before, after))
            untold.append(Untold(name, *reasons))
            continue
        if name in LED_TO and led_then != led_now:
            # What one side was not led to may be there all the same.
            before, after, hidden = _both(before, after)
            if hidden:
                untold.append(Untold(f"{hidden} of the {name}", led_then, led_now))
        changed += _changed(name, before, after)
    return tuple(changed), tuple(untold)


def _led(facts: Facts) -> str:
    """Who looked: other users and other shells look elsewhere."""
    environment = facts.get_or_reason(Environment)
    if isinstance(environment, Unavailable):
        return str(environment)
    return environment.unknown or f"HOME is {environment.variables.get('HOME', 'not set')}"


def _both(before: Part, after: Part) -> tuple[Part, Part, int]:
    """What both sides had to look at: places of the system, and those that both have. How many things are left out."""

    places = {item.group or item.name for item in before} & {item.group or item.name for item in after}
    kept = [
        {
            item: value
            for item, value in side.items()
            if (place := item.group or item.name) in places or _is_system(place)
        }
        for side in (before, after)
    ]
    return kept[0], kept[1], len({*before, *after} - {*kept[0], *kept[1]})


def _is_system(place: str) -> bool:
    """Does everybody look there?"""
    return place.startswith(("/etc/", "/usr/", "/lib/", "/run/"))


def _changed(name: str, before: Part, after: Part) -> Iterable[ChangedPart]:
    for item in sorted(before.keys() | after.keys()):
        if before.get(item) != after.get(item):
            yield ChangedPart(name, item, before.get(item), after.get(item))


def _strangers(before: Facts, after: Facts) -> Iterator[str]:
    """One machine may lose a GPU or get a new release of its distribution, but hardly another kind of both."""
    systems = [facts.get_or_reason(OperatingSystem) for facts in (before, after)]
    ids = [system.id for system in systems if isinstance(system, OperatingSystem) and system.id]
    if len(set(ids)) == 2:
        yield f"{ids[0]} and {ids[1]}"
    inside = [facts.get_or_reason(Confinement) for facts in (before, after)]
    places = [_place(one) for one in inside if isinstance(one, Confinement)]
    if len(set(places)) == 2:
        yield f"{places[0]} and {places[1]}"
    buses = [facts.get_or_reason(PciGpus) for facts in (before, after)]
    models = [sorted({gpu.label for gpu in bus.gpus}) for bus in buses if isinstance(bus, PciGpus) and bus.gpus]
    if len(models) == 2 and not {*models[0]} & {*models[1]}:
        yield f"{', '.join(models[0])} and {', '.join(models[1])}"


def _place(confinement: Confinement) -> str:
    if confinement.wsl:
        return "WSL"
    return f"a {confinement.container} container" if confinement.container else "no container"
