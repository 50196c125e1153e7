"""Shared libraries: what they are called, what they need and where it is looked for, read in small pieces."""

import shutil
import subprocess
from pathlib import Path

import pytest
from disk_trees import disk
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_objects import AARCH64, RISCV, InMemory, shared_object

from gpudoctor.facts.elf import Elf, elf_machine, read_elf, sections_of
from gpudoctor.host import Unavailable
from gpudoctor.machine import RootHost

CUDNN = shared_object(
    soname="libtorch_cuda.so",
    needed=("libc10_cuda.so", "libcudart.so.12", "libcudnn.so.9", "libc.so.6"),
    runpath="$ORIGIN:$ORIGIN/../../nvidia/cudnn/lib",
)
SAYS = Elf(
    "x86_64",
    "libtorch_cuda.so",
    ("libc10_cuda.so", "libcudart.so.12", "libcudnn.so.9", "libc.so.6"),
    (),
    ("$ORIGIN", "$ORIGIN/../../nvidia/cudnn/lib"),
)


class Counted(RootHost):
    """Keeps what was read: (offset, size)."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.reads: list[tuple[int, int]] = []

    def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
        self.reads.append((offset, limit))
        return super().read_bytes(path, limit, offset=offset)


def _counted(folder: Path, data: bytes) -> Counted:
    disk(folder, {"/lib/x.so": data})
    return Counted(str(folder))


def test_what_a_library_says(tmp_path: Path) -> None:
    host = _counted(tmp_path, CUDNN)
    assert read_elf(host, "/lib/x.so") == SAYS
    assert len(host.reads) == 3


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("apart", [0, 100, 9000, 200_000])
def test_wherever_its_parts_lie(tmp_path: Path, apart: int, moved: bool) -> None:
    data = shared_object(
        soname="a" * 700, needed=("libm.so.6", "b" * 2000), rpath="/opt/a:$ORIGIN", apart=apart, moved=moved
    )
    host = _counted(tmp_path, data)
    assert read_elf(host, "/lib/x.so") == Elf("x86_64", "a" * 700, ("libm.so.6", "b" * 2000), ("/opt/a", "$ORIGIN"), ())
    assert len(host.reads) <= 10
    assert max(size for _, size in host.reads) <= 64 * 1024


def test_a_file_of_four_gigabytes_is_not_read_whole(tmp_path: Path) -> None:
    # Sparse: it takes no room on the disk.
    host = _counted(tmp_path, CUDNN)
    with (tmp_path / "lib/x.so").open("r+b") as file:
        file.truncate(4 << 30)
    assert read_elf(host, "/lib/x.so") == SAYS
    assert sum(size for _, size in host.reads) < 10_000


@pytest.mark.parametrize(("machine", "name"), [(AARCH64, "aarch64"), (RISCV, "")])
def test_other_machines(tmp_path: Path, machine: int, name: str) -> None:
    host = _counted(tmp_path, shared_object(soname="libx.so", machine=machine))
    assert read_elf(host, "/lib/x.so") == Elf(name, "libx.so", (), (), ())
    assert elf_machine(host, "/lib/x.so") == name


def test_a_static_program_needs_nothing(tmp_path: Path) -> None:
    host = _counted(tmp_path, shared_object(needed=("libc.so.6",), dynamic=False))
    assert read_elf(host, "/lib/x.so") == Elf("x86_64", "", (), (), ())


def test_absent(tmp_path: Path) -> None:
    host = _counted(tmp_path, CUDNN)
    assert read_elf(host, "/lib/other.so") is None
    assert sections_of(host, "/lib/x.so/behind") is None
    assert elf_machine(host, "/lib/other.so") == ""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "an empty file"),
        (b"/* GNU ld script */\nGROUP ( /lib/libc.so.6 )\n", "no ELF file"),
        (CUDNN[:40], "ends within its header"),
        (CUDNN[:4] + b"\x01" + CUDNN[5:], "not of 64 bits"),
        (CUDNN[:5] + b"\x02" + CUDNN[6:], "not of 64 bits"),
        (CUDNN[:130], "before the end of its program headers"),
        (CUDNN[:200], "before the end of its dynamic section"),
        (CUDNN[:32] + b"\xff" * 8 + CUDNN[40:], "before the end of its program headers"),
        (CUDNN[:56] + b"\xff\xff" + CUDNN[58:], "65535 program headers"),
        (CUDNN[: 64 + 56 + 32] + b"\xff" * 7 + CUDNN[64 + 56 + 39 :], "a dynamic section of"),
        (CUDNN.replace(b"\x05" + b"\0" * 7, b"\x06" + b"\0" * 7, 1), "leads to no string table"),
        (CUDNN.replace(b"\x0a" + b"\0" * 7, b"\x0b" + b"\0" * 7, 1), "6 names, the last at byte"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, data: bytes, reason: str) -> None:
    host = _counted(tmp_path, data)
    with pytest.raises(Unavailable, match=rf"^/lib/x\.so: .*{reason}"):
        read_elf(host, "/lib/x.so")
    assert elf_machine(host, "/lib/x.so") in ("", "x86_64")


def test_a_folder_is_no_library(tmp_path: Path) -> None:
    host = _counted(tmp_path, CUDNN)
    for read in (read_elf, sections_of, elf_machine):
        with pytest.raises(Unavailable):
            read(host, "/lib")


def test_sections(tmp_path: Path) -> None:
    data = shared_object(sections={".nv_fatbin": b"CUDA" * 100, ".text": b"\x90"})
    sections = sections_of(_counted(tmp_path, data), "/lib/x.so")
    assert sections is not None
    place = sections[".nv_fatbin"]
    assert data[place.offset : place.offset + place.size] == b"CUDA" * 100
    assert sections[".text"].size == 1


_BOTH = (CUDNN, shared_object(needed=("a", "b"), rpath="x:y", apart=20_000, moved=True, sections={".text": b"1"}))


@settings(derandomize=True, deadline=None, database=None, max_examples=400)
@given(
    st.sampled_from(_BOTH),
    st.lists(
        st.tuples(st.integers(0, 1000), st.sampled_from([b"\xff", b"\0", b"\x01", b"\xff" * 4, b"\xff" * 8, b"\x7f"])),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 3000),
    st.booleans(),
)
def test_damage_is_told_at_little_cost(
    whole: bytes, changes: list[tuple[int, bytes]], length: int, cut_off: bool
) -> None:
    data = bytearray(whole)
    for place, change in changes:
        # The headers are at the beginning, and what they lead to at the end.
        place = 16 + place % 200 if place < 500 else len(data) - place
        data[place : place + len(change)] = change
    host = InMemory(bytes(data[:length] if cut_off else data))
    for read in (read_elf, sections_of):
        try:
            assert read(host, "/lib/x.so") is not None
        except Unavailable as reason:
            assert str(reason).startswith("/lib/x.so: ")  # noqa: PT017
    assert host.reads <= 30
    assert host.bytes <= 4_000_000


def test_a_library_that_a_compiler_made(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, called cc")
    (tmp_path / "etc").mkdir()
    source = tmp_path / "x.c"
    source.write_text("double sin(double); double f(double x) { return sin(x); }\n")
    for flag in ("--enable-new-dtags", "--disable-new-dtags"):
        subprocess.run(
            [
                *("cc", "-shared", "-fPIC", "-o", tmp_path / "x.so", source, "-Wl,--no-as-needed", "-lm"),
                *(f"-Wl,-soname,libx.so.1,{flag}", "-Wl,-rpath,$ORIGIN/../lib:/opt/cuda/lib64"),
            ],
            check=True,
        )
        elf = read_elf(RootHost(str(tmp_path)), "/x.so")
        assert elf is not None
        words = ("$ORIGIN/../lib", "/opt/cuda/lib64")
        assert (elf.rpath, elf.runpath) == ((), words) if flag.startswith("--enable") else (words, ())
        assert elf.soname == "libx.so.1"
        assert elf.needed[0] == "libm.so.6"
