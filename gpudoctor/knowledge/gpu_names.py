"""GPUs by the names that people and programs give them."""

import re
from collections.abc import Collection
from functools import cache

from gpudoctor.knowledge import KnownGpu, known_gpus

_BRAND = ("nvidia", "geforce", "gpu")  # words that people leave out of a GPU's name


def gpus_called(name: str) -> tuple[KnownGpu, ...]:
    """Those of exactly this name ("RTX 4090", "NVIDIA GeForce RTX 4090"), else those with all its words in theirs.

    () for a name that the table does not know, and for one without a word.
    """
    squeezed, words = squeezed_name(name), set(_words(name))
    exact = tuple(gpu for own, _, gpu in _names() if words and own == squeezed)
    return exact or tuple(gpu for _, own_words, gpu in _names() if words and words <= own_words)


def capability_of(name: str) -> tuple[int, int] | None:
    """The compute capability that all GPUs of a name share, None if they share none or it is not known."""
    found = {gpu.compute_capability for gpu in gpus_called(name)}
    major, _, minor = (next(iter(found)) if len(found) == 1 else "").partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def squeezed_name(name: str) -> str:
    """ "rtx4090" of "NVIDIA GeForce RTX 4090"."""
    return "".join(word for word in _words(name) if word not in _BRAND)


@cache
def _names() -> Collection[tuple[str, frozenset[str], KnownGpu]]:
    return [(squeezed_name(gpu.name), frozenset(_words(gpu.name)), gpu) for gpu in known_gpus().values()]


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())
