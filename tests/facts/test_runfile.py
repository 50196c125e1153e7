"""Traces of NVIDIA's .run installer, as it leaves them, and what only looks like them."""

import sqlite3
from pathlib import Path

import pytest
from disk_trees import DEBIAN, FEDORA, disk, facts_on

from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.host import FileStatus, Unavailable
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts

LOG = """nvidia-installer log file '/var/log/nvidia-installer.log'
creation time: Mon Nov 23 20:50:00 2026
installer version: 550.54.14

PATH: /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin

nvidia-installer command line:
    ./nvidia-installer
    --installer version: 1.0

-> Installing NVIDIA driver version 550.54.14.
"""
RECORD = """1.0-5505414 (550.54.14)
NVIDIA Accelerated Graphics Driver for Linux-x86_64
1: /usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14
12345678
"""
INSTALLED: dict[str, str | bytes] = {
    "/etc/os-release": DEBIAN,
    "/var/lib/nvidia/dirs": "/usr/share/nvidia\n",
    "/var/lib/nvidia/log": RECORD,
    "/var/log/nvidia-installer.log": LOG,
    "/usr/bin/nvidia-installer": "",
    "/usr/bin/nvidia-uninstall": "-> nvidia-installer",
}


def traces(tmp_path: Path, files: dict[str, str | bytes]) -> RunfileTraces:
    return facts_on(tmp_path, files).get(RunfileTraces)


def test_an_installation_by_hand_leaves_a_record_an_uninstaller_and_a_log(tmp_path: Path) -> None:
    assert traces(tmp_path, INSTALLED) == RunfileTraces(
        ("/var/lib/nvidia/dirs", "/var/lib/nvidia/log", "/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer"),
        "550.54.14",
        "/usr/bin/nvidia-uninstall",
        "/var/log/nvidia-installer.log",
    )


def test_a_machine_without_any(tmp_path: Path) -> None:
    assert traces(tmp_path, {"/etc/os-release": DEBIAN}) == RunfileTraces((), "", "", "")


def test_the_log_of_a_driver_that_was_uninstalled_is_no_trace(tmp_path: Path) -> None:
    found = traces(tmp_path, {"/var/log/nvidia-installer.log": LOG})
    assert found == RunfileTraces((), "550.54.14", "", "/var/log/nvidia-installer.log")


def test_the_record_says_what_is_installed_where_the_log_is_of_a_later_try(tmp_path: Path) -> None:
    later = LOG.replace("550.54.14", "580.95.05")
    assert traces(tmp_path / "both", {**INSTALLED, "/var/log/nvidia-installer.log": later}).version == "550.54.14"
    assert traces(tmp_path / "cut", {**INSTALLED, "/var/lib/nvidia/log": "\0\udcff\n"}).version == "550.54.14"
    assert traces(tmp_path / "junk", {"/var/log/nvidia-installer.log": b"installer version: \xff\n\0"}).version == ""


def test_programs_that_a_package_brought_are_no_trace(tmp_path: Path) -> None:
    programs: dict[str, str | bytes] = {"/usr/bin/nvidia-installer": "", "/usr/bin/nvidia-uninstall": ""}
    lists: dict[str, str | bytes] = {
        "/var/lib/dpkg/info/nvidia-tools.list": "/.\n/usr/bin\n/usr/bin/nvidia-installer\n",
        "/var/lib/dpkg/info/nvidia-tools.md5sums": "/usr/bin/nvidia-uninstall\n",
        "/var/lib/dpkg/info/vim.list": "/.\n",
    }
    found = traces(tmp_path / "debian", {"/etc/os-release": DEBIAN, **programs, **lists})
    assert found.paths == ("/usr/bin/nvidia-uninstall",)
    assert found.uninstaller == "/usr/bin/nvidia-uninstall"

    database = tmp_path / "fedora/var/lib/rpm/rpmdb.sqlite"
    database.parent.mkdir(parents=True)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE Basenames (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        connection.execute("INSERT INTO Basenames VALUES ('nvidia-uninstall', 1, 0), ('bash', 2, 0)")
    connection.close()
    found = traces(tmp_path / "fedora", {"/etc/os-release": FEDORA, **programs})
    assert found.paths == ("/usr/bin/nvidia-installer",)
    assert found.uninstaller == ""


class AsUser(RootHost):
    """An ordinary user: the installer's record is closed to him."""

    mode = 0o700

    def status(self, path: str) -> FileStatus | None:
        found = super().status(path)
        return found._replace(mode=self.mode) if found and path == "/var/lib/nvidia" else found

    def list(self, path: str) -> tuple[str, ...] | None:
        if path == "/var/lib/nvidia":
            raise Unavailable("/var/lib/nvidia: Permission denied")
        return super().list(path)


def test_an_ordinary_user_sees_that_the_record_is_there_but_not_what_it_says(tmp_path: Path) -> None:
    disk(tmp_path, INSTALLED)
    found = Facts(AsUser(str(tmp_path))).get(RunfileTraces)
    assert found.paths == ("/var/lib/nvidia", "/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer")
    assert found.version == "550.54.14"


def test_a_folder_of_that_name_that_somebody_else_made_is_not_taken_for_it(tmp_path: Path) -> None:
    assert traces(tmp_path, {"/var/lib/nvidia/bin/nvidia-smi": "", "/var/lib/nvidia/lib64/": ""}).paths == ()
    host = AsUser(str(tmp_path))
    host.mode = 0o755
    with pytest.raises(Unavailable, match="Permission denied"):
        Facts(host).get(RunfileTraces)
