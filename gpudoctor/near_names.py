"""Which name may be meant by one that is none: mistakes of typing are answered with a question."""

from collections.abc import Iterable, Sequence


def near_names(name: str, known: Iterable[str], *, most: int = 1, likeness: float = 0.7) -> list[str]:
    """The nearest first. `likeness`: from 0 to 1; short words are alike by chance at less than the usual one."""
    from difflib import get_close_matches  # here for start-up: only mistakes need it

    return get_close_matches(name, list(known), n=most, cutoff=likeness)


def near_checks(id: str, known: Iterable[str]) -> list[str]:
    """As `near_names`, of ids: they are long, and people remember a part."""
    return near_names(id, known, most=3, likeness=0.5)


def meant(names: Sequence[str], otherwise: str) -> str:
    """ "is 'expires' meant?"; what to say where no name is near."""
    return f"is {' or '.join(repr(name) for name in names)} meant?" if names else otherwise
