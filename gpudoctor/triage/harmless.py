"""Messages in a text that frighten people and tell of no fault of the GPU's software."""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.knowledge import load_table
from gpudoctor.symptoms import Symptom, found_in, may_match
from gpudoctor.triage.paste import Paste
from gpudoctor.triage.sightings import matches


class Harmless(NamedTuple):
    """One message, where it stands first."""

    line: int  # as pasted, from 1
    words: str  # the message
    meaning: str  # why it is no fault


def harmless(paste: Paste) -> Iterator[Harmless]:
    """Each kind once."""
    lowered = paste.flow.text.lower()
    for row in load_table("harmless")["messages"]:
        symptom = Symptom(row["pattern"])
        beside = row.get("beside", "")
        if may_match(symptom, lowered) and (not beside or found_in(beside, paste.flow.text, lowered)):
            for seen in matches(symptom, paste)[:1]:
                yield Harmless(paste.lines[seen.first].number, seen.words, row["words"])
