"""Small shared libraries as linkers lay them out: ELF files of 64 bits, with a dynamic section and CUDA code."""

import struct
from collections.abc import Mapping, Sequence

from gpudoctor.snapshot import SnapshotHost

X86_64, AARCH64, RISCV = 62, 183, 243
_BASE = 0x400000  # where the file is loaded
_NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH = 1, 5, 10, 14, 15, 29


class InMemory(SnapshotHost):
    """One file, whatever it is called; reads the same as a disk does."""

    def __init__(self, data: bytes) -> None:
        super().__init__({})
        self.data, self.reads, self.bytes = data, 0, 0

    def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
        assert 0 <= offset < 1 << 62
        self.reads += 1
        self.bytes += limit
        return self.data[offset : offset + limit]


def shared_object(
    *,
    soname: str = "",
    needed: Sequence[str] = (),
    rpath: str = "",
    runpath: str = "",
    machine: int = X86_64,
    sections: Mapping[str, bytes] | None = None,
    apart: int = 0,
    moved: bool = False,
    dynamic: bool = True,
) -> bytes:
    """A library that says these words.

    `apart`: bytes of other names between them; `moved`: its program headers lie at the end, where patchelf puts them.
    """
    strings, entries = b"\0", []
    for tag, text in [(_NEEDED, name) for name in needed] + [(_SONAME, soname), (_RPATH, rpath), (_RUNPATH, runpath)]:
        if text:
            entries.append((tag, len(strings)))
            strings += text.encode("utf-8", "surrogateescape") + b"\0" + b"a" * apart + b"\0" * bool(apart)
    content = b"" if moved else b"\0" * 112
    places = {}
    for name, part in {".dynstr": strings, **(sections or {})}.items():
        content += b"\0" * (-len(content) % 8)
        places[name] = 64 + len(content), len(part)
        content += part
    content += b"\0" * (-len(content) % 8)
    entries += [(_STRTAB, _BASE + places[".dynstr"][0]), (_STRSZ, len(strings)), (0, 0), (_SONAME, 1 << 40)]
    table = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    places[".dynamic"] = 64 + len(content), len(table)
    content += table
    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*places, ".shstrtab"])
    places[".shstrtab"] = 64 + len(content), len(names)
    content += names + b"\0" * (-len(names) % 8)
    headers = _program_header(1, 0, 64 + len(content)) + _program_header(2 if dynamic else 0, *places[".dynamic"])
    headers_at = 64 + len(content) if moved else 64
    content = content + headers if moved else headers + content[len(headers) :]
    sections_at = 64 + len(content)
    content += b"\0" * 64 + b"".join(
        struct.pack("<IIQQQQIIQQ", names.index(b"\0" + name.encode() + b"\0") + 1, 1, 0, 0, *place, 0, 0, 1, 0)
        for name, place in places.items()
    )
    counts = (64, 56, 2, 64, len(places) + 1, len(places))
    return (
        b"\x7fELF\x02\x01\x01"
        + b"\0" * 9
        + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, headers_at, sections_at, 0, *counts)
        + content
    )


def fat_binary(*codes: tuple[str, int], payload: int = 200) -> bytes:
    """One container: ("sm_90a", 64) is SASS, ("compute_90", 64) PTX, each with the size of its header."""
    pieces = []
    for name, header in codes:
        kind, _, number = name.partition("_")
        flags = 0x11 | {"a": 0x100000, "f": 0x200000}.get(number[-1], 0)
        head = struct.pack(
            "<HHIQIIHHIIIQ",
            {"compute": 1, "sm": 2, "lto": 8}[kind],
            0x101,
            header,
            payload,
            0,
            0,
            8,
            1,
            int(number.rstrip("af")),
            0,
            0,
            flags,
        )
        pieces.append(head + b"\0" * (header - len(head)) + b"\x50\xed\x55\xba" * (payload // 4))
    entries = b"".join(pieces)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries


def _program_header(kind: int, offset: int, size: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 4, offset, _BASE + offset, _BASE + offset, size, size, 8)
