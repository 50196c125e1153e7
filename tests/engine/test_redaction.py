"""Nothing in a snapshot tells whose machine it is, and what the checks judge by is still there."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from healthy_containers import h200_pod, operator_node
from healthy_debian import ubuntu_laptop
from healthy_machines import Running
from healthy_places import hypervisor, wsl
from healthy_rolling import arch
from healthy_rpm import rocky_dkms
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_machines import (
    COLLEAGUE,
    DISK_UUID,
    DOMAIN,
    FULL_NAME,
    INNOCENT,
    IPV4,
    IPV6,
    MAC,
    MACHINE,
    MAIL,
    PERSON,
    SECRETS,
    SERIAL,
    TOKENS,
    UUID,
    leaks,
    machine_full_of_secrets,
)

from gpudoctor.cli import run
from gpudoctor.cli import snapshot as command
from gpudoctor.cli.check import diagnose_with
from gpudoctor.findings import Report
from gpudoctor.host import Host
from gpudoctor.redaction.redact import redacted
from gpudoctor.redaction.words import Secrets, secrets_told_by
from gpudoctor.registry import Facts
from gpudoctor.snapshot import Json, RecordingHost, load


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return machine_full_of_secrets(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def snapshot(machine: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `gpudoctor snapshot` writes it."""
    path = tmp_path_factory.mktemp("snapshot") / "machine.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "open_host", lambda *_: machine)
        assert command.snapshot(str(path), None, None, 20.0, ()) == 0
    return path


def _report(host: Host) -> Report:
    return diagnose_with(Facts(host))


def test_the_machine_tells_its_secrets_without_redaction(machine: Host) -> None:
    recorder = RecordingHost(machine)
    _report(recorder)
    told = json.dumps(recorder.answers)
    assert set(leaks(told)) >= {*SECRETS} - {COLLEAGUE, FULL_NAME, "Franklin"}  # those only /etc/passwd tells


def test_a_machine_full_of_secrets_leaves_none_in_the_file(snapshot: Path) -> None:
    text = snapshot.read_text()
    answers = json.loads(text)["answers"]
    told = {secret: [q for q, a in answers.items() if leaks(json.dumps([q, a]), [secret])] for secret in leaks(text)}
    assert told == {}


def test_nor_does_a_mounted_disk_of_it_at_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    machine_full_of_secrets(tmp_path / "disk")
    path = tmp_path / "disk.json"
    assert run(["snapshot", "--root", str(tmp_path / "disk"), "-o", str(path)]) == 0
    assert capfd.readouterr().out == ""
    # That this folder is called like a secret only the variables of the running machine tell.
    assert leaks(path.read_text(), [secret for secret in SECRETS if secret != TOKENS["CLIENT_SECRET"]]) == []
    assert "nvidia-kernel-dkms" in path.read_text()


def test_what_checks_judge_by_is_still_there(snapshot: Path) -> None:
    text = snapshot.read_text()
    assert [word for word in INNOCENT if word not in text] == []


def test_a_replay_gives_the_same_outcomes(machine: Host, snapshot: Path) -> None:
    before, after = _report(machine), _report(load(str(snapshot)))
    assert before.findings
    assert [(o.check.id, o.status, o.matters) for o in after.outcomes] == [
        (o.check.id, o.status, o.matters) for o in before.outcomes
    ]
    assert [(r.check.id, r.severity, r.explains, len(r.finding.evidence)) for r in after.findings] == [
        (r.check.id, r.severity, r.explains, len(r.finding.evidence)) for r in before.findings
    ]


def test_redacting_once_more_changes_nothing(snapshot: Path) -> None:
    answers = json.loads(snapshot.read_text())["answers"]
    again = redacted(answers)
    assert {q: (answers[q], again.get(q)) for q in answers if again.get(q) != answers[q]} == {}
    assert again.keys() == answers.keys()


# One line for every kind of secret, as a log, a setting or a comment would have it.
_LINE = (
    f"{PERSON}@{MACHINE}.{DOMAIN} said to {MAIL} from {IPV4}:22, [{IPV6}], {MAC}: {UUID} {DISK_UUID} serial {SERIAL} "
    f"/home/{COLLEAGUE}/x HF_TOKEN={TOKENS['HF_TOKEN']} password: {TOKENS['MYSQL_PASSWORD']} "
    f"https://{PERSON}:{TOKENS['CLIENT_SECRET']}@{DOMAIN}/"
)
_PLANTED = tuple(secret for secret in SECRETS if secret in _LINE)


def _everywhere(value: Json, question: str) -> Json:
    """With that line in every text of an answer."""
    match value:
        case str() if question.startswith("bytes "):
            data = base64.b64decode(value)
            # Four numbers in a file that is no text are a version: no address is looked for there.
            line = f"\0{_LINE.replace(IPV4, '')}" if (data and not data.isascii()) or b"\0" in data else _LINE
            return base64.b64encode(data + line.encode()).decode()
        case str():
            return f"{value}\n{_LINE}\n"
        case list():
            return [*(_everywhere(item, question) for item in value), _LINE]
        case dict():
            return {name: _everywhere(item, question) for name, item in value.items()} | {_LINE: _LINE}
        case _:
            return value


_OTHERS = (rocky_dkms, arch, operator_node, wsl, hypervisor)


@pytest.mark.parametrize(
    "kind", [ubuntu_laptop, h200_pod, *(pytest.param(kind, marks=pytest.mark.slow) for kind in _OTHERS)]
)
def test_whatever_is_asked_of_whatever_machine(tmp_path: Path, kind: Callable[[Path, int], Running]) -> None:
    recorder = RecordingHost(kind(tmp_path, 0))
    _report(recorder)
    told = Secrets(people=(PERSON,), machines=(f"{MACHINE}.{DOMAIN}",), serials=(SERIAL,))
    planted = {question: _everywhere(answer, question) for question, answer in recorder.answers.items()}
    kept = redacted(planted, told)
    assert {
        q: leaks(json.dumps([q, a]), _PLANTED) for q, a in kept.items() if leaks(json.dumps([q, a]), _PLANTED)
    } == {}
    assert redacted(kept) == kept


@pytest.mark.parametrize(
    "text",
    [
        "nvidia-cudnn-cu12==9.10.2.21",
        "nvidia_cublas_cu12-12.4.127.1.dist-info",
        "Version: 10.3.5.147",
        "libcudnn9-cuda-12:amd64 (9.10.2.21-1, 9.11.0.98-1)",
        "libcudnn.so.9.10.2.21",
        "5.15.153.1-microsoft-standard-WSL2",
        "%VERSION%\n10.3.5.147-1\n",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08",
        "0000:07:00.0 20:26:27 c10::cuda std::string 92.00.45.00.03 127.0.0.1 0.0.0.0 ::1",
        "Maintainer: NVIDIA CORPORATION <cudatools@nvidia.com>",
        "https://developer.download.nvidia.com/compute/cuda/repos",
        "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
        "/user.slice/user-1000.slice/user@1000.service",
        "module verification failed: signature and/or required key missing - tainting kernel",
        "Start-Date: 2026-11-22  22:06:40",
        "apt install --allow-change-held-packages --no-remove nvidia-driver-580",
        "/usr/share/doc/glibc-doc-reference glib-networking-common",
        '/build/nvidia/os-mlock.c:1153: error: missing binary operator before token "("',
        "Upgrade: passwd:amd64 (1:4.13+dfsg1-1, 1:4.13+dfsg1-2)",
    ],
)
def test_look_alikes_stay(text: str) -> None:
    assert redacted({"read /x": text}) == {"read /x": text}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("NCCL_COMM_ID=10.1.2.3:4", "NCCL_COMM_ID=192.0.2.1:4"),
        ("ip=10.1.2.3::10.1.2.1:255.255.0.0", "ip=192.0.2.1::192.0.2.2:255.255.0.0"),
        ("from 10.1.2.3, from 10.1.2.3", "from 192.0.2.1, from 192.0.2.1"),
        ("[fe80::d85e:d3ff:fe2a:917c]:22", "[2001:db8::1]:22"),
        ("AA:BB:CC:DD:EE:FF", "02:00:00:00:00:01"),
        ("GPU-AB000000-1111-2222-3333-444444444444", "GPU-00000000-0000-0000-0000-000000000001"),
        ("https://me:pa55-Word@github.com/simple", "https://redacted-2@github.com/simple"),
        ("http://proxy.corp.example.com:3128", "http://host1.redacted.invalid:3128"),
        ("Authorization: Bearer abcdefghijkl.mnop", "Authorization: Bearer redacted-1"),
        ("--api-key='abc' ", "--api-key='redacted-1' "),
        ("train.py --wandb-key abcdef0123 --lr 0.1", "train.py --wandb-key redacted-1 --lr 0.1"),
        ("password ada word\nx", "password ada redacted-1\nx"),
        ("NGC nvapi-AbCdEf1234567890-AbCdEf12345678 x", "NGC redacted-1 x"),
        ("login dckr_pat_AbCdEf1234567890AbCd", "login redacted-1"),
        ("vault hvs.CAESIAbCdEf1234567890AbCd", "vault redacted-1"),
        ("https://github.com/f?sv=2022&sig=AbC%2Bdef%3D&x", "https://github.com/f?sv=2022&sig=redacted-1&x"),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\nZXktdjE=\n-----END OPENSSH PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nredacted-1\n-----END OPENSSH PRIVATE KEY-----",
        ),
        ('TF_CONFIG=["gpu7.example.net:2222"]', 'TF_CONFIG=["host1.redacted.invalid:2222"]'),
        ("40 1 0:9 / / rw - nfs4 filer:/export rw", "40 1 0:9 / / rw - nfs4 host1.redacted.invalid:/export rw"),
        ("Requested-By: jo (1000)", "Requested-By: user1 (1000)"),
        (r"C:\Users\jo\x /mnt/c/Users/jo/x", r"C:\Users\user1\x /mnt/c/Users/user1/x"),
    ],
)
def test_each_kind_is_replaced_by_something_of_its_kind(text: str, kept: str) -> None:
    assert redacted({"read /x": text}) == {"read /x": kept}


def test_an_everyday_name_is_not_taken_out_of_other_words() -> None:
    answers: dict[str, Json] = {
        "read /etc/os-release": "ID=ubuntu\nVERSION_ID=24.04\n",
        "resolve /home/ubuntu/cuda": "/home/ubuntu/cuda",
    }
    kept = redacted(answers, Secrets(people=("ubuntu",), machines=("ubuntu",)))
    assert kept == {
        "read /etc/os-release": "ID=ubuntu\nVERSION_ID=24.04\n",
        "resolve /home/user1/cuda": "/home/user1/cuda",
    }


def test_the_beginning_of_a_uuid_stays_that_of_its_gpu() -> None:
    whole = [f"GPU-{number}aaabbbb-1111-2222-3333-444444444444" for number in (1, 2)]
    kept = redacted({"read /a": "CUDA_VISIBLE_DEVICES=GPU-2aaabbbb,GPU-3aaa", "read /b": " ".join(whole)})
    first, second = str(kept["read /b"]).split()
    assert first != second
    assert str(kept["read /a"]).startswith(f"CUDA_VISIBLE_DEVICES={second},GPU-0000")
    assert "3aaa" not in str(kept)


def test_two_people_stay_two_also_where_one_is_called_like_a_replacement() -> None:
    kept = redacted({"list /home": ["anna", "bert", "user1"]})
    assert kept == {"list /home": ["user2", "user3", "user1"]}


@given(
    names=st.lists(st.from_regex(r"[a-z][a-z0-9]{2,11}", fullmatch=True), min_size=1, max_size=3, unique=True),
    before=st.sampled_from(["/home/", "owner=", "\n", "(", "x/", "\0", "%2F"]),
    binary=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_the_same_word_is_replaced_alike_in_text_and_in_binary_files(
    names: list[str], before: str, binary: bool
) -> None:
    text = "".join(f"{before}{name}/lib " for name in names)
    data = (b"\x7fELF\0\x01" if binary else b"") + text.encode()
    answers: dict[str, Json] = {
        "bytes /x 4096": base64.b64encode(data).decode(),
        "read /y": text,
        f"link /{text}": text,
    }
    kept = redacted(answers, Secrets(people=tuple(names)))
    inside = base64.b64decode(str(kept["bytes /x 4096"]))
    assert inside.removeprefix(b"\x7fELF\0\x01").decode() == kept["read /y"]
    assert f"link /{kept['read /y']}" in kept
    assert not binary or len(inside) == len(data)
    assert redacted(kept) == kept


def test_the_machine_is_asked_for_its_names_and_they_are_not_recorded(tmp_path: Path) -> None:
    host = machine_full_of_secrets(tmp_path)
    told = secrets_told_by(host)
    assert told.machines == (MACHINE, f"{MACHINE}.{DOMAIN}")
    assert {PERSON, COLLEAGUE, FULL_NAME} <= {*told.people}
