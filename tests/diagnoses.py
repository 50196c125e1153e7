"""What gpudoctor makes of a whole machine: what it found, what it tells its owner, what it would do."""

from typing import NamedTuple

from killed_runs import hold_out

from gpudoctor import Run
from gpudoctor.cli.check import diagnose_with
from gpudoctor.findings import Finding, Report, Severity, Status
from gpudoctor.host import Host
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import Phase, Plan, Step, make_plan
from gpudoctor.reports.text import as_text
from gpudoctor.triage.judge import triage


class Diagnosis(NamedTuple):
    report: Report
    plan: Plan
    text: str

    @property
    def found(self) -> list[str]:
        """Ids of what is wrong, in the report's order."""
        return [ranked.check.id for ranked in self.report.findings if ranked.severity > Severity.INFO]

    @property
    def first(self) -> Finding:
        return self.report.findings[0].finding

    @property
    def severity(self) -> Severity:
        return self.report.findings[0].severity

    @property
    def explained(self) -> set[str]:
        """Ids of what follows from the first finding."""
        return set(self.report.findings[0].explains)

    @property
    def proof(self) -> str:
        return "\n".join(f"{evidence.source}: {evidence.value}" for evidence in self.first.evidence)

    @property
    def fixes(self) -> list[str]:
        return [chosen.fix.id for chosen in self.plan.chosen]

    @property
    def steps(self) -> list[str]:
        """What would be done, without the trials; of a command without the options that are the same everywhere."""
        return [_shown(step) for step in self.plan.steps if step.phase is not Phase.SIMULATE]


_USUAL = (
    *("-y", "-o", "Dpkg::Options::=--force-confold", "--no-remove", "--force-confold"),
    *("--non-interactive", "--auto-agree-with-licenses", "--noconfirm"),
)


def _shown(step: Step) -> str:
    if isinstance(step.action, Run):
        return " ".join(word for word in step.action.argv if word not in _USUAL)
    return str(step.action)


def diagnosed(host: Host) -> Diagnosis:
    """Everything that is wrong comes with a proof and a remedy, and no check or fix stumbles."""
    facts = Facts(host)
    report = diagnose_with(facts)
    load_plugins(fixes=True)
    plan = make_plan(report, registry.fixes.values(), facts)
    crashed = {outcome.check.id: outcome.reason for outcome in report.outcomes if outcome.status is Status.CRASHED}
    assert crashed == {}, "\n".join(crashed.values())
    assert plan.unknown == (), plan.unknown
    hold_out(plan.steps)
    for ranked in report.findings:
        assert ranked.finding.summary.endswith("."), ranked.finding.summary
        assert ranked.finding.evidence
        assert ranked.finding.remedy
        assert all(evidence.value for evidence in ranked.finding.evidence), ranked.finding.evidence
    return Diagnosis(report, plan, as_text(report, facts, 1, colour=False))


def told(text: str) -> list[str]:
    """Ids of what is wrong by a pasted text, the most certain first."""
    return [ranked.check.id for ranked in triage(text).report.findings if ranked.severity > Severity.INFO]
