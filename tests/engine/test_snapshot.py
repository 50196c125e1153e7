"""A recording gives the same answers, and feeding a damaged one is a sentence, never a traceback."""

import json
import sqlite3
from pathlib import Path

import pytest
from command_line import gpudoctor

from gpudoctor.host import BadSource, Host, NotRecorded, NotRunning, Unavailable
from gpudoctor.machine import LiveHost, RootHost
from gpudoctor.redaction.redact import redacted
from gpudoctor.snapshot import RecordingHost, SnapshotHost, as_document, load

MACHINES = Path(__file__).parents[1] / "machines"


def _ask_everything(host: Host) -> list[object]:
    return [
        host.read("/etc/os-release"),
        host.read("/etc/os-release", last=3),
        host.read("/etc/none"),
        host.read_bytes("/etc/binary", 5),
        host.read_bytes("/etc/binary", 2, offset=-2),
        host.list("/etc"),
        host.list("/none"),
        host.link("/etc/link"),
        host.resolve("/etc/link"),
        host.status("/etc/binary"),
        host.query("/etc/db.sqlite", "select * from t where name = ?", ["a"]),
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "os-release").write_bytes(b"ID=debian\xff\n")
    (etc / "binary").write_bytes(b"\x06\x00\x00\x00\xff")
    (etc / "link").symlink_to("/etc/binary")
    with sqlite3.connect(etc / "db.sqlite") as connection:
        connection.execute("create table t (name, data, number, empty)")
        connection.execute("insert into t values ('a', x'ff00', 3, null)")
    return tmp_path


def test_a_recording_gives_the_same_answers(root: Path, tmp_path: Path) -> None:
    recorder = RecordingHost(RootHost(str(root)))
    answers = _ask_everything(recorder)
    assert answers == _ask_everything(RootHost(str(root)))
    free = recorder.free_bytes("/")
    assert free is not None
    (tmp_path / "snapshot.json").write_text(json.dumps(as_document(recorder.answers, "0")))
    assert _ask_everything(load(str(tmp_path / "snapshot.json"))) == answers
    assert load(str(tmp_path / "snapshot.json")).free_bytes("/") == free


def test_ignorance_is_recorded_with_its_reason_and_kind(root: Path) -> None:
    recorder = RecordingHost(RootHost(str(root)))
    with pytest.raises(NotRunning):
        recorder.read("/proc/modules")
    with pytest.raises(Unavailable):
        recorder.read("/etc")
    replay = SnapshotHost(recorder.answers)
    with pytest.raises(NotRunning, match="not running"):
        replay.read("/proc/modules")
    with pytest.raises(Unavailable, match="Is a directory") as caught:
        replay.read("/etc")
    assert not isinstance(caught.value, NotRunning)


def test_what_was_not_asked_is_unknown(root: Path) -> None:
    with pytest.raises(NotRecorded, match="not in the snapshot: read /etc/other"):
        SnapshotHost({}).read("/etc/other")


def test_what_was_not_asked_is_not_in_a_recording_of_a_recording_either(root: Path) -> None:
    first = RecordingHost(RootHost(str(root)))
    first.read("/etc/os-release")
    second = RecordingHost(SnapshotHost(first.answers))
    assert second.read("/etc/os-release")
    with pytest.raises(NotRecorded, match="read /etc/other"):
        second.read("/etc/other")
    assert second.answers == first.answers


def _recorded_before(tmp_path: Path, *paths: str) -> str:
    """A recorded machine in which nobody had asked for these paths yet."""
    machine = json.loads((MACHINES / "bookworm-healthy.json").read_text(encoding="utf-8"))
    answers = machine["answers"].items()
    machine["answers"] = {asked: answer for asked, answer in answers if not any(path in asked for path in paths)}
    (tmp_path / "old.json").write_text(json.dumps(machine), encoding="utf-8")
    return str(tmp_path / "old.json")


def test_what_an_old_snapshot_does_not_have_is_one_line_of_the_report(tmp_path: Path) -> None:
    path = _recorded_before(tmp_path, "dockerd", "nvidia-ctk", "/etc/cdi", "/var/lib/dpkg/status")
    outcomes = json.loads(gpudoctor("check", "--snapshot", path, "--format", "json").stdout)["outcomes"]
    unknown = {outcome["check"]: outcome for outcome in outcomes if outcome.get("not_recorded")}
    assert {outcome["status"] for outcome in unknown.values()} == {"unknown"}
    assert unknown["container.docker-snap"]["reason"] == "not in the snapshot: status /usr/bin/dockerd"
    assert unknown["container.cdi-stale"]["reason"].startswith("not in the snapshot: ")
    assert any(check.startswith("packages.") for check in unknown)
    text = " ".join(gpudoctor("check", "--snapshot", path).stdout.split())
    words = "not in the snapshot: gpudoctor did not ask for this when it was recorded"
    assert f"unknown {len(unknown)} checks: {words}" in text
    assert text.count("not in the snapshot") == 1


def test_few_checks_that_an_old_snapshot_cannot_tell_are_named(tmp_path: Path) -> None:
    path = _recorded_before(tmp_path, "dockerd")
    only = ("--only", "container.docker-snap", "--only", "container.docker-desktop")
    text = " ".join(gpudoctor("check", "--snapshot", path, *only).stdout.split())
    assert "unknown 2 checks: not in the snapshot" in text
    assert "when it was recorded (container.docker-desktop, container.docker-snap)" in text


def test_commands_and_probes_are_replayed_and_never_run(tmp_path: Path) -> None:
    recorder = RecordingHost(LiveHost())
    done = recorder.run(["sh", "-c", "echo $$; exit 3"])
    absent = recorder.run(["no-such-program-anywhere"])
    answers = recorder.probe(["processes"])
    replay = SnapshotHost(json.loads(json.dumps(recorder.answers)))
    assert replay.run(["sh", "-c", "echo $$; exit 3"]) == done
    assert absent is None
    assert replay.run(["no-such-program-anywhere"]) is None
    assert replay.probe(["processes"]) == answers
    marker = tmp_path / "ran"
    with pytest.raises(Unavailable):
        replay.run(["touch", str(marker)])
    assert not marker.exists()


@pytest.mark.parametrize(
    "answer", [3, ["file", "x"], {"base64": "!"}, {"unavailable": 3}, "not base64 ü", True], ids=repr
)
def test_a_damaged_answer_is_unknown(answer: object) -> None:
    answers = dict.fromkeys(("bytes /x 5", "status /x", "query /x select", "run a", "probe nvml", "free /y"), answer)
    host = SnapshotHost(answers)  # type: ignore[arg-type]
    for ask in (
        lambda: host.read_bytes("/x", 5),
        lambda: host.status("/x"),
        lambda: host.run(["a"]),
        lambda: host.probe(["nvml"]),
    ):
        with pytest.raises(Unavailable):
            ask()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a snapshot"),
        (b"\x00\xff\xfe", "not a snapshot"),
        (b"[1, 2]", "not a snapshot"),
        (b'{"answers": {}}', "not a snapshot"),
        (b'{"schema": 99, "answers": {}}', "schema 99"),
        (b"[" * 100_000, "not a snapshot"),
        (b'{"schema": 1, "answers": {"probe nvml": {"answer": {"power_w": NaN}}}}', "not a snapshot: NaN is no number"),
    ],
)
def test_a_file_that_is_no_snapshot(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(BadSource, match=said):
        load(str(path))
    with pytest.raises(BadSource, match="No such file"):
        load(str(tmp_path / "missing.json"))


def test_redaction_is_consistent_and_keeps_what_the_checks_judge_by() -> None:
    uuid = "GPU-11111111-2222-3333-4444-555555555550"
    answers = {
        "read /proc/sys/kernel/hostname": "secretbox\n",
        "read /a": f"{uuid} of anna@example.org in /home/anna/x on secretbox, NVIDIA <cudatools@nvidia.com>",
        "read /b": f"again {uuid}",
        "probe nvml": {"answer": {"gpus": [{"serial": "1320000000001", "uuid": uuid}]}},
    }
    text = json.dumps(redacted(answers))  # type: ignore[arg-type]
    for secret in (uuid, "anna", "secretbox", "1320000000001"):
        assert secret not in text
    assert text.count("GPU-00000000-0000-0000-0000-000000000001") == 3
    assert "cudatools@nvidia.com" in text


def test_logs_and_accounts_lose_what_no_check_looks_at() -> None:
    answers = {
        "read /dev/kmsg": "6,1,1,-;usb 1-1: SerialNumber: SECRET1\n4,2,2,-;NVRM: Xid (PCI:0000:04:00): 79\n",
        "run dmesg": {"exit_code": 0, "stdout": "usb SECRET2\nnvidia: loading\n", "stderr": ""},
        "read /var/log/syslog last 1048576": "Nov 23 box sshd[1]: SECRET3 logged in\nNov 23 box kernel: NVRM: x\n",
        "read /etc/passwd": "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000:Anna SECRET4:/home/anna:/bin/sh\n",
        "read /etc/group": "video:x:44:anna\nanna:x:1000:\n",
        "run nvidia-smi -q -x": {
            "exit_code": 0,
            "stdout": "<gpu><serial>SECRET5</serial><name>A100</name><process_name>/opt/SECRET6</process_name></gpu>",
            "stderr": "",
        },
        "read /boot/grub/grub.cfg": "password_pbkdf2 x grub.pbkdf2.sha512.10000.SECRET7.00\n",
    }
    text = json.dumps(redacted(answers))  # type: ignore[arg-type]
    assert "SECRET" not in text
    assert "anna" not in text.lower()
    for kept in ("Xid (PCI:0000:04:00): 79", "nvidia: loading", "kernel: NVRM: x", "root:x:0:0", "video:x:44", "A100"):
        assert kept in text


def test_of_the_package_database_only_what_is_judged_by_is_left() -> None:
    status = (
        "Package: secret-tool\nStatus: install ok installed\nVersion: 1\nDescription: SECRET\n\n"
        "Package: libcuda1\nStatus: install ok installed\nVersion: 535.309.01-0+deb12u1\nDescription: long SECRET\n\n"
        "Package: anything\nStatus: install ok half-configured\nVersion: 2\n\n"
    )
    (text,) = redacted({"read /var/lib/dpkg/status": status}).values()
    assert isinstance(text, str)
    assert "secret" not in text.lower()
    assert "Version: 535.309.01-0+deb12u1" in text
    assert "Package: anything\nStatus: install ok half-configured\n" in text


def test_environments_lose_names_and_secrets_in_answers_and_questions() -> None:
    site = "/home/anna/venv/lib/python3.11/site-packages"
    answers = {
        "read /proc/self/environ": "\0".join(
            ("HOME=/home/anna", "PYENV_ROOT=/home/anna/.pyenv", "HF_TOKEN=SECRET1", "CUDA_HOME=/opt/c")
        ),
        "read /proc/self/cmdline": "/home/anna/venv/bin/python\0--password=SECRET2\0",
        "list /home": ["anna", "bert"],
        "read /home/anna/.bashrc": "alias x=SECRET3\nexport CUDA_HOME=/opt/c\nexport API_KEY=SECRET4\n",
        f"read {site}/torch-2.9.1.dist-info/METADATA first 4096": "Name: torch\nVersion: 2.9.1\nAuthor: SECRET5\n\nx",
        f"read {site}/x.dist-info/direct_url.json first 4096": '{"url": "https://me:SECRET6@host/a/x-1.0-py3-none-any.whl"}',
        "read /home/anna/.local/share/jupyter/kernels/k/kernel.json": '{"argv": ["/home/anna/venv/bin/python"], '
        '"env": {"TOKEN": "SECRET7"}}',
        f"resolve {site}": site,
    }
    found = redacted(answers)  # type: ignore[arg-type]
    text = json.dumps(found)
    assert "SECRET" not in text
    assert "anna" not in text
    assert "bert" not in text
    # What is replaced is replaced alike everywhere, so that a replay finds its answers.
    assert found["read /proc/self/environ"] == "HOME=/home/user1\0PYENV_ROOT=/home/user1/.pyenv\0CUDA_HOME=/opt/c\0"
    assert found["list /home"] == ["user1", "user2"]
    place = site.replace("anna", "user1")
    assert found[f"resolve {place}"] == place
    assert found["read /home/user1/.bashrc"] == "\nexport CUDA_HOME=/opt/c\n\n"
    assert found[f"read {place}/torch-2.9.1.dist-info/METADATA first 4096"] == "Name: torch\nVersion: 2.9.1\n\n"


def test_a_home_elsewhere_is_redacted_too() -> None:
    answers = {
        "read /proc/self/environ": "HOME=/data/people/anna\0PATH=/data/people/anna/bin:/usr/bin\0",
        "list /data/people/anna/.pyenv/versions": ["3.11.7"],
    }
    found = redacted(answers)  # type: ignore[arg-type]
    assert "anna" not in json.dumps(found)
    assert found["list /home/user1/.pyenv/versions"] == ["3.11.7"]


def test_a_file_without_end_is_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpudoctor.snapshot._LONGEST", 1000)
    with pytest.raises(BadSource, match="/dev/zero: not a snapshot"):
        load("/dev/zero")
