"""Facts that a check only needs once the others could not decide."""

from typing import TypeVar

from gpudoctor import Unavailable

T = TypeVar("T")


def known(fact: T | Unavailable) -> T:
    """The fact; raises the reason where it cannot be had."""
    if isinstance(fact, Unavailable):
        raise fact
    return fact
