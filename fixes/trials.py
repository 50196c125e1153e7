"""What to do about a framework that failed when it was tried, and no check knows why."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Step, fix

from ._scope import by_hand_if_unsafe


@fix("look-into-trial", cures=["python.framework-trial"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def look_into_trial(findings: Findings) -> Iterator[Step]:
    """Look up what the framework itself said when it was tried."""
    for _, finding in findings.items:
        said = finding.evidence[0].value if finding.evidence else ""
        yield Step(
            Manual(f"{finding.remedy} The whole message of {finding.subject}: {said}"),
            "The framework failed in its own interpreter, and no other check knows the reason.",
            Phase.AFTERWARDS,
            root=False,
        )
