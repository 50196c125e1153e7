"""MPS, the persistence daemon, the PID namespace, and what nvidia-smi says of a GPU's recovery."""

from pathlib import Path

import pytest
from disk_trees import disk

from gpudoctor.facts.mps import Mps
from gpudoctor.facts.nvidia_smi import read_nvidia_smi
from gpudoctor.facts.persistence import PersistenceDaemon
from gpudoctor.facts.process_view import ProcessView
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.testing import MachineTree

load_plugins()


VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.171.04  Tue Mar 19 2024\n"
LOADED = {"/proc/driver/nvidia/version": VERSION}


def on(root: Path, files: dict[str, str], *, driver: bool = True) -> Facts:
    disk(root, {"/etc/os-release": "ID=debian\n", "/proc/modules": "", **files, **(LOADED if driver else {})})
    return Facts(MachineTree(str(root)))


USUAL = "/tmp/nvidia-mps"
PIPES = {"control": "", "control_lock": "", "control_privileged": "", "log": ""}


def pipes(folder: str, process_id: str = "") -> dict[str, str]:
    files = {f"{folder}/{name}": text for name, text in PIPES.items()}
    return files | ({f"{folder}/nvidia-cuda-mps-control.pid": process_id} if process_id else {})


def test_no_mps(tmp_path: Path) -> None:
    assert on(tmp_path, {}).get(Mps) == Mps(USUAL, False, False, False, None, False)


def test_a_daemon_that_runs(tmp_path: Path) -> None:
    found = on(tmp_path, pipes(USUAL, "512\n") | {"/proc/512/comm": "nvidia-cuda-mps\n"}).get(Mps)
    assert found == Mps(USUAL, False, True, True, 512, True)
    assert not found.left_behind


@pytest.mark.parametrize("others", [{}, {"/proc/512/comm": "bash\n"}], ids=["gone", "another-program"])
def test_a_daemon_that_was_killed(tmp_path: Path, others: dict[str, str]) -> None:
    assert on(tmp_path, pipes(USUAL, "512") | others).get(Mps).left_behind


def test_a_daemon_that_quit_leaves_only_its_socket(tmp_path: Path) -> None:
    found = on(tmp_path, pipes(USUAL)).get(Mps)
    assert (found.socket, found.process_id, found.left_behind) == (True, None, False)


def test_a_process_id_that_is_none(tmp_path: Path) -> None:
    assert on(tmp_path, pipes(USUAL, "../1\n")).get(Mps).process_id is None


def test_the_variable_names_the_folder(tmp_path: Path) -> None:
    environ = {"/proc/self/environ": "CUDA_MPS_PIPE_DIRECTORY=/run/mps/\0HOME=/root\0"}
    found = on(tmp_path, pipes("/run/mps", "512") | environ).get(Mps)
    assert (found.folder, found.named, found.left_behind) == ("/run/mps", True, True)


# Debian's unit, and Fedora's.
PASSIVE = """[Unit]
Description=NVIDIA Persistence Daemon
Wants=syslog.target

[Service]
Type=forking
ExecStart=/usr/bin/nvidia-persistenced --user nvpd --no-persistence-mode
ExecStopPost=/bin/rm -rf /var/run/nvidia-persistenced
"""
ACTIVE = PASSIVE.replace("--user nvpd --no-persistence-mode", "--verbose")
UNIT = "/usr/lib/systemd/system/nvidia-persistenced.service"
DROP_IN = "/etc/systemd/system/nvidia-persistenced.service.d/override.conf"
RUNS = {"/run/nvidia-persistenced/nvidia-persistenced.pid": "700\n", "/proc/700/comm": "nvidia-persiste\n"}


def test_a_daemon_that_keeps_the_gpus_awake(tmp_path: Path) -> None:
    found = on(tmp_path, {UNIT: ACTIVE, "/sys/class/dmi/id/chassis_type": "23\n"} | RUNS)
    assert found.get(PersistenceDaemon) == PersistenceDaemon(UNIT, False, True, False)


def test_a_daemon_that_is_told_to_stay_passive(tmp_path: Path) -> None:
    assert on(tmp_path, {UNIT: PASSIVE}).get(PersistenceDaemon) == PersistenceDaemon(UNIT, True, False, False)


def test_a_drop_in_has_the_last_word(tmp_path: Path) -> None:
    drop_in = "[Service]\nExecStart=\nExecStart=/usr/bin/nvidia-persistenced --user nvpd --persistence-mode\n"
    assert not on(tmp_path, {UNIT: PASSIVE, DROP_IN: drop_in}).get(PersistenceDaemon).passive


def test_a_laptop_without_the_daemon(tmp_path: Path) -> None:
    found = on(tmp_path, {"/sys/class/dmi/id/chassis_type": "10\n"})
    assert found.get(PersistenceDaemon) == PersistenceDaemon("", False, False, True)


def test_without_a_driver_nobody_looks(tmp_path: Path) -> None:
    facts = on(tmp_path, {UNIT: PASSIVE} | pipes(USUAL, "512"), driver=False)
    assert facts.get(PersistenceDaemon).unit == ""
    assert not facts.get(Mps).there


@pytest.mark.parametrize(
    ("number", "first", "whole"),
    [("4026531836", "1", True), ("4026532513", "1", False), ("4026531836", "2", False)],
    ids=["all", "container", "hidepid"],
)
def test_who_sees_all_processes(tmp_path: Path, number: str, first: str, whole: bool) -> None:
    facts = on(tmp_path, {f"/proc/{first}/comm": "systemd\n"})
    folder = tmp_path / "proc/self/ns"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pid").symlink_to(f"pid:[{number}]")
    assert facts.get(ProcessView).whole is whole


@pytest.mark.parametrize(
    ("said", "action"),
    [("None", "none"), ("Reset", "gpu_reset"), ("Drain and Reset", "drain_and_reset"), ("Reboot", "node_reboot")],
)
def test_nvidia_smi_tells_the_recovery_action(said: str, action: str) -> None:
    text = f"""
==============NVSMI LOG==============

Timestamp                                 : Tue Nov 24 10:00:00 2026
Driver Version                            : 580.95.05
CUDA Version                              : 13.0

Attached GPUs                             : 1
GPU 00000000:3B:00.0
    Product Name                          : NVIDIA H200
    GPU Recovery Action                   : {said}
"""
    [gpu] = read_nvidia_smi(text, 0).gpus
    assert gpu.values["recovery_action"] == action
