"""Children that are read line by line while they run: several at once, with bounded memory, and none outlives us."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gpudoctor.children import OUTPUT_LIMIT, Account, Child, kill_group, pipes, reap, start

TAIL = 4096  # bytes of standard error that are kept: the last ones
END_PATIENCE = 5.0  # seconds: a killed process may have 80 GB of GPU memory to give back first

_PR_SET_PDEATHSIG = 1


@dataclass
class Speaker:
    """A child that runs, and what it has said so far."""

    child: Child
    limit: int | None  # bytes that it may say in its whole life, None: any number, in lines of at most OUTPUT_LIMIT
    heard_at: float  # time.monotonic() when it last said something on standard output
    said: int = 0  # bytes
    flooded: bool = False  # it went past a limit: what it says is not kept any more
    lines: list[str] = field(default_factory=list)  # whole ones that nobody has taken yet

    @property
    def ended(self) -> bool:
        """Whether the process is over."""
        return self.child.process.poll() is not None

    @property
    def last_words(self) -> str:
        """The end of its standard error."""
        return bytes(self.child.stderr).decode("utf-8", "replace").strip()

    def take_lines(self) -> list[str]:
        """What it said since the last time."""
        taken, self.lines = self.lines, []
        return taken


def start_speaker(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    given: str | None = None,
    account: Account | None = None,
    first: Callable[[], None] | None = None,
    limit: int | None = OUTPUT_LIMIT,
) -> Speaker:
    """Start a command as `children.start` does, and so that it dies with us. Raises OSError if it cannot be started."""
    die_with_us = _dying_with(os.getpid())

    def prepare() -> None:
        die_with_us()
        if first is not None:
            first()

    child = start(argv, environment, account, prepare, given)
    for pipe in pipes(child):
        os.set_blocking(pipe.fileno(), False)
    return Speaker(child, limit, child.started)


def listen(speakers: Iterable[Speaker], seconds: float) -> None:
    """Wait until one of these says something, or has said everything, or the time is over; take in what was said."""
    with selectors.DefaultSelector() as selector:
        for speaker in speakers:
            for pipe in pipes(speaker.child):
                if not pipe.closed:
                    selector.register(pipe, selectors.EVENT_READ, (speaker, pipe))
        if not selector.get_map():
            time.sleep(seconds)
        for key, _ in selector.select(seconds):
            speaker, pipe = key.data
            data = os.read(key.fd, 1 << 16)
            if not data:
                pipe.close()
            elif pipe is speaker.child.process.stdout:
                _take_in(speaker, data)
            else:
                speaker.child.stderr[:] = (speaker.child.stderr + data)[-TAIL:]


def listen_to_the_end(speaker: Speaker) -> None:
    """Take in what a child that is over has left in its pipes, but not what its own children go on to say for ever."""
    until = time.monotonic() + 1.0
    before = None
    while before != (speaker.said, bytes(speaker.child.stderr)) and time.monotonic() < until:
        before = speaker.said, bytes(speaker.child.stderr)
        listen([speaker], 0)


def end_all(speakers: Sequence[Speaker], patience: float = END_PATIENCE) -> list[int | None]:
    """Kill what still runs of these and of their process groups. Their exit codes, None: stuck in the kernel."""
    for speaker in speakers:
        kill_group(speaker.child)
    until = time.monotonic() + patience
    return [reap(speaker.child, max(0.0, until - time.monotonic())) for speaker in speakers]


def _take_in(speaker: Speaker, data: bytes) -> None:
    speaker.said += len(data)
    speaker.heard_at = time.monotonic()
    unfinished = speaker.child.stdout
    unfinished += data
    if len(unfinished) > OUTPUT_LIMIT or (speaker.limit is not None and speaker.said > speaker.limit):
        speaker.flooded = True
    if speaker.flooded:
        unfinished.clear()
        return
    *whole, rest = unfinished.split(b"\n")
    speaker.lines += [line.decode("utf-8", "replace") for line in whole]
    unfinished[:] = rest


def _dying_with(parent: int) -> Callable[[], None]:
    """What a child does first, so that the kernel kills it when its parent is gone, however that came about."""
    libc = ctypes.CDLL(None)  # here: little is safe in a child that is not yet another program

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it is gone already
            os.kill(os.getpid(), signal.SIGKILL)

    return prepare
