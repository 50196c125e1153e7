"""Version numbers of Python packages and what is asked of them: PEP 440, read without `packaging`.

Importing `packaging` takes longer than a quarter of a whole check. The rules, and how the details that PEP 440 leaves
open are settled, are those of packaging 26: https://packaging.python.org/en/latest/specifications/version-specifiers/
"""

import functools
import re
from typing import NamedTuple

_LENGTH_LIMIT = 256  # characters; a longer text is damage
_DIGITS_AND_DOTS = frozenset("0123456789.")
_LETTERS = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
_RANKS = {"a": 0, "b": 1, "rc": 2}
_OPERATORS = ("===", "~=", "==", "!=", "<=", ">=", "<", ">")
_FINAL = (3, 0, 0, 0, 1, 0)  # the rank of a version that is neither pre-, post- nor development release

_Key = tuple[int, tuple[int, ...], tuple[int, ...], tuple[tuple[int, int, str], ...]]


@functools.total_ordering
class Version:
    """A version number. Equal are those that mean the same: "1.0" and "v1.0.0", "1.0-beta" and "1.0b0"."""

    __slots__ = ("_key", "dev", "epoch", "local", "post", "pre", "release")

    def __init__(
        self,
        release: tuple[int, ...],
        *,
        epoch: int = 0,
        pre: tuple[str, int] | None = None,
        post: int | None = None,
        dev: int | None = None,
        local: str = "",
    ) -> None:
        self.release = release  # (2, 9, 1), zeros at the end as they stand
        self.epoch = epoch
        self.pre = pre  # ("a", 1), ("b", 1), ("rc", 1)
        self.post = post
        self.dev = dev
        self.local = local  # "cu126" of "2.9.1+cu126", "" without
        self._key: _Key = (epoch, _trimmed(release), _rank(pre, post, dev), _local_rank(local))

    @property
    def is_prerelease(self) -> bool:
        """Alpha, beta, release candidate, or development release."""
        return self.pre is not None or self.dev is not None

    def __str__(self) -> str:
        return "".join(
            (
                f"{self.epoch}!" if self.epoch else "",
                ".".join(map(str, self.release)),
                f"{self.pre[0]}{self.pre[1]}" if self.pre else "",
                f".post{self.post}" if self.post is not None else "",
                f".dev{self.dev}" if self.dev is not None else "",
                f"+{self.local}" if self.local else "",
            )
        )

    def __repr__(self) -> str:
        return f"<Version {self}>"

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Version) else NotImplemented

    def __lt__(self, other: "Version") -> bool:
        return self._key < other._key if isinstance(other, Version) else NotImplemented

    def public_key(self) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """What orders versions when their local parts do not count."""
        return self._key[:3]

    def starts_with(self, epoch: int, release: tuple[int, ...]) -> bool:
        """Is the release (zeros added at its end) one of release.*?"""
        own = self.release[: len(release)]
        return self.epoch == epoch and own + (0,) * (len(release) - len(own)) == release


class _Clause(NamedTuple):
    operator: str
    text: str  # what stands behind the operator
    version: Version | None  # None with ===
    wildcard: bool


@functools.lru_cache(maxsize=4096)
def parse_version(text: str) -> Version | None:
    """None if the text is no version number."""
    text = text.strip()
    if len(text) > _LENGTH_LIMIT:
        return None
    if _DIGITS_AND_DOTS.issuperset(text):
        parts = text.split(".")
        return Version(tuple(map(int, parts))) if all(parts) else None
    match = _version_pattern().fullmatch(text)
    if match is None:
        return None
    epoch, release, pre, pre_number, post_mark, post_only, post_number, dev_mark, dev_number, local = match.groups()
    letter = (pre or "").lower()
    return Version(
        tuple(map(int, release.split("."))),
        epoch=int(epoch or 0),
        pre=(_LETTERS.get(letter, letter), int(pre_number or 0)) if letter else None,
        post=int(post_only or post_number or 0) if post_only or post_mark else None,
        dev=int(dev_number or 0) if dev_mark else None,
        local=".".join(str(int(part)) if part.isdigit() else part for part in re.split(r"[-_.]", local.lower()))
        if local
        else "",
    )


def satisfies(version: str, specifiers: str) -> bool:
    """Does an installed version fulfil all of ">=2.0,<3"? Pre-releases may, for it is installed already.

    No specifiers ask nothing. Raises ValueError if the version is no version number, or the specifiers are none.
    """
    clauses = _clauses(specifiers)
    if all(clause.version is None for clause in clauses):
        return all(version.strip().lower() == clause.text.lower() for clause in clauses)
    parsed = parse_version(version)
    if parsed is None:
        raise ValueError(f'"{version}" is no version number')
    return all(
        _fulfils(parsed, clause, clause.version)
        if clause.version is not None
        else version.strip().lower() == clause.text.lower()
        for clause in clauses
    )


def exact_version(specifiers: str) -> str:
    """ "2.8.0" of "==2.8.0"; "" if more than one version would do, or text is compared ("===")."""
    version = specifiers.removeprefix("==").strip()
    return version if specifiers == f"=={version}" and not set(version) & set("*,=") else ""


def check_specifiers(specifiers: str) -> None:
    """Raises ValueError if this is no list of version specifiers."""
    _clauses(specifiers)


def _fulfils(version: Version, clause: _Clause, wanted: Version) -> bool:
    if clause.wildcard:
        return version.starts_with(wanted.epoch, wanted.release) == (clause.operator == "==")
    own, public = version.public_key(), wanted.public_key()
    match clause.operator:
        case "==" | "!=":
            # A local part counts only where it is asked for.
            equal = version == wanted if wanted.local else own == public
            return equal == (clause.operator == "==")
        case ">=":
            return own >= public
        case "<=":
            return own <= public
        case "~=":
            return own >= public and version.starts_with(wanted.epoch, wanted.release[:-1])
        case "<":
            # 2.0rc1 is not meant by <2.0.
            limit = public if wanted.is_prerelease else _first_development_release(wanted).public_key()
            return own < limit
        case _:
            # Nor is 2.0.post1 by >2.0.
            is_post = version.post is not None and version.pre == wanted.pre and own[:2] == public[:2]
            return own > public and not (is_post and wanted.post is None and wanted.dev is None)


def _first_development_release(version: Version) -> Version:
    return Version(version.release, epoch=version.epoch, pre=version.pre, post=version.post, dev=0)


@functools.lru_cache(maxsize=4096)
def _clauses(specifiers: str) -> tuple[_Clause, ...]:
    return tuple(_clause(part.strip()) for part in specifiers.split(",") if part.strip())


def _clause(text: str) -> _Clause:
    operator = next((operator for operator in _OPERATORS if text.startswith(operator)), "")
    wanted = text[len(operator) :].strip()
    if operator == "===" and wanted and not any(character.isspace() or character in ";)" for character in wanted):
        return _Clause(operator, wanted, None, False)
    wildcard = wanted.endswith(".*")
    number = wanted.removesuffix(".*")
    version = parse_version(number) if operator != "===" and number == number.strip() else None
    if not operator or version is None:
        raise ValueError(f'"{text}" is no version specifier')
    bare = not (version.is_prerelease or version.post is not None or version.local)
    if (wildcard and not (operator in ("==", "!=") and bare)) or (version.local and operator not in ("==", "!=")):
        raise ValueError(f'"{text}" is no version specifier: {operator} does not go with {wanted}')
    if operator == "~=" and len(version.release) < 2:
        raise ValueError(f'"{text}" is no version specifier: ~= wants two numbers or more')
    return _Clause(operator, wanted, version, wildcard)


def _trimmed(release: tuple[int, ...]) -> tuple[int, ...]:
    end = len(release)
    while end and not release[end - 1]:
        end -= 1
    return release[:end]


def _rank(pre: tuple[str, int] | None, post: int | None, dev: int | None) -> tuple[int, ...]:
    """Orders 1.0.dev1, 1.0a1.dev1, 1.0a1, 1.0a1.post1, 1.0rc1, 1.0, 1.0.post1.dev1, 1.0.post1."""
    if pre is None and post is None and dev is None:
        return _FINAL
    without_pre = (-1, 0) if post is None and dev is not None else (3, 0)
    pre_rank = (_RANKS[pre[0]], pre[1]) if pre is not None else without_pre
    return (*pre_rank, int(post is not None), post or 0, int(dev is None), dev or 0)


def _local_rank(local: str) -> tuple[tuple[int, int, str], ...]:
    """Words before numbers, as PEP 440 has it."""
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in (local.split(".") if local else ()))


@functools.cache
def _version_pattern() -> re.Pattern[str]:
    """Compiled for start-up only where a version is more than digits and dots."""
    return re.compile(
        r"v?(?:([0-9]+)!)?([0-9]+(?:\.[0-9]+)*)"
        r"(?:[-_.]?(alpha|a|beta|b|preview|pre|c|rc)[-_.]?([0-9]+)?)?"
        r"(-([0-9]+)|[-_.]?(?:post|rev|r)[-_.]?([0-9]+)?)?"
        r"([-_.]?dev[-_.]?([0-9]+)?)?"
        r"(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?",
        re.IGNORECASE | re.ASCII,
    )
