"""What standard error shows while a benchmark runs: on a terminal, and where there is none."""

import io
import os
import pty
import re
import sys
import termios
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest

from gpudoctor.bench.job import Job, Level
from gpudoctor.bench.measures import Sample
from gpudoctor.bench.running import progress
from gpudoctor.bench.running.children import Moment, Worker, run_children
from gpudoctor.bench.running.progress import progress_shown, readings

SAMPLE = Sample(1.0, "GPU-1", 1980, 2619, 512.4, 61, 100, 0)
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-9]|38;|9[0-7])[0-9;]*m")


def moment(name: str = "GPU 0", phase: str = "", fraction: float = 0.0, *notes: str, over: bool = False) -> Moment:
    return Moment(name, phase, fraction, notes, SAMPLE if phase else None, over)


class Terminal:
    """A terminal of 100 columns, and all that was written on it."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 100)) if hasattr(termios, "tcsetwinsize") else None
        self.before = termios.tcgetattr(slave)
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self._read: list[bytes] = []
        self._reader = threading.Thread(target=self._read_all, daemon=True)
        self._reader.start()

    def _read_all(self) -> None:
        try:
            while data := os.read(self._master, 4096):
                self._read.append(data)
        except OSError:  # the other end was closed
            return

    def close(self) -> str:
        """All that was written, after it was checked that the terminal is as it was."""
        assert termios.tcgetattr(self.stream.fileno()) == self.before
        self.stream.close()
        self._reader.join(10)
        os.close(self._master)
        return b"".join(self._read).decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture is drawn."""
    monkeypatch.setattr(progress, "FRAME", 0.0)


@pytest.mark.usefixtures("unhurried")
def test_a_terminal_shows_phase_per_cent_temperature_clock_and_power_of_each_gpu(terminal: Terminal) -> None:
    with progress_shown(["GPU 0", "GPU 1"], terminal.stream) as show:
        show((moment("GPU 0", "throughput", 0.42), moment("GPU 1")))
        show(
            (moment("GPU 0", "throughput", 0.5, "batch 512 did not fit: 256"), moment("GPU 1", over=True, fraction=1.0))
        )
    written = terminal.close()
    for said in ("GPU 0", "throughput", " 42%", "61 °C, 1980 MHz, 512 W", "GPU 1", "starting", "done", "100%"):
        assert said in written
    assert written.count("GPU 0: batch 512 did not fit: 256") == 1
    assert COLOUR.search(written)


@pytest.mark.usefixtures("unhurried")
def test_no_color_is_respected_on_a_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with progress_shown(["GPU 0"], terminal.stream) as show:
        show((moment("GPU 0", "training", 0.5),))
    written = terminal.close()
    assert "training" in written
    assert not COLOUR.search(written)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_terminal_is_restored_when_the_run_is_interrupted(terminal: Terminal, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with progress_shown(["GPU 0"], terminal.stream) as show:
            show((moment("GPU 0", "training", 0.5),))
            raise error

    with pytest.raises(error):
        interrupted()
    written = terminal.close()
    assert HIDE_CURSOR in written
    assert written.rindex(SHOW_CURSOR) > written.rindex(HIDE_CURSOR)


def test_a_terminal_is_drawn_at_most_ten_times_a_second(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress_shown(["GPU 0"], terminal.stream) as show:
        for step in range(1000):
            show((moment("GPU 0", "training", step / 1000),))
            now[0] += 0.001
    assert 8 <= terminal.close().count("training") <= 13


def test_what_a_machine_says_does_not_drive_the_terminal(terminal: Terminal) -> None:
    with progress_shown(["GPU \x1b[31m0"], terminal.stream) as show:
        show((moment("GPU \x1b[31m0", "training", 0.5, "[red]note\x1b]0;title\x07", over=True),))
    written = terminal.close()
    assert "[red]note" in written
    assert "\x1b]0;" not in written
    assert "\x1b[31m0" not in written


def test_without_a_terminal_there_are_plain_lines_and_only_where_something_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    with progress_shown(["GPU 0"], stream) as show:
        show((moment("GPU 0"),))
        show((moment("GPU 0"),))
        for fraction in (0.1, 0.15, 0.2):
            show((moment("GPU 0", "numerics", fraction),))
        show((moment("GPU 0", "", 0.25),))
        show((moment("GPU 0", "throughput", 0.25, "batch 512 did not fit: 256 is tried"),))
        show((moment("GPU 0", "throughput", 0.9, "batch 512 did not fit: 256 is tried", "unstable\x1b[31m"),))
        show((moment("GPU 0", "", 1.0, "batch 512 did not fit: 256 is tried", "unstable\x1b[31m", over=True),))
    assert stream.getvalue().splitlines() == [
        "GPU 0: numerics, 10%, 61 °C, 1980 MHz, 512 W",
        "GPU 0: batch 512 did not fit: 256 is tried",
        "GPU 0: throughput, 25%, 61 °C, 1980 MHz, 512 W",
        "GPU 0: unstable [31m",
        "GPU 0: done, 100%",
    ]


def test_a_long_phase_says_now_and_then_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with progress_shown(["GPU 0"], stream) as show:
        for _ in range(100):
            show((moment("GPU 0", "burn", 0.5),))
            now[0] += 1.0
    assert len(stream.getvalue().splitlines()) == 4


def test_a_dumb_terminal_gets_plain_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with progress_shown(["GPU 0"], terminal.stream) as show:
        show((moment("GPU 0", "training", 0.5),))
    assert terminal.close() == "GPU 0: training, 50%, 61 °C, 1980 MHz, 512 W\r\n"


@pytest.mark.parametrize(
    ("sample", "said"),
    [(None, ""), (Sample(1.0, "GPU-1"), ""), (Sample(1.0, "GPU-1", temperature_c=34, power_w=61.6), "34 °C, 62 W")],
)
def test_readings_that_are_not_told_are_left_out(sample: Sample | None, said: str) -> None:
    assert readings(sample) == said


def test_a_real_run_ends_on_a_full_or_a_failed_bar(terminal: Terminal) -> None:
    good = [sys.executable, "-I", "-S", "-c", 'print(\'{"kind": "finished"}\')']
    job = Job("toy", (), Level.QUICK, 0)
    workers = [Worker("GPU 0", good, os.environ, job, 20), Worker("GPU 1", ["/bin/false"], os.environ, job, 20)]
    with progress_shown(["GPU 0", "GPU 1"], terminal.stream) as show:
        run_children(workers, watch=show)
    last = terminal.close().rpartition("GPU 0")[2]
    assert "done" in last
    assert "failed" in last
