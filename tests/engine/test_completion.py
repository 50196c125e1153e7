"""Shell completion as the shells ask for it, and the first lines of --version."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import Call, calls

import gpudoctor as package
from gpudoctor.cli import run
from gpudoctor.knowledge import table_dates


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


def environment_in(folder: Path) -> dict[str, str]:
    """Of a shell that finds the command gpudoctor, and no settings of a person."""
    program = folder / "gpudoctor"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gpudoctor "$@"\n')
    program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(folder), "TERM": "xterm", "LC_ALL": "C.UTF-8"}


def in_bash(folder: Path, line: str) -> list[str]:
    """What bash offers behind these words; the last one is what stands there already."""
    script = (
        'source <(gpudoctor completion bash) || exit; IFS=, read -ra COMP_WORDS <<<"gpudoctor,$1"; '
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
        "function=$(complete -p gpudoctor); function=${function#* -F }; ${function%% *} gpudoctor; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "--norc", "-c", script, "-", line]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment_in(folder), check=True)
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


def in_zsh(folder: Path, line: str, awaited: str) -> str:
    """What stands in a terminal with zsh after the line and two tabulators, when this has come, or a minute later."""
    (folder / ".zshrc").write_text(
        "PS1='ready> '\nautoload -Uz compinit\ncompinit -u -D\nsource <(gpudoctor completion zsh)\n"
    )
    terminal, end = pty.openpty()
    zsh = subprocess.Popen(
        ["setsid", "--ctty", "zsh", "-i"], env=environment_in(folder), stdin=end, stdout=end, stderr=end
    )
    os.close(end)
    seen = ""
    until = time.monotonic() + 60
    try:
        for text, answer in (("", "ready> "), (f"{line}\t\t", awaited)):
            os.write(terminal, text.encode())
            while answer not in seen and time.monotonic() < until:
                if select.select([terminal], [], [], 0.5)[0]:
                    # What moves the cursor and colours is taken out.
                    seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(terminal, 1 << 16).decode())
    finally:
        zsh.kill()
        zsh.wait()
        os.close(terminal)
    return seen


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("gpudoctor chec", "gpudoctor check "),
        ("gpudoctor check --format ju", "junit "),
        ("gpudoctor explain driver.library-mis", "and the driver\N{RIGHT SINGLE QUOTATION MARK}s"),
        ("gpudoctor hook z", "zypper "),
    ],
)
def test_zsh_completes(tmp_path: Path, line: str, shown: str) -> None:
    assert shown in in_zsh(tmp_path, line, shown)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(tmp_path: Path) -> None:
    lines = {
        "gpudoctor chec": "check\tFind what is wrong",
        "gpudoctor check --format ju": "junit\n",
        "gpudoctor explain pci.no": "pci.no-gpu\tThe machine shows no NVIDIA GPU",
        "gpudoctor check --root /et": "/etc/",
    }
    asked = "; echo ---; ".join(f"complete -C '{line}'" for line in lines)
    done = subprocess.run(
        ["fish", "-c", f"gpudoctor completion fish | source; {asked}"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment_in(tmp_path),
        check=True,
    )
    assert done.stderr == ""
    for answer, expected in zip(done.stdout.split("---\n"), lines.values(), strict=True):
        assert answer.startswith(expected)


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
