"""What an image asks of the host's driver in NVIDIA_REQUIRE_*, and whether a driver meets it.

The rules of libnvidia-container: words apart are alternatives, conditions joined by commas must all hold, and every
variable must be met. None stands for "cannot be told": who asks may not know the brand or the architecture.
"""

import operator
import re
from collections.abc import Callable, Mapping

from gpudoctor.knowledge.cuda import version_numbers

_CONDITION = re.compile(r"([a-z]+)(>=|<=|!=|==|=|>|<)(\S{1,99})")
_OPERATORS: Mapping[str, Callable[[object, object], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,  # type: ignore[dict-item]
    "<=": operator.le,  # type: ignore[dict-item]
    ">": operator.gt,  # type: ignore[dict-item]
    "<": operator.lt,  # type: ignore[dict-item]
}


def requirements(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that ask for something of the driver."""
    return {name: value for name, value in sorted(variables.items()) if name.startswith("NVIDIA_REQUIRE_") and value}


def wanted_cuda(requirement: str) -> tuple[int, int] | None:
    """The CUDA that a requirement asks for by itself: "cuda>=12.9 brand=tesla,driver>=535" is (12, 9)."""
    for word in requirement.split():
        found = re.fullmatch(r"cuda>=(\d{1,4})\.(\d{1,4})(?:\.\d+)*", word)
        if found:
            return int(found[1]), int(found[2])
    return None


def is_met(requirement: str, known: Mapping[str, str]) -> bool | None:
    """Does a machine with these properties ("cuda": "12.4", "driver": "550.54.15") meet it?"""
    answers = [_all(word.split(","), known) for word in requirement.split()]
    if True in answers or not answers:
        return True
    return None if None in answers else False


def _all(conditions: list[str], known: Mapping[str, str]) -> bool | None:
    answers = [_holds(condition, known) for condition in conditions if condition]
    if False in answers:
        return False
    return None if None in answers else True


def _holds(condition: str, known: Mapping[str, str]) -> bool | None:
    found = _CONDITION.fullmatch(condition)
    value = known.get(found[1]) if found else None
    if found is None or value is None:
        return None
    own, wanted = version_numbers(value), version_numbers(found[3])
    if not own or not wanted:  # a brand is a word
        return _OPERATORS[found[2]](value.lower(), found[3].lower()) if found[2] in ("=", "==", "!=") else None
    length = max(len(own), len(wanted))  # 12.9 and 12.9.0 are the same
    return _OPERATORS[found[2]](own + (0,) * (length - len(own)), wanted + (0,) * (length - len(wanted)))
