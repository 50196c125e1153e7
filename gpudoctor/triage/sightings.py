"""Which checks list a message of a text among their symptoms, and on which lines it stands."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from gpudoctor.findings import Check
from gpudoctor.symptoms import Symptom, Tells, compiled, found_in, may_match
from gpudoctor.triage import loosely
from gpudoctor.triage.paste import Paste, Whole

_MOST_LINES = 3  # that a message can be spread over
_MOST_MATCHES = 4  # of one symptom: more of the same tell nothing new


class Sighting(NamedTuple):
    """One message. Lines are indices into the paste's, the last one included."""

    symptom: Symptom
    first: int
    last: int
    words: str  # what matched


def sightings(paste: Paste, checks: Iterable[Check]) -> dict[str, list[Sighting]]:
    """By check id, where there is one."""
    flow = paste.flow.text
    checks = tuple(checks)
    lowered = flow.lower() + (paste.tight.text.lower() if paste.tight else "")
    found: dict[str, list[Sighting]] = {}
    asked: dict[str, bool] = {}  # of the surroundings, which symptoms share

    def around(pattern: str) -> bool:
        if pattern not in asked:
            asked[pattern] = found_in(pattern, flow, lowered)
        return asked[pattern]

    for check in checks:
        seen = [
            sighting
            for symptom in check.symptoms
            if may_match(symptom, lowered)
            for sighting in matches(symptom, paste)
            # Last, for mostly nothing was found: whole texts are searched for these.
            if (not symptom.beside or around(symptom.beside)) and not (symptom.without and around(symptom.without))
        ]
        if seen:
            found[check.id] = seen
    if all(one.symptom.tells is Tells.HINT for seen in found.values() for one in seen):
        for id, seen in _told(paste, checks, around).items():
            found[id] = [*seen, *found.get(id, ())]
    return found


def _told(paste: Paste, checks: Iterable[Check], around: Callable[[str], bool]) -> dict[str, list[Sighting]]:
    """As `sightings`, of a text in which hardly anything is as programs write it: somebody may have repeated it."""
    lowered = paste.flow.text.lower()
    if len(lowered) > loosely.MOST_CHARACTERS:
        return {}
    bare = Whole(loosely.bare(paste.flow.text), (0,))
    found: dict[str, list[Sighting]] = {}
    for check in checks:
        for symptom in check.symptoms:
            if not loosely.may_be_told(symptom, lowered) or (like := loosely.loose(symptom)) is None:
                continue
            for _, _, words in itertools.islice(_matches(like, bare), 1):
                if symptom.without and (around(symptom.without) or loosely.found_in(symptom.without, bare.text)):
                    continue
                if not symptom.beside or around(symptom.beside) or loosely.found_in(symptom.beside, bare.text):
                    found.setdefault(check.id, []).append(_where(like, words, paste))
    return found


def matches(symptom: Symptom, paste: Paste) -> list[Sighting]:
    """Where it stands: in the lines as they are; and where a message was broken into lines, in up to three in a row."""
    found = list(_matches(symptom, paste.page))
    if not found and not symptom.startswith("^") and not symptom.endswith("$"):
        # Nothing may be taken from far away: what stands for "anything" is held to a line's length here.
        near = re.sub(r"(?<!\\)\.[*+]\??", ".{0,200}?", symptom)
        found = list(_matches(near, paste.flow))[:1]
        if not found and paste.tight:
            found = list(_matches(near, paste.tight))[:1]
    return [Sighting(symptom, first, last, words) for first, last, words in found]


def _where(symptom: Symptom, words: str, paste: Paste) -> Sighting:
    """A message that was found without its marks: the lines on which its first and its last words stand."""
    begin, end = words.split()[0], words.split()[-1]
    first = next((at for at, line in enumerate(paste.lines) if begin in line.text), 0)
    last = next(
        (at for at, line in enumerate(paste.lines[first : first + _MOST_LINES], first) if end in line.text), first
    )
    return Sighting(symptom, first, last, words)


def _matches(pattern: str, whole: Whole) -> Iterator[tuple[int, int, str]]:
    """The first of each line, with the lines where they begin and end."""
    before, count = -1, 0
    for match in compiled(pattern, re.IGNORECASE | re.MULTILINE).finditer(whole.text):
        first, last = whole.line_at(match.start()), whole.line_at(max(match.start(), match.end() - 1))
        if not match[0] or first == before or last - first >= _MOST_LINES:
            continue
        yield first, last, match[0]
        before, count = first, count + 1
        if count == _MOST_MATCHES:
            return
