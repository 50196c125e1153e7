"""What a hook has to say, found out in a child that has a deadline: whatever happens there, the caller goes on."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

DEADLINE = 20.0  # seconds for one judgement; libzypp waits 30 for an answer
_SHARE = 0.85  # of them for finding out: what is known by then is still told


class Verdict(NamedTuple):
    """What is to be told, and whether what the hook was called before must not happen."""

    lines: tuple[str, ...] = ()
    stop: bool = False


def within(seconds: float, judge: Callable[[], Verdict]) -> Verdict:
    """What the judge says in time; else one line that says why there is nothing.

    The child shares nothing but a pipe with the caller: one that is stuck in the kernel is left behind, and neither a
    terminal nor a pipe of the package manager stays open because of it.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _judge_and_leave(judge, writing, _SHARE * seconds)
    os.close(writing)
    said = _read_until(reading, time.monotonic() + seconds)
    os.close(reading)
    if said is None:
        # Gone by itself this very moment, or stuck: both are nothing to wait for.
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        return Verdict((f"no answer in {seconds:.0f} s; `gpudoctor check` tells more",))
    os.waitpid(child, 0)
    try:
        lines, stop = json.loads(said)
    except ValueError:
        return Verdict(("its own child ended without an answer; `gpudoctor check` tells more",))
    return Verdict(tuple(lines), stop)


def _judge_and_leave(judge: Callable[[], Verdict], writing: int, seconds: float) -> None:
    """The child: never returns, so that nothing of the parent is done twice."""
    try:
        from gpudoctor.time_limit import limit  # here for start-up: the caller needs nothing of the engine

        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        try:
            with limit(seconds):
                verdict = judge()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told in one line and the upgrade goes on
            verdict = Verdict((f"it failed ({type(error).__name__}: {first_line(error)}); please report that",))
        with os.fdopen(writing, "w", encoding="utf-8") as file:
            json.dump([verdict.lines, verdict.stop], file)
    finally:
        os._exit(0)


def first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")[:300]


def _read_until(descriptor: int, deadline: float) -> bytes | None:
    """All that is written until the other end closes, None if the deadline passes before."""
    said = b""
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return said
        said += piece


def read_standard_input(descriptor: int, seconds: float) -> str | None:
    """What the caller writes, None if it does not come to an end in time. Damaged UTF-8 is replaced."""
    said = _read_until(descriptor, time.monotonic() + seconds)
    return None if said is None else said.decode("utf-8", "replace")


def say(*lines: str) -> None:
    """On standard error, each line marked as gpudoctor's. Where nobody can hear it, nothing is said."""
    text = "".join(f"gpudoctor: {line}\n" for line in lines if line)
    if sys.stderr is not None:  # it is where whoever started us had closed it
        # A package manager's log that has gone away is no reason to stop it.
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def open_standard_streams() -> None:
    """Where whoever started us had closed one, so that no pipe of ours comes to lie in its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
