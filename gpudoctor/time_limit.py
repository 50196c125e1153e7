"""The time that one run may take. What is still being found out when it is over stays unknown, and the report is made.

Children have deadlines of their own (`gpudoctor.children`); this is for what the doctor does itself: a file that
nothing comes of, one that is megabytes of junk. Where not even a signal gets it out of the kernel, the run is ended.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from gpudoctor.host import Unavailable

T = TypeVar("T")

_AGAIN = 0.1  # seconds after which the next thing that takes long is interrupted, too
_LAST_PATIENCE = 0.5  # seconds that a stuck run gets beyond its time: an interrupted one needs less for its report
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
    ended = _thread.allocate_lock()
    ended.acquire()
    before = signal.signal(signal.SIGALRM, _interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        _thread.start_new_thread(_watch, (ended, seconds + _LAST_PATIENCE))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        ended.release()
        _Run.seconds, _Run.over = None, False


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


def _watch(ended: "_thread.LockType", patience: float) -> None:  # type: ignore[name-defined]  # noqa: F821
    if not ended.acquire(timeout=patience):
        _give_up()


def _give_up() -> NoReturn:
    """From another thread: this one is stuck where no signal reaches it, as on a dead network drive."""
    text = f"gpudoctor: given up after {_Run.seconds:g} s{_last_asked()}\n"
    os.write(2, text.encode("utf-8", "backslashreplace"))
    os._exit(_COULD_NOT_TELL)


def _last_asked() -> str:
    return f" (last asked for: {_Run.asked})" if _Run.asked else ""
