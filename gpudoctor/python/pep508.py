"""What a Python package says it needs: the lines of Requires-Dist (PEP 508), read without `packaging`.

https://packaging.python.org/en/latest/specifications/dependency-specifiers/
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.python.pep440 import check_specifiers, parse_version, satisfies

_DEPTH_LIMIT = 50  # parentheses within each other; more are damage
_VERSIONS = frozenset(("python_version", "python_full_version", "implementation_version", "platform_release"))
_LAST_PATCH = ".999"  # no Python has had as many
_UNKNOWN_HERE = frozenset(("platform_release", "platform_version"))
_ALIASES = {"python_implementation": "platform_python_implementation"}
_COMPARISONS = frozenset(("===", "==", "~=", "!=", "<=", ">=", "<", ">", "in", "not in"))


class Requirement(NamedTuple):
    """A package that another one needs."""

    name: str  # as it is written; compare names by `normalised`
    extras: tuple[str, ...]  # ("cuda12",) of "jax[cuda12]"
    specifiers: str  # ">=1.0,<2", "" for any version
    marker: str  # 'python_version < "3.11"', "" for always
    url: str  # where "name @ url" points, else ""


class _Comparison(NamedTuple):
    variable: str
    operator: str
    literal: str
    reversed: bool  # the literal stands on the left side


class _Group(NamedTuple):
    any_of: bool  # joined by "or", else by "and"
    members: "tuple[_Comparison | _Group, ...]"


_Truth = bool | ValueError  # what a marker comes to; an error says why that cannot be told


@functools.lru_cache(maxsize=4096)
def normalised(name: str) -> str:
    """The one spelling of a package's or an extra's name: "Typing_Extensions" is "typing-extensions"."""
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.lru_cache(maxsize=4096)
def parse_requirement(text: str) -> Requirement | None:
    """A line of Requires-Dist, the older form "name (>=1.0)" included; None if the text is no requirement."""
    text = text.strip()
    start = _name_pattern().match(text)
    if start is None:
        return None
    rest = text[start.end() :].lstrip()
    extras: tuple[str, ...] = ()
    if rest.startswith("["):
        inside, bracket, rest = rest[1:].partition("]")
        extras = tuple(extra.strip() for extra in inside.split(",")) if inside.strip() else ()
        if not bracket or not all(_name_pattern().fullmatch(extra) for extra in extras):
            return None
        rest = rest.lstrip()
    url = specifiers = ""
    if rest.startswith("@"):
        url, _, rest = rest[1:].strip().partition(" ")
        before, semicolon, marker = rest.partition(";")
        if not url or before.strip():
            return None
    else:
        specifiers, semicolon, marker = rest.partition(";")
        specifiers = specifiers.strip()
        if specifiers.startswith("(") and specifiers.endswith(")"):
            specifiers = specifiers[1:-1].strip()
    try:
        check_specifiers(specifiers)
        if semicolon:
            _marker(marker.strip())
    except ValueError:
        return None
    return Requirement(start.group(), extras, specifiers, marker.strip(), url)


def applies(
    requirement: Requirement, *, extras: Sequence[str] = (), python: str = "3.11", machine: str = "x86_64"
) -> bool:
    """Does a requirement count on Linux, for a CPython of that version and a package installed with those extras?

    `python`: "3.11.7", or "3.11" where the last number is not known. Raises ValueError where that number or another
    unknown property of the machine decides, where the marker names something that is no property at all, and where a
    comparison has no meaning.
    """
    if not requirement.marker:
        return True
    tree = _marker(requirement.marker)
    return _decided(_one_true(_value(tree, _properties(extra, python, machine)) for extra in (extras or ("",))))


def _properties(extra: str, python: str, machine: str) -> Mapping[str, str]:
    return {
        "extra": normalised(extra),
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "implementation_version": python,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
    }


def _decided(truth: _Truth) -> bool:
    if isinstance(truth, ValueError):
        raise truth
    return truth


def _value(node: _Comparison | _Group, properties: Mapping[str, str]) -> _Truth:
    if isinstance(node, _Group):
        values = (_value(member, properties) for member in node.members)
        return _one_true(values) if node.any_of else _all_true(values)
    own = properties.get(node.variable)
    try:
        if own is None:
            raise ValueError(f"{node.variable} of that machine is not known")
        if node.variable not in ("python_full_version", "implementation_version") or own.count(".") != 1:
            return _holds(node, own)
        # The last number of this Python is not known: whatever it is, the answer must be the same.
        candidates = {f"{own}.0", f"{own}{_LAST_PATCH}"}
        named = parse_version(node.literal)
        if named is not None and not named.is_prerelease and node.literal.startswith(f"{own}."):
            candidates.add(node.literal)
        answers = {_holds(node, candidate) for candidate in candidates}
        if len(answers) > 1:
            raise ValueError(f"{node.variable} {node.operator} {node.literal}: of that Python only {own} is known")
        return answers.pop()
    except ValueError as error:
        return error


def _one_true(values: Iterator[_Truth]) -> _Truth:
    """True if one is, whatever cannot be told of the others."""
    unknown: ValueError | None = None
    for value in values:
        if value is True:
            return True
        if isinstance(value, ValueError):
            unknown = unknown or value
    return unknown or False


def _all_true(values: Iterator[_Truth]) -> _Truth:
    unknown: ValueError | None = None
    for value in values:
        if value is False:
            return False
        if isinstance(value, ValueError):
            unknown = unknown or value
    return unknown or True


def _holds(comparison: _Comparison, own: str) -> bool:
    """Raises ValueError for a comparison without a meaning, like "linux" ~= "1.0"."""
    variable, operator, literal, is_reversed = comparison
    if variable == "extra":
        literal = normalised(literal)
    left, right = (literal, own) if is_reversed else (own, literal)
    if variable in _VERSIONS and operator not in ("in", "not in"):
        try:
            check_specifiers(operator + right)
        except ValueError:
            pass  # '>= "3.6.*"': compared as text, as below
        else:
            return parse_version(left) is not None and satisfies(left, operator + right)
    match operator:
        case "in":
            return left in right
        case "not in":
            return left not in right
        case "==" | "<=" | ">=":  # text has no order
            return left == right
        case "!=":
            return left != right
        case "<" | ">":
            return False
        case _:
            raise ValueError(f'"{left}" {operator} "{right}" has no meaning')


@functools.lru_cache(maxsize=1024)
def _marker(text: str) -> _Comparison | _Group:
    """Raises ValueError for what is no marker."""
    tokens = _tokens(text)
    tree, end = _any_of(tokens, 0, 0)
    if end != len(tokens):
        raise ValueError(f"{text}: nothing was expected behind {tokens[end - 1]}")
    return tree


def _any_of(tokens: Sequence[str], place: int, depth: int) -> tuple[_Comparison | _Group, int]:
    member, place = _all_of(tokens, place, depth)
    members = [member]
    while tokens[place : place + 1] == ["or"]:
        member, place = _all_of(tokens, place + 1, depth)
        members.append(member)
    return (_Group(True, tuple(members)) if len(members) > 1 else member), place


def _all_of(tokens: Sequence[str], place: int, depth: int) -> tuple[_Comparison | _Group, int]:
    member, place = _atom(tokens, place, depth)
    members = [member]
    while tokens[place : place + 1] == ["and"]:
        member, place = _atom(tokens, place + 1, depth)
        members.append(member)
    return (_Group(False, tuple(members)) if len(members) > 1 else member), place


def _atom(tokens: Sequence[str], place: int, depth: int) -> tuple[_Comparison | _Group, int]:
    if depth > _DEPTH_LIMIT:
        raise ValueError("a marker with too many parentheses")
    if tokens[place : place + 1] == ["("]:
        inside, place = _any_of(tokens, place + 1, depth + 1)
        if tokens[place : place + 1] != [")"]:
            raise ValueError("a marker with a parenthesis that is not closed")
        return inside, place + 1
    left, operator, right = (*tokens[place : place + 3], "", "", "")[:3]
    if operator not in _COMPARISONS:
        raise ValueError(f'a marker that compares by "{operator}"')
    is_reversed = left[:1] in ("'", '"')
    variable, literal = (right, left) if is_reversed else (left, right)
    if literal[:1] not in ("'", '"'):
        raise ValueError("a marker that compares with no text in quotes")
    return _Comparison(_variable(variable), operator, literal[1:-1], is_reversed), place + 3


def _variable(word: str) -> str:
    """Its name of today. Raises ValueError if there is no such variable."""
    name = word.replace(".", "_")
    name = _ALIASES.get(name, name)
    if name not in _properties("", "", "") and name not in _UNKNOWN_HERE:
        raise ValueError(f'a marker that asks for "{word}"')
    return name


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    place = 0
    while place < len(text):
        match = _token_pattern().match(text, place)
        if match is None:
            raise ValueError(f"{text}: no marker from character {place + 1} on")
        place = match.end()
        token = match.group(1)
        tokens.append("not in" if token.startswith("not") and token.endswith("in") else token)
    return tokens


@functools.cache
def _name_pattern() -> re.Pattern[str]:
    """This and the next are compiled for start-up only where there is a requirement."""
    return re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@functools.cache
def _token_pattern() -> re.Pattern[str]:
    return re.compile(r"""\s*([()]|===?|[~!<>]=|[<>]|'[^']*'|"[^"]*"|not\s+in\b|[a-z_.]+\b)\s*""")
