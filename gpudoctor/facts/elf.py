"""What a shared library says of itself, from a few small pieces of an ELF file, which may have gigabytes.

Layout: the ELF specification, chapters "ELF Header", "Program Header" and "Dynamic Section" (elf(5) has it too).
Files of 64 bits and little-endian only, which is what x86-64 and arm64 have.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.host import Host, Unavailable


class Elf(NamedTuple):
    """A shared library, or a program; one that is linked statically has no soname and needs nothing."""

    machine: str  # "x86_64", "aarch64", "" any other
    soname: str  # "libcudnn.so.9", "" if it has none
    needed: tuple[str, ...]  # ("libcudart.so.12", "libc.so.6"), in the order in which the loader takes them
    rpath: tuple[str, ...]  # ("$ORIGIN", "$ORIGIN/../../nvidia/cudnn/lib"), as they stand
    runpath: tuple[str, ...]


class Section(NamedTuple):
    """Where a section lies in its file."""

    offset: int
    size: int


_MACHINES = {62: "x86_64", 183: "aarch64"}

_HEADER_SIZE = 64
_HEAD = 1024  # bytes; most libraries have their program headers within them, and this costs no more than 64
_FILE_LIMIT = 1 << 40  # bytes; an offset behind it is damage
_PROGRAM_HEADERS = 256  # a real library has about a dozen
_DYNAMIC_LIMIT = 64 * 1024  # bytes; a real dynamic section has about 1000
_STRINGS = 512  # names and paths; TensorFlow's libraries need about 70
_WINDOW = 16 * 1024  # bytes of the string table that are read at once
_STRING_LIMIT = 64 * 1024  # bytes; a RUNPATH that Bazel wrote can have several thousand
_SECTIONS = 4096
_SECTION_NAMES_LIMIT = 1024 * 1024  # bytes

_LOAD, _DYNAMIC = 1, 2  # p_type
_NULL, _NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH = 0, 1, 5, 10, 14, 15, 29  # d_tag
_NO_BITS = 8  # sh_type of a section that lies elsewhere, as in a file of debug information


def read_elf(host: Host, path: str) -> Elf | None:
    """None if there is no such file. Raises Unavailable if it is no ELF file of this kind, cut off, or damaged."""
    head = host.read_bytes(path, _HEAD)
    if head is None:
        return None
    _check_header(head, path)
    machine = _MACHINES.get(struct.unpack_from("<H", head, 18)[0], "")
    place, size, count = *struct.unpack_from("<32xQ", head), *struct.unpack_from("<54xHH", head)
    if not count:
        return Elf(machine, "", (), (), ())
    if size != 56 or count > _PROGRAM_HEADERS:
        raise Unavailable(f"{path}: a damaged ELF file: {count} program headers of {size} bytes")
    table = head[place : place + size * count]
    if len(table) < size * count:
        table = _piece(host, path, place, size * count, "program headers")
    # p_type, p_offset, p_vaddr, p_filesz
    segments: list[tuple[int, int, int, int]] = list(struct.iter_unpack("<I4xQQ8xQ16x", table))
    dynamic = next((segment for segment in segments if segment[0] == _DYNAMIC), None)
    if dynamic is None:
        return Elf(machine, "", (), (), ())
    if dynamic[3] > _DYNAMIC_LIMIT:
        raise Unavailable(f"{path}: a damaged ELF file: a dynamic section of {dynamic[3]} bytes")
    entries = _piece(host, path, dynamic[1], dynamic[3], "dynamic section")
    last: dict[int, int] = {}
    needed: list[int] = []
    for tag, value in struct.iter_unpack("<QQ", entries[: len(entries) // 16 * 16]):
        if tag == _NULL:
            break
        if tag == _NEEDED:
            needed.append(value)
        last[tag] = value
    wanted = [*needed, *(last[tag] for tag in (_SONAME, _RPATH, _RUNPATH) if tag in last)]
    if not wanted:
        return Elf(machine, "", (), (), ())
    strings = _strings(host, path, wanted, _place_of(last.get(_STRTAB), segments, path), last.get(_STRSZ, 0))
    return Elf(
        machine,
        strings[last[_SONAME]] if _SONAME in last else "",
        tuple(strings[offset] for offset in needed),
        *(_words(strings[last[tag]]) if tag in last else () for tag in (_RPATH, _RUNPATH)),
    )


def elf_machine(host: Host, path: str) -> str:
    """What a program was built for: "x86_64", "aarch64"; "" for any other, and for what is no program."""
    head = host.read_bytes(path, 20) or b""
    is_known = len(head) == 20 and head[:6] == b"\x7fELF\x02\x01"
    return _MACHINES.get(int.from_bytes(head[18:20], "little"), "") if is_known else ""


def sections_of(host: Host, path: str) -> Mapping[str, Section] | None:
    """The sections of an ELF file by name, None if there is no such file; Unavailable as with `read_elf`.

    Empty for a file that was stripped of its section table.
    """
    head = host.read_bytes(path, _HEADER_SIZE)
    if head is None:
        return None
    _check_header(head, path)
    place, size, count, names = *struct.unpack_from("<40xQ", head), *struct.unpack_from("<58xHHH", head)
    if not place or not count:
        return {}
    if size != 64 or count > _SECTIONS or names >= count:
        raise Unavailable(f"{path}: a damaged ELF file: {count} sections of {size} bytes, names in section {names}")
    table = _piece(host, path, place, size * count, "section table")
    # sh_name, sh_type, sh_offset, sh_size
    sections: list[tuple[int, int, int, int]] = list(struct.iter_unpack("<II16xQQ24x", table))
    *_, names_place, names_size = sections[names]
    if names_size > _SECTION_NAMES_LIMIT:
        raise Unavailable(f"{path}: a damaged ELF file: {names_size} bytes of section names")
    text = _piece(host, path, names_place, names_size, "section names")
    return {
        text[name : text.find(b"\0", name)].decode("utf-8", "surrogateescape"): Section(offset, length)
        for name, kind, offset, length in sections
        if kind != _NO_BITS and text.find(b"\0", name) >= 0
    }


def _check_header(head: bytes, path: str) -> None:
    if not head:
        raise Unavailable(f"{path}: an empty file")
    if head[:4] != b"\x7fELF":
        raise Unavailable(f"{path}: no ELF file")
    if len(head) < _HEADER_SIZE:
        raise Unavailable(f"{path}: an ELF file that ends within its header")
    if head[4:6] != b"\x02\x01":
        raise Unavailable(f"{path}: an ELF file, but not of 64 bits and little-endian")


def _piece(host: Host, path: str, offset: int, size: int, name: str) -> bytes:
    """Exactly that many bytes. Raises Unavailable where the file ends before."""
    data = host.read_bytes(path, size, offset=offset) if offset < _FILE_LIMIT else None
    if data is None or len(data) < size:
        raise Unavailable(f"{path}: an ELF file that ends before the end of its {name}: cut off, or damaged")
    return data


def _place_of(address: int | None, segments: Sequence[tuple[int, int, int, int]], path: str) -> int:
    """Where in the file lies what is loaded at that address?"""
    for kind, offset, start, size in segments:
        if kind == _LOAD and address is not None and start <= address < start + size:
            return offset + address - start
    raise Unavailable(f"{path}: a damaged ELF file: its dynamic section leads to no string table")


def _strings(host: Host, path: str, offsets: Iterable[int], place: int, size: int) -> Mapping[int, str]:
    """The strings at these offsets of the string table, which may have megabytes: only their surroundings are read."""
    ordered = sorted(set(offsets))
    if len(ordered) > _STRINGS or ordered[-1] >= size:
        raise Unavailable(f"{path}: a damaged ELF file: {len(ordered)} names, the last at byte {ordered[-1]} of {size}")
    strings: dict[int, str] = {}
    for start, end in _windows(ordered):
        # A name has rarely more than 512 bytes; one that does not end in the window is read alone.
        length = min(end + 512, size) - start
        window = _piece(host, path, place + start, length, "string table")
        for offset in (offset for offset in ordered if start <= offset <= end):
            text = window[offset - start :].partition(b"\0")
            if not text[1]:
                rest = _piece(host, path, place + offset, min(_STRING_LIMIT, size - offset), "string table")
                text = rest.partition(b"\0")
            if not text[1]:
                raise Unavailable(f"{path}: a damaged ELF file: a name without an end")
            strings[offset] = text[0].decode("utf-8", "surrogateescape")
    return strings


def _windows(offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last offset of each run that fits a window."""
    start = end = offsets[0]
    for offset in offsets[1:]:
        if offset - start > _WINDOW:
            yield start, end
            start = offset
        end = offset
    yield start, end


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(":")) if text else ()
