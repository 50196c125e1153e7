"""Shell completion as the shells ask for it, and the first lines of --version."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Call, calls

import gpudoctor as package
from gpudoctor.cli import run
from gpudoctor.knowledge import table_dates


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


def in_bash(folder: Path, line: str) -> list[str]:
    """What bash offers behind these words; the last one is what stands there already."""
    program = folder / "gpudoctor"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gpudoctor "$@"\n')
    program.chmod(0o755)
    script = (
        'source <(gpudoctor completion bash) || exit; IFS=, read -ra COMP_WORDS <<<"gpudoctor,$1"; '
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
        "function=$(complete -p gpudoctor); function=${function#* -F }; ${function%% *} gpudoctor; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "--norc", "-c", script, "-", line]
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_the_ids_of_checks(tmp_path: Path) -> None:
    assert in_bash(tmp_path, "check,--only,driver.library-mi") == ["driver.library-mismatch", "driver.library-missing"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("chec", ["check"]),
        ("check,--form", ["--format"]),
        ("check,--format,ju", ["junit"]),
        ("check,--skip,pci.no", ["pci.no-gpu"]),
        ("fix,--only,pc", None),
        ("explain,pci.no", ["pci.no-gpu"]),
        ("hook,z", ["zypper"]),
        ("recommend,te", ["tensorflow"]),
        ("completion,z", ["zsh"]),
        ("check,--only,no-such-check", []),
    ],
)
def test_bash_completes_whatever_has_names(tmp_path: Path, line: str, offered: list[str] | None) -> None:
    found = in_bash(tmp_path, line)
    if offered is None:
        assert found[0] == "pci", "domains come first"
        assert "pci.no-gpu" in found
    else:
        assert found == offered


@pytest.mark.parametrize(
    ("shell", "offered"),
    [
        ("zsh", """_arguments '*: :(("kernel.headers-missing":"A kernel came without """),
        ("fish", "kernel.headers-missing\tA kernel came without "),
    ],
)
def test_zsh_and_fish_are_told_what_a_check_is_about(
    shell: str, offered: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_GPUDOCTOR_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "gpudoctor explain kernel.headers-mis")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    with pytest.raises(SystemExit) as ended:
        run([])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith(offered)
    assert told.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, call: Call) -> None:
    done = call("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert f"complete_{shell}" in done.out


def test_another_shell_is_refused(call: Call) -> None:
    done = call("completion", "csh")
    assert (done.code, done.out) == (3, "")
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in done.err


def test_the_version_stands_alone_on_the_first_line_and_every_table_has_its_date(call: Call) -> None:
    done = call("--version")
    first, *tables = done.out.splitlines()
    assert first == f"gpudoctor {package.__version__}"
    told = {}
    for line in tables:
        date, _, names = line.removeprefix("tables of ").partition(": ")
        told |= dict.fromkeys(names.split(", "), date)
    assert told == table_dates()
    assert call("--version", "--help").out.startswith("Usage:")


def test_the_version_is_told_without_any_library() -> None:
    program = (
        "import sys; from gpudoctor.cli import run; run(['--version']); print(*{'json', 'typer'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n\n")
