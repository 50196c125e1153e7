"""Causes in order of certainty: what the facts of a text prove, and what its messages point to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.findings import Check, Finding, Outcome, Ranked, Severity, Status
from gpudoctor.knowledge import load_table
from gpudoctor.symptoms import Tells, hint
from gpudoctor.triage.evidence import by_message, with_lines
from gpudoctor.triage.paste import Paste
from gpudoctor.triage.sightings import Sighting

SHOWN, LIKELY, POSSIBLE = "shown", "likely", "possible"

# How much each counts. A message that only one fault causes outweighs a table; both together outweigh all else.
_PROVEN = {Severity.ERROR: 35, Severity.WARNING: 15, Severity.INFO: 0}
_TOLD = {Tells.SURE: 40, Tells.LIKELY: 20, Tells.HINT: 10}
# They say that the driver fails, not why: any message is nearer to the cause.
_GENERAL = ("driver.nvml-failed", "driver.cuda-init-failed", "driver.gpu-missing-in-nvml")
# In a container or in WSL there is none of it: only the other side can have such a fault.
_OF_HOST = ("kernel.", "packages.", "pci.")
_AT_HOME = 4  # a fault of just that place is more likely there than another of the same certainty


class Setting(NamedTuple):
    """What a text as a whole tells of the machine."""

    elsewhere: str = ""  # "container" or "wsl", where it comes from there
    complete: bool = True  # its list of packages is whole: what is not in it is not there
    no_gpu: bool = False  # there is none, and none is wanted


class _Suspect(NamedTuple):
    check: Check
    weight: int
    certainty: str
    findings: tuple[Finding, ...]
    lines: frozenset[int]
    severity: Severity


def ranked(
    paste: Paste,
    outcomes: Sequence[Outcome],
    seen: Mapping[str, Sequence[Sighting]],
    checks: Mapping[str, Check],
    setting: Setting,
) -> tuple[Ranked, ...]:
    """The causes, the most certain first; what follows from one before it is named there, and not listed again.

    `outcomes`: of the checks on the facts that the text shows; `seen`: the messages in it by check.
    """
    before = _causes_of(checks)
    common = {id: place for place, id in enumerate(load_table("frequency")["ids"])}
    suspects = list(_suspects(paste, outcomes, seen, checks, setting))
    suspects.sort(key=lambda one: (-one.weight, common.get(one.check.id, len(common)), one.check.id))
    suspects = _causes_first(suspects, before)
    kept: list[_Suspect] = []
    explained: dict[str, list[str]] = {}
    for one in suspects:
        cause = next((k for k in kept if _follows(one, k, before)), None)
        if cause is None:
            kept.append(one)
        else:
            explained.setdefault(cause.check.id, []).append(one.check.id)
    first = [
        Ranked(
            one.check,
            one.findings[0],
            one.severity,
            tuple(explained.get(one.check.id, ())),
            certainty=one.certainty,
        )
        for one in kept
    ]
    # More of the same, on other GPUs or in other environments, comes behind all other causes.
    more = [Ranked(one.check, f, one.severity, (), certainty=one.certainty) for one in kept for f in one.findings[1:]]
    return (*first, *more)


def _causes_first(suspects: Sequence[_Suspect], before: Mapping[str, frozenset[str]]) -> list[_Suspect]:
    """Of those that are equally certain a cause stands before what follows from it."""
    ordered: list[_Suspect] = []
    for one in suspects:
        place = next(
            (
                at
                for at, other in enumerate(ordered)
                if one.check.id in before[other.check.id]
                and one.certainty == other.certainty != POSSIBLE
                and one.weight + 20 > other.weight
            ),
            len(ordered),
        )
        ordered.insert(place, one)
    return ordered


def _suspects(
    paste: Paste,
    outcomes: Sequence[Outcome],
    seen: Mapping[str, Sequence[Sighting]],
    checks: Mapping[str, Check],
    setting: Setting,
) -> Iterator[_Suspect]:
    by_id = {outcome.check.id: outcome for outcome in outcomes}
    for id, check in checks.items():
        outcome, sighted = by_id.get(id), list(seen.get(id, ()))
        told = max((sighting.symptom.tells for sighting in sighted), default=None)
        if told is Tells.LIKELY and setting.elsewhere and id.startswith(_OF_HOST):
            told = Tells.HINT
            sighted = [one._replace(symptom=hint(one.symptom)) for one in sighted]
        weight = _TOLD[told] if told else 0
        proven = outcome is not None and outcome.status is Status.FOUND
        if outcome is not None and proven:
            severity = max(finding.severity or check.severity for finding in outcome.findings)
            weight = 5 if id in _GENERAL else max(weight, _PROVEN[severity]) + (20 if told else 0)
            if severity is Severity.INFO and not told:
                continue
            findings = tuple(with_lines(one, paste, sighted) for one in outcome.findings)
            severity = severity if told is None else max(severity, Severity.WARNING)
        elif told is None:
            continue
        elif outcome is not None and told is Tells.HINT and _ruled_out(outcome, setting):
            continue  # many faults say so, and the rest of the text shows that it is not this one
        else:
            # Somebody asks because of it: what is a remark on a machine that works is the matter here.
            severity = max(check.severity, Severity.WARNING)
            findings = (by_message(check, paste, sighted),)
        places = frozenset(index for one in sighted for index in range(one.first, one.last + 1))
        certainty = SHOWN if proven or told is Tells.SURE else LIKELY if told is Tells.LIKELY else POSSIBLE
        if setting.elsewhere and id.startswith(f"{setting.elsewhere}."):
            weight += _AT_HOME
        yield _Suspect(check, weight + min(len(places), 3), certainty, findings, places, severity)


def _ruled_out(outcome: Outcome, setting: Setting) -> bool:
    """Do the facts of the text speak against a fault that a message hints at?"""
    return setting.no_gpu or (outcome.status is Status.OK and setting.complete)


def _follows(one: _Suspect, cause: _Suspect, before: Mapping[str, frozenset[str]]) -> bool:
    """Is it a consequence of a cause that is at least as certain?"""
    return cause.check.id in before[one.check.id] and (one.certainty != SHOWN or one.lines <= cause.lines)


def _causes_of(checks: Mapping[str, Check]) -> dict[str, frozenset[str]]:
    """By check all that can be its cause, directly or not."""
    found: dict[str, frozenset[str]] = {}

    def of(id: str) -> frozenset[str]:
        if id not in found:
            found[id] = frozenset()  # a ring of causes ends here
            after = [cause for cause in checks[id].after if cause in checks]
            found[id] = frozenset(after).union(*(of(cause) for cause in after))
        return found[id]

    for id in checks:
        of(id)
    return found
