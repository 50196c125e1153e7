"""Child processes that cannot hang the doctor: own process group, closed input, bounded output, a deadline.

A child that is stuck in the kernel cannot be killed; it is abandoned, not waited for.
"""

import os
import selectors
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, NamedTuple

from gpudoctor.host import ProbeAnswer, Unavailable
from gpudoctor.plain_json import plain_json

OUTPUT_LIMIT = 8 * 1024 * 1024
GRACE = 0.2  # seconds: what a child wrote right before it ended may still be in the pipe

# Before anything is imported: the folder in which the doctor happens to run may be somebody else's to write to.
_NOT_FROM_HERE = "import sys\nsys.path[:] = [entry for entry in sys.path if entry]\n"


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


class Account(NamedTuple):
    """Somebody in whose name a child runs."""

    user: int
    group: int
    groups: tuple[int, ...]
    home: str

    @property
    def identity(self) -> Mapping[str, object]:
        """As arguments of Popen."""
        return {"user": self.user, "group": self.group, "extra_groups": self.groups}

    def environment(self) -> dict[str, str]:
        """What a child in this name gets of our variables: those that concern CUDA, and where its programs lie."""
        from gpudoctor.facts.environment import is_of_interest  # here for start-up: few children are somebody else's

        kept = {name: value for name, value in os.environ.items() if is_of_interest(name, value)}
        return {**kept, "HOME": self.home, "PATH": os.environ.get("PATH", os.defpath)}


def start(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    account: Account | None = None,
    first: Callable[[], None] | None = None,
    given: str | None = None,
) -> Child:
    """Start a command, by root as somebody else where an account is given. Raises OSError if it cannot be started.

    `first`: what the child does before it becomes the command. `given`: the text on its standard input.
    """
    identity = {} if account is None else account.identity
    stdin = subprocess.DEVNULL if given is None else _in_memory(given)
    try:
        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/" if account else None,
            preexec_fn=first,
            env={**(os.environ if environment is None else environment), "LC_ALL": "C.UTF-8"},
            **identity,  # type: ignore[call-overload]
        )
    finally:
        if stdin >= 0:
            os.close(stdin)
    return Child(process, bytearray(), bytearray(), time.monotonic())


def _in_memory(text: str) -> int:
    """A descriptor of a file in memory and not of a pipe: a child that reads late, or never, makes nobody wait."""
    descriptor = os.memfd_create("input")
    os.write(descriptor, text.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def own_python(statement: str) -> list[str]:
    """The command that runs a statement of ours in a fresh interpreter.

    It sees our own import path, and nothing of the working directory or of PYTHON* variables: root may run the doctor
    in a folder that somebody else can write to.
    """
    path = [entry for entry in sys.path if entry and os.path.isabs(entry)]
    return [sys.executable, "-I", "-c", f"import sys; sys.path[:] = sys.argv[1:]; {statement}", *path]


def start_probe(name: str) -> Child:
    return start(own_python(f"from gpudoctor.probes import main; main({name!r})"))


def start_framework(interpreter: str, framework: str) -> Child:
    """Start the trial of a framework in the interpreter of its own environment.

    Root lends its rights to nobody's code: the child runs as the owner of the environment, and gets of root's
    variables only those that concern CUDA. Raises Unavailable where that does not make it safe, OSError if it cannot
    be started.
    """
    import gpudoctor.probes

    source = os.path.join(os.path.dirname(gpudoctor.probes.__file__), "framework.py")
    with open(source, encoding="utf-8") as file:
        argv = [interpreter, "-c", _NOT_FROM_HERE + file.read(), framework]
    account = owner_of(interpreter)
    if account is None:
        from gpudoctor.probes.restraint import leave_driver_unloaded

        # A framework that starts CUDA as root would load the driver's module: a diagnosis must not.
        return start(argv, first=leave_driver_unloaded)
    return start(argv, account.environment(), account)


def owner_of(interpreter: str) -> Account | None:
    """As whom to run what lies in this environment, None: as who we are. Raises Unavailable where that is not safe."""
    import pwd

    bin_folder = os.path.dirname(interpreter)
    places = (interpreter, bin_folder, os.path.dirname(bin_folder))
    owners = {os.lstat(place).st_uid for place in places}
    me = os.geteuid()
    if owners <= {me, 0} and not (me == 0 and any(_others_can_write(place) for place in places)):
        return None
    if me != 0:
        raise Unavailable(
            f"{interpreter} belongs to user {max(owners)}: run gpudoctor as that user, or as root, to try it"
        )
    others = owners - {0}
    if len(others) != 1:
        raise Unavailable(f"{interpreter} can be changed by several users: root does not run it")
    user = others.pop()
    try:
        known = pwd.getpwuid(user)
    except KeyError:
        raise Unavailable(
            f"{interpreter} belongs to user {user}, who has no account here: root does not run it"
        ) from None
    return Account(user, known.pw_gid, tuple(os.getgrouplist(known.pw_name, known.pw_gid)), known.pw_dir)


def _others_can_write(place: str) -> bool:
    mode = os.lstat(place).st_mode
    # In a sticky folder such as /tmp nobody can take another's files away, or put something in their place.
    return not stat.S_ISLNK(mode) and not mode & stat.S_ISVTX and bool(mode & (stat.S_IWOTH | stat.S_IWGRP))


def collect(children: Sequence[Child], deadline: float) -> list[Ended]:
    """Read all children until they end or the deadline (time.monotonic) passes."""
    pending = {id(child): child for child in children}
    ended: dict[int, Ended] = {}
    with selectors.DefaultSelector() as selector, _none_left_behind(pending):
        for child in children:
            for pipe, buffer in zip(pipes(child), (child.stdout, child.stderr), strict=True):
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
                    failure = signal_failure(child.process.returncode)
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


@contextmanager
def _none_left_behind(pending: Mapping[int, Child]) -> Iterator[None]:
    """Whoever interrupts the doctor does not reach its children: they are in sessions of their own."""
    try:
        yield
    finally:
        for child in pending.values():
            kill_group(child)
            reap(child, 0)


def _failure(child: Child, now: float, deadline: float) -> str:
    if len(child.stdout) > OUTPUT_LIMIT:
        return f"printed more than {OUTPUT_LIMIT >> 20} MiB"
    if now >= deadline and child.process.poll() is None:
        return f"no answer in {round(deadline - child.started, 1):g} s"
    return ""


def signal_failure(code: int) -> str:
    """From the exit code of a process: "ended by signal SIGSEGV", "" where it ended by itself."""
    if code >= 0:
        return ""
    try:
        return f"ended by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def pipes(child: Child) -> tuple[IO[bytes], IO[bytes]]:
    """Its standard output and error."""
    assert child.process.stdout is not None  # both are pipes, see `start`
    assert child.process.stderr is not None
    return child.process.stdout, child.process.stderr


def _open_pipes(selector: selectors.BaseSelector, child: Child) -> list[IO[bytes]]:
    registered = {key.fileobj for key in selector.get_map().values()}
    return [pipe for pipe in pipes(child) if pipe in registered]


def _end(child: Child, failure: str, selector: selectors.BaseSelector) -> Ended:
    for pipe in _open_pipes(selector, child):
        selector.unregister(pipe)
    kill_group(child)
    code = reap(child, 0.5)
    if code is None:
        failure, code = f"{failure}, and it cannot be killed: stuck in the kernel", -9
    return Ended(code, bytes(child.stdout), bytes(child.stderr), failure)


def kill_group(child: Child) -> None:
    """End the child and also what it left behind in its process group."""
    with suppress(ProcessLookupError, PermissionError):  # gone, or not ours (set-user-id): nothing to end
        os.killpg(child.process.pid, signal.SIGKILL)


def reap(child: Child, patience: float) -> int | None:
    """The exit code of a child that was killed; None where it cannot be: it is stuck in the kernel, and abandoned."""
    for pipe in pipes(child):
        pipe.close()
    try:
        return child.process.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        child.process.returncode = -signal.SIGKILL  # so that the interpreter does not wait for it at exit
        return None


def probe_answer(ended: Ended) -> ProbeAnswer:
    """The JSON object that a probe printed, or what is wrong with what it printed."""
    if ended.failure:
        return ProbeAnswer(None, ended.failure)
    try:
        answer = plain_json(ended.stdout)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return ProbeAnswer(answer, "")
    last = ended.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["nothing on standard error"]
    return ProbeAnswer(None, f"no usable answer (exit code {ended.exit_code}: {last[0][:200]})")
