"""A third party's plugin with one fault and its repair, for whole runs of `gpudoctor fix` on this very machine.

The fault is a folder's: its file `setting` does not say "good". The repair writes the file, runs a program, and what
else the folder's file `plan` asks for.
"""

import json
import os
import pty
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from command_line import GPUDOCTOR
from ready_process import run_ready

_MODULE = '''
import json, os
from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor import Effort, Evidence, Finding, Host, Manual, Phase, Reboot, Risk, Run, Step, WriteFile
from gpudoctor import check, fact, fix

FOLDER = os.environ["TOY_FOLDER"]


class Setting(NamedTuple):
    text: str | None
    plan: tuple[str, ...]


@fact
def setting(host: Host) -> Setting:
    return Setting(host.read(f"{FOLDER}/setting"), tuple((host.read(f"{FOLDER}/plan") or "").split()))


@check("toy.bad-setting", symptoms=["the toy is broken"])
def bad_setting(setting: Setting) -> Iterator[Finding]:
    """The setting of the toy is bad."""
    if setting.text != "good\\n":
        yield Finding("The toy's setting is bad.", FOLDER, (Evidence("setting", repr(setting.text)),), "Write it.")


@fix("mend-toy", cures=["toy.bad-setting"], effort=Effort.ENVIRONMENT_VARIABLE)
def mend_toy(setting: Setting) -> Iterator[Step]:
    """Mend the toy."""
    for word in setting.plan:
        if word == "mark":
            mark = f"{FOLDER}/mark"
            there, gone = Run(("test", "-e", mark)), Run(("rm", mark))
            yield Step(Run(("touch", mark)), "It leaves a mark.", root=False, verify=there, undo=gone)
        elif word == "fail":
            yield Step(Run(("test", "-e", f"{FOLDER}/key")), "It needs a key.", root=False, undo=Manual("None."))
        elif word == "sleep":
            yield Step(Run(("sleep", "30")), "It takes its time.", root=False, undo=Manual("Time is gone."))
        elif word.startswith("person"):
            yield Step(Manual(f"Turn the key{word[6:]}."), "Only a person can.", root=False)
        elif word == "root":
            mark = f"{FOLDER}/mark"
            yield Step(Run(("touch", mark)), "It needs root.", verify=Run(("test", "-e", mark)), undo=Run(("rm", mark)))
        elif word == "root-write":
            yield Step(WriteFile(f"{FOLDER}/setting", "good\\n", setting.text), "Only root may.")
        elif word == "restart":
            yield Step(Reboot(), "It starts anew.", risk=Risk.MEDIUM)
        elif word == "risky":
            yield Step(Run(("true",)), "Dangerous.", risk=Risk.HIGH, root=False, undo=Manual("None."))
        elif word == "write":
            yield Step(WriteFile(f"{FOLDER}/setting", "good\\n", setting.text), "So it is good.", root=False)
'''


class Toy:
    """The plugin in a folder, its fault, and a state folder of its own."""

    def __init__(self, folder: Path, plan: str) -> None:
        self.folder, self.state = folder, folder / "state"
        package = folder / "plugin" / "toy_plugin"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "toys.py").write_text(_MODULE)
        metadata = folder / "plugin" / "toy-1.0.dist-info"
        metadata.mkdir()
        (metadata / "entry_points.txt").write_text("[gpudoctor.plugins]\ntoy = toy_plugin\n")
        self.setting.write_text("bad\n")
        (folder / "plan").write_text(plan)
        folder.chmod(0o755)

    @property
    def setting(self) -> Path:
        return self.folder / "setting"

    @property
    def mark(self) -> Path:
        return self.folder / "mark"

    @property
    def journals(self) -> list[Path]:
        return sorted((self.state / "runs").glob("*.json"))

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(self.folder / "plugin"),
            "TOY_FOLDER": str(self.folder),
            "GPUDOCTOR_STATE": str(self.state),
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*GPUDOCTOR, *_only_the_toy(arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=self.environment,
        )

    def fix(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run_ready(_only_the_toy(arguments), self.environment)

    def typed(self, arguments: Sequence[str], answers: Sequence[tuple[str, Callable[[], None]]]) -> tuple[int, str]:
        """At a terminal. `answers`: what is typed at each question, and what happens right before it.

        Returns the exit code and the screen.
        """
        process, terminal = pty.fork()
        if process == 0:
            os.execve(GPUDOCTOR[0], [*GPUDOCTOR, "fix", *arguments], dict(self.environment))
        screen, left, answered = b"", list(answers), 0
        with suppress(OSError):  # Linux tells the end of a terminal by an error
            while piece := os.read(terminal, 4096):
                screen += piece
                # What comes next is the echo, and with it already the next question on a machine with much to do.
                if left and screen[answered:].rstrip().endswith(b"[y/N]"):
                    answer, first = left.pop(0)
                    first()
                    answered = len(screen)
                    os.write(terminal, f"{answer}\n".encode())
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), screen.decode()

    def plan_file(self) -> Path:
        """The plan as --dry-run writes it."""
        path = self.folder / "plan.json"
        done = self.fix("--dry-run", "--format", "json", "--output", str(path))
        assert done.returncode == 0, done.stderr
        return path

    def stage(self) -> str:
        stage = json.loads(self.journals[-1].read_text())["journal"]["stage"]
        assert isinstance(stage, str)
        return stage

    def wait_for_command(self, name: str) -> None:
        """Until the doctor has started this command and noted it."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError):
                noted = (self.state / "lock").read_text().partition(" ")[0]
                if Path(f"/proc/{noted}/comm").read_text() == f"{name}\n":
                    return
            time.sleep(0.02)
        raise AssertionError(f"{name} was not started")

    def wait_for_stage(self, stage: str, began: int = 0) -> None:
        """Until the last run is there, and a step of it has been begun."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.journals:
                journal = json.loads(self.journals[-1].read_text())["journal"]
                if journal["stage"] == stage and journal["records"][began]["progress"] == "started":
                    return
            time.sleep(0.02)
        raise AssertionError(f"never {stage}")


def _only_the_toy(arguments: Sequence[str]) -> tuple[str, ...]:
    only = () if {"--undo", "--history"} & set(arguments) else ("--only", "toy")
    return ("fix", *only, *arguments)
