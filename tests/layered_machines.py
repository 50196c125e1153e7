"""Imaginary machines on which this machine's programs run: its files lie over this machine's in an overlay, and what is
written goes into memory. Package managers and their hooks are real there, and nothing of this machine is touched.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Ends when its standard input does. What it mounts is seen by nobody else, and goes when it ends.
_HOLDER = """
set -e
mount -t tmpfs tmpfs {place}
mkdir {place}/machine {place}/upper {place}/work {place}/root
cp -a {machine}/. {place}/machine
mount -t overlay overlay -o lowerdir={place}/machine:/,upperdir={place}/upper,workdir={place}/work {place}/root
cd {place}/root
mount -t tmpfs -o mode=755 tmpfs run
rm -rf .dockerenv var/lib/gpudoctor
for one in null:3 zero:5 random:8 urandom:9; do mknod -m 666 dev/${{one%:*}} c 1 ${{one#*:}}; done
echo ready
read end || exit 0
"""


class Done(NamedTuple):
    """A command that ran there."""

    exit_code: int
    stdout: str
    stderr: str


class Layered(NamedTuple):
    """A running overlay: see `layered`."""

    holder: int  # process id
    root: str  # where its root lies, as its own processes see it

    def run(
        self, *argv: str, text: str = "", environment: Mapping[str, str] | None = None, timeout: float = 120
    ) -> Done:
        """Run a command there, and wait for it."""
        variables = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        given = (f"{name}={value}" for name, value in (variables | dict(environment or {})).items())
        done = subprocess.run(
            ("nsenter", f"--target={self.holder}", "--mount", "chroot", self.root, "env", "-i", *given, *argv),
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def do(self, *argv: str, text: str = "", environment: Mapping[str, str] | None = None) -> str:
        """Run a command that has to succeed; what it printed."""
        done = self.run(*argv, text=text, environment=environment)
        assert done.exit_code == 0, f"{shlex.join(argv)} ended with {done.exit_code}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        self.do("mkdir", "-p", os.path.dirname(path))
        self.do("tee", path, text=text)
        self.do("chmod", f"{mode:o}", path)

    def read(self, path: str) -> str | None:
        done = self.run("cat", path)
        return done.stdout if done.exit_code == 0 else None


@contextmanager
def layered(machine: Path, place: Path, programs: Sequence[str]) -> Iterator[Layered]:
    """The machine whose files lie in a folder, over this one. `place`: an empty folder.

    Skips the test where that cannot be.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can lay one file system over another")
    missing = [name for name in ("unshare", "nsenter", "chroot", "mount", *programs) if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    script = _HOLDER.format(place=shlex.quote(str(place)), machine=shlex.quote(str(machine)))
    with subprocess.Popen(
        ("unshare", "--mount", "--propagation", "private", "sh", "-c", script),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stderr
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"no overlay can be mounted here: {holder.stderr.read().strip()}")
        try:
            yield Layered(holder.pid, str(place / "root"))
        finally:
            holder.stdin.close()


def need_gpudoctor(machine: Layered) -> None:
    """Skips the test where the gpudoctor under test lies on another disk than this machine's root."""
    done = machine.run(sys.executable, "-I", "-m", "gpudoctor", "--version")
    if done.exit_code != 0:
        pytest.skip(f"gpudoctor is not to be seen in the overlay: {done.stderr.strip()}")


def merged_usr(machine: Path) -> None:
    """Make the folder's /lib what it is on this machine, so that laying it over hides no programs."""
    (machine / "usr/lib").mkdir(parents=True)
    (machine / "lib").symlink_to("usr/lib")
