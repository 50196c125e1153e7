"""Room on the file systems that a driver installation writes to."""

from typing import NamedTuple


class FreeSpace(NamedTuple):
    """Bytes free for everybody, by path (/, /boot, /var, /usr)."""

    free: dict[str, int]
