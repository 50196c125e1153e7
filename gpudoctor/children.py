"""Child processes that cannot hang the doctor: own process group, closed input, bounded output, a deadline.

A child that is stuck in the kernel cannot be killed; it is abandoned, not waited for.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, NamedTuple

from gpudoctor.host import ProbeAnswer

OUTPUT_LIMIT = 8 * 1024 * 1024
GRACE = 0.2  # seconds: what a child wrote right before it ended may still be in the pipe

# The child sees the parent's own import path, and nothing of the working directory or of PYTHON* variables:
# root may run the doctor in a folder that somebody else can write to.
_BOOT = "import sys; name, sys.path[:] = sys.argv[1], sys.argv[2:]; from gpudoctor.probes import main; main(name)"


class Child(NamedTuple):
    process: subprocess.Popen[bytes]
    stdout: bytearray
    stderr: bytearray
    started: float


class Ended(NamedTuple):
    """How a child ended. `failure` is "" when it ran to its end, whatever its exit code."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    failure: str


def start(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
    """Start a command. Raises OSError if it cannot be started."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**(os.environ if environment is None else environment), "LC_ALL": "C.UTF-8"},
    )
    return Child(process, bytearray(), bytearray(), time.monotonic())


def start_probe(name: str) -> Child:
    path = [entry for entry in sys.path if entry and os.path.isabs(entry)]
    return start([sys.executable, "-I", "-c", _BOOT, name, *path])


def collect(children: Sequence[Child], deadline: float) -> list[Ended]:
    """Read all children until they end or the deadline (time.monotonic) passes."""
    pending = {id(child): child for child in children}
    ended: dict[int, Ended] = {}
    with selectors.DefaultSelector() as selector:
        for child in children:
            for pipe, buffer in zip(_pipes(child), (child.stdout, child.stderr), strict=True):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, (child, buffer))
        gone_since: dict[int, float] = {}
        while pending:
            now = time.monotonic()
            for key, child in list(pending.items()):
                failure = _failure(child, now, deadline)
                if child.process.poll() is not None and not failure:
                    # A grandchild may hold the pipes open for ever: the child's own end is what counts.
                    gone_since.setdefault(key, now)
                    if now - gone_since[key] < GRACE and _open_pipes(selector, child):
                        continue
                    failure = _signal_failure(child.process.returncode)
                elif not failure:
                    continue
                ended[key] = _end(child, failure, selector)
                del pending[key]
            for event, _ in selector.select(0.01 if pending else 0):
                _, buffer = event.data
                data = os.read(event.fd, 1 << 16)
                if data and len(buffer) <= OUTPUT_LIMIT:  # what is past it on standard error is dropped
                    buffer += data
                elif not data:
                    selector.unregister(event.fileobj)
    return [ended[id(child)] for child in children]


def _failure(child: Child, now: float, deadline: float) -> str:
    if len(child.stdout) > OUTPUT_LIMIT:
        return f"printed more than {OUTPUT_LIMIT >> 20} MiB"
    if now >= deadline and child.process.poll() is None:
        return f"no answer in {deadline - child.started:.0f} s"
    return ""


def _signal_failure(code: int) -> str:
    if code >= 0:
        return ""
    try:
        return f"ended by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _pipes(child: Child) -> tuple[IO[bytes], IO[bytes]]:
    assert child.process.stdout is not None  # both are pipes, see `start`
    assert child.process.stderr is not None
    return child.process.stdout, child.process.stderr


def _open_pipes(selector: selectors.BaseSelector, child: Child) -> list[IO[bytes]]:
    registered = {key.fileobj for key in selector.get_map().values()}
    return [pipe for pipe in _pipes(child) if pipe in registered]


def _end(child: Child, failure: str, selector: selectors.BaseSelector) -> Ended:
    for pipe in _open_pipes(selector, child):
        selector.unregister(pipe)
    # The whole group, also what the child left behind in it. Gone, or not ours (set-user-id): nothing to end.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)
    for pipe in _pipes(child):
        pipe.close()
    try:
        code = child.process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:  # stuck in the kernel: abandoned, and that is itself evidence
        failure, code = f"{failure}, and it cannot be killed: stuck in the kernel", -9
        child.process.returncode = code  # so that the interpreter does not wait for it at exit
    return Ended(code, bytes(child.stdout), bytes(child.stderr), failure)


def probe_answer(ended: Ended) -> ProbeAnswer:
    """The JSON object that a probe printed, or what is wrong with what it printed."""
    if ended.failure:
        return ProbeAnswer(None, ended.failure)
    try:
        answer = json.loads(ended.stdout)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return ProbeAnswer(answer, "")
    last = ended.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["nothing on standard error"]
    return ProbeAnswer(None, f"no usable answer (exit code {ended.exit_code}: {last[0][:200]})")
