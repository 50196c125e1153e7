"""What one check makes of nothing but the facts it is given."""

from gpudoctor.findings import Finding, Severity, Status
from gpudoctor.registry import registry
from gpudoctor.testing import outcome_of


def only(check: str, *facts: object) -> Finding:
    """The only thing that it finds."""
    outcome = outcome_of(check, *facts)
    assert outcome.status is Status.FOUND, outcome.reason
    (finding,) = outcome.findings
    return finding


def status(check: str, *facts: object) -> Status:
    return outcome_of(check, *facts).status


def severity_of(check: str, found: Finding) -> Severity:
    """Its own, or else that of its check."""
    return found.severity or registry.checks[check].severity
