"""Messages as people repeat them: without quotation marks, brackets and colons, or with spaces lost or too many."""

import re
from collections.abc import Iterator
from functools import cache

from gpudoctor.symptoms import Symptom, Tells, compiled, needed_words

MOST_CHARACTERS = 6000  # of what somebody tells; logs and lists are longer, and programs write them as they are
_MARKS = "\"'`,;:()[]{}!?|\\"
_MARKED = re.compile(rf"[{re.escape(_MARKS)}\s]+")
_ARTICLES = re.compile(r"(?<![\w(|?:\]\\])(?:the|an?|your|my) (?=\w)", re.IGNORECASE)
_WORD = re.compile(r"[a-z0-9]{3,}")
# A pattern's parts: what is escaped, a class, the beginning of a group, anything else.
_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P<\w+>|[:=!]|<[=!])?|.", re.DOTALL)
_QUANTIFIER = re.compile(r"(?:[?*+]|\{\d*,?\d*\})[?+]?")
_GAP = " ?"
# An alternative that consists of marks, or marks before what must not follow: without them it means something else.
_MEANT_BY_MARKS = re.compile(r"(?:\||\((?:\?:)?) \?(?:\||\))| \?\(\?!")
_LEFT_OUT = ("the", "your")
_FEWEST_LETTERS = 13  # that a message must have: words alone are no message


def bare(text: str) -> str:
    """The text without marks and articles, with one space between two words."""
    return _ARTICLES.sub("", _MARKED.sub(" ", text))


def may_be_told(pattern: str, lowered: str) -> bool:
    """Are the words that the pattern needs in this text (in lower case)? It need not match for all that."""
    return any(
        len("".join(needed)) >= _FEWEST_LETTERS and all(word in lowered for word in needed)
        for needed in (
            [word for run in words for word in _WORD.findall(run) if word not in _LEFT_OUT]
            for words in needed_words(pattern)
        )
    )


def loose(symptom: Symptom) -> Symptom | None:
    """The symptom for texts that `bare` made, and less sure; None where it cannot be looked for so."""
    pattern = _loose_pattern(str(symptom))
    if not pattern:
        return None
    return Symptom(pattern, min(symptom.tells, Tells.LIKELY), beside=symptom.beside, without=symptom.without)


def found_in(pattern: str, text: str) -> bool:
    """Is the pattern, without its marks, anywhere in a text that `bare` made?"""
    loose_pattern = _loose_pattern(pattern)
    return loose_pattern != "" and compiled(loose_pattern, re.IGNORECASE).search(text) is not None


@cache
def _loose_pattern(pattern: str) -> str:
    if pattern.startswith("^") or pattern.endswith("$"):
        return ""
    found = "".join(_without_doubles(_loosened(_ARTICLES.sub("", pattern)))).removeprefix(_GAP).removesuffix(_GAP)
    if _MEANT_BY_MARKS.search(found):
        return ""
    try:
        compiled(found, re.IGNORECASE | re.MULTILINE)
    except re.error:  # what must not stand before has a certain length
        return ""
    return found


def _loosened(pattern: str) -> Iterator[str]:
    at = 0
    while at < len(pattern):
        part = _PARTS.match(pattern, at)
        assert part is not None  # the last alternative is anything
        at = part.end()
        inner = part[0].removeprefix("\\") if part[0][0] == "\\" else part[0]
        if part[0][0] == "[" and len(part[0]) > 2:
            content = part[0][1:-1].replace("\\", "")
            if content[0] == "^":
                yield part[0]
                continue
            if not any(mark in content for mark in _MARKS):
                yield part[0]
                continue
            mark = all(one in f"{_MARKS} " for one in content)
            if not mark:
                yield f"[{part[0][1:-1]} ]"
                continue
        elif len(inner) == 1 and (inner == " " or (inner in _MARKS and (part[0][0] == "\\" or inner in "\"'`,;:!"))):
            pass
        elif part[0] == "." and (quantifier := _QUANTIFIER.match(pattern, at)) and quantifier[0][0] in "*+":
            at = quantifier.end()
            yield ".{0,200}?"
            continue
        else:
            yield part[0]
            continue
        quantifier = _QUANTIFIER.match(pattern, at)
        at = quantifier.end() if quantifier else at
        yield _GAP


def _without_doubles(parts: Iterator[str]) -> Iterator[str]:
    before = ""
    for part in parts:
        if part != _GAP or before != _GAP:
            yield part
        before = part
