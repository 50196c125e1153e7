"""What the hook before an upgrade leaves for the one after it: that the GPU is concerned, and what was wrong then."""

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from gpudoctor.host import BadSource
from gpudoctor.state import make_folder, replace_file, require_own, state_folder

if TYPE_CHECKING:
    from gpudoctor.findings import Problem  # not imported: most package transactions end before the engine is needed


class UpgradeNote(NamedTuple):
    """An upgrade that was begun. `known`: the problems before it, None where they could not be told."""

    known: "tuple[Problem, ...] | None" = None
    removals: tuple[str, ...] = ()  # pacman: names that go, of which its second hook is not told


def _path() -> str:
    return os.path.join(state_folder(), "upgrade.json")


def leave(note: UpgradeNote) -> str:
    """Write it; the reason in words for the user if that cannot be done, else ""."""
    try:
        make_folder(state_folder())
        replace_file(_path(), json.dumps(note._asdict()).encode())
    except (OSError, BadSource) as error:
        return f"nothing can be noted in {state_folder()}, so there will be no check afterwards: {error}"
    return ""


def read() -> UpgradeNote | None:
    """None if no upgrade is under way. Raises BadSource for a note that others could have written, OSError."""
    try:
        require_own(_path())
        with open(_path(), encoding="utf-8") as file:
            found = json.load(file)
        known = found["known"]
        return UpgradeNote(
            None if known is None else tuple((str(id), str(subject), str(place)) for id, subject, place in known),
            tuple(str(name) for name in found["removals"]),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        return UpgradeNote()  # damaged, and still a sign that an upgrade was begun


def remove() -> None:
    with suppress(FileNotFoundError):
        os.unlink(_path())
