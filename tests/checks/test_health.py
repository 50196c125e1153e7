"""The health of GPUs: Xids, memory, links, and clocks that are held back."""

import re

import pytest
from gpu_machines import (
    ADDRESS,
    BLACKWELL,
    DOCKER,
    SECOND,
    TWO,
    answer,
    evidence_of,
    explained,
    finding,
    findings,
    gpu,
    ids_for,
    nvml,
    outcome,
    status,
    told,
)

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.bench import BenchedGpu, BenchVerdict, CurrentBench
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.xids import Xids
from gpudoctor.findings import Severity, Status

GSP, ECC, REMAP = "health.gsp-timeout", "health.ecc-uncorrectable", "health.row-remap"
NVLINK, OTHER, PROGRAM = "health.nvlink-error", "health.other-xid", "health.application-xid"
HEAT, POWER = "health.thermal-throttle", "health.power-throttle"
OF_THE_LOG = (GSP, NVLINK, OTHER, PROGRAM)
ALL = (*OF_THE_LOG, ECC, REMAP, HEAT, POWER)

LOADED = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05"


def said(number: int, text: str = "what the driver says", address: str = ADDRESS) -> str:
    return f"NVRM: Xid (PCI:{address.removesuffix('.0')}): {number}, pid=4711, name=python3, {text}"


def xids(*lines: str) -> Xids:
    from gpudoctor.registry import registry

    told: Xids = registry.providers[Xids](KernelLog(lines, "dmesg"))
    return told


def telling(address: str = ADDRESS, number: int = 0, **values: object) -> Nvml:
    """NVML's answer of a GPU that is well, with these values."""
    return nvml(told(address, number, **values))


SILENT = nvml(answer(0, code=999, name="NVML_ERROR_UNKNOWN"))


@pytest.mark.parametrize("check", [*OF_THE_LOG, ECC, REMAP])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check) is Status.OK


@pytest.mark.parametrize("check", ALL)
def test_nothing_runs_that_could_be_sick(check: str) -> None:
    told = outcome(check, not_running=(Nvml, KernelLog))
    assert (told.status, told.not_running) == (Status.UNKNOWN, True)


@pytest.mark.parametrize("check", ALL)
def test_a_log_for_root_alone_condemns_no_machine(check: str) -> None:
    told = outcome(check, TWO, without=(KernelLog,))
    assert told.status is not Status.FOUND
    assert not told.matters


def test_a_log_that_cannot_be_read() -> None:
    assert status(GSP, without=(KernelLog,)) is Status.OK  # NVML answers, and so does the GSP behind it
    assert status(GSP, SILENT, without=(KernelLog,)) is Status.UNKNOWN
    assert status(NVLINK, without=(KernelLog,)) is Status.SKIPPED  # one GPU has none to be joined to
    assert status(NVLINK, TWO, without=(KernelLog,)) is Status.UNKNOWN
    assert status(OTHER, without=(KernelLog,)) is Status.UNKNOWN
    assert status(ECC, telling(ecc_uncorrected_volatile=0), without=(KernelLog,)) is Status.OK


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize("number", [13, 48, 62, 63, 74, 94, 119])
def test_what_was_before_the_driver_was_loaded_anew_is_history(check: str, number: int) -> None:
    assert status(check, xids(said(number), LOADED)) is not Status.FOUND


@pytest.mark.parametrize(("check", "number"), [(GSP, 119), (ECC, 95), (REMAP, 64), (NVLINK, 74), (OTHER, 62)])
def test_gpus_of_others_are_none_of_a_containers_business(check: str, number: int) -> None:
    line = said(number, address=SECOND)
    assert status(check, DOCKER, xids(line), telling()) is Status.OK
    own = finding(check, DOCKER, xids(said(number)), telling())
    assert own.remedy.startswith("On the host: ")


# health.gsp-timeout

TIMEOUT = said(119, "Timeout after 6s of waiting for RPC response from GPU0 GSP! Expected function 103 (GSP_RM_ALLOC)")
NEEDS = said(154, "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)")


def test_a_processor_that_does_not_answer() -> None:
    found = finding(GSP, xids(TIMEOUT, NEEDS), SILENT)
    assert (found.subject, found.severity) == (ADDRESS, None)
    assert found.summary.endswith("(NVIDIA A100-SXM4-80GB) did not answer the driver.")
    told = evidence_of(found)
    assert TIMEOUT in told
    assert "119: GSP_RPC_TIMEOUT; NVIDIA's action: RESET_GPU, then INVESTIGATE_SW" in told
    assert "Node Reboot Required" in told
    assert "restart the machine: the driver says that a reset is not enough" in found.remedy
    assert "`sudo nvidia-smi -i 0 -r`; if that is refused, restart" in finding(GSP, xids(TIMEOUT), SILENT).remedy
    rebooting = finding(ECC, telling(ecc_uncorrected_volatile=1, recovery_action="node_reboot"))
    assert "a reset is not enough" in rebooting.remedy


def test_a_processor_that_answers_again_is_a_warning() -> None:
    found = finding(GSP, xids(TIMEOUT))
    assert found.severity is Severity.WARNING
    assert "It answers again now." in found.summary
    assert finding(GSP, xids(TIMEOUT), telling(recovery_action="none")).severity is Severity.INFO


def test_a_dead_processor_explains_what_nvml_says() -> None:
    told = explained(xids(TIMEOUT), SILENT)
    assert told[GSP] == ("driver.gpu-missing-in-nvml",)
    assert list(told) == [GSP]
    assert explained(xids(TIMEOUT), without=(Nvml,)).keys() == {GSP}


def test_gpus_that_share_switches_are_reset_together() -> None:
    found = finding(GSP, TWO._replace(nvswitches=4), xids(TIMEOUT))
    assert "`sudo nvidia-smi -r` (all GPUs at once: they share NVSwitches)" in found.remedy


def test_the_lost_gpu_is_the_cause() -> None:
    from gpu_machines import log

    lost = said(79, "GPU has fallen off the bus.")
    told = explained(log(lost, TIMEOUT, said(62)), xids(lost, TIMEOUT, said(62)), SILENT)
    assert list(told) == ["health.fallen-off-bus"]


# health.ecc-uncorrectable

BOTH = (said(48, "An uncorrectable double bit error (DBE) has been detected"), said(94, "Contained: SM (0x1)."))


def test_memory_errors_since_the_driver_was_loaded() -> None:
    found = finding(ECC, telling(ecc_uncorrected_volatile=2, ecc_uncorrected_aggregate=2))
    assert "had 2 memory errors that could not be corrected." in found.summary
    assert "uncorrected, volatile: 2" in evidence_of(found)
    assert found.severity is None


def test_the_count_of_a_whole_life_is_history() -> None:
    remap = {"correctable": 0, "uncorrectable": 1, "pending": False, "failed": False}
    old = telling(ecc_uncorrected_volatile=0, ecc_uncorrected_aggregate=3, remapped_rows=remap)
    assert status(ECC, old) is Status.OK
    assert status(REMAP, old) is Status.OK


@pytest.mark.parametrize("number", [48, 95, 140, 171, 172])
def test_an_error_that_no_counter_tells(number: int) -> None:
    found = finding(ECC, xids(said(number)))
    assert (found.severity, f"(Xid {number})" in found.summary) == (None, True)
    assert "-r`" in found.remedy


def test_an_error_that_one_program_paid_for() -> None:
    found = finding(ECC, xids(*BOTH), telling(ecc_uncorrected_volatile=1))
    assert found.severity is Severity.WARNING
    assert "(Xids 48 and 94)" in found.summary
    assert "contained in one program" in found.remedy


def test_no_count_is_no_proof_that_the_gpu_was_reset() -> None:
    """Some GPUs that wait for a reset count no error."""
    found = finding(ECC, xids(said(95)), telling(ecc_uncorrected_volatile=0))
    assert found.severity is Severity.WARNING
    assert found.remedy.endswith("If that was done since, all is well.")
    over = finding(ECC, xids(said(95)), telling(ecc_uncorrected_volatile=0, recovery_action="none"))
    assert over.severity is Severity.INFO


def test_memory_without_spare_rows_is_for_the_vendor() -> None:
    flags = {"correctable": 0, "uncorrectable": 8, "pending": True, "failed": True}
    known = telling(ecc_uncorrected_volatile=1, remapped_rows=flags)
    assert "for the vendor" in finding(ECC, known).remedy
    assert "uncorrectable: 8, pending: True, failed: True" in evidence_of(finding(ECC, known))
    assert explained(known) == {ECC: (REMAP,)}


def test_memory_of_a_silent_gpu() -> None:
    assert status(ECC, without=(Nvml, KernelLog)) is Status.UNKNOWN
    assert not outcome(ECC, without=(Nvml, KernelLog)).matters
    assert status(ECC, xids(said(95)), without=(Nvml,)) is Status.FOUND
    assert status(ECC, without=(Nvml,)) is Status.OK  # the log would tell
    assert status(ECC, nvml()) is Status.SKIPPED
    assert status(REMAP, nvml(code=18), without=(KernelLog,)) is Status.UNKNOWN


# health.row-remap

MARKED = said(63, "Row Remapper: New row marked for remapping, reset gpu to activate.")


@pytest.mark.parametrize(
    "known",
    [
        (telling(remapped_rows={"correctable": 1, "uncorrectable": 0, "pending": True, "failed": False}),),
        (telling(retired_pages_pending=True),),
        (telling(), xids(MARKED)),
    ],
)
def test_a_row_that_waits_for_a_reset(known: tuple[object, ...]) -> None:
    found = finding(REMAP, *known)
    assert found.severity is None
    assert "at the next reset" in found.summary
    assert found.remedy.startswith("It can wait for a pause. Stop what uses the GPU, then")


def test_a_row_that_was_replaced_long_ago() -> None:
    flags = {"correctable": 1, "uncorrectable": 0, "pending": False, "failed": False}
    assert status(REMAP, telling(remapped_rows=flags), xids(MARKED)) is Status.OK
    assert status(REMAP, telling(retired_pages_pending=False), xids(MARKED)) is Status.OK


def test_replacing_that_failed() -> None:
    flags = {"correctable": 0, "uncorrectable": 8, "pending": False, "failed": True}
    found = finding(REMAP, telling(remapped_rows=flags), xids(said(64)))
    assert (found.severity, "for the vendor" in found.remedy) == (Severity.ERROR, True)
    assert finding(REMAP, xids(said(64))).severity is Severity.ERROR
    fine = {**flags, "uncorrectable": 1, "failed": False}
    assert finding(REMAP, telling(remapped_rows=fine), xids(said(64))).severity is Severity.WARNING


def test_many_corrected_errors_are_good_to_know() -> None:
    assert finding(REMAP, xids(said(92))).severity is Severity.INFO


# health.nvlink-error

LINK = said(74, "NVLink: fatal error detected on link 6(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)")


def test_a_link_that_failed() -> None:
    found = finding(NVLINK, TWO, xids(LINK))
    assert (found.subject, found.severity) == (ADDRESS, None)
    assert "(NVLink): Xid 74." in found.summary
    assert "fatal error detected on link 6" in evidence_of(found)
    assert "another GPU fell off the bus" in found.remedy


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        (said(149, "NETIR_LINK_EVT  Fatal   XC0 i0 Link 09 (0x025525c6)"), None),
        (said(145, "RLW_SRC_TRACK Nonfatal XC1 i0 Link 02 (0x00000004)"), Severity.WARNING),
        (said(137, "RLW_RXPIPE interrupt hit"), Severity.INFO),
    ],
)
def test_how_bad_a_link_is(line: str, severity: Severity | None) -> None:
    assert finding(NVLINK, TWO, xids(line)).severity is severity


def test_a_switch_that_failed() -> None:
    fatal = "nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 20034, Fatal, Link 30 LTSSM Fault Up"
    found = finding(NVLINK, xids(fatal))
    assert found.subject == "0000:c4:00.0"
    assert fatal in evidence_of(found)
    assert status(NVLINK, xids(fatal.replace("Fatal", "Non-fatal"))) is Status.OK


# health.other-xid


def test_a_fault_for_which_the_gpu_must_be_reset() -> None:
    found = finding(OTHER, xids(said(62), said(109)))
    assert (found.subject, found.severity) == (ADDRESS, None)
    assert "reported Xids 62 and 109" in found.summary
    assert "CTXSW_TIMEOUT_ERROR; NVIDIA's action: RESET_GPU" in evidence_of(found)


def test_a_fault_that_the_driver_is_done_with() -> None:
    assert finding(OTHER, xids(said(62)), telling(recovery_action="none")).severity is Severity.INFO
    assert finding(NVLINK, xids(LINK), telling(recovery_action="none")).severity is Severity.WARNING


def test_a_fault_for_the_support_is_good_to_know_while_the_gpu_answers() -> None:
    found = finding(OTHER, xids(said(61)))
    assert (found.severity, found.remedy) == (
        Severity.INFO,
        "NVIDIA's catalogue says: ask the vendor's support. Watch whether it comes again.",
    )
    assert finding(OTHER, xids(said(61)), SILENT).severity is None
    assert finding(OTHER, xids(said(999_999))).severity is Severity.INFO


@pytest.mark.parametrize("number", [13, 31, 37, 43, 45, 48, 63, 74, 79, 106, 119, 154])
def test_faults_that_others_tell_or_that_nvidia_ignores(number: int) -> None:
    assert status(OTHER, xids(said(number))) is Status.OK


# health.application-xid


@pytest.mark.parametrize("number", [13, 31, 43, 45, 68, 69])
def test_a_program_that_failed_is_information(number: int) -> None:
    found = outcome(PROGRAM, xids(said(number)))
    assert found.check.severity is Severity.INFO
    assert f"(Xid {number}): python3 (4711). The GPU itself is fine." in found.findings[0].summary


def test_programs_that_failed_often_are_told_once_for_each_gpu() -> None:
    lines = [said(13).replace("4711", str(4711 + n)) for n in range(20)]
    first, second = findings(PROGRAM, TWO, xids(*lines, said(31, address=SECOND)))
    assert "python3 (4730), python3 (4729), python3 (4728) and 17 more" in first.summary
    assert "and 17 more like them" in evidence_of(first)
    assert second.subject == SECOND
    nameless = "NVRM: Xid (PCI:0000:01:00): 45, Ch 00000010"
    assert "the driver does not say which" in finding(PROGRAM, xids(nameless)).summary


def test_hardware_near_it_explains_the_program_that_failed() -> None:
    told = explained(xids(said(95), said(45)))
    assert list(told) == [ECC]
    assert PROGRAM in told[ECC]


# health.thermal-throttle, health.power-throttle

NAMES = ["SwThermalSlowdown"]


def test_a_gpu_that_is_too_hot() -> None:
    hot = telling(clocks_event_reasons=0x20, clocks_event_reason_names=NAMES, utilization_percent=99, temperature_c=91)
    found = finding(HEAT, hot)
    assert "because it is too hot at 91 °C" in found.summary
    assert "0x20 SwThermalSlowdown" in evidence_of(found)
    assert "GPU 0, utilization: 99 %" in evidence_of(found)
    assert status(POWER, hot) is Status.OK


def test_a_power_supply_that_calls_for_less() -> None:
    found = finding(POWER, telling(clocks_event_reasons=0x88, utilization_percent=99))
    assert ("power brake" in found.summary, found.severity) == (True, None)
    assert finding(POWER, telling(clocks_event_reasons=0x8)).severity is Severity.INFO
    assert status(POWER, telling(clocks_event_reasons=0x48)) is Status.OK


def test_a_gpu_at_its_power_limit_is_normal() -> None:
    full = {"clocks_event_reasons": 0x4, "utilization_percent": 100, "power_limit_w": 400.0}
    assert status(POWER, telling(**full, power_limit_default_w=400.0)) is Status.OK
    assert status(POWER, telling(**full)) is Status.OK
    lower = finding(POWER, telling(**full, power_limit_default_w=700.0))
    assert lower.severity is Severity.INFO
    assert "`sudo nvidia-smi -i 0 -pl 700` gives it back" in lower.remedy


@pytest.mark.parametrize("check", [HEAT, POWER])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"clocks_event_reasons": None},
        {"clocks_event_reasons": 0x1},
        {"clocks_event_reasons": 0xE9},
        {"clocks_event_reasons": 0xE8, "utilization_percent": 0},
    ],
)
def test_a_gpu_at_rest_is_not_judged(check: str, values: dict[str, object]) -> None:
    assert status(check, telling(**values)) is Status.SKIPPED


@pytest.mark.parametrize("check", [HEAT, POWER])
def test_clocks_need_an_answer_of_nvml(check: str) -> None:
    assert status(check, without=(Nvml,)) is Status.UNKNOWN


# What the benchmark saw.


def test_what_the_benchmark_counted_follows_from_it() -> None:
    verdict = BenchVerdict("bench.faults-counted", True, "uncorrected memory errors", "It counted 2.")
    run = BenchedGpu("A100", "GPU-1", ADDRESS, "580.95.05", 0.0, "quick", (), {}, (verdict,), "bench.json")
    bench = CurrentBench((run,), (), (), ())
    from gpu_machines import facts

    from gpudoctor.diagnose import diagnose
    from gpudoctor.registry import registry

    known = facts(telling(ecc_uncorrected_volatile=2), bench)
    report = diagnose(known, [registry.checks[id] for id in (ECC, "health.fallen-off-bus", "bench.faults-counted")])
    assert {ranked.check.id: ranked.explains for ranked in report.findings} == {ECC: ("bench.faults-counted",)}


# symptoms


@pytest.mark.parametrize(
    ("message", "checks"),
    [
        ("Timeout after 45s of waiting for RPC response from GPU4 GSP! Expected function 103", [GSP]),
        ("NVRM: Xid (PCI:0000:01:00): 120, GSP task timeout", [GSP]),
        ("RuntimeError: CUDA error: uncorrectable ECC error encountered", [ECC]),
        ("NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: SM (0x1). RST: No, D-RST: No", [ECC]),
        ("NVRM: Xid (PCI:0000:01:00): 63, Row Remapper: New row marked for remapping, reset gpu to activate.", [REMAP]),
        ("NVRM: Xid (PCI:0000:01:00): 74, pid=1, NVLink: fatal error detected on link 6", [NVLINK]),
        ("nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 20034, Fatal, Link 30 LTSSM Fault Up", [NVLINK]),
        ("NVRM: Xid (PCI:0000:01:00): 109, pid=1, name=python3, Ch 00000008, errorString CTX SWITCH TIMEOUT", [OTHER]),
        ("NVRM: Xid (PCI:0000:01:00): 31, pid=1, Ch 00000008, MMU Fault: ENGINE GRAPHICS GPCCLIENT_T1_0", [PROGRAM]),
        ("torch.AcceleratorError: CUDA error: an illegal memory access was encountered", [PROGRAM]),
        ("RuntimeError: CUDA error: unspecified launch failure", [PROGRAM]),
        ("            SW Thermal Slowdown               : Active", [HEAT]),
        ("            HW Power Brake Slowdown           : Active", [POWER]),
        ("            HW Thermal Slowdown               : Not Active", []),
        ("            SW Power Cap                      : Active", []),
    ],
)
def test_message_belongs_to(message: str, checks: list[str]) -> None:
    assert ids_for(message) == checks


def test_blackwell_is_named_by_the_bus_where_nvml_is_silent() -> None:
    found = finding(GSP, PciGpus((gpu(BLACKWELL),)), xids(TIMEOUT), without=(Nvml,))
    assert re.search(r"GPU 0000:01:00.0 \(NVIDIA GeForce RTX 5090", found.summary)
    assert f"-i {ADDRESS} -r" in found.remedy
