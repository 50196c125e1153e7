"""The live machine, and root file systems that are mounted somewhere: facts are read from their files."""

import os
import stat
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gpudoctor.host import (
    DEEP_TIMEOUT,
    DIGEST_LIMIT,
    GLOBAL_TIMEOUT,
    PROBE_TIMEOUT,
    READ_LIMIT,
    BadSource,
    Completed,
    FileStatus,
    Host,
    NotRunning,
    ProbeAnswer,
    SqlValue,
    Unavailable,
)
from gpudoctor.plain_files import is_encodable, part_of, require_file
from gpudoctor.time_limit import asking_for

if TYPE_CHECKING:
    from gpudoctor.children import Child


# Where the roots of a disk lie that has several of them: Fedora's images, subvolumes of btrfs.
_ROOTS = ("ostree/deploy/*/deploy/*", "@", "@rootfs", "root")


def _elsewhere(folder: str) -> str:
    """A hint at the root that may be meant."""
    from glob import escape, iglob  # here for start-up: only mistakes need it

    for pattern in _ROOTS:
        for found in iglob(os.path.join(escape(folder), pattern, "usr")):
            return f"; is {os.path.dirname(found)} meant?"
    return ""


class RootHost(Host):
    """A root file system mounted somewhere; nothing in it is executed.

    `kernel` is the kernel release to take as the running one; without it, the one that would boot next is meant.
    """

    source = "root"
    absent: tuple[str, ...] = ("/proc", "/sys", "/dev", "/run")  # what only a running system has

    def __init__(self, root: str, kernel: str | None = None) -> None:
        self.root = root.rstrip("/") or "/"
        if not os.path.isdir(self.root):
            raise BadSource(f"{root}: no such directory")
        if not any(os.path.lexists(os.path.join(self.root, known)) for known in ("etc", "usr", "var/lib")):
            raise BadSource(f"{root}: not the root of a Linux system (no etc, no usr){_elsewhere(self.root)}")
        self._folders: dict[str, str] = {}  # where the links in the way to a folder lead: most files have neighbours
        self._given = {"/proc/sys/kernel/osrelease": kernel + "\n"} if kernel else {}

    def read(self, path: str, *, first: int | None = None, last: int | None = None) -> str | None:
        if path in self._given:
            return self._given[path]
        data = self.read_bytes(path, first or last or READ_LIMIT, offset=-last if last else 0)
        if data is not None and not (first or last) and len(data) == READ_LIMIT:
            raise Unavailable(f"{path}: longer than {READ_LIMIT >> 20} MiB")  # half of it would be another answer
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
        real = self._real(path)
        try:
            require_file(path, os.stat(real))
            return part_of(real, limit, offset)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}") from error

    def list(self, path: str) -> tuple[str, ...] | None:
        real = self._real(path)
        try:
            return tuple(sorted(os.listdir(real)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}") from error

    def link(self, path: str) -> str | None:
        parent, name = os.path.split(path.rstrip("/"))
        try:
            return os.readlink(self._outside(os.path.join(self._resolve(parent), name)))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (22, 20):  # EINVAL: not a link; ENOTDIR
                return None
            raise Unavailable(f"{path}: {error.strerror}") from error

    def resolve(self, path: str) -> str | None:
        inside = self._resolve(path)
        try:
            os.lstat(self._outside(inside))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}") from error
        return inside

    def status(self, path: str) -> FileStatus | None:
        try:
            found = os.stat(self._real(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}") from error
        return FileStatus(
            _kind(found.st_mode),
            stat.S_IMODE(found.st_mode),
            found.st_uid,
            found.st_gid,
            found.st_size,
            found.st_mtime,
            (os.major(found.st_rdev), os.minor(found.st_rdev)),
        )

    def digest(self, path: str) -> str | None:
        from hashlib import sha256  # here for start-up: seldom needed

        status = self.status(path)
        if status is None or status.kind == "directory":
            return None
        if status.kind != "file" or status.size > DIGEST_LIMIT:
            raise Unavailable(f"{path}: {status.size >> 20} MiB are too much to hash, or it is no plain file")
        data = self.read_bytes(path, DIGEST_LIMIT + 1)
        return None if data is None else sha256(data).hexdigest()

    def free_bytes(self, path: str) -> int | None:
        try:
            found = os.statvfs(self._real(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}") from error
        return found.f_bavail * found.f_frsize

    def query(
        self, path: str, sql: str, parameters: Sequence[SqlValue] = ()
    ) -> tuple[tuple[SqlValue, ...], ...] | None:
        import sqlite3  # here for start-up: only rpm systems keep databases
        from urllib.parse import quote

        real = self._real(path)
        status = self.status(path)
        if status is None:
            return None
        if status.kind != "file":  # of a named pipe SQLite waits for a writer
            raise Unavailable(f"{path}: no plain file")
        try:
            # immutable: no lock and no -wal or -shm file is ever left beside the package manager's database.
            with sqlite3.connect(f"file:{quote(real)}?mode=ro&immutable=1", uri=True) as connection:
                return tuple(tuple(row) for row in connection.execute(sql, tuple(parameters)))
        except sqlite3.Error as error:
            raise Unavailable(f"{path}: {error}") from error

    def run(self, argv: Sequence[str], *, timeout: float = PROBE_TIMEOUT) -> Completed | None:
        raise NotRunning(f"cannot run {argv[0]}: the system is not running")

    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        raise NotRunning("the driver cannot be asked: the system is not running")

    def try_framework(self, interpreter: str, framework: str, timeout: float) -> ProbeAnswer:
        raise NotRunning("no framework can be tried: the system is not running")

    def _real(self, path: str) -> str:
        return self._outside(self._resolve(path))

    def _outside(self, inside: str) -> str:
        asking_for(inside)
        if not (inside.isascii() or is_encodable(inside)) or "\0" in inside:
            raise Unavailable(f"{inside!r} is no path")  # out of a damaged file; no file can be called so
        return self.root + inside if self.root != "/" else inside

    def _resolve(self, path: str) -> str:
        """Follow links as the machine would, never out of the root. What is missing is left as it stands."""
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._followed("", folder, path)
        return self._followed(self._folders[folder], name, path) or "/"

    def _followed(self, resolved: str, way: str, path: str) -> str:
        """From a folder on, "" for the root."""
        pending = way.split("/")[::-1]
        for _ in range(400):
            if not pending:
                break
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                resolved = resolved.rpartition("/")[0]
                continue
            step = f"{resolved}/{part}"
            if step in self.absent:
                raise NotRunning(f"no {path}: the system is not running")
            try:
                target = os.readlink(self._outside(step))
            except OSError:  # not a link, or nothing there: both end the following
                resolved = step
                continue
            if target.startswith("/"):
                resolved = ""
            pending.extend(target.split("/")[::-1])
        else:
            raise Unavailable(f"{path}: too many levels of symbolic links")
        return resolved


class LiveHost(RootHost):
    """This machine. All commands and probes together end by the global deadline, `timeout` seconds from now.

    `probe_timeout` is for the probes, `command_timeout` is the most that any one command gets.
    """

    source = "live"

    def __init__(
        self,
        timeout: float = GLOBAL_TIMEOUT,
        probe_timeout: float = PROBE_TIMEOUT,
        command_timeout: float = DEEP_TIMEOUT,
    ) -> None:
        super().__init__("/")
        self._deadline = time.monotonic() + timeout
        self._probe_timeout = probe_timeout
        self._command_timeout = command_timeout

    def resolve(self, path: str) -> str | None:
        try:
            return os.path.realpath(self._real(path), strict=True)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}") from error

    def run(self, argv: Sequence[str], *, timeout: float = PROBE_TIMEOUT) -> Completed | None:
        from gpudoctor.children import collect, start  # here for start-up: most checks need no command

        asking_for(argv[0])
        try:
            child = start(argv)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{argv[0]}: {error.strerror}") from error
        (ended,) = collect([child], self._by(timeout))
        if ended.failure:
            raise Unavailable(f"{argv[0]}: {ended.failure}")
        return Completed(
            tuple(argv),
            ended.exit_code,
            ended.stdout.decode("utf-8", "replace"),
            ended.stderr.decode("utf-8", "replace"),
        )

    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        from gpudoctor.children import collect, probe_answer, start_probe  # here for start-up

        asking_for("the driver")
        children: list[Child] = [start_probe(name) for name in names]
        ended = collect(children, self._by(self._probe_timeout))
        return {name: probe_answer(end) for name, end in zip(names, ended, strict=True)}

    def try_framework(self, interpreter: str, framework: str, timeout: float) -> ProbeAnswer:
        from gpudoctor.children import collect, probe_answer, start_framework  # here for start-up

        asking_for(interpreter)
        try:
            child = start_framework(interpreter, framework)
        except OSError as error:
            raise Unavailable(f"{interpreter}: {error.strerror}") from error
        (ended,) = collect([child], self._by(timeout))
        return probe_answer(ended)

    def _by(self, timeout: float) -> float:
        """When a child that is started now must have answered."""
        return min(time.monotonic() + min(timeout, self._command_timeout), self._deadline)

    def _resolve(self, path: str) -> str:
        return path  # the kernel follows links


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "character" if stat.S_ISCHR(mode) else "other"
