"""A pasted text made readable: without colours, fences, quotation marks and stamps, each line with its number."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from gpudoctor.triage.characters import plain_pieces, without_escapes
from gpudoctor.triage.languages import in_english
from gpudoctor.triage.prefixes import without_prefixes
from gpudoctor.triage.wraps import unwrapped

MOST_CHARACTERS = 1_500_000
_HEAD = MOST_CHARACTERS // 4  # of a longer text: who it is stands at the beginning, what happened at the end

_FENCE = re.compile(r"\s*(?:```|~~~)[\w+-]*\s*$|\{(?:code|noformat)(?::[\w|=]*)?\}\s*$")
_QUOTED = re.compile(r"^\s*(?:>(?!>>? )\s?)+")  # ">>> " is Python's
_EMPHASIS = re.compile(r"^\s*(?:[-*+] )?(\*\*|`|__)(?=\S)(.*\S)\1\s*$")
# Boxes around tracebacks; tables of programs are drawn otherwise.
_BOX_SIDE = re.compile(r"^\s*[\u2502\u2503\u2551] ?(.*?)\s*[\u2502\u2503\u2551]\s*$")
_BOX_EDGE = re.compile(
    r"^\s*[\u256d\u2570\u250c\u2514\u250f\u2517\u2554\u255a][\u2500\u2501\u2550]{3}.*[\u256e\u256f\u2510\u2518\u2513\u251b\u2557\u255d]\s*$"
)
_SPEAKER = re.compile(
    r"^(?:\S+ )?(?:kernel: )?NVRM: "
)  # of the kernel's log, which begins continued lines with it, too
_SPACES = re.compile(r" {2,}")


class Line(NamedTuple):
    """One line. `number` counts the lines as they were pasted, from 1: one of those can have become several here."""

    number: int
    raw: str  # as it was pasted, but for colours and quotation marks: tables need their columns
    text: str  # without stamps, with single spaces, and with the messages that are known in English
    own: str  # `text` in the language in which it was pasted


class Whole(NamedTuple):
    """All lines in one text."""

    text: str
    starts: tuple[int, ...]  # where in it each line begins

    def line_at(self, place: int) -> int:
        """The index of the line to which a place in the text belongs."""
        return max(0, bisect_right(self.starts, place) - 1)


class Paste(NamedTuple):
    """What somebody pasted."""

    lines: tuple[Line, ...]
    page: Whole  # the texts, a line each
    flow: Whole  # the texts in a row, with one space between two, for messages that were broken into lines
    tight: Whole | None  # as `flow`, but with words put together that may have been cut; None where none may
    cut: bool  # True: it was longer than MOST_CHARACTERS, and its middle was not looked at

    @property
    def raw(self) -> str:
        return "".join(f"{line.raw}\n" for line in self.lines)


def read_paste(text: str) -> Paste:
    """Any text at all; what is no text (NUL bytes, escape sequences) is left out."""
    whole = without_escapes(text)
    cut = len(whole) > MOST_CHARACTERS
    head, tail = (whole[:_HEAD], whole[_HEAD - MOST_CHARACTERS :]) if cut else (whole, "")
    pasted_lines = list(enumerate(head.splitlines(), 1))
    if cut:  # the numbers go on where they would be
        pasted_lines += list(enumerate(tail.splitlines(), len(whole.splitlines()) - len(tail.splitlines()) + 1))
    pieces = unwrapped(list(_pieces(pasted_lines)))
    raw_lines = without_prefixes([piece.text for piece in pieces])
    own = [_SPACES.sub(" ", raw).strip() for raw in raw_lines]
    texts = in_english(own)
    lines = tuple(
        Line(piece.number, raw.rstrip(), *both) for piece, raw, *both in zip(pieces, raw_lines, texts, own, strict=True)
    )
    flow = [
        _SPEAKER.sub("", text) if _SPEAKER.match(before) and not before.endswith(".") else text
        for before, text in zip(["", *texts], texts, strict=False)
    ]
    edges = [piece.edge for piece in pieces]
    return Paste(lines, _whole(texts, "\n"), _whole(flow, " "), _tight(flow, edges) if any(edges) else None, cut)


def _pieces(pasted_lines: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, pasted in pasted_lines:
        if _FENCE.match(pasted):
            continue
        line = _QUOTED.sub("", pasted) if pasted.lstrip().startswith(">") else pasted
        for piece in plain_pieces(line):
            if not _FENCE.match(piece) and not _BOX_EDGE.match(piece):
                yield number, _unframed(piece)


def _unframed(line: str) -> str:
    """Without the sides of a box around it, and without the marks of bold letters and code."""
    found = _BOX_SIDE.match(line)
    if found:
        return found[1]
    found = _EMPHASIS.match(line) if line.rstrip().endswith(("*", "`", "_")) else None
    return found[2] if found else line


def _whole(texts: Sequence[str], between: str) -> Whole:
    starts = tuple(accumulate((len(text) + len(between) for text in texts), initial=0))[:-1]
    return Whole(between.join(texts), starts)


def _tight(texts: Sequence[str], edges: Sequence[bool]) -> Whole:
    """With nothing between two lines of which the first may have been cut within a word."""
    parts = [text if edge else f"{text} " for text, edge in zip(texts, edges, strict=True)]
    return _whole(parts, "")
