"""The command line as a user meets it: both doors to `check`, exit codes, bad input, pure output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import GPUDOCTOR, gpudoctor

from gpudoctor.cli import prepared_help
from gpudoctor.cli.options import CheckOptions, quick_check_options
from gpudoctor.reports.formats import FORMATS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small Debian without any driver."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/boot").mkdir()
    (tmp_path / "root/boot/vmlinuz-6.1.0-50-amd64").write_text("")
    (tmp_path / "root/usr/lib/modules/6.1.0-50-amd64").mkdir(parents=True)
    (tmp_path / "root/lib").symlink_to("usr/lib")
    (tmp_path / "root/etc/os-release").write_text('ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n')
    return tmp_path / "root"


PLAIN = [
    [],
    ["--format", "json"],
    ["--format=json", "--root", "/mnt", "--kernel", "6.1.0-50-amd64"],
    ["--only", "driver", "--only=pci.no-gpu", "--skip", "packages"],
    ["--expect-gpus", "8", "--timeout", "2.5"],
    ["--snapshot", "x.json", "--output", "report.txt"],
    ["--also", "junit=x.xml", "--also=json=y=z.json"],
    ["--quiet", "--fail-on", "error", "--exit-map=retry", "--format", "sarif"],
]


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
def test_both_doors_to_check_understand_the_same(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[CheckOptions] = []
    monkeypatch.setattr("gpudoctor.cli.check.check", lambda options: seen.append(options) or 0)
    from gpudoctor.cli.app import run_app

    assert run_app(["check", *arguments]) == 0
    assert seen == [quick_check_options(arguments)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--nonsense", "x"],
        ["positional"],
        ["--root"],
        ["--root", "--format"],
        ["--format", "yaml"],
        ["--expect-gpus", "two"],
        ["--expect-gpus", "-1"],
        ["--timeout", "0"],
        ["-o", "x"],
        ["--quiet=yes"],
        ["--fail-on", "errors"],
        ["--exit-map", "icinga"],
    ],
    ids=" ".join,
)
def test_the_quick_door_leaves_all_else_to_typer(arguments: list[str]) -> None:
    assert quick_check_options(arguments) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "--nonsense"], "No such option"),
        (["check", "--format", "yaml"], "yaml"),
        (["check", "--root", "/no/such/place"], "/no/such/place: no such directory"),
        (["check", "--root", "/proc/self/fd"], "not the root of a Linux system"),
        (["check", "--snapshot", "/no/such/file"], "/no/such/file: No such file"),
        (["check", "--snapshot", "/dev/null"], "not a snapshot"),
        (["check", "--snapshot", "/bin/true"], "not a snapshot"),
        (["check", "--only", "driver.libary-mismatch"], "driver.library-mismatch"),
        (["check", "--only", "nonsense"], "there is no check 'nonsense'"),
        (["check", "--skip", "nonsense.at-all"], "there is no check"),
        (["check", "--only", "driver", "--skip", "driver"], "leave no check"),
        (["check", "--root", "/", "--snapshot", "x"], "one of them is enough"),
        (["check", "--kernel", "6.1"], "goes with --root"),
        (["check", "--expect-gpus", "-1"], "expect-gpus"),
        (["check", "--output", "/no/such/folder/x"], "cannot write /no/such/folder/x"),
        (["check", "--also", "junit"], "--also junit: a format and a file are meant"),
        (["check", "--also", "yaml=x"], "--also yaml=x: a format and a file are meant"),
        (["check", "--also", "json=/no/such/folder/x"], "cannot write /no/such/folder/x"),
        (["check", "--output", ""], "--output names no file"),
        (["check", "--baseline="], "--baseline names no file"),
        (["check", "--save-baseline", ""], "--save-baseline names no file"),
        (["check", "--changed-since", ""], "--changed-since names no file"),
        (["check", "--config", ""], "--config names no file"),
        (["nonsense"], "nonsense"),
        (["fix", "--resume", "--undo"], "two things to do"),
        (["fix", "--script", "--format", "json"], "two formats"),
        (["explain", "zzz no such thing zzz"], "no check is called"),
        (["snapshot", "--root", "/no/such/place"], "no such directory"),
        (["bench", "--backend", "abacus"], "abacus"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_one_clear_sentence_and_exit_code_3(arguments: list[str], said: str) -> None:
    done = gpudoctor(*arguments)
    assert done.returncode == 3
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_json_stays_pure(root: Path) -> None:
    done = gpudoctor("check", "--root", str(root), "--format", "json")
    document = json.loads(done.stdout)
    assert done.stderr == ""
    assert document["schema"] == 1
    assert document["exit_code"] == done.returncode
    assert document["host"]["source"] == "root"
    assert {outcome["check"] for outcome in document["outcomes"]} >= {"driver.library-mismatch", "pci.no-gpu"}


def test_a_disk_without_driver_has_nothing_wrong(root: Path) -> None:
    done = gpudoctor("check", "--root", str(root))
    assert done.returncode == 0, done.stdout
    assert "Nothing wrong was found" in done.stdout
    assert "not running" in done.stdout, "what a disk cannot tell is said"
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_no_colour_where_nobody_sees_it(root: Path) -> None:
    assert "\x1b" not in gpudoctor("check", "--root", str(root)).stdout


def test_a_device_or_a_pipe_is_written_to_and_not_replaced(root: Path, tmp_path: Path) -> None:
    """Root who wrote `--output /dev/null` had a file there afterwards."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    done = gpudoctor("check", "--root", str(root), "--format", "json", "--output", str(pipe))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(reader.communicate(timeout=30)[0])["command"] == "check"
    assert pipe.is_fifo()


def test_a_link_is_followed(root: Path, tmp_path: Path) -> None:
    link, there = tmp_path / "latest.txt", tmp_path / "today.txt"
    there.write_text("old")
    link.symlink_to("today.txt")
    assert gpudoctor("check", "--root", str(root), "--output", str(link)).returncode == 0
    assert link.is_symlink()
    assert "Nothing wrong was found" in there.read_text()


def test_the_report_goes_whole_into_a_file(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    done = gpudoctor("check", "--root", str(root), "--format", "json", "--output", str(path))
    assert done.stdout == ""
    assert json.loads(path.read_text())["schema"] == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["report.json", "root"]


def test_one_report_is_written_in_several_formats(root: Path, tmp_path: Path) -> None:
    also = [f"--also={name}={tmp_path / name}" for name in ("json", "text", "junit")]
    done = gpudoctor("check", "--root", str(root), "--quiet", *also)
    assert (done.returncode, done.stdout) == (0, "")
    told = json.loads((tmp_path / "json").read_text())["duration_ms"]
    assert f"({told} ms, exit code 0)" in (tmp_path / "text").read_text()
    assert (tmp_path / "junit").read_text().startswith("<?xml")


def test_deselected_checks_are_reported_as_skipped(root: Path) -> None:
    done = gpudoctor("check", "--root", str(root), "--only", "pci", "--skip", "pci.no-gpu", "--format", "json")
    outcomes = {outcome["check"]: outcome["status"] for outcome in json.loads(done.stdout)["outcomes"]}
    assert outcomes["pci.no-gpu"] == "skipped"
    assert outcomes["driver.library-mismatch"] == "skipped"
    assert outcomes["pci.bar-unassigned"] != "skipped"


def test_a_reader_that_goes_away_is_no_crash(root: Path) -> None:
    command = " ".join([*GPUDOCTOR, "check", "--root", str(root), "--format", "json", "| head -c 1"])
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "{"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_standard_output_is_a_sentence_and_a_file_is_written_all_the_same(root: Path, tmp_path: Path) -> None:
    def closed(redirection: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = " ".join([*GPUDOCTOR, "check", "--root", str(root), *arguments, redirection])
        return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)

    done = closed(">&-")
    assert done.returncode == 3
    assert done.stderr.startswith("gpudoctor: standard output is closed")
    assert done.stderr.count("\n") == 1
    assert closed(">&-", "--output", str(tmp_path / "report")).returncode == 0
    assert "Nothing wrong was found" in (tmp_path / "report").read_text()


def test_what_is_for_a_closed_standard_error_does_not_end_up_in_the_answer(root: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    command = " ".join([*GPUDOCTOR, "check", "--root", str(root), "--format", "json", "--save-baseline", str(known)])
    done = subprocess.run(["sh", "-c", f"{command} 2>&-"], capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["schema"] == 1
    assert known.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_a_sentence(root: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*GPUDOCTOR, "check", "--root", str(root)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["report", "gpu\udcff"])
def test_an_ascii_terminal_can_show_any_name(root: Path, name: str) -> None:
    (root / "etc/os-release").write_bytes(f'ID=x\nPRETTY_NAME="Bö {name}"\n'.encode("utf-8", "surrogateescape"))
    done = gpudoctor("check", "--root", str(root), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr


def test_the_prepared_help_is_typers_own() -> None:
    """To renew it: COLUMNS=80 python -c "from gpudoctor.cli.app import run_app; run_app(['--help'])" > help.txt"""
    program = "from gpudoctor.cli.app import run_app; run_app(['--help'])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"}, check=True
    )
    assert done.stdout == prepared_help()


def test_a_command_line_declares_its_own_command_and_a_mistake_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    from gpudoctor.cli.app import app_for, run_app

    assert [command.name for command in app_for(["fix", "--dry-run"]).registered_commands] == ["fix"]
    assert run_app(["benhc"]) == 3
    assert "Did you mean 'bench'?" in capsys.readouterr().err


def test_version_and_help() -> None:
    assert gpudoctor("--version").stdout.startswith("gpudoctor ")
    done = gpudoctor("--help")
    assert done.returncode == 0
    for command in ("check", "fix", "bench", "explain", "snapshot"):
        assert command in done.stdout


def test_explain_by_id_by_message_and_the_list() -> None:
    by_id = gpudoctor("explain", "driver.library-mismatch")
    assert by_id.returncode == 0
    for heading in ("What", "Proof", "Repair", "Reference", "Fixes"):
        assert heading in by_id.stdout.splitlines()
    assert "\n  NVML library version: N\n" in by_id.stdout
    assert "\\" not in by_id.stdout, "patterns are for programs"
    by_message = gpudoctor("explain", "Failed to initialize NVML: Driver/library version mismatch")
    assert by_message.stdout.startswith("driver.library-mismatch")
    assert "kernel.headers-missing" in gpudoctor("explain").stdout


@pytest.mark.parametrize("place", ["ostree/deploy/fedora/deploy/0a1b.0", "@", "root"])
def test_a_disk_whose_roots_lie_deeper(tmp_path: Path, place: str) -> None:
    (tmp_path / place / "usr").mkdir(parents=True)
    done = gpudoctor("check", "--root", str(tmp_path))
    assert done.returncode == 3
    assert f"is {tmp_path / place} meant?" in done.stderr


def test_explain_by_a_pattern_as_only_has_it() -> None:
    shown = gpudoctor("explain", "pci.*").stdout
    assert "pci.no-gpu" in shown
    assert "driver." not in shown


def test_explain_asks_which_check_was_meant() -> None:
    done = gpudoctor("explain", "pci.no-gpus")
    assert (done.returncode, done.stdout) == (3, "")
    assert "is 'pci.no-gpu'" in done.stderr


def test_explain_keeps_to_the_width_of_a_page() -> None:
    shown = gpudoctor("explain", "CUDA out of memory").stdout
    assert shown.startswith("Harmless: ")
    assert max(map(len, shown.splitlines())) <= 80


def test_check_imports_nothing_heavy(root: Path) -> None:
    program = (
        "import sys; sys.argv = ['gpudoctor', *sys.argv[1:]]\n"
        "from gpudoctor.cli import run\n"
        "code = run(sys.argv[1:])\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    for arguments in (["check"], ["check", "--root", str(root)], ["check", "--expect-gpus", "0"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        modules = {name.partition(".")[0] for name in done.stderr.split()} | set(done.stderr.split())
        assert "gpudoctor.diagnose" in modules
        heavy = {"numpy", "torch", "tensorflow", "jax", "cupy", "pynvml", "typer", "rich", "packaging", "distro"}
        heavy |= {"click", "pydantic", "importlib.metadata", "dataclasses", "inspect", "gpudoctor.bench"}
        # A format is imported when it is asked for.
        heavy |= {form.module for name, form in FORMATS.items() if name != "text"} | {"html", "xml", "tomllib"}
        assert not modules & heavy, arguments


def _has_gpu() -> bool:
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    return os.path.exists("/dev/dxg") or any(path.read_text().strip() == "0x10de" for path in vendors)


@pytest.mark.skipif(_has_gpu(), reason="this machine has an NVIDIA device")
def test_this_machine_without_a_gpu() -> None:
    done = gpudoctor("check", "--format", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 2
    assert report["findings"][0]["id"] == "pci.no-gpu"
    assert [finding["id"] for finding in report["findings"] if finding["severity"] == "error"] == ["pci.no-gpu"]
    assert gpudoctor("check", "--expect-gpus", "0").returncode == 0
    assert gpudoctor("bench").returncode == 3


def test_a_snapshot_of_this_machine_gives_the_same_outcomes(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    done = gpudoctor("snapshot", "--output", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    live = json.loads(gpudoctor("check", "--format", "json").stdout)
    replayed = json.loads(gpudoctor("check", "--snapshot", str(path), "--format", "json").stdout)
    assert replayed["findings"] == live["findings"]
    assert replayed["exit_code"] == live["exit_code"]
    statuses = [{o["check"]: o["status"] for o in report["outcomes"]} for report in (live, replayed)]
    assert statuses[0] == statuses[1]
