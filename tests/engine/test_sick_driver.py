"""Whole diagnoses of a machine whose driver is really asked: a stub NVML and libcuda through the real pynvml."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from imaginary_machines import Environment, a100, eight_gpus, machine
from live_machines import DriverOnly, debian

from gpudoctor.cli.check import diagnose_with
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.findings import Report, Severity, Status
from gpudoctor.registry import Facts
from gpudoctor.reports.json_report import as_json
from gpudoctor.reports.text import as_text

pytest_plugins = ["native_libraries"]

VERSION = "535.261.03"  # of the stub libraries

Diagnose = Callable[..., tuple[Report, Facts]]


@pytest.fixture
def diagnose(tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Diagnose:
    """diagnose(machine_text, gpus=8): files of a healthy machine, answers of the imaginary one."""

    def run(text: str, *, gpus: int = 8, patience: float = 20, expect: int | None = None) -> tuple[Report, Facts]:
        for name, value in environment(text).items():
            monkeypatch.setenv(name, value)
        tree = debian(
            tmp_path / f"machine-{len(list(tmp_path.iterdir()))}",
            loaded=VERSION,
            on_disk=VERSION,
            user_space=VERSION,
            packaged=VERSION,
            gpus=gpus,
            probes=DriverOnly(patience, patience),
        )
        facts = Facts(tree, {ExpectedGpus: ExpectedGpus(expect)})
        return diagnose_with(facts), facts

    return run


def _found(report: Report) -> list[str]:
    return [ranked.check.id for ranked in report.findings if ranked.severity > Severity.INFO]


def _unknown(report: Report) -> list[str]:
    return [o.check.id for o in report.outcomes if o.status in (Status.UNKNOWN, Status.CRASHED) and not o.not_running]


def test_eight_healthy_gpus(diagnose: Diagnose) -> None:
    report, facts = diagnose(eight_gpus(), expect=8)
    assert _found(report) == []
    assert _unknown(report) == []
    assert report.exit_code == 0
    text = as_text(report, facts, 1, colour=False)
    assert "8 x NVIDIA A100-SXM4-80GB" in text
    assert "NVIDIA modules and devices when this run began: nvidia, nvidia_drm," in text
    host = json.loads(as_json("check", report, facts, 1))["host"]
    assert host["driver"] == VERSION
    assert len(host["gpus"]) == 8
    assert "/dev/nvidiactl" in host["before_asking"]


def test_not_available_is_a_value(diagnose: Diagnose) -> None:
    bare = {"power": None, "ecc_mode": None, "mig_mode": None, "remapped_rows": None, "temperature": None}
    report, _ = diagnose(machine([a100(0, **bare)]), gpus=1)
    assert _found(report) == []
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("code", "id", "said"),
    [
        (18, "driver.library-mismatch", "18"),
        (9, "driver.nvml-failed", "9"),
        (12, "driver.nvml-failed", "12"),
        (4, "devices.permission-denied", "4"),
        (999, "driver.nvml-failed", "999"),
    ],
)
def test_nvml_refuses_to_start(diagnose: Diagnose, code: int, id: str, said: str) -> None:
    report, _ = diagnose(eight_gpus(nvmlInit=code))
    assert _found(report)[0] == id
    assert _found(report).count("driver.nvml-failed") == (id == "driver.nvml-failed")
    assert any(said in evidence.value for evidence in report.findings[0].finding.evidence)
    assert report.exit_code == 2


@pytest.mark.parametrize("kind", ["handle", "every"])
def test_one_lost_gpu_of_eight_does_not_hide_the_others(diagnose: Diagnose, kind: str) -> None:
    lost = {kind: "!15"}
    gpus = [a100(index, **(lost if index == 3 else {})) for index in range(8)]
    report, facts = diagnose(machine(gpus))
    assert [(ranked.check.id, ranked.finding.subject) for ranked in report.findings] == [
        ("health.fallen-off-bus", "0000:0a:00.0")
    ]
    assert as_text(report, facts, 1, colour=False).count("NVIDIA A100") >= 1


def test_a_lost_gpu_hides_neither_the_healthy_nor_another_sick_one(diagnose: Diagnose) -> None:
    gpus = [a100(0), a100(1, every="!15"), a100(2, remapped_rows="0 2 0 1"), a100(3)]
    report, facts = diagnose(machine(gpus), gpus=4, expect=4)
    found = {(ranked.check.id, ranked.finding.subject) for ranked in report.findings}
    assert ("health.fallen-off-bus", "0000:08:00.0") in found
    assert ("health.row-remap", "0000:09:00.0") in found
    assert {subject for _, subject in found} <= {"0000:08:00.0", "0000:09:00.0", ""}
    assert report.exit_code == 2
    host = json.loads(as_json("check", report, facts, 1))["host"]
    assert host["gpus"].count("NVIDIA A100-SXM4-80GB") == 3
    assert any("GPU_IS_LOST" in gpu or "GPU 1" in gpu for gpu in host["gpus"])


@pytest.mark.parametrize("sickness", ["hang", "hang-ignoring-sigterm", "hang-with-grandchild", "abort", "segfault"])
def test_a_hang_or_a_crash_costs_the_deadline_and_one_unknown(diagnose: Diagnose, sickness: str) -> None:
    began = time.monotonic()
    report, _ = diagnose(eight_gpus(nvmlInit=sickness), patience=2)
    assert time.monotonic() - began < 10
    assert _found(report) == []
    assert _unknown(report) == ["driver.nvml-failed"]
    reason = next(outcome.reason for outcome in report.outcomes if outcome.check.id == "driver.nvml-failed")
    assert "no answer in" in reason if "hang" in sickness else "ended by signal" in reason
    assert report.exit_code == 3


def test_everything_hangs(diagnose: Diagnose) -> None:
    began = time.monotonic()
    report, _ = diagnose(eight_gpus(nvmlInit="hang", cuInit="hang"), patience=2)
    assert time.monotonic() - began < 10, "both were asked side by side"
    assert set(_unknown(report)) == {"driver.nvml-failed", "kernel.uvm-wedged"}


def test_fewer_gpus_than_expected(diagnose: Diagnose) -> None:
    report, _ = diagnose(machine([a100(index) for index in range(2)]), gpus=2, expect=8)
    assert _found(report) == ["gpu.count-unexpected"]
    assert "8" in report.findings[0].finding.summary


def test_cuda_that_does_not_start(diagnose: Diagnose) -> None:
    report, _ = diagnose(eight_gpus(cuInit=999))
    assert _found(report)[0] == "kernel.uvm-wedged"
    report, _ = diagnose(eight_gpus(cuInit=100))
    assert _found(report)[0] == "driver.cuda-init-failed"
