"""Patterns of messages as people paste them: what a search engine is asked, and what a reader recognises.

(CUDA|HIP) error \\d+: .* lost     "CUDA error N: … lost", "HIP error N: … lost"
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

parse: Any = re._parser.parse if hasattr(re, "_parser") else __import__("sre_parse").parse  # 3.10 has the older name

MOST = 12  # messages for one pattern: of more alternatives the first ones are enough to be found by


class Letters(NamedTuple):
    """What stands for something that differs from message to message."""

    digit: str = "N"
    word: str = "X"
    anything: str = " … "


AS_SHOWN = Letters()


def spoken(pattern: str, letters: Letters = AS_SHOWN) -> list[str]:
    """Messages that the pattern matches, each alternative once, without what may be missing.

    Raises ValueError for a construct of regular expressions that none of our checks has.
    """
    found = [" ".join(one.split()) for one in _ways(parse(pattern), letters)]
    gap = letters.anything.strip()
    return list(dict.fromkeys(re.sub(rf"{gap}( {gap})+", gap, one) if gap else one for one in found))


def _ways(items: Iterable[tuple[Any, Any]], letters: Letters) -> list[str]:
    ways = [""]
    for kind, what in items:
        pieces = _pieces(str(kind), what, letters)
        ways = [before + piece for before in ways for piece in pieces][:MOST]
    return ways


def _pieces(kind: str, what: Any, letters: Letters) -> list[str]:
    match kind:
        case "LITERAL":
            return [chr(what)]
        case "ANY":  # a blank, a hyphen or a quotation mark, mostly
            return [" "]
        case "NOT_LITERAL" | "GROUPREF":
            return [letters.word]
        case "IN":
            return [_one_of([(str(one), value) for one, value in what], letters)]
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, repeated = what
            if [str(one) for one, _ in repeated] == ["ANY"] and most > 1:
                return [letters.anything]
            once = _ways(repeated, letters)
            if not least and once != [" "]:  # a blank that may be missing mostly stands there
                return [""]
            standing_for_all = {" ", *letters} - set("0123456789")  # where a digit is told as one, all are told
            return [one if one in standing_for_all else one * least for one in once]
        case "SUBPATTERN":
            return _ways(what[-1], letters)
        case "ATOMIC_GROUP":
            return _ways(what, letters)
        case "BRANCH":
            return [way for branch in what[1] for way in _ways(branch, letters)][:MOST]
        case "AT" | "ASSERT" | "ASSERT_NOT":  # edges, and what stands around
            return [""]
    raise ValueError(f"{kind} in a pattern: gpudoctor/spoken_messages.py does not know how to say that")


def _one_of(choices: Sequence[tuple[str, Any]], letters: Letters) -> str:
    """One letter of a set."""
    kind, value = choices[0]
    match kind, str(value):
        case "LITERAL", _:
            return chr(value)
        case "RANGE", "(48, 57)":
            return letters.digit
        case "RANGE", _:
            return chr(value[0]) if chr(value[0]).isdigit() else letters.word
        case "CATEGORY", "CATEGORY_DIGIT":
            return letters.digit
        case "CATEGORY", "CATEGORY_SPACE" | "CATEGORY_NOT_WORD":
            return " "
    return letters.word
