"""Frameworks tried in the interpreter of their own environment: what they say, as whom they run, what cannot be run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import gpudoctor
from disk_trees import let_everybody_in

from gpudoctor.facts.deep import DeepTrials, DeepWanted, FrameworkTrial
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.host import NotRunning, ProbeAnswer, Unavailable
from gpudoctor.machine import LiveHost, RootHost
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost

# A package that says what it was given, in place of a framework with gigabytes.
FAKE_TORCH = """
import os, sys
print("noise on standard output")
__version__ = "9.9"
class cuda:
    device_count = staticmethod(lambda: 0)
    is_available = staticmethod(lambda: False)
    @staticmethod
    def init():
        said = {name: os.environ.get(name) for name in ("SECRET_TOKEN", "CUDA_VISIBLE_DEVICES", "HOME")}
        raise RuntimeError(f"user {os.geteuid()} groups {sorted(os.getgroups())} in {os.getcwd()} with {said}")
class version:
    cuda = "12.8"
"""
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as somebody else")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A real venv with a pretended torch, which everybody may look into."""
    prefix = tmp_path / "env"
    # Other users must be able to run its base Python, which may not lie in somebody's home.
    base = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    subprocess.run([base, "-m", "venv", "--without-pip", str(prefix)], check=True)
    (site,) = prefix.glob("lib/python3*/site-packages")
    (site / "torch").mkdir()
    (site / "torch/__init__.py").write_text(FAKE_TORCH, encoding="utf-8")
    info = site / "torch-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: torch\nVersion: 9.9\n\n", encoding="utf-8")
    let_everybody_in(tmp_path)
    return prefix


def tried(prefix: Path, framework: str = "torch", timeout: float = 60.0) -> ProbeAnswer:
    return LiveHost(timeout=120).try_framework(f"{prefix}/bin/python", framework, timeout)


def said(answer: ProbeAnswer) -> str:
    assert answer.answer is not None, answer.failure
    return str(answer.answer["failure"])


def test_the_frameworks_own_words(environment: Path) -> None:
    answer = tried(environment)
    assert answer.answer is not None
    assert (answer.answer["version"], answer.answer["devices"], answer.answer["failed_at"]) == ("9.9", 0, "devices")
    assert said(answer).startswith(f"RuntimeError: user {os.geteuid()} ")


def test_nothing_is_imported_from_the_folder_in_which_the_doctor_runs(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap, sprung = tmp_path / "somebody", tmp_path / "sprung"
    trap.mkdir()
    for name in ("json", "typing", "torch"):
        (trap / f"{name}.py").write_text(f"open({str(sprung)!r}, 'a').close()\nraise ImportError('caught')\n")
    monkeypatch.chdir(trap)
    assert "RuntimeError: user" in said(tried(environment))
    assert not sprung.exists()


def test_a_framework_that_cannot_be_imported(environment: Path) -> None:
    answer = tried(environment, "jax")
    assert answer.answer is not None
    assert answer.answer["failed_at"] == "import"
    assert "No module named 'jax'" in said(answer)


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("import time; time.sleep(60)", "no answer in 1 s"),
        ("import os; os.abort()", "ended by signal SIGABRT"),
        ("import os; os._exit(3)", "no usable answer (exit code 3"),
        ("import sys; sys.exit('leaving')", None),
    ],
)
def test_a_framework_that_hangs_or_crashes(environment: Path, body: str, failure: str | None) -> None:
    (package,) = environment.glob("lib/python*/site-packages/torch/__init__.py")
    package.write_text(body, encoding="utf-8")
    answer = tried(environment, timeout=1.0 if "sleep" in body else 60.0)
    if failure is None:
        assert said(answer) == "SystemExit: leaving"
    else:
        assert answer.answer is None
        assert failure in answer.failure


@root_only
def test_root_runs_it_as_the_owner_and_keeps_secrets_to_itself(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["chown", "-R", "-h", "nobody", str(environment)], check=True)
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    words = said(tried(environment))
    assert "user 65534 " in words
    assert " in / with " in words
    assert "'SECRET_TOKEN': None" in words
    assert "'CUDA_VISIBLE_DEVICES': '0'" in words
    assert "0," not in words.partition("groups ")[2].partition("]")[0]


@root_only
@pytest.mark.parametrize("case", ["others may write", "no account", "two owners"])
def test_root_does_not_run_what_others_could_have_changed(environment: Path, case: str) -> None:
    match case:
        case "others may write":
            (environment / "bin").chmod(0o777)
        case "no account":
            subprocess.run(["chown", "-R", "-h", "54321", str(environment)], check=True)
        case "two owners":
            os.chown(environment, 65534, 65534)
            os.chown(environment / "bin", 1, 1)
    with pytest.raises(Unavailable, match="root does not run it"):
        tried(environment)


def trials_of(host: LiveHost | RecordingHost | SnapshotHost | RootHost, *, wanted: bool = True) -> DeepTrials:
    load_plugins()
    known = (DeepWanted(wanted), DeviceUsers((), (), 0), Environment({}, ()))
    return Facts(host, {type(fact): fact for fact in known}).get(DeepTrials)


def test_only_when_it_is_asked_for(environment: Path) -> None:
    host = LiveHost(timeout=120)
    host.pythons = (str(environment),)
    with pytest.raises(NotRunning, match="--deep"):
        trials_of(host, wanted=False)
    trial = trials_of(host).get(str(environment), "torch")
    assert isinstance(trial, FrameworkTrial)
    assert (trial.version, trial.devices, trial.failed_at, trial.facts) == ("9.9", 0, "devices", {"cuda": "12.8"})
    assert trial.unavailable == ""


def test_a_snapshot_keeps_what_was_tried_and_runs_nothing(environment: Path) -> None:
    live = LiveHost(timeout=120)
    live.pythons = (str(environment),)
    recorder = RecordingHost(live)
    seen = trials_of(recorder)
    (environment / "bin/python").unlink()
    assert trials_of(SnapshotHost(recorder.answers)) == seen


def test_an_interpreter_that_is_gone(environment: Path) -> None:
    for link in (environment / "bin").glob("python*"):
        link.unlink()
    host = LiveHost(timeout=120)
    host.pythons = (str(environment),)
    (trial,) = trials_of(host).trials
    assert trial.unavailable


def test_on_a_disk_nothing_is_run(environment: Path) -> None:
    host = RootHost("/")
    host.pythons = (str(environment),)
    with pytest.raises(NotRunning):
        trials_of(host)


def test_the_command_says_whose_code_it_runs_and_what_came_of_it(environment: Path) -> None:
    done = gpudoctor("check", "--deep", "--python", str(environment), "--expect-gpus", "0", "--format", "json")
    assert f"gpudoctor: trying torch with {environment}/bin/python, as user {os.geteuid()}\n" in done.stderr
    host = json.loads(done.stdout)["host"]
    (trial,) = host["trials"]
    assert (trial["framework"], trial["devices"], trial["failed_at"]) == ("torch", 0, "devices")
    assert [python["prefix"] for python in host["pythons"]] == [str(environment)]
    without = gpudoctor("check", "--python", str(environment), "--expect-gpus", "0", "--format", "json")
    assert json.loads(without.stdout)["host"]["trials"] == []
    assert without.stderr == ""


@pytest.mark.parametrize("path", ["/no/such/python", "/etc", "/usr/bin/env"])
def test_what_is_no_python_is_said_in_a_sentence(path: str) -> None:
    done = gpudoctor("check", "--python", path)
    assert done.returncode == 3
    assert (
        done.stderr
        == f"gpudoctor: --python {path}: neither a Python interpreter nor the folder of a Python environment\n"
    )
