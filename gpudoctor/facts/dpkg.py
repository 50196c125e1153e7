"""dpkg's status file and its journal: what is installed, held, half-done."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gpudoctor.facts.package_names import is_of_interest
from gpudoctor.facts.packages import Package

_STATES = {
    "installed": "installed",
    "unpacked": "unpacked",
    "half-configured": "half-configured",
    "half-installed": "half-installed",
    "triggers-awaited": "triggers",
    "triggers-pending": "triggers",
    "config-files": "removed",
}
_CLEAN = (" ok installed", " ok config-files", " ok not-installed")
_DEPENDS = ("Pre-Depends", "Depends")


class Listing(NamedTuple):
    """What a status file holds."""

    packages: tuple[Package, ...]  # of interest, or in a broken state
    stanzas: int  # whole entries in the file
    damaged: bool  # there are pieces that are no whole entry


def read_status(text: str, journal: Sequence[str] = ()) -> Listing:
    """The status file, and over it the journal: entries that dpkg wrote beside it and was then interrupted.

    The journal's texts come in the order of their numbers. Never raises: of a damaged file the whole entries are used.
    """
    newer = {}
    for change in journal:
        for entry in _entries(change, lambda _: True)[0]:
            newer[entry.get("Package", ""), entry.get("Architecture", "")] = entry
    renewed = {name for name, _ in newer}
    is_wanted = (lambda name: is_of_interest(name) or name in renewed) if renewed else is_of_interest
    entries, stanzas, damaged = _entries(text, is_wanted)
    found = [newer.pop((entry.get("Package", ""), entry.get("Architecture", "")), entry) for entry in entries]
    found += newer.values()
    kept = []
    for entry in found:
        word = entry.get("Status", "").rpartition(" ")[2]
        if word == "not-installed":  # gone without a trace
            continue
        if word not in _STATES or "Version" not in entry:
            damaged = True
        elif package := _package(entry, _STATES[word]):
            kept.append(package)
    return Listing(tuple(kept), stanzas, damaged)


def _entries(text: str, is_wanted: Callable[[str], bool]) -> tuple[list[dict[str, str]], int, bool]:
    """Entries that are wanted by name or in a broken state, how many there are in all, and if pieces are none.

    Desktops have thousands of entries in megabytes of text, so it is not cut up: of an entry that nobody wants, two
    lines are looked at. A last line without end was cut off: it may be half a name or half a version.
    """
    damaged = bool(text) and not text.endswith("\n")
    if damaged:
        text = text[: text.rfind("\n") + 1]
    found, stanzas = [], 0
    start = 0 if text.startswith("Package: ") else text.find("\nPackage: ") + 1 or len(text)
    while start < len(text):
        following = text.find("\nPackage: ", start) + 1 or len(text)
        status = text.find("\nStatus: ", start, following)
        if status < 0:
            damaged = True
        else:
            stanzas += 1
            is_clean = text.endswith(_CLEAN, status, text.find("\n", status + 1))
            if not is_clean or is_wanted(text[start + 9 : text.find("\n", start)]):
                found.append(_fields(text[start:following]))
        start = following
    return found, stanzas, damaged


def _fields(stanza: str) -> dict[str, str]:
    return dict(_lines(stanza))


def _lines(stanza: str) -> Iterator[tuple[str, str]]:
    for line in stanza.split("\n"):
        if line[:1] not in (" ", "\t"):
            key, separator, value = line.partition(": ")
            if separator:
                yield key, value.strip()


def _package(entry: dict[str, str], state: str) -> Package | None:
    """None for what is in order and of no interest."""
    name = entry.get("Package", "")
    want, _, rest = entry["Status"].partition(" ")
    if rest.startswith("reinstreq ") and state == "installed":
        state = "half-installed"
    if state in ("installed", "removed") and not is_of_interest(name):
        return None
    depends = [part.strip() for key in _DEPENDS for part in entry.get(key, "").split(",")]
    return Package(
        name,
        entry.get("Version", ""),
        entry.get("Architecture", ""),
        state,
        want == "hold",
        entry.get("Maintainer", ""),
        tuple(part for part in depends if part),
        state == "removed",
    )
