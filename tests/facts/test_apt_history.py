"""What apt and dpkg did, from their logs."""

import gzip
import random
from pathlib import Path

from disk_trees import DEBIAN, facts_on
from package_logs import APT, RUNS, changes, events_of, local

from gpudoctor.facts.history import PackageEvent, PackageHistory


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
