"""`--timeout` holds for what the doctor does itself: strange files, long texts, a file system that never answers."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import GPUDOCTOR, Call, calls
from disk_trees import let_everybody_in
from live_machines import debian
from preflight_plans import apt_plan, inst
from sick_children import SLEEP, Run, SickChildren, checked

from gpudoctor.children import collect, start
from gpudoctor.host import Unavailable, quietly
from gpudoctor.machine import RootHost
from gpudoctor.time_limit import asking_for, limit, stop_in_time

MARGIN = 10.0  # seconds; what is not stopped takes longer
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make this")


@pytest.fixture
def sick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> SickChildren:
    return SickChildren(tmp_path, monkeypatch, capsys)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    debian(tmp_path / "disk", loaded="")
    return tmp_path / "disk"


# --- strange things in place of a file ---


def _sparse(size: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return make


def _junk(path: Path) -> None:
    path.write_bytes(os.urandom(1 << 20) + b"\0" * (30 << 20))


STRANGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "named pipe": (os.mkfifo, "a named pipe in place of a file"),
    "link to itself": (lambda path: path.symlink_to(path.name), "too many levels of symbolic links"),
    "10 GB of nothing": (_sparse(10 << 30), "longer than 32 MiB"),
    "31 MB of junk": (_junk, ""),
    "device without end": (lambda path: os.mknod(path, 0o020666, os.makedev(1, 5)), "a device in place of a file"),
    "folder": (lambda path: path.mkdir(), "Is a directory"),
}
FILES = ("etc/os-release", "etc/modprobe.d/strange.conf", "var/lib/dpkg/status", "etc/environment")


def _strange() -> Iterator[Any]:
    for kind in STRANGE:
        for file in FILES:
            marks = [root_only] if "device" in kind else []
            usual = file == "var/lib/dpkg/status" or kind == "named pipe"
            yield pytest.param(kind, file, marks=marks if usual else [*marks, pytest.mark.slow])


@pytest.mark.parametrize(("kind", "file"), list(_strange()))
def test_a_strange_file_costs_its_own_checks_alone(sick: SickChildren, tmp_path: Path, kind: str, file: str) -> None:
    machine = debian(tmp_path / "machine", loaded="")
    before = sick.check(machine, timeout=20)
    path = tmp_path / "machine" / file
    path.unlink(missing_ok=True)
    make, words = STRANGE[kind]
    make(path)
    run = sick.check(machine, timeout=1)
    assert run.seconds < 1 + MARGIN
    assert not [id for id, outcome in run.outcomes.items() if outcome.status == "crashed"]
    if not words:  # it is read, and may cost all the time there is
        return
    changed = [outcome for id, outcome in run.outcomes.items() if outcome != before.outcomes[id]]
    assert len(changed) < len(run.outcomes) / 3
    assert any(f"/{file}: {words}" in outcome.reason for outcome in changed) or changed == []


def _check_root(disk: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return checked(capsys, "--root", str(disk), "--kernel", "6.1.0-50-amd64", timeout=1)


@root_only
def test_a_file_that_this_user_may_not_read(sick: SickChildren, tmp_path: Path) -> None:
    machine = debian(tmp_path / "machine", loaded="")
    (tmp_path / "machine/var/lib/dpkg/status").chmod(0)
    let_everybody_in(tmp_path)
    sick.check(machine)  # imports what it needs, which may lie where the other user must not look
    os.seteuid(65534)
    try:
        run = sick.check(machine)
    finally:
        os.seteuid(0)
    reasons = " ".join(outcome.reason for outcome in run.outcomes.values())
    assert "/var/lib/dpkg/status: Permission denied" in reasons
    assert not [id for id, outcome in run.outcomes.items() if outcome.status == "crashed"]


def test_folders_that_contain_themselves(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _check_root(disk, capsys)
    for folder in ("home/ada/venv", "home/ada/miniconda3/envs", "usr/local/cuda", "opt/conda/envs", "etc/ld.so.conf.d"):
        (disk / folder).mkdir(parents=True, exist_ok=True)
        (disk / folder / "again").symlink_to("..")
        (disk / folder / "envs").symlink_to(".")
    run = _check_root(disk, capsys)
    assert run.seconds < 1 + MARGIN
    assert not [id for id, outcome in run.outcomes.items() if outcome.status == "crashed"]
    assert run.exit_code == before.exit_code


# --- the time of the whole run ---


def test_what_takes_too_long_is_unknown_and_the_report_is_made(sick: SickChildren, tmp_path: Path) -> None:
    machine = debian(tmp_path / "machine", loaded="")
    before = sick.check(machine, timeout=20)
    # The variables of this process, each of them nothing: seconds of work.
    (tmp_path / "machine/proc/self/environ").write_bytes(b"A=B\0" * (7 << 20))
    run = sick.check(machine, timeout=0.5)
    assert run.seconds < 0.5 + 2 * MARGIN
    reasons = {outcome.reason for outcome in run.outcomes.values()}
    assert "no answer in 0.5 s, the time of the whole run (last asked for: /proc/self/environ)" in reasons
    assert run.exit_code == 3 or before.exit_code == run.exit_code == 2
    assert not [id for id, outcome in run.outcomes.items() if outcome.status == "crashed"]


def test_what_is_being_found_out_when_the_time_is_over_stops() -> None:
    with limit(0.1):
        with pytest.raises(Unavailable, match=r"no answer in 0\.1 s, the time of the whole run"):
            stop_in_time(lambda: stop_in_time(_forever))
        with pytest.raises(Unavailable, match=r"not looked at: the time of the whole run, 0\.1 s, was over"):
            stop_in_time(lambda: quietly(RootHost("/").read, "/etc/passwd"))
        with pytest.raises(Unavailable, match=r"no answer in 0\.1 s"):  # what takes long is interrupted ever after
            stop_in_time(_forever)
        time.sleep(0.3)  # but not what writes the report
    assert RootHost("/").read("/etc/passwd")
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def _forever() -> None:
    try:
        while True:
            time.sleep(0.01)
    except Exception:  # noqa: BLE001 - what many a parser does
        raise AssertionError("taken for a fault of the file") from None


def test_without_a_limit_nothing_stops() -> None:
    assert stop_in_time(lambda: 7) == 7


def test_only_the_main_thread_can_be_interrupted() -> None:
    errors: list[BaseException] = []

    def inside() -> None:
        try:
            with limit(1):
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_children_end_with_whoever_interrupts_the_doctor() -> None:
    child = start([SLEEP, "60"])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            collect([child], time.monotonic() + 20)
    finally:
        signal.signal(signal.SIGALRM, before)
    child.process.wait(5)
    assert child.process.returncode == -signal.SIGKILL


# --- the end of a run, whatever happens ---


def _python(program: str) -> "subprocess.CompletedProcess[str]":
    """What ends a process is tried in one of its own."""
    begin = "import hashlib, time\nfrom gpudoctor.time_limit import limit\n"
    return subprocess.run(
        [sys.executable, "-c", begin + program], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_run_that_is_late_with_its_report_is_not_cut_off() -> None:
    """As where many processes share a processor: longer than its time, but it gets there."""
    done = _python("with limit(0.1): time.sleep(1.5)\nprint('done')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "stuck",
    ["time.sleep(1 << 20)", "hashlib.pbkdf2_hmac('sha256', b'', b'', 1 << 30)"],
    ids=["it waits", "it computes where no signal is looked at"],
)
def test_a_run_that_would_never_end_is_ended(stuck: str) -> None:
    began = time.monotonic()
    done = _python(f"with limit(0.5): {stuck}\nprint('done')")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "gpudoctor: given up after 0.5 s\n")
    assert 5 < time.monotonic() - began < 30


def test_a_run_is_ended_also_where_nobody_can_be_told() -> None:
    """Standard error is closed, and with it the place of a traceback. (A short patience, for a test's sake.)"""
    program = """
import os, gpudoctor.time_limit
gpudoctor.time_limit._PATIENCE = 0.2
os.close(2)
with limit(0.1): time.sleep(1 << 20)
"""
    assert _python(program).returncode == 3


@pytest.mark.slow
def test_sixteen_runs_at_once_all_end_with_a_report() -> None:
    runs = [
        subprocess.Popen(
            [*GPUDOCTOR, "check", "--timeout", "1", "--format", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(16)
    ]
    for run in runs:
        out, err = run.communicate(timeout=120)
        assert err == ""
        assert json.loads(out)["outcomes"]


# --- a file system that never answers, as that of a server that is gone ---


@pytest.fixture
def dead_folder(tmp_path: Path) -> Iterator[Path]:
    """A FUSE mount that nobody serves: whoever looks into it waits in the kernel, deaf to signals."""
    folder = tmp_path / "dead"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        pytest.skip("there is no FUSE here")
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"dead", os.fsencode(folder), b"fuse", 0, options):
        os.close(descriptor)
        pytest.skip("this user may not mount FUSE")
    yield folder
    os.close(descriptor)  # ends the waiting
    libc.umount2(os.fsencode(folder), 2)


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (("check", "--only", "kernel.module-blacklisted"), 1),  # soon there, on a busy machine, too
        pytest.param(("snapshot",), 5, marks=pytest.mark.slow),
    ],
)
def test_a_file_system_that_never_answers(
    disk: Path, dead_folder: Path, tmp_path: Path, command: Sequence[str], seconds: int
) -> None:
    """The folder is bound into the disk as a network drive would be mounted there."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = disk / "etc/modprobe.d"
    if libc.mount(os.fsencode(dead_folder), os.fsencode(place), None, 4096, None):
        pytest.skip("this user may not bind a folder")
    try:
        began = time.monotonic()
        done = subprocess.run(
            [
                *GPUDOCTOR,
                *command,
                "--root",
                str(disk),
                "--timeout",
                str(seconds),
                "--output",
                str(tmp_path / "written"),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        libc.umount2(os.fsencode(place), 2)
    assert time.monotonic() - began < seconds + 3 + MARGIN
    assert done.returncode == 3
    assert done.stdout == ""
    assert not (tmp_path / "written").exists()
    assert done.stderr == f"gpudoctor: given up after {seconds} s (last asked for: /etc/modprobe.d)\n"


@pytest.mark.slow
def test_a_file_that_the_user_names_there(dead_folder: Path, tmp_path: Path) -> None:
    """Whatever it is named for. All at once, for they wait."""
    healthy = str(Path(__file__).parents[1] / "machines/bookworm-healthy.json")
    file, named = str(dead_folder / "file"), ("--snapshot", healthy)
    commands = [
        ("check", "--config", file),
        ("check", "--baseline", file, *named),
        ("check", "--save-baseline", file, *named),
        ("check", "--output", file, *named),
        ("check", "--also", f"json={file}", *named),
        ("check", "--snapshot", file),
        ("diff", file, healthy),
        ("diff", healthy, file),
        ("fix", "--dry-run", "--snapshot", file),
    ]
    runs = [
        subprocess.Popen(
            [*GPUDOCTOR, *command, "--timeout", "1"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    until = time.monotonic() + 90
    ended = []
    for run in runs:
        try:
            out, err = run.communicate(timeout=max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            run.kill()
            out, err = "", "it hangs"
        ended.append((run.returncode, out, err))
    told = (3, "", f"gpudoctor: given up after 1 s (last asked for: {file})\n")
    assert dict(zip(commands, ended, strict=True)) == dict.fromkeys(commands, told)


# --- the commands that diagnose before they do something else ---

Slow = Callable[[str], None]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Has one file of a disk never come to an end."""

    def make(name: str) -> None:
        read = RootHost.read

        def stuck(host: RootHost, path: str, **part: int | None) -> str | None:
            if path == name:
                asking_for(path)
                time.sleep(60)
            return read(host, path, **part)

        monkeypatch.setattr(RootHost, "read", stuck)

    return make


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


ROOT = ("--kernel", "6.1.0-50-amd64", "--timeout", "0.4", "--root")


def test_a_plan_of_repair_is_made_of_what_is_known_in_time(call: Call, disk: Path, slow: Slow) -> None:
    slow("/etc/os-release")
    began = time.monotonic()
    done = call("fix", "--dry-run", "--format", "json", *ROOT, str(disk))
    assert time.monotonic() - began < 20
    assert done.code == 3, done
    assert json.loads(done.out)["status"] == "unknown"


def test_half_a_foresight_is_none(call: Call, disk: Path, slow: Slow, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    plan.write_text(apt_plan(inst("linux-image-6.1.0-56-amd64", "6.1.192-1")))
    assert call("preflight", "--simulation", str(plan), *ROOT[:2], "--root", str(disk)).code == 2
    slow("/etc/environment")
    done = call("preflight", "--simulation", str(plan), *ROOT, str(disk))
    assert (done.code, done.out) == (3, "")
    assert done.err == (
        "gpudoctor: not all was found out in 0.4 s, the time of the whole run (last asked for: /etc/environment)\n"
    )


def test_nothing_is_recommended_for_half_of_a_machine(
    call: Call, disk: Path, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpudoctor.cli.recommend.GLOBAL_TIMEOUT", 0.4)
    slow("/proc/driver/nvidia/version")
    done = call("recommend", "torch", "--gpu", "sm_89", "--root", str(disk))
    assert (done.code, done.out) == (3, "")
    assert done.err == (
        "gpudoctor: not all was found out in 0.4 s, the time of the whole run (last asked for: "
        "/proc/driver/nvidia/version); --driver and --gpu ask this machine nothing\n"
    )


# --- memory ---


def test_a_flood_does_not_fill_the_memory() -> None:
    program = """
import resource
from gpudoctor.host import Unavailable
from gpudoctor.machine import LiveHost
host = LiveHost()
begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for flood in ("/usr/bin/head -c 104857600 /dev/zero", "/usr/bin/head -c 104857600 /dev/zero >&2"):
    try:
        host.run(["/bin/sh", "-c", flood])
    except Unavailable as reason:
        print(reason)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    reason, kilobytes = done.stdout.splitlines()
    assert reason == "/bin/sh: printed more than 8 MiB"
    assert int(kilobytes) < 64 * 1024
