"""What zypper and pacman did, from their logs, and what becomes of logs that are missing or damaged."""

import gzip
import random
from pathlib import Path

import pytest
from disk_trees import ARCH, DEBIAN, FEDORA, SUSE, facts_on
from package_logs import APT, RUNS, changes, events_of, local

from gpudoctor.facts.history import PackageHistory
from gpudoctor.host import Unavailable

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
