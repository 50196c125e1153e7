"""SQLite's write-ahead log: databases are read without it, so is there anything in it that the database lacks?

rpm empties the log when it is done; dnf leaves it filled, and only the index beside it tells that all of it was
written back. The format is SQLite's own (sqlite.org/walformat.html).
"""

from gpudoctor.host import Host, Unavailable

_INDEX_SIZE = 136
_LOG_HEAD = 32


def require_written_back(host: Host, path: str) -> None:
    """Raises Unavailable if the database file alone may not be the newest state."""
    log = host.status(f"{path}-wal")
    if log is None or log.size == 0:
        return
    index = host.read_bytes(f"{path}-shm", _INDEX_SIZE) or b""
    head = host.read_bytes(f"{path}-wal", _LOG_HEAD) or b""
    if not is_written_back(index, head):
        raise Unavailable(f"{path}: changes wait in {path}-wal; its program is running, or was interrupted")


def is_written_back(index: bytes, log_head: bytes) -> bool:
    """Do the first bytes of -shm and -wal say that every frame of this very log is in the database?"""
    if len(index) < 100 or len(log_head) < _LOG_HEAD:
        return False
    same_log = index[32:40] == log_head[16:24]  # the salt, new with every log
    return same_log and index[16:20] == index[96:100]  # frames in the log, frames written back
