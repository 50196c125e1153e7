"""What a Python package installed: the RECORD file beside its METADATA.

https://packaging.python.org/en/latest/specifications/recording-installed-packages/: rows of path, hash and size.
"""

from collections.abc import Mapping
from typing import NamedTuple


class RecordEntry(NamedTuple):
    """A file that a package brought."""

    hash: str  # "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "" if none was recorded
    size: int | None  # bytes


class RecordFile(NamedTuple):
    """All files of one package."""

    entries: Mapping[str, RecordEntry]  # by path: "torch/lib/libtorch.so", "../../../bin/torchrun", "/etc/x"
    damaged: int = 0  # rows that say nothing


_METADATA = (".dist-info/", ".egg-info/")
_CACHES = (".pyc", ".pyo")
_SIZE_DIGITS = 18


def parse_record(text: str) -> RecordFile:
    """Every row that can be read; the others are counted, empty lines are not."""
    entries: dict[str, RecordEntry] = {}
    damaged = 0
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    for line in text.split("\n"):
        # PyTorch's has 13,000 rows, hardly one with quotes, and csv takes three times as long as this.
        row = line.split(",") if '"' not in line else _unquoted(line)
        if len(row) == 3:
            path, digest, size = row
            if path and "\0" not in path and (not digest or "=" in digest):
                if not size:
                    entries[path] = RecordEntry(digest, None)
                    continue
                if size.isdecimal() and len(size) <= _SIZE_DIGITS:
                    entries[path] = RecordEntry(digest, int(size))
                    continue
        damaged += bool(line)
    return RecordFile(entries, damaged)


def shared_paths(one: RecordFile, other: RecordFile) -> tuple[str, ...]:
    """Files that both packages brought, sorted: the one installed last has overwritten the other's.

    Not those that belong to nobody: metadata, caches, and the `__init__.py` of a namespace that many packages share
    (nvidia/__init__.py: empty in one of them, or the same in both).
    """
    both = one.entries.keys() & other.entries.keys()
    return tuple(sorted(path for path in both if not _is_common(path, one.entries[path], other.entries[path])))


def sha256_of(entry: RecordEntry) -> str:
    """In hexadecimal, to compare with the digest of the file; "" if another hash or none was recorded."""
    import binascii  # here for start-up: only files that two packages claim are compared

    kind, _, text = entry.hash.partition("=")
    if kind != "sha256":
        return ""
    try:
        digest = binascii.a2b_base64(text.rstrip("=").replace("-", "+").replace("_", "/") + "=")
    except ValueError:
        return ""
    return digest.hex() if len(digest) == 32 else ""


def _is_common(path: str, one: RecordEntry, other: RecordEntry) -> bool:
    if path.endswith(_CACHES) or "__pycache__/" in path or any(folder in path for folder in _METADATA):
        return True
    is_package = path.rpartition("/")[2] == "__init__.py"
    return is_package and (0 in (one.size, other.size) or (one.hash == other.hash != ""))


def _unquoted(line: str) -> list[str]:
    """The cells of one row; none where the quotes are not paired."""
    import csv  # here for start-up

    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return []
