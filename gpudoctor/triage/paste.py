"""A pasted text made readable: without colours, fences, quotation marks and stamps, each line with its number."""

import html
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

MOST_CHARACTERS = 1_500_000
_HEAD = MOST_CHARACTERS // 4  # of a longer text: who it is stands at the beginning, what happened at the end

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_FENCE = re.compile(r"\s*(?:```|~~~)[\w+-]*\s*$")
_QUOTED = re.compile(r"^\s*(?:>(?!>>? )\s?)+")  # ">>> " is Python's
# Line ends that loggers write out: rsyslog's "#012", and "\n" in JSON and in shells' quoting.
_WRITTEN_LINE_END = re.compile(r"#012|(?<![\\:A-Za-z])\\n|(?<=[a-z.,;)])\\n(?=[A-Z\s])")
_STAMPS = re.compile(
    r"^(?:"
    r"\[ *\d+\.\d+\] *(?:\[ *[TC]\d+\] *)?"  # the kernel's
    r"|\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*(?: ?(?:Z|[+-]\d\d:?\d\d))?\]?[ :]+"
    r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} \d\d:\d\d:\d\d "
    r"|<\d{1,2}>"
    r")+"
)
_SPELLED = str.maketrans(
    {"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\xa0": " ", "\u200b": "", "\u2026": "...", "\t": " "}
)
_SPEAKER = re.compile(
    r"^(?:\S+ )?(?:kernel: )?NVRM: "
)  # of the kernel's log, which begins continued lines with it, too
_SPACES = re.compile(r" {2,}")


class Line(NamedTuple):
    """One line. `number` counts the lines as they were pasted, from 1: one of those can have become several here."""

    number: int
    raw: str  # as it was pasted, but for colours and quotation marks: tables need their columns
    text: str  # without stamps, with single spaces


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
    cut: bool  # True: it was longer than MOST_CHARACTERS, and its middle was not looked at

    @property
    def raw(self) -> str:
        return "".join(f"{line.raw}\n" for line in self.lines)


def read_paste(text: str) -> Paste:
    """Any text at all; what is no text (NUL bytes, escape sequences) is left out."""
    whole = _ESCAPES.sub("", text).replace("\0", "")
    cut = len(whole) > MOST_CHARACTERS
    head, tail = (whole[:_HEAD], whole[_HEAD - MOST_CHARACTERS :]) if cut else (whole, "")
    lines = []
    pasted_lines = list(enumerate(head.splitlines(), 1))
    if cut:  # the numbers go on where they would be
        pasted_lines += list(enumerate(tail.splitlines(), len(whole.splitlines()) - len(tail.splitlines()) + 1))
    for number, pasted in pasted_lines:
        if _FENCE.match(pasted):
            continue
        raw = _QUOTED.sub("", pasted) if pasted.lstrip().startswith(">") else pasted
        raw = html.unescape(raw).translate(_SPELLED) if "&" in raw else raw.translate(_SPELLED)
        for piece in _WRITTEN_LINE_END.split(raw) if "#012" in raw or "\\n" in raw else [raw]:
            lines.append(Line(number, piece.rstrip(), _plain(piece)))
    texts = [line.text for line in lines]
    flow = [
        _SPEAKER.sub("", text) if _SPEAKER.match(before) and not before.endswith(".") else text
        for before, text in zip(["", *texts], texts, strict=False)
    ]
    return Paste(tuple(lines), Whole("\n".join(texts), _starts(texts)), Whole(" ".join(flow), _starts(flow)), cut)


def _starts(texts: Sequence[str]) -> tuple[int, ...]:
    return tuple(accumulate((len(text) + 1 for text in texts), initial=0))[:-1] if texts else ()


def _plain(line: str) -> str:
    return _SPACES.sub(" ", _STAMPS.sub("", line.strip())).strip()
