"""Ways in which a file can be damaged."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KINDS = ("junk", "empty", "cut", "folder", "gone", "not-utf-8", "a-loop")

# For whole machines, every file of which is damaged in turn: seconds a kind, so that most run with the slow tests.
KINDS_OF_WHOLE_MACHINES = tuple(
    kind if kind in ("junk", "cut") else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS
)
JUNK = random.Random(7).randbytes(4096)


@contextmanager
def damaged(path: Path, kind: str) -> Iterator[None]:
    """The file damaged in this way, and as it was afterwards."""
    original = path.read_bytes()
    path.unlink()
    match kind:
        case "junk":
            path.write_bytes(JUNK)
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(original[: len(original) * 2 // 3])
        case "folder":
            path.mkdir()
        case "not-utf-8":
            path.write_bytes(original.replace(b"a", b"\xff").replace(b"5", b"\xfe"))
        case "a-loop":
            path.symlink_to(path.name)
    try:
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        path.write_bytes(original)
