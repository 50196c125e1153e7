"""What dnf 4 and 5 did, from their databases."""

import sqlite3
import time
from pathlib import Path

import pytest
from disk_trees import FEDORA, facts_on
from package_logs import changes

from gpudoctor.facts.history import PackageHistory
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts
from gpudoctor.snapshot import RecordingHost, SnapshotHost


def dnf_database(path: Path, version: int) -> None:
    """The tables and columns that are read, filled like a machine that upgraded its driver."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        text = {4: "cmdline", 5: "description"}[version]
        connection.execute(f"CREATE TABLE trans (id INTEGER, dt_begin INTEGER, dt_end INTEGER, {text} TEXT)")
        act, name, arch = {4: ("action", "name", "arch"), 5: ("action_id", "name_id", "arch_id")}[version]
        connection.execute(f"CREATE TABLE trans_item (id INTEGER, trans_id INTEGER, item_id INTEGER, {act} INTEGER)")
        connection.execute(
            f"CREATE TABLE rpm (item_id INTEGER, {name}, epoch INTEGER, version TEXT, release TEXT, {arch})"
        )
        packages = [
            (1, "nvidia-driver", 3, "580.95.05", "1.fc42"),
            (2, "nvidia-driver", 3, "580.105.08", "1.fc42"),
            (3, "kernel-core", 0, "6.16.9", "200.fc42"),
            (4, "bash", 0, "5.2", "1.fc42"),
            (5, "akmod-nvidia", 3, "580.95.05", "1.fc42"),
        ]
        names = sorted({package[1] for package in packages})
        if version == 5:
            for table, rows in (
                ("pkg_name", names),
                ("arch", ["x86_64"]),
                ("trans_item_action", ["Install", "Upgrade", "Downgrade", "Reinstall", "Remove", "Replaced"]),
            ):
                connection.execute(f"CREATE TABLE {table} (id INTEGER, name TEXT)")
                connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", enumerate(rows, 1))
        for number, package, *evr in packages:
            keys = (package, "x86_64") if version == 4 else (names.index(package) + 1, 1)
            connection.execute("INSERT INTO rpm VALUES (?, ?, ?, ?, ?, ?)", (number, keys[0], *evr, keys[1]))
        numbers = {
            4: {
                "install": 1,
                "upgrade": 6,
                "upgraded": 7,
                "downgrade": 2,
                "downgraded": 3,
                "remove": 8,
                "obsoleted": 5,
            },
            5: {
                "install": 1,
                "upgrade": 2,
                "upgraded": 6,
                "downgrade": 3,
                "downgraded": 6,
                "remove": 5,
                "obsoleted": 6,
            },
        }[version]
        runs = [
            (1, 1795000000, 1795000009, "install nvidia-driver", [("install", 1), ("install", 4), ("install", 5)]),
            (2, 1795100000, 1795100009, "upgrade", [("upgrade", 2), ("upgraded", 1), ("install", 3), ("obsoleted", 5)]),
            (3, 1795200000, 1795200009, "downgrade nvidia-driver", [("downgraded", 2), ("downgrade", 1)]),
            (4, 1795300000, None, "remove nvidia-driver", [("remove", 1)]),
        ]
        for run, begin, end, words, items in runs:
            command = words if version == 4 else f"dnf5 {words}"
            connection.execute("INSERT INTO trans VALUES (?, ?, ?, ?)", (run, begin, end, command))
            for action, item in items:
                connection.execute(
                    "INSERT INTO trans_item VALUES (?, ?, ?, ?)", (run * 9 + item, run, item, numbers[action])
                )
    connection.close()


@pytest.mark.parametrize(
    ("version", "path", "program"),
    [
        (4, "/var/lib/dnf/history.sqlite", "dnf"),
        (5, "/usr/lib/sysimage/libdnf5/transaction_history.sqlite", "dnf5"),
    ],
)
def test_dnf_tells_both_versions_of_an_upgrade(version: int, path: str, program: str, tmp_path: Path) -> None:
    dnf_database(tmp_path / path.lstrip("/"), version)
    facts = facts_on(tmp_path, {"/etc/os-release": FEDORA})
    events = facts.get(PackageHistory).events
    old, new = "3:580.95.05-1.fc42", "3:580.105.08-1.fc42"
    assert changes(events) == [
        ("install", "nvidia-driver", "", old),
        ("install", "akmod-nvidia", "", old),
        ("upgrade", "nvidia-driver", old, new),
        ("install", "kernel-core", "", "6.16.9-200.fc42"),
        ("remove", "akmod-nvidia", old, ""),
        ("downgrade", "nvidia-driver", new, old),
        ("remove", "nvidia-driver", old, ""),
    ]
    assert events[2].command == f"{program} upgrade"
    assert events[2].time == 1795100000
    assert events[2].when == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1795100000))
    assert [event.complete for event in events] == [True] * 6 + [False]

    recording = RecordingHost(facts.host)
    assert Facts(recording).get(PackageHistory).events == events
    assert Facts(SnapshotHost(recording.answers)).get(PackageHistory).events == events


def test_a_log_that_dnf_leaves_behind_filled_is_no_unfinished_transaction(tmp_path: Path) -> None:
    path = tmp_path / "var/lib/dnf/history.sqlite"
    dnf_database(path, 4)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("UPDATE trans SET cmdline = 'upgrade kernel' WHERE id = 2")
    connection.commit()
    facts = facts_on(tmp_path, {"/etc/os-release": FEDORA})
    with pytest.raises(Unavailable, match="changes wait in"):
        facts.get(PackageHistory)
    connection.execute("PRAGMA wal_checkpoint")
    events = Facts(facts.host).get(PackageHistory).events
    assert events[2].command == "dnf upgrade kernel"
    log = path.with_name("history.sqlite-wal")
    content = log.read_bytes()
    log.write_bytes(
        content[:16] + bytes(8) + content[24:]
    )  # the salt: now it is a log of which the index knows nothing
    with pytest.raises(Unavailable, match="changes wait in"):
        Facts(facts.host).get(PackageHistory)
    log.write_bytes(content)
    path.with_name("history.sqlite-shm").unlink()
    with pytest.raises(Unavailable, match="changes wait in"):
        Facts(facts.host).get(PackageHistory)
    connection.close()


def test_a_database_of_another_make_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "var/lib/dnf/history.sqlite"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trans (tid INTEGER)")
    connection.close()
    with pytest.raises(Unavailable, match=r"history\.sqlite"):
        facts_on(tmp_path, {"/etc/os-release": FEDORA}).get(PackageHistory)
