"""The locks of a package manager: who holds them, and waiting for them."""

import fcntl
import os
import struct
import time
from collections.abc import Callable, Sequence

DPKG = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock")
TIMEOUT = 600.0  # seconds; an unattended upgrade of everything is over by then

# struct flock: type, whence, start, length, process.
_FLOCK = "hhqqi4x"


def wait_for_locks(
    paths: Sequence[str], tell: Callable[[str], None], stop_wanted: Callable[[], bool], timeout: float = TIMEOUT
) -> str:
    """Wait until nobody holds one of these locks. Returns why it gave up, "" if they are free."""
    deadline, told = time.monotonic() + timeout, ""
    while True:
        holder = next((holder for path in paths for holder in [lock_holder(path)] if holder), "")
        if not holder:
            return ""
        if time.monotonic() >= deadline:
            return f"{holder} has had the package manager locked for {timeout / 60:.0f} minutes"
        if stop_wanted():
            return f"stopped while waiting for {holder}, which has locked the package manager"
        if told != holder:
            tell(f"waiting for {holder}, which has locked the package manager")
            told = holder
        time.sleep(0.5)


def lock_holder(path: str) -> str:
    """Who has locked a file with fcntl(2), as "apt-get (process 4711)"; "" if nobody has.

    Only root may open dpkg's locks. For others the kernel's list tells as much, unless the file system (btrfs,
    overlays) counts its devices in another way than stat(2).
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError:
        process = _listed_holder(path)
    else:
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
            process = None if kind == fcntl.F_UNLCK else int(pid)
        finally:
            os.close(descriptor)
    if process is None:
        return ""
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
            return f"{file.read().strip()} (process {process})"
    except OSError:  # it is another container's, or has just ended
        return f"process {process}"


def _listed_holder(path: str) -> int | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with open("/proc/locks", encoding="ascii", errors="replace") as file:
        for line in file:
            words = line.split()  # "2: POSIX  ADVISORY  WRITE 2811 fd:01:1180313 0 EOF"
            if words[3:4] == ["WRITE"] and words[5:6] == [place]:
                return int(words[4])
    return None
