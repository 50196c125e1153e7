"""GPUs that serve one process only, memory that no listed process uses, and a dead MPS daemon."""

from typing import Any

import gpu_machines
import pytest
from gpu_machines import (
    ADDRESS,
    DOCKER,
    JOB,
    SECOND,
    WSL,
    cuda,
    evidence_of,
    explained,
    finding,
    ids_for,
    nvml,
    outcome,
    status,
)

from gpudoctor.facts.answers import Cuda, NvmlGpu
from gpudoctor.facts.environment import Environment, Setting
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.mps import Mps
from gpudoctor.facts.process_view import ProcessView
from gpudoctor.facts.processes import DeviceUsers, Holder
from gpudoctor.facts.system import Identity
from gpudoctor.findings import Severity, Status

MODE, MEMORY, MPS = "gpu.compute-mode-exclusive", "gpu.memory-without-process", "gpu.mps-stale"
HOST, INSIDE = ProcessView(True), ProcessView(False)
NO_MPS = Mps("/tmp/nvidia-mps", False, False, False, None, False)
ROOT = Identity(0, (0,))


def told(address: str = ADDRESS, number: int = 0, pids: tuple[int, ...] = (), **values: Any) -> NvmlGpu:
    """A GPU that answers, with compute processes and these of the probe's values."""
    processes = [{"pid": pid, "kind": "compute", "memory_bytes": 1 << 30} for pid in pids]
    usual = {"compute_mode": "default", "processes": processes, "minor_number": number}
    return gpu_machines.told(address, number, **(usual | values))


@pytest.mark.parametrize("check", [MODE, MEMORY, MPS])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check, nvml(told()), HOST, NO_MPS) is Status.OK


# gpu.compute-mode-exclusive

EXCLUSIVE = told(pids=(4711,), compute_mode="exclusive_process")
STRANGER = DeviceUsers((Holder(4711, 1001, "python3", ("/dev/nvidia0",)),), (), 0)


def test_a_stranger_has_the_only_gpu() -> None:
    found = finding(MODE, nvml(EXCLUSIVE), HOST, STRANGER)
    assert found.summary == (
        f"GPU {ADDRESS} (NVIDIA A100-SXM4-80GB) is set to serve one process only, and that is python3 (4711, user "
        "1001)."
    )
    assert found.severity is Severity.WARNING
    assert "compute mode: exclusive process" in evidence_of(found)
    assert f"If the GPU's owner agrees: `sudo nvidia-smi -i {ADDRESS} -c 0`." in found.remedy


def test_it_is_only_told_where_others_are_free_or_to_whom_the_machine_belongs() -> None:
    two = nvml(EXCLUSIVE, told(SECOND, 1, compute_mode="exclusive_process"))
    assert finding(MODE, two, HOST, STRANGER).severity is Severity.INFO
    assert finding(MODE, nvml(EXCLUSIVE), HOST, STRANGER, ROOT).severity is Severity.INFO
    mine = DeviceUsers((Holder(4711, 1000, "python3", ("/dev/nvidia0",)),), (), 0)
    assert finding(MODE, nvml(EXCLUSIVE), HOST, mine).severity is Severity.INFO


def test_in_a_batch_job_the_mode_is_no_fault_unless_a_stranger_has_its_gpu() -> None:
    mine = DeviceUsers((Holder(4711, 1000, "python3", ("/dev/nvidia0",)),), (), 0)
    assert status(MODE, nvml(EXCLUSIVE), HOST, mine, JOB) is Status.OK
    assert status(MODE, nvml(told(compute_mode="exclusive_process")), HOST, JOB) is Status.OK
    found = finding(MODE, nvml(EXCLUSIVE), HOST, STRANGER, JOB)
    assert found.severity is Severity.ERROR
    assert "batch system's administrator" in found.remedy


def test_an_idle_gpu_and_one_that_mps_shares_let_others_in() -> None:
    assert status(MODE, nvml(told(compute_mode="exclusive_process")), HOST) is Status.OK
    server = DeviceUsers((Holder(4711, 1001, "nvidia-cuda-mps", ("/dev/nvidia0",)),), (), 0)
    assert status(MODE, nvml(EXCLUSIVE), HOST, server) is Status.OK
    client = told(compute_mode="exclusive_process", processes=[{"pid": 5, "kind": "mps", "memory_bytes": 1}])
    assert status(MODE, nvml(client), HOST) is Status.OK
    screen = told(compute_mode="exclusive_process", processes=[{"pid": 5, "kind": "graphics", "memory_bytes": 1}])
    assert status(MODE, nvml(screen), HOST) is Status.OK


@pytest.mark.parametrize(
    "changes", [(INSIDE,), (HOST, DOCKER), (), (HOST, nvml(told(compute_mode="exclusive_process", processes=None)))]
)
def test_who_has_it_cannot_be_seen(changes: tuple[object, ...]) -> None:
    found = outcome(MODE, nvml(EXCLUSIVE), *changes)
    assert (found.status, found.matters) == (Status.UNKNOWN, False)
    assert "set to serve one process only" in found.reason


def test_a_prohibited_gpu() -> None:
    closed = told(compute_mode="prohibited")
    found = finding(MODE, nvml(closed))
    assert found.severity is Severity.ERROR
    assert "serve no CUDA program" in found.summary
    assert finding(MODE, nvml(closed, told(SECOND, 1))).severity is Severity.WARNING
    screen = closed._replace(values={**closed.values, "display_active": True})
    assert finding(MODE, nvml(screen, told(SECOND, 1))).severity is Severity.INFO
    assert finding(MODE, nvml(closed), DOCKER).remedy.startswith("On the host of this container: ")


@pytest.mark.parametrize(
    "message",
    [
        "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "CUDA_ERROR_DEVICE_UNAVAILABLE: CUDA-capable device(s) is/are busy or unavailable",
    ],
)
def test_messages_of_a_busy_gpu(message: str) -> None:
    assert MODE in ids_for(message)


# gpu.memory-without-process

GIB = 1 << 30
FULL = told(memory_used_bytes=40 * GIB)


def test_memory_that_a_stopped_process_keeps() -> None:
    hung = DeviceUsers((Holder(812, 1001, "python3", ("/dev/nvidia0", "/dev/nvidiactl")),), (), 0)
    found = finding(MEMORY, nvml(FULL), HOST, hung)
    assert found.summary == (
        f"GPU {ADDRESS} (NVIDIA A100-SXM4-80GB) has 40.0 of 80 GiB in use, and lists no process. "
        "python3 (812, user 1001) has /dev/nvidia0 open."
    )
    assert found.subject == ADDRESS
    assert "used: 40960 MiB, processes: none" in evidence_of(found)
    assert "by its id" in found.remedy
    assert outcome(MEMORY, nvml(FULL), HOST, hung).check.severity is Severity.WARNING


def test_memory_that_nobody_holds() -> None:
    found = finding(MEMORY, nvml(FULL), HOST)
    assert "Nobody has the GPU open." in found.summary
    assert f"reset the GPU while it is idle: `sudo nvidia-smi -i {ADDRESS} -r`" in found.remedy
    service = DeviceUsers((Holder(700, 0, "nv-hostengine", ("/dev/nvidia0",)),), (), 0)
    assert "Nobody" in finding(MEMORY, nvml(FULL), HOST, service).summary


def test_memory_whose_holder_only_root_can_see() -> None:
    found = finding(MEMORY, nvml(FULL), HOST, DeviceUsers((), (), 4))
    assert "only root can see" in found.summary
    assert "-r`" not in found.remedy
    assert "only root can see" in finding(MEMORY, nvml(FULL), HOST, without=(DeviceUsers,)).summary


@pytest.mark.parametrize(
    "filled",
    [
        told(memory_used_bytes=2 * GIB),
        told(memory_used_bytes=600 << 20)._replace(memory_total_bytes=4 * GIB),
        told(pids=(4711,), memory_used_bytes=40 * GIB),
        told(memory_used_bytes=40 * GIB, mig_mode=True),
        told(memory_used_bytes=40 * GIB, virtualization_mode="host_vgpu"),
        told(memory_used_bytes=40 * GIB)._replace(name="NVIDIA GH200 480GB"),
        told(memory_used_bytes=None),
    ],
    ids=["driver", "small", "process", "mig", "vgpu", "coherent", "not-told"],
)
def test_memory_that_is_accounted_for(filled: NvmlGpu) -> None:
    assert status(MEMORY, nvml(filled), HOST) is Status.OK


@pytest.mark.parametrize("changes", [(INSIDE,), (), (HOST, nvml(told(memory_used_bytes=40 * GIB, processes=None)))])
def test_processes_that_cannot_be_seen(changes: tuple[object, ...]) -> None:
    found = outcome(MEMORY, nvml(FULL), *changes)
    assert (found.status, found.matters) == (Status.UNKNOWN, False)


@pytest.mark.parametrize("place", [DOCKER, WSL, JOB, LoadedModules({"nvidia": (), "nvidia_vgpu_vfio": ()})])
def test_where_processes_of_others_are_hidden_on_purpose(place: object) -> None:
    assert status(MEMORY, nvml(FULL), HOST, place) is Status.SKIPPED


# gpu.mps-stale

DEAD = Mps("/run/mps", True, True, True, 512, False)
SET = Environment(
    {"CUDA_MPS_PIPE_DIRECTORY": "/run/mps"},
    (
        Setting(
            "CUDA_MPS_PIPE_DIRECTORY", "/run/mps", "/etc/profile.d/mps.sh", 3, "export CUDA_MPS_PIPE_DIRECTORY=/run/mps"
        ),
    ),
)


def test_a_daemon_that_was_killed() -> None:
    found = finding(MPS, DEAD, SET, HOST)
    assert found.summary == "The MPS daemon that programs look for in /run/mps has ended, and left its files behind."
    proof = evidence_of(found)
    assert "/run/mps/nvidia-cuda-mps-control.pid: 512: no MPS daemon" in proof
    assert "/etc/profile.d/mps.sh:3: export CUDA_MPS_PIPE_DIRECTORY=/run/mps" in proof
    assert "or unset CUDA_MPS_PIPE_DIRECTORY" in found.remedy
    assert found.severity is None


def test_cuda_cannot_reach_the_daemon() -> None:
    refused = cuda(805, "CUDA_ERROR_MPS_CONNECTION_FAILED")
    assert finding(MPS, DEAD, refused, HOST).severity is Severity.ERROR
    assert explained(DEAD, refused, HOST) == {MPS: ("driver.cuda-init-failed",)}
    sick = finding(MPS, DEAD._replace(running=True), cuda(807, "CUDA_ERROR_MPS_SERVER_NOT_READY"), HOST)
    assert "does not answer as it should" in sick.summary
    assert "512: runs" in evidence_of(sick)


def test_in_a_container_only_the_code_tells() -> None:
    assert status(MPS, DEAD, DOCKER, HOST) is Status.OK
    assert status(MPS, DEAD, INSIDE) is Status.OK
    found = finding(MPS, NO_MPS._replace(named=True), cuda(805, "CUDA_ERROR_MPS_CONNECTION_FAILED"), DOCKER)
    assert found.remedy.startswith("On the host of this container: ")
    assert "--ipc=host" in found.remedy
    assert "/tmp/nvidia-mps: no such folder" in evidence_of(found)


def test_leftovers_of_a_service_that_nobody_asks_for() -> None:
    left = DEAD._replace(folder="/tmp/nvidia-mps", named=False)
    assert status(MPS, left, HOST) is Status.OK  # CUDA starts
    assert status(MPS, left, HOST, without=(Cuda,)) is Status.FOUND  # it gave no answer


def test_a_daemon_that_runs_and_a_variable_without_one() -> None:
    assert status(MPS, DEAD._replace(running=True), HOST) is Status.OK
    assert status(MPS, Mps("/run/mps", True, False, False, None, False), HOST) is Status.OK


def test_without_the_folder_nothing_is_known() -> None:
    found = outcome(MPS, HOST, without=(Mps,))
    assert (found.status, found.matters) == (Status.UNKNOWN, False)


@pytest.mark.parametrize(
    "message",
    [
        "Error 805: MPS client failed to connect to the MPS control daemon or the MPS server",
        "Error 806: the remote procedural call between the MPS server and the MPS client failed",
        "CUDA_ERROR_MPS_SERVER_NOT_READY: the MPS server is not ready to accept new MPS client requests",
        "cudaErrorMpsConnectionFailed",
        "Cannot find MPS control daemon process",
    ],
)
def test_messages_of_mps(message: str) -> None:
    assert MPS in ids_for(message)
