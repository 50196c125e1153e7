"""Reads the dynamic loader's cache, /etc/ld.so.cache (glibc's format 1.1; see dl-cache.h of the GNU C library)."""

import struct
from collections.abc import Iterator

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("=20sII5I")
_ENTRY = struct.Struct("=iIIIQ")
_KEY = struct.Struct("=I")
_KEY_PLACE = 4  # of the soname's offset in an entry
_ARCHITECTURE = 0xFF00  # of an entry's flags: 0 for 32-bit x86 and arm


def paths_of(cache: bytes, sonames: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """For each of these sonames the 64-bit libraries in the cache, in the order in which the loader tries them.

    A cache of another format, or a damaged one, has nothing to tell: the result is empty.
    """
    start = cache.find(_MAGIC)
    if start < 0 or len(cache) < start + _HEADER.size:
        return {}
    found = {}
    for soname in sonames:
        entries = (_ENTRY.unpack_from(cache, place) for place in sorted(_entries_of(cache, start, soname)))
        paths = [_string(cache, start + value) for flags, _, value, _, _ in entries if flags & _ARCHITECTURE]
        if paths:
            found[soname] = tuple(path.decode("utf-8", "surrogateescape") for path in paths)
    return found


def sonames_in(cache: bytes, beginning: str) -> tuple[str, ...]:
    """The sonames of 64-bit libraries in the cache that begin so: "libcudart.so.12" for "libcudart.so."."""
    text = beginning.encode("utf-8", "surrogateescape")
    names = set()
    place = cache.find(text)
    while place >= 0:
        names.add(_string(cache, place).decode("utf-8", "surrogateescape"))
        place = cache.find(text, place + 1)
    # Not each is a soname: the text may stand within another name or a path.
    return tuple(paths_of(cache, tuple(sorted(names - {""}))))


def _entries_of(cache: bytes, start: int, soname: str) -> Iterator[int]:
    """Where the entries of a soname lie. The bytes of its offset are looked for: entry by entry takes milliseconds."""
    table = start + _HEADER.size
    end = min(table + _HEADER.unpack_from(cache, start)[1] * _ENTRY.size, len(cache))
    text = soname.encode("utf-8", "surrogateescape") + b"\0"
    name = cache.find(text, start)
    while name >= 0:
        key = _KEY.pack(name - start)
        place = cache.find(key, table, end)
        while place >= 0:
            entry = place - _KEY_PLACE
            if (entry - table) % _ENTRY.size == 0 and entry + _ENTRY.size <= end:
                yield entry
            place = cache.find(key, place + 1, end)
        name = cache.find(text, name + 1)


def _string(cache: bytes, place: int) -> bytes:
    end = cache.find(b"\0", place)
    return cache[place:end] if 0 <= place <= end else b""
