"""What kernel modules say of themselves, from whole and broken files."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from elf_files import NVIDIA, compressed, module

from gpudoctor.facts.modinfo import Read, is_signed, modinfo_in, modinfo_of, plain_blocks


def _read(data: bytes, asked: list[tuple[int, int]] | None = None) -> Read:
    def read(offset: int, size: int) -> bytes:
        assert offset >= 0
        assert size >= 0
        if asked is not None:
            asked.append((offset, size))
        return data[offset : offset + size]

    return read


@pytest.mark.parametrize("bits", [64, 32])
def test_words_of_modinfo(bits: int) -> None:
    assert modinfo_of(_read(module(bits=bits))) == NVIDIA


def test_only_the_headers_and_the_section_are_read() -> None:
    asked: list[tuple[int, int]] = []
    assert modinfo_of(_read(module(code=b"\x90" * 5_000_000), asked))["version"] == "535.309.01"
    assert sum(size for _, size in asked) < 2000


def test_of_repeated_words_the_first_one_counts_and_any_bytes_survive() -> None:
    data = module({"alias": "pci:v000010DEd*", "xxxxx": "second", "version": "5\udcff.1"}).replace(b"xxxxx", b"alias")
    assert modinfo_of(_read(data)) == {"alias": "pci:v000010DEd*", "version": "5\udcff.1"}


@pytest.mark.skipif(not shutil.which("gcc") or os.uname().machine != "x86_64", reason="no gcc for x86 here")
@pytest.mark.parametrize("option", ["-m64", "-m32"])
def test_what_a_compiler_made(tmp_path: Path, option: str) -> None:
    source = tmp_path / "nvidia.c"
    source.write_text(
        '#define MODINFO __attribute__((section(".modinfo"), used, aligned(1)))\n'
        "#define SAY(name, text) static const char name[] MODINFO = text;\n"
        'SAY(version, "version=580.95.05") SAY(license, "license=Dual MIT/GPL")\n'
        'SAY(vermagic, "vermagic=6.8.0-48-generic SMP preempt mod_unload modversions ")\n'
        "int init_module(void) { return 0; }\n"
    )
    subprocess.run(["gcc", option, "-c", "-o", tmp_path / "nvidia.ko", source], check=True)
    data = (tmp_path / "nvidia.ko").read_bytes()
    expected = {
        "version": "580.95.05",
        "license": "Dual MIT/GPL",
        "vermagic": "6.8.0-48-generic SMP preempt mod_unload modversions ",
    }
    assert modinfo_of(_read(data)) == expected
    assert modinfo_in(iter([data])) == expected


def _real_modules() -> Iterator[str]:
    for folder, _, names in os.walk("/lib/modules"):
        yield from (os.path.join(folder, name) for name in names if ".ko" in name)


def test_a_module_of_this_machines_kernel() -> None:
    path = next(_real_modules(), None)
    if path is None:
        pytest.skip("no kernel modules on this machine")
    data = Path(path).read_bytes()
    plain = data if path.endswith(".ko") else b"".join(plain_blocks(path, [data]))
    assert modinfo_of(_read(plain))["vermagic"].split()[0] == path.split("/")[3]


def test_files_cut_anywhere_say_nothing_or_the_truth() -> None:
    whole = module(signature=b"pkcs7")
    for length in range(len(whole)):
        found = modinfo_of(_read(whole[:length]))
        assert found in ({}, NVIDIA)
        assert not is_signed(whole[:length])


def test_damaged_headers_raise_nothing() -> None:
    whole = module()
    dice = random.Random(1)
    for _ in range(3000):
        broken = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):
            place = dice.choice([dice.randrange(64), dice.randrange(len(whole) - 256, len(whole))])
            broken[place] = dice.choice([0, 1, 0x7F, 0xFF, dice.randrange(256)])
        assert isinstance(modinfo_of(_read(bytes(broken))), dict)


def test_what_is_no_module_says_nothing() -> None:
    big_endian = bytearray(module())
    big_endian[5] = 2
    for data in (b"", b"\x7fELF", b"#!/bin/sh\n" * 20, bytes(big_endian), random.Random(2).randbytes(4096)):
        assert modinfo_of(_read(bytes(data))) == {}
    assert modinfo_in([b"#!/bin/sh\n" * 20, random.Random(2).randbytes(4096)]) == {}


def test_a_section_of_impossible_size_is_not_read() -> None:
    whole = bytearray(module())
    entry = len(whole) - 2 * 64  # of .modinfo
    whole[entry + 32 : entry + 40] = b"\xff" * 8
    asked: list[tuple[int, int]] = []
    assert modinfo_of(_read(bytes(whole), asked)) == {}
    assert max(size for _, size in asked) < 2000


@pytest.mark.parametrize("suffix", [".xz", ".gz", ".zst"])
def test_compressed_modules(suffix: str) -> None:
    # Larger than one step of unpacking, and fed in pieces that end anywhere.
    plain = module(code=random.Random(3).randbytes(100_000) + b"\0" * 3_000_000, signature=b"pkcs7")
    data = compressed(plain, suffix)
    for size in (777, len(data)):
        chunks = [data[start : start + size] for start in range(0, len(data), size)]
        assert b"".join(plain_blocks(f"nvidia.ko{suffix}", chunks)) == plain
    assert is_signed(plain)


@pytest.mark.parametrize("suffix", [".xz", ".gz", ".zst"])
def test_compressed_modules_cut_or_damaged(suffix: str) -> None:
    plain = module(code=random.Random(4).randbytes(2000))
    data = compressed(plain, suffix)
    for length in range(0, len(data), 7):
        part = b"".join(plain_blocks(f"nvidia.ko{suffix}", [data[:length]]))
        assert plain.startswith(part)
        assert modinfo_of(_read(part)) in ({}, NVIDIA)
    dice = random.Random(5)
    for _ in range(200):
        broken = bytearray(data)
        broken[dice.randrange(len(data))] ^= dice.randrange(1, 256)
        assert isinstance(b"".join(plain_blocks(f"nvidia.ko{suffix}", [bytes(broken)])), bytes)
    assert b"".join(plain_blocks(f"nvidia.ko{suffix}", [b"garbage" * 20])) == b""


def test_words_in_a_stream_end_the_reading() -> None:
    code = b"version=%s\0license=%s\0some other string\0"  # what the driver's own code may contain
    plain = module(code=code * 3000, signature=b"\0version=1\0") + b"\0" * 10_000_000
    taken = []

    def blocks() -> Iterator[bytes]:
        for start in range(0, len(plain), 50_000):
            taken.append(start)
            yield plain[start : start + 50_000]

    assert modinfo_in(blocks()) == NVIDIA
    assert len(taken) < 10


def test_a_stream_that_ends_early_still_tells() -> None:
    assert modinfo_in([b"code\0", module()])["license"] == "NVIDIA"
    assert modinfo_in([module({"license": "NVIDIA", "version": "1"})]) == {}
