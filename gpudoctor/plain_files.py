"""Bytes of files, whatever lies in their place: a named pipe, a device, a file without end cannot stop the reader."""

import os
import stat
import sys

from gpudoctor.host import GLOBAL_TIMEOUT, BadSource, Unavailable
from gpudoctor.time_limit import asking_for, at_least_limited, stop_in_time

PATIENCE = GLOBAL_TIMEOUT  # seconds that a pipe may be silent where no other time is set

# What opening and reading does to a device nobody knows, and it need not end. This one keeps the kernel's messages.
_READABLE_DEVICES = ("/dev/kmsg",)
_NULL = os.makedev(1, 3)  # /dev/null: a link to it in place of a file stands for an empty one


def require_file(path: str, found: os.stat_result) -> None:
    """Raises Unavailable for what is neither a file nor a directory, which says so itself."""
    kind = stat.S_IFMT(found.st_mode)
    if kind in (stat.S_IFREG, stat.S_IFDIR) or path in _READABLE_DEVICES:
        return
    if kind == stat.S_IFCHR and found.st_rdev == _NULL:
        return
    names = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    raise Unavailable(f"{path}: {names.get(kind, 'a device')} in place of a file")


def read_named(path: str, limit: int, *, patience: float | None = None, standard_input: bool = False) -> bytes:
    """At most `limit` bytes of what the user named as a file. Raises BadSource, in words for the user.

    A pipe is read until its writers are done, as the one that a shell makes of `<(command)`; it may be silent for
    `patience` seconds, and so may the disk on which a file is. `standard_input`: "-" stands for it. Whoever waits there
    can see that, so it ends with the run.
    """
    if standard_input and path == "-":
        return _standard_input(limit)
    patience = PATIENCE if patience is None else patience
    try:
        with at_least_limited(patience):  # it may be on a dead network drive
            asking_for(path)
            # Not blocking: a named pipe without a writer is opened at once, and waited for below.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            with at_least_limited(patience):
                asking_for(path)
                if stat.S_ISREG(os.fstat(descriptor).st_mode) or path in _READABLE_DEVICES:
                    return _read_all(descriptor, limit)
            return _read_as_it_comes(descriptor, limit, path, patience)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BadSource(f"{path}: {error.strerror}") from error


def part_of(path: str, limit: int, offset: int) -> bytes:
    """At most `limit` bytes from `offset` on (negative: from the end). Raises OSError."""
    # Not blocking: what was a file a moment ago may be a named pipe now.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if offset:
            size = os.lseek(descriptor, 0, os.SEEK_END)
            os.lseek(descriptor, max(0, size + offset) if offset < 0 else offset, os.SEEK_SET)
        return _read_all(descriptor, limit)
    finally:
        os.close(descriptor)


def is_encodable(path: str) -> bool:
    """Can a file be called so?"""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # half a character, as JSON can have it
        return False
    return True


def _standard_input(limit: int) -> bytes:
    if sys.stdin is None:
        raise BadSource("standard input: closed")
    asking_for("standard input")
    try:
        return stop_in_time(lambda: sys.stdin.buffer.read(limit))
    except Unavailable as reason:
        raise BadSource(str(reason)) from None
    except OSError as error:
        raise BadSource(f"standard input: {error.strerror}") from error


def _read_as_it_comes(descriptor: int, limit: int, path: str, patience: float) -> bytes:
    import select  # here for start-up: hardly anybody names a pipe

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    pieces = []
    while limit > 0:
        if not poll.poll(patience * 1000):
            raise BadSource(f"{path}: nothing came of it in {patience:g} s")
        try:
            piece = os.read(descriptor, min(limit, 1 << 16))
        except BlockingIOError:  # another reader was faster
            continue
        if not piece:
            break
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)


def _read_all(descriptor: int, limit: int) -> bytes:
    """Piece by piece: the kernel reserves room for a whole request, and refuses 32 MiB under /proc/sys."""
    pieces = []
    while limit > 0:
        try:
            piece = os.read(descriptor, min(limit, 1 << 16))
        except BlockingIOError:  # /dev/kmsg has no end: it waits for the next message
            break
        except BrokenPipeError:  # /dev/kmsg again: messages were overwritten while they were read; the next ones follow
            continue
        if not piece:
            break
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)
