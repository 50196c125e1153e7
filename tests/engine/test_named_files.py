"""Files that the user names: a pipe is read like a file, and one of which nothing comes makes nobody wait for ever."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from command_line import GPUDOCTOR, Call, calls

MACHINE = Path(__file__).parents[1] / "machines/bookworm-kernel-upgraded-no-headers.json"
CHECK = ("check", "--snapshot", str(MACHINE), "--only", "driver", "--timeout", "0.3")
PASTE = "NVRM: API mismatch: the client has the version 535.54.03, but\nNVRM: this kernel module has 530.30.02\n"


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe, for which nobody has anything."""
    tmp_path.chmod(0o700)
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--timeout", "0.3", "--snapshot", "{pipe}"),
        (*CHECK, "--config", "{pipe}"),
        (*CHECK, "--baseline", "{pipe}"),
        (*CHECK, "--save-baseline", "{pipe}"),
        (*CHECK, "--changed-since", "{pipe}"),
        ("diff", "{pipe}", str(MACHINE), "--timeout", "0.3"),
        ("diff", str(MACHINE), "{pipe}", "--timeout", "0.3"),
        ("triage", "{pipe}"),
        ("preflight", "--snapshot", str(MACHINE), "--simulation", "{pipe}"),
        ("fix", "--plan", "{pipe}"),
        ("bench", "--backend", "numpy", "--quick", "--baseline", "{pipe}"),
    ],
    ids=lambda words: " ".join(word for word in words if word.startswith("--") or "pipe" in word or word == words[0]),
)
def test_a_pipe_of_which_nothing_comes_is_named_and_left(
    call: Call, monkeypatch: pytest.MonkeyPatch, pipe: Path, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("gpudoctor.plain_files.PATIENCE", 0.3)
    began = time.monotonic()
    called = call(*(word.format(pipe=pipe) for word in words))
    assert time.monotonic() - began < 5
    assert called.code == 3
    assert called.out == ""
    if "--changed-since" in words:  # it is written again, which a pipe cannot be
        assert called.err == f"gpudoctor: {pipe} is neither a file nor a folder, as a named pipe is none\n"
    else:
        assert called.err == f"gpudoctor: {pipe}: nothing came of it in 0.3 s\n"


def test_a_pipe_whose_writer_comes_late_and_speaks_in_pieces_is_read_to_its_end(call: Call, pipe: Path) -> None:
    def write() -> None:
        time.sleep(0.1)
        with pipe.open("w") as stream:
            for line in PASTE.splitlines(keepends=True):
                time.sleep(0.1)
                stream.write(line)
                stream.flush()

    writer = threading.Thread(target=write)
    writer.start()
    called = call("triage", str(pipe))
    writer.join()
    assert called.code == 2
    assert "the client has the version 535.54.03" in called.out


@pytest.mark.parametrize(
    "script",
    [
        '"$@" triage <(echo "$PASTE")',
        pytest.param('"$@" check --only driver --snapshot <(cat "$MACHINE")', marks=pytest.mark.slow),
        pytest.param('cat "$MACHINE" | "$@" check --only driver --snapshot -', marks=pytest.mark.slow),
        pytest.param('"$@" check --only driver --snapshot /dev/stdin <"$MACHINE"', marks=pytest.mark.slow),
        pytest.param('"$@" diff <(cat "$MACHINE") <(cat "$MACHINE")', marks=pytest.mark.slow),
        pytest.param('"$@" check --snapshot "$MACHINE" --baseline <(echo)', marks=pytest.mark.slow),
    ],
)
def test_what_a_shell_puts_in_place_of_a_file_is_read(script: str) -> None:
    environment = {**os.environ, "PASTE": PASTE, "MACHINE": str(MACHINE)}
    command = ["bash", "-c", script, "bash", *GPUDOCTOR]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout
    assert done.returncode in (0, 2)


def test_a_silent_standard_input_ends_with_the_time_of_the_run() -> None:
    reading, writing = os.pipe()
    try:
        command = [*GPUDOCTOR, "check", "--snapshot", "-", "--timeout", "0.3"]
        done = subprocess.run(command, stdin=reading, capture_output=True, text=True, timeout=30, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    said = "gpudoctor: no answer in 0.3 s, the time of the whole run (last asked for: standard input)\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", said)


def test_a_closed_standard_input_is_said() -> None:
    command = ["bash", "-c", '"$@" <&-', "bash", *GPUDOCTOR, "check", "--snapshot", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (3, "gpudoctor: standard input: closed\n")


@pytest.mark.parametrize("name", ["gpudoctor.toml", "pyproject.toml"])
def test_a_pipe_in_place_of_settings_that_nobody_named_is_no_trap(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Anybody can lay one into /tmp."""
    os.mkfifo(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    called = call(*CHECK[:-2], "--fail-on", "never")
    assert f"{name}: a named pipe in place of a file" in called.err
    assert called.code == (3 if name == "gpudoctor.toml" else 0)


@pytest.mark.parametrize(
    "words", [("triage",), ("diff",), ("check", "--snapshot"), (*CHECK, "--config"), (*CHECK, "--baseline")], ids=str
)
@pytest.mark.parametrize(("name", "said"), [("", "Is a directory"), ("missing", "No such file or directory")])
def test_what_is_no_file_is_said(call: Call, tmp_path: Path, words: tuple[str, ...], name: str, said: str) -> None:
    path = str(tmp_path / name)
    called = call(*words, path)
    assert (called.code, called.out, called.err) == (3, "", f"gpudoctor: {path}: {said}\n")
