"""What package managers did, from their logs: apt, dpkg, dnf 4 and 5, zypper, pacman."""

import gzip
import random
import sqlite3
import time
from pathlib import Path

import pytest
from disk_trees import ARCH, DEBIAN, FEDORA, SUSE, facts_on

from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts
from gpudoctor.snapshot import RecordingHost, SnapshotHost

APT = "/var/log/apt/history.log"
RUNS = """
Start-Date: 2026-11-20  09:00:00
Commandline: apt-get -y install nvidia-kernel-dkms
Requested-By: anna (1000)
Install: nvidia-kernel-dkms:amd64 (535.261.03-1), dkms:amd64 (3.0.10-8+deb12u1, automatic), tree:amd64 (2.1.0-1)
Error: Sub-process /usr/bin/dpkg returned an error code (1)
End-Date: 2026-11-20  09:03:00

Start-Date: 2026-11-22  06:50:11
Commandline: /usr/bin/unattended-upgrade
Install: linux-image-6.1.0-56-amd64:amd64 (6.1.192-2, automatic)
Upgrade: libcuda1:amd64 (535.261.03-1, 535.309.01-0+deb12u1), perl:amd64 (5.36.0-7, 5.36.0-8)
Downgrade: nvidia-modprobe:amd64 (570.133.07-1, 535.309.01-0+deb12u1)
Reinstall: nvidia-smi:amd64 (535.309.01-0+deb12u1)
Remove: nvidia-driver:amd64 (535.261.03-1)
Purge: nvidia-alternative:amd64 (535.261.03-1), cuda-keyring:amd64 ()
End-Date: 2026-11-22  06:52:00

Start-Date: 2026-11-23  20:38:54
Commandline: apt full-upgrade
Upgrade: nvidia-kernel-dkms:amd64 (535.261.03-1, 535.309.01-0+deb12u1)
"""


def events_of(tmp_path: Path, files: dict[str, str | bytes]) -> tuple[PackageEvent, ...]:
    return facts_on(tmp_path, files).get(PackageHistory).events


def changes(events: tuple[PackageEvent, ...]) -> list[tuple[str, str, str, str]]:
    return [(event.action, event.package, event.old, event.new) for event in events]


def local(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def test_apt_tells_what_each_run_did(tmp_path: Path) -> None:
    events = events_of(tmp_path, {"/etc/os-release": DEBIAN, APT: RUNS})
    assert changes(events) == [
        ("install", "nvidia-kernel-dkms", "", "535.261.03-1"),
        ("install", "dkms", "", "3.0.10-8+deb12u1"),
        ("install", "linux-image-6.1.0-56-amd64", "", "6.1.192-2"),
        ("upgrade", "libcuda1", "535.261.03-1", "535.309.01-0+deb12u1"),
        ("downgrade", "nvidia-modprobe", "570.133.07-1", "535.309.01-0+deb12u1"),
        ("reinstall", "nvidia-smi", "535.309.01-0+deb12u1", "535.309.01-0+deb12u1"),
        ("remove", "nvidia-driver", "535.261.03-1", ""),
        ("purge", "nvidia-alternative", "535.261.03-1", ""),
        ("purge", "cuda-keyring", "", ""),
        ("upgrade", "nvidia-kernel-dkms", "535.261.03-1", "535.309.01-0+deb12u1"),
    ]
    assert events[3] == PackageEvent(
        local("2026-11-22 06:50:11"),
        "2026-11-22  06:50:11",
        "upgrade",
        "libcuda1",
        "535.261.03-1",
        "535.309.01-0+deb12u1",
        "/usr/bin/unattended-upgrade",
        True,
        APT,
    )
    assert [event.complete for event in events] == [True] * 9 + [False]


def test_the_newest_event_of_a_package_is_found_by_its_kind(tmp_path: Path) -> None:
    history = facts_on(tmp_path, {"/etc/os-release": DEBIAN, APT: RUNS}).get(PackageHistory)
    newest = history.last("nvidia-kernel-dkms")
    first = history.last("nvidia-kernel-dkms", "install", "remove")
    assert newest is not None
    assert newest.action == "upgrade"
    assert first is not None
    assert first.new == "535.261.03-1"
    assert history.last("nvidia-kernel-dkms", "purge") is None


def test_rotated_logs_count_newest_six_of_them_and_damaged_ones_as_far_as_they_go(tmp_path: Path) -> None:
    def run(number: int) -> bytes:
        text = f"Start-Date: 2026-{12 - number:02}-01  10:00:00\nInstall: cuda-{number}:amd64 (1)\nEnd-Date: x\n\n"
        return text.encode()

    files: dict[str, str | bytes] = {f"{APT}.{number}.gz": gzip.compress(run(number)) for number in range(2, 9)}
    files |= {APT: run(0), f"{APT}.1": run(1), f"{APT}.3.gz": b"\x1f\x8bno gzip", f"{APT}.x.gz": b"", f"{APT}.bak": b""}
    files[f"{APT}.4.gz"] = gzip.compress(run(4) + random.Random(3).randbytes(5000))[:-2000]
    events = events_of(tmp_path, {"/etc/os-release": DEBIAN, **files})
    assert [event.package for event in events] == ["cuda-6", "cuda-5", "cuda-4", "cuda-2", "cuda-1", "cuda-0"]
    assert events[0].source == f"{APT}.6.gz"


def test_a_small_file_cannot_unpack_into_endless_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(RUNS.encode() + b"\n" * 5_000_000 + RUNS.encode(), compresslevel=1)
    events = events_of(tmp_path, {"/etc/os-release": DEBIAN, f"{APT}.1.gz": bomb})
    assert len(events) == 10


def test_dpkg_called_by_hand_is_told_from_dpkg_called_by_apt(tmp_path: Path) -> None:
    log = """2026-11-22 06:50:40 startup archives unpack
2026-11-22 06:50:41 upgrade libcuda1:amd64 535.261.03-1 535.309.01-0+deb12u1
2026-11-22 06:50:41 status half-configured libcuda1:amd64 535.261.03-1
2026-11-22 06:51:00 install linux-image-6.1.0-56-amd64:amd64 <none> 6.1.192-2
2026-11-22 06:51:30 remove nvidia-driver:amd64 535.261.03-1 <none>
2026-11-22 08:00:00 install nvidia-open:amd64 <none> 580.95.05-1
2026-11-22 08:00:01 install tree:amd64 <none> 2.1.0-1
2026-11-22 09:00:00 upgrade nvidia-open:amd64 580.95.05-1 580.95.05-1
2026-11-22 10:00:00 purge nvidia-open:amd64 580.95.05-1 <none>
2026-11-23 20:39:30 upgrade nvidia-kernel-dkms:amd64 535.261.03-1 535.309.01-0+deb12u1
2026-11-23 20:39:31 upgrade nvidia
not a time at all   install nvidia-open:amd64 <none> 1
"""
    events = events_of(tmp_path, {"/etc/os-release": DEBIAN, APT: RUNS, "/var/log/dpkg.log": log})
    direct = tuple(event for event in events if event.source == "/var/log/dpkg.log")
    assert changes(direct) == [
        ("install", "nvidia-open", "", "580.95.05-1"),
        ("reinstall", "nvidia-open", "580.95.05-1", "580.95.05-1"),
        ("purge", "nvidia-open", "580.95.05-1", ""),
    ]
    assert direct[0].when == "2026-11-22 08:00:00"
    assert [event.time for event in events] == sorted(event.time for event in events)


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
    assert log.stat().st_size > 0
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


ZYPPER = r"""2026-11-20 08:00:00|radd   |NVIDIA|https://example.org/nvidia|
# 2026-11-20 08:01:00 nvidia-driver-G06-kmp-default-580.95.05.rpm installed ok
# Additional rpm output:
# Modules are built|now
2026-11-20 08:01:00|command|root@host|'zypper' 'install' 'a\|b'|
2026-11-20 08:02:00|install|nvidia-driver-G06-kmp-default|580.95.05_k6.4.0_150600.21-1.1|x86_64|root@host|NVIDIA|sum|
2026-11-20 08:02:01|install|kernel-default|6.4.0-150600.23.25.1|x86_64||update|sum|
2026-11-20 08:02:02|install|vim|9.1|x86_64||update|sum|
2026-11-22 06:00:00|command|root@host|'zypper' 'update'|
2026-11-22 06:02:00|install|nvidia-driver-G06-kmp-default|580.105.08_k6.4.0_150600.21-1.1|x86_64||NVIDIA|sum|
2026-11-22 06:02:01|install|kernel-default|6.4.0-150600.23.30.1|x86_64||update|sum|
2026-11-22 06:03:00|install|nvidia-driver-G06-kmp-default|580.95.05_k6.4.0_150600.21-1.1|x86_64||NVIDIA|sum|
2026-11-22 06:04:00|install|nvidia-driver-G06-kmp-default|580.95.05_k6.4.0_150600.21-1.1|x86_64||NVIDIA|sum|
2026-11-22 07:00:00|remove |nvidia-driver-G06-kmp-default|580.95.05_k6.4.0_150600.21-1.1|x86_64|root@host|
2026-11-22 07:01:00|patch  |openSUSE-1|1|noarch|update|moderate|security|needed|applied|
no time|install|nvidia-driver-G06-kmp-default|1|x86_64||NVIDIA|sum|
2026-11-22 08:00:00|install|nvidia
"""


def test_zypper_calls_an_upgrade_an_installation(tmp_path: Path) -> None:
    events = events_of(tmp_path, {"/etc/os-release": SUSE, "/var/log/zypp/history": ZYPPER})
    driver, old, new = (
        "nvidia-driver-G06-kmp-default",
        "580.95.05_k6.4.0_150600.21-1.1",
        "580.105.08_k6.4.0_150600.21-1.1",
    )
    assert changes(events) == [
        ("install", driver, "", old),
        ("install", "kernel-default", "", "6.4.0-150600.23.25.1"),
        ("upgrade", driver, old, new),
        ("install", "kernel-default", "", "6.4.0-150600.23.30.1"),
        ("downgrade", driver, new, old),
        ("reinstall", driver, old, old),
        ("remove", driver, old, ""),
    ]
    assert events[0].command == "zypper install a|b"
    assert events[2].command == "zypper update"
    assert events[2].time == local("2026-11-22 06:02:00")


PACMAN = """[2019-01-01 12:00] [ALPM] installed nvidia-utils (415.25-1)
[2026-11-22T06:50:11+0000] [PACMAN] Running 'pacman -Syu'
[2026-11-22T06:50:11+0000] [PACMAN] starting full system upgrade
[2026-11-22T06:51:00+0000] [ALPM] transaction started
[2026-11-22T06:51:01+0000] [ALPM] upgraded linux (6.17.2.arch1-1 -> 6.17.3.arch1-1)
[2026-11-22T06:51:01+0000] [ALPM] upgraded which (2.21-5 -> 2.21-6)
[2026-11-22T06:51:02+0000] [ALPM] reinstalled nvidia-open (580.95.05-3)
[2026-11-22T06:51:03+0000] [ALPM] transaction completed
[2026-11-22T06:51:03+0000] [ALPM-SCRIPTLET] ==> upgraded nvidia-open (1 -> 2)
[2026-11-22T08:51:03+0200] [ALPM] transaction started
[2026-11-22T08:51:04+0200] [ALPM] removed nvidia-open (580.95.05-3)
[2026-11-22T08:51:05+0200] [ALPM] transaction started
[2026-11-22T01:52:05-0500] [ALPM] downgraded nvidia-utils (580.95.05-3 -> 575.64.05-2)
"""


def test_pacman_writes_its_time_zone_and_what_was_interrupted_is_incomplete(tmp_path: Path) -> None:
    events = events_of(tmp_path, {"/etc/os-release": ARCH, "/var/log/pacman.log": PACMAN})
    assert changes(events) == [
        ("install", "nvidia-utils", "", "415.25-1"),
        ("upgrade", "linux", "6.17.2.arch1-1", "6.17.3.arch1-1"),
        ("reinstall", "nvidia-open", "580.95.05-3", "580.95.05-3"),
        ("remove", "nvidia-open", "580.95.05-3", ""),
        ("downgrade", "nvidia-utils", "580.95.05-3", "575.64.05-2"),
    ]
    assert [event.complete for event in events] == [True, True, True, False, False]
    assert events[0].time == local("2019-01-01 12:00:00")
    assert events[1].time == 1795330261  # 2026-11-22 06:51:01 UTC
    assert events[3].time == events[1].time + 3
    assert events[4].time == events[1].time + 64
    assert events[1].command == "pacman -Syu"


def test_a_system_nobody_knows_may_have_any_of_the_logs(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {APT: RUNS, "/var/log/pacman.log": PACMAN, "/etc/os-release": "ID=unheard-of\n"}
    assert len(events_of(tmp_path, files)) == 15
    assert events_of(tmp_path / "debian", {**files, "/etc/os-release": DEBIAN})[0].package == "nvidia-kernel-dkms"


def test_without_logs_there_are_no_events(tmp_path: Path) -> None:
    for number, system in enumerate((DEBIAN, FEDORA, SUSE, ARCH, "")):
        assert events_of(tmp_path / str(number), {"/etc/os-release": system}) == ()


def test_a_log_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    for number, (system, log) in enumerate(
        ((DEBIAN, APT), (SUSE, "/var/log/zypp/history"), (ARCH, "/var/log/pacman.log"))
    ):
        facts = facts_on(tmp_path / str(number), {"/etc/os-release": system, f"{log}/": ""})
        with pytest.raises(Unavailable):
            facts.get(PackageHistory)


@pytest.mark.parametrize(
    ("system", "path", "content"),
    [
        (DEBIAN, APT, RUNS),
        (DEBIAN, f"{APT}.1.gz", RUNS),
        (DEBIAN, "/var/log/dpkg.log", "2026-11-22 08:00:00 install nvidia-open:amd64 <none> 580.95.05-1\n" * 9),
        (SUSE, "/var/log/zypp/history", ZYPPER),
        (ARCH, "/var/log/pacman.log", PACMAN),
    ],
)
def test_junk_in_a_log_loses_events_at_most(system: str, path: str, content: str, tmp_path: Path) -> None:
    generator = random.Random(4)
    known = events_of(tmp_path / "whole", {"/etc/os-release": system, path.removesuffix(".1.gz"): content})
    found = 0
    for _ in range(60):
        junk = bytearray(gzip.compress(content.encode()) if path.endswith(".gz") else content.encode())
        for _ in range(generator.randrange(1, 6)):
            start = generator.randrange(len(junk))
            junk[start : start + generator.randrange(30)] = generator.randbytes(generator.randrange(30))
        junk = junk[: generator.randrange(len(junk))]
        events = events_of(tmp_path / "junk", {"/etc/os-release": system, path: bytes(junk)})
        assert len(events) <= len(known)
        found += len(events)
    assert path.endswith(".gz") or found > 50
