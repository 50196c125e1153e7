"""The specification of GPUs for containers (CDI), against the driver and the files that are here."""

from pathlib import Path

import pytest
from container_hosts import NEW, OLD, TOOLKIT, cdi_json, cdi_yaml, container_host, only, outcome

from gpudoctor.findings import Severity, Status

CDI = "container.cdi-stale"
FRESH = {"/etc/cdi/nvidia.yaml": cdi_yaml(NEW)}


def test_device_files_that_nobody_has_asked_for_yet(tmp_path: Path) -> None:
    host = container_host(tmp_path, TOOLKIT, FRESH)
    for name in ("nvidiactl", "nvidia0"):
        (tmp_path / "dev" / name).unlink()
    assert outcome(CDI, host).status is Status.OK


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"/etc/cdi/nvidia.yaml": cdi_yaml(OLD)}, f"files of driver {OLD}, the driver is {NEW}"),
        ({"/run/cdi/nvidia.yaml": cdi_yaml(OLD)}, f"files of driver {OLD}"),
        ({"/run/cdi/nvidia.yaml": cdi_yaml(OLD), "/etc/systemd/system/nvidia-cdi-refresh.path": ""}, "driver"),
        ({"/etc/cdi/nvidia.json": cdi_json(OLD)}, f"files of driver {OLD}"),
        ({"/etc/cdi/nvidia.yaml": cdi_yaml(NEW).replace("card1", "card0")}, "/dev/dri/card0, not there"),
        ({"/etc/cdi/nvidia.yaml": cdi_yaml(NEW).replace("/nvidia0", "/nvidia1")}, "/dev/nvidia1, not there"),
        (
            {"/etc/cdi/nvidia.yaml": cdi_yaml(NEW).replace("cdi-hook\n", "ctk-old\n")},
            "/usr/bin/nvidia-ctk-old, not there",
        ),
        ({"/etc/cdi/nvidia.json": cdi_json(NEW)}, "and 2 more, not there"),
    ],
)
def test_a_specification_of_what_is_not_there(tmp_path: Path, files: dict[str, str | bytes], words: str) -> None:
    found, severity = only(CDI, container_host(tmp_path, TOOLKIT, files))
    assert severity is Severity.WARNING
    assert words in found.summary
    unit = "/etc/systemd/system/nvidia-cdi-refresh.path" in files
    assert ("nvidia-cdi-refresh" in found.remedy) is unit


def test_a_stale_one_behind_a_fresh_one_is_worth_a_note(tmp_path: Path) -> None:
    both = {"/etc/cdi/nvidia.yaml": cdi_yaml(OLD), "/run/cdi/nvidia.yaml": cdi_yaml(NEW)}
    found, severity = only(CDI, container_host(tmp_path, TOOLKIT, both))
    assert (found.subject, severity) == ("/etc/cdi/nvidia.yaml", Severity.INFO)
    assert "rm /etc/cdi/nvidia.yaml" in found.remedy


def test_devices_that_only_the_stale_one_has_are_lost(tmp_path: Path) -> None:
    both = {"/etc/cdi/nvidia.yaml": cdi_yaml(OLD, "0", "1"), "/run/cdi/nvidia.yaml": cdi_yaml(NEW, "0")}
    assert only(CDI, container_host(tmp_path, TOOLKIT, both))[1] is Severity.WARNING


def test_two_files_of_one_folder_with_the_same_device(tmp_path: Path) -> None:
    both = {"/etc/cdi/nvidia.yaml": cdi_yaml(NEW), "/etc/cdi/nvidia-old.yaml": cdi_yaml(NEW)}
    found, _ = only(CDI, container_host(tmp_path, TOOLKIT, both))
    assert "both describe nvidia.com/gpu=0" in found.summary


def test_what_is_renewed_after_each_start_waits_for_the_start(tmp_path: Path) -> None:
    """The upgrade has brought new libraries; the driver in memory is the old one, and so is the specification."""
    files = {
        "/run/cdi/nvidia.yaml": cdi_yaml(OLD),
        "/usr/lib/systemd/system/nvidia-cdi-refresh.path": "",
        "/proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {OLD}  Tue\n",
    }
    assert outcome(CDI, container_host(tmp_path, TOOLKIT, files)).status is Status.OK


def test_other_makers_devices_are_none_of_ours(tmp_path: Path) -> None:
    other = cdi_yaml(OLD).replace("nvidia.com/gpu", "example.com/gpu")
    assert outcome(CDI, container_host(tmp_path, TOOLKIT, {"/etc/cdi/example.yaml": other})).status is Status.OK


@pytest.mark.parametrize("text", ["", "kind:", "{", '{"kind": []}', "\0\udcff"])
def test_a_specification_that_cannot_be_understood(tmp_path: Path, text: str) -> None:
    made = outcome(CDI, container_host(tmp_path, TOOLKIT, {"/etc/cdi/nvidia.yaml": text}))
    assert (made.status, made.matters) == (Status.UNKNOWN, False)
