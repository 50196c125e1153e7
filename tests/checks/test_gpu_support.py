"""GPUs that the driver cannot serve: its flavour, its branch, its age."""

import pytest
from gpu_machines import (
    A100,
    ADA,
    ADDRESS,
    BLACKWELL,
    DEBIAN,
    DOCKER,
    NEW,
    PASCAL,
    SECOND,
    UNLISTED,
    WSL,
    answer,
    evidence_of,
    finding,
    gpu,
    ids_for,
    loaded,
    log,
    modules_on_disk,
    nvml,
    status,
)

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import PciGpus
from gpudoctor.findings import Status

REQUIRED, UNSUPPORTED = "driver.open-module-required", "driver.open-module-unsupported"
LEGACY, NEWER = "driver.gpu-needs-legacy-branch", "driver.gpu-newer-than-driver"
START = "driver.rm-init-failed"
ALL = (REQUIRED, UNSUPPORTED, LEGACY, NEWER)

SILENT = nvml()  # NVML starts, and lists no GPU
# As the driver breaks its lines.
LOG_REQUIRED = (
    f"NVRM: The NVIDIA GPU {ADDRESS} (PCI ID: 10de:2c58)",
    "NVRM: installed in this system requires use of the NVIDIA open kernel modules.",
    f"NVRM: GPU {ADDRESS}: RmInitAdapter failed! (0x22:0x56:884)",
)
LOG_UNSUPPORTED = (
    f"NVRM: The NVIDIA GPU {ADDRESS} (PCI ID: 10de:1b80) installed in this system",
    "NVRM: is not supported by open nvidia.ko because it does not include the",
    "NVRM: required GPU System Processor (GSP).",
)
LOG_LEGACY = (
    "NVRM: The NVIDIA GeForce GTX 1080 GPU installed in this system is",
    "NVRM:  supported through the NVIDIA 580.xx Legacy drivers. Please",
    "NVRM:  visit http://www.nvidia.com/object/unix.html for more",
    "NVRM:  information.  The 595.58.03 NVIDIA driver will ignore",
    "NVRM:  this GPU.  Continuing probe...",
)
LOG_NEWER = (
    f"NVRM: The NVIDIA GPU {ADDRESS} (PCI ID: 10de:2c58)",
    "NVRM: installed in this system is not supported by the",
    "NVRM: NVIDIA 535.309.01 driver release.",
)


def only(model: tuple[object, ...], **changes: object) -> PciGpus:
    return PciGpus((gpu(model, **changes),))


@pytest.mark.parametrize("check", ALL)
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check) is Status.OK


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize("place", [DOCKER, WSL])
def test_driver_of_somebody_else(check: str, place: object) -> None:
    assert status(check, place) is Status.SKIPPED


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize("fact", [PciGpus, LoadedDriver])
def test_needs_to_know_gpu_and_driver(check: str, fact: type) -> None:
    assert status(check, without=(fact,)) is Status.UNKNOWN


@pytest.mark.parametrize(
    ("check", "gpus", "driver"),
    [
        (REQUIRED, only(BLACKWELL), loaded(NEW, "proprietary")),
        (UNSUPPORTED, only(PASCAL), loaded(NEW, "open")),
        (LEGACY, only(PASCAL), loaded("595.58.03", "proprietary")),
        (NEWER, only(BLACKWELL), loaded("535.309.01", "proprietary")),
    ],
)
class TestTable:
    """What the four tables have in common."""

    def test_says_no(self, check: str, gpus: PciGpus, driver: LoadedDriver) -> None:
        found = finding(check, gpus, driver, SILENT)
        assert found.summary.startswith(f"GPU {ADDRESS} ({gpus.gpus[0].name})")
        assert driver.version in found.summary
        assert found.subject == ADDRESS
        assert driver.text in evidence_of(found)
        assert f"GPU table, 10de:{gpus.gpus[0].device_id}" in evidence_of(found)

    def test_observed_success_outranks_it(self, check: str, gpus: PciGpus, driver: LoadedDriver) -> None:
        assert status(check, gpus, driver, nvml(answer())) is Status.OK

    def test_judges_by_the_disk_where_nothing_is_loaded(self, check: str, gpus: PciGpus, driver: LoadedDriver) -> None:
        disk = modules_on_disk(driver.version, driver.flavour)
        found = finding(check, gpus, loaded(""), disk, without=(Nvml, KernelLog))
        assert disk.files[0].path in evidence_of(found)

    def test_is_not_asked_without_a_driver(self, check: str, gpus: PciGpus, driver: LoadedDriver) -> None:
        assert status(check, gpus, loaded(""), modules_on_disk(""), SILENT) is Status.OK

    def test_leaves_gpus_of_virtual_machines_alone(self, check: str, gpus: PciGpus, driver: LoadedDriver) -> None:
        given_away = PciGpus((gpus.gpus[0]._replace(driver="vfio-pci"),))
        assert status(check, given_away, driver, SILENT) is Status.OK

    def test_says_nothing_of_the_gpus_that_answer(self, check: str, gpus: PciGpus, driver: LoadedDriver) -> None:
        both = PciGpus((gpu(A100, SECOND), *gpus.gpus))
        assert finding(check, both, driver, nvml(answer(0, SECOND))).subject == ADDRESS


def test_open_modules_for_a_gpu_that_needs_them() -> None:
    found = finding(REQUIRED, only(BLACKWELL), loaded(NEW, "proprietary"), SILENT, log(*LOG_REQUIRED))
    assert "works only with the open kernel modules" in found.summary
    assert "driver 580.95.05 (proprietary kernel modules)" in found.summary
    assert f"dmesg: The NVIDIA GPU {ADDRESS} (PCI ID: 10de:2c58) installed in this system requires use of the" in (
        evidence_of(found)
    )
    assert "(nvidia-driver-580-open)" in found.remedy
    assert "(nvidia-open-kernel-dkms)" in (
        finding(REQUIRED, only(BLACKWELL), loaded(NEW, "proprietary"), SILENT, DEBIAN).remedy
    )


def test_the_drivers_own_word_counts_where_the_table_knows_nothing() -> None:
    proprietary = (only(UNLISTED), loaded(NEW, "proprietary"), SILENT)
    assert status(REQUIRED, *proprietary) is Status.OK
    assert "NVIDIA device ffff" in finding(REQUIRED, *proprietary, log(*LOG_REQUIRED)).summary
    assert finding(UNSUPPORTED, only(UNLISTED), SILENT, log(*LOG_UNSUPPORTED)).subject == ADDRESS
    newer = (only(UNLISTED), loaded("535.309.01", "proprietary"), SILENT)
    assert "newer than driver 535.309.01" in finding(NEWER, *newer, log(*LOG_NEWER)).summary


def test_word_of_a_flavour_that_is_no_longer_loaded_does_not_count() -> None:
    assert status(REQUIRED, only(UNLISTED), loaded(NEW, "open"), SILENT, log(*LOG_REQUIRED)) is Status.OK
    assert status(UNSUPPORTED, only(UNLISTED), loaded(NEW, "proprietary"), SILENT, log(*LOG_UNSUPPORTED)) is Status.OK


def test_driver_that_is_too_old_for_either_flavour_is_told_once() -> None:
    facts = (only(BLACKWELL), loaded("535.309.01", "proprietary"), SILENT)
    assert status(REQUIRED, *facts) is Status.OK
    found = finding(NEWER, *facts)
    assert "Releases from 570.86.16 on know it." in found.summary
    assert "release 570.86.16 or later with the open kernel modules" in found.remedy


def test_releases_are_ordered_as_numbers() -> None:
    assert status(NEWER, only(ADA), loaded("525.147.05", "proprietary"), SILENT) is Status.OK
    assert status(NEWER, only(ADA), loaded("525.47.9", "proprietary"), SILENT) is Status.FOUND


def test_old_gpu_with_open_modules() -> None:
    found = finding(UNSUPPORTED, only(PASCAL), SILENT, log(*LOG_UNSUPPORTED))
    assert "cannot work with the open kernel modules" in found.summary
    assert "is not supported by open nvidia.ko" in evidence_of(found)
    assert "proprietary kernel modules of branch 580 (nvidia-driver-580)" in found.remedy


def test_old_gpu_with_open_modules_of_a_branch_that_dropped_it_is_told_once() -> None:
    facts = (only(PASCAL), loaded("595.58.03", "open"), SILENT)
    assert status(UNSUPPORTED, *facts) is Status.OK
    assert status(LEGACY, *facts) is Status.FOUND


def test_flavour_of_a_module_that_tells_only_its_version() -> None:
    terse = LoadedDriver(NEW, "", "/sys/module/nvidia/version", NEW, {})
    assert status(UNSUPPORTED, only(PASCAL), terse, SILENT) is Status.FOUND
    assert status(UNSUPPORTED, only(PASCAL), terse, modules_on_disk("570.211.01"), SILENT) is Status.OK


def test_branch_that_dropped_the_gpu() -> None:
    found = finding(LEGACY, only(PASCAL), loaded("595.58.03", "proprietary"), SILENT, log(*LOG_LEGACY))
    assert "is served by branch 580 and older ones; driver 595.58.03" in found.summary
    assert "last branch 580" in evidence_of(found)
    assert (
        "dmesg: The NVIDIA GeForce GTX 1080 GPU installed in this system is supported through the NVIDIA 580.xx Legacy "
        "drivers" in evidence_of(found)
    )
    assert "(nvidia-driver-580)" in found.remedy
    assert "hold it there" in found.remedy
    assert status(LEGACY, only(PASCAL), loaded("580.178.04", "proprietary"), SILENT) is Status.OK


def test_no_driver_serves_both() -> None:
    both = PciGpus((gpu(PASCAL), gpu(BLACKWELL, SECOND)))
    found = finding(UNSUPPORTED, both, nvml(answer(0, SECOND)))
    assert f"no driver serves both it and NVIDIA GeForce RTX 5090 Laptop GPU at {SECOND}" in found.remedy
    together = PciGpus((gpu(PASCAL), gpu(A100, SECOND)))
    assert "no driver serves both" not in finding(UNSUPPORTED, together, nvml(answer(0, SECOND))).remedy


# symptoms


@pytest.mark.parametrize(
    ("message", "checks"),
    [
        ("installed in this system requires use of the NVIDIA open kernel modules.", [REQUIRED]),
        ("RmInitAdapter failed! (0x22:0x56:884)", [REQUIRED, START]),
        ("RmInitAdapter failed! (0x24:0x72:1447)", [UNSUPPORTED, START]),
        (
            "installed in this system is not supported by open nvidia.ko because it does not include the required GPU "
            "System Processor (GSP).",
            [UNSUPPORTED],
        ),
        (
            "The NVIDIA GeForce GTX 1080 GPU installed in this system is supported through the NVIDIA 580.xx Legacy "
            "drivers.",
            [LEGACY],
        ),
        ("The 595.58.03 NVIDIA driver will ignore this GPU.", [LEGACY]),
        ("\n".join(LOG_LEGACY), [LEGACY]),
        ("No NVIDIA GPU found.", [LEGACY]),
        ("installed in this system is not supported by the NVIDIA 535.x driver release.", [NEWER]),
        ("\n".join(LOG_NEWER), [NEWER]),
    ],
)
def test_message_belongs_to(message: str, checks: list[str]) -> None:
    assert ids_for(message) == sorted(checks)
