"""GPUs that are in MIG mode without an instance, or are started anew by each program."""

import pytest
from gpu_machines import (
    ADDRESS,
    DOCKER,
    JOB,
    SECOND,
    TWO,
    WSL,
    cuda,
    evidence_of,
    explained,
    finding,
    gpu,
    ids_for,
    nvml,
    outcome,
    status,
    told,
)

from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.persistence import PersistenceDaemon
from gpudoctor.facts.processes import DeviceUsers, Holder
from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Severity, Status

MIG, PERSISTENCE = "gpu.mig-no-instances", "gpu.persistence-off"


@pytest.mark.parametrize("check", [MIG, PERSISTENCE])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check) is Status.OK


@pytest.mark.parametrize("check", [MIG, PERSISTENCE])
def test_needs_nvml(check: str) -> None:
    assert status(check, without=(Nvml,)) is Status.UNKNOWN
    assert outcome(check, not_running=(Nvml,)).not_running


# gpu.mig-no-instances

EMPTY = told(mig_mode=True, mig_devices=[])
CUT = told(SECOND, 1, mig_mode=True, mig_devices=["MIG-00000000-0000-0000-0000-000000000001"])


def test_mig_that_waits_for_a_reset_is_told_before_it_stops_programs() -> None:
    waits = told(mig_mode=False, mig_mode_pending=True)
    found = finding(MIG, nvml(waits), cuda())
    assert found.severity is Severity.WARNING
    assert "goes into MIG mode at its next reset or restart" in found.summary
    assert f"sudo nvidia-smi -i {ADDRESS} -mig 0` takes it back" in found.remedy
    assert status(MIG, nvml(waits), JOB) is Status.OK
    assert status(MIG, nvml(told(mig_mode=True, mig_mode_pending=False, mig_devices=["MIG-1"]))) is Status.OK


def test_the_instances_of_a_host_of_vgpus_belong_to_its_guests() -> None:
    host = told(mig_mode=True, mig_devices=[], virtualization_mode="host_vgpu")
    assert status(MIG, nvml(host), cuda(None)) is Status.OK


def test_mig_without_an_instance() -> None:
    nothing = cuda(100, "CUDA_ERROR_NO_DEVICE")
    found = finding(MIG, nvml(EMPTY), nothing)
    assert found.summary == (
        f"GPU {ADDRESS} (NVIDIA A100-SXM4-80GB) is in MIG mode and has no instance: no program can compute on it."
    )
    assert found.severity is Severity.ERROR
    assert "cuInit: 100 CUDA_ERROR_NO_DEVICE" in evidence_of(found)
    assert f"sudo nvidia-smi mig -i {ADDRESS} -lgip" in found.remedy
    assert f"sudo nvidia-smi -i {ADDRESS} -mig 0" in found.remedy
    assert explained(nvml(EMPTY), nothing) == {MIG: ("driver.cuda-init-failed",)}


def test_other_gpus_can_be_used() -> None:
    assert finding(MIG, TWO, nvml(EMPTY, CUT)).severity is Severity.WARNING
    assert finding(MIG, TWO, nvml(EMPTY, told(SECOND, 1, mig_mode=False)), without=(Cuda,)).severity is Severity.WARNING


def test_mig_with_instances_and_no_mig() -> None:
    assert status(MIG, nvml(CUT)) is Status.OK
    assert status(MIG, nvml(told(mig_mode=False, mig_devices=None))) is Status.OK


def test_instances_that_were_not_told() -> None:
    found = outcome(MIG, nvml(told(mig_mode=True)), cuda(100))
    assert (found.status, found.matters) == (Status.UNKNOWN, False)
    assert status(MIG, nvml(told(mig_mode=True))) is Status.OK  # CUDA works: there is one


def test_mig_where_others_create_instances() -> None:
    assert "start this container with one of them" in finding(MIG, nvml(EMPTY), DOCKER).remedy
    assert finding(MIG, nvml(EMPTY), JOB).remedy.startswith("Ask the batch system")


@pytest.mark.parametrize(
    "message",
    [
        "|  No MIG devices found                                                       |",
        "No GPU instances found: Not Found",
        "No compute instances found: Not Found",
        "error visiting device: device 0 has an invalid MIG configuration",
    ],
)
def test_messages_of_mig(message: str) -> None:
    assert MIG in ids_for(message)


# gpu.persistence-off

ASLEEP = tuple(told(place, number, persistence_mode=False) for number, place in enumerate((ADDRESS, SECOND)))
UNIT = "/usr/lib/systemd/system/nvidia-persistenced.service"
DAEMON = PersistenceDaemon(UNIT, False, False, False)


def test_several_gpus_without_persistence() -> None:
    found = finding(PERSISTENCE, nvml(*ASLEEP), DAEMON)
    assert found.summary.startswith("Persistence mode is off on 2 GPUs, and no program holds them")
    assert f"{UNIT}: not running" in evidence_of(found)
    assert "sudo systemctl enable --now nvidia-persistenced" in found.remedy
    assert found.severity is None
    assert outcome(PERSISTENCE, nvml(*ASLEEP), DAEMON).check.severity is Severity.INFO


def test_with_nvswitches_it_is_a_warning() -> None:
    found = finding(PERSISTENCE, nvml(*ASLEEP), DAEMON, PciGpus((gpu(), gpu(address=SECOND)), nvswitches=4))
    assert found.severity is Severity.WARNING


def test_a_daemon_that_is_told_to_stay_passive() -> None:
    found = finding(PERSISTENCE, nvml(*ASLEEP), DAEMON._replace(passive=True, running=True))
    assert "running, with --no-persistence-mode" in evidence_of(found)
    assert "systemctl edit nvidia-persistenced" in found.remedy
    own = DeviceUsers((Holder(700, 110, "nvidia-persiste", ("/dev/nvidiactl",)),), (), 0)
    assert status(PERSISTENCE, nvml(*ASLEEP), DAEMON, own) is Status.FOUND


def test_no_daemon_is_installed() -> None:
    found = finding(PERSISTENCE, nvml(*ASLEEP), PersistenceDaemon("", False, False, False))
    assert found.remedy.startswith("Install nvidia-persistenced")


@pytest.mark.parametrize(
    "changes",
    [
        (nvml(ASLEEP[0]),),
        (nvml(*(one._replace(values={"display_active": True}) for one in ASLEEP)),),
        (nvml(*(one._replace(values={"processes": [{"pid": 900, "kind": "graphics"}]}) for one in ASLEEP)),),
        (DeviceUsers((Holder(900, 0, "nv-hostengine", ("/dev/nvidia0",)),), (), 0),),
        (DAEMON._replace(portable=True),),
        (nvml(told(), told(SECOND, 1)),),
    ],
    ids=["one-gpu", "display", "graphics", "monitored", "laptop", "on"],
)
def test_persistence_that_nobody_misses(changes: tuple[object, ...]) -> None:
    assert status(PERSISTENCE, *(nvml(*ASLEEP), DAEMON, *changes)) is Status.OK


def test_who_holds_the_gpus_cannot_be_seen() -> None:
    assert status(PERSISTENCE, nvml(*ASLEEP), DAEMON, DeviceUsers((), (), 3)) is Status.UNKNOWN
    assert status(PERSISTENCE, nvml(*ASLEEP), DAEMON, without=(DeviceUsers,)) is Status.UNKNOWN
    assert status(PERSISTENCE, nvml(*ASLEEP)) is Status.UNKNOWN  # a snapshot from before


@pytest.mark.parametrize("place", [DOCKER, WSL, JOB])
def test_persistence_is_for_the_administrator(place: Confinement) -> None:
    assert status(PERSISTENCE, nvml(*ASLEEP), DAEMON, place) is Status.SKIPPED
