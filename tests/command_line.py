"""The command gpudoctor as a process of its own, and as a call in this one, which takes a third of the time."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest
from ready_process import run_ready

from gpudoctor.cli import run

GPUDOCTOR = [sys.executable, "-m", "gpudoctor"]


def gpudoctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if not environment:
        return run_ready(arguments, os.environ)
    # What Python itself may go by at its start is for a process that starts.
    return subprocess.run(
        [*GPUDOCTOR, *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


class Called(NamedTuple):
    """What one call printed and ended with."""

    code: int
    out: str
    err: str


Call = Callable[..., Called]


def calls(capfd: pytest.CaptureFixture[str]) -> Call:
    """A function that runs one command line in this process."""

    def call(*arguments: str) -> Called:
        capfd.readouterr()
        code = run([*arguments])
        gc.enable()  # `check` switches it off for the short life of its process
        return Called(code, *capfd.readouterr())

    return call
