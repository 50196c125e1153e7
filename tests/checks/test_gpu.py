"""GPUs that wait for a reset, are in MIG mode without an instance, or are started anew by each program."""

from typing import Any

import pytest
from gpu_machines import (
    ADDRESS,
    DOCKER,
    WSL,
    answer,
    cuda,
    evidence_of,
    explained,
    finding,
    findings,
    gpu,
    ids_for,
    log,
    nvml,
    outcome,
    status,
)

from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.persistence import PersistenceDaemon
from gpudoctor.facts.processes import DeviceUsers, Holder
from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Severity, Status

RESET, MIG, PERSISTENCE = "gpu.reset-required", "gpu.mig-no-instances", "gpu.persistence-off"
SECOND = "0000:02:00.0"
JOB = Confinement("", False, batch_job=True)


def told(address: str = ADDRESS, number: int = 0, **values: Any) -> NvmlGpu:
    """A GPU that answers, with these of the probe's values."""
    return answer(number, address)._replace(values=values, persistence_mode=values.get("persistence_mode", True))


@pytest.mark.parametrize("check", [RESET, MIG, PERSISTENCE])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check) is Status.OK


@pytest.mark.parametrize("check", [RESET, MIG, PERSISTENCE])
def test_needs_nvml(check: str) -> None:
    assert status(check, without=(Nvml, KernelLog)) is Status.UNKNOWN
    assert outcome(check, not_running=(Nvml,)).not_running


# gpu.reset-required

XID = f"NVRM: Xid (PCI:{ADDRESS[:-2]}): 154, GPU recovery action changed from 0x0 (None) to "
WAITS = answer(code=16, name="NVML_ERROR_RESET_REQUIRED")


def test_nvml_says_that_the_gpu_requires_a_reset() -> None:
    found = finding(RESET, nvml(WAITS))
    assert found.summary == (
        f"GPU {ADDRESS} (NVIDIA A100-SXM4-80GB) must be reset before it works again: so says the driver."
    )
    assert found.subject == ADDRESS
    assert "NVML, GPU 0: 16 NVML_ERROR_RESET_REQUIRED" in evidence_of(found)
    assert f"`sudo nvidia-smi -i {ADDRESS} -r`" in found.remedy
    assert explained(nvml(WAITS), cuda(999)) == {RESET: ("driver.gpu-missing-in-nvml", "driver.cuda-init-failed")}


def test_nvml_itself_wants_a_reset() -> None:
    found = finding(RESET, nvml(code=16, name="NVML_ERROR_RESET_REQUIRED"))
    assert found.summary.startswith("A GPU must be reset")
    assert explained(nvml(code=16, name="NVML_ERROR_RESET_REQUIRED"), cuda(999)) == {
        RESET: ("driver.cuda-init-failed",)
    }


@pytest.mark.parametrize("action", ["gpu_reset", "drain_and_reset", "bus_reset"])
def test_a_gpu_that_answers_and_waits_for_a_reset(action: str) -> None:
    found = finding(RESET, nvml(told(recovery_action=action)))
    assert found.severity is None
    assert f"recovery action: {action.replace('_', ' ')}" in evidence_of(found)


def test_the_driver_asks_for_a_restart() -> None:
    found = finding(RESET, nvml(told(recovery_action="node_reboot")), log(f"{XID}0x2 (Node Reboot Required)"))
    assert "only after a restart of the machine" in found.summary
    assert "restart the machine" in found.remedy
    assert "nvidia-smi" not in found.remedy
    assert "Node Reboot Required" in evidence_of(found)


@pytest.mark.parametrize(
    "words", ["0x1 (GPU Reset Required)", "0x1 (PF FLR)", "0x4 (Drain and Reset)", "0x2 (OS Reboot)"]
)
def test_only_the_log_tells_of_it(words: str) -> None:
    found = finding(RESET, log(f"{XID}{words}"), without=(Nvml,))
    assert found.severity is None
    assert words in evidence_of(found)


def test_a_driver_that_does_not_tell_the_action_now() -> None:
    found = finding(RESET, log(f"{XID}0x1 (GPU Reset Required)"))
    assert found.severity is Severity.WARNING


def test_a_gpu_that_was_reset_since() -> None:
    line = log(f"{XID}0x1 (GPU Reset Required)")
    assert status(RESET, nvml(told(recovery_action="none")), line) is Status.OK
    back = (
        f"NVRM: Xid (PCI:{ADDRESS[:-2]}): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"
    )
    assert status(RESET, log(f"{XID}0x1 (GPU Reset Required)", back)) is Status.OK


def test_links_are_no_matter_of_a_reset() -> None:
    assert status(RESET, nvml(told(recovery_action="drain_p2p")), log(f"{XID}0x3 (Drain P2P)")) is Status.OK


def test_one_sick_gpu_does_not_hide_the_other() -> None:
    two = PciGpus((gpu(), gpu(address=SECOND)))
    sick = nvml(told(recovery_action="none"), told(SECOND, 1, recovery_action="gpu_reset"))
    assert finding(RESET, two, sick).subject == SECOND


def test_with_nvswitches_all_gpus_are_reset_together() -> None:
    found = finding(RESET, nvml(WAITS), PciGpus((gpu(),), nvswitches=4))
    assert "`sudo nvidia-smi -r`, which resets all GPUs" in found.remedy


def test_a_container_sends_to_the_host() -> None:
    assert finding(RESET, nvml(WAITS), DOCKER).remedy.startswith("On the host of this container: stop what uses it")


def test_a_quiet_log_is_no_health() -> None:
    assert status(RESET, without=(Nvml,)) is Status.UNKNOWN


@pytest.mark.parametrize(
    "message",
    [
        "Failed to initialize NVML: GPU requires reset",
        f"{XID}0x1 (GPU Reset Required)",
        f"{XID}0x2 (Node Reboot Required)",
        "    GPU Recovery Action                   : Reset",
        "    GPU Recovery Action                   : Drain and Reset",
        "        Reset Required                    : Yes",
        "NVRM: nvAssertOkFailedNoLog: Assertion failed: Reset required [NV_ERR_RESET_REQUIRED] (0x00000068)",
    ],
)
def test_messages_of_a_reset(message: str) -> None:
    assert RESET in ids_for(message)


@pytest.mark.parametrize(
    "message",
    [
        "    GPU Recovery Action                   : None",
        "        Reset Required                    : No",
        f"NVRM: Xid (PCI:{ADDRESS[:-2]}): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)",
    ],
)
def test_messages_of_a_gpu_that_needs_none(message: str) -> None:
    assert RESET not in ids_for(message)


# gpu.mig-no-instances

EMPTY = told(mig_mode=True, mig_devices=[])
CUT = told(SECOND, 1, mig_mode=True, mig_devices=["MIG-00000000-0000-0000-0000-000000000001"])


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
    two = PciGpus((gpu(), gpu(address=SECOND)))
    assert finding(MIG, two, nvml(EMPTY, CUT)).severity is Severity.WARNING
    assert finding(MIG, two, nvml(EMPTY, told(SECOND, 1, mig_mode=False)), without=(Cuda,)).severity is Severity.WARNING


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


def test_findings_have_gpus_as_subjects() -> None:
    both = nvml(told(recovery_action="gpu_reset"), told(SECOND, 1, recovery_action="gpu_reset"))
    assert [found.subject for found in findings(RESET, both)] == [ADDRESS, SECOND]
