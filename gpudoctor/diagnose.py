"""Run checks, causes before their consequences, and say what became of each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, TypeVar

from gpudoctor.findings import (
    DESELECTED,
    Check,
    Finding,
    NotApplicable,
    NotAsked,
    Outcome,
    Ranked,
    Report,
    Severity,
    Status,
    Undecided,
)
from gpudoctor.host import NotRecorded, NotRunning, Unavailable
from gpudoctor.registry import Facts, needs, registry
from gpudoctor.symptoms import Symptom
from gpudoctor.time_limit import stop_in_time

if TYPE_CHECKING:
    pass  # which needs reports of this module

F = TypeVar("F", bound=Callable[..., Any])


def check(
    id: str,
    *,
    severity: Severity = Severity.ERROR,
    after: Sequence[str] = (),
    symptoms: Sequence[str] = (),
    no_symptom: str = "",
) -> Callable[[F], F]:
    """Register a check: a pure function of facts that yields findings.

    `after`: ids of possible causes; where one of them is found, this check's own findings are explained by it.
    `symptoms`: regular expressions of the messages that users see, with `sure` or `hint` around those that tell more or
    less than most; a check without one says in `no_symptom` why.
    The docstring is what `gpudoctor explain` prints. Raises TypeError if a parameter is no fact.
    """

    def register(function: F) -> F:
        needs(function)  # a parameter that cannot be injected fails here, at the function that has it
        known = tuple(one if isinstance(one, Symptom) else Symptom(one) for one in symptoms)
        registry.checks[id] = Check(id, severity, tuple(after), known, no_symptom, function)
        return function

    return register


def diagnose(facts: Facts, checks: Iterable[Check], *, deselected: Iterable[Check] = ()) -> Report:
    """Run the checks; those deselected are reported as skipped, and explain nothing."""
    chosen = {check.id: check for check in checks}
    outcomes: dict[str, Outcome] = {}
    for id, causes in _in_order(tuple((id, chosen[id].after) for id in sorted(chosen))):
        outcomes[id] = _explained(run_check(chosen[id], facts), causes, outcomes)
    broken = [_broken_plugin(plugin.name, plugin.reason) for plugin in registry.broken.values()]
    skipped = [Outcome(check, Status.SKIPPED, reason=DESELECTED) for check in deselected]
    ordered = (*(outcome for outcome in outcomes.values() if not outcome.unasked), *broken, *skipped)
    return Report(ordered, tuple(_ranked(ordered)))


@cache
def _in_order(after: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(id, those of its possible causes that are among these), causes first. Kept: `triage` and `preflight` diagnose
    many times.
    """
    ids = {id for id, _ in after}
    graph = {id: tuple(cause for cause in causes if cause in ids) for id, causes in after}
    return tuple((id, graph[id]) for id in TopologicalSorter(graph).static_order())


def run_check(check: Check, facts: Facts) -> Outcome:
    """One check alone, whatever comes before it."""
    try:
        said = stop_in_time(lambda: tuple(facts.call(check.function)))
    except NotApplicable as reason:
        return Outcome(check, Status.SKIPPED, reason=str(reason), unasked=isinstance(reason, NotAsked))
    except NotRunning as reason:
        return Outcome(check, Status.UNKNOWN, reason=str(reason), not_running=True)
    except Unavailable as reason:
        matters, old = check.severity is Severity.ERROR, isinstance(reason, NotRecorded)
        return Outcome(check, Status.UNKNOWN, reason=str(reason), matters=matters, not_recorded=old)
    except Exception:  # noqa: BLE001 - one broken check must not hide what the others found
        from traceback import format_exc

        return Outcome(check, Status.CRASHED, reason=format_exc(), matters=True)
    findings = tuple(one for one in said if isinstance(one, Finding))
    undecided = [one for one in said if isinstance(one, Undecided)]
    why = "; ".join(dict.fromkeys(one.reason for one in undecided))
    status = Status.FOUND if findings else Status.UNKNOWN if undecided else Status.OK
    matters = check.severity is Severity.ERROR and any(one.matters for one in undecided)
    return Outcome(check, status, findings, why, matters)


def _explained(own: Outcome, causes: Sequence[str], outcomes: Mapping[str, Outcome]) -> Outcome:
    """The outcome without what causes among the checks before it explain; blocked if nothing is left of it."""
    if own.status not in (Status.FOUND, Status.UNKNOWN) or own.not_running:
        return own
    before = [outcomes[cause] for cause in causes]
    roots = [outcomes[outcome.cause] if outcome.status is Status.BLOCKED else outcome for outcome in before]
    # What could not be told for one reason is said once: by the first check that met it, and for which it matters as
    # much. What an old snapshot does not have is said once for all checks, in the reports.
    once = own.status is Status.UNKNOWN and not own.not_recorded
    unknown = [root for root in roots if once and root.status is own.status and root.matters >= own.matters]
    same = [root for root in unknown if root.reason == own.reason]
    # A mere warning must not cover up that something which matters could not be told.
    least = Severity.ERROR if own.matters else Severity.WARNING
    roots = [root for root in roots if root.status is Status.FOUND and _worst(root) >= least]
    if not own.findings:  # unknown: what is wrong in one Python environment does not tell why
        roots = [root for root in roots if any(not finding.environment for finding in root.findings)]
    if not roots:
        if not same:
            return own
        words = f"unknown for the same reason as {same[0].check.id}"
        return _blocked(own, same[0], words)._replace(same_reason=True)
    left = tuple(f for f in own.findings if not any(_explains(g, f) for root in roots for g in root.findings))
    if left:
        return own._replace(findings=left)
    # The findings are kept: what fired is shown as explained, what could not be told is not.
    cause = next((root for root in roots for g in root.findings for f in own.findings[:1] if _explains(g, f)), roots[0])
    return _blocked(own, cause, f"explained by {cause.check.id}")


def _blocked(own: Outcome, cause: Outcome, words: str) -> Outcome:
    return own._replace(status=Status.BLOCKED, reason=words, matters=False, cause=cause.check.id)


def _explains(cause: Finding, consequence: Finding) -> bool:
    """One sick GPU, environment or framework does not explain what is wrong with another; all else before it does."""
    if cause.environment and cause.environment != consequence.environment:
        return False
    if cause.framework and consequence.framework and cause.framework != consequence.framework:
        return False
    devices = _is_device(cause.subject) and _is_device(consequence.subject)
    return not devices or cause.subject == consequence.subject


def explained_by(cause: Finding, outcome: Outcome) -> tuple[Finding, ...]:
    """Of an outcome's findings those that this finding explains, given that the outcome is a consequence of it."""
    return tuple(finding for finding in outcome.findings if _explains(cause, finding))


def _is_device(subject: str) -> bool:
    """Is it a PCI address like "0000:01:00.0"?"""
    return len(subject) == 12 and subject[4] == subject[7] == ":" and subject[10] == "."


def _worst(outcome: Outcome) -> Severity:
    return max(finding.severity or outcome.check.severity for finding in outcome.findings)


def _broken_plugin(name: str, reason: str) -> Outcome:
    check = Check(f"plugin.{name}", Severity.ERROR, (), (), "a plugin's module that cannot be imported", lambda: ())
    return Outcome(check, Status.CRASHED, reason=reason, matters=True)


def _ranked(outcomes: Sequence[Outcome]) -> Iterator[Ranked]:
    explained: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status is Status.BLOCKED and outcome.findings:
            explained.setdefault(outcome.cause, []).append(outcome)
    rows: list[tuple[int, int, int, int, Ranked]] = []
    for place, outcome in enumerate(outcomes):
        if outcome.status is not Status.FOUND:
            continue
        for finding in outcome.findings:
            consequences = [
                consequence
                for consequence in explained.get(outcome.check.id, [])
                if any(_explains(finding, g) for g in consequence.findings)
            ]
            severity = finding.severity or outcome.check.severity
            # A cause is as bad as the worst that it explains: a warning must not make a broken machine exit with 1.
            if severity > Severity.INFO:
                severity = max([severity, *(_worst(consequence) for consequence in consequences)])
            ids = tuple(consequence.check.id for consequence in consequences)
            rows.append((-severity, -len(ids), place, len(rows), Ranked(outcome.check, finding, severity, ids)))
    for *_, ranked in sorted(rows, key=lambda row: row[:4]):
        yield ranked
