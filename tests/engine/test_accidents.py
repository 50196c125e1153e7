"""What nobody foresaw ends with 3, in a sentence: 1 would mean that the machine has warnings."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from command_line import GPUDOCTOR, Call, calls

from gpudoctor.cli import check as check_command
from gpudoctor.cli import explain as explain_command

MACHINES = Path(__file__).parents[1] / "machines"
BROKEN = str(MACHINES / "bookworm-kernel-upgraded-no-headers.json")
HEALTHY = MACHINES / "bookworm-healthy.json"
PLAN = Path(__file__).parents[1] / "preflight/data/bookworm-dist-upgrade.txt"
full_device = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


def _shell(words: str) -> "subprocess.CompletedProcess[str]":
    command = f"{' '.join(GPUDOCTOR)} {words}"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)


def _fail_with(error: Exception) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [IndexError("tuple index out of range"), EOFError("half a stream")])
def test_our_own_bug_ends_with_3_and_asks_to_be_reported(
    error: Exception, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, line in (
        (check_command, "render", ["check", "--snapshot", BROKEN]),
        (explain_command, "explain", ["explain", "gpu"]),  # through typer, which takes an EOFError for Ctrl-D
    ):
        monkeypatch.setattr(module, name, _fail_with(error))
        done = call(*line)
        assert (done.code, done.out) == (3, "")
        told = f"gpudoctor: our own bug ({type(error).__name__}: {error}): please report it with the lines above"
        assert done.err.splitlines()[-1] == told
        assert "Traceback" in done.err


@pytest.mark.parametrize("form", ["nagios", "npd"])
def test_monitors_hear_of_our_own_bug(form: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_command, "render", _fail_with(KeyError("x")))
    done = call("check", "--snapshot", BROKEN, "--format", form)
    assert done.code == 3
    assert "own bug" in done.out
    assert done.out.count("\n") == 1


PAGE = f"preflight --snapshot {HEALTHY} --simulation {PLAN} --format html"  # longer than what is printed at the end


@pytest.mark.parametrize("words", ["check --only nope", "check --nope", "triage /no/such/file", PAGE])
def test_nobody_listening_is_no_warning_of_the_machine(words: str) -> None:
    done = _shell(f"{words} 2>&1 | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (3, "")


@full_device
@pytest.mark.parametrize("words", ["--version", f"check --snapshot {BROKEN} --format npd", "explain"])
def test_a_full_disk_under_standard_output_is_said_in_words(words: str) -> None:
    done = _shell(f"{words} > /dev/full")
    assert (done.returncode, done.stderr) == (3, "gpudoctor: cannot print: No space left on device\n")


@pytest.mark.parametrize("words", ["triage PASTE", "diff SNAPSHOT SNAPSHOT", "fix --dry-run --snapshot SNAPSHOT"])
def test_an_output_without_a_name_is_a_mistake_everywhere(words: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "paste").write_text("RTX 4090\n")
    done = call(*words.replace("PASTE", str(tmp_path / "paste")).replace("SNAPSHOT", BROKEN).split(), "--output", "")
    assert (done.code, done.out, done.err) == (3, "", "gpudoctor: --output names no file\n")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_there_keeps_its_mode(mode: int, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("private\n")
    path.chmod(mode)
    assert call("check", "--snapshot", BROKEN, "--output", str(path)).code == 2
    assert "kernel.headers-missing" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_a_new_file_is_as_open_as_the_umask_says(umask: int, mode: int, call: Call, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        call("check", "--snapshot", BROKEN, "--output", str(tmp_path / "report"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report").stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_a_file_to_its_owner(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("ada's\n")
    os.chown(path, 1234, 4321)
    call("check", "--snapshot", BROKEN, "--output", str(path))
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "-inf", "0", "0.05"])
@pytest.mark.parametrize("command", ["check", "snapshot", "preflight", "fix --dry-run", "diff x.json"])
def test_what_is_no_time_to_wait_is_a_mistake(command: str, seconds: str, call: Call) -> None:
    done = call(*command.split(), f"--timeout={seconds}")
    assert (done.code, done.out) == (3, "")
    assert "a number of seconds, at least 0.1, not" in " ".join(done.err.split())
    assert "Traceback" not in done.err


@pytest.mark.parametrize("more", [[], ["--output", "OUT"]], ids=["printed", "written"])
def test_a_file_that_cannot_be_written_keeps_nothing_back(more: list[str], call: Call, tmp_path: Path) -> None:
    good, out = tmp_path / "good.json", tmp_path / "out"
    also = ["--also", f"json={tmp_path}/none/x", "--also", f"json={good}"]
    done = call("check", "--snapshot", BROKEN, *also, *(word.replace("OUT", str(out)) for word in more))
    assert (done.code, done.err) == (3, f"gpudoctor: cannot write {tmp_path}/none/x: No such file or directory\n")
    assert "kernel.headers-missing" in (out.read_text() if more else done.out)
    assert '"kernel.headers-missing"' in good.read_text()


@pytest.mark.parametrize("option", ["--baseline", "--save-baseline"])
def test_a_wrong_baseline_is_said_before_the_machine_is_looked_at(
    option: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "known.toml").write_text("nonsense = 1\n")
    monkeypatch.setattr(check_command, "diagnose_with", _fail_with(AssertionError("looked")))
    done = call("check", "--snapshot", BROKEN, option, str(tmp_path / "known.toml"))
    assert done.code == 3
    assert "there is no 'nonsense'" in done.err
    assert "looked" not in done.err


@pytest.mark.parametrize(
    "words",
    [
        "--also junit=F --also sarif=F",
        "--also junit=F --output F",
        "--also junit=F --output ./F",
        "--save-baseline F --output F",
        "--changed-since F --output F",
        "--baseline F --output F",
    ],
)
def test_no_file_is_written_over_another_of_the_same_run(
    words: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("check", "--snapshot", BROKEN, *words.split())
    assert (done.code, done.out) == (3, "")
    assert done.err.endswith("F is named twice: each file that is read or written is a file of its own\n")
    assert [*tmp_path.iterdir()] == []


def test_what_is_no_file_takes_all_that_comes(call: Call, tmp_path: Path) -> None:
    null = "/dev/null"
    assert call("check", "--snapshot", BROKEN, "--also", f"json={null}", "--output", null) == (2, "", "")
    known = str(tmp_path / "known.toml")
    assert call("check", "--snapshot", BROKEN, "--save-baseline", known, "--baseline", known).code == 3, "no such file"
    assert call("check", "--snapshot", BROKEN, "--save-baseline", known).code == 0
    assert call("check", "--snapshot", BROKEN, "--save-baseline", known, "--baseline", known).code == 0


def test_quiet_is_quiet_while_a_baseline_is_saved(call: Call, tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    assert call("check", "--snapshot", BROKEN, "--save-baseline", str(known), "--quiet") == (0, "", "")
    assert "kernel.headers-missing" in known.read_text()
