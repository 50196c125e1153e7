"""Ubuntu's ready-made modules, which come per kernel."""

import outcomes
import pytest
from kernel_machines import CONTAINER, UBUNTU, dkms, installed, kernel, machine, module, packages, versions

from gpudoctor import Severity
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.findings import Finding, Status
from gpudoctor.testing import outcome_of

ID = "kernel.prebuilt-module-missing"
WAS, IS = "6.8.0-45-generic", "6.8.0-48-generic"
SERIES = "linux-modules-nvidia-580-server-open"
REBOOTED = (
    UBUNTU,
    kernel(IS),
    installed(IS, WAS, headers=()),
    ModuleFiles((module(WAS, "580.95.05", "prebuilt"),)),
    versions("", "", "580.95.05"),
    Dkms(False, ()),
    packages(f"{SERIES}-{WAS}"),
)


def only(*facts: object) -> Finding:
    return outcomes.only(ID, *machine(*REBOOTED, *facts))


def test_installed_for_another_kernel_only() -> None:
    finding = only()
    assert (finding.subject, finding.severity) == (IS, Severity.ERROR)
    assert f"installed for {WAS}, not for the running kernel {IS}" in finding.summary
    assert f"apt install {SERIES}-{IS} {SERIES}-generic" in finding.remedy
    assert "modprobe nvidia" in finding.remedy
    assert "Do not add nvidia-dkms" in finding.remedy
    assert f"boot kernel {WAS}" in finding.remedy
    assert any(f"{SERIES}-generic is not installed" in evidence.value for evidence in finding.evidence)


def test_the_next_boot_is_a_warning() -> None:
    finding = only(kernel(WAS))
    assert (finding.subject, finding.severity) == (IS, Severity.WARNING)


def test_the_flavour_is_the_one_that_is_booted() -> None:
    release = "6.8.0-1021-aws"
    finding = only(kernel(release), installed(release, WAS, headers=()))
    assert f"apt install {SERIES}-{release} {SERIES}-aws" in finding.remedy


def test_the_branch_is_the_one_of_user_space() -> None:
    finding = only(packages(f"linux-modules-nvidia-535-{WAS}", f"linux-modules-nvidia-580-{WAS}"))
    assert f"linux-modules-nvidia-580-{IS}" in finding.remedy


@pytest.mark.parametrize(
    "facts",
    [
        (packages(f"{SERIES}-{WAS}", f"{SERIES}-{IS}"),),  # its package is there: kernel.module-missing tells more
        (ModuleFiles((module(WAS), module(IS))),),
        (dkms(),),
        (packages("linux-modules-nvidia-fs-6.8.0-45-generic"),),  # another module of NVIDIA's
        (packages(),),
    ],
)
def test_fine(facts: tuple[object, ...]) -> None:
    assert outcome_of(ID, *machine(*REBOOTED, *facts)).status is Status.OK


def test_unknown_without_packages() -> None:
    assert outcome_of(ID, *machine(*REBOOTED, unknown=(Packages,))).status is Status.UNKNOWN


def test_packages_do_not_matter_where_no_module_is_missing() -> None:
    assert outcome_of(ID, *machine(Dkms(False, ()), unknown=(Packages,))).status is Status.OK


def test_not_applicable_in_a_container() -> None:
    assert outcome_of(ID, *machine(*REBOOTED, CONTAINER)).status is Status.SKIPPED
