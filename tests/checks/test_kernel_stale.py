"""The table of four versions, row by row: what is wrong, and who may say so."""

import outcomes
import pytest
from kernel_machines import (
    AFTER,
    BEFORE,
    BOOTED,
    CONTAINER,
    OLD,
    UBUNTU,
    WSL,
    built,
    cuda,
    dkms,
    driver,
    gpu,
    kernel,
    machine,
    module,
    nvml,
    upgrade,
    versions,
)

from gpudoctor import Severity
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.dkms import Dkms, DkmsSource
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.findings import Finding, Status
from gpudoctor.testing import outcome_of

STALE, MISMATCH, MISSING, NOT_LOADED = (
    "kernel.module-stale",
    "driver.library-mismatch",
    "kernel.module-missing",
    "kernel.module-not-loaded",
)
FAILS = (nvml(18), cuda(803))


def files(*modules: object) -> ModuleFiles:
    return ModuleFiles(modules)  # type: ignore[arg-type]


def machine_with(loaded: str, on_disk: str, user_space: str, *changes: object) -> tuple[object, ...]:
    """A machine whose module was built after it was started, so that a reboot would load it."""
    found = files(module(OLD, on_disk, modified=BOOTED + 60)) if on_disk else files()
    return machine(*FAILS, versions(loaded, on_disk, user_space), found, *changes)


def only(*facts: object) -> Finding:
    return outcomes.only(STALE, *facts)


# Loaded, on disk, user space; the check that says so; words of its remedy.
ROWS = [
    (BEFORE, AFTER, AFTER, MISMATCH, "eboot"),
    (BEFORE, BEFORE, AFTER, STALE, "Rebuild"),
    (BEFORE, "535.1.1", AFTER, STALE, "Rebuild"),
    (BEFORE, "", AFTER, STALE, "Rebuild"),
    (AFTER, AFTER, BEFORE, STALE, "User space is behind"),
    ("", "", BEFORE, MISSING, "dkms autoinstall"),
    ("", BEFORE, BEFORE, NOT_LOADED, "modprobe nvidia"),
]


@pytest.mark.parametrize(("loaded", "on_disk", "user_space", "claims", "word"), ROWS)
def test_each_row_has_one_diagnosis_and_its_own_remedy(
    loaded: str, on_disk: str, user_space: str, claims: str, word: str
) -> None:
    facts = machine_with(
        *(loaded, on_disk, user_space, driver(loaded), PciGpus((gpu("nvidia" if loaded else ""),))),
        *(dkms(version=on_disk or "535.1.1"), nvml(0 if loaded else 9)),  # not NVML's 18: the versions alone decide
    )
    found = {
        id: outcome.findings
        for id in (STALE, MISMATCH, MISSING, NOT_LOADED)
        if (outcome := outcome_of(id, *facts)).status is Status.FOUND
    }
    assert list(found) == [claims]
    assert word in found[claims][0].remedy


def test_an_older_module_on_disk_names_the_dkms_commands() -> None:
    sources = Dkms(
        True,
        (
            DkmsSource("nvidia-current", BEFORE, True, (built(OLD),)),
            DkmsSource("nvidia-current", AFTER, True, ()),
        ),
    )
    finding = only(*machine_with(BEFORE, BEFORE, AFTER, sources))
    assert (finding.subject, finding.severity) == (OLD, None)
    assert f"on disk for kernel {OLD} is {BEFORE}, user space is {AFTER}" in finding.summary
    assert "a reboot alone will not help" in finding.summary
    assert f"dkms remove nvidia-current/{BEFORE} --all" in finding.remedy
    assert f"dkms install --force nvidia-current/{AFTER} -k {OLD}" in finding.remedy
    assert finding.remedy.endswith("then reboot.")
    assert {evidence.value for evidence in finding.evidence} >= {BEFORE, AFTER}


def test_no_module_on_disk_says_so() -> None:
    finding = only(*machine_with(BEFORE, "", AFTER))
    assert f"no module for kernel {OLD} on the disk" in finding.summary
    assert f"Rebuild or install the kernel module in version {AFTER}" in finding.remedy


def test_a_foreign_library_is_not_the_modules_fault() -> None:
    strange = versions(BEFORE, BEFORE, AFTER, packaged=BEFORE, user_space_path="/usr/local/lib/libcuda.so." + AFTER)
    finding = only(*machine_with(BEFORE, BEFORE, AFTER, strange))
    assert "/usr/local/lib/libcuda.so." in finding.remedy
    assert f"bring user space to {BEFORE}" in finding.remedy


BUILT_BEFORE_BOOT = module(OLD, AFTER, modified=BOOTED - 60)


def test_an_older_copy_in_the_initramfs() -> None:
    finding = only(*machine_with(BEFORE, AFTER, AFTER, files(BUILT_BEFORE_BOOT)))
    assert "an older copy is loaded at boot" in finding.summary
    assert f"update-initramfs -u -k {OLD}" in finding.remedy
    assert finding.remedy.endswith("then reboot.")
    assert any(evidence.source == f"/boot/initrd.img-{OLD}" for evidence in finding.evidence)


def test_an_older_second_file() -> None:
    second = module(OLD, BEFORE, "extra")
    finding = only(*machine_with(BEFORE, AFTER, AFTER, files(BUILT_BEFORE_BOOT, second)))
    assert any((evidence.source, evidence.value) == (second.path, BEFORE) for evidence in finding.evidence)
    assert f"Remove the older module {second.path}" in finding.remedy


@pytest.mark.parametrize(("days_before_boot", "claims"), [(2.0, STALE), (0.1, MISMATCH), (-1.0, MISMATCH)])
def test_a_packaged_module_bears_no_true_time_so_the_log_decides(days_before_boot: float, claims: str) -> None:
    event = upgrade("libnvidia-compute-535", AFTER, old=BEFORE, time=BOOTED - days_before_boot * 86400)
    facts = machine(
        *(UBUNTU, *FAILS, versions(BEFORE, AFTER, AFTER), Dkms(False, ()), PackageHistory((event,)), nvml(0)),
        files(module(OLD, AFTER, "prebuilt", modified=BOOTED - 400 * 86400)),
    )
    assert [id for id in (STALE, MISMATCH) if outcome_of(id, *facts).status is Status.FOUND] == [claims]


@pytest.mark.parametrize("on_disk", ["", BEFORE])
def test_another_kernel_that_boots_next_and_fits_wants_but_a_reboot(on_disk: str) -> None:
    facts = machine_with(BEFORE, on_disk, AFTER, versions(BEFORE, on_disk, AFTER, next_boot=AFTER), nvml(0))
    assert [id for id in (STALE, MISMATCH) if outcome_of(id, *facts).status is Status.FOUND] == [MISMATCH]


def test_a_module_that_the_next_boot_would_load_is_a_warning() -> None:
    finding = only(*machine(versions(AFTER, BEFORE, AFTER), files(module(OLD, BEFORE))))
    assert finding.severity is Severity.WARNING
    assert "until the next reboot" in finding.summary


def test_a_disk_whose_module_does_not_fit() -> None:
    finding = only(*machine(kernel(OLD, running=False), versions("", BEFORE, AFTER), unknown=(Nvml,)))
    assert f"is {BEFORE}, user space is {AFTER}" in finding.summary


@pytest.mark.parametrize(
    "facts",
    [
        machine(),
        machine(kernel(OLD, running=False), versions("", BEFORE, BEFORE)),
        machine(versions(BEFORE, BEFORE, "")),
        machine(versions(BEFORE, BEFORE, AFTER), nvml(0), cuda(0)),  # it answers, whatever the files say
        machine(*FAILS, versions(BEFORE, BEFORE, AFTER, user_space_path="/usr/local/cuda-13.0/compat/libcuda.so.1")),
    ],
)
def test_fine(facts: tuple[object, ...]) -> None:
    assert outcome_of(STALE, *facts).status is Status.OK


def test_unknown_without_the_versions() -> None:
    assert outcome_of(STALE, *machine(*FAILS, unknown=(DriverVersions, DriverLibraries))).status is Status.UNKNOWN


def test_known_without_asking_the_driver() -> None:
    facts = machine(versions(BEFORE, BEFORE, AFTER), unknown=(Nvml, Cuda))
    assert outcome_of(STALE, *facts).status is Status.FOUND


@pytest.mark.parametrize("confinement", [CONTAINER, WSL])
def test_not_applicable_where_the_driver_is_somebody_elses(confinement: object) -> None:
    assert outcome_of(STALE, *machine_with(BEFORE, BEFORE, AFTER, confinement)).status is Status.SKIPPED
