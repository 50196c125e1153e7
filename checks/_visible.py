"""What CUDA makes of CUDA_VISIBLE_DEVICES: it reads numbers as C does, and stops at the first bad entry."""

import re
from collections.abc import Sequence
from typing import NamedTuple


class Visible(NamedTuple):
    """How many GPUs are left, and why not all that are named."""

    left: int
    problem: str  # a clause: "entry '5' is no GPU: there are 2, counted from 0"; "" if all is well


def visible(value: str, number: int, uuids: Sequence[str]) -> Visible | None:
    """What is left of a machine's GPUs. None: it cannot be told (MIG instances, UUIDs that nothing here knows).

    Entries are separated by commas; what follows the first that names no GPU is dropped, and a GPU that is named twice
    hides all.
    """
    if not value.strip():
        return Visible(0, "it is empty, which hides every GPU")
    if value.strip().startswith("MIG-"):
        return None
    taken: list[int] = []
    entries = value.split(",")
    by_uuid = entries[0].strip().startswith("GPU-")
    for place, entry in enumerate(entries):
        if by_uuid:
            if not uuids:
                return None
            index = _of_uuid(entry.strip(), uuids)
            why = f"entry {entry.strip()!r} is the UUID of no GPU here"
        else:
            index = _number(entry.strip())
            why = _why(entry.strip(), index, number)
        if index is None or not 0 <= index < number:
            dropped = len(entries) - place - 1
            return Visible(len(taken), why + (f", and the {dropped} behind it are dropped" if dropped else ""))
        if index in taken:
            return Visible(0, f"GPU {index} is named twice, which hides all")
        taken.append(index)
    odd = next((entry for entry in entries if not by_uuid and not entry.strip().lstrip("+").isdecimal()), "")
    return Visible(len(taken), f"of {odd.strip()!r} only the number at its beginning counts" if odd else "")


def _number(entry: str) -> int | None:
    """As strtol reads it: 1 of "1gpu2", 0 of "0 1", None of "all"."""
    match = re.match(r"[+-]?\d+", entry)
    return int(match[0]) if match else None


def _of_uuid(entry: str, uuids: Sequence[str]) -> int | None:
    """The only GPU whose UUID begins so."""
    found = [place for place, uuid in enumerate(uuids) if entry.startswith("GPU-") and uuid.startswith(entry)]
    return found[0] if len(found) == 1 else None


def _why(entry: str, index: int | None, number: int) -> str:
    if index is None and entry.lower() in ("all", "none", "void"):
        return f"{entry!r} is a word of NVIDIA_VISIBLE_DEVICES, and names no GPU in this variable"
    if index is None:
        return f"entry {entry!r} is neither a number nor a UUID"
    if index < 0:
        return f"entry {entry!r} names no GPU, and so hides all that follow"
    return f"entry {entry!r} names no GPU: there {'is only GPU 0' if number == 1 else f'are {number}, counted from 0'}"
