"""What pacman tells its hooks: names of packages, one a line. The versions to come are asked of pacman itself."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from gpudoctor.hooks import upgrade_note
from gpudoctor.hooks.judging import ENVIRONMENT, judge, speak, unforeseen
from gpudoctor.hooks.upgrade_note import UpgradeNote
from gpudoctor.hooks.verdict import DEADLINE, read_standard_input, say
from gpudoctor.preflight.pacman_simulation import read_pacman
from gpudoctor.preflight.transaction import Change, NoTransaction, Transaction, change


def note_removals() -> int:
    """Note which packages go: the hook that judges is told all names, and not which of them go."""
    names = () if os.isatty(0) else tuple(_names())
    if names:
        say(upgrade_note.leave(UpgradeNote(removals=names)))
    return 0


def before(enforce: bool) -> int:
    """Judge what pacman is about to do. Returns the exit code STOP if it must not happen."""
    if os.isatty(0):
        say("`hook run pacman-before` is what pacman calls: it reads which packages change")
        return 0
    note = upgrade_note.read()
    removals = note.removals if note else ()
    try:
        names = tuple(_names())
        coming = [name for name in names if name not in removals]
        transaction = transaction_of(
            tuple(name for name in names if name in removals), coming, _coming_versions(coming) if coming else {}
        )
    except NoTransaction as reason:
        return speak(unforeseen(str(reason)))
    return speak(judge(transaction, enforce, f"repeat the command with {ENVIRONMENT}=false in its environment"))


def transaction_of(removals: Sequence[str], coming: Sequence[str], versions: Mapping[str, str]) -> Transaction:
    """Raises NoTransaction if a version is not known, or a word is none that can be."""
    unknown = [name for name in coming if name not in versions]
    if unknown:
        raise NoTransaction(f"pacman does not tell which version of {', '.join(unknown)} comes")
    changes: list[Change] = [change(name, "", "", "") for name in removals]
    changes += [change(name, "", "", versions[name]) for name in coming]
    return Transaction("pacman", tuple(changes), (), "pacman")


def _names() -> Iterator[str]:
    """Raises NoTransaction if pacman does not come to an end, or if a name cannot be one."""
    text = read_standard_input(0, DEADLINE)
    if text is None:
        raise NoTransaction("pacman did not name the packages in time")
    for name in text.split():
        yield change(name, "", "", "").name


def _coming_versions(names: Sequence[str]) -> dict[str, str]:
    """By name, from the databases that pacman has here. Raises NoTransaction where those do not tell."""
    if _installs_files():
        raise NoTransaction("pacman -U does not tell its hooks what is in the files")
    argv = ("pacman", "-Sp", "--print-format", "%n %v", "--", *names)
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoTransaction(f"pacman -Sp: {error}") from error
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise NoTransaction(f"pacman -Sp: {last[0][:200]}")
    planned = read_pacman(done.stdout.decode("utf-8", "replace"), "pacman -Sp")
    return {change.name: change.new for change in planned.changes}


def _installs_files() -> bool:
    """Is one of our ancestors `pacman -U`?"""
    process = os.getppid()
    for _ in range(3):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{process}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            return False
        if os.path.basename(words[0]) == b"pacman":
            return any(word == b"--upgrade" or (word[:1] == b"-" and word[1:2] == b"U") for word in words[1:])
        process = parent
    return False
