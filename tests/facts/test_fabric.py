"""The fabric manager as systemd's files and /proc show it, and boards whose switches are reached over InfiniBand."""

from pathlib import Path

import pytest
from disk_trees import disk

from gpudoctor import NotRunning, Unavailable
from gpudoctor.facts.fabric import FabricManager, Nvlink5Board
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import SnapshotHost
from gpudoctor.testing import MachineTree

load_plugins()

UNIT = "/usr/lib/systemd/system/nvidia-fabricmanager.service"
WANTED = "/etc/systemd/system/multi-user.target.wants/nvidia-fabricmanager.service"
PID = "/run/nvidia-fabricmanager/nv-fabricmanager.pid"
GROUP = "/sys/fs/cgroup/system.slice/nvidia-fabricmanager.service/cgroup.procs"
LOG = "/var/log/fabricmanager.log"
RELEASE = {"/proc/sys/kernel/osrelease": "6.8.0-87-generic\n", "/proc/version": "Linux version 6.8.0-87-generic\n"}
# As nv-fabricmanager 550 writes it.
SAID = (
    "[Nov 05 2024 13:55:26] [INFO] [tid 104230] Fabric Manager version is : 550.127.05\n"
    "[Nov 05 2024 13:55:26] [ERROR] [tid 104230] request to query NVSwitch device information from NVSwitch driver "
    "failed with error:WARNING Nothing to do [NV_WARN_NOTHING_TO_DO]\n"
    "[Nov 05 2024 13:55:27] [INFO] [tid 104230] exiting\n"
)


def gpu(device_id: str = "2330") -> dict[str, str]:
    return {
        "/sys/bus/pci/devices/0000:1b:00.0/uevent": f"DRIVER=nvidia\nPCI_CLASS=30200\nPCI_ID=10DE:{device_id}\n",
    }


def machine(folder: Path, files: dict[str, str]) -> Facts:
    disk(folder, {**RELEASE, **files})
    return Facts(MachineTree(str(folder)))


def manager(folder: Path, files: dict[str, str]) -> FabricManager:
    return machine(folder, {**gpu(), **files}).get(FabricManager)


def test_machine_without_it(tmp_path: Path) -> None:
    assert manager(tmp_path, {}) == FabricManager("", False, 0, "")


def test_it_is_not_looked_for_without_a_gpu(tmp_path: Path) -> None:
    assert machine(tmp_path, {UNIT: "[Unit]\n"}).get(FabricManager) == FabricManager()


@pytest.mark.parametrize("place", [PID, GROUP])
def test_it_runs(tmp_path: Path, place: str) -> None:
    files = {UNIT: "[Unit]\n", WANTED: f"-> {UNIT}", place: "2041\n", "/proc/2041/comm": "nv-fabricmanage\n", LOG: SAID}
    assert manager(tmp_path, files) == FabricManager(UNIT, True, 2041, "")


def test_it_runs_without_a_unit(tmp_path: Path) -> None:
    assert manager(tmp_path, {PID: "2041\n", "/proc/2041/comm": "nv-fabricmanage\n"}).process_id == 2041


def test_left_over_pid_file_and_its_last_complaint(tmp_path: Path) -> None:
    found = manager(tmp_path, {UNIT: "[Unit]\n", PID: "2041\n", "/proc/2041/comm": "bash\n", LOG: SAID})
    assert found == FabricManager(UNIT, False, 0, SAID.splitlines()[1])


def test_log_without_complaints(tmp_path: Path) -> None:
    assert manager(tmp_path, {UNIT: "[Unit]\n", LOG: SAID.splitlines()[0]}).said == ""


def test_of_a_disk_nobody_can_tell(tmp_path: Path) -> None:
    facts = Facts(disk(tmp_path, {UNIT: "[Unit]\n"}))
    for kind in (FabricManager, Nvlink5Board):
        with pytest.raises(NotRunning):
            facts.get(kind)


def test_snapshot_from_before_it_was_asked(tmp_path: Path) -> None:
    bus = "/sys/bus/pci/devices"
    answers = {
        f"list {bus}": ["0000:1b:00.0"],
        f"read {bus}/0000:1b:00.0/uevent": "PCI_CLASS=30200\nPCI_ID=10DE:2330\n",
    }
    with pytest.raises(Unavailable):
        Facts(SnapshotHost(answers)).get(FabricManager)


# The boards


def board(folder: Path, device_id: str, files: dict[str, str] | None = None) -> Nvlink5Board:
    return machine(folder, {**gpu(device_id), **(files or {})}).get(Nvlink5Board)


def test_gpus_of_other_boards(tmp_path: Path) -> None:
    assert board(tmp_path, "2330") == Nvlink5Board()


def test_blackwell_without_switches(tmp_path: Path) -> None:
    assert board(tmp_path, "2C58") == Nvlink5Board()


def test_node_of_a_rack(tmp_path: Path) -> None:
    assert board(tmp_path, "2941") == Nvlink5Board(rack="GB200 NVL72")


@pytest.mark.parametrize(("device_id", "name"), [("2901", "HGX B200"), ("3182", "HGX B300")])
def test_board_and_what_it_lacks(tmp_path: Path, device_id: str, name: str) -> None:
    found = board(tmp_path, device_id)
    assert (found.name, found.modules, found.loadable) == (name, ("mlx5_ib", "ib_umad"), ())
    assert not found.subnet_manager_there


def test_board_with_all_it_needs(tmp_path: Path) -> None:
    listed = (
        "kernel/drivers/infiniband/core/ib_umad.ko.zst: kernel/drivers/infiniband/core/ib_core.ko.zst\n"
        "kernel/drivers/infiniband/hw/mlx5/mlx5_ib.ko.zst: kernel/drivers/infiniband/core/ib_uverbs.ko.zst\n"
    )
    files = {"/lib/modules/6.8.0-87-generic/modules.dep": listed, "/opt/nvidia/nvlsm/sbin/nvlsm": "ELF"}
    found = board(tmp_path, "2901", files)
    assert (found.loadable, found.subnet_manager_there) == (("mlx5_ib", "ib_umad"), True)
