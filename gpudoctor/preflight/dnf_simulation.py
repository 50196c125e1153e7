"""dnf's tables: what `dnf --assumeno upgrade` prints, of dnf 4 and dnf 5."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.preflight.transaction import Change, NoTransaction, Transaction, change

_COMING = ("Installing", "Upgrading", "Downgrading", "Reinstalling")
_SUMMARY, _NOTHING = (
    re.compile(r"^Transaction Summary:?$", re.MULTILINE),
    re.compile(r"^Nothing to do\.?$", re.MULTILINE),
)
# "Install  1 Package", "Upgrade  3 Packages" of dnf 4; " Installing:        1 package" of dnf 5.
_COUNT = re.compile(r"^ ?(Install|Upgrad|Downgrad|Reinstall|Remov)(?:e|ing)?:? +(\d+) [Pp]ackages?", re.MULTILINE)


class _Row(NamedTuple):
    """One line of the table, put together again where it was wrapped."""

    section: str  # "Installing dependencies"
    replaces: bool  # it names what the row before it takes the place of
    words: tuple[str, ...]  # name, architecture, version, repository, size


def is_dnf(text: str) -> bool:
    return bool(_SUMMARY.search(text) or _NOTHING.search(text))


def read_dnf(text: str, source: str) -> Transaction:
    """Raises NoTransaction for what is no such table, or a damaged one, or what dnf could not do."""
    ignored = re.search(r"^Ignoring repositories: (.+)", text, re.MULTILINE)
    if ignored:
        # dnf goes on without them, and "Nothing to do" would then be no good news.
        raise NoTransaction(
            f"{source}: dnf has no list of packages of {ignored.group(1)} here; `dnf makecache` fetches it (root and "
            "others have lists of their own)"
        )
    summary = _SUMMARY.search(text)
    if summary is None:
        if _NOTHING.search(text):
            return Transaction("rpm", (), (), source)
        said = re.search(r"^(?:Error|Failed).*", text, re.MULTILINE)
        raise NoTransaction(f"{source}: dnf cannot do this: {said.group()}" if said else f"{source}: no answer of dnf")
    changes: list[Change] = []
    kept: list[str] = []
    for row in _rows(text[: summary.start()].splitlines()):
        kind = row.section.partition(" ")[0]
        one = _change(row, source)
        if row.replaces:
            if changes and changes[-1].name == one.name:
                changes[-1] = changes[-1]._replace(old=one.new)
            else:
                changes.append(one._replace(old=one.new, new=""))
        elif kind in _COMING:
            changes.append(one)
        elif kind == "Removing":
            changes.append(one._replace(old=one.new, new="", origin=""))
        elif kind == "Skipping":
            kept.append(one.name)
        else:
            raise NoTransaction(
                f"{source}: {row.section!r} is no part of dnf's table that is known; LC_ALL=C has dnf write English"
            )
    _require_all(text[summary.end() :], changes, source)
    return Transaction("rpm", tuple(changes), tuple(kept), source)


def _rows(lines: list[str]) -> Iterator[_Row]:
    """A row begins behind one blank; what is indented more goes on with it."""
    section, replaces, words = "", False, []
    for line in (*lines, ""):
        stripped = line.strip()
        deep = line.startswith("  ")
        again = deep and stripped.startswith("replacing ")
        if deep and stripped and not again:
            words += stripped.split()
            continue
        if words and section:
            yield _Row(section, replaces, tuple(words))
        words = []
        if again:
            replaces, words = True, stripped.split()[1:]
        elif line.startswith(" ") and stripped and section:
            replaces, words = False, stripped.split()
        elif stripped.endswith(":") and not line.startswith(" "):
            section = stripped.removesuffix(":")
        elif stripped:
            section = ""  # rulers and the head of the table


def _change(row: _Row, source: str) -> Change:
    match row.words:
        case [name, architecture, version, repository, *_]:
            pass
        case [full_name, version] if row.replaces:  # dnf 4: "replacing  nvidia-driver.x86_64 3:580.82.09-1.fc42"
            name, _, architecture = full_name.rpartition(".")
            repository = ""
        case _:
            raise NoTransaction(f"{source}: a row of dnf's table that cannot be read: {' '.join(row.words)[:80]!r}")
    try:
        return change(name, architecture, "", version.removeprefix("0:"), repository)
    except NoTransaction as reason:
        raise NoTransaction(f"{source}: {reason}") from reason


def _require_all(summary: str, changes: list[Change], source: str) -> None:
    counted = {"Remov": 0, "": 0}
    for word, number in _COUNT.findall(summary):
        counted["Remov" if word == "Remov" else ""] += int(number)
    coming = sum(1 for one in changes if one.new)
    if coming != counted[""] or (counted["Remov"] and not any(not one.new for one in changes)):
        raise NoTransaction(
            f"{source}: it is cut short or was changed: it counts {counted['']} packages to install or upgrade and "
            f"{counted['Remov']} to remove, and names {coming} and {len(changes) - coming}"
        )
