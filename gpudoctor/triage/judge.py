"""A text from end to end: read it, run the checks on what it states, rank what they and its messages say."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gpudoctor.diagnose import diagnose
from gpudoctor.findings import Report, Status
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.triage.harmless import Harmless, harmless
from gpudoctor.triage.missing import Question, questions
from gpudoctor.triage.partial_facts import facts_of
from gpudoctor.triage.paste import Paste, read_paste
from gpudoctor.triage.rank import Setting, ranked
from gpudoctor.triage.read import read_shown
from gpudoctor.triage.shown import Shown
from gpudoctor.triage.sightings import Sighting, sightings


class Triage(NamedTuple):
    """What became of a text."""

    report: Report
    facts: Facts
    shown: Shown
    paste: Paste
    seen: Mapping[str, Sequence[Sighting]]  # the messages in it, by the checks that list them
    harmless: tuple[Harmless, ...]
    questions: tuple[Question, ...]  # what would make it certain


_NOTHING = "nothing in the text is known: no message of a program, no version of a driver or a framework, no GPU"


_LONG = "the text is too long: its middle was not read, so that nothing found in the rest means little"


def _untold(paste: Paste, anything: bool) -> str:
    """Why a text without a finding is no healthy one, "" if it is."""
    if paste.cut:
        return _LONG
    return "" if anything else _NOTHING


def triage(text: str) -> Triage:
    """Any text; it is only read, nothing is run. `report` has no finding where nothing speaks for a fault."""
    load_plugins()
    paste = read_paste(text)
    shown = read_shown(paste)
    facts = facts_of(shown)
    found = diagnose(facts, registry.checks.values())
    # Most facts are missing by nature: what could not be told makes no text doubtful. A crash still does.
    outcomes = tuple(one._replace(matters=one.status is Status.CRASHED) for one in found.outcomes)
    seen = sightings(paste, registry.checks.values())
    elsewhere = "wsl" if shown.system.wsl else "container" if shown.system.container else ""
    setting = Setting(elsewhere, shown.python.whole, shown.no_gpu)
    findings = ranked(paste, outcomes, seen, registry.checks, setting)
    calming = tuple(harmless(paste))
    untold = _untold(paste, bool(calming) or shown.anything) if not findings else ""
    return Triage(
        Report(outcomes, findings, untold=untold),
        facts,
        shown,
        paste,
        seen,
        calming,
        questions(shown, findings) if findings or untold else (),
    )
