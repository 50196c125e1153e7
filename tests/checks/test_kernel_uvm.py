"""nvidia_uvm: not loaded, without room, or stuck. Where cuInit succeeds, it is fine."""

import outcomes
import pytest
from kernel_machines import CONTAINER, cuda, driver, machine, nvml, uvm_node

from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.findings import Finding, Status
from gpudoctor.testing import outcome_of

ABSENT, HMM, STUCK = ALL = ("kernel.uvm-not-loaded", "kernel.uvm-hmm", "kernel.uvm-wedged")
ALONE = LoadedModules({"nvidia": ()})
NO_ROOM = KernelLog(
    ("nvidia-uvm: uvm_pmm_gpu.c:3392 devmem_alloc_pagemap() request_free_mem_region() err -34",), "dmesg"
)
SICK = {ABSENT: (ALONE, cuda(999)), HMM: (NO_ROOM, cuda(999)), STUCK: (cuda(999),)}


def only(check: str, *facts: object) -> Finding:
    return outcomes.only(check, *machine(*SICK[check], *facts))


@pytest.mark.parametrize("check", ALL)
def test_found(check: str) -> None:
    finding = only(check)
    assert finding.subject == "nvidia_uvm"
    assert ("cuInit", "999 CUDA_ERROR_UNKNOWN") in [tuple(evidence) for evidence in finding.evidence]


@pytest.mark.parametrize("check", ALL)
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert outcome_of(check, *machine()).status is Status.OK


@pytest.mark.parametrize("check", ALL)
def test_fine_where_cuda_starts(check: str) -> None:
    assert outcome_of(check, *machine(*SICK[check], cuda(0))).status is Status.OK


@pytest.mark.parametrize("check", ALL)
def test_not_applicable_in_a_container(check: str) -> None:
    assert outcome_of(check, *machine(*SICK[check], CONTAINER)).status is Status.SKIPPED


def test_not_loaded_says_how_to_load_it() -> None:
    finding = only(ABSENT)
    assert "999 CUDA_ERROR_UNKNOWN" in finding.summary
    assert "modprobe nvidia_uvm" in finding.remedy
    assert "nvidia-modprobe" in finding.remedy


@pytest.mark.parametrize("facts", [(driver(""),), (cuda(803),), (cuda(802),), (cuda(None),)])
def test_not_loaded_is_not_the_cause(facts: tuple[object, ...]) -> None:
    assert outcome_of(ABSENT, *machine(*SICK[ABSENT], *facts)).status is Status.OK


def test_hmm_shows_the_line_and_the_option() -> None:
    finding = only(HMM)
    assert finding.evidence[0].value == NO_ROOM.lines[0]
    assert "uvm_disable_hmm=1" in finding.remedy


def test_hmm_without_asking_the_driver() -> None:
    assert outcome_of(HMM, *machine(NO_ROOM, unknown=(Cuda,))).status is Status.FOUND


def test_stuck_is_loaded_anew_without_a_reboot() -> None:
    finding = only(STUCK, KernelLog(("PM: suspend exit",), "dmesg"))
    assert "NVML answers for 1 GPU(s)" in finding.summary
    assert ("dmesg", "PM: suspend exit") in [tuple(evidence) for evidence in finding.evidence]
    assert "modprobe -r nvidia_uvm" in finding.remedy
    assert "no reboot" in finding.remedy


@pytest.mark.parametrize(
    "facts",
    [
        (nvml(18),),
        (ALONE,),
        (cuda(100),),
        (DeviceNodes((), {"nvidia-uvm": 511}, False),),
        (DeviceNodes((uvm_node(major=510),), {"nvidia-uvm": 511}, False),),
    ],
)
def test_stuck_only_where_all_else_is_right(facts: tuple[object, ...]) -> None:
    assert outcome_of(STUCK, *machine(*SICK[STUCK], *facts)).status is Status.OK


@pytest.mark.parametrize("check", ALL)
def test_fine_without_asking_where_nothing_is_loaded(check: str) -> None:
    facts = machine(driver(""), LoadedModules({}), unknown=(Cuda, Nvml, KernelLog))
    assert outcome_of(check, *facts).status is Status.OK


def test_a_log_that_only_root_may_read_does_not_matter_where_cuda_starts() -> None:
    assert outcome_of(HMM, *machine(unknown=(KernelLog,))).status is Status.OK


@pytest.mark.parametrize(
    ("check", "kind"), [(ABSENT, Cuda), (ABSENT, LoadedModules), (HMM, KernelLog), (STUCK, Cuda), (STUCK, Nvml)]
)
def test_unknown(check: str, kind: type) -> None:
    assert outcome_of(check, *machine(*SICK[check], unknown=(kind,))).status is Status.UNKNOWN
