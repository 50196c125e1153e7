"""The one folder that gpudoctor writes to of itself, and how it writes: whole files, and safe on the disk at once."""

import os
import stat
from contextlib import suppress

from gpudoctor.host import BadSource


def state_folder() -> str:
    """/var/lib/gpudoctor for root, else $XDG_STATE_HOME/gpudoctor (~/.local/state without it); $GPUDOCTOR_STATE goes
    before both. It need not exist.
    """
    chosen = os.environ.get("GPUDOCTOR_STATE", "")
    if chosen.startswith("/"):
        return chosen
    if os.geteuid() == 0:
        return "/var/lib/gpudoctor"
    # A relative path is to be ignored, says the XDG base directory specification.
    named = os.environ.get("XDG_STATE_HOME", "")
    return os.path.join(named if named.startswith("/") else os.path.expanduser("~/.local/state"), "gpudoctor")


def make_folder(folder: str) -> None:
    """Make it where it is missing. Raises OSError if that fails, BadSource if others could change what is in it."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    require_own(folder)


def require_own(path: str) -> None:
    """Raises BadSource if somebody else could have written what is there, OSError if it is not there."""
    found = os.lstat(path)
    if found.st_uid not in (os.geteuid(), 0):
        raise BadSource(f"{path} belongs to user {found.st_uid}: gpudoctor does not act on what others wrote")
    if not stat.S_ISLNK(found.st_mode) and found.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        raise BadSource(f"{path} can be changed by others: gpudoctor does not act on what others may have written")
    if stat.S_ISLNK(found.st_mode):
        raise BadSource(f"{path} is a link: gpudoctor's own files are none")
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise BadSource(f"{path} is neither a file nor a folder, as a named pipe is none")


def replace_file(path: str, data: bytes, *, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Write a whole file in one go: after a crash there is the old one or the new one. Raises OSError.

    `owner`: user and group to give it to. Extended attributes of the old file are kept.
    """
    beside = f"{path}.gpudoctor-new"
    with suppress(FileNotFoundError):
        os.unlink(beside)  # of a run that was killed
    _replace(path, data, beside, 0o600, mode, owner)


def write_whole(path: str, data: bytes) -> None:
    """As `replace_file`, for a file of the user's: its mode is what it was, or of a new one what the umask leaves; root
    leaves it to its owner. Raises OSError.
    """
    # Two runs may write the same file at the same time: neither takes the other's half for its own.
    beside = f"{path}.{os.urandom(4).hex()}.gpudoctor-new"
    try:
        old = os.stat(path)
    except FileNotFoundError:
        _replace(path, data, beside, 0o666, None, None)
        return
    ours = os.geteuid() != 0 or (old.st_uid, old.st_gid) == (0, 0)
    _replace(path, data, beside, 0o600, stat.S_IMODE(old.st_mode), None if ours else (old.st_uid, old.st_gid))


def _replace(
    path: str, data: bytes, beside: str, first_mode: int, mode: int | None, owner: tuple[int, int] | None
) -> None:
    """`first_mode`: before anything else is known of it, less the umask. `mode`: None leaves it so."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(beside, flags, first_mode), "wb") as file:
        try:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            if os.path.exists(path):
                for name in os.listxattr(path):
                    with suppress(OSError):  # a label that only the system may set: it sets its own
                        os.setxattr(file.fileno(), name, os.getxattr(path, name))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            os.unlink(beside)
            raise
    sync_folder(os.path.dirname(path))


def sync_folder(folder: str) -> None:
    """Names in it are on the disk afterwards. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
