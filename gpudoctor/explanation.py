"""The page of a check: its docstring, cut into the parts that `gpudoctor explain` heads, and its messages."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.findings import Check

HEADINGS = ("What", "Proof", "Repair", "Reference")
_WAYS = 2  # of saying one symptom: more are its variants


class Part(NamedTuple):
    """One paragraph. `heading` is one of HEADINGS, "" for one that goes on without."""

    heading: str
    text: str  # on one line


def parts(check: Check) -> Iterator[Part]:
    """All paragraphs behind the title."""
    for paragraph in check.explanation.split("\n\n")[1:]:
        heading, separator, body = paragraph.partition(":")
        if separator and heading in HEADINGS:
            text = " ".join(body.split())
            yield Part(heading, text[:1].upper() + text[1:] if _is_plain_word(text.split(" ")[0]) else text)
        else:
            yield Part("", " ".join(paragraph.split()))


def part(check: Check, heading: str) -> str:
    """The text under a heading, "" if the page has none."""
    return next((found.text for found in parts(check) if found.heading == heading), "")


def messages(check: Check) -> tuple[str, ...]:
    """The messages that users see, of each symptom two ways to say it; N is a number, X a word, … anything."""
    from gpudoctor.spoken_messages import spoken  # here for start-up

    said: dict[str, None] = {}
    for pattern in check.symptoms:
        try:
            said |= dict.fromkeys(spoken(pattern)[:_WAYS])
        except ValueError:  # a plugin's own: what its author wrote is better than nothing
            said[pattern] = None
    return tuple(said)


def patterns(check: Check) -> tuple[str, ...]:
    """What is looked for, each once, without backslashes that say nothing: "GPU(s)" for "GPU\\(s\\)"."""
    return tuple(dict.fromkeys(re.sub(r"\\([^\w\s])", r"\1", pattern) for pattern in check.symptoms))


def _is_plain_word(word: str) -> bool:
    """Not the name of a library, a program or an address, which stay as they are written."""
    return word.isalpha() and word.islower() and not word.startswith("lib")
