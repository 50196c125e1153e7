"""Causes in order of certainty: what the facts of a text prove, and what its messages point to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.diagnose import Check, Evidence, Finding, Outcome, Ranked, Severity, Status
from gpudoctor.explanation import part
from gpudoctor.knowledge import load_table
from gpudoctor.symptoms import Tells, hint
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
_MOST_EVIDENCE = 4
_LONGEST_LINE = 200


class Setting(NamedTuple):
    """What a text as a whole tells of the machine."""

    elsewhere: str = ""  # "container" or "wsl", where it comes from there
    complete: bool = True  # its list of packages is whole: what is not in it is not there
    no_gpu: bool = False  # there is none, and none is wanted


class _Suspect(NamedTuple):
    check: Check
    weight: int
    certainty: str
    finding: Finding
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
    return tuple(
        Ranked(one.check, one.finding, one.severity, tuple(explained.get(one.check.id, ())), certainty=one.certainty)
        for one in kept
    )


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
            finding = _with_lines(outcome.findings[0], paste, sighted)
            severity = severity if told is None else max(severity, Severity.WARNING)
        elif told is None:
            continue
        elif outcome is not None and told is Tells.HINT and _ruled_out(outcome, setting):
            continue  # many faults say so, and the rest of the text shows that it is not this one
        else:
            # Somebody asks because of it: what is a remark on a machine that works is the matter here.
            severity = max(check.severity, Severity.WARNING)
            finding = _by_message(check, paste, sighted)
        places = frozenset(index for one in sighted for index in range(one.first, one.last + 1))
        certainty = SHOWN if proven or told is Tells.SURE else LIKELY if told is Tells.LIKELY else POSSIBLE
        if setting.elsewhere and id.startswith(f"{setting.elsewhere}."):
            weight += _AT_HOME
        yield _Suspect(check, weight + min(len(places), 3), certainty, finding, places, severity)


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


def _by_message(check: Check, paste: Paste, sighted: Sequence[Sighting]) -> Finding:
    return Finding(check.title, "", tuple(_evidence(paste, sighted)), part(check, "Repair"))


def _with_lines(finding: Finding, paste: Paste, sighted: Sequence[Sighting]) -> Finding:
    return finding._replace(evidence=(*finding.evidence, *_evidence(paste, sighted)))


def _evidence(paste: Paste, sighted: Iterable[Sighting]) -> Iterator[Evidence]:
    """The lines that say so, each once, those that tell most first."""
    lines: dict[int, int] = {}
    for sighting in sorted(sighted, key=lambda one: (-one.symptom.tells, one.first)):
        lines.setdefault(sighting.first, sighting.last)
    for first, last in list(lines.items())[:_MOST_EVIDENCE]:
        words = " ".join(line.text for line in paste.lines[first : last + 1])
        yield Evidence(
            f"line {paste.lines[first].number}", _short(words, next(s.words for s in sighted if s.first == first))
        )


def _short(text: str, words: str) -> str:
    """The text around the words, where the line is long."""
    if len(text) <= _LONGEST_LINE:
        return text
    at = max(0, text.find(words[:40]) - 40)
    piece = text[at : at + _LONGEST_LINE]
    return f"{'...' if at else ''}{piece}{'...' if at + _LONGEST_LINE < len(text) else ''}"
