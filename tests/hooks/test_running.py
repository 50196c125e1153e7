"""What an installed hook calls, as a process: silent where no GPU package is touched, and never in anybody's way."""

import os
import pty
import subprocess
import sys
import time

import pytest
from command_line import GPUDOCTOR, gpudoctor

from gpudoctor.hooks import judging, run, verdict
from gpudoctor.hooks.verdict import Verdict, within

HARMLESS = """VERSION 3
APT::Architecture=amd64
GpuDoctor::Enforce=true
CommandLine::AsString=apt-get%20dist-upgrade

tzdata 2025a-1 all none < 2025b-1 all none /var/cache/apt/archives/tzdata_2025b-1_all.deb
libc6 2.36-9 amd64 same < 2.36-10 amd64 same /var/cache/apt/archives/libc6_2.36-10_amd64.deb
cron - - none < 3.0pl1-162 amd64 foreign **CONFIGURE**
"""


def called(*words: str, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GPUDOCTOR, "hook", "run", *words],
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def test_what_touches_no_gpu_package_passes_without_a_word_and_without_the_engine() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gpudoctor", "hook", "run", "apt-before"],
        input=HARMLESS,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    told = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert (done.returncode, done.stdout, told) == (0, "", [])
    assert "gpudoctor.preflight.apt_hook" in imported
    assert not imported & {"typer", "gpudoctor.registry", "gpudoctor.diagnose", "gpudoctor.hooks.upgrade"}


def test_apt_may_name_another_descriptor_than_standard_input() -> None:
    reading, writing = os.pipe()
    os.write(writing, HARMLESS.encode())
    os.close(writing)
    done = subprocess.run(
        [*GPUDOCTOR, "hook", "run", "apt-before"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        pass_fds=[reading],
        env={**os.environ, "APT_HOOK_INFO_FD": str(reading)},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert os.read(reading, 1) == b""  # it was read to its end
    os.close(reading)


@pytest.mark.parametrize("what", ["apt-before", "pacman-before", "dnf-before"])
def test_a_person_at_a_terminal_is_not_waited_for(what: str) -> None:
    master, terminal = pty.openpty()
    done = subprocess.run(
        [*GPUDOCTOR, "hook", "run", what], stdin=terminal, capture_output=True, text=True, timeout=60, check=False
    )
    os.close(master)
    os.close(terminal)
    assert done.returncode == 0
    assert done.stderr.startswith(f"gpudoctor: `hook run {what}` is what ")


def test_a_hook_that_does_not_exist_is_a_mistake_of_whoever_calls() -> None:
    done = called("nonsense", text="")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "gpudoctor: there is no hook 'nonsense'; `gpudoctor hook` lists the kinds\n"


@pytest.mark.parametrize("release", ["", "../../etc", "6.1.0; rm -rf /", "-oProxyCommand=x", "6.1.0\n"])
def test_what_is_no_kernel_is_not_looked_for(release: str) -> None:
    done = called("kernel", release, text="")
    assert (done.returncode, done.stdout) == (0, "")
    assert "is no release of a kernel" in done.stderr


def test_a_machine_without_a_driver_hears_nothing_of_a_new_kernel() -> None:
    assert gpudoctor("hook", "run", "kernel", "6.1.0-56-amd64").stderr == ""


FORGED = [
    "",
    "/var/cache/apt/archives/nvidia-smi_535_amd64.deb\n",
    "VERSION 4\n\n",
    "VERSION 3\nAPT::Architecture=amd64\n",
    HARMLESS + "nvidia-smi;reboot 1 amd64 none < 2 amd64 none /x.deb\n",
    HARMLESS + "nvidia-smi 1 amd64\n",
    "\0\xff\xfe",
]


@pytest.mark.parametrize("text", FORGED, ids=range(len(FORGED)))
def test_what_apt_never_says_stops_nothing_and_is_told_in_one_line(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ""

    def note(reason: str) -> Verdict:
        nonlocal told
        told = reason
        return Verdict((reason,))

    reading, writing = os.pipe()
    os.write(writing, text.encode("latin-1"))
    os.close(writing)
    monkeypatch.setattr(run, "unforeseen", note)
    monkeypatch.setenv("APT_HOOK_INFO_FD", str(reading))
    assert run.run_hook(["apt-before"]) == 0
    os.close(reading)
    assert told
    assert capsys.readouterr().err == f"gpudoctor: {told}\n"


def broken(*_: object) -> Verdict:
    raise RuntimeError("a mistake\nof two lines")


def killed(*_: object) -> Verdict:
    os.kill(os.getpid(), 9)
    raise AssertionError


def stuck(*_: object) -> Verdict:
    time.sleep(600)
    raise AssertionError


def chatty(*_: object) -> Verdict:
    os.write(1, b"noise")
    os.write(2, b"noise")
    return Verdict(("a line",), stop=True)


@pytest.mark.parametrize(
    ("judge", "said", "code"),
    [
        (broken, "it failed (RuntimeError: a mistake); please report that", 0),
        (killed, "its own child ended without an answer; `gpudoctor check` tells more", 0),
        (stuck, "no answer in 1 s; `gpudoctor check` tells more", 0),
        (chatty, "a line", judging.STOP),
    ],
)
def test_whatever_happens_in_the_judgement_costs_one_line(
    judge: object, said: str, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    assert judging.speak(within(1.0, judge)) == code  # type: ignore[arg-type]
    assert time.monotonic() - began < 5
    assert capfd.readouterr() == ("", f"gpudoctor: {said}\n")


def test_a_long_verdict_comes_through_whole() -> None:
    lines = tuple(f"line {number} ä\udce4" for number in range(20_000))
    assert within(20.0, lambda: Verdict(lines)).lines == lines


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_crash_of_the_hook_itself_stops_nothing(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(words: object) -> int:
        raise error

    monkeypatch.setitem(run._WORK, "apt-after", crash)  # type: ignore[index]
    assert run.run_hook(["apt-after"]) == 0
    assert capsys.readouterr().err.count("\n") == 1


def test_apt_that_never_comes_to_an_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"VERSION 3\n")
    began = time.monotonic()
    assert verdict.read_standard_input(reading, 0.2) is None
    assert time.monotonic() - began < 5
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", [("kernel", "nonsense"), ("kernel", "6.1.0-56-amd64")], ids=" ".join)
def test_closed_streams_are_no_reason_to_stop_an_upgrade(words: tuple[str, ...], closed: str) -> None:
    argv = ("sh", "-c", f'exec "$@" {closed}', "sh", *GPUDOCTOR, "hook", "run", *words)
    assert subprocess.run(argv, check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(("text", "off"), [("false", True), ("No", True), ("0", True), ("true", False), ("", False)])
def test_the_override_in_the_environment_is_understood_as_apt_understands_it(text: str, off: bool) -> None:
    assert judging.is_off(text) is off
