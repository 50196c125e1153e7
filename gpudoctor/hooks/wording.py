"""Findings in the few lines that a hook may take of somebody's terminal."""

from collections.abc import Iterator, Sequence

from gpudoctor.findings import Ranked, Severity
from gpudoctor.reports.text import wrapped

WIDTH = 100
LIMIT = 3


def findings_in_lines(findings: Sequence[Ranked]) -> Iterator[str]:
    """The worst first, each with its remedy; what goes beyond a few is counted."""
    for ranked in findings[:LIMIT]:
        finding = ranked.finding
        what = f"{ranked.severity.name} {ranked.headline} ({ranked.check.id})"
        yield from wrapped(what, "  ", hanging="    ", width=WIDTH)
        yield from wrapped(finding.remedy, "    ", width=WIDTH)
    if len(findings) > LIMIT:
        yield f"  and {len(findings) - LIMIT} more"


def worth_telling(findings: Sequence[Ranked]) -> tuple[Ranked, ...]:
    return tuple(ranked for ranked in findings if ranked.severity > Severity.INFO)
