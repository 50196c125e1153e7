"""Real Debian roots: made once a test run from the mirror that this machine's apt uses, copied for each test, and
entered in namespaces of their own, so that nothing in them touches this machine.
"""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

SUITE = "bookworm"  # of whichever Debian this machine is: the kernels and drivers that the tests know of are this one's
COMPONENTS = "main contrib non-free non-free-firmware"
COMMANDS = ("mmdebstrap", "unshare", "setpriv", "mount", "chroot", "apt-get", "dpkg-deb")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_NAMESPACES = ("--mount", "--propagation", "private", "--pid", "--fork", "--uts", "--cgroup", "--ipc")
# Processes in a root can neither load a module into this machine's kernel nor restart it.
_FORBIDDEN = "-sys_module,-sys_boot"
# What this machine's apt needs to reach its mirror at all, the apt of the root needs as well.
_PASSED_ON = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::http::Proxy", "Acquire::https::Proxy")
_ROOM = 6 << 30  # bytes: three roots, and the packages that are downloaded for them
_NO_SERVICES = "#!/bin/sh\nexit 101\n"


class Done(NamedTuple):
    """A command that ran in a root."""

    exit_code: int
    output: str  # standard output and standard error, as they came


class Root(NamedTuple):
    """A Debian root, and the cache of packages that all roots of a test run share (one at a time uses it)."""

    path: Path
    archives: Path

    def inside(self, path: str) -> Path:
        """Where an absolute path of the root lies; links in it are not followed."""
        return self.path / path.lstrip("/")

    def run(
        self,
        *argv: str,
        mounts: Sequence[Sequence[str]] = (),
        environment: Mapping[str, str] | None = None,
        timeout: float = 1200,
    ) -> Done:
        """Run a command in the root as its root user, and wait for it. `mounts`: as of `start`."""
        return self.wait(self.start(*argv, mounts=mounts, environment=environment), argv, timeout)

    def wait(self, process: "subprocess.Popen[str]", argv: Sequence[str], timeout: float) -> Done:
        """The end of a command of `start`. Past the deadline it is killed, and the test fails."""
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            end(process)
            output, _ = process.communicate()
            raise AssertionError(f"no end in {timeout} s: {shlex.join(argv)}\n{output}") from None
        return Done(process.returncode, output)

    def do(self, *argv: str, mounts: Sequence[Sequence[str]] = (), environment: Mapping[str, str] | None = None) -> str:
        """Run a command that has to succeed; what it printed."""
        done = self.run(*argv, mounts=mounts, environment=environment)
        assert done.exit_code == 0, f"{shlex.join(argv)} ended with {done.exit_code}:\n{done.output}"
        return done.output

    def start(
        self, *argv: str, mounts: Sequence[Sequence[str]] = (), environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command in the root; its output is a pipe.

        `mounts`: words for mount(8), each with its target inside the root as the last one.
        """
        shutil.copyfile("/etc/resolv.conf", self.inside("/etc/resolv.conf"))
        lines = ["set -e", *(shlex.join(("mount", *words)) for words in self._mounts(mounts)), "hostname gpubox"]
        variables = {
            "HOME": "/root",
            "PATH": PATH,
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "DEBIAN_FRONTEND": "noninteractive",
            **(environment or {}),
        }
        confined = ("setpriv", f"--bounding-set={_FORBIDDEN}", f"--inh-caps={_FORBIDDEN}", "chroot", str(self.path))
        given = (f"{name}={value}" for name, value in variables.items())
        # No exec: the shell is the init of the namespace, to which signals mean less than to an ordinary process.
        lines += ["set +e", shlex.join((*confined, "/usr/bin/env", "-i", *given, *argv)), "exit $?"]
        return subprocess.Popen(
            ("unshare", *_NAMESPACES, "sh", "-c", "\n".join(lines)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def _mounts(self, more: Sequence[Sequence[str]]) -> Iterator[tuple[str, ...]]:
        yield ("-t", "proc", "proc", str(self.inside("/proc")))
        # apt writes down what dpkg prints only where it can have a terminal.
        yield ("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", str(self.inside("/dev/pts")))
        yield ("--bind", str(self.inside("/dev/pts/ptmx")), str(self.inside("/dev/ptmx")))
        yield ("--bind", str(self.archives), str(self.inside("/var/cache/apt/archives")))
        for words in more:
            yield (*words[:-1], str(self.inside(words[-1])))

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)

    def read(self, path: str) -> str:
        return self.inside(path).read_text(encoding="utf-8", errors="replace")

    def copy(self, path: Path) -> "Root":
        """The same root once more, at another place."""
        subprocess.run(("cp", "-a", "--reflink=auto", str(self.path), str(path)), check=True)
        return Root(path, self.archives)

    def layer(self, path: Path) -> "Root":
        """The same root at another place, where changes stay; this one is left alone meanwhile. A copy, if need be."""
        upper, work = (path.with_name(f"{path.name}-{name}") for name in ("changes", "work"))
        for folder in (path, upper, work):
            folder.mkdir()
        layers = f"lowerdir={self.path},upperdir={upper},workdir={work},redirect_dir=on"
        mounted = subprocess.run(("mount", "-t", "overlay", "overlay", "-o", layers, str(path)), check=False)
        if mounted.returncode != 0:
            path.rmdir()
            return self.copy(path)
        return Root(path, self.archives)


def end(process: subprocess.Popen[str]) -> None:
    """Kill a command of `Root.start` and all that it started, at once and without a warning."""
    # The end of the namespace's first process takes all others along; that of unshare itself takes nobody along.
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for child in children.read_text(encoding="ascii").split():
        os.kill(int(child), signal.SIGKILL)


def remove(root: Root) -> None:
    if root.path.is_mount():
        subprocess.run(("umount", str(root.path)), check=True)
    beside = (str(root.path.with_name(f"{root.path.name}-{name}")) for name in ("changes", "work", "faces"))
    subprocess.run(("rm", "-rf", str(root.path), *beside), check=True)


def need_roots(folder: Path) -> None:
    """Skip the test where no root can be made and kept in this folder, and say why."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("needs to be root: only root can enter a root file system")
    mounts = "mount -t proc proc /proc && mount -t devpts -o newinstance devpts /dev/pts"
    tried = subprocess.run(("unshare", *_NAMESPACES, "sh", "-c", mounts), capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no namespaces of its own here: {tried.stderr.strip()}")
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has a driver, which would show through in the root")
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        pytest.skip(f"needs {_ROOM >> 30} GiB of room: {folder} has {free >> 20} MiB")


def make_root(path: Path, archives: Path, packages: Sequence[str]) -> Root:
    """A Debian with apt and these packages. Skips the test where no mirror of Debian can be reached."""
    mirrors = mirrors_here()
    if "" not in mirrors or "-security" not in mirrors:
        pytest.skip("this machine's apt names no mirror of Debian and of its security updates")
    sources = [
        f"deb {mirrors['']} {SUITE} {COMPONENTS}",
        # Without non-free: the archive's newer drivers would take the place of the stand-ins.
        f"deb {mirrors['-security']} {SUITE}-security main",
    ]
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    _need_mirror(mirrors[""], archives / "partial" / "InRelease")
    settings = [f'{name} "{value}";' for name in _PASSED_ON if (value := _apt_setting(name))]
    made = subprocess.run(
        (
            *("mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(packages)}"),
            *(f"--aptopt={setting}" for setting in settings),
            *("--aptopt=Acquire::Languages none;", "--skip=cleanup/apt/lists"),
            "--dpkgopt=force-unsafe-io",
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
            *(SUITE, str(path), *sources),
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    root = Root(path, archives)
    root.write("/usr/sbin/policy-rc.d", _NO_SERVICES, 0o755)
    root.write("/etc/machine-id", "3f6c5d1e8a9b4c07b2d1e0f9a8b7c6d5\n")
    root.write("/etc/hosts", "127.0.0.1 localhost gpubox\n")
    root.inside("/dev/ptmx").unlink(missing_ok=True)
    root.inside("/dev/ptmx").touch()
    return root


def _need_mirror(address: str, target: Path) -> None:
    """Skip the test if apt's own downloader does not reach the mirror."""
    words = ("/usr/lib/apt/apt-helper", "download-file", f"{address}dists/{SUITE}/InRelease", str(target))
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"{address} cannot be reached: {(tried.stderr or tried.stdout).strip()[-300:]}")


def mirrors_here() -> Mapping[str, str]:
    """Addresses of Debian's archive by what follows the code name ("", "-security"), from this machine's apt."""
    fields = "$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)"
    asked = subprocess.run(
        ("apt-get", "indextargets", "--format", fields, "Created-By: Packages"),
        capture_output=True,
        text=True,
        check=False,
    )
    found = {}
    for line in asked.stdout.splitlines():
        origin, codename, component, address = line.split("|")
        name, dash, kind = codename.partition("-")
        if origin == "Debian" and component == "main" and name:
            found.setdefault(dash + kind, address)
    return found


def _apt_setting(name: str) -> str:
    asked = subprocess.run(("apt-config", "shell", "VALUE", name), capture_output=True, text=True, check=False)
    words = shlex.split(asked.stdout)
    return words[0].removeprefix("VALUE=") if words else ""
