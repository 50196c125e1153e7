"""`gpudoctor check` on the files of an imaginary machine whose probes and commands are real children, and may be sick.

Each child is a script of `/bin/sh`: a healthy one prints what it is given, a sick one is one of `SICK`.
"""

import gc
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gpudoctor import children
from gpudoctor.cli import run
from gpudoctor.host import Completed, FileStatus, ProbeAnswer
from gpudoctor.machine import LiveHost
from gpudoctor.testing import MachineTree
from gpudoctor.time_limit import limit

SLEEP = "/bin/sleep"

# What a child does in place of an answer.
SICK = {
    "hangs, deaf to SIGTERM": f"trap '' TERM INT HUP; while :; do {SLEEP} 1; done",
    "is stopped": "kill -STOP $$",
    "closes its output and stays": f"exec >&- 2>&-; {SLEEP} 60",
    "drips": f"while :; do printf x; {SLEEP} 0.05; done",
    "drips on standard error": f"while :; do printf x >&2; {SLEEP} 0.05; done",
    "is ended by SIGSEGV": "kill -SEGV $$",
    "is ended by SIGABRT": "kill -ABRT $$",
    "prints 100 MB": "exec /usr/bin/head -c 104857600 /dev/zero",
}
NO_ANSWER = [name for name in SICK if not name.startswith(("is ended", "prints"))]

# What a child does around its answer, which `cat` prints: the answer is good.
ODD = {
    "leaves a child that holds its output": f"{SLEEP} 60 & {{cat}}",
    "leaves a daemon that holds its output": f"/usr/bin/setsid {SLEEP} 15 & {{cat}}",
    "has many children": f"i=0; while [ $i -lt 40 ]; do {SLEEP} 60 & i=$((i+1)); done; {{cat}}",
    "prints 100 MB on standard error": "/usr/bin/head -c 104857600 /dev/zero >&2; {cat}",
}


class Outcome(NamedTuple):
    status: str
    reason: str
    found: tuple[str, ...]  # the findings' summaries


class Run(NamedTuple):
    """One run of the command."""

    exit_code: int
    seconds: float
    report: dict[str, Any]
    outcomes: Mapping[str, Outcome]
    errors: str  # standard error

    def matters(self, id: str) -> bool:
        """Is it unknown, or crashed, so that the machine cannot be called fine?"""
        return any(row["check"] == id and row.get("matters") for row in self.report["outcomes"])


class Machine(MachineTree):
    """The files of a folder; commands, probes and frameworks are asked as on this machine."""

    def __init__(self, folder: Path, nodes: Mapping[str, FileStatus], live: LiveHost) -> None:
        super().__init__(str(folder), nodes=nodes, probes=live)
        self._live = live

    def run(self, argv: Sequence[str], *, timeout: float = 10.0) -> Completed | None:
        return self._live.run(argv, timeout=timeout)

    def try_framework(self, interpreter: str, framework: str, timeout: float) -> ProbeAnswer:
        return self._live.try_framework(f"{self.root}{interpreter}", framework, timeout)


class SickChildren:
    """A machine to run the command on. `probe` and `command` say what its children do.

    `more`: seconds that the whole run gets beyond its time, while each child keeps its share of that: so what is found
    out about one child does not hang on how busy the machine is that runs the tests.
    """

    more = 0.0

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        self.bin = folder / "bin"
        self.bin.mkdir()
        self._probes: dict[str, str] = {}
        self._answers = 0
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setattr(children, "start_probe", lambda name: children.start([self._probes[name]]))

    def printed(self, text: str | bytes) -> str:
        """The script that prints this."""
        self._answers += 1
        path = self._folder / f"answer-{self._answers}"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
        return f"/bin/cat {path}"

    def probe(self, name: str, script: str) -> None:
        self._probes[name] = str(self.script(self.bin / f"probe-{name}", script))

    def command(self, name: str, script: str) -> None:
        self.script(self.bin / name, script)

    def script(self, path: Path, script: str) -> Path:
        if path.parent.exists():  # not on every machine
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return path

    def check(self, machine: MachineTree, *options: str, timeout: float = 5) -> Run:
        """`gpudoctor check` on this machine."""

        def live(*times: float) -> Machine:
            whole, *shares = times
            return Machine(Path(machine.root), machine._nodes, LiveHost(whole + self.more, *shares))

        self._monkeypatch.setattr("gpudoctor.cli.source.LiveHost", live)
        self._monkeypatch.setattr("gpudoctor.cli.check.limit", lambda seconds: limit(seconds + self.more))
        return self.again(*options, timeout=timeout)

    def again(self, *options: str, timeout: float = 5) -> Run:
        """The same on the same machine, whose children may have changed."""
        return checked(self._capsys, *options, timeout=timeout)


def checked(capsys: pytest.CaptureFixture[str], *options: str, timeout: float) -> Run:
    """`gpudoctor check --format json --timeout TIMEOUT OPTIONS`, in this process."""
    began = time.monotonic()
    try:
        code = run(["check", "--format", "json", "--timeout", str(timeout), *options])
    finally:
        gc.enable()  # the command, whose process ends then, puts it off
    seconds = time.monotonic() - began
    out, err = capsys.readouterr()
    report = json.loads(out, parse_constant=_no_json)
    found: dict[str, list[str]] = {}
    for finding in report["findings"]:
        found.setdefault(finding["id"], []).append(finding["summary"])
    outcomes = {
        row["check"]: Outcome(row["status"], row.get("reason", ""), tuple(found.get(row["check"], ())))
        for row in report["outcomes"]
    }
    assert code == report["exit_code"]
    return Run(code, seconds, report, outcomes, err)


def _no_json(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")
