"""GPUs that the driver serves and cannot start: firmware that is missing, and the driver's own failure."""

import pytest
from gpu_machines import (
    ADDRESS,
    DOCKER,
    NEW,
    PASCAL,
    RELEASE,
    SECOND,
    TWO,
    WSL,
    answer,
    evidence_of,
    finding,
    findings,
    gpu,
    ids_for,
    loaded,
    log,
    modules_on_disk,
    nvml,
    status,
)

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.firmware import GspFirmware
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Kernel
from gpudoctor.findings import Status

GSP, START = "driver.gsp-firmware-missing", "driver.rm-init-failed"

SILENT = nvml()  # NVML starts, and lists no GPU


@pytest.mark.parametrize("check", [GSP, START])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check) is Status.OK


@pytest.mark.parametrize("check", [GSP, START])
@pytest.mark.parametrize("place", [DOCKER, WSL])
def test_driver_of_somebody_else(check: str, place: object) -> None:
    assert status(check, place) is Status.SKIPPED


@pytest.mark.parametrize("check", [GSP, START])
@pytest.mark.parametrize("fact", [PciGpus, LoadedDriver])
def test_needs_to_know_gpu_and_driver(check: str, fact: type) -> None:
    assert status(check, without=(fact,)) is Status.UNKNOWN


# driver.gsp-firmware-missing

NO_FIRMWARE = GspFirmware({"550.163.01": ("gsp_ga10x.bin",), "570.211.01": ()})
LOG_GSP = f"nvidia {ADDRESS}: Direct firmware load for nvidia/{NEW}/gsp_ga10x.bin failed with error -2"


def test_firmware_of_another_version() -> None:
    found = finding(GSP, NO_FIRMWARE, SILENT, log(LOG_GSP))
    assert found.summary == (
        f"The GSP firmware of driver {NEW} (open kernel modules) is missing. GPU {ADDRESS} (NVIDIA A100-SXM4-80GB) "
        "cannot start."
    )
    assert found.subject == NEW
    told = evidence_of(found)
    assert f"/lib/firmware/nvidia/{NEW}: no gsp_*.bin; there is firmware of 550.163.01" in told
    assert LOG_GSP in told
    assert f"(nvidia-firmware-580-{NEW})" in found.remedy


def test_proprietary_modules_want_firmware_only_where_the_log_says_so() -> None:
    facts = (NO_FIRMWARE, loaded(NEW, "proprietary"), SILENT)
    assert status(GSP, *facts) is Status.OK
    assert status(GSP, *facts, log(LOG_GSP.replace(NEW, "550.54.14"))) is Status.OK
    assert status(GSP, *facts, log(LOG_GSP)) is Status.FOUND


def test_firmware_that_no_silent_gpu_waits_for() -> None:
    assert status(GSP, NO_FIRMWARE, nvml(answer())) is Status.OK
    assert status(GSP, NO_FIRMWARE, PciGpus((gpu(PASCAL),)), SILENT) is Status.OK
    assert status(GSP, SILENT) is Status.OK


def test_firmware_on_a_disk() -> None:
    stopped = (PciGpus, LoadedDriver, Nvml, KernelLog)
    disk = (Kernel(RELEASE, False, None, ()), NO_FIRMWARE)
    found = finding(GSP, *disk, not_running=stopped)
    assert found.summary == f"The GSP firmware of driver {NEW} (open kernel modules) is missing. The GPU cannot start."
    assert status(GSP, *disk, modules_on_disk(NEW, "proprietary"), not_running=stopped) is Status.OK
    assert status(GSP, *disk, GspFirmware({NEW: ("gsp_tu10x.bin",)}), not_running=stopped) is Status.OK


def test_firmware_needs_its_folder() -> None:
    assert status(GSP, SILENT, without=(GspFirmware,)) is Status.UNKNOWN
    assert status(GSP, SILENT, without=(ModuleFiles,)) is Status.UNKNOWN


# driver.rm-init-failed

LOG_START = (
    "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05",
    f"NVRM: GPU {ADDRESS}: kgspExtractVbiosFromRom_TU102: did not find valid ROM signature",
    f"NVRM: GPU {ADDRESS}: RmInitAdapter failed! (0x62:0x65:1792)",
    f"NVRM: GPU {ADDRESS}: rm_init_adapter failed, device minor number 0",
)


def test_gpu_that_does_not_start() -> None:
    found = finding(START, SILENT, log(*LOG_START))
    assert found.summary == (
        f"GPU {ADDRESS} (NVIDIA A100-SXM4-80GB) could not be started by driver {NEW}: "
        "RmInitAdapter failed! (0x62:0x65:1792)"
    )
    assert "did not find valid ROM signature" in evidence_of(found)
    assert "Switch the machine off completely" in found.remedy
    assert "do not reinstall" in found.remedy


def test_each_gpu_has_its_own_failure() -> None:
    lines = (*LOG_START[:3], f"NVRM: GPU {SECOND}: RmInitAdapter failed! (0x25:0xffff:1601)")
    first, second = findings(START, TWO, SILENT, log(*lines))
    assert "(0x62:0x65:1792)" in first.summary
    assert "(0x25:0xffff:1601)" in second.summary
    assert status(START, TWO, nvml(answer(), answer(1, SECOND)), log(*lines)) is Status.OK


def test_line_without_an_address_is_told_of_the_only_silent_gpu() -> None:
    line = "NVRM: rm_init_adapter(0) failed"
    assert finding(START, SILENT, log(line)).subject == ADDRESS
    assert status(START, TWO, SILENT, log(line)) is Status.OK


def test_log_is_needed_only_where_a_gpu_is_silent() -> None:
    assert status(START, SILENT, without=(KernelLog,)) is Status.UNKNOWN
    assert status(START, without=(KernelLog,)) is Status.OK
    assert status(START, loaded(""), without=(KernelLog, Nvml)) is Status.OK


# symptoms


@pytest.mark.parametrize(
    ("message", "checks"),
    [
        ("NVRM: GPU 0000:98:00.0: RmInitAdapter failed! (0x62:0x65:1792)", [START]),
        ("rm_init_adapter failed, device minor number 0", [START]),
        ("No devices were found", ["driver.open-module-required", START, "pci.no-gpu"]),
        ("Direct firmware load for nvidia/550.163.01/gsp_ga10x.bin failed with error -2", [GSP]),
        ("RmInitAdapter: Cannot initialize GSP firmware RM", [START]),
    ],
)
def test_message_belongs_to(message: str, checks: list[str]) -> None:
    assert ids_for(message) == sorted(checks)
