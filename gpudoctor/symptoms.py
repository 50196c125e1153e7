"""Messages that users see, as patterns, and how much each of them tells about its cause."""

import enum
import re
from collections.abc import Iterator
from functools import cache


class Tells(enum.IntEnum):
    """How far a message alone leads to the fault whose check lists it."""

    HINT = 1  # many faults say so, this is one of them
    LIKELY = 2  # mostly it is this fault
    SURE = 3  # no other fault says so


class Symptom(str):
    """A regular expression, looked for whatever the case of its letters; it is a text, so `re` takes it as it is.

    `beside`: a pattern that must be found elsewhere in the same text, else this message is not taken for a symptom;
    `without`: one that must not. What no text around tells (a bare error line) is judged by the pattern alone.
    """

    tells: Tells
    beside: str
    without: str

    def __new__(cls, pattern: str, tells: Tells = Tells.LIKELY, *, beside: str = "", without: str = "") -> "Symptom":
        self = super().__new__(cls, pattern)
        self.tells, self.beside, self.without = tells, beside, without
        return self


def sure(pattern: str, *, beside: str = "", without: str = "") -> Symptom:
    """A message that only this fault causes."""
    return Symptom(pattern, Tells.SURE, beside=beside, without=without)


def likely(pattern: str, *, beside: str = "", without: str = "") -> Symptom:
    """A message that mostly this fault causes, as a plain text among the symptoms; here with its surroundings."""
    return Symptom(pattern, Tells.LIKELY, beside=beside, without=without)


def hint(pattern: str, *, beside: str = "", without: str = "") -> Symptom:
    """A message that many faults cause, this one among them."""
    return Symptom(pattern, Tells.HINT, beside=beside, without=without)


def may_match(pattern: str, lowered: str) -> bool:
    """Can the pattern match in this text (in lower case)? False only where a word that it needs is not there.

    Compiling every pattern of every check takes longer than a whole diagnosis may; looking for words takes nothing.
    """
    return any(all(word in lowered for word in words) for words in needed_words(pattern))


@cache
def needed_words(pattern: str) -> tuple[tuple[str, ...], ...]:
    """For each alternative of the pattern what stands in every text that it matches, in lower case."""
    return tuple(tuple(words) for words in _words_of_alternatives(pattern.lower()))


@cache
def compiled(pattern: str, flags: re.RegexFlag) -> re.Pattern[str]:
    """`re` keeps 512 patterns, which is fewer than all checks have: whoever goes through them compiles each anew."""
    return re.compile(pattern, flags)


_SPECIAL = frozenset("\\[]()?*{|.^$+")
_NUMBERED = {"x": 2, "u": 4}  # characters by their numbers, with so many digits


def _words_of_alternatives(pattern: str) -> Iterator[list[str]]:
    """Of each alternative at the top level the literal runs that every match contains; the pattern is in lower case."""
    words: list[str] = []
    run, depth, at, count = "", 0, 0, len(pattern)
    while at < count:
        char = pattern[at]
        at += 1
        if char in _SPECIAL:
            literal = ""
            if char == "\\":
                char = pattern[at : at + 1]
                at += 1 + _NUMBERED.get(char, 0)
                literal = char if not char.isalnum() else ""
            elif char == "[":
                at = _class_end(pattern, at - 1) + 1
            elif char == "(":
                depth += 1
            elif char == ")":
                depth -= 1
            elif char in "?*{":
                run = run[:-1]  # what stands before may be missing
                if char == "{":
                    at = max(at, pattern.find("}", at) + 1)
            if not literal:
                if run:
                    words.append(run)
                    run = ""
                if char == "|" and depth == 0:
                    yield words
                    words = []
                continue
            char = literal
        if depth == 0:
            run += char
    yield [*words, run]


def _class_end(pattern: str, at: int) -> int:
    """The place of the bracket that closes a character class."""
    end = at + 1
    if pattern[end : end + 1] == "^":
        end += 1
    end += 1  # a bracket that comes first stands for itself
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return end


def found_in(pattern: str, text: str, lowered: str) -> bool:
    """Is the pattern anywhere in this text?"""
    return may_match(pattern, lowered) and compiled(pattern, re.IGNORECASE).search(text) is not None
