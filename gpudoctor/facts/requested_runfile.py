"""The .run file of NVIDIA's that the user named: what is really in it, and whether root may run it."""

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from gpudoctor.facts.driver_version import is_driver_version
from gpudoctor.facts.elf import elf_machine
from gpudoctor.facts.runfile_head import HEAD_SIZE, RunfileHead, read_head
from gpudoctor.facts.wanted import Request, Wanted
from gpudoctor.host import FileStatus, Host, Unavailable
from gpudoctor.registry import fact

if TYPE_CHECKING:
    from typing_extensions import Buffer


class RequestedRunfile(NamedTuple):
    """The file, "" and 0 throughout where none was named. `problem`: why it must not be run, as a sentence."""

    path: str  # with all links followed
    kind: str  # "driver", "cuda"
    version: str  # of what is in it, "580.95.05", "12.8.0"; "" where only its name tells
    version_source: str  # what told it: "its head", "version.json in it", "its name"
    unpacked: int  # bytes that it unpacks to, 0 unknown
    free: tuple[tuple[str, int], ...]  # where it can be unpacked and installed, (folder, bytes free there)
    problem: str = ""


_NONE = RequestedRunfile("", "", "", "", 0, ())
_PIECE = 8 * 1024 * 1024  # bytes
_HASHED = 1024 * 1024 * 1024  # bytes; drivers have 400 MiB, which take a second; toolkits 5 GiB
_SEARCHED = 64 * 1024 * 1024  # bytes of a toolkit's archive
_FOLDERS = ("/tmp", "/var/tmp", "/usr")
_ARCHITECTURES = {"sbsa": "aarch64", "arm64": "aarch64"}
_NAME = re.compile(r"cuda_([0-9]+\.[0-9]+\.[0-9]+)_[0-9.]+_linux(?:_(\w+))?[.-]run")


@fact
def requested_runfile(host: Host, wanted: Wanted) -> RequestedRunfile:
    """From the file's head, its size and rights and those of the folders above it, and its checksum."""
    request = next((request for request in wanted.requests if request.runfile), None)
    if request is None:
        return _NONE
    path = host.resolve(request.runfile)
    status = None if path is None else host.status(path)
    if path is None or status is None or status.kind != "file":
        return _NONE._replace(path=request.runfile, problem=f"There is no file {request.runfile}.")
    head = read_head(host.read_bytes(path, HEAD_SIZE) or b"")
    if head is None or not head.kind:
        return _NONE._replace(
            path=path, problem=f"{path} is no .run file of NVIDIA's, or not all of its head is there."
        )
    inside = _inside(host, path, head)
    version, source = _version(path, head, inside)
    free = ((folder, host.free_bytes(folder)) for folder in _FOLDERS)
    runfile = RequestedRunfile(
        path, head.kind, version, source, head.unpacked, tuple((name, size) for name, size in free if size is not None)
    )
    architecture = head.architecture or inside.architecture or _named_architecture(path)
    problems = _problems(host, request, runfile, status, head, architecture)
    return runfile._replace(problem=next(problems, ""))


def _problems(
    host: Host, request: Request, runfile: RequestedRunfile, status: FileStatus, head: RunfileHead, architecture: str
) -> Iterator[str]:
    """What forbids to run it, the plainest first: hashing comes last."""
    path = runfile.path
    if runfile.kind != request.kind:
        what = {"driver": "a driver", "cuda": "a CUDA toolkit"}
        yield f"{path} is {what[runfile.kind]}, and {request.words} was asked for."
    elif runfile.version and not request.is_met_by(runfile.version):
        yield f"{path} is {runfile.version}, and {request.words} was asked for: {runfile.version_source} says so."
    elif not runfile.version:
        yield f"Which version {path} is cannot be told, neither from its head nor from its name."
    own = elf_machine(host, "/bin/sh") or ""
    if architecture and own and architecture != own:
        yield f"{path} is for machines of the kind {architecture}, and this one is {own}."
    yield from _writable(host, path, status)
    if head.size is not None and status.size != head.size:
        short = "is cut off" if status.size < head.size else "has something appended"
        yield f"{path} {short}: it has {status.size} bytes, and {head.size} according to its head. Download it again."
    elif head.md5 and status.size <= _HASHED and _md5(host, path, head.checked) != head.md5:
        yield f"{path} is damaged or cut off: its checksum is not the one in its head. Download it again."


def _writable(host: Host, path: str, status: FileStatus) -> Iterator[str]:
    """Root runs it, so nobody else may be able to put something in its place."""
    # Where each user has a group of his own, with the same number, what is writable for it is so for him alone.
    if status.mode & 0o002 or (status.mode & 0o020 and status.group not in (0, status.user)):
        yield f"{path} can be written by others, and root is to run it: `chmod go-w {path}`, and download it anew."
    folder = path.rpartition("/")[0]
    while folder:
        found = host.status(folder)
        # In a folder with the sticky bit, as /tmp, nobody can replace the files of another.
        if found is not None and found.mode & 0o002 and not found.mode & 0o1000:
            yield f"Anybody can put another file in the place of {path}: {folder} is open to all. Move it elsewhere."
            return
        folder = folder.rpartition("/")[0]


def _version(path: str, head: RunfileHead, inside: "_Inside") -> tuple[str, str]:
    if head.version:
        return head.version, "its head"
    if inside.version:
        return inside.version, inside.source
    name = _NAME.fullmatch(path.rpartition("/")[2])
    return (name[1], "its name") if name and head.kind == "cuda" else ("", "")


def _named_architecture(path: str) -> str:
    name = _NAME.fullmatch(path.rpartition("/")[2])
    return _ARCHITECTURES.get(name[2] or "", "x86_64") if name else ""


def _md5(host: Host, path: str, start: int) -> str:
    from hashlib import md5  # here for start-up: only where a file was named

    sum = md5(usedforsecurity=False)
    while piece := host.read_bytes(path, _PIECE, offset=start):
        sum.update(piece)
        start += len(piece)
    return sum.hexdigest()


class _Inside(NamedTuple):
    """What the files in the archive tell."""

    version: str
    source: str
    architecture: str


def _inside(host: Host, path: str, head: RunfileHead) -> _Inside:
    """Of a toolkit whose head does not tell: from its version.json, else from the driver that comes with it."""
    found = _Inside("", "", "")
    if head.kind != "cuda" or head.version:
        return found
    import tarfile  # here for start-up: only where a toolkit's file was named
    import zlib

    from gpudoctor.facts.toolkit_versions import version_in
    from gpudoctor.knowledge.cuda import toolkit_packaged_with

    try:
        with tarfile.open(fileobj=io.BufferedReader(_Archive(host, path, head.archive)), mode="r|gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                driver = re.fullmatch(r"NVIDIA-Linux-(\w+)-([0-9.]+)\.run", name)
                if name == "version.json" and member.size < 1 << 20:
                    file = archive.extractfile(member)
                    version = version_in(file.read().decode("utf-8", "replace")) if file else ""
                    if version:
                        return found._replace(version=version, source=f"{member.name} in it")
                elif driver and is_driver_version(driver[2]):
                    version = toolkit_packaged_with(driver[2]) or ""
                    source = f"{member.name} in it" if version else ""
                    found = _Inside(version, source, _ARCHITECTURES.get(driver[1], driver[1]))
    except (tarfile.TarError, zlib.error, EOFError, OSError):
        pass  # behind what is searched the archive goes on; that it is whole its checksum tells
    return found


class _Archive(io.RawIOBase):
    """The file from a byte on, for reading once, up to _SEARCHED bytes."""

    def __init__(self, host: Host, path: str, start: int) -> None:
        self._host, self._path, self._place, self._end = host, path, start, start + _SEARCHED

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer)
        wanted = min(len(view), self._end - self._place)
        try:
            piece = self._host.read_bytes(self._path, wanted, offset=self._place) or b""
        except Unavailable as reason:
            raise OSError(str(reason)) from reason
        view[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)
