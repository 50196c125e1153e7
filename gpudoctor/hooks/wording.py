"""Findings in the few lines that a hook may take of somebody's terminal."""

from collections.abc import Iterator, Sequence

from gpudoctor.diagnose import Ranked, Severity
from gpudoctor.reports.text import visible

WIDTH = 100
LIMIT = 3


def findings_in_lines(findings: Sequence[Ranked]) -> Iterator[str]:
    """The worst first, each with its remedy; what goes beyond a few is counted."""
    for ranked in findings[:LIMIT]:
        finding = ranked.finding
        yield from _wrapped(
            f"{ranked.severity.name} {finding.summary or ranked.check.title} ({ranked.check.id})", "  ", "    "
        )
        yield from _wrapped(finding.remedy, "    ", "    ")
    if len(findings) > LIMIT:
        yield f"  and {len(findings) - LIMIT} more"


def worth_telling(findings: Sequence[Ranked]) -> tuple[Ranked, ...]:
    return tuple(ranked for ranked in findings if ranked.severity > Severity.INFO)


def _wrapped(text: str, first: str, hanging: str) -> list[str]:
    from textwrap import wrap

    return wrap(
        visible(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
