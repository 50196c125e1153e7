"""Small kernel modules as compilers lay them out: relocatable ELF files with a .modinfo section."""

import struct
from collections.abc import Mapping

from gpudoctor.facts.modinfo import SIGNATURE_MARK

NVIDIA = {
    "version": "535.309.01",
    "supported": "external",
    "license": "NVIDIA",
    "depends": "drm",
    "name": "nvidia",
    "vermagic": "6.1.0-56-amd64 SMP preempt mod_unload modversions ",
}


def module(
    words: Mapping[str, str] = NVIDIA, *, bits: int = 64, code: bytes = b"\x90" * 100, signature: bytes = b""
) -> bytes:
    """A module that says these words of itself. `signature`: appended as the kernel's sign-file does."""
    modinfo = b"".join(f"{key}={value}".encode("utf-8", "surrogateescape") + b"\0" for key, value in words.items())
    names = b"\0.text\0.modinfo\0.shstrtab\0"
    header_size, entry_size = (64, 64) if bits == 64 else (52, 40)
    places, content = [], b""
    for part in (code, modinfo, names):
        places.append((header_size + len(content), len(part)))
        content += part
    content += b"\0" * (-len(content) % 8)
    table = b"\0" * entry_size
    for name, kind, (offset, size) in zip((1, 7, 16), (1, 1, 3), places, strict=True):
        layout = "<IIQQQQIIQQ" if bits == 64 else "<IIIIIIIIII"
        table += struct.pack(layout, name, kind, 0, 0, offset, size, 0, 0, 1, 0)
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1, 1]) + b"\0" * 9
    layout = "<HHIQQQIHHHHHH" if bits == 64 else "<HHIIIIIHHHHHH"
    machine = 62 if bits == 64 else 3
    rest = struct.pack(
        layout, 1, machine, 1, 0, 0, header_size + len(content), 0, header_size, 0, 0, entry_size, len(places) + 1, 3
    )
    return ident + rest + content + table + (signature + SIGNATURE_MARK if signature else b"")


def compressed(data: bytes, suffix: str) -> bytes:
    """As .ko.xz, .ko.zst and .ko.gz files hold it; "" leaves it as it is."""
    match suffix:
        case ".xz":
            import lzma

            return lzma.compress(data, check=lzma.CHECK_CRC32)
        case ".gz":
            import gzip

            return gzip.compress(data)
        case ".zst":
            try:
                from compression import zstd
            except ImportError:
                from backports import zstd
            return zstd.compress(data)
        case _:
            return data
