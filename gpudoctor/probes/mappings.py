"""The files that a process has mapped, from the text of /proc/PID/maps."""

from collections.abc import Iterator
from typing import NamedTuple

_DELETED = " (deleted)"


class Mapping(NamedTuple):
    """One mapped range of addresses, [start, end), and the file behind it. `deleted`: the file has since gone."""

    start: int
    end: int
    path: str
    deleted: bool


def parse_maps(text: str) -> Iterator[Mapping]:
    """The mappings that have a file, in the order of their addresses; a file has several."""
    for line in text.split("\n"):
        columns = line.split(None, 5)
        if len(columns) < 6 or not columns[5].startswith("/"):
            continue
        start, _, end = columns[0].partition("-")
        path = columns[5]
        yield Mapping(int(start, 16), int(end, 16), path.removesuffix(_DELETED), path.endswith(_DELETED))


def file_behind(address: int) -> str | None:
    """The real path of the file that this process has mapped at an address; None if there is no file, or no /proc."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            text = maps.read()
    except FileNotFoundError:
        return None
    return next((mapping.path for mapping in parse_maps(text) if mapping.start <= address < mapping.end), None)
