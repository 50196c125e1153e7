"""`gpudoctor --version`: the version alone on the first line, where scripts look, then how old the tables are."""

import os

from gpudoctor import __version__

_HEAD = 4096  # bytes of a table, in which its date stands
_MARK = b'"date":"'


def version_lines() -> str:
    """The version, and the tables by the date at which their sources were read, newest first.

    Nothing is parsed for it, nor json imported: scripts ask for the version at every turn.
    """
    folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), "knowledge")
    by_date: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), "rb") as file:
                date = file.read(_HEAD).partition(_MARK)[2][: len("2026-11-23")].decode("ascii", "replace")
            by_date.setdefault(date or "an unknown date", []).append(name.removesuffix(".json"))
    lines = [f"tables of {date}: {', '.join(names)}" for date, names in sorted(by_date.items(), reverse=True)]
    return "".join(f"{line}\n" for line in (f"gpudoctor {__version__}", *lines))
