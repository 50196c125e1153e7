"""Where a fix may act: nothing is planned for a driver that is somebody else's, or from words that are no names."""

import re
from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec

from gpudoctor import Manual, Phase, Step
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.facts.system import Confinement

P = ParamSpec("P")

_RELEASE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+~-]*[A-Za-z0-9])?")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PATH = re.compile(r"(?:/[A-Za-z0-9_+~=@,-][A-Za-z0-9._+~:=@,-]*)+")
_DRIVER = re.compile(r"[0-9]{3}(?:\.[0-9]+){1,2}")


def own_driver(confinement: Confinement) -> bool:
    """Is the driver this system's own? In a container and in WSL it is the host's."""
    return not confinement.container and not confinement.wsl


def kernel_release(text: str) -> str:
    """The same text. Raises UnsafeWord if it is no kernel release."""
    return _checked(_RELEASE, text, "kernel release")


def account(text: str) -> str:
    """The same text. Raises UnsafeWord if it is no plain name of a user or group."""
    return _checked(_ACCOUNT, text, "name of a user or group")


def file_path(text: str) -> str:
    """The same text. Raises UnsafeWord if it is no plain absolute path; names that begin with a dot are none."""
    return _checked(_PATH, text, "plain path")


def driver_release(text: str) -> str:
    """The same text. Raises UnsafeWord if it is no driver version."""
    return _checked(_DRIVER, text, "driver version")


def _checked(pattern: re.Pattern[str], text: str, kind: str) -> str:
    if not pattern.fullmatch(text):
        raise UnsafeWord(f"{text!r} is no {kind}")
    return text


def by_hand_if_unsafe(fix: Callable[P, Iterator[Step]]) -> Callable[P, Iterator[Step]]:
    """A fix that met a word which must not stand in a command leaves the whole repair to a person, and says why.

    Texts for people are made printable: names of processes, log lines and the like may hold terminal commands.
    """

    @wraps(fix)
    def steps(*args: P.args, **kwargs: P.kwargs) -> Iterator[Step]:
        try:
            made = tuple(fix(*args, **kwargs))
        except UnsafeWord as reason:
            instruction = f"Do this repair by hand: {reason}, and gpudoctor puts nothing else into a command."
            made = (Step(Manual(instruction), "What was read here cannot be a name.", Phase.AFTERWARDS),)
        yield from map(_printable, made)

    return steps


def _printable(step: Step) -> Step:
    step = step._replace(why=_plain(step.why))
    match step.action:
        case Manual(instruction):
            step = step._replace(action=Manual(_plain(instruction)))
    match step.undo:
        case Manual(instruction):
            step = step._replace(undo=Manual(_plain(instruction)))
    return step


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
