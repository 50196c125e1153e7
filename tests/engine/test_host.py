"""Files of a mounted root and of this machine: absence is None, ignorance is Unavailable, links stay inside."""

import os
import sqlite3
from pathlib import Path

import pytest

from gpudoctor.host import BadSource, NotRunning, Unavailable
from gpudoctor.machine import LiveHost, RootHost


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/usr/lib").mkdir(parents=True)
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/usr/lib/os-release").write_text("ID=ubuntu\n")
    (tmp_path / "root/etc/os-release").symlink_to("/usr/lib/os-release")
    (tmp_path / "root/lib").symlink_to("usr/lib")
    (tmp_path / "secret").write_text("not on that machine")
    return tmp_path / "root"


def test_absolute_links_are_followed_inside_the_root(root: Path) -> None:
    host = RootHost(str(root))
    assert host.read("/etc/os-release") == "ID=ubuntu\n"
    assert host.link("/etc/os-release") == "/usr/lib/os-release"
    assert host.resolve("/lib/os-release") == "/usr/lib/os-release"


def test_links_cannot_climb_out(root: Path) -> None:
    (root / "etc/up").symlink_to("../../../../../../../secret")
    (root / "etc/loop").symlink_to("loop")
    assert RootHost(str(root)).read("/etc/up") is None
    with pytest.raises(Unavailable, match="symbolic links"):
        RootHost(str(root)).read("/etc/loop")


def test_what_is_not_there_is_none(root: Path) -> None:
    host = RootHost(str(root))
    assert host.read("/etc/nothing") is None
    assert host.read_bytes("/etc/os-release/below-a-file", 10) is None
    assert host.list("/etc/nothing") is None
    assert host.link("/etc") is None
    assert host.resolve("/etc/nothing") is None
    assert host.status("/etc/nothing") is None
    assert host.free_bytes("/nothing") is None
    assert host.query("/nothing.sqlite", "select 1") is None
    assert not host.exists("/etc/nothing")


@pytest.mark.parametrize("path", ["/proc/modules", "/sys/bus/pci/devices", "/dev/nvidia0", "/var/run/reboot-required"])
def test_a_disk_knows_nothing_of_the_running_kernel(root: Path, path: str) -> None:
    (root / "var").mkdir()
    (root / "var/run").symlink_to("/run")
    host = RootHost(str(root))
    with pytest.raises(NotRunning, match="not running"):
        host.read(path)
    with pytest.raises(NotRunning):
        host.run(["dmesg"])
    with pytest.raises(NotRunning):
        host.probe(["nvml"])


def test_the_kernel_of_a_disk_can_be_given(root: Path) -> None:
    assert RootHost(str(root), "6.1.0-50-amd64").read("/proc/sys/kernel/osrelease") == "6.1.0-50-amd64\n"


def test_parts_of_files(root: Path) -> None:
    (root / "etc/log").write_bytes(b"0123456789")
    host = RootHost(str(root))
    assert host.read_bytes("/etc/log", 3) == b"012"
    assert host.read_bytes("/etc/log", 3, offset=8) == b"89"
    assert host.read_bytes("/etc/log", 100, offset=-4) == b"6789"
    assert host.read_bytes("/etc/log", 100, offset=-400) == b"0123456789"
    assert host.read("/etc/log", last=2) == "89"


def test_bytes_that_are_no_text_survive(root: Path) -> None:
    (root / "etc/junk").write_bytes(b"\xff\x00\xfeA")
    (root / os.fsdecode(b"etc/na\xffme")).write_text("x")
    host = RootHost(str(root))
    text = host.read("/etc/junk")
    assert text is not None
    assert text.encode("utf-8", "surrogateescape") == b"\xff\x00\xfeA"
    assert os.fsdecode(b"na\xffme") in (host.list("/etc") or ())


def test_a_pipe_in_place_of_a_file_does_not_hang_and_is_not_an_empty_one(root: Path) -> None:
    os.mkfifo(root / "etc/pipe")
    host = RootHost(str(root))
    with pytest.raises(Unavailable, match="/etc/pipe: a named pipe in place of a file"):
        host.read("/etc/pipe")
    with pytest.raises(Unavailable, match="/etc/pipe: no plain file"):
        host.query("/etc/pipe", "select 1")


def test_devices_are_not_read_but_for_the_one_that_stands_for_an_empty_file() -> None:
    host = LiveHost()
    assert host.read("/dev/null") == ""
    for device in ("/dev/zero", "/dev/urandom"):
        with pytest.raises(Unavailable, match=f"{device}: a device in place of a file"):
            host.read(device)


def test_a_text_that_is_too_long_is_not_read_in_half(root: Path) -> None:
    with (root / "etc/huge").open("wb") as file:
        file.truncate(10 << 30)
    host = RootHost(str(root))
    with pytest.raises(Unavailable, match="/etc/huge: longer than 32 MiB"):
        host.read("/etc/huge")
    assert host.read("/etc/huge", first=3) == "\0\0\0"


def test_a_path_that_no_file_can_have(root: Path) -> None:
    for path in ("/etc/\ud800", "/etc/\0"):
        with pytest.raises(Unavailable, match="is no path"):
            RootHost(str(root)).read(path)


def test_a_directory_in_place_of_a_file_is_said(root: Path) -> None:
    with pytest.raises(Unavailable, match="/etc: Is a directory"):
        RootHost(str(root)).read("/etc")


def test_databases_are_read_and_left_alone(root: Path) -> None:
    with sqlite3.connect(root / "etc/db.sqlite") as connection:
        connection.execute("create table package (name, blob)")
        connection.execute("insert into package values ('nvidia', x'00ff')")
    (root / "etc/not.sqlite").write_bytes(b"no database at all" * 100)
    host = RootHost(str(root))
    assert host.query("/etc/db.sqlite", "select * from package where name = ?", ["nvidia"]) == (("nvidia", b"\0\xff"),)
    assert sorted(os.listdir(root / "etc")) == ["db.sqlite", "not.sqlite", "os-release"]
    with pytest.raises(Unavailable, match="not a database"):
        host.query("/etc/not.sqlite", "select * from package")


@pytest.mark.parametrize("name", ["missing", "a-file", "empty"])
def test_a_root_that_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadSource, match=name):
        RootHost(str(tmp_path / name))


def test_this_machine() -> None:
    host = LiveHost()
    assert host.read("/proc/self/status")
    assert host.read("/proc/sys/kernel/osrelease"), "the kernel refuses to be asked for 32 MiB at once here"
    status = host.status("/dev/null")
    assert status is not None
    assert (status.kind, status.device) == ("character", (1, 3))
    done = host.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert done is not None
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert host.run(["no-such-program-anywhere"]) is None
