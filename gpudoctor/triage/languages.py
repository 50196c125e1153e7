"""Messages of the system's programs in other languages, said again in English, in which the checks list them."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from gpudoctor.knowledge import load_table

# What a program fills in, as in C: "%s", "%2$s".
_GAP = re.compile(r"%(?:(\d)\$)?(?:[sdu]|qs)")
_FILLED_IN = re.compile(r"%(?:\d\$)?(?:[sdu]|qs)|[\"'`]+")
_QUOTES = re.compile(r"[\"'`]+")


class _Wording(NamedTuple):
    """One message in one language."""

    probe: str  # the longest part that is always the same
    said: str
    english: str


def in_english(lines: Sequence[str]) -> list[str]:
    """The lines with the messages that are known in English; what surrounds them is left as it is."""
    whole = "\n".join(lines)
    found = [wording for wording in _wordings() if wording.probe in whole]
    found.sort(key=lambda wording: -len(wording.said))  # some are a part of others
    if not found:
        return list(lines)
    said = list(lines)
    for wording in found:
        pattern = re.compile(_pattern(wording.said))
        said = [pattern.sub(_filled(wording), line) if wording.probe in line else line for line in said]
    return said


@cache
def _wordings() -> tuple[_Wording, ...]:
    return tuple(
        _Wording(_probe(said), said, english)
        for english, wordings in load_table("foreign_messages")["messages"].items()
        for said in wordings
    )


def _probe(said: str) -> str:
    if "%" not in said and not _QUOTES.search(said):
        return said
    return max((part.strip() for part in _FILLED_IN.split(said)), key=len)


def _pattern(said: str) -> str:
    """Each gap is a group, named by its place in the English message; quotation marks may be any, or missing."""
    parts, end = [], 0
    for count, gap in enumerate(_GAP.finditer(said), 1):
        parts.append(_quoted(said[end : gap.start()]))
        at, first, last = gap[1] or count, gap.start() == 0, gap.end() == len(said)
        anything = r"\S{1,120}" if first else ".{1,200}" if last else ".{1,200}?"
        parts.append(f"(?P<g{at}>{anything})")
        end = gap.end()
    return "".join([*parts, _quoted(said[end:])])


def _quoted(text: str) -> str:
    return "[\"'`]{0,2} ?".join(re.escape(part) for part in _QUOTES.split(text))


def _filled(wording: _Wording) -> Callable[[re.Match[str]], str]:
    def fill(found: re.Match[str]) -> str:
        given = found.groupdict()
        counted = iter(range(1, 10))
        return _GAP.sub(lambda gap: given.get(f"g{gap[1] or next(counted)}") or "", wording.english)

    return fill
