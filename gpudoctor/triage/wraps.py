"""Lines that a terminal broke at its edge put together again, in the middle of a word or of a number."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_NARROWEST = 40  # columns
_WIDTHS = frozenset({72, 76, 78, 79, 80, 90, 96, 100, 110, 120, 128, 132, 140, 150, 160, 180, 200, 220, 240})
_EDGES = frozenset("|+\u2502\u2503\u2551\u2524-=_\u2500*#")  # of tables, whose lines are all as wide
_BEGINNINGS = frozenset("[({<|+*#>$\u2502")
_NEW = re.compile(r"\w+:? {2,}\S|File \"|Traceback |\w[\w.-]*==\d|(?:GPU|Error|ERROR|OS|CUDA|PyTorch|Python)\b")


class Piece(NamedTuple):
    """A line, or as much of it as stood on one line of the terminal."""

    number: int
    text: str
    edge: bool = False  # it ends where the longest line of its block does: the next may belong to it


def unwrapped(lines: Sequence[tuple[int, str]]) -> list[Piece]:
    """The lines with their numbers, those that certainly were one put together; others that may be have `edge`."""
    whole: list[Piece] = []
    for block in _blocks(lines):
        whole += _of_block(block)
    return whole


def _blocks(lines: Sequence[tuple[int, str]]) -> Iterator[Sequence[tuple[int, str]]]:
    """Runs of lines without an empty one, which come out as runs of their own."""
    begin = 0
    for at, (_, text) in enumerate(lines):
        if not text.strip():
            if begin < at:
                yield lines[begin:at]
            yield lines[at : at + 1]
            begin = at + 1
    if begin < len(lines):
        yield lines[begin:]


def _of_block(block: Sequence[tuple[int, str]]) -> Iterator[Piece]:
    width = max(len(text) for _, text in block)
    if width < _NARROWEST or len(block) == 1:
        yield from (Piece(number, text) for number, text in block)
        return
    full = [at for at in range(len(block) - 1) if _goes_on(block[at][1], block[at + 1][1], width)]
    within = sum(_in_a_word(block[at][1], block[at + 1][1]) for at in full)
    sure = within > (1 if width in _WIDTHS else 2) and within > _broken_between_words(block, width)
    edges = frozenset(full)
    number, text = block[0]
    for at in range(1, len(block)):
        if sure and at - 1 in edges:
            text += _continued(block[at][1], block[at - 1][1])
        else:
            yield Piece(number, text, at - 1 in edges)
            number, text = block[at]
    yield Piece(number, text)


def _goes_on(line: str, following: str, width: int) -> bool:
    if len(line) != width or line[-1] in _EDGES:
        return False
    begin = following.lstrip()
    return begin[0] not in _BEGINNINGS and not (_NEW.match(begin) and line[-1].islower())


def _in_a_word(line: str, following: str) -> bool:
    last, first = line[-1], following.lstrip()[0]
    return (last.isalnum() or last in "_./:=,'\"(") and (first.isalnum() or first in "_./:=,'\")-")


def _broken_between_words(block: Sequence[tuple[int, str]], width: int) -> int:
    """How many lines end early because the next word was too long, as editors and mailers break them."""
    return sum(
        width - 24 < len(line) < width <= len(line) + len(following.split()[0])
        for (_, line), (_, following) in itertools.pairwise(block)
    )


def _continued(line: str, before: str) -> str:
    """What is put behind a line: editors indent what they break, and words that were cut have no space between."""
    return line.lstrip() if line[:1] == " " and before[-1] != " " and line.startswith("  ") else line
