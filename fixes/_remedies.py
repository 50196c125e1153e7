"""Repairs that only a person can choose between: what the finding itself says is to be done."""

from gpudoctor import Finding, Manual, Phase, Step


def by_remedy(finding: Finding, what: str) -> Step:
    """`what`: the choice, as a clause that goes on with "only its owner knows"."""
    return Step(
        Manual(finding.remedy),
        f"{finding.summary.removesuffix('.')}, and {what} only its owner knows.",
        Phase.AFTERWARDS,
        root=False,
    )
