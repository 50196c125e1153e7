"""Kernels without a module: headers missing, module missing, and the kernel that boots next."""

import outcomes
import pytest
from kernel_machines import (
    AFTER,
    BEFORE,
    CONTAINER,
    FEDORA,
    NEW,
    OLD,
    WSL,
    built,
    dkms,
    installed,
    kernel,
    machine,
    module,
    packages,
    upgrade,
    versions,
)

from gpudoctor import Severity
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.facts.versions import DriverWanted
from gpudoctor.findings import Finding, Status
from gpudoctor.testing import outcome_of

HEADERS, MISSING, NEXT = "kernel.headers-missing", "kernel.module-missing", "kernel.next-boot-module-missing"

# An upgrade brought a kernel without headers; the machine was rebooted into it, or was not yet.
NO_HEADERS = installed(NEW, OLD, headers=(OLD,))
HISTORY = PackageHistory((upgrade(f"linux-image-{NEW}", "6.1.192-2"),))
REBOOTED = (kernel(NEW), NO_HEADERS, versions("", "", BEFORE), HISTORY)
NOT_YET = (kernel(OLD), NO_HEADERS, HISTORY)
ON_DISK = (kernel(NEW, running=False), NO_HEADERS, versions("", "", BEFORE), HISTORY)


def only(check: str, *facts: object) -> Finding:
    return outcomes.only(check, *machine(*facts))


def text_of(finding: Finding) -> str:
    return " | ".join(f"{evidence.source}: {evidence.value}" for evidence in finding.evidence)


@pytest.mark.parametrize("check", [HEADERS, MISSING, NEXT])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert outcome_of(check, *machine()).status is Status.OK


@pytest.mark.parametrize("check", [HEADERS, MISSING, NEXT])
@pytest.mark.parametrize("confinement", [CONTAINER, WSL])
def test_not_applicable_where_the_driver_is_somebody_elses(check: str, confinement: object) -> None:
    assert outcome_of(check, *machine(*REBOOTED, confinement)).status is Status.SKIPPED


@pytest.mark.parametrize("check", [HEADERS, MISSING, NEXT])
def test_unknown_without_the_installed_kernels(check: str) -> None:
    assert outcome_of(check, *machine(*REBOOTED, unknown=(InstalledKernels,))).status is Status.UNKNOWN


@pytest.mark.parametrize("check", [HEADERS, MISSING, NEXT])
def test_silent_without_a_gpu(check: str) -> None:
    assert outcome_of(check, *machine(*REBOOTED, PciGpus(()))).status is Status.OK


def test_headers_missing_for_the_running_kernel() -> None:
    finding = only(HEADERS, *REBOOTED)
    assert finding.subject == NEW
    assert finding.severity is Severity.ERROR
    assert f"the running kernel {NEW}" in finding.summary
    assert BEFORE in finding.summary
    assert "2026-11-23 20:26:27 by `apt -y upgrade`" in finding.summary
    assert f"/lib/modules/{NEW}/build: leads to /usr/src/linux-headers-{NEW}, which is not there" in text_of(finding)
    assert f"no NVIDIA module, but for {OLD}" in text_of(finding)
    assert f"apt -y upgrade: linux-image-{NEW} 6.1.192-2" in text_of(finding)
    assert f"linux-headers-{NEW}" in finding.remedy
    assert "linux-headers-amd64" in finding.remedy
    assert "gone from the archive" in finding.remedy
    assert "modprobe nvidia" in finding.remedy


def test_headers_missing_for_the_next_boot_is_a_warning_and_loads_nothing() -> None:
    finding = only(HEADERS, *NOT_YET)
    assert (finding.subject, finding.severity) == (NEW, Severity.WARNING)
    assert "until the next reboot" in finding.summary
    assert "/vmlinuz: boots next" in text_of(finding)
    assert "modprobe" not in finding.remedy


def test_headers_missing_on_a_disk() -> None:
    finding = only(HEADERS, *ON_DISK)
    assert (finding.subject, finding.severity) == (NEW, Severity.ERROR)
    assert "when this system boots it" in finding.summary
    assert "modprobe" not in finding.remedy


def test_headers_missing_is_a_warning_while_the_loaded_driver_works() -> None:
    finding = only(HEADERS, ModuleFiles(()), installed(OLD, headers=()))
    assert (finding.subject, finding.severity) == (OLD, Severity.WARNING)


def test_headers_missing_is_an_error_where_user_space_moved_on() -> None:
    finding = only(HEADERS, ModuleFiles(()), installed(OLD, headers=()), versions(BEFORE, "", AFTER))
    assert finding.severity is Severity.ERROR
    assert "then reboot" in finding.remedy


def test_headers_do_not_matter_where_nothing_is_built() -> None:
    assert outcome_of(HEADERS, *machine(*REBOOTED, Dkms(True, ()))).status is Status.OK


def test_headers_of_fedora_with_akmods() -> None:
    release = "6.14.5-300.fc42.x86_64"
    history = PackageHistory((upgrade("kernel-core", "6.14.5-300.fc42", command="dnf upgrade"),))
    finding = only(
        HEADERS,
        *(FEDORA, kernel(release), installed(release, headers=()), ModuleFiles(()), versions("", "", "570.144")),
        *(Dkms(False, ()), packages("akmod-nvidia"), history),
    )
    assert f"kernel-devel-{release}" in finding.remedy
    assert f"akmods --force --kernels {release}" in finding.remedy
    assert "dnf upgrade" in finding.summary


def test_headers_of_a_system_that_changes_as_one_image() -> None:
    release = "6.14.5-300.fc42.x86_64"
    finding = only(
        HEADERS,
        *(FEDORA._replace(ostree=True), kernel(release), installed(release, headers=()), ModuleFiles(())),
        *(versions("", "", "570.144"), Dkms(False, ()), packages("akmod-nvidia"), PackageHistory(())),
    )
    assert "`rpm-ostree upgrade`" in finding.remedy
    assert "dnf" not in finding.remedy


@pytest.mark.parametrize(
    ("family", "release", "image", "name"),
    [
        ("debian", "6.1.0-50-cloud-amd64", "", "linux-headers-cloud-amd64 "),
        ("debian", "6.12.95+deb12-amd64", "", "linux-headers-amd64 "),
        ("debian", "6.8.0-45-generic", "linux-image-generic-hwe-22.04", "linux-headers-generic-hwe-22.04 "),
        ("debian", "6.8.0-1021-aws", "", "linux-headers-aws "),
        ("debian", "6.8.12-4-pve", "", "Install proxmox-headers-6.8.12-4-pve "),
        ("debian", "6.8.12-4-pve", "", "proxmox-default-headers "),
        ("fedora", "6.14.5-300.fc42.aarch64+64k", "", "Install kernel-64k-devel-6.14.5-300.fc42.aarch64 "),
        ("suse", "6.4.0-150600.23.7-default", "", "'kernel-default-devel=6.4.0-150600.23.7'"),
        ("arch", "6.14.4-arch1-1", "", "pacman -Syu linux-headers`"),
        ("arch", "6.12.25-1-lts", "", "pacman -Syu linux-lts-headers`"),
        ("", "6.9.0", "", "from your distribution"),
    ],
)
def test_headers_have_each_distributions_name(family: str, release: str, image: str, name: str) -> None:
    finding = only(
        HEADERS,
        *(OperatingSystem("", "", "", family), kernel(release), installed(release, headers=()), ModuleFiles(())),
        *(versions("", "", BEFORE), packages(image) if image else packages()),
    )
    assert name in finding.remedy


@pytest.mark.parametrize(
    ("name", "version", "release"),
    [
        ("kernel-default", "6.4.0-150600.23.7.3", "6.4.0-150600.23.7-default"),
        ("kernel-core", "6.14.5-300.fc42", "6.14.5-300.fc42.x86_64"),
        ("linux", "6.14.4.arch1-1", "6.14.4-arch1-1"),
        ("linux-zen", "6.14.4.zen1-1", "6.14.4-zen1-1-zen"),
    ],
)
def test_the_log_tells_which_upgrade_brought_the_kernel(name: str, version: str, release: str) -> None:
    history = PackageHistory((upgrade(name, version, old="1.0"), upgrade(name, "9.9.9", old=version)))
    finding = only(MISSING, kernel(release), installed(release), ModuleFiles(()), versions("", "", BEFORE), history)
    assert f"{name} 1.0 -> {version}" in text_of(finding)


def test_a_rebuild_of_a_kernel_is_not_its_arrival() -> None:
    name = f"linux-image-{NEW}"
    came = upgrade(name, "6.1.192-1", command="apt full-upgrade")
    rebuilt = upgrade(name, "6.1.192-2", old="6.1.192-1", command="unattended-upgrade")
    assert "by `apt full-upgrade`" in only(HEADERS, *REBOOTED, PackageHistory((came, rebuilt))).summary


def test_module_missing_names_the_build_and_the_kernel_that_works() -> None:
    finding = only(MISSING, *REBOOTED, installed(NEW, OLD))
    assert finding.subject == NEW
    assert f"no NVIDIA module for the running kernel {NEW}" in finding.summary
    assert "package libcuda1" in text_of(finding)
    assert "nvidia-current/535.261.03: built for 6.1.0-50-amd64" in text_of(finding)
    assert f"`dkms autoinstall -k {NEW}`, then `modprobe nvidia`" in finding.remedy
    assert f"boot kernel {OLD}" in finding.remedy


def test_module_missing_does_not_offer_a_kernel_whose_module_does_not_fit() -> None:
    finding = only(MISSING, *REBOOTED, versions("", "", AFTER))
    assert f"boot kernel {OLD}" not in finding.remedy


def test_module_missing_though_dkms_built_it() -> None:
    finding = only(MISSING, *REBOOTED, dkms(built(OLD), built(NEW)))
    assert f"dkms install --force nvidia-current/535.261.03 -k {NEW}" in finding.remedy


def test_module_missing_without_a_source() -> None:
    finding = only(MISSING, *REBOOTED, Dkms(True, ()), packages("libcuda1"))
    assert BEFORE in finding.remedy
    assert "same version" in finding.remedy


def test_module_missing_because_the_running_kernel_was_removed_wants_a_reboot() -> None:
    finding = only(MISSING, kernel("6.14.3-arch1-1"), versions("", "", BEFORE))
    assert "An upgrade has removed the files of the running kernel" in finding.summary
    assert "Reboot into an installed kernel" in finding.remedy
    assert OLD in finding.remedy


def test_a_removed_kernel_whose_driver_is_loaded_is_fine() -> None:
    facts = machine(kernel("6.14.3-arch1-1"), versions(BEFORE, "", BEFORE))
    assert outcome_of(MISSING, *facts).status is Status.OK
    assert outcome_of(HEADERS, *facts).status is Status.OK


def test_module_missing_only_where_a_driver_is_wanted() -> None:
    assert outcome_of(MISSING, *machine(*REBOOTED, DriverWanted(()))).status is Status.OK


def test_module_missing_on_a_disk() -> None:
    finding = only(MISSING, *ON_DISK)
    assert "when this system boots it" in finding.summary
    assert "modprobe" not in finding.remedy


def test_next_boot_without_a_module() -> None:
    finding = only(NEXT, *NOT_YET)
    assert finding.subject == NEW
    assert "until the next reboot" in finding.summary
    assert "/vmlinuz: boots next" in text_of(finding)
    assert f"dkms autoinstall -k {NEW}" in finding.remedy
    assert "modprobe" not in finding.remedy


def test_the_running_kernel_lost_its_module_and_boots_next() -> None:
    finding = only(NEXT, ModuleFiles(()), dkms(built(OLD)), versions(BEFORE, "", BEFORE))
    assert finding.severity is None, "the check's own: a warning"
    assert finding.subject == OLD
    assert "the loaded driver works until the next reboot" in finding.summary
    assert f"dkms install --force nvidia-current/{BEFORE} -k {OLD}" in finding.remedy
    # With nothing loaded it is no matter of the next boot any more.
    gone = (ModuleFiles(()), dkms(built(OLD)), versions("", "", BEFORE))
    assert outcome_of(NEXT, *machine(*gone)).status is Status.OK
    assert outcome_of(MISSING, *machine(*gone)).status is Status.FOUND


def test_next_boot_is_fine_where_akmods_builds_at_boot() -> None:
    facts = (kernel(OLD), installed(NEW, OLD), FEDORA, Dkms(False, ()), packages("akmod-nvidia"))
    assert outcome_of(NEXT, *machine(*facts)).status is Status.OK
    assert outcome_of(NEXT, *machine(*facts, installed(NEW, OLD, headers=()))).status is Status.FOUND


def test_next_boot_is_unknown_where_the_boot_loader_does_not_tell() -> None:
    kernels = NO_HEADERS._replace(next_boot="")
    outcome = outcome_of(NEXT, *machine(*NOT_YET, kernels))
    assert outcome.status is Status.UNKNOWN
    assert "boots next" in outcome.reason


def test_next_boot_with_a_module() -> None:
    files = ModuleFiles((module(OLD), module(NEW)))
    assert outcome_of(NEXT, *machine(*NOT_YET, files)).status is Status.OK
