"""One repair at a time: the lock of a state folder, which also tells of a command that a killed run left behind."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gpudoctor.host import BadSource
from gpudoctor.machine_identity import this_boot
from gpudoctor.state import make_folder


@contextmanager
def locked(folder: str) -> Iterator[Callable[[int], None]]:
    """Nobody else repairs with this state folder meanwhile. Gives what notes the process id of a command that runs.

    Raises BadSource where somebody does, or where a command of a killed run is still at work; OSError.
    """
    make_folder(folder)
    path = os.path.join(folder, "lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def note(process: int) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _process_line(process).encode(), 0)

    try:
        line = os.pread(descriptor, 256, 0).decode("ascii", "replace")
        process = line.partition(" ")[0]
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadSource(f"another gpudoctor is repairing this machine (see process {process})") from None
        if process.isdecimal() and _process_line(int(process)) == line:
            raise BadSource(f"a command of an earlier, killed run is still at work: wait until process {process} ends")
        note(os.getpid())
        try:
            yield note
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _process_line(process: int) -> str:
    """Tells a process from any other, also from one that gets the same number later; "" if there is none."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            state, *rest = file.read().rpartition(") ")[2].split()
        boot = this_boot()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if state in "ZX" else f"{process} {rest[18]} {boot}"  # the time of its start, proc_pid_stat(5)
