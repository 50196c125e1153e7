"""nvidia-smi in place of the NVML probe: asked only where our own way to NVML is broken."""

import os
from pathlib import Path
from typing import Any

import pytest
from nvidia_smi_runs import Run, run_of

from gpudoctor.facts.answers import DriverAnswers, Nvml, StateBefore
from gpudoctor.host import ProbeAnswer, Unavailable
from gpudoctor.machine import LiveHost
from gpudoctor.registry import Facts
from gpudoctor.snapshot import Json, RecordingHost, SnapshotHost

NO_BINDING = "no usable answer (exit code 4: the probe nvml cannot start: No module named 'pynvml')"


def _nvml(failure: str, run: Json = None, modules: tuple[str, ...] = ("nvidia", "nvidia_uvm")) -> Nvml:
    unasked: Json = {"failure": "not asked in this test"}
    answers: dict[str, Json] = {
        "read /proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  x\n",
        "read /proc/driver/nvidia/params": None,
        "read /proc/modules": "".join(f"{name} 1 0 - Live 0x0\n" for name in modules),
        "list /dev": [],
        "read /proc/devices": "",
        "read /proc/sys/kernel/osrelease": "6.1.0",
        "read /run/.containerenv": None,
        "read /run/systemd/container": None,
        "read /proc/self/cgroup": "0::/\n",
        "status /var/run/secrets/kubernetes.io": None,
        "status /.dockerenv": None,
        "probe nvml": {"failure": failure},
        "probe cuda": unasked,
        "probe processes": unasked,
        "run nvidia-smi -q -x": run,
    }
    return Facts(SnapshotHost(answers)).get(Nvml)


def _done(run: Run) -> Json:
    return {"exit_code": run.exit_code, "stdout": run.text, "stderr": ""}


def test_nvidia_smi_answers_where_the_probe_cannot_start() -> None:
    assert _nvml(NO_BINDING, _done(run_of("535.261.03", "init18", "-q -x"))).return_code == 18
    found = _nvml(NO_BINDING, _done(run_of("535.261.03", "lost", "-q -x")))
    assert [gpu.return_code for gpu in found.gpus] == [0, 15]
    assert (
        _nvml(NO_BINDING, {"exit_code": 9, "stdout": "", "stderr": run_of("470.256.02", "init9").text}).return_code == 9
    )


@pytest.mark.parametrize(
    "failure",
    ["no answer in 10 s", "ended by signal SIGSEGV", "no answer in 10 s, and it cannot be killed: stuck in the kernel"],
)
def test_a_sick_driver_is_not_asked_again(failure: str) -> None:
    with pytest.raises(Unavailable) as reason:
        _nvml(failure, _done(run_of("535.261.03", "a100x2", "-q -x")))
    assert str(reason.value) == f"NVML: {failure}"


def test_without_the_module_nvidia_smi_is_not_run_since_it_would_load_it() -> None:
    with pytest.raises(Unavailable) as reason:
        _nvml(NO_BINDING, _done(run_of("535.261.03", "a100x2", "-q -x")), modules=("nvidiafb",))
    assert str(reason.value) == f"NVML: {NO_BINDING}"


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (None, "there is no nvidia-smi to ask instead"),
        ({"unavailable": "nvidia-smi: no answer in 10 s"}, "nvidia-smi: no answer in 10 s"),
        ({"exit_code": 1, "stdout": "", "stderr": ""}, "nvidia-smi printed nothing (exit code 1)"),
        (
            {"exit_code": 0, "stdout": run_of("535.261.03", "a100x2", "-q -x").text[:5000], "stderr": ""},
            "nvidia-smi's answer is not complete",
        ),
    ],
)
def test_where_nvidia_smi_cannot_tell_either_both_reasons_are_given(run: Json, why: str) -> None:
    with pytest.raises(Unavailable) as reason:
        _nvml(NO_BINDING, run)
    assert str(reason.value) == f"NVML: {NO_BINDING}; {why}"


def _on_path(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def _asked() -> dict[type, Any]:
    failed = {"nvml": ProbeAnswer(None, NO_BINDING)}
    return {DriverAnswers: DriverAnswers(StateBefore(("nvidia",), ()), failed)}


def test_a_program_is_run_once_and_its_answer_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("550.163.01", "lost", "-q -x")
    (tmp_path / "output").write_text(run.text)
    _on_path(tmp_path, f'[ "$*" = "-q -x" ] && cat {tmp_path}/output; exit {run.exit_code}', monkeypatch)
    host = RecordingHost(LiveHost())
    found = Facts(host, _asked()).get(Nvml)
    assert [gpu.return_code for gpu in found.gpus] == [0, 15]
    assert Facts(SnapshotHost(host.answers), _asked()).get(Nvml) == found


def test_a_program_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _on_path(tmp_path, "exec sleep 600", monkeypatch)
    with pytest.raises(Unavailable, match="nvidia-smi: no answer in"):
        Facts(LiveHost(timeout=0.3), _asked()).get(Nvml)
