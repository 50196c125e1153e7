"""JSON that a program other than ours can read back: Python's own reader lets through NaN, and numbers of any size."""

import json
import math
from typing import NoReturn

_LONGEST = 20  # digits and sign of the largest number of 64 bits


def plain_json(text: str | bytes) -> object:
    """What the text says. Raises ValueError where it is no JSON, or no number of a machine is in it."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _whole(text: str) -> int:
    return int(text) if len(text) <= _LONGEST else _refuse(f"{text[:_LONGEST]}...")
