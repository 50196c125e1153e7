"""The files of a hook: written whole, never over somebody else's, and taken away again only while they are ours."""

import enum
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpudoctor.host import BadSource, Unavailable
from gpudoctor.machine import RootHost
from gpudoctor.state import replace_file

# Stands in every file of ours, whatever its comments begin with.
MARK = "Written by gpudoctor"


class HookFile(NamedTuple):
    """One file that a hook consists of."""

    path: str  # as on the machine: "/etc/apt/apt.conf.d/90gpudoctor"
    text: str
    mode: int = 0o644


class Standing(enum.Enum):
    """What lies where a file of a hook belongs."""

    ABSENT = "not there"
    OURS = "installed"
    CHANGED = "ours, with other content"
    FOREIGN = "somebody else's"


def mark(kind: str, comment: str = "#") -> str:
    """The first line of a file of ours."""
    return f"{comment} {MARK}: `gpudoctor hook {kind} --remove` takes it away."


def standing(file: HookFile, root: str = "/") -> Standing:
    """Raises BadSource if it cannot be read."""
    text = _read(_place(file.path, root))
    if text is None:
        return Standing.ABSENT
    if text == file.text:
        return Standing.OURS
    return Standing.CHANGED if _is_ours(text) else Standing.FOREIGN


def write(files: Sequence[HookFile], root: str = "/") -> tuple[str, ...]:
    """Write what is not there yet or not as it should be; the paths that were written, none if all stood already.

    Raises BadSource, before anything is written, if something of somebody else's is in the way, and if it fails.
    """
    foreign = [file.path for file in files if standing(file, root) is Standing.FOREIGN]
    if foreign:
        raise BadSource(f"{', '.join(foreign)}: there is a file that gpudoctor did not write; nothing was changed")
    written = []
    for file in files:
        place = _place(file.path, root)
        if standing(file, root) is Standing.OURS and os.stat(place).st_mode & 0o777 == file.mode:
            continue
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            replace_file(place, file.text.encode(), mode=file.mode)
        except OSError as error:
            raise BadSource(f"cannot write {file.path}: {error.strerror}") from error
        written.append(file.path)
    return tuple(written)


def take_away(paths: Sequence[str], root: str = "/") -> tuple[str, ...]:
    """Remove those that are ours, changed by hand or not; the paths that were removed.

    Raises BadSource, before anything is removed, if one of them is not ours, and if it fails.
    """
    texts = {path: _read(_place(path, root)) for path in paths}
    foreign = [path for path, text in texts.items() if text is not None and not _is_ours(text)]
    if foreign:
        raise BadSource(f"{', '.join(foreign)}: gpudoctor did not write that file, and leaves it alone")
    there = tuple(path for path, text in texts.items() if text is not None)
    for path in there:
        try:
            os.unlink(_place(path, root))
        except OSError as error:
            raise BadSource(f"cannot remove {path}: {error.strerror}") from error
    return there


def _is_ours(text: str) -> bool:
    return any(MARK in line for line in _first_lines(text))


def _first_lines(text: str) -> Iterator[str]:
    """A script has its interpreter on top."""
    yield from text.splitlines()[:2]


def _place(path: str, root: str) -> str:
    """Where the file lies outside. Links are followed as in that system, and never out of it. Raises BadSource."""
    if root == "/":
        return path
    host, (folder, name) = RootHost(root), os.path.split(path)
    missing: list[str] = []
    try:
        while (inside := host.resolve(folder)) is None:
            folder, part = os.path.split(folder)
            missing.insert(0, part)
    except Unavailable as reason:
        raise BadSource(str(reason)) from reason
    return os.path.join(root, inside.lstrip("/"), *missing, name)


def _read(place: str) -> str | None:
    if os.path.islink(place):
        return ""  # whatever it leads to, gpudoctor made no link there
    try:
        with open(place, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadSource(f"{place}: {error.strerror}") from error
