"""Where the report of a change goes: standard output, mail, the system log, all terminals, a command."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

from gpudoctor.findings import Severity
from gpudoctor.hooks.command import require_only_root_changes, require_safe_letters
from gpudoctor.hooks.verdict import say
from gpudoctor.host import BadSource
from gpudoctor.reports.text import visible

TIMEOUT = 60.0  # seconds for one of them

_ADDRESS = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._+=-]*[A-Za-z0-9])?(?:@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)?")
_SENDMAIL = ("/usr/sbin/sendmail", "/usr/lib/sendmail")


def require_target(text: str) -> str:
    """The same text. Raises BadSource if it is none of mail:ADDRESS, syslog, wall and command:/PATH."""
    kind, colon, rest = text.partition(":")
    if text in ("syslog", "wall"):
        return text
    if kind == "mail" and colon:
        if not _ADDRESS.fullmatch(rest):
            raise BadSource(f"--notify {text}: {rest!r} is no address that gpudoctor hands to a mail program")
        return text
    if kind == "command" and colon:
        if not rest.startswith("/"):
            raise BadSource(f"--notify {text}: a command is named by its absolute path")
        require_safe_letters((rest,))
        return text
    raise BadSource(f"--notify {text}: it is mail:ADDRESS, syslog, wall or command:/PATH")


def deliver(targets: Sequence[str], subject: str, text: str, severity: Severity) -> None:
    """Tell all of them; without one, standard output. Raises BadSource if nobody could be told.

    What fails while another works is said on standard error.
    """
    if not targets:
        sys.stdout.write(text.encode("utf-8", "replace").decode("utf-8"))
        sys.stdout.flush()
        return
    failures = []
    for target in targets:
        failure = _deliver(target, visible(subject), text, severity)
        if failure:
            failures.append(f"{target}: {failure}")
    if len(failures) == len(targets):
        raise BadSource(f"the change could not be reported, and will be the next time: {'; '.join(failures)}")
    say(*failures)


def _deliver(target: str, subject: str, text: str, severity: Severity) -> str:
    """Why it failed, "" if it did not."""
    kind, _, rest = target.partition(":")
    match kind:
        case "mail":
            return _mail(rest, subject, text)
        case "syslog":
            return _log(text, severity)
        case "wall":
            return _feed(("wall",), f"{subject}\n\n{text}")
        case _:
            return _run_command(rest, text)


def _mail(address: str, subject: str, text: str) -> str:
    program = next((path for path in _SENDMAIL if os.access(path, os.X_OK)), None)
    if program:
        head = f"To: {address}\nSubject: {_in_ascii(subject)}\nMIME-Version: 1.0\n"
        head += "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
        return _feed((program, "-i", address), f"{head}\n{text}")
    if shutil.which("mail"):
        return _feed(("mail", "-s", subject, address), text)
    return "there is neither sendmail nor mail here"


def _in_ascii(subject: str) -> str:
    return subject.encode("ascii", "replace").decode()


def _log(text: str, severity: Severity) -> str:
    from syslog import LOG_DAEMON, LOG_ERR, LOG_NOTICE, LOG_WARNING, openlog, syslog

    if not os.path.exists("/dev/log"):
        return "there is no /dev/log, so no system log takes it"
    openlog("gpudoctor", facility=LOG_DAEMON)
    priority = {Severity.ERROR: LOG_ERR, Severity.WARNING: LOG_WARNING}.get(severity, LOG_NOTICE)
    for line in text.splitlines():
        if line.strip():
            syslog(priority, visible(line))
    return ""


def _run_command(path: str, text: str) -> str:
    if os.geteuid() == 0:
        try:
            require_only_root_changes(path)
        except BadSource as error:
            return str(error)
    return _feed((path,), text)


def _feed(argv: Sequence[str], text: str) -> str:
    """Run it with the text on its standard input; why it failed, "" if it did not."""
    try:
        done = subprocess.run(
            argv, input=text.encode("utf-8", "replace"), capture_output=True, timeout=TIMEOUT, cwd="/", check=False
        )
    except subprocess.TimeoutExpired:
        return f"{argv[0]} did not end in {TIMEOUT:.0f} s"
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        return f"{argv[0]} ended with exit code {done.returncode}" + (f": {last[0][:200]}" if last else "")
    return ""
