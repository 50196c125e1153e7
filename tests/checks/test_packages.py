"""Is the driver whole, as its packages tell it? On the package lists of real machines."""

import re

import pytest
from package_findings import cuda, event, finding, history, nvml, outcome, proof, status
from package_machines import (
    ARCH,
    DEBIAN,
    FEDORA,
    HEALTHY,
    NEW,
    OLD,
    SUSE,
    UBUNTU,
    UBUNTU_VERSION,
    arch,
    bookworm,
    bookworm_held,
    bookworm_held_back,
    dpkg,
    fedora_rpmfusion,
    package,
    pacman,
    rpm,
    suse,
    tesla_470,
    ubuntu,
    ubuntu_prebuilt,
)

from gpudoctor import Severity, Unavailable
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement, OperatingSystem
from gpudoctor.findings import Status
from gpudoctor.registry import load_plugins, registry

PARTIAL, HELD = "packages.partial-upgrade", "packages.held-or-broken"


@pytest.mark.parametrize("check", [PARTIAL, HELD])
@pytest.mark.parametrize("machine", HEALTHY)
def test_healthy_machines_raise_no_alarm(check: str, machine: str) -> None:
    system, packages = HEALTHY[machine]
    assert outcome(check, system, packages).status is Status.OK


def test_the_real_hold_that_tore_the_driver_apart() -> None:
    came = event("libcuda1", "upgrade", OLD, NEW, command="apt-get -y dist-upgrade")
    found = finding(PARTIAL, DEBIAN, bookworm_held(), history(came))
    assert "nvidia-kernel-dkms (on hold), firmware-nvidia-gsp are 535.261.03" in found.summary
    assert "are 535.309.01" in found.summary
    assert "on 2026-11-22 06:50:11 by `apt-get -y dist-upgrade`" in found.summary
    assert found.subject == "nvidia-kernel-dkms"
    assert found.severity is Severity.ERROR
    assert "nvidia-kernel-dkms 535.261.03-1 (on hold)" in proof(found)
    assert "libcuda1 535.309.01-0+deb12u1" in proof(found)
    assert "libcuda1 535.261.03-1 -> 535.309.01-0+deb12u1" in proof(found)
    assert "`apt-mark unhold nvidia-kernel-dkms`" in found.remedy
    assert "`apt-get install nvidia-kernel-dkms firmware-nvidia-gsp`" in found.remedy
    assert "back to 535.261.03" in found.remedy
    assert "purge" not in found.remedy


def test_the_hold_is_explained_by_what_it_caused() -> None:
    assert status(HELD, DEBIAN, bookworm_held()) is Status.FOUND
    load_plugins()
    assert PARTIAL in registry.checks[HELD].after


def test_what_a_plain_upgrade_leaves_under_a_hold_is_whole_but_will_tear() -> None:
    assert status(PARTIAL, DEBIAN, bookworm_held_back()) is Status.OK  # nvidia-legacy-check may move on alone
    found = finding(HELD, DEBIAN, bookworm_held_back())
    assert found.severity is None
    assert registry.checks[HELD].severity is Severity.WARNING
    assert "on hold (nvidia-kernel-dkms)" in found.summary
    assert "libcuda1, libnvidia-ml1, libnvidia-pkcs11-openssl3, libnvidia-ptxjitcompiler1" in found.summary
    # Its dependency ties the firmware to the held package: that one stays by itself.
    assert "firmware-nvidia-gsp" not in found.summary + found.remedy
    assert "`apt-mark unhold nvidia-kernel-dkms`" in found.remedy
    assert "`apt-mark hold libcuda1 libnvidia-ml1 libnvidia-pkcs11-openssl3 libnvidia-ptxjitcompiler1`" in found.remedy


def test_a_release_upgrade_under_a_hold_crosses_branches() -> None:
    machine = bookworm("550.163.01-2")
    machine["nvidia-kernel-dkms"] = bookworm(OLD)["nvidia-kernel-dkms"]._replace(hold=True)
    found = finding(PARTIAL, DEBIAN, dpkg(machine.values()))
    assert "nvidia-kernel-dkms (on hold) is 535.261.03" in found.summary
    assert "550.163.01" in found.summary


def test_without_a_history_the_packages_prove_it_alone() -> None:
    found = finding(PARTIAL, DEBIAN, bookworm_held(), Unavailable("unreadable"))
    assert "came on" not in found.summary


def test_a_gpu_that_answers_makes_it_a_warning() -> None:
    assert finding(PARTIAL, DEBIAN, bookworm_held(), nvml(), cuda()).severity is Severity.WARNING
    assert finding(PARTIAL, DEBIAN, bookworm_held(), nvml(18), cuda(999)).severity is Severity.ERROR


def test_one_library_alone_was_upgraded_by_name() -> None:
    machine = ubuntu()
    machine["libnvidia-compute-580"] = machine["libnvidia-compute-580"]._replace(version="580.105.08-0ubuntu0.24.04.1")
    found = finding(PARTIAL, UBUNTU, dpkg(machine.values()))
    assert "but libnvidia-compute-580 is 580.105.08" in found.summary
    assert "nvidia-dkms-580-open" in found.remedy
    for other in ("nvidia-settings", "nvidia-container", "nvidia-firmware", "libnvidia-common", "nvidia-prime"):
        assert other not in found.remedy


def test_companions_of_any_version_are_not_compared() -> None:
    """Each as some distribution or repository numbers it beside a whole driver 580.95.05."""
    names = (
        *("nvidia-modprobe", "nvidia-persistenced", "nvidia-settings", "nvidia-xconfig", "libxnvctrl0"),
        *("libnvidia-common-580", "nvidia-fabricmanager-580", "nvidia-imex-580", "libnvidia-nscq-580"),
        *("nvidia-legacy-check", "nvidia-detect", "nvidia-cuda-mps", "cuda-compat-13-0", "cuda-drivers-580"),
        *("nvidia-driver-pinning-580", "nvidia-libXNVCtrl", "nvidia-headless-580", "nvidia-firmware-580-580.82.07"),
    )
    machine = {**ubuntu(), **{name: package(name, "580.82.07-1") for name in names}}
    assert status(PARTIAL, UBUNTU, dpkg(machine.values())) is Status.OK
    assert status("packages.two-branches", UBUNTU, dpkg(machine.values())) is Status.OK


def test_only_a_program_of_another_version_is_a_warning() -> None:
    machine = ubuntu()
    machine["nvidia-utils-580"] = machine["nvidia-utils-580"]._replace(version="580.82.07-0ubuntu0.24.04.1")
    assert finding(PARTIAL, UBUNTU, dpkg(machine.values())).severity is Severity.WARNING


def test_32_bit_copies_of_the_same_version_are_normal_and_lagging_ones_a_warning() -> None:
    machine = ubuntu()
    machine["copy"] = package("libnvidia-compute-580", UBUNTU_VERSION, architecture="i386")
    assert status(PARTIAL, UBUNTU, dpkg(machine.values())) is Status.OK
    lagging = arch()
    lagging["lib32-nvidia-utils"] = lagging["lib32-nvidia-utils"]._replace(version="580.82.09-1")
    assert finding(PARTIAL, ARCH, pacman(lagging.values())).severity is Severity.WARNING


def test_a_kept_name_leads_to_a_newer_branch() -> None:
    """Ubuntu keeps empty packages of an old branch, in the version of the new one."""
    machine = ubuntu()
    machine["libnvidia-compute-575"] = package("libnvidia-compute-575", UBUNTU_VERSION)
    machine["nvidia-driver-575-open"] = package("nvidia-driver-575-open", UBUNTU_VERSION)
    for check in (PARTIAL, "packages.two-branches"):
        assert status(check, UBUNTU, dpkg(machine.values())) is Status.OK


def test_rpm_and_pacman_machines() -> None:
    fedora = fedora_rpmfusion()
    fedora["akmod-nvidia.amd64"] = fedora["akmod-nvidia.amd64"]._replace(version="3:580.82.09-1.fc42", hold=True)
    found = finding(PARTIAL, FEDORA, rpm(fedora.values()))
    assert "akmod-nvidia (on hold) is 580.82.09" in found.summary
    assert "`dnf versionlock delete akmod-nvidia`" in found.remedy
    assert "`dnf distro-sync akmod-nvidia`" in found.remedy

    found = finding(PARTIAL, SUSE, rpm(suse("580.82.07").values()))
    assert "nvidia-open-driver-G06-signed-kmp-default is 580.82.07" in found.summary
    assert "`zypper install nvidia-open-driver-G06-signed-kmp-default`" in found.remedy

    ignored = arch("580.82.09")
    ignored["nvidia-open"] = ignored["nvidia-open"]._replace(hold=True)
    found = finding(PARTIAL, ARCH, pacman(ignored.values()))
    assert "nvidia-open (on hold) is 580.82.09" in found.summary
    assert "IgnorePkg in /etc/pacman.conf: nvidia-open" in found.remedy
    assert "`pacman -Syu`" in found.remedy


def test_a_hold_on_everything_or_on_what_ties_everything_is_fine() -> None:
    whole = [one._replace(hold=True) for one in bookworm().values()]
    assert status(HELD, DEBIAN, dpkg(whole)) is Status.OK
    machine = ubuntu()
    machine["nvidia-driver-580-open"] = machine["nvidia-driver-580-open"]._replace(hold=True)
    assert status(HELD, UBUNTU, dpkg(machine.values())) is Status.OK
    other = bookworm()
    other["nvidia-modprobe"] = other["nvidia-modprobe"]._replace(hold=True)
    assert status(HELD, DEBIAN, dpkg(other.values())) is Status.OK


def test_a_hold_does_not_reach_the_modules_of_the_next_kernel() -> None:
    machine = ubuntu_prebuilt()
    for name, one in machine.items():
        if name.startswith(("nvidia-", "libnvidia-")):
            machine[name] = one._replace(hold=True)
    found = finding(HELD, UBUNTU, dpkg(machine.values()))
    assert "can move linux-modules-nvidia-580-server-generic on without it" in found.summary
    assert "6.8.0-90-generic" not in found.remedy
    machine["oem"] = package("linux-modules-nvidia-580-server-oem-24.04b", "6.14.0-1007.7")
    found = finding(HELD, UBUNTU, dpkg(machine.values()))
    assert "linux-modules-nvidia-580-server-oem-24.04b" in found.summary


def test_an_exact_dependency_that_is_not_there() -> None:
    machine = bookworm()
    machine["libnvidia-ml1"] = machine["libnvidia-ml1"]._replace(version="535.261.03-2")
    found = finding(HELD, DEBIAN, dpkg(machine.values()))
    assert found.subject == "nvidia-smi"
    assert "libnvidia-ml1 (= 535.261.03-1), installed is 535.261.03-2" in found.summary
    assert "`apt-get --fix-broken install`" in found.remedy
    del machine["libnvidia-ml1"]
    assert "it is not installed" in finding(HELD, DEBIAN, dpkg(machine.values())).summary
    # Of a damaged database nobody knows what is missing in it.
    assert status(HELD, DEBIAN, dpkg(machine.values(), "3 damaged entries")) is Status.OK


def test_a_provided_name_may_meet_a_dependency() -> None:
    assert status(HELD, DEBIAN, tesla_470()) is Status.OK


@pytest.mark.parametrize("check", [PARTIAL, HELD])
def test_where_it_cannot_be_told_or_makes_no_sense(check: str) -> None:
    assert status(check, DEBIAN, without=(Packages,)) is Status.UNKNOWN
    assert status(check, bookworm_held(), without=(OperatingSystem,)) is Status.UNKNOWN
    assert status(check, DEBIAN, bookworm_held(), Confinement("docker", False)) is Status.SKIPPED
    assert status(check, DEBIAN, bookworm_held(), Confinement("", True)) is Status.SKIPPED


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (PARTIAL, "/lib/x86_64-linux-gnu/libcuda.so.1: undefined symbol: nvmlDeviceGetPciInfo_v3"),
        (PARTIAL, "symbol lookup error: nvidia-smi: undefined symbol: nvmlSystemGetConfComputeState"),
        (PARTIAL, "libnvidia-ptxjitcompiler.so.1: cannot open shared object file: No such file or directory"),
        (PARTIAL, "CUDA error: PTX JIT compiler library not found"),
        (PARTIAL, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND"),
        (HELD, "E: Unable to correct problems, you have held broken packages."),
        (
            HELD,
            "nvidia-driver-580 : Depends: libnvidia-gl-580 (= 580.95.05-0ubuntu1) but it is not going to be installed",
        ),
        (HELD, " nvidia-driver-X : Depends: libnvidia-… but it is not going to be installed"),
    ],
)
def test_messages_that_users_see(check: str, message: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message, re.IGNORECASE) for pattern in registry.checks[check].symptoms)


def test_a_foreign_undefined_symbol_is_not_ours() -> None:
    load_plugins()
    message = "torch/_C.so: undefined symbol: _ZN3c104cuda9SetDeviceEi"
    assert not any(re.search(pattern, message, re.IGNORECASE) for pattern in registry.checks[PARTIAL].symptoms)
