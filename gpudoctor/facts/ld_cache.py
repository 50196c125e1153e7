"""Reads the dynamic loader's cache, /etc/ld.so.cache (glibc's format 1.1; see dl-cache.h of the GNU C library)."""

import struct

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("=20sII5I")
_ENTRY = struct.Struct("=iIIIQ")
_ARCHITECTURE = 0xFF00  # of an entry's flags: 0 for 32-bit x86 and arm


def paths_of(cache: bytes, sonames: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """For each of these sonames the 64-bit libraries in the cache, in the order in which the loader tries them.

    A cache of another format, or a damaged one, has nothing to tell: the result is empty.
    """
    start = cache.find(_MAGIC)
    wanted = {name.encode() for name in sonames if name.encode() + b"\0" in cache}
    if start < 0 or not wanted or len(cache) < start + _HEADER.size:
        return {}
    count = _HEADER.unpack_from(cache, start)[1]
    found: dict[str, list[str]] = {}
    for number in range(count):
        place = start + _HEADER.size + number * _ENTRY.size
        if place + _ENTRY.size > len(cache):
            break
        flags, key, value, _, _ = _ENTRY.unpack_from(cache, place)
        name = _string(cache, start + key)
        if name in wanted and flags & _ARCHITECTURE:
            found.setdefault(name.decode(), []).append(_string(cache, start + value).decode("utf-8", "surrogateescape"))
    return {name: tuple(paths) for name, paths in found.items()}


def _string(cache: bytes, place: int) -> bytes:
    end = cache.find(b"\0", place)
    return cache[place:end] if 0 <= place <= end else b""
