"""The command line by which a hook calls gpudoctor: absolute, of safe letters, and changed by nobody but root."""

import os
import re
import stat
import sys
from collections.abc import Iterator

from gpudoctor.host import BadSource

Words = tuple[str, ...]

# What sh, apt.conf(5), systemd.exec(5), alpm-hooks(5), crontab(5) and dnf's action files all read as it stands.
_SAFE = re.compile(r"[A-Za-z0-9_./+@=,-]+")


def own_command() -> Words:
    """This gpudoctor, by the interpreter that runs it: `-I` leaves out PYTHON* variables and the working directory."""
    return (sys.executable, "-I", "-m", "gpudoctor")


def own_command_that_runs() -> Words:
    """The same, or the executable that was called where gpudoctor lies outside the interpreter's own folders.

    Raises BadSource if neither runs gpudoctor when a hook calls it.
    """
    try:
        require_runs(own_command())
    except BadSource:
        called = os.path.abspath(sys.argv[0])
        if os.path.basename(called) != "gpudoctor":
            raise
        require_runs((called,))
        return (called,)
    return own_command()


def named_command(path: str) -> Words:
    """The executable that the user names. Raises BadSource if it is not named by an absolute path."""
    if not path.startswith("/"):
        raise BadSource(f"{path}: a hook is started anywhere, so it needs an absolute path")
    return (path,)


def require_safe_letters(words: Words) -> None:
    """Raises BadSource if a word would be read differently by one of those who start hooks."""
    for word in words:
        if not _SAFE.fullmatch(word):
            raise BadSource(
                f"{word!r} has letters that package managers and the shell each read in their own way; install"
                " gpudoctor under a plainer path"
            )


def require_runs(words: Words) -> None:
    """Raises BadSource if the command does not run alone: installed for one user only, say, which `-I` leaves out."""
    import subprocess

    try:
        done = subprocess.run((*words, "--version"), stdin=subprocess.DEVNULL, capture_output=True, timeout=20, cwd="/")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadSource(f"{words[0]} cannot be run by a hook: {error}") from error
    if done.returncode or not done.stdout.startswith(b"gpudoctor "):
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise BadSource(f"`{' '.join(words)}` does not run gpudoctor when a hook calls it: {last[0][:200]}")


def require_only_root_changes(path: str, root: str = "/", *, own: bool = False) -> None:
    """Raises BadSource if somebody other than root could change what a hook runs as root.

    `root`: where the system lies whose executable it is; `own`: it runs this gpudoctor, whose files are looked at, too.
    """
    for place in (path, *(_own_code() if own else ())):
        found = _changeable(place, root)
        if found:
            raise BadSource(
                f"{found} can be changed by others than root, and a hook would run it as root; install gpudoctor where"
                " only root writes, as in /opt/gpudoctor, and run that one"
            )


def _own_code() -> Iterator[str]:
    """What Python reads besides the interpreter: its library, site-packages, and this package's own files."""
    from importlib.util import find_spec

    yield from (os.path.dirname(os.__file__), sys.prefix, sys.base_prefix)
    here = os.getcwd()  # on the path of `python -m gpudoctor`, and not of a hook
    yield from (entry for entry in sys.path if os.path.isdir(entry) and entry != here)
    for name in ("gpudoctor", "gpudoctor.checks", "gpudoctor.fixes"):
        spec = find_spec(name)
        for package in (spec.submodule_search_locations or ()) if spec else ():
            for folder, _, files in os.walk(package):
                yield folder
                yield from (os.path.join(folder, file) for file in files if file.endswith(".py"))


def _changeable(path: str, root: str) -> str:
    """The first place on the way to a path that others can change, links followed; "" if there is none."""
    pending = [part for part in reversed(path.split("/")) if part]
    place = ""
    for _ in range(400):
        if not pending:
            return ""
        part = pending.pop()
        if part in (".", ".."):
            place = os.path.dirname(place) if part == ".." else place
            continue
        place = f"{place}/{part}"
        outside = place if root == "/" else root.rstrip("/") + place
        try:
            found = os.lstat(outside)
        except OSError as error:
            raise BadSource(f"{outside}: {error.strerror}, so no hook can run it") from error
        if found.st_uid != 0 or _others_write(found):
            return outside
        if stat.S_ISLNK(found.st_mode):
            target = os.readlink(outside)
            place = "" if target.startswith("/") else os.path.dirname(place)
            pending += [part for part in reversed(target.split("/")) if part]
    return path  # links in a circle


def _others_write(found: os.stat_result) -> bool:
    if stat.S_ISLNK(found.st_mode) or (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return False  # in a sticky folder nobody replaces what is root's
    return bool(found.st_mode & stat.S_IWOTH) or (bool(found.st_mode & stat.S_IWGRP) and found.st_gid != 0)
