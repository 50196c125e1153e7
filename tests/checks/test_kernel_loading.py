"""The module is on the disk: who holds the GPU, and what keeps the module out."""

import outcomes
import pytest
from kernel_machines import (
    BEFORE,
    CONTAINER,
    NEW,
    OLD,
    UBUNTU,
    WSL,
    blacklist,
    gpu,
    kernel,
    machine,
    module,
    versions,
)

from gpudoctor import Severity
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.modprobe import ModprobeConfig, ModprobeLine
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.versions import DriverWanted
from gpudoctor.findings import Finding, Status
from gpudoctor.testing import outcome_of

NOUVEAU, OTHER, FORBIDDEN, NOT_LOADED = ALL = (
    "kernel.nouveau-bound",
    "kernel.other-driver-bound",
    "kernel.module-blacklisted",
    "kernel.module-not-loaded",
)
UNLOADED = versions("", BEFORE, BEFORE)
FREE = PciGpus((gpu(""),))
TAKEN = {
    NOUVEAU: (PciGpus((gpu("nouveau"),)), UNLOADED),
    OTHER: (PciGpus((gpu("vfio-pci"),)), UNLOADED),
    FORBIDDEN: (FREE, UNLOADED, ModprobeConfig((blacklist("nvidia"),), "")),
    NOT_LOADED: (FREE, UNLOADED),
}


def only(check: str, *facts: object) -> Finding:
    return outcomes.only(check, *machine(*TAKEN[check], *facts))


def text_of(finding: Finding) -> str:
    return " | ".join(f"{evidence.source}: {evidence.value}" for evidence in finding.evidence)


@pytest.mark.parametrize("check", ALL)
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert outcome_of(check, *machine()).status is Status.OK


@pytest.mark.parametrize("check", ALL)
def test_unknown_without_the_bus(check: str) -> None:
    assert outcome_of(check, *machine(*TAKEN[check], unknown=(PciGpus,))).status is Status.UNKNOWN


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize("confinement", [CONTAINER, WSL])
def test_not_applicable_where_the_driver_is_somebody_elses(check: str, confinement: object) -> None:
    assert outcome_of(check, *machine(*TAKEN[check], confinement)).status is Status.SKIPPED


def test_nouveau_that_is_forbidden_comes_out_of_the_initramfs() -> None:
    finding = only(NOUVEAU)
    assert finding.subject == "0000:01:00.0"
    assert "NVIDIA GeForce RTX 3090 at 0000:01:00.0 is held by nouveau" in finding.summary
    assert "/sys/bus/pci/devices/0000:01:00.0/driver: nouveau" in text_of(finding)
    assert "nvidia-blacklists-nouveau.conf: blacklist nouveau" in text_of(finding)
    assert f"/boot/initrd.img-{OLD}" in text_of(finding)
    assert f"update-initramfs -u -k {OLD}" in finding.remedy
    assert "reboot" in finding.remedy


def test_nouveau_that_nothing_forbids() -> None:
    finding = only(NOUVEAU, ModprobeConfig((), ""))
    assert "nothing forbids nouveau" in text_of(finding)
    assert "restore the blacklist file" in finding.remedy.lower()


def test_nouveau_where_the_settings_could_not_be_read() -> None:
    outcome = outcome_of(NOUVEAU, *machine(*TAKEN[NOUVEAU], unknown=(ModprobeConfig, InstalledKernels)))
    assert "nothing forbids" not in text_of(outcome.findings[0])


def test_nova_is_nouveaus_successor() -> None:
    assert "held by nova_core" in only(NOUVEAU, PciGpus((gpu("nova_core"),))).summary


def test_nouveau_is_right_where_nobody_wants_nvidias_driver() -> None:
    assert outcome_of(NOUVEAU, *machine(*TAKEN[NOUVEAU], DriverWanted(()))).status is Status.OK


def test_each_gpu_is_one_finding() -> None:
    gpus = PciGpus((gpu("nouveau"), gpu("nvidia", "0000:02:00.0"), gpu("nouveau", "0000:03:00.0")))
    found = outcome_of(NOUVEAU, *machine(gpus)).findings
    assert [finding.subject for finding in found] == ["0000:01:00.0", "0000:03:00.0"]


def test_passthrough_is_explained_and_not_undone() -> None:
    finding = only(OTHER, kernel(command_line=("quiet", "vfio-pci.ids=10de:2204,10de:1aef")))
    assert "held by vfio-pci" in finding.summary
    assert "/proc/cmdline: vfio-pci.ids=10de:2204,10de:1aef" in text_of(finding)
    assert finding.remedy.startswith("Nothing, if it is meant for a virtual machine.")
    assert outcome_of(OTHER, *machine(*TAKEN[OTHER])).check.severity is Severity.WARNING


def test_passthrough_by_modprobe() -> None:
    line = ModprobeLine("/etc/modprobe.d/vfio.conf", "options", "vfio_pci", "ids=10de:2204")
    finding = only(OTHER, ModprobeConfig((line,), ""))
    assert "/etc/modprobe.d/vfio.conf: options vfio_pci ids=10de:2204" in text_of(finding)
    assert "setting in /etc/modprobe.d/vfio.conf" in finding.remedy


def test_anothers_passthrough_is_no_evidence() -> None:
    finding = only(OTHER, kernel(command_line=("vfio-pci.ids=10de:9999",)))
    assert "9999" not in text_of(finding)


@pytest.mark.parametrize(
    ("line", "text", "remedy"),
    [
        (
            blacklist("nvidia"),
            "/etc/modprobe.d/local.conf: blacklist nvidia",
            "Remove the line `blacklist nvidia` from",
        ),
        (
            ModprobeLine("/lib/modprobe.d/off.conf", "install", "nvidia", "/bin/false"),
            "/lib/modprobe.d/off.conf: install nvidia /bin/false",
            f"update-initramfs -u -k {OLD}",
        ),
        (
            blacklist("nvidia", "/proc/cmdline", "module_blacklist"),
            "/proc/cmdline: module_blacklist=nvidia",
            "command line",
        ),
    ],
)
def test_forbidden_by_a_line(line: ModprobeLine, text: str, remedy: str) -> None:
    finding = only(FORBIDDEN, ModprobeConfig((line,), ""))
    assert text in text_of(finding)
    assert remedy in finding.remedy


def test_forbidden_by_prime_select() -> None:
    finding = only(FORBIDDEN, UBUNTU, ModprobeConfig((blacklist("nvidia"),), "off"))
    assert "/etc/prime-discrete: off" in text_of(finding)
    assert "prime-select on-demand" in finding.remedy


@pytest.mark.parametrize(
    "facts",
    [
        (versions(BEFORE, BEFORE, BEFORE), PciGpus((gpu(),))),  # it is loaded all the same
        (PciGpus(()),),
        (PciGpus((gpu("vfio-pci"),)),),
        (ModprobeConfig((blacklist("nouveau"),), "on"),),
        (versions("", "", BEFORE),),  # nothing there that could be loaded
    ],
)
def test_not_forbidden(facts: tuple[object, ...]) -> None:
    assert outcome_of(FORBIDDEN, *machine(*TAKEN[FORBIDDEN], *facts)).status is Status.OK


def test_not_loaded_and_nobody_knows_why() -> None:
    finding = only(NOT_LOADED)
    assert f"module {BEFORE} is on the disk and is not loaded" in finding.summary
    assert "/proc/modules: no nvidia" in text_of(finding)
    assert "modprobe nvidia" in finding.remedy


def test_not_loaded_quotes_the_log() -> None:
    line = "NVRM: No NVIDIA GPU found."
    finding = only(NOT_LOADED, KernelLog((line,), "dmesg"))
    assert f"the kernel's log says: {line}" in finding.summary
    assert f"dmesg: {line}" in text_of(finding)


def test_not_loaded_because_built_for_another_kernel() -> None:
    finding = only(NOT_LOADED, ModuleFiles((module(OLD, vermagic=f"{NEW} SMP preempt mod_unload"),)))
    assert f"built for kernel {NEW}" in finding.summary
    assert f"Build the module again for {OLD}" in finding.remedy


def test_a_module_of_a_sibling_kernel_is_usual_where_kernels_keep_their_interface() -> None:
    weak = module(OLD, origin="weak-updates", vermagic=f"{NEW} SMP preempt mod_unload")
    assert "built for kernel" not in only(NOT_LOADED, ModuleFiles((weak,))).summary


def test_not_loaded_because_of_other_symbols() -> None:
    line = "nvidia: disagrees about version of symbol module_layout"
    assert "Build the module again" in only(NOT_LOADED, KernelLog((line,), "dmesg")).remedy


@pytest.mark.parametrize("owner", ["nouveau", "vfio-pci"])
def test_a_gpu_that_another_driver_holds_is_that_checks(owner: str) -> None:
    assert outcome_of(NOT_LOADED, *machine(PciGpus((gpu(owner),)), UNLOADED)).status is Status.OK
