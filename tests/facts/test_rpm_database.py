"""Packages from rpm's database: headers that the real rpm wrote, cut and damaged ones, version locks."""

import base64
import json
import os
import sqlite3
from pathlib import Path

import pytest
from disk_trees import FEDORA, SUSE, disk, facts_on
from tiny_packages import HEADERS, SEEN, WithRpm, in_order

from gpudoctor.facts.packages import Packages
from gpudoctor.host import Completed, Unavailable
from gpudoctor.registry import Facts


def database_of(recorded: dict[str, list[list[str]]], path: Path) -> None:
    """The two tables of rpm's database that are read, filled with recorded headers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        connection.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        for number, (name, header) in enumerate(recorded["headers"], 1):
            connection.execute("INSERT INTO Packages VALUES (?, ?)", (number, base64.b64decode(header)))
            connection.execute("INSERT INTO Name VALUES (?, ?, 0)", (name, number))
    connection.close()


@pytest.fixture
def recorded() -> dict[str, list[list[str]]]:
    loaded: dict[str, list[list[str]]] = json.loads(HEADERS.read_text())
    return loaded


@pytest.mark.parametrize("folder", ["usr/lib/sysimage/rpm", "var/lib/rpm"])
def test_packages_from_headers_that_rpm_wrote(
    folder: str, recorded: dict[str, list[list[str]]], tmp_path: Path
) -> None:
    database_of(recorded, tmp_path / folder / "rpmdb.sqlite")
    packages = facts_on(tmp_path, {"/etc/os-release": FEDORA}).get(Packages)
    assert packages.manager == "rpm"
    assert packages.damage == ""
    assert in_order(packages) == SEEN


def test_version_locks_of_dnf_and_zypper_hold(recorded: dict[str, list[list[str]]], tmp_path: Path) -> None:
    database_of(recorded, tmp_path / "var/lib/rpm/rpmdb.sqlite")

    def held(locks: dict[str, str | bytes]) -> set[str]:
        for path in ("etc/dnf/plugins/versionlock.list", "etc/dnf/versionlock.toml", "etc/zypp/locks"):
            (tmp_path / path).unlink(missing_ok=True)
        packages = facts_on(tmp_path, {"/etc/os-release": FEDORA, **locks}).get(Packages)
        return {package.name for package in packages.packages if package.hold}

    dnf4, dnf5, zypper = "/etc/dnf/plugins/versionlock.list", "/etc/dnf/versionlock.toml", "/etc/zypp/locks"
    condition = '[[packages.conditions]]\nkey = "evr"\ncomparator = "{}"  # how\nvalue = "3:580.95.05-1.fc42"\n'
    entry = "type: package\nmatch_type: {}\ncase_sensitive: {}\nsolvable_name: {}\n"
    assert held({}) == set()
    assert held({dnf4: "# Added lock\nkmod-nvidia-3:580.95.05-1.fc42.*\n!gcc-0:15.2.1-3.fc43.*\n"}) == {"kmod-nvidia"}
    assert held({dnf4: "3:kmod-nvidia-580.95.05-1.fc42.*\n"}) == {"kmod-nvidia"}
    assert held({dnf4: "nvidia*\n"}) == {"nvidia-settings", "nvidia-driver-cuda"}
    assert held({dnf5: '[[packages]]\nname = "kmod-*"  # all\n' + condition.format("=")}) == {"kmod-nvidia"}
    assert held({dnf5: '[[packages]]\nname = "kmod-*"\n' + condition.format("!=")}) == set()
    assert held({zypper: entry.format("glob", "on", "nvidia-d*")}) == {"nvidia-driver-cuda"}
    assert held({zypper: entry.format("glob", "on", "NVIDIA-d*")}) == set()
    assert held({zypper: entry.format("exact", "on", "nvidia") + "\n" + entry.format("exact", "on", "gcc")}) == {"gcc"}
    assert held({zypper: "solvable_name: KERNEL\n"}) == {"kernel-core"}
    assert held({zypper: entry.format("regex", "on", "^kmod|^gcc$")}) == {"kmod-nvidia", "gcc"}
    assert held({zypper: entry.format("regex", "on", "(((")}) == set()
    assert held({zypper: "type: patch\n" + entry.format("glob", "on", "*").partition("\n")[2]}) == set()


def test_a_cut_header_gives_the_package_without_needs_or_counts_as_damage(
    recorded: dict[str, list[list[str]]], tmp_path: Path
) -> None:
    header = next(base64.b64decode(header) for name, header in recorded["headers"] if name == "nvidia-driver-cuda")
    whole = SEEN[3]
    for length in range(0, len(header), 7):
        cut = {"headers": [["nvidia-driver-cuda", base64.b64encode(header[:length]).decode()]]}
        (tmp_path / "rpmdb.sqlite").unlink(missing_ok=True)
        database_of(cut, tmp_path / "rpmdb.sqlite")
        host = disk(tmp_path, {"/etc/os-release": FEDORA})
        (tmp_path / "var/lib/rpm").mkdir(parents=True, exist_ok=True)
        os.replace(tmp_path / "rpmdb.sqlite", tmp_path / "var/lib/rpm/rpmdb.sqlite")
        packages = Facts(host).get(Packages)
        assert in_order(packages) in ((), (whole,), (whole._replace(depends=()),))
        assert bool(packages.packages) != bool(packages.damage)


def test_an_unfinished_transaction_makes_the_database_unknown(
    recorded: dict[str, list[list[str]]], tmp_path: Path
) -> None:
    path = tmp_path / "var/lib/rpm/rpmdb.sqlite"
    database_of(recorded, path)
    facts = facts_on(tmp_path, {"/etc/os-release": FEDORA, "/var/lib/rpm/rpmdb.sqlite-wal": ""})
    assert in_order(facts.get(Packages)) == SEEN

    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("DELETE FROM Packages")
    connection.commit()
    waiting = Facts(facts.host).get_or_reason(Packages)
    assert isinstance(waiting, Unavailable)
    assert "changes wait in /var/lib/rpm/rpmdb.sqlite-wal" in str(waiting)

    connection.execute("PRAGMA wal_checkpoint")
    assert (tmp_path / "var/lib/rpm/rpmdb.sqlite-wal").stat().st_size > 0
    assert Facts(facts.host).get(Packages).packages == ()
    connection.close()


def test_what_only_rpm_can_read_is_asked_of_rpm(tmp_path: Path) -> None:
    said = (
        "warning: something about keys\n"
        "gcc\t15.2.1-3.fc43\tnoarch\tExample Vendor\t(none)\t\n"
        "gcc-c++\t15.2.1-3.fc43\tnoarch\tExample Vendor\t(none)\t\n"
        "kernel-core\t6.16.9-200.fc42\tnoarch\tExample Vendor\t(none)\t\n"
        "kmod-nvidia\t3:580.95.05-1.fc42\tnoarch\tExample Vendor\t(none)\trpmlib(FileDigests) <= 4.6.0-1|\n"
        "nvidia-driver-cuda\t3:580.95.05-1.fc42\tnoarch\tExample Vendor\t(none)\t/sbin/depmod  |dkms >= 3"
        "|libcuda.so.1()(64bit)  |nvidia-kmod-common = 3:580.95.05|nvidia-persistenced  |\n"
        "nvidia-settings\t580.95.05-1.fc42\tnoarch\t(none)\tZoë <zoe@example.org>\t\n"
    )
    for place in ("/usr/lib/sysimage/rpm/Packages.db", "/var/lib/rpm/Packages"):
        folder = tmp_path / place.replace("/", "_")
        host = disk(folder, {"/etc/os-release": SUSE, place: b"RpmP"})
        reason = Facts(host).get_or_reason(Packages)
        assert str(reason) == f"only a running rpm can read {place}"
        assert in_order(Facts(WithRpm(folder, Completed(("rpm",), 0, said, ""))).get(Packages)) == SEEN
        no_rpm = Facts(WithRpm(folder, None)).get_or_reason(Packages)
        assert "there is no rpm here" in str(no_rpm)
        failing = WithRpm(folder, Completed(("rpm",), 1, "", "error: cannot open Packages\n"))
        assert str(Facts(failing).get_or_reason(Packages)) == "rpm -qa: error: cannot open Packages"


def test_a_destroyed_database_is_unknown(tmp_path: Path) -> None:
    facts = facts_on(tmp_path, {"/etc/os-release": FEDORA, "/var/lib/rpm/rpmdb.sqlite": b"\0junk" * 4000})
    reason = facts.get_or_reason(Packages)
    assert isinstance(reason, Unavailable)
    assert "rpmdb.sqlite" in str(reason)
