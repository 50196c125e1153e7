"""The .run file that the user named: what is in it, and what forbids to run it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from run_files import cut_off, damaged, driver_run, toolkit_folder, toolkit_run

from gpudoctor.facts.requested_runfile import RequestedRunfile
from gpudoctor.facts.runfile_head import HEAD_SIZE, read_head
from gpudoctor.facts.wanted import Request, Wanted
from gpudoctor.registry import Facts
from gpudoctor.testing import MachineTree

ELF = {"x86_64": b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\x00", "aarch64": b"\x7fELF\x02\x01" + bytes(12) + b"\xb7\x00"}
DRIVER = "/home/ada/NVIDIA-Linux-x86_64-580.95.05.run"
TOOLKIT = "/home/ada/cuda_12.8.0_570.86.10_linux.run"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "home/ada").mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin/sh").write_bytes(ELF["x86_64"])
    for folder in ("etc", "tmp", "var/tmp", "usr"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    return root


def asked(root: Path, text: str, path: str) -> RequestedRunfile:
    kind, _, version = text.partition("=")
    wanted = Wanted((Request(kind, version, path),))
    return Facts(MachineTree(str(root)), {Wanted: wanted}).get(RequestedRunfile)


def test_where_no_file_was_named_none_is_read(tree):
    found = Facts(MachineTree(str(tree)), {Wanted: Wanted((Request("driver", "580"),))}).get(RequestedRunfile)
    assert found == RequestedRunfile("", "", "", "", 0, ())


def test_a_driver_says_what_it_is(tree):
    driver_run(tree / DRIVER[1:])
    found = asked(tree, "driver=580", DRIVER)
    assert (found.path, found.kind, found.version, found.version_source) == (DRIVER, "driver", "580.95.05", "its head")
    assert found.unpacked == 900_000 * 1024
    assert dict(found.free).keys() == {"/tmp", "/var/tmp", "/usr"}
    assert found.problem == ""


def test_the_files_name_is_not_asked(tree):
    """People download one and run another."""
    driver_run(tree / DRIVER[1:], "580.82.07")
    found = asked(tree, "driver=580.95.05", DRIVER)
    assert found.problem == f"{DRIVER} is 580.82.07, and driver 580.95.05 was asked for: its head says so."


def test_a_head_that_contradicts_itself_tells_no_version(tree):
    driver_run(tree / DRIVER[1:], "580.95.05", label="580.82.07")
    assert "cannot be told" in asked(tree, "driver=580", DRIVER).problem


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (damaged, "is damaged or cut off: its checksum is not the one in its head"),
        (cut_off, "is damaged or cut off"),
        (lambda path: path.write_text("<html>Your download will begin shortly</html>"), "is no .run file of NVIDIA's"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "or not all of its head is there"),
        (lambda path: path.write_text("#!/bin/sh\nrm -rf /\n"), "is no .run file of NVIDIA's"),
        (lambda path: path.write_bytes(b""), "is no .run file of NVIDIA's"),
        (Path.unlink, f"There is no file {DRIVER}."),
        (lambda path: (path.unlink(), path.mkdir()), f"There is no file {DRIVER}."),
        (lambda path: path.chmod(0o666), "can be written by others"),
        (lambda path: path.parent.chmod(0o777), "is open to all"),
        (
            lambda path: driver_run(path, architecture="aarch64"),
            "for machines of the kind aarch64, and this one is x86_64",
        ),
    ],
)
def test_what_root_must_not_run(tree, change, words):
    change(driver_run(tree / DRIVER[1:]))
    assert words in asked(tree, "driver=580", DRIVER).problem


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_group_of_ones_own_is_nobody_else(tree):
    path = driver_run(tree / DRIVER[1:])
    path.chmod(0o664)
    os.chown(path, 1000, 1000)
    assert asked(tree, "driver=580", DRIVER).problem == ""
    os.chown(path, 1000, 100)
    assert "can be written by others" in asked(tree, "driver=580", DRIVER).problem


def test_in_tmp_nobody_can_exchange_the_file_of_another(tree):
    driver_run(tree / "tmp/a.run")
    assert asked(tree, "driver=580", "/tmp/a.run").problem == ""


def test_a_link_is_followed_and_its_target_is_judged(tree):
    driver_run(tree / "home/ada/real.run", "575.64")
    (tree / "home/ada/link.run").symlink_to("real.run")
    found = asked(tree, "driver=580", "/home/ada/link.run")
    assert found.path == "/home/ada/real.run"
    assert "is 575.64" in found.problem


def test_a_toolkit_tells_its_release_by_a_file_in_it(tree, tmp_path):
    toolkit_run(tree / TOOLKIT[1:], toolkit_folder(tmp_path / "pkg", "12.8.1"))
    found = asked(tree, "cuda=12.8", TOOLKIT)
    assert (found.version, found.version_source, found.problem) == ("12.8.1", "./builds/version.json in it", "")
    assert "is 12.8.1, and CUDA 12.8.0 was asked for" in asked(tree, "cuda=12.8.0", TOOLKIT).problem


def test_an_old_toolkit_tells_its_release_by_the_driver_in_it(tree, tmp_path):
    toolkit_run(tree / TOOLKIT[1:], toolkit_folder(tmp_path / "pkg", "", "418.39"))
    found = asked(tree, "cuda=10.1", TOOLKIT)
    assert found.version == "10.1.105"
    assert found.version_source == "./builds/NVIDIA-Linux-x86_64-418.39.run in it"


def test_the_name_is_the_last_to_be_believed(tree, tmp_path):
    toolkit_run(tree / TOOLKIT[1:], toolkit_folder(tmp_path / "pkg", "", "999.99.99"))
    found = asked(tree, "cuda=12.8", TOOLKIT)
    assert (found.version, found.version_source, found.problem) == ("12.8.0", "its name", "")


def test_a_toolkit_that_is_cut_off_is_found_by_its_size(tree, tmp_path):
    path = toolkit_run(tree / TOOLKIT[1:], toolkit_folder(tmp_path / "pkg"))
    size = path.stat().st_size
    cut_off(path)
    assert f"is cut off: it has {size - 100} bytes, and {size}" in asked(tree, "cuda=12.8", TOOLKIT).problem
    path.write_bytes(path.read_bytes() + bytes(300))
    assert "has something appended" in asked(tree, "cuda=12.8", TOOLKIT).problem


def test_a_toolkit_is_no_driver(tree, tmp_path):
    toolkit_run(tree / TOOLKIT[1:], toolkit_folder(tmp_path / "pkg"))
    assert asked(tree, "driver=570", TOOLKIT).problem == f"{TOOLKIT} is a CUDA toolkit, and driver 570 was asked for."


def test_a_toolkit_for_arm_is_known_by_the_driver_in_it(tree, tmp_path):
    folder = toolkit_folder(tmp_path / "pkg")
    (folder / "builds/NVIDIA-Linux-x86_64-570.86.10.run").rename(folder / "builds/NVIDIA-Linux-aarch64-570.86.10.run")
    toolkit_run(tree / TOOLKIT[1:], folder)
    assert "for machines of the kind aarch64" in asked(tree, "cuda=12.8", TOOLKIT).problem


@pytest.mark.skipif(shutil.which("makeself") is None, reason="makeself is not installed")
def test_what_the_real_makeself_makes_is_read(tree, tmp_path):
    folder = toolkit_folder(tmp_path / "pkg", "12.8.1")
    path = tree / TOOLKIT[1:]
    command = ("makeself", "--gzip", str(folder), str(path), "CUDA Toolkit Installer", "./cuda-installer")
    subprocess.run(command, check=True, capture_output=True)
    path.chmod(0o644)
    found = asked(tree, "cuda=12.8", TOOLKIT)
    assert (found.version, found.problem) == ("12.8.1", "")
    damaged(path)
    assert "is damaged or cut off" in asked(tree, "cuda=12.8", TOOLKIT).problem


def test_the_head_says_where_the_archive_begins(tmp_path):
    data = driver_run(tmp_path / "a.run").read_bytes()
    head = read_head(data[:HEAD_SIZE])
    assert head is not None
    assert data[head.archive : head.archive + 2] == b"\x1f\x8b"
    assert data[: head.checked].count(b"\n") == 3
