"""The kernel's log, from dmesg or from the files that syslog writes."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from disk_trees import disk, facts_on

from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.host import Completed, NotRunning, Unavailable
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.testing import MachineTree

DMESG = """[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0) 12.2.0)
[    1.104242] pci 0000:01:00.0: BAR 1: no space for [mem size 0x800000000 64bit pref]
[    1.104243] pci 0000:00:1f.3: BAR 0 [mem 0x603d1a8000-0x603d1abfff 64bit]
[    1.382392] random: crng reseeded due to virtual machine fork
[    3.214095] nvidia: loading out-of-tree module taints kernel.
[    3.390322][  T451] nvidia: module verification failed: signature and/or required key missing - tainting kernel
[    3.740490] NVRM: No NVIDIA GPU found.
[    4.000000] Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7
[    4.100000] Loading of unsigned module is rejected
[    5.000000] [drm] [nvidia-drm] [GPU ID 0x00000100] Loading driver
[ 9999.123456] NVRM: Xid (PCI:0000:04:00): 79, pid=1234, name=python, GPU has fallen off the bus.
[10000.000000] PM: suspend entry (deep)
[10001.000000] EXT4-fs (vda): mounted filesystem
"""
EXPECTED = (
    "pci 0000:01:00.0: BAR 1: no space for [mem size 0x800000000 64bit pref]",
    "nvidia: loading out-of-tree module taints kernel.",
    "nvidia: module verification failed: signature and/or required key missing - tainting kernel",
    "NVRM: No NVIDIA GPU found.",
    "Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7",
    "Loading of unsigned module is rejected",
    "[drm] [nvidia-drm] [GPU ID 0x00000100] Loading driver",
    "NVRM: Xid (PCI:0000:04:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
    "PM: suspend entry (deep)",
)
DENIED = Completed(("dmesg",), 1, "", "dmesg: read kernel buffer failed: Operation not permitted\n")


def _facts(folder: Path, dmesg: Completed | None, files: Mapping[str, str | bytes]) -> Facts:
    load_plugins()
    disk(folder, files)
    return Facts(MachineTree(str(folder), commands={("dmesg",): dmesg} if dmesg else {}))


def _syslog(text: str, form: str = "Nov 23 20:01:02 gpu1 kernel: ") -> str:
    return "".join(f"{form}{line}\n" for line in text.splitlines())


@pytest.mark.parametrize("stamps", [True, False])
def test_dmesg(tmp_path: Path, stamps: bool) -> None:
    text = DMESG if stamps else "".join(line.partition("] ")[2] + "\n" for line in DMESG.splitlines())
    found = _facts(tmp_path, Completed(("dmesg",), 0, text, ""), {}).get(KernelLog)
    assert found == KernelLog(EXPECTED, "dmesg")
    assert found.matching("Xid", "No NVIDIA GPU") == (EXPECTED[3], EXPECTED[7])


def test_the_kernels_own_records(tmp_path: Path) -> None:
    lines = (line.partition("] ")[2] for line in DMESG.splitlines())
    records = "".join(f"6,{number},{number},-;{line}\n SUBSYSTEM=pci\n" for number, line in enumerate(lines))
    found = _facts(tmp_path, DENIED, {"/dev/kmsg": records, "/var/log/kern.log": "NVRM: not asked\n"}).get(KernelLog)
    assert found == KernelLog(EXPECTED, "/dev/kmsg")


def test_dmesg_of_busybox_may_print_levels(tmp_path: Path) -> None:
    found = _facts(tmp_path, Completed(("dmesg",), 0, "<4>[    3.7] NVRM: x\n<6>nvidia: y\n", ""), {}).get(KernelLog)
    assert found.lines == ("NVRM: x", "nvidia: y")


@pytest.mark.parametrize("form", ["Nov 23 20:01:02 gpu1 kernel: ", "2026-11-23T20:01:02.123456+00:00 gpu1 kernel: "])
@pytest.mark.parametrize("path", ["/var/log/kern.log", "/var/log/syslog", "/var/log/messages"])
def test_files_of_syslog_where_dmesg_is_for_root_alone(tmp_path: Path, path: str, form: str) -> None:
    text = _syslog(DMESG, form) + "Nov 23 20:02:00 gpu1 systemd[1]: Started nvidia-persistenced.service\n"
    assert _facts(tmp_path, DENIED, {path: text}).get(KernelLog) == KernelLog(EXPECTED, path)


def test_only_the_last_boot_counts(tmp_path: Path) -> None:
    before = _syslog("[    0.000000] Linux version 6.1.0-50-amd64\n[   50.0] NVRM: of the boot before\n")
    found = _facts(tmp_path, DENIED, {"/var/log/kern.log": before + _syslog(DMESG)}).get(KernelLog)
    assert found.lines == EXPECTED


def test_a_long_file_is_read_from_its_end(tmp_path: Path) -> None:
    filler = _syslog("[    7.0] usb 1-1: new device\n") * 40_000
    files = {"/var/log/kern.log": _syslog("[    6.0] NVRM: early\n") + filler + _syslog("[    8.0] NVRM: late\n")}
    assert _facts(tmp_path, DENIED, files).get(KernelLog).lines == ("NVRM: late",)


def test_where_nothing_can_be_read_the_reasons_are_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Operation not permitted; as root it can") as caught:
        _facts(tmp_path / "denied", DENIED, {"/var/log/syslog": ""}).get(KernelLog)
    assert not isinstance(caught.value, NotRunning)
    with pytest.raises(Unavailable, match="there is no dmesg"):
        _facts(tmp_path / "absent", None, {}).get(KernelLog)


def test_a_log_that_says_nothing_of_nvidia_is_an_answer(tmp_path: Path) -> None:
    found = _facts(tmp_path, Completed(("dmesg",), 0, "[    1.3] EXT4-fs (vda): mounted\n", ""), {}).get(KernelLog)
    assert found == KernelLog((), "dmesg")


def test_any_bytes_raise_nothing(tmp_path: Path) -> None:
    data = b"\xff\xfe[[[]]]\0 kernel: [\n kernel: NVRM: \xff\nkernel: [] nvidia\n kernel: <<>[ 1.2 ]nvidia\n"
    found = _facts(tmp_path, DENIED, {"/var/log/kern.log": data}).get(KernelLog)
    assert found.lines == ("NVRM: \udcff", "nvidia")


def test_a_log_on_a_disk_is_of_a_past_boot(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        facts_on(tmp_path, {"/var/log/kern.log": _syslog(DMESG)}).get(KernelLog)
