"""Which of two versions of a Debian package is the newer one."""

import re


def dpkg_order(version: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """A key to sort by as `dpkg --compare-versions` does: letters before all else, and "~" before the end itself."""
    epoch, _, rest = version.rpartition(":")
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return (((), int(epoch) if epoch.isdecimal() else 0), *_order(upstream), *_order(revision))


def _order(part: str) -> list[tuple[tuple[int, ...], int]]:
    """Words and numbers in turns; a part ends with an empty word and 0, so that "1" comes before "1.0"."""
    pieces = re.findall(r"([^0-9]*)([0-9]*)", part)
    return [((*map(_weight, word), 0), int(number or 0)) for word, number in pieces]


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256
