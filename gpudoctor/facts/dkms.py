"""The DKMS tree: which NVIDIA sources are registered, for which kernels they were built, and how builds failed."""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.facts.packages import Packages
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class DkmsBuild(NamedTuple):
    """What became of one source on one kernel."""

    kernel: str
    state: str  # "built" (its module folder is filled), "failed" (a make.log, no module)
    log: str  # path of make.log, "" if there is none
    errors: tuple[str, ...]  # of a failed build: the log's error lines, at most ten, in order; none: it was interrupted


class DkmsSource(NamedTuple):
    """One registered module source."""

    module: str  # "nvidia", "nvidia-current", "nvidia-tesla-470"
    version: str  # "535.309.01"
    source_present: bool  # /usr/src/MODULE-VERSION is there
    builds: tuple[DkmsBuild, ...]


class Dkms(NamedTuple):
    """All NVIDIA sources in /var/lib/dkms. `installed`: the dkms command itself is on the disk."""

    installed: bool
    sources: tuple[DkmsSource, ...]


_TREE = "/var/lib/dkms"
_HEAD = 4096  # bytes
_TAIL = 1024 * 1024  # bytes; NVIDIA's log is three times as long at most, and the build ends at its first errors
_ERRORS = 10
_ERROR_LENGTH = 300

# What compilers, make, modpost, the kernel's build and NVIDIA's own tests of it write when they give up. The log has
# every command too, with words such as -Werror and names such as uvm_fatal.c: no mark is a bare "error" or "fatal".
_MARKS = (
    " error: ",
    "fatal error",
    "ERROR: ",
    "*** ",
    "] Error ",
    "conftest failed",
    "version check",
    "does not match the compiler",
    "The kernel was built by",
    "You are using:",
    ": not found",
    ": command not found",
    "No space left on device",
)
_NO_ERRORS = ("echo ", "Waiting for unfinished jobs", "Deleting file")


@fact
def dkms(host: Host, packages: Packages | Unavailable) -> Dkms:
    """From the tree itself; `dkms status` takes a second, and calls installed what was deleted behind its back."""
    sources = [
        _source(host, module, version)
        for module in host.list(_TREE) or ()
        if module.startswith("nvidia")
        for version in host.list(f"{_TREE}/{module}") or ()
        if not version.startswith(("kernel-", ".", "original_module"))
    ]
    packaged = isinstance(packages, Packages) and packages.get("dkms") is not None
    installed = packaged or any(host.exists(f"{folder}/dkms") for folder in ("/usr/sbin", "/usr/bin"))
    return Dkms(installed, tuple(sources))


def _source(host: Host, module: str, version: str) -> DkmsSource:
    folder = f"{_TREE}/{module}/{version}"
    builds = [
        build
        for kernel in host.list(folder) or ()
        if kernel not in ("source", "build") and not kernel.startswith(".")
        for architecture in host.list(f"{folder}/{kernel}") or ()
        for build in _finished(host, module, version, kernel, architecture)
    ]
    # DKMS builds in one place, and leaves what failed there until it builds this source again.
    if "build" in (host.list(folder) or ()):
        failed = _failed(host, f"{folder}/build/make.log")
        builds += [build for build in failed if build.kernel not in {build.kernel for build in builds}]
    return DkmsSource(module, version, host.exists(f"{folder}/source/dkms.conf"), tuple(builds))


def _finished(host: Host, module: str, version: str, kernel: str, architecture: str) -> Iterator[DkmsBuild]:
    folder = f"{_TREE}/{module}/{version}/{kernel}/{architecture}"
    log = f"{folder}/log/make.log"
    # The link marks the version that is installed for a kernel.
    active = host.link(f"{_TREE}/{module}/kernel-{kernel}-{architecture}") == f"{version}/{kernel}/{architecture}"
    if active or host.list(f"{folder}/module"):
        yield DkmsBuild(kernel, "built", log if host.status(log) else "", ())
    else:
        yield from _failed(host, log)


def _failed(host: Host, log: str) -> Iterator[DkmsBuild]:
    text = host.read(log, last=_TAIL)
    if text is None:
        return
    head = text[:_HEAD] if "make.log for" in text[:_HEAD] else ""
    if not head:
        head = (host.read_bytes(log, _HEAD) or b"").decode("utf-8", "replace")
    # "DKMS make.log for nvidia/580.95.05 for kernel 6.1.0-56-amd64 (x86_64)"
    kernel = head.partition("make.log for")[2].partition(" for kernel ")[2].split(" ", 1)[0].strip()
    yield DkmsBuild(kernel, "failed", log, _errors(text))


def _errors(text: str) -> tuple[str, ...]:
    lines = (line.strip() for line in text.splitlines() if any(mark in line for mark in _MARKS))
    errors = dict.fromkeys(line[:_ERROR_LENGTH] for line in lines if not any(words in line for words in _NO_ERRORS))
    return tuple(errors)[:_ERRORS]
