"""GPUs that wait for a reset, by NVML's word or the driver's."""

import pytest
from gpu_machines import (
    ADDRESS,
    DOCKER,
    SECOND,
    TWO,
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
    told,
)

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import PciGpus
from gpudoctor.findings import Severity, Status

RESET = "gpu.reset-required"
XID = f"NVRM: Xid (PCI:{ADDRESS[:-2]}): 154, GPU recovery action changed from 0x0 (None) to "
WAITS = answer(code=16, name="NVML_ERROR_RESET_REQUIRED")


def test_fine_on_a_healthy_machine() -> None:
    assert status(RESET) is Status.OK


def test_needs_nvml_or_the_log() -> None:
    assert status(RESET, without=(Nvml, KernelLog)) is Status.UNKNOWN
    assert outcome(RESET, not_running=(Nvml,)).not_running


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
    sick = nvml(told(recovery_action="none"), told(SECOND, 1, recovery_action="gpu_reset"))
    assert finding(RESET, TWO, sick).subject == SECOND


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


def test_findings_have_gpus_as_subjects() -> None:
    both = nvml(told(recovery_action="gpu_reset"), told(SECOND, 1, recovery_action="gpu_reset"))
    assert [found.subject for found in findings(RESET, both)] == [ADDRESS, SECOND]
