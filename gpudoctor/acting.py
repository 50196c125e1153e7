"""What a plan's actions do on this machine: commands with live output, as root where a step needs it, and files."""

import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NamedTuple

from gpudoctor.children import Account, collect, owner_of, start
from gpudoctor.execute import Refused
from gpudoctor.host import Unavailable
from gpudoctor.journal import SIZE_LIMIT, Saved
from gpudoctor.machine_identity import this_boot
from gpudoctor.package_locks import DPKG, wait_for_locks
from gpudoctor.repair import ENVIRONMENT, Run, Step
from gpudoctor.state import replace_file, sync_folder

STEP_TIMEOUT = 2 * 3600.0  # seconds; building the module for several kernels takes half an hour on small machines
PROOF_TIMEOUT = 60.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A package manager that runs in somebody's shell must not take its libraries and modules from there.
_NOT_INHERITED = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
_USERS_OF_DPKG = ("apt-get", "dpkg")


class Consent(NamedTuple):
    """What the user answers, or has answered beforehand."""

    ask: Callable[[str], bool] | None  # None: nobody is there to be asked
    restart: bool = False  # without asking
    person_done: bool = False  # the instruction at which the run stands has been followed


class LiveMachine:
    """This machine. `consent`: how to ask its user. `started` is told the process id of each command that is run."""

    def __init__(self, consent: Consent, started: Callable[[int], None]) -> None:
        self._consent, self._started = consent, started
        self._interrupts = 0
        self._asking = False
        self._child: subprocess.Popen[bytes] | None = None

    def boot(self) -> str:
        return this_boot()

    def run(self, step: Step, command: Run) -> int:
        argv, account = self._as_whom(step, command.argv)
        # apt-get would give up at once, and dpkg as well; a trial needs no lock.
        if command.argv[0] in _USERS_OF_DPKG and "-s" not in command.argv:
            obstacle = wait_for_locks(DPKG, self.tell, self.stop_wanted)
            if obstacle:
                raise Refused(obstacle)
        identity = {} if account is None else account.identity
        try:
            child: subprocess.Popen[bytes] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                stderr=sys.stderr.fileno(),
                env=_environment(account),
                # A group of its own: Ctrl-C must not kill a package manager in the middle of its work.
                preexec_fn=os.setpgrp,
                cwd="/",  # Python looks for modules in the folder that it is started in: anybody's
                **identity,  # type: ignore[call-overload]
            )
        except OSError as error:
            raise Refused(f"{argv[0]} cannot be started: {error.strerror}") from error
        self._started(child.pid)
        self._child = child
        try:
            code = child.wait(STEP_TIMEOUT)
        except subprocess.TimeoutExpired:
            _end(child)
            raise Refused(f"no end in {STEP_TIMEOUT / 3600:.0f} hours") from None
        finally:
            self._child = None
        if code < 0:
            raise Refused(f"it was ended by signal {-code}")
        return code

    def proves(self, step: Step, command: Run) -> bool:
        argv, account = self._as_whom(step, command.argv)
        try:
            child = start(argv, _environment(account), account)
        except FileNotFoundError:
            return False  # the very program that the step is to bring may be missing
        except OSError as error:
            raise Refused(f"{argv[0]} cannot be started: {error.strerror}") from error
        (ended,) = collect([child], time.monotonic() + PROOF_TIMEOUT)
        if ended.failure:
            raise Refused(f"the proof `{command}` got no answer: {ended.failure}")
        return ended.exit_code == 0

    def read(self, path: str) -> Saved | None:
        try:
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
                data = file.read(SIZE_LIMIT)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}") from error
        if not stat.S_ISREG(found.st_mode) or len(data) == SIZE_LIMIT:
            raise Refused(f"{path} is no plain file, or too big to be kept for the way back")
        return Saved(data, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)

    def write(self, step: Step, path: str, data: bytes, like: Saved | None) -> None:
        real = os.path.realpath(path)
        if step.root and os.geteuid() != 0:
            self._write_as_root(step, real, data, like)
            return
        try:
            with _as_owner_of(os.path.dirname(real), step):
                mode, owner = (0o644, None) if like is None else (like.mode, (like.user, like.group))
                replace_file(real, data, mode=mode, owner=owner if os.geteuid() == 0 else None)
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}") from error

    def remove(self, step: Step, path: str) -> None:
        if step.root and os.geteuid() != 0:
            self._quietly(step, ("rm", "--", path))
            return
        try:
            with _as_owner_of(os.path.dirname(path), step):
                os.unlink(path)
                sync_folder(os.path.dirname(path))
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}") from error

    def restart(self) -> bool:
        if not self._consent.restart and not self._asked("Restart the machine now?"):
            return False
        self.tell("restarting; `gpudoctor fix --resume` goes on afterwards")
        self._quietly(None, ("systemctl", "reboot"))
        return True

    def by_person(self, instruction: str) -> bool:
        if self._consent.person_done:
            self._consent = self._consent._replace(person_done=False)
            return True
        return self._asked("Is it done?")

    def _asked(self, question: str) -> bool:
        """What the user answers; no where nobody can be asked, and on Ctrl-C."""
        if self._consent.ask is None:
            return False
        self._asking = True
        try:
            return self._consent.ask(question)
        except KeyboardInterrupt:
            return False
        finally:
            self._asking = False

    def stop_wanted(self) -> bool:
        return self._interrupts > 0

    def tell(self, words: str) -> None:
        from gpudoctor.reports.text import visible

        print(f"gpudoctor: {visible(words)}", file=sys.stderr, flush=True)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Ctrl-C stops between two steps meanwhile; pressed again it interrupts the step."""
        before = signal.signal(signal.SIGINT, self._interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._asking:
            raise KeyboardInterrupt
        child = self._child
        if child is None:
            return
        if self._interrupts == 1:
            self.tell("stopping after this step; Ctrl-C again interrupts it, which may leave packages half installed")
        else:
            # sudo's child is root's; sudo itself passes the signal on where it may be sent.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGINT)

    def _as_whom(self, step: Step, argv: Sequence[str]) -> tuple[tuple[str, ...], Account | None]:
        """The command as it is started, and in whose name: root's, the environment's owner's, or (None) one's own."""
        root = os.geteuid() == 0
        if step.root and not root:
            return (*self._sudo(), "env", *_assignments(), *argv), None
        if root and not step.root:
            place = next((word for word in argv if word.startswith("/")), "")
            while place and not os.path.lexists(place):
                place = os.path.dirname(place)
            try:
                return tuple(argv), owner_of(place) if place else None
            except Unavailable as reason:
                raise Refused(str(reason)) from reason
        return tuple(argv), None

    def _sudo(self) -> tuple[str, ...]:
        try:
            known = subprocess.run(["sudo", "-n", "-v"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
            if known.returncode != 0 and self._consent.ask is not None:
                # In the foreground, so that sudo can ask for the password.
                subprocess.run(["sudo", "-v", "-p", "gpudoctor: the password of %u, for this step: "], check=False)
        except FileNotFoundError:
            raise Refused("it needs root, and there is no sudo here: run `gpudoctor fix` as root") from None
        return ("sudo", "-n", "--")

    def _write_as_root(self, step: Step, path: str, data: bytes, like: Saved | None) -> None:
        from tempfile import NamedTemporaryFile

        mode, user, group = (0o644, 0, 0) if like is None else like[1:]
        with NamedTemporaryFile() as draft:
            draft.write(data)
            draft.flush()
            rights = ("-m", f"{mode:o}", "-o", str(user), "-g", str(group))
            self._quietly(step, ("install", *rights, "-T", "--", draft.name, f"{path}.gpudoctor-new"))
        self._quietly(step, ("mv", "-T", "--", f"{path}.gpudoctor-new", path))
        self._quietly(step, ("sync", os.path.dirname(path)))

    def _quietly(self, step: Step | None, argv: Sequence[str]) -> None:
        """Raises Refused with the command's own words if it does not end with 0."""
        whole = (*self._sudo(), *argv) if os.geteuid() != 0 and (step is None or step.root) else tuple(argv)
        try:
            done = subprocess.run(
                whole,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=_environment(None),
            )
        except OSError as error:
            raise Refused(f"{whole[0]} cannot be started: {error.strerror}") from error
        if done.returncode != 0:
            raise Refused(f"{' '.join(argv)}: {done.stderr.strip() or f'exit code {done.returncode}'}")


def _environment(account: Account | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    own = {} if account is None else {"HOME": account.home, "USER": _name(account.user), "LOGNAME": _name(account.user)}
    path = {"PATH": _PATH} if os.geteuid() == 0 and account is None else {"PATH": f"{kept.get('PATH', '')}:{_PATH}"}
    return {**kept, **own, **path, **ENVIRONMENT, "LC_ALL": "C.UTF-8"}


def _assignments() -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in {**ENVIRONMENT, "LC_ALL": "C.UTF-8", "PATH": _PATH}.items())


def _name(user: int) -> str:
    return pwd.getpwuid(user).pw_name


def _end(child: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: abandoned
            child.wait(10)
            return


@contextmanager
def _as_owner_of(folder: str, step: Step) -> Iterator[None]:
    """Root writes to somebody's folder in that user's name, so that no link there can lead it elsewhere."""
    owner = os.stat(folder)
    if step.root or os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
