"""The probe that reads /proc: of real children, and of a /proc made for what no test may have: a device held open."""

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from probe_children import ask

from gpudoctor.probes.processes import ask_processes

# A child that maps the files it is given, says so, and stays until its input ends.
_MAPPER = """
import mmap, sys
files = [open(path, "rb") for path in sys.argv[1:]]
maps = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for file in files]
for file in files:
    file.close()
print("mapped", flush=True)
sys.stdin.read()
"""
_LIBRARIES = ("libcuda.so.999.1", "libnvidia-ml.so.999.1", "libnvidia-container.so.1", "libc.so.6", "my libcuda.so.1")


@pytest.fixture
def child_on_replaced_libraries(tmp_path: Path) -> Iterator[int]:
    """The process id of a child that has these libraries mapped, all of them deleted since but libnvidia-ml."""
    paths = [tmp_path / name for name in _LIBRARIES]
    for path in paths:
        path.write_bytes(bytes(mmap.PAGESIZE))
    with subprocess.Popen(
        [sys.executable, "-c", _MAPPER, *map(str, paths)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"mapped\n"
        for path in paths:
            if not path.name.startswith("libnvidia-ml"):
                path.unlink()
        yield child.pid


def test_child_that_runs_on_a_deleted_driver_library(child_on_replaced_libraries: int, tmp_path: Path) -> None:
    answer = ask("processes")
    [found] = [process for process in answer["deleted_libraries"] if process["pid"] == child_on_replaced_libraries]
    assert found == {
        "pid": child_on_replaced_libraries,
        "user_id": os.getuid(),
        "command": Path(f"/proc/{child_on_replaced_libraries}/comm").read_text(encoding="utf-8").rstrip("\n"),
        "paths": [f"{tmp_path}/libcuda.so.999.1"],
    }
    assert all(process["pid"] != child_on_replaced_libraries for process in answer["holders"])


def test_processes_of_others_are_counted_as_unreadable(child_on_replaced_libraries: int) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    answer = ask("processes", preparation="import gpudoctor.probes.processes, json, os; os.setuid(65534)")
    assert all(process["pid"] != child_on_replaced_libraries for process in answer["deleted_libraries"])
    assert answer["unreadable"] >= 1


def imaginary_process(
    proc: Path,
    pid: int,
    *,
    command: bytes = b"python",
    descriptors: tuple[str, ...] = (),
    maps: tuple[str, ...] = (),
) -> Path:
    """One process. `maps` are paths with the kernel's marks."""
    home = proc / str(pid)
    (home / "fd").mkdir(parents=True)
    for number, target in enumerate(descriptors):
        (home / "fd" / str(number)).symlink_to(target)
    lines = [f"7f0{n:03x}0000-7f0{n:03x}8000 r--p 00000000 08:01 4711   {path}\n" for n, path in enumerate(maps)]
    (home / "maps").write_text("".join(lines) + "7ffd0000-7ffd8000 rw-p 00000000 00:00 0\n", encoding="utf-8")
    (home / "comm").write_bytes(command + b"\n")
    (home / "status").write_text("Name:\tpython\nUid:\t1000\t0\t0\t0\nGid:\t5\t5\t5\t5\n", encoding="utf-8")
    return home


def test_the_environment_of_a_process_is_where_its_packages_come_from(tmp_path: Path) -> None:
    library = "/home/ada/train/.venv/lib/python3.12/site-packages/torch/lib/libtorch_cuda.so"
    others = ("/usr/lib/python3.12/lib-dynload/_json.so", "/usr/lib/site-packages/x.so", library)
    imaginary_process(tmp_path, 42, descriptors=("/dev/nvidia0",), maps=others)
    holders = ask_processes(str(tmp_path))["holders"]
    assert isinstance(holders, list)
    assert [holder["python"] for holder in holders] == ["/home/ada/train/.venv"]


def test_holders(tmp_path: Path) -> None:
    imaginary_process(tmp_path, 1, command=b"systemd", descriptors=("/dev/null", "/dev/nvme0"))
    nodes = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia0", "socket:[123]", "/dev/nvidia-uvm (deleted)")
    imaginary_process(tmp_path, 42, descriptors=nodes)
    imaginary_process(tmp_path, 7, command=b"Xorg", maps=("/dev/nvidia0", "/usr/lib/xorg/Xorg"))
    (tmp_path / "self").symlink_to("42")
    (tmp_path / "version").write_text("Linux", encoding="utf-8")
    assert ask_processes(str(tmp_path)) == {
        "holders": [
            {"pid": 7, "user_id": 1000, "command": "Xorg", "devices": ["/dev/nvidia0"], "python": None},
            {
                "pid": 42,
                "user_id": 1000,
                "command": "python",
                "devices": ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"],
                "python": None,
            },
        ],
        "deleted_libraries": [],
        "unreadable": 0,
        "others_hidden": False,
    }


def test_the_probes_that_ask_the_driver_meanwhile_are_no_holders(tmp_path: Path) -> None:
    probe = imaginary_process(tmp_path, 100, descriptors=("/dev/nvidia0",))
    (probe / "cmdline").write_text(
        "python3\0-I\0-c\0from gpudoctor.probes import main; main('nvml')\0", encoding="utf-8"
    )
    other = imaginary_process(tmp_path, 101, descriptors=("/dev/nvidia0",))
    (other / "cmdline").write_text("python3\0train.py\0", encoding="utf-8")
    assert [holder["pid"] for holder in ask_processes(str(tmp_path))["holders"]] == [101]  # type: ignore[attr-defined]


def test_replaced_libraries(tmp_path: Path) -> None:
    libraries = (
        "/usr/lib/x86_64-linux-gnu/libcuda.so.535.261.03 (deleted)",
        "/usr/lib/x86_64-linux-gnu/libcuda.so.535.261.03 (deleted)",
        "/usr/lib/x86_64-linux-gnu/libnvidia-ptxjitcompiler.so.535.261.03 (deleted)",
        "/usr/lib/x86_64-linux-gnu/libGLX_nvidia.so.535.261.03",
        "/usr/lib/x86_64-linux-gnu/libnvidia-container.so.1.17.8 (deleted)",
        "/usr/lib/x86_64-linux-gnu/libcudart.so.12 (deleted)",
        "/home/me/a folder/libnvcuvid.so.1 (deleted)",
    )
    imaginary_process(tmp_path, 1, maps=libraries)
    [found] = ask_processes(str(tmp_path))["deleted_libraries"]
    assert found["paths"] == [
        "/home/me/a folder/libnvcuvid.so.1",
        "/usr/lib/x86_64-linux-gnu/libcuda.so.535.261.03",
        "/usr/lib/x86_64-linux-gnu/libnvidia-ptxjitcompiler.so.535.261.03",
    ]


def test_process_that_ended_while_we_looked(tmp_path: Path) -> None:
    imaginary_process(tmp_path, 1, descriptors=("/dev/nvidia0",))
    (tmp_path / "2").mkdir()
    (imaginary_process(tmp_path, 3, descriptors=("/dev/nvidia0",)) / "status").unlink()
    answer = ask_processes(str(tmp_path))
    assert [holder["pid"] for holder in answer["holders"]] == [1]
    assert answer["unreadable"] == 0


def test_hidden_processes_of_others(tmp_path: Path) -> None:
    imaginary_process(tmp_path, 42)
    assert ask_processes(str(tmp_path))["others_hidden"] is True


def test_command_that_is_no_text(tmp_path: Path) -> None:
    imaginary_process(tmp_path, 1, command=b"tr\xe4n\n1", descriptors=("/dev/nvidia0",))
    [holder] = ask_processes(str(tmp_path))["holders"]
    assert os.fsencode(holder["command"]) == b"tr\xe4n\n1"
