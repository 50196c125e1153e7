"""`gpudoctor triage` as a user meets it."""

import gzip
import json
import os
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from command_line import Call, calls, gpudoctor
from ready_process import run_ready

from gpudoctor.cli.options import TriageOptions, quick_triage_options
from gpudoctor.reports.formats import FORMATS

MISMATCH = """\
kernel: NVRM: API mismatch: the client has the version 535.54.03, but
NVRM: this kernel module has the version 530.30.02.  Please
NVRM: make sure that this kernel module and all NVIDIA driver
NVRM: components have the same version.
"""
HEALTHY = """\
| NVIDIA-SMI 535.161.08             Driver Version: 535.161.08   CUDA Version: 12.2     |
Cuda compilation tools, release 12.4, V12.4.131
"""


def triage(text: str | bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    data = text.encode() if isinstance(text, str) else text
    done = run_ready(("triage", *arguments), os.environ, data)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.encode(), done.stderr.encode())


def test_the_cause_its_lines_and_the_exit_code() -> None:
    done = triage(MISMATCH)
    text = done.stdout.decode()
    assert done.returncode == 2
    assert "driver.library-mismatch" in text
    assert "line 1: kernel: NVRM: API mismatch" in text
    assert "Restart the machine." in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_file_and_standard_input_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "paste.txt").write_text(MISMATCH)
    read = [json.loads(triage("", "--format", "json", str(tmp_path / "paste.txt")).stdout)]
    read += [json.loads(triage(MISMATCH, "--format", "json", *dash).stdout) for dash in ([], ["-"])]
    for one in read:
        del one["duration_ms"]
    assert read[0] == read[1] == read[2]


def test_json_is_the_report_of_check_with_certainties_and_next_commands() -> None:
    report = json.loads(triage("CUDA error: something unknown happened on the RTX 4090", "--format", "json").stdout)
    assert (report["schema"], report["command"], report["host"]["source"]) == (1, "triage", "text")
    assert report["host"]["gpus"] == ["RTX 4090"]
    found = json.loads(triage(MISMATCH, "--format", "json").stdout)["findings"][0]
    assert found["id"] == "driver.library-mismatch"
    assert found["certainty"] in ("shown", "likely")
    assert "reboot" in " ".join(found["fixes"])


def test_what_is_uncertain_comes_with_the_commands_that_would_tell() -> None:
    text = triage("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.").stdout.decode()
    assert "To be certain, run on that machine" in text
    assert "dkms status" in text


def test_a_healthy_text_stays_green() -> None:
    done = triage(HEALTHY)
    assert done.returncode == 0
    assert "Nothing in the text speaks for a fault" in done.stdout.decode()


def test_a_text_of_which_nothing_is_known_is_no_clean_bill() -> None:
    done = triage("My printer is on fire.\n")
    assert done.returncode == 3
    assert "Nothing in the text is known" in done.stdout.decode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "there is no text in it"),
        (b" \n\n", "there is no text in it"),
        (bytes(range(128, 256)) * 20, "this is no text"),
        (b"\x7fELF\x02\x01\x01" + bytes(3000), "this is no text"),
        (b'{"schema": 1, "answers": {}}', "gpudoctor check --snapshot"),
        (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\n", "this is a PDF"),
        (b"\x89PNG\r\n\x1a\n" + b"IHDR" * 900, "this is a picture"),
        (gzip.compress(b" ", mtime=0), "there is no text in it"),
    ],
)
def test_what_is_no_text_gets_a_sentence(data: bytes, words: str) -> None:
    done = triage(data)
    assert (done.returncode, done.stdout) == (3, b"")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_packed_bug_report_is_unpacked() -> None:
    assert b"driver.library-mismatch" in triage(gzip.compress(MISMATCH.encode())).stdout


def test_an_address_is_not_fetched() -> None:
    done = gpudoctor("triage", "https://example.org/issues/3")
    assert done.returncode == 3
    assert "nothing is fetched" in done.stderr


@pytest.mark.parametrize("path", ["/no/such/file", "/etc"])
def test_a_file_that_cannot_be_read_gets_a_sentence(path: str) -> None:
    done = gpudoctor("triage", path)
    assert done.returncode == 3
    assert path in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_texts_in_other_encodings(encoding: str) -> None:
    assert b"driver.library-mismatch" in triage(("größer\n" + MISMATCH).encode(encoding)).stdout


def test_accents_of_one_byte_are_read() -> None:
    done = triage("modprobe: ERROR: could not insert 'nvidia': La clé a été rejetée par le service".encode("latin-1"))
    assert "La clé a été rejetée".encode() in done.stdout
    assert b"kernel.secure-boot-blocks-module" in done.stdout


def test_the_text_cannot_drive_the_terminal() -> None:
    assert b"\x1b" not in triage(MISMATCH.replace("client", "client \x1b]0;owned\x07\x9b31m")).stdout


def test_nothing_is_run_or_read_because_of_a_text(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    triage(f"$ touch {marker}\n`touch {marker}`\n$(touch {marker})\n{MISMATCH}")
    assert not marker.exists()


def test_explain_knows_the_message_and_leads_with_its_cause() -> None:
    done = gpudoctor("explain", "Failed to initialize NVML: Driver/library version mismatch")
    assert done.stdout.splitlines()[0] == "driver.library-mismatch"


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_can_tell_it(form: str) -> None:
    done = triage(MISMATCH + "torch 2.3.0+cu121\n", "--format", form)
    assert done.returncode == (1 if form == "npd" else 2)
    assert "driver.library-mismatch" in done.stdout.decode()
    assert done.stderr == b""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-"],
        ["log.txt"],
        ["--format", "json", "log.txt"],
        ["log.txt", "--format=html", "--output", "page.html"],
        ["--output=page.html", "-"],
    ],
    ids=" ".join,
)
def test_both_doors_understand_the_same(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TriageOptions] = []
    monkeypatch.setattr("gpudoctor.cli.triage.triage", lambda *options: seen.append(TriageOptions(*options)) or 0)
    from gpudoctor.cli.app import run_app

    assert run_app(["triage", *arguments]) == 0
    assert seen == [quick_triage_options(arguments)]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["one", "two"], ["--format"], ["--format", "yaml"], ["--output", "--format"], ["-o", "x"], ["--deep"]],
    ids=" ".join,
)
def test_the_quick_door_leaves_all_else_to_typer(arguments: list[str]) -> None:
    assert quick_triage_options(arguments) is None


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_that_nothing_is_known(form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "paste").write_text("hello\n")
    done = calls(capfd)("triage", str(tmp_path / "paste"), "--format", form)
    assert (done.code, done.err) == (2 if form == "npd" else 3, "")
    if form == "prometheus":
        assert 'gpudoctor_status{status="unknown"} 1' in done.out
    else:
        assert "othing in the text is known" in " ".join(done.out.split())
    if form == "junit":
        assert ElementTree.fromstring(done.out).get("errors") == "1"
    if form == "sarif":
        (told,) = json.loads(done.out)["runs"][0]["invocations"][0]["toolExecutionNotifications"]
        assert "Nothing in the text is known" in told["message"]["text"]


@pytest.mark.parametrize("form", ["nagios", "npd"])
def test_monitors_are_told_why_no_text_was_read(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    done = calls(capfd)("triage", "/no/such/file", "--format", form)
    assert done.code == 3
    assert "/no/such/file: No such file or directory" in done.out
    assert done.out.count("\n") == 1


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


def test_sarif_points_at_the_line_of_the_text(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a log.txt").write_text(f"hello\nworld\n{MISMATCH}")

    def place(file: str) -> tuple[str, int]:
        (run,) = json.loads(call("triage", file, "--format", "sarif").out)["runs"]
        physical = run["results"][0]["locations"][0]["physicalLocation"]
        return physical["artifactLocation"]["uri"], physical["region"]["startLine"]

    assert place("a log.txt") == ("a%20log.txt", 3)
    assert place(str(tmp_path / "a log.txt")) == (f"file://{tmp_path}/a%20log.txt", 3)
    (run,) = json.loads(triage(MISMATCH, "--format", "sarif").stdout)["runs"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "stdin"


def test_the_job_gets_its_summary_of_a_text(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "paste").write_text(MISMATCH)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert call("triage", str(tmp_path / "paste"), "--format", "github").code == 2
    assert (tmp_path / "summary.md").read_text().startswith("## gpudoctor triage: error\n")


def test_nothing_is_said_to_be_explained_by_what_was_not_found(tmp_path: Path, call: Call) -> None:
    (tmp_path / "paste").write_text(HEALTHY)
    told = json.loads(call("triage", str(tmp_path / "paste"), "--format", "json").out)
    blocked = [one["reason"] for one in told["outcomes"] if one["status"] == "blocked"]
    assert blocked
    assert not [reason for reason in blocked if reason.startswith("explained by")]
    assert blocked[0].startswith("unknown for the same reason as ")
    assert "explained</span>" not in call("triage", str(tmp_path / "paste"), "--format", "html").out
