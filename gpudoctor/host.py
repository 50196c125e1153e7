"""Where facts are read from: what every source answers (machines are in `gpudoctor.machine` and `.snapshot`).

What the machine does not have is an answer: None. What this source cannot tell is not: `Unavailable` is raised,
and no check passes on it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

READ_LIMIT = 32 * 1024 * 1024
DIGEST_LIMIT = 64 * 1024 * 1024  # bytes; hashing them takes about 0.05 s
PROBE_TIMEOUT = 10.0
GLOBAL_TIMEOUT = 20.0
DEEP_TIMEOUT = 600.0  # with `check --deep`, which starts frameworks

SqlValue = str | int | float | bytes | None


class Unavailable(Exception):
    """This source cannot tell; the text says why, in words for the user."""


class NotRunning(Unavailable):
    """Only a running machine can tell, and this source is a disk. Expected there, so it never makes a check fail."""


class NotRecorded(Unavailable):
    """A snapshot does not have the answer: nobody asked when it was recorded, mostly an older gpudoctor."""


class BadSource(Exception):
    """What the user named is no machine: not a root, not a snapshot. The text says what is wrong with it."""


class Completed(NamedTuple):
    """A command that ran to its end."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


class FileStatus(NamedTuple):
    """What stat(2) says of a path, links followed. `device` is (major, minor) of a device node, else (0, 0)."""

    kind: str  # "file", "directory", "character", "other"
    mode: int  # permission bits, as in 0o666
    user: int
    group: int
    size: int  # bytes
    modified: float  # seconds since the epoch
    device: tuple[int, int]


class ProbeAnswer(NamedTuple):
    """What a child that called NVML, libcuda or /proc printed, or why there is nothing."""

    answer: Mapping[str, object] | None
    failure: str  # "" with an answer; else "no answer in 10 s", "ended by signal SIGSEGV"...


def quietly(ask: Callable[[str], T | None], path: str) -> T | None:
    """The answer of a host's question; None also where it cannot tell.

    For looking around in places that nobody asked for. Never for judging: ignorance looks like absence then.
    """
    try:
        return ask(path)
    except Unavailable:
        return None


class Host(ABC):
    """Read-only access to one machine. Paths are absolute, as on that machine."""

    source: str  # "live", "root", "snapshot"
    pythons: tuple[str, ...] = ()  # the Python environments that the user named; empty: those that are found

    @abstractmethod
    def read(self, path: str, *, first: int | None = None, last: int | None = None) -> str | None:
        """The text of a file (or of its first or last bytes), None if there is none.

        What is no UTF-8 survives as surrogates.
        """

    @abstractmethod
    def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
        """At most `limit` bytes from `offset` on (negative: from the end), None if there is no such file."""

    @abstractmethod
    def list(self, path: str) -> tuple[str, ...] | None:
        """The names in a directory, sorted, None if there is no such directory."""

    @abstractmethod
    def link(self, path: str) -> str | None:
        """The target text of a symbolic link, None if the path is none."""

    @abstractmethod
    def resolve(self, path: str) -> str | None:
        """The path that is left when all links are followed, None if nothing is there."""

    @abstractmethod
    def status(self, path: str) -> FileStatus | None:
        """Kind, mode, owner, size and times of what the path leads to, None if nothing is there."""

    @abstractmethod
    def digest(self, path: str) -> str | None:
        """SHA-256 of a file in hexadecimal, None if there is no such file. Raises Unavailable past DIGEST_LIMIT."""

    @abstractmethod
    def free_bytes(self, path: str) -> int | None:
        """Bytes free for everybody on the file system of a path, None if the path is not there."""

    @abstractmethod
    def query(
        self, path: str, sql: str, parameters: Sequence[SqlValue] = ()
    ) -> tuple[tuple[SqlValue, ...], ...] | None:
        """Rows of an SQLite database, None if there is no such file. Raises Unavailable if it is no database."""

    @abstractmethod
    def run(self, argv: Sequence[str], *, timeout: float = PROBE_TIMEOUT) -> Completed | None:
        """Run a command that changes nothing; None if there is none. Raises Unavailable past the deadline."""

    @abstractmethod
    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        """Ask the driver or /proc in children, side by side (`gpudoctor.probes`), each with a deadline."""

    @abstractmethod
    def try_framework(self, interpreter: str, framework: str, timeout: float) -> ProbeAnswer:
        """Let one framework of a Python environment compute in a child (`gpudoctor.probes.framework`), as its owner."""

    def exists(self, path: str) -> bool:
        return self.resolve(path) is not None
