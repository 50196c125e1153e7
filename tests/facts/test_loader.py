"""The dynamic loader's way to a library, and the folders that its settings add."""

import struct
from pathlib import Path

import pytest
from disk_trees import disk
from healthy_parts import ld_cache

from gpudoctor.facts.elf import Elf
from gpudoctor.facts.loader import Found, LoaderCache, LoaderConfig, expanded, find_library
from gpudoctor.machine import LiveHost
from gpudoctor.registry import Facts

X86_64, AARCH64, I386 = 62, 183, 3
SITE = "/home/ada/venv/lib/python3.12/site-packages"
TORCH = f"{SITE}/torch/lib/libtorch_cuda.so"
CUDNN = "libcudnn.so.9"


def elf_file(machine: int) -> bytes:
    """The head of a shared library."""
    return b"\x7fELF" + bytes([1 if machine == I386 else 2, 1, 1]) + b"\0" * 9 + struct.pack("<HHI", 3, machine, 1)


LIBRARY = elf_file(X86_64)
EVERYWHERE: dict[str, str | bytes] = {
    f"{SITE}/nvidia/cudnn/lib/{CUDNN}": LIBRARY,
    f"/opt/old/{CUDNN}": LIBRARY,
    f"/usr/lib/x86_64-linux-gnu/{CUDNN}": "-> libcudnn.so.9.1.0",
    "/usr/lib/x86_64-linux-gnu/libcudnn.so.9.1.0": LIBRARY,
    f"/usr/lib64/{CUDNN}": LIBRARY,
}
CACHE = LoaderCache(ld_cache([f"/usr/lib/x86_64-linux-gnu/{CUDNN}"]))
ORIGIN = ("$ORIGIN/../../nvidia/cudnn/lib", "${ORIGIN}")
WHEEL = Found(
    f"{SITE}/torch/lib/../../nvidia/cudnn/lib/{CUDNN}", f"{SITE}/nvidia/cudnn/lib/{CUDNN}", f"RUNPATH of {TORCH}"
)
SYSTEM = Found(f"/usr/lib/x86_64-linux-gnu/{CUDNN}", "/usr/lib/x86_64-linux-gnu/libcudnn.so.9.1.0", "ld.so.cache")


@pytest.mark.parametrize(
    ("rpath", "runpath", "library_path", "cache", "expected"),
    [
        ((), ORIGIN, (), CACHE, WHEEL),
        (ORIGIN, (), (), CACHE, WHEEL._replace(by=f"RPATH of {TORCH}")),
        # RUNPATH comes after LD_LIBRARY_PATH, RPATH before it.
        ((), ORIGIN, ("/opt/old/",), CACHE, Found(f"/opt/old/{CUDNN}", f"/opt/old/{CUDNN}", "LD_LIBRARY_PATH")),
        (ORIGIN, (), ("/opt/old",), CACHE, WHEEL._replace(by=f"RPATH of {TORCH}")),
        # Where there is a RUNPATH, the loader does not look at RPATH.
        (("/opt/old",), ORIGIN, (), CACHE, WHEEL),
        (("/opt/old",), ("/nowhere",), (), CACHE, SYSTEM),
        ((), ("/nowhere", ""), ("/nowhere", "relative"), CACHE, SYSTEM),
        ((), (), (), LoaderCache(ld_cache([f"/gone/{CUDNN}", f"/opt/old/{CUDNN}"])),
         Found(f"/opt/old/{CUDNN}", f"/opt/old/{CUDNN}", "ld.so.cache")),
        ((), (), (), LoaderCache(b""), SYSTEM._replace(by="default folders")),
    ],
)  # fmt: skip
def test_order(
    rpath: tuple[str, ...],
    runpath: tuple[str, ...],
    library_path: tuple[str, ...],
    cache: LoaderCache,
    expected: Found,
    tmp_path: Path,
) -> None:
    elf = Elf("x86_64", "libtorch_cuda.so", (CUDNN,), rpath, runpath)
    assert find_library(disk(tmp_path, EVERYWHERE), CUDNN, TORCH, elf, library_path, cache) == expected


@pytest.mark.parametrize("content", [elf_file(AARCH64), elf_file(I386)])
def test_libraries_for_other_machines_are_passed_over(content: bytes, tmp_path: Path) -> None:
    host = disk(tmp_path, {**EVERYWHERE, f"/opt/old/{CUDNN}": content})
    found = find_library(host, CUDNN, TORCH, Elf("x86_64", "", (CUDNN,), (), ()), ("/opt/old",), CACHE)
    assert found == SYSTEM


def test_what_is_no_library_stops_the_search(tmp_path: Path) -> None:
    host = disk(tmp_path, {**EVERYWHERE, f"/opt/old/{CUDNN}": "version https://git-lfs.github.com/spec/v1\n"})
    found = find_library(host, CUDNN, TORCH, Elf("x86_64", "", (CUDNN,), (), ()), ("/opt/old",), CACHE)
    assert found is not None
    assert found.by == "LD_LIBRARY_PATH"


def test_nothing_and_a_path_of_its_own(tmp_path: Path) -> None:
    host = disk(tmp_path, EVERYWHERE)
    elf = Elf("x86_64", "", (), ORIGIN, ())
    assert find_library(host, "libcudnn.so.8", TORCH, elf, ("/opt/old",), CACHE) is None
    assert find_library(host, f"/opt/old/{CUDNN}", TORCH, elf, (), CACHE) == Found(
        f"/opt/old/{CUDNN}", f"/opt/old/{CUDNN}", "its own path"
    )
    assert find_library(host, f"/nowhere/{CUDNN}", TORCH, elf, (), CACHE) is None
    assert expanded("${ORIGIN}/x/", "/a/b/c.so") == "/a/b/x"


def test_the_folders_that_settings_add(tmp_path: Path) -> None:
    host = disk(
        tmp_path,
        {
            "/etc/ld.so.conf": "include ld.so.conf.d/*.conf\n\n/opt/lib  # own\n/old/lib=libc5\nhwcap 1 nosegneg\n",
            "/etc/ld.so.conf.d/libc.conf": "# libc default configuration\n/usr/local/lib\n",
            "/etc/ld.so.conf.d/cuda-12-4.conf": "/usr/local/cuda-12.4/lib64/\n",
            "/etc/ld.so.conf.d/cuda.conf.bak": "/usr/local/cuda-8.0/lib64\n",
            "/etc/ld.so.conf.d/loop.conf": "include /etc/ld.so.conf\n",
        },
    )
    assert Facts(host).get(LoaderConfig).folders == (
        ("/usr/local/cuda-12.4/lib64", "/etc/ld.so.conf.d/cuda-12-4.conf", 1),
        ("/usr/local/lib", "/etc/ld.so.conf.d/libc.conf", 2),
        ("/opt/lib", "/etc/ld.so.conf", 3),
        ("/old/lib", "/etc/ld.so.conf", 4),
    )
    assert Facts(disk(tmp_path / "none", {})).get(LoaderConfig).folders == ()


def test_sonames_of_a_cache() -> None:
    paths = ["/a/libcudart.so.11.0", "/a/libcudart.so.12", "/b/libcudart.so.12", "/usr/lib/i386/libcudart.so.10.2"]
    cache = LoaderCache(ld_cache([*paths, "/c/notlibcudart.so.13", "/c/libcuda.so.1"]))
    assert cache.sonames("libcudart.so.") == ("libcudart.so.11.0", "libcudart.so.12")
    assert cache.paths("libcudart.so.12") == ("/a/libcudart.so.12", "/b/libcudart.so.12")
    assert cache.sonames("libcublas.so.") == ()
    assert LoaderCache(b"").sonames("libcudart.so.") == ()
    assert LoaderCache(b"libcudart.so.12").sonames("libcudart.so.") == ()


def test_the_c_library_of_this_machine() -> None:
    host = LiveHost()
    cache = Facts(host).get(LoaderCache)
    found = find_library(host, "libc.so.6", "/usr/bin/env", Elf("", "", ("libc.so.6",), (), ()), (), cache)
    assert found is not None
    assert found.real_path in {str(Path(path).resolve()) for path in cache.paths("libc.so.6")}
