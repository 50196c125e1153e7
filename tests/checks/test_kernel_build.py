"""Builds that failed, by what real make.logs say."""

import pytest
from kernel_machines import (
    AFTER,
    BEFORE,
    CONTAINER,
    NEW,
    OLD,
    built,
    dkms,
    failed,
    installed,
    kernel,
    machine,
    module,
    package,
    versions,
)
from outcomes import only

from gpudoctor import Severity
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.findings import Status
from gpudoctor.testing import outcome_of

COMPILER = "kernel.compiler-mismatch"
TOO_OLD = "kernel.driver-too-old-for-kernel"
OTHERWISE = "kernel.module-build-failed"
ALL = (COMPILER, TOO_OLD, OTHERWISE)

# Lines of make.log files, as gcc and make write them.
FOLLOW_PFN = (
    "/var/lib/dkms/nvidia-tesla-470/470.256.02/build/nvidia/os-mlock.c:23:12: error: implicit declaration of function "
    "'follow_pfn'; did you mean 'folio_pfn'? [-Werror=implicit-function-declaration]"
)
VM_FLAGS = (
    "/var/lib/dkms/nvidia-current/550.163.01/build/common/inc/nv-mm.h:262:8: error: 'struct vm_area_struct' has no "
    "member named '__vm_flags'"
)
TOO_FEW = "nvidia/os-interface.c:2388:15: error: too few arguments to function 'add_memory_driver_managed'; expected 5"
INCOMPATIBLE = "nvidia/nv.c:75:32: error: passing argument 1 of 'ktime_get_ts64' from incompatible pointer type"
GPL_ONLY = "ERROR: modpost: GPL-incompatible module nvidia.ko uses GPL-only symbol '__rcu_read_lock'"
MAKE_ERROR = "make[4]: *** [scripts/Makefile.build:234: /var/lib/dkms/nvidia/470/build/nvidia/os-mlock.o] Error 1"
UNKNOWN_OPTION = "gcc: error: unrecognized command-line option '-ftrivial-auto-var-init=zero'"
NOTE = "cc1: note: unrecognized command-line option '-Wno-format-overflow' may have been intended to silence earlier"
CHECK_FAILED = "make[2]: *** [/var/lib/dkms/nvidia/390.87/build/Kbuild:180: cc_version_check] Error 1"
NOT_FOUND = "/bin/sh: 1: gcc-12: not found"
DIFFERENT = (
    "The kernel was built by: gcc-12 (Debian 12.2.0-14) 12.2.0",
    "You are using:           gcc-11 (Debian) 11.3.0",
)
SAME = ("The kernel was built by: gcc (GCC) 11.3.1 20220429", "You are using:           cc (GCC) 11.3.1 20220429")

NOT_BUILT = (kernel(NEW), installed(NEW, OLD), versions("", "", BEFORE))


def after(*errors: str) -> tuple[object, ...]:
    return machine(*NOT_BUILT, dkms(built(OLD), failed(NEW, *errors)))


@pytest.mark.parametrize(
    ("check", "errors"),
    [
        (TOO_OLD, (FOLLOW_PFN, MAKE_ERROR)),
        (TOO_OLD, (VM_FLAGS, MAKE_ERROR)),
        (TOO_OLD, (TOO_FEW,)),
        (TOO_OLD, (INCOMPATIBLE,)),
        (TOO_OLD, (GPL_ONLY,)),
        (TOO_OLD, (NOTE, FOLLOW_PFN)),
        (TOO_OLD, (*DIFFERENT, FOLLOW_PFN)),
        (COMPILER, (UNKNOWN_OPTION, MAKE_ERROR)),
        (COMPILER, (CHECK_FAILED,)),
        (COMPILER, DIFFERENT),
        (COMPILER, (NOT_FOUND, MAKE_ERROR)),
        (COMPILER, ("/bin/bash: line 1: gcc-12: command not found", MAKE_ERROR)),
        (OTHERWISE, ("/bin/sh: 1: bc: not found", MAKE_ERROR)),
        (OTHERWISE, (MAKE_ERROR,)),
        (OTHERWISE, (*SAME, MAKE_ERROR)),
        (OTHERWISE, ("Killed", "make[1]: *** [Makefile:236: __sub-make] Error 137")),
        (OTHERWISE, ()),
    ],
)
def test_each_log_blames_one(check: str, errors: tuple[str, ...]) -> None:
    assert [id for id in ALL if outcome_of(id, *after(*errors)).status is Status.FOUND] == [check]


def test_too_old_shows_the_line_and_keeps_to_the_kernel_that_works() -> None:
    finding = only(TOO_OLD, *after(MAKE_ERROR, FOLLOW_PFN))
    assert (finding.subject, finding.severity) == (NEW, Severity.ERROR)
    assert f"driver {BEFORE} is too old for the running kernel {NEW}" in finding.summary
    assert finding.evidence[0].source.endswith("/make.log")
    assert "follow_pfn" in finding.evidence[0].value
    assert "newer release of driver branch 535" in finding.remedy
    assert f"boot kernel {OLD}" in finding.remedy
    assert "reinstall" not in finding.remedy


def test_too_old_for_the_next_boot_is_a_warning() -> None:
    facts = machine(installed(NEW, OLD), dkms(built(OLD), failed(NEW, FOLLOW_PFN)))
    assert only(TOO_OLD, *facts).severity is Severity.WARNING


def test_a_mismatch_names_both_compilers_and_the_one_to_install() -> None:
    facts = machine(*NOT_BUILT, dkms(failed(NEW, UNKNOWN_OPTION)), HostCompilers(11, (11,)))
    finding = only(COMPILER, *facts)
    text = " | ".join(evidence.value for evidence in finding.evidence)
    assert "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0" in text
    assert "gcc-11; plain gcc is 11" in text
    assert "Install gcc-12" in finding.remedy
    assert f"dkms autoinstall -k {NEW}" in finding.remedy
    assert "IGNORE_CC_MISMATCH" not in finding.remedy


def test_a_failure_otherwise_shows_the_first_error() -> None:
    finding = only(OTHERWISE, *after("Killed", MAKE_ERROR))
    assert finding.evidence[0].value == "Killed"
    assert f"dkms build --force nvidia-current/{BEFORE} -k {NEW}" in finding.remedy


def test_a_compiler_that_is_gone_is_called_missing() -> None:
    finding = only(COMPILER, *machine(*NOT_BUILT, dkms(failed(NEW, NOT_FOUND)), HostCompilers(None, ())))
    assert "the compiler of this kernel is not installed" in finding.summary
    assert finding.evidence[0].value == NOT_FOUND
    assert "Install gcc-12 (`apt install gcc-12`)" in finding.remedy


def test_a_build_that_was_interrupted_did_not_fail() -> None:
    finding = only(OTHERWISE, *after())
    assert "was interrupted" in finding.summary
    assert "error" not in finding.remedy
    assert f"dkms autoinstall -k {NEW}" in finding.remedy


def test_a_build_that_was_interrupted_with_its_package_is_for_the_package_manager() -> None:
    stopped = Packages("dpkg", (package("nvidia-kernel-dkms")._replace(state="half-configured"),))
    assert outcome_of(OTHERWISE, *after(), stopped).status is Status.OK
    assert outcome_of(OTHERWISE, *after(MAKE_ERROR), stopped).status is Status.FOUND
    assert outcome_of(OTHERWISE, *machine(*NOT_BUILT, dkms(failed(NEW)), unknown=(Packages,))).status is Status.FOUND


@pytest.mark.parametrize(
    ("compilers", "found"),
    [
        (HostCompilers(11, (11,)), True),
        (HostCompilers(13, (11, 13)), True),
        (HostCompilers(11, (11, 12)), False),
        (HostCompilers(12, ()), False),
        (HostCompilers(None, ()), False),  # as on Fedora: plain gcc, of a version that files do not tell
    ],
)
def test_the_kernels_compiler_is_not_installed_and_nothing_was_built_yet(compilers: HostCompilers, found: bool) -> None:
    outcome = outcome_of(COMPILER, *machine(*NOT_BUILT, compilers))
    assert outcome.status is (Status.FOUND if found else Status.OK)


def test_the_compiler_does_not_matter_where_the_build_failed_otherwise() -> None:
    facts = machine(*NOT_BUILT, dkms(failed(NEW, FOLLOW_PFN)), HostCompilers(11, (11,)))
    assert outcome_of(COMPILER, *facts).status is Status.OK


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize(
    "facts",
    [
        (),
        (ModuleFiles((module(OLD), module(NEW, AFTER))), dkms(built(OLD), failed(NEW, FOLLOW_PFN))),  # built since
        (dkms(built(OLD), failed("6.1.0-40-amd64", FOLLOW_PFN, UNKNOWN_OPTION)),),  # a kernel that nobody boots
    ],
)
def test_fine(check: str, facts: tuple[object, ...]) -> None:
    assert outcome_of(check, *machine(kernel(OLD), installed(NEW, OLD, next_boot=OLD), *facts)).status is Status.OK


@pytest.mark.parametrize("check", ALL)
def test_unknown_without_the_dkms_tree(check: str) -> None:
    assert outcome_of(check, *machine(*NOT_BUILT, unknown=(Dkms,))).status is Status.UNKNOWN


@pytest.mark.parametrize("check", ALL)
def test_not_applicable_in_a_container(check: str) -> None:
    assert outcome_of(check, *after(FOLLOW_PFN), CONTAINER).status is Status.SKIPPED
