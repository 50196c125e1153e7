"""SELinux's mode, booleans and denials, as the kernel and auditd write them."""

from pathlib import Path

import pytest
from disk_trees import disk

from gpudoctor import Unavailable
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.selinux import Selinux, denials_in, type_of
from gpudoctor.facts.system import Boot
from gpudoctor.redaction.redact import redacted
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost
from gpudoctor.testing import MachineTree

load_plugins()
TARGET = "tcontext=system_u:object_r:xserver_misc_device_t:s0 tclass=chr_file permissive=0"
SOURCE = "scontext=system_u:system_r:container_t:s0:c380,c597"
BY_AUDITD = (
    'type=AVC msg=audit(1684465329.146:352): avc:  denied  { read write } for  pid=11032 comm="nvidia-smi" '
    f'name="nvidiactl" dev="devtmpfs" ino=892 {SOURCE} {TARGET}'
)
BY_KERNEL = (
    'audit: type=1400 audit(1684465400.001:7): avc:  denied  { map } for  pid=9 comm="python" '
    f'path="/dev/nvidia0" dev="devtmpfs" ino=893 {SOURCE} {TARGET}'
)
OTHERS = 'type=CRED_ACQ msg=audit(1684465329.146:351): pid=1 uid=0 acct="ada" hostname=vault.example.com res=success\n'
LOG = "/var/log/audit/audit.log"


def machine(folder: Path, enforce: str = "1", **more: str) -> MachineTree:
    files = {
        "/sys/fs/selinux/enforce": enforce,
        "/sys/fs/selinux/booleans/container_use_devices": "0 0",
        "/proc/self/attr/current": "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\0",
        LOG: f"{OTHERS}{BY_AUDITD}\n",
        **more,
    }
    disk(folder, files)
    return MachineTree(str(folder))


def found_on(host: object, log: object = KernelLog((BY_KERNEL,), "dmesg"), since: float = 0.0) -> Selinux:
    return Facts(host, {KernelLog: log, Boot: Boot(since)}).get(Selinux)  # type: ignore[arg-type]


def test_both_logs_are_read(tmp_path: Path) -> None:
    found = found_on(machine(tmp_path))
    assert (found.mode, found.label, found.booleans, found.unread) == (
        *("enforcing", "unconfined_t"),
        {"container_use_devices": False},
        "",
    )
    assert [(denial.path, denial.permissions, denial.command, denial.where) for denial in found.denials] == [
        ("/dev/nvidia0", ("map",), "python", "dmesg"),
        ("/dev/nvidiactl", ("read", "write"), "nvidia-smi", LOG),
    ]
    assert {(denial.source, denial.target) for denial in found.denials} == {("container_t", "xserver_misc_device_t")}


def test_denials_of_an_earlier_boot_are_history(tmp_path: Path) -> None:
    assert found_on(machine(tmp_path), KernelLog((), "dmesg"), since=1684465330.0).denials == ()


def test_permissive_denies_nothing_and_no_log_is_read(tmp_path: Path) -> None:
    recorder = RecordingHost(machine(tmp_path, "0"))
    assert found_on(recorder) == Selinux("permissive", "unconfined_t", {}, (), "")
    assert not [question for question in recorder.answers if LOG in question]


def test_no_selinux(tmp_path: Path) -> None:
    disk(tmp_path, {"/proc/self/attr/current": "docker-default (enforce)\n"})
    assert found_on(MachineTree(str(tmp_path))) == Selinux("", "", {}, (), "")


def test_a_log_that_is_for_root_alone(tmp_path: Path) -> None:
    class Closed(MachineTree):
        def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
            if path == LOG:
                raise Unavailable(f"{path}: Permission denied")
            return super().read_bytes(path, limit, offset=offset)

    machine(tmp_path)
    found = found_on(Closed(str(tmp_path)))
    assert found.unread == f"{LOG}: Permission denied"
    assert len(found.denials) == 1


def test_of_auditds_log_a_snapshot_keeps_what_is_judged(tmp_path: Path) -> None:
    recorder = RecordingHost(machine(tmp_path))
    found = found_on(recorder)
    kept = redacted(recorder.answers)
    assert "vault.example.com" not in str(kept)
    assert found_on(SnapshotHost(kept)) == found


@pytest.mark.parametrize(
    "line",
    [
        BY_AUDITD.replace("permissive=0", "permissive=1"),  # it was let through
        BY_AUDITD.replace("{ read write }", "{ getattr }"),
        BY_AUDITD.replace("nvidiactl", "nvidia-modeset"),
        BY_AUDITD.replace("nvidiactl", "renderD128"),
        BY_AUDITD.replace("tclass=chr_file", "tclass=file"),
        BY_AUDITD.replace("denied", "granted"),
    ],
)
def test_lines_that_are_no_denial_of_computing(line: str) -> None:
    assert denials_in([line], LOG) == []


def test_types() -> None:
    assert type_of("system_u:system_r:container_t:s0:c1,c2") == "container_t"
    assert type_of("unconfined") == ""
    assert type_of("docker-default (enforce)") == ""
