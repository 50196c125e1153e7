"""What dnf5, libzypp and pacman tell their hooks, and what they are answered."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping

import pytest
from command_line import GPUDOCTOR

from gpudoctor.hooks import alpm, zypp
from gpudoctor.hooks.dnf5 import read_answer
from gpudoctor.hooks.verdict import Verdict
from gpudoctor.preflight.transaction import Change, NoTransaction

# As the documentation of the plugin (libdnf5-actions(8)) shows an answer: one package goes as another comes.
UPGRADE = [
    {"direction": "IN", "action": "U", "name": "nvidia-driver-libs", "arch": "x86_64", "evr": "3:580.95.05-1.fc42"},
    {"direction": "OUT", "action": "O", "name": "nvidia-driver-libs", "arch": "x86_64", "evr": "3:580.82.07-1.fc42"},
    {"direction": "IN", "action": "I", "name": "kernel-core", "arch": "x86_64", "evr": "6.16.9-200.fc42"},
    {"direction": "OUT", "action": "E", "name": "kmod-nvidia", "arch": "x86_64", "evr": "3:580.82.07-1.fc42"},
    {"direction": "IN", "action": "?", "name": "bash", "arch": "x86_64", "evr": "5.2-1.fc42"},
]


def dnf5_answer(packages: object, status: str = "OK", **more: object) -> str:
    answer = {"op": "reply", "requested_op": "get", "domain": "trans_packages", "status": status}
    return json.dumps({**answer, "return": {"trans_packages": packages}, **more})


def test_dnf5_says_what_comes_and_what_goes() -> None:
    transaction = read_answer(dnf5_answer(UPGRADE))
    assert transaction.manager == "rpm"
    assert transaction.changes == (
        Change("nvidia-driver-libs", "x86_64", "3:580.82.07-1.fc42", "3:580.95.05-1.fc42"),
        Change("kernel-core", "x86_64", "", "6.16.9-200.fc42"),
        Change("kmod-nvidia", "x86_64", "3:580.82.07-1.fc42", ""),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"op":"reply"',
        dnf5_answer([], status="ERROR", message="no such domain"),
        dnf5_answer({}),
        dnf5_answer([{"name": "kernel"}]),
        dnf5_answer([{**UPGRADE[0], "name": "nvidia; reboot"}]),
        dnf5_answer([{**UPGRADE[0], "evr": "$(reboot)"}]),
        dnf5_answer([{**UPGRADE[0], "evr": None}]),
    ],
)
def test_what_is_no_answer_of_dnf5_is_refused(text: str) -> None:
    if text == dnf5_answer({}):
        assert read_answer(text).changes == ()
        return
    with pytest.raises(NoTransaction):
        read_answer(text)


def test_dnf5_is_asked_and_let_go_on_where_no_gpu_package_is_touched() -> None:
    """The plugin keeps its pipe open behind the answer."""
    with subprocess.Popen(
        [*GPUDOCTOR, "hook", "run", "dnf-before", "--enforce"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as hook:
        assert hook.stdin
        assert hook.stdout
        assert hook.stderr
        asked = json.loads(hook.stdout.readline())
        assert (asked["op"], asked["domain"]) == ("get", "trans_packages")
        wanted = set(asked["args"]["output"])
        assert wanted <= {"direction", "action", "name", "arch", "evr"}
        answer = dnf5_answer([{"direction": "IN", "action": "I", "name": "bash", "arch": "x86_64", "evr": "5.2-1"}])
        for half in (answer[:40], answer[40:]):
            hook.stdin.write(half.encode())
            hook.stdin.flush()
        assert hook.wait(timeout=60) == 0
        assert (hook.stdout.read(), hook.stderr.read()) == (b"", b"")


def frame(command: str, body: str = "", headers: str = "") -> bytes:
    return f"{command}\n{headers}\n{body}\0".encode()


def step(kind: str, name: str, version: str, release: str, epoch: int = 0) -> dict[str, object]:
    solvable: dict[str, object] = {"n": name, "v": version, "r": release, "a": "x86_64"}
    return {"type": kind, "solvable": {**solvable, **({"e": epoch} if epoch else {})}}


def commit(*steps: Mapping[str, object]) -> str:
    return json.dumps({"TransactionStepList": list(steps)})


def test_libzypp_says_what_comes_and_what_goes() -> None:
    body = commit(
        step("+", "nvidia-compute-G06", "580.95.05", "1", 3),
        step("M", "kernel-default", "6.4.0", "150600.23.1"),
        step("-", "nvidia-driver-G06-kmp-default", "580.82.07_k6.4.0", "1"),
        {"solvable": {"n": "obsoleted", "v": "1", "r": "1", "a": "noarch"}},
    )
    assert zypp.read_commit(body).changes == (
        Change("nvidia-compute-G06", "x86_64", "", "3:580.95.05-1"),
        Change("kernel-default", "x86_64", "", "6.4.0-150600.23.1"),
        Change("nvidia-driver-G06-kmp-default", "x86_64", "580.82.07_k6.4.0-1", ""),
    )


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", "null", '{"TransactionStepList": [1]}', commit(step("+", "a b", "1", "1")), "\udcff"]
)
def test_what_is_no_list_of_steps_is_refused(body: str) -> None:
    with pytest.raises(NoTransaction):
        zypp.read_commit(body)


def test_libzypp_is_answered_frame_by_frame() -> None:
    said = io.BytesIO()
    frames = frame("PLUGINBEGIN", headers="userdata:TID1\n")
    frames += frame("COMMITBEGIN", commit(step("+", "bash", "5.2", "1")))
    frames += frame("NEWFANGLED") + frame("PLUGINEND") + frame("_DISCONNECT") + frame("PLUGINBEGIN")
    assert zypp.serve(io.BytesIO(frames), said) == 0
    assert said.getvalue() == b"ACK\n\n\0" * 2 + b"_ENOMETHOD\n\n\0" + b"ACK\n\n\0" * 2


@pytest.mark.parametrize("data", [b"", b"PLUGINBEGIN\n\n", b"PLUGINBEGIN\n\n\0COMMIT"])
def test_a_libzypp_that_is_gone_is_not_waited_for(data: bytes) -> None:
    said = io.BytesIO()
    assert zypp.serve(io.BytesIO(data), said) == 0
    assert said.getvalue() == b"ACK\n\n\0" * data.count(b"\0")


def test_the_terminal_of_zypper_hears_what_its_plugin_says() -> None:
    """libzypp keeps the plugin's own streams to itself."""
    master, terminal = pty.openpty()
    plugin = f"import sys; sys.path[:0] = {sys.path!r}\nfrom gpudoctor.hooks import zypp\n"
    plugin += "from gpudoctor.hooks.verdict import Verdict\nzypp._tell(Verdict(('the GPU would not work', '')))\n"
    zypper = "import subprocess, sys\n"
    zypper += "done = subprocess.run([sys.executable, '-c', sys.argv[1]], stderr=subprocess.PIPE)\n"
    zypper += "sys.stdout.write(done.stderr.decode())"
    done = subprocess.run(
        (sys.executable, "-c", zypper, plugin),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        check=True,
    )
    assert done.stdout == "gpudoctor: the GPU would not work\n"  # libzypp's log
    os.set_blocking(master, False)
    assert os.read(master, 1000) == b"gpudoctor: the GPU would not work\r\n"
    os.close(master)
    os.close(terminal)


def test_pacman_names_packages_and_a_first_hook_knows_which_go() -> None:
    transaction = alpm.transaction_of(["nvidia"], ["linux"], {"linux": "6.16.10.arch1-1", "which": "2-1"})
    assert transaction.manager == "pacman"
    assert transaction.changes == (Change("nvidia", "", "", ""), Change("linux", "", "", "6.16.10.arch1-1"))
    with pytest.raises(NoTransaction, match="which version of nvidia-beta comes"):
        alpm.transaction_of([], ["nvidia-beta"], {})
    with pytest.raises(NoTransaction, match="no name of a package"):
        alpm.transaction_of(["-R nvidia"], [], {})


@pytest.mark.parametrize(("word", "files"), [("-U", True), ("-Udd", True), ("--upgrade", True), ("-Syu", False)])
def test_a_pacman_that_installs_files_is_known_by_its_command_line(word: str, files: bool) -> None:
    script = f"import sys; sys.path[:0] = {sys.path!r}\nfrom gpudoctor.hooks import alpm\nprint(alpm._installs_files())"
    # A shell that is called pacman, with a shell of a hook in between.
    inner = f'sh -c \'"$0" -c "$1"; true\' "{sys.executable}" "$SCRIPT"; true'
    done = subprocess.run(
        ("pacman", "-c", inner, word, "nvidia.pkg.tar.zst"),
        executable="/bin/sh",
        env={**os.environ, "SCRIPT": script},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{files}\n", done.stderr


def test_a_verdict_with_nothing_in_it_troubles_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    zypp._tell(Verdict(("", "")))
    assert capfd.readouterr() == ("", "")
