"""Reads what a kernel module says of itself: the .modinfo section of an ELF file, plain or compressed.

Layout: the ELF specification (section header table, sh_name, sh_offset, sh_size); .modinfo holds NUL-ended
"key=value" words (linux/moduleparam.h); a signature is appended behind the file (scripts/sign-file.c).
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from gpudoctor.host import Unavailable

if TYPE_CHECKING:
    from typing import Protocol

    class Decompressor(Protocol):
        @property
        def eof(self) -> bool: ...

        def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


Read = Callable[[int, int], bytes]  # (offset, size) to at most size bytes, fewer at the end of the file

SIGNATURE_MARK = b"~Module signature appended~\n"

_TABLE_LIMIT = 1024 * 1024  # bytes; a real module's section table and its .modinfo have a few thousand
_FILE_LIMIT = 1 << 40  # bytes; an offset behind it is damage
_PLAIN_LIMIT = 256 * 1024 * 1024  # bytes; the largest NVIDIA module has about 100 million
_STEP = 1024 * 1024
_KEY = b"abcdefghijklmnopqrstuvwxyz_"  # characters of a key
_WINDOW = 64 * 1024  # bytes before and behind vermagic=, within which the whole section lies


# For files of 32 and of 64 bits: e_shoff and its place; place of e_shentsize, e_shnum and e_shstrndx; and, of a
# section, sh_name, sh_offset and sh_size.
_LAYOUTS = {1: ("<I", 32, 46, "<I12xII"), 2: ("<Q", 40, 58, "<I20xQQ")}


def modinfo_of(read: Read) -> Mapping[str, str]:
    """The words of .modinfo by key, the first of each; empty for a damaged file, or none of little-endian ELF."""
    header = read(0, 64)
    layout = _LAYOUTS.get(header[4]) if len(header) == 64 and header[:4] == b"\x7fELF" and header[5] == 1 else None
    if layout is None:
        return {}
    word, table_place, counts_place, section = layout
    (place,) = struct.unpack_from(word, header, table_place)
    entry_size, count, names_number = struct.unpack_from("<3H", header, counts_place)
    table = _part(read, place, entry_size * count)
    if entry_size < struct.calcsize(section) or names_number >= count or len(table) < entry_size * count:
        return {}
    sections = [struct.unpack_from(section, table, number * entry_size) for number in range(count)]
    names = _part(read, *sections[names_number][1:])
    for name, offset, size in sections:
        if names[name : name + 9] == b".modinfo\0":
            return _words(_part(read, offset, size).split(b"\0"))
    return {}


def modinfo_in(blocks: Iterable[bytes]) -> Mapping[str, str]:
    """The same of a module that arrives from its beginning; takes no more blocks than it needs.

    The section table stands at the end of the file, so the section is known by its words: it is the run of key=value
    words around vermagic=.
    """
    window = b""
    place = -1
    for block in blocks:
        window += block
        place = window.find(b"\0vermagic=")
        if 0 <= place <= len(window) - _WINDOW:
            break
        if place < 0:
            window = window[-_WINDOW:]
    if place < 0:
        return {}
    before = reversed(window[max(0, place - _WINDOW) : place].split(b"\0"))
    behind = window[place + 1 : place + _WINDOW].split(b"\0")
    return _words([*_run(behind), *_run(before)])


def reader_of(data: bytes) -> Read:
    """Reads a module that is in memory."""
    return lambda offset, size: data[offset : offset + size]


def is_signed(end: bytes) -> bool:
    """Is a signature appended? `end`: the last bytes of the plain module."""
    return end.endswith(SIGNATURE_MARK)


def plain_blocks(path: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompresses the bytes of a .ko.xz, .ko.zst or .ko.gz, block by block; ends where the data are damaged.

    Raises Unavailable where Python has no decompressor of that kind.
    """
    decompressor, damage = _decompressor(path)
    total = 0
    try:
        for chunk in chunks:
            rest = chunk
            # A few kilobytes can unpack to gigabytes: never more than a step at once, and not past the limit.
            while total < _PLAIN_LIMIT and not decompressor.eof:
                block = decompressor.decompress(rest, _STEP)
                rest = getattr(decompressor, "unconsumed_tail", b"")  # zlib gives back what it did not get to
                total += len(block)
                yield block
                if not rest and len(block) < _STEP:
                    break
    except damage:
        return


def _part(read: Read, offset: int, size: int) -> bytes:
    return read(offset, size) if offset < _FILE_LIMIT and size <= _TABLE_LIMIT else b""


def _run(words: Iterable[bytes]) -> Iterator[bytes]:
    """The words up to the first that is none of .modinfo; that one's end may be, for nothing parts the sections."""
    for word in filter(None, words):
        key, equals, value = word.partition(b"=")
        own = len(key.rstrip(_KEY))
        if equals:
            yield key[own:] + equals + value
        if own or not equals:
            return


def _words(section: Iterable[bytes]) -> Mapping[str, str]:
    words: dict[str, str] = {}
    for word in section:
        key, equals, value = word.decode("utf-8", "surrogateescape").partition("=")
        if equals:
            words.setdefault(key, value)
    return words


def _decompressor(path: str) -> "tuple[Decompressor, type[Exception]]":
    # All imported here for start-up: mostly none is met, and never more than one.
    if path.endswith(".xz"):
        import lzma

        return lzma.LZMADecompressor(), lzma.LZMAError
    if path.endswith(".gz"):
        import zlib

        return zlib.decompressobj(wbits=31), zlib.error
    try:
        try:
            from compression import zstd
        except ImportError:  # Python before 3.14
            from backports import zstd
    except ImportError as error:
        raise Unavailable(f"{path} cannot be read: the Python package backports.zstd is not installed") from error
    return zstd.ZstdDecompressor(), zstd.ZstdError
