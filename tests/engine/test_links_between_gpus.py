"""Whole servers with NVSwitches, and workstations with two GPUs: from what is wrong with the links to the repair."""

from pathlib import Path
from typing import Any

from diagnoses import Diagnosis, diagnosed
from family_machines import Files
from healthy_machines import EIGHT, L40S, Card, Running, answers, running
from healthy_parts import MULTIARCH
from healthy_servers import server_files, server_packages

from gpudoctor.facts.fabric import LOG
from gpudoctor.facts.packages import Package
from gpudoctor.redaction.redact import redacted
from gpudoctor.snapshot import RecordingHost, SnapshotHost

VERSION, BEFORE = "580.95.05", "580.82.07"
UNIT = "/usr/lib/systemd/system/nvidia-fabricmanager.service"
WANTED = "/etc/systemd/system/multi-user.target.wants/nvidia-fabricmanager.service"
INSTALLED: Files = {UNIT: "[Unit]\nDescription=NVIDIA fabric manager service\n", WANTED: f"-> {UNIT}"}
RUNS: Files = {
    "/run/nvidia-fabricmanager/nv-fabricmanager.pid": "2041\n",
    "/proc/2041/comm": "nv-fabricmanage\n",
}
PAIR = (L40S, Card("0000:61:00.0", "26b9", "NVIDIA L40S"))


def server(
    folder: Path,
    more: Files,
    *,
    cards: tuple[Card, ...] = EIGHT,
    ready: bool = True,
    manager: str = VERSION,
    **values: Any,
) -> Running:
    """`ready`: the links are set up, so that CUDA works; `manager`: version of the fabric manager; `values`: NVML's."""
    said = answers(cards, VERSION, MULTIARCH)
    if not ready:
        not_yet = {
            "return_code": 802,
            "return_name": "CUDA_ERROR_SYSTEM_NOT_READY",
            "message": "system not yet initialized",
        }
        said["cuda"] |= {**not_yet, "device_count": 0}
    gpus = said["nvml"]["gpus"]
    assert isinstance(gpus, list)
    for gpu in gpus:
        gpu |= {"fabric_state": "completed" if ready else "in_progress", **values}
    packages = [_in(package, manager) for package in server_packages(VERSION, "580-server")]
    files = server_files(VERSION, cards, 0)
    if cards is PAIR:
        files = {path: text for path, text in files.items() if "22A3" not in str(text)}
    return running(folder, {**files, **more}, packages=packages, cards=cards, said=said)


def _in(package: Package, manager: str) -> Package:
    own = package.name.startswith("nvidia-fabricmanager")
    return package._replace(version=package.version.replace(VERSION, manager)) if own else package


def ids(seen: Diagnosis) -> set[str]:
    """Of all findings on links, also those that are merely told."""
    return {ranked.check.id for ranked in seen.report.findings if ranked.check.id.startswith(("fabric.", "pci."))}


def test_server_whose_fabric_manager_runs(tmp_path: Path) -> None:
    seen = diagnosed(server(tmp_path, {**INSTALLED, **RUNS}))
    assert ids(seen) == set()
    assert seen.report.exit_code == 0


def test_server_whose_fabric_manager_was_never_enabled(tmp_path: Path) -> None:
    seen = diagnosed(server(tmp_path, {UNIT: "[Unit]\n"}, ready=False))
    assert seen.found == ["fabric.manager-not-ready"]
    assert seen.explained == {"driver.cuda-init-failed"}
    assert seen.steps == [
        "systemctl --no-reload enable nvidia-fabricmanager.service",
        "systemctl start nvidia-fabricmanager.service",
    ]


def test_server_whose_driver_was_upgraded_alone(tmp_path: Path) -> None:
    seen = diagnosed(server(tmp_path, INSTALLED, ready=False, manager=BEFORE))
    assert seen.found == ["fabric.manager-version-mismatch"]
    assert seen.explained == {"fabric.manager-not-ready", "driver.cuda-init-failed"}
    assert seen.steps == [
        f"apt-get install --allow-downgrades nvidia-fabricmanager-580={VERSION}-0ubuntu0.24.04.1",
        "systemctl restart nvidia-fabricmanager.service",
    ]


def test_server_whose_switches_are_reached_over_infiniband(tmp_path: Path) -> None:
    b200 = tuple(card._replace(device_id="2901", name="NVIDIA B200") for card in EIGHT)
    seen = diagnosed(server(tmp_path, INSTALLED, cards=b200, ready=False))
    assert seen.found == ["fabric.nvlink5-modules-missing"]
    assert seen.explained == {"fabric.manager-not-ready", "driver.cuda-init-failed"}
    assert "mlx5_ib and ib_umad and the subnet manager nvlsm" in seen.first.summary
    assert seen.steps[0] == "apt-get install linux-modules-extra-6.8.0-87-generic nvlsm"
    assert seen.steps[-2:] == ["modprobe -a mlx5_ib ib_umad", "systemctl restart nvidia-fabricmanager.service"]


def test_workstation_with_a_service_that_it_does_not_need(tmp_path: Path) -> None:
    seen = diagnosed(server(tmp_path, INSTALLED, cards=PAIR, fabric_state=None))
    assert seen.found == ["fabric.manager-unneeded"]
    assert seen.report.exit_code == 1
    assert seen.steps == ["systemctl --no-reload disable nvidia-fabricmanager.service"]


def test_workstation_whose_gpus_exchange_data_over_pci_express(tmp_path: Path) -> None:
    files = {f"/sys/bus/pci/devices/{card.address}/iommu_group/type": "DMA-FQ\n" for card in PAIR}
    seen = diagnosed(server(tmp_path, files, cards=PAIR, fabric_state=None, pci_peers=[0, 1]))
    assert ids(seen) == {"pci.p2p-blocked"}
    assert seen.report.exit_code == 0  # told, and no fault
    fault = "6,1,2,-;nvidia 0000:61:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003 address=0x80000040]\n"
    seen = diagnosed(server(tmp_path / "hangs", {**files, "/dev/kmsg": fault}, cards=PAIR, fabric_state=None))
    assert seen.found == ["pci.p2p-blocked"]
    assert seen.first.subject == "0000:61:00.0"
    assert seen.report.exit_code == 1
    assert "iommu=pt" in seen.steps[0]


def test_a_recorded_server_tells_the_same(tmp_path: Path) -> None:
    said = (
        "[Nov 05 2024 13:55:26] [INFO] [tid 104230] Fabric Manager runs on node ada-hgx-07\n"
        f"[Nov 05 2024 13:55:26] [ERROR] [tid 104230] fabric manager NVIDIA GPU driver interface version {BEFORE} "
        f"don't match with driver version {VERSION}. Please update with matching NVIDIA driver package.\n"
    )
    recording = RecordingHost(server(tmp_path, {**INSTALLED, LOG: said}, ready=False, manager=BEFORE))
    seen = diagnosed(recording)
    answers = redacted(recording.answers)
    again = diagnosed(SnapshotHost(answers))
    assert seen.found == again.found == ["fabric.manager-version-mismatch"]
    assert seen.first == again.first
    assert f"{LOG}: {said.splitlines()[1]}" in again.proof
    assert "ada-hgx-07" not in str(answers)
