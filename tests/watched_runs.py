"""Runs gpudoctor in a child that notes whatever it opens, starts, connects to or changes outside of its own code."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_CHILD = """
import contextlib, io, json, os, sys
runs, allowed = json.loads(sys.stdin.read())
import gpudoctor.checks, gpudoctor.cli, gpudoctor.fixes

code = (gpudoctor.__path__[0], gpudoctor.checks.__path__[0], gpudoctor.fixes.__path__[0])
own = tuple(os.path.realpath(place) for place in (*code, sys.prefix, sys.base_prefix, *sys.path, *allowed) if place)
seen, watching = [], False
LOOKS = ("open", "os.listdir", "os.scandir")
ACTS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "os.remove", "os.rename",
        "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.kill", "os.putenv",
        "shutil.", "socket.", "ctypes.dlopen", "sqlite3.connect", "webbrowser.", "urllib.", "tempfile.")

def watch(event, arguments):
    if not watching:
        return
    if event in LOOKS:
        path, *more = arguments
        mode, flags = more if event == "open" else ("", 0)
        writes = set(str(mode or "")) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if isinstance(path, int):
            return
        real = os.path.realpath(os.fsdecode(path or "."))
        inside = real in own or any(real.startswith(place + os.sep) for place in own)
        if not inside or writes:
            seen.append([event, real])
    elif event.startswith(ACTS):
        seen.append([event, repr(arguments)[:200]])

sys.addaudithook(watch)
answers = []
for arguments in runs:
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    watching = True
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = gpudoctor.cli.run(arguments)
    watching = False
    out.flush()
    answers.append([code, out.buffer.getvalue().decode(), err.getvalue()])
json.dump([seen, answers], sys.stdout)
"""


class Watched(NamedTuple):
    seen: list[list[str]]  # [event, path or arguments]
    answers: list[tuple[int, str, str]]  # exit code, standard output, standard error of each run


def watched(runs: Sequence[Sequence[str]], allowed: Sequence[Path]) -> Watched:
    """`allowed`: files that may be read, besides Python's and gpudoctor's own."""
    done = subprocess.run(
        [sys.executable, "-IB", "-c", _CHILD],
        input=json.dumps([[*map(list, runs)], [*map(str, allowed)]]),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen, answers = json.loads(done.stdout)
    told: Any = [tuple(answer) for answer in answers]
    return Watched(seen, told)
