"""Room on the file systems that a driver installation writes to."""

from typing import NamedTuple

from gpudoctor.host import Host
from gpudoctor.registry import fact


class FreeSpace(NamedTuple):
    """Bytes free for everybody, by path (/, /boot, /var, /usr). Folders that are not there are left out."""

    free: dict[str, int]


@fact
def free_space(host: Host) -> FreeSpace:
    """From statvfs(3). Folders on one file system have the same number."""
    answers = {path: host.free_bytes(path) for path in ("/", "/boot", "/usr", "/var")}
    return FreeSpace({path: free for path, free in answers.items() if free is not None})
