"""What may stand in a command line for a Python environment: names, versions, addresses and paths read from a machine.

Each is tried first; what does not fit raises UnsafeWord, and no command is made of it.
"""

import re

from gpudoctor.facts.package_manager import UnsafeWord

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_CLAUSE = r"(?:===|==|~=|!=|<=|>=|<|>)[0-9][A-Za-z0-9._+!-]*"
_REQUIREMENT = re.compile(
    rf"(?P<name>{_NAME.pattern})(?:\[(?P<extras>[a-z0-9_-]+(?:,[a-z0-9_-]+)*)\])?(?P<specifiers>{_CLAUSE}(?:,{_CLAUSE})*)?"
)
_INDEX = re.compile(r"https://[a-z0-9.-]+(?:/[A-Za-z0-9._-]+)*/?")


def requirement(text: str) -> str:
    """The same text. Raises UnsafeWord if it is no plain requirement: a name, extras, versions."""
    if not _REQUIREMENT.fullmatch(text):
        raise UnsafeWord(f"{text!r} is no name of a Python package with a version")
    return text


def distribution_name(text: str) -> str:
    """The same text. Raises UnsafeWord if it is no name of a distribution."""
    if not _NAME.fullmatch(text):
        raise UnsafeWord(f"{text!r} is no name of a Python package")
    return text


def environment_path(text: str) -> str:
    """The same text, dots and blanks included. Raises UnsafeWord if a shell or a terminal would act on it."""
    letters = set(text)
    if (
        not text.startswith("/")
        or not text.isprintable()
        or letters & set("`$;&|<>\"'\\*?!{}\n")
        or "/../" in f"{text}/"
    ):
        raise UnsafeWord(f"{text!r} is no plain path of a Python environment")
    return text


def index_address(url: str) -> str:
    """The same text. Raises UnsafeWord if it is more than an https address: no user, port, query."""
    if not _INDEX.fullmatch(url):
        raise UnsafeWord(f"{url!r} is no plain address of a package index")
    return url


def requirement_parts(word: str) -> tuple[str, str, str]:
    """Name, extras and version specifiers of a requirement or a name that has been tried."""
    match = _REQUIREMENT.fullmatch(word)
    assert match is not None  # `requirement` or `distribution_name` said so
    return match["name"], match["extras"] or "", match["specifiers"] or ""
