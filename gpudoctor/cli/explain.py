"""`gpudoctor explain`: what a check is about, or which checks an error message points to."""

import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase

from gpudoctor.cli import COULD_NOT_TELL
from gpudoctor.cli.check import wants_colour
from gpudoctor.explanation import messages, parts
from gpudoctor.findings import Check
from gpudoctor.knowledge import table_dates
from gpudoctor.near_names import meant, near_checks
from gpudoctor.registry import load_plugins, registry
from gpudoctor.repair import fixes_for
from gpudoctor.reports.text import wrapped
from gpudoctor.triage.judge import Triage, triage


def explain(subject: str) -> int:
    """Print the page of a check, or of those whose symptoms match a message; all titles without a subject."""
    load_plugins(fixes=True)
    if not subject:
        _print_list(list(registry.checks.values()))
        print("Tables:", ", ".join(f"{name} of {date}" for name, date in table_dates().items()))
        return 0
    known = registry.checks.get(subject)
    done = None if known else triage(subject)
    matching = [known] if known else _in_order(done) if done else []
    for calming in done.harmless if done else ():
        print("\n".join(wrapped(f"Harmless: {calming.words}: {calming.meaning}.", "", hanging="  ")))
    if matching:
        for check in matching[:3]:
            _print_page(check)
        if matching[3:]:
            print("See also: " + ", ".join(check.id for check in matching[3:]))
        return 0
    if done and done.harmless:
        return 0
    near = [
        check
        for check in registry.checks.values()
        if subject.lower() in check.id or subject.lower() in check.title.lower() or fnmatchcase(check.id, subject)
    ]
    if near:
        _print_list(near)
        return 0
    print(f"gpudoctor: {_unknown(subject)}", file=sys.stderr)
    return COULD_NOT_TELL


def _unknown(subject: str) -> str:
    told = f"no check is called {subject!r}, and none knows it as an error message"
    near = near_checks(subject, registry.checks) if "." in subject and " " not in subject else []
    return f"{told}; {meant(near, '')}" if near else told


def _in_order(done: Triage) -> list[Check]:
    """The checks that list this message among their symptoms, those first to which it points most surely."""
    ranked = [id for finding in done.report.findings for id in (finding.check.id, *finding.explains)]
    ordered = sorted(done.seen, key=lambda id: ranked.index(id) if id in ranked else len(ranked))
    return [registry.checks[id] for id in ordered]


_MESSAGES = "Messages (N is a number, X a word, … anything)"


def _print_page(check: Check) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from gpudoctor.reports.page import new_page, text_of

    console = new_page(colour=wants_colour())
    console.print(Text(check.id, style="bold cyan"))
    console.print(Text(" ".join(check.title.split()), style="bold"))
    for part in parts(check):
        if part.heading:
            console.print(Text(part.heading, style="bold"))
        console.print(Padding(Text(part.text), (0, 0, 0, 2), expand=False))
    rows = (
        ("Severity", check.severity.name.lower()),
        ("Explained by", ", ".join(check.after)),
        (_MESSAGES if check.symptoms else "Messages", "\n".join(messages(check)) or f"none: {check.no_symptom}"),
        ("Fixes", ", ".join(fixes_for(check.id)) or "none that a machine could carry out"),
    )
    for heading, text in rows:
        if text:
            console.print(Text(heading, style="bold"))
            console.print(Padding(Text(text), (0, 0, 0, 2), expand=False))
    print(text_of(console))


def _print_list(checks: Sequence[Check]) -> None:
    from rich.table import Table

    from gpudoctor.reports.page import new_page, text_of

    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for check in sorted(checks, key=lambda check: check.id):
        table.add_row(check.id, check.title)
    page = new_page(colour=wants_colour())
    page.print(table)
    print(text_of(page), end="")
