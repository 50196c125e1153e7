"""The driver is whole and loaded, and the GPU is lost, locked, or wedged."""

from pathlib import Path

import pytest
from diagnoses import diagnosed
from driver_answers import Gpu
from family_machines import AFTER
from ubuntu_machines import HISTORY, NEW, OLD, UPGRADE, with_dkms

LOST = "0000:03:00.0"
XID_79 = (
    "NVRM: Xid (PCI:0000:03:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
    f"NVRM: GPU {LOST}: GPU has fallen off the bus."
)


def eight_h100(answer: int) -> list[Gpu]:
    """The third of them is gone."""
    return [Gpu("2330", gone=number == 2, answer=answer if number == 2 else 0) for number in range(8)]


def test_one_of_eight_gpus_is_off_the_bus(tmp_path: Path) -> None:
    seen = diagnosed(with_dkms(tmp_path, loaded=NEW, gpus=eight_h100(15), log=XID_79))
    assert seen.found == ["health.fallen-off-bus"]
    assert f"GPU {LOST} (NVIDIA H100 80GB HBM3) has fallen off the bus" in seen.first.summary
    assert "Xid (PCI:0000:03:00): 79" in seen.proof
    assert "switch the machine off completely" in seen.first.remedy
    (step,) = seen.steps
    assert step.startswith(LOST)


def test_a_lost_gpu_and_a_waiting_upgrade_do_not_hide_each_other(tmp_path: Path) -> None:
    gpus = eight_h100(15)
    seen = diagnosed(with_dkms(tmp_path, loaded=OLD, written=AFTER, gpus=gpus, log=XID_79, files={HISTORY: UPGRADE}))
    assert set(seen.found) == {"driver.library-mismatch", "health.fallen-off-bus"}
    # The driver waits for the lost GPU: to unload it may never end. A restart is needed for both anyway.
    assert not any("modprobe" in step for step in seen.steps)
    assert seen.steps[0] == "systemctl reboot"
    assert seen.steps[1].startswith(LOST)


@pytest.mark.parametrize("user", [1000, 0])
def test_nodes_for_a_group_that_the_user_is_not_in(tmp_path: Path, user: int) -> None:
    files = {
        "/etc/modprobe.d/nvidia.conf": "options nvidia NVreg_DeviceFileGID=44 NVreg_DeviceFileMode=0660\n",
        "/proc/driver/nvidia/params": "DeviceFileMode: 432\nDeviceFileGID: 44\nModifyDeviceFiles: 1\n",
    }
    nvml, cuda = (4, 100) if user else (0, 0)
    seen = diagnosed(with_dkms(tmp_path, loaded=NEW, user=user, mode=0o660, files=files, nvml=nvml, cuda=cuda))
    if not user:
        assert seen.found == []
        return
    assert seen.found == ["devices.permission-denied"]
    assert seen.first.summary.startswith("User 1000 may not use /dev/nvidia")
    assert "NVreg_DeviceFileMode=0660" in seen.proof
    assert "usermod -aG" in seen.first.remedy
    assert "log out and in again" in seen.first.remedy
    assert seen.explained == {"driver.nvml-failed", "driver.cuda-init-failed"}
    assert seen.steps[0] == "usermod -aG video ada"


def test_nvidia_uvm_is_wedged_after_a_suspend(tmp_path: Path) -> None:
    seen = diagnosed(with_dkms(tmp_path, loaded=NEW, cuda=999, log="PM: suspend entry (deep)\nPM: suspend exit"))
    assert seen.found == ["kernel.uvm-wedged"]
    assert "nvidia_uvm is stuck" in seen.first.summary
    assert "PM: suspend exit" in seen.proof
    assert "`modprobe -r nvidia_uvm` and `modprobe nvidia_uvm`; no reboot is needed" in seen.first.remedy
    assert seen.explained == {"driver.cuda-init-failed"}
    assert seen.steps == ["modprobe -r nvidia_uvm", "modprobe nvidia_uvm"]
