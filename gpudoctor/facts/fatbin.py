"""For which GPU architectures the CUDA code in a shared library was built, from the headers of its fat binaries.

NVIDIA documents no layout; this one was read from the output of nvcc 13.0: the section .nv_fatbin holds containers
(magic, version, size of the header, size of what follows), and these hold entries (kind, size of the header, size of
the code, and at byte 28 the architecture as a number).
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.elf import Section, sections_of
from gpudoctor.host import Host, Unavailable


class Architectures(NamedTuple):
    """How many pieces of code there are for each architecture; nothing at all in a library without CUDA code.

    A library may bring a few kernels for architectures that the rest of it does not serve: ask for a share. It may
    also bring twice as many for one that it serves best, so a small one, as a tenth.
    """

    cubins: Mapping[str, int]  # SASS, which runs as it is: {"sm_80": 512, "sm_90a": 6}
    ptx: Mapping[str, int]  # what the driver compiles: {"compute_90": 512}
    complete: bool = True  # False: only the first of very many pieces were counted

    def with_share(self, share: float) -> tuple[str, ...]:
        """Architectures of at least that share (0 to 1) of the pieces that the most frequent one has, SASS first."""
        most = max((*self.cubins.values(), *self.ptx.values()), default=0)
        counts = {**self.cubins, **self.ptx}
        return tuple(name for name, count in counts.items() if count >= share * most)


_SECTIONS = (".nv_fatbin", "__nv_relfatbin")
_MAGIC = (0xBA55ED50).to_bytes(4, "little")
_CONTAINER = struct.Struct("<4sHHQ")  # magic, version, size of this header, size of the entries
_ENTRY = struct.Struct("<H2xIQ12xI8xQ")  # kind, size of this header, size of the code, architecture, flags
_PTX, _CUBIN = 1, 2  # kind; others are intermediate code for the linker
_SPECIFIC, _FAMILY = 0x100000, 0x200000  # flags of sm_90a and of sm_100f
_HEADERS = 40_000  # of one file; onnxruntime's CUDA provider has 2,700 in 270 MB
_WINDOW = 2048  # bytes of a read: neighbours are in it, and it costs no more than a header
_HEADER_LIMIT = 64 * 1024  # bytes; a header has 16 or 64 to 200
_GAP = 4096  # bytes looked at between two containers, where there are zeros up to the next one's alignment


def gpu_architectures(host: Host, path: str) -> Architectures | None:
    """None if there is no such file. Raises Unavailable if it is no ELF file, or its CUDA code cannot be made out."""
    sections = sections_of(host, path)
    if sections is None:
        return None
    counts: dict[tuple[int, str], int] = {}
    reader = _Reader(host, path)
    complete = all(_count(reader, sections[name], counts) for name in _SECTIONS if name in sections)
    cubins, ptx = (
        {name: counts[kind, name] for known, name in sorted(counts, key=_order) if known == kind}
        for kind in (_CUBIN, _PTX)
    )
    return Architectures(cubins, ptx, complete)


def _order(key: tuple[int, str]) -> tuple[int, str]:
    """sm_90, sm_90a, sm_100."""
    digits = key[1].partition("_")[2].rstrip("af")
    return int(digits), key[1]


class _Reader:
    """Reads small pieces of one file that lie near each other, as few times as possible."""

    def __init__(self, host: Host, path: str) -> None:
        self.path = path
        self.pieces = 0
        self._host = host
        self._start = 0
        self._window = b""

    def at(self, offset: int, size: int) -> bytes:
        """Raises Unavailable where the file ends before."""
        self.pieces += 1
        if not self._start <= offset <= offset + size <= self._start + len(self._window):
            self._window = self._host.read_bytes(self.path, max(size, _WINDOW), offset=offset) or b""
            self._start = offset
        piece = self._window[offset - self._start : offset - self._start + size]
        if len(piece) < size:
            raise Unavailable(f"{self.path}: cut off within its CUDA code, at byte {offset}")
        return piece


def _count(reader: _Reader, section: Section, counts: dict[tuple[int, str], int]) -> bool:
    """Adds up what one section holds; False if there was more than may be read."""
    place, end = section.offset, section.offset + section.size
    if end > 1 << 40:
        raise Unavailable(f"{reader.path}: a damaged ELF file: CUDA code at byte {place}")
    while place + _CONTAINER.size <= end:
        if reader.pieces >= _HEADERS:
            return False
        magic, _, header, size = _CONTAINER.unpack(reader.at(place, _CONTAINER.size))
        if magic != _MAGIC:
            gap = reader.at(place, min(_GAP, end - place))
            shift = gap.find(_MAGIC)
            filling = gap[:shift] if shift >= 0 else gap
            if filling.strip(b"\0"):
                raise Unavailable(f"{reader.path}: CUDA code of a layout that is not known, at byte {place}")
            place += len(filling)
            continue
        stop = place + header + size
        if not _CONTAINER.size <= header <= _HEADER_LIMIT or stop > end:
            raise Unavailable(f"{reader.path}: damaged CUDA code at byte {place}")
        place += header
        while place + _ENTRY.size <= stop:
            if reader.pieces >= _HEADERS:
                return False
            kind, header, size, number, flags = _ENTRY.unpack(reader.at(place, _ENTRY.size))
            if not _ENTRY.size <= header <= _HEADER_LIMIT or place + header + size > stop:
                raise Unavailable(f"{reader.path}: damaged CUDA code at byte {place}")
            if kind in (_PTX, _CUBIN):
                letter = "a" if flags & _SPECIFIC else "f" if flags & _FAMILY else ""
                name = f"{'sm' if kind == _CUBIN else 'compute'}_{number}{letter}"
                counts[kind, name] = counts.get((kind, name), 0) + 1
            place += header + size
        place = stop
    return True
