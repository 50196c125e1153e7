"""Secure Boot: the signature, its key, and what the kernel said."""

import outcomes
import pytest
from kernel_machines import BEFORE, CONTAINER, OLD, UBUNTU, gpu, machine, module, versions

from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.secure_boot import SecureBoot, SigningKey
from gpudoctor.findings import Finding, Status
from gpudoctor.testing import outcome_of

BLOCKED, PENDING = "kernel.secure-boot-blocks-module", "kernel.mok-enrolment-pending"
KEY = "/var/lib/dkms/mok.pub"
REJECTED = KernelLog(("Loading of module with unavailable key is rejected",), "dmesg")
OFF = (versions("", BEFORE, BEFORE), PciGpus((gpu(""),)))


def secure(
    enrolled: bool | None, *, enabled: bool = True, pending: bool = False, lockdown: str = "integrity"
) -> SecureBoot:
    return SecureBoot(enabled, lockdown, (SigningKey(KEY, enrolled, pending),))


def files(**changes: object) -> ModuleFiles:
    return ModuleFiles((module(OLD, **changes),))  # type: ignore[arg-type]


def only(check: str, *facts: object) -> Finding:
    return outcomes.only(check, *machine(*OFF, *facts))


def test_the_key_is_not_enrolled() -> None:
    finding = only(BLOCKED, secure(False))
    assert "Secure Boot is on" in finding.summary
    assert f"({KEY}) is not enrolled" in finding.summary
    assert finding.subject.endswith("nvidia.ko")
    assert (KEY, "not enrolled") in [tuple(evidence) for evidence in finding.evidence]
    assert f"mokutil --import {KEY}" in finding.remedy
    assert "blue screen" in finding.remedy
    assert "Secure Boot can stay on" in finding.remedy


def test_the_module_is_not_signed() -> None:
    finding = only(BLOCKED, secure(True), files(signer=""))
    assert "it has no signature" in finding.summary
    assert "Build it again, so that it is signed" in finding.remedy


def test_the_log_says_so_though_no_key_is_known() -> None:
    finding = only(BLOCKED, SecureBoot(True, "", ()), REJECTED)
    assert "rejected its signature" in finding.summary
    assert ("dmesg", REJECTED.lines[0]) in [tuple(evidence) for evidence in finding.evidence]


def test_ubuntu_has_modules_that_are_signed() -> None:
    finding = only(BLOCKED, UBUNTU, secure(False), files(flavour="open"))
    assert "linux-modules-nvidia-535-open-amd64" in finding.remedy
    assert "mokutil --import" in finding.remedy


@pytest.mark.parametrize(
    "facts",
    [
        (secure(False, enabled=False, lockdown="none"),),
        (secure(False), versions(BEFORE, BEFORE, BEFORE)),
        (secure(False), PciGpus(())),
        (secure(False), ModuleFiles(())),
        (secure(False), files(origin="prebuilt")),  # signed by the distribution
        (secure(True), REJECTED),  # the line names no module, and this one's key is enrolled
        (secure(True, lockdown="none"), files(signer="")),  # on, but nothing enforces it and nothing was rejected
    ],
)
def test_not_blocked(facts: tuple[object, ...]) -> None:
    assert outcome_of(BLOCKED, *machine(*OFF, *facts)).status is Status.OK


def test_unknown_whether_the_key_is_enrolled() -> None:
    outcome = outcome_of(BLOCKED, *machine(*OFF, secure(None)))
    assert outcome.status is Status.UNKNOWN
    assert KEY in outcome.reason


def test_the_key_waits_for_the_next_boot() -> None:
    finding = only(PENDING, secure(False, pending=True))
    assert finding.subject == KEY
    assert "waits to be confirmed" in finding.summary
    assert "Enroll MOK" in finding.remedy


@pytest.mark.parametrize(
    "facts",
    [
        (secure(False),),
        (secure(True, pending=True),),
        (secure(False, pending=True, enabled=False, lockdown="none"),),
        (secure(False, pending=True), versions(BEFORE, BEFORE, BEFORE)),
        (secure(False, pending=True), ModuleFiles(())),
    ],
)
def test_nothing_waits(facts: tuple[object, ...]) -> None:
    assert outcome_of(PENDING, *machine(*OFF, *facts)).status is Status.OK


@pytest.mark.parametrize("check", [BLOCKED, PENDING])
def test_unknown_without_the_firmwares_answer(check: str) -> None:
    assert outcome_of(check, *machine(*OFF, unknown=(SecureBoot,))).status is Status.UNKNOWN


@pytest.mark.parametrize("check", [BLOCKED, PENDING])
def test_the_firmware_does_not_matter_where_the_driver_is_loaded(check: str) -> None:
    assert outcome_of(check, *machine(unknown=(SecureBoot,))).status is Status.OK


@pytest.mark.parametrize("check", [BLOCKED, PENDING])
def test_not_applicable_in_a_container(check: str) -> None:
    assert outcome_of(check, *machine(*OFF, secure(False, pending=True), CONTAINER)).status is Status.SKIPPED
