"""The time that one run may take. What is still being found out when it is over stays unknown, and the report is made.

Children have deadlines of their own (`gpudoctor.children`); this is for what the doctor does itself: a file that
nothing comes of, one that is megabytes of junk. Where not even a signal gets it out of the kernel, the run is ended. A
machine under load makes every run late: waiting for a processor is held against none.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, NoReturn, TypeVar

from gpudoctor.host import Unavailable

T = TypeVar("T")

_AGAIN = 0.1  # seconds after which the next thing that takes long is interrupted, too
_LOOK = 0.1  # seconds between two looks at a run that is beyond its time
_DEAF = 3.0  # seconds without a step in the kernel, deaf to signals: a slow disk answers sooner
_PATIENCE = 5.0  # seconds of waiting or computing beyond its time; of a longer run as many as it had
_COULD_NOT_TELL = 3  # exit code


class OutOfTime(BaseException):
    """Raised in the middle of finding something out. No `except Exception` on the way may take it for an answer."""


class _Run:
    """What the signal's handler has to know of the one run of this process."""

    seconds: float | None = None  # that it may take, None without a limit
    over = False
    interruptible = False  # the doctor finds something out, and nothing is lost if it stops
    asked = ""  # the last file or command that was asked for


def asking_for(what: str) -> None:
    """Remember which file or command is asked for: who is stuck on it cannot tell any more.

    Nothing more is asked for when the time is over: who is finding something out stops then.
    """
    if _Run.over and _Run.interruptible:
        _stop(f"not looked at: the time of the whole run, {_Run.seconds:g} s, was over")
    _Run.asked = what


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Let what is done in here take so long at most, and what finds out facts stop then.

    Only the main thread of a process can be interrupted: elsewhere this raises ValueError.
    """
    import _thread  # of a whole threading only this is needed
    import signal

    _Run.seconds, _Run.over, _Run.asked = seconds, False, ""
    ended, verdict = _thread.allocate_lock(), _thread.allocate_lock()
    ended.acquire()
    before = signal.signal(signal.SIGALRM, _interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        _thread.start_new_thread(_watch, (ended, verdict, seconds, _thread.get_ident(), _thread.get_native_id()))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        # Who has it first decides: a run that got here goes on, and where it was just given up it says no more.
        verdict.acquire()
        ended.release()
        _Run.seconds, _Run.over = None, False


@contextmanager
def at_least_limited(seconds: float) -> Iterator[None]:
    """As `limit`, where the run has no limit yet: for what is read before its time begins."""
    if _Run.seconds is not None:
        yield
        return
    with limit(seconds):
        yield


def require_time() -> None:
    """Raises Unavailable where the time is over: for answers that are worth nothing if they are half of one."""
    if _Run.over:
        raise Unavailable(f"not all was found out in {_Run.seconds:g} s, the time of the whole run{_last_asked()}")


def stop_in_time(function: Callable[[], T]) -> T:
    """What the function gives. Raises Unavailable where the time is over before that."""
    outside = _Run.interruptible
    try:
        try:
            _Run.interruptible = True
            return function()
        finally:
            _Run.interruptible = outside
    except OutOfTime as reason:
        _Run.interruptible = outside
        raise Unavailable(str(reason)) from None


def _interrupt(*_: object) -> None:
    _Run.over = True
    if _Run.interruptible:
        _stop(f"no answer in {_Run.seconds:g} s, the time of the whole run{_last_asked()}")


def _stop(words: str) -> NoReturn:
    _Run.interruptible = False  # once: whoever catches it is not interrupted in doing so
    raise OutOfTime(words)


class _Step(NamedTuple):
    """Where the watched thread is."""

    state: str  # as /proc has it: R runs or could run, D is deaf to signals; "" where that cannot be told
    computed: float  # seconds


def _watch(
    ended: "_thread.LockType",  # type: ignore[name-defined]  # noqa: F821
    verdict: "_thread.LockType",  # type: ignore[name-defined]  # noqa: F821
    seconds: float,
    thread: int,
    kernel_thread: int,
) -> None:
    """In a thread of its own. It counts its looks, not the time: where it is late itself, so is what it looks at."""
    if ended.acquire(timeout=seconds):
        return
    used = deaf = 0.0
    before = _step(thread, kernel_thread)
    while used <= max(_PATIENCE, seconds) and deaf <= _DEAF:
        if ended.acquire(timeout=_LOOK):
            return
        now = _step(thread, kernel_thread)
        used += now.computed - before.computed if now.state == "R" else _LOOK
        deaf = deaf + _LOOK if now.state == "D" and now == before else 0.0
        before = now
    if verdict.acquire(False):
        _give_up(seconds)


def _step(thread: int, kernel_thread: int) -> _Step:
    state, computed = "", 0.0
    with suppress(OSError):  # no /proc, and a thread that is just ending: then looks count alone
        computed = time.clock_gettime(time.pthread_getcpuclockid(thread))
        descriptor = os.open(f"/proc/self/task/{kernel_thread}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            state = os.read(descriptor, 256).rpartition(b") ")[2][:1].decode("ascii", "replace")
        finally:
            os.close(descriptor)
    return _Step(state, computed)


def _give_up(seconds: float) -> NoReturn:
    """From another thread: the run is stuck where no signal reaches it, as on a dead network drive."""
    with suppress(OSError):  # standard error is closed
        os.write(2, f"gpudoctor: given up after {seconds:g} s{_last_asked()}\n".encode("utf-8", "backslashreplace"))
    os._exit(_COULD_NOT_TELL)


def _last_asked() -> str:
    return f" (last asked for: {_Run.asked})" if _Run.asked else ""
