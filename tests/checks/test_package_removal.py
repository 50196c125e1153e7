"""Was the driver taken away by the package manager?"""

import re

import pytest
from package_findings import event, finding, history, outcome, proof, status
from package_machines import DEBIAN, FEDORA, HEALTHY, UBUNTU, bookworm, dpkg, package, rpm, ubuntu

from gpudoctor import NotRunning, Severity, Unavailable
from gpudoctor.facts.libraries import DriverLibraries, DriverLibrary
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Status
from gpudoctor.registry import load_plugins, registry

CHECK = "packages.driver-removed"
H200 = PciGpu("0000:19:00.0", "2335", "", "NVIDIA H200", "Hopper", "either", None, "")
GPU, NO_GPU = PciGpus((H200,)), PciGpus(())
NOT_LOADED = LoadedDriver("", "", "", "", {})
LOADED = LoadedDriver("580.95.05", "open", "/proc/driver/nvidia/version", "NVRM version: ...", {})
NO_LIBRARIES, NO_TRACES = DriverLibraries(()), RunfileTraces((), "", "", "")
REST = (GPU, NOT_LOADED, NO_LIBRARIES, NO_TRACES)


def removed(*names: str) -> list[object]:
    """Ubuntu's driver, these packages of it removed with their settings left, the rest purged; tools stay."""
    machine = ubuntu()
    left = [machine[name]._replace(state="removed", conffiles_only=True) for name in names]
    return [*left, machine["nvidia-settings"], machine["nvidia-container-toolkit"], machine["nvidia-prime"]]


@pytest.mark.parametrize("machine", HEALTHY)
def test_healthy_machines_raise_no_alarm(machine: str) -> None:
    system, packages = HEALTHY[machine]
    assert outcome(CHECK, system, packages, *REST).status is Status.OK


def test_an_autoremove_took_it() -> None:
    packages = dpkg(removed("nvidia-driver-580-open", "nvidia-dkms-580-open", "libnvidia-compute-580"))
    took = [
        event(name, "remove", "580.95.05-0ubuntu0.24.04.2", command="apt autoremove -y", when="2026-11-22  06:50:11")
        for name in ("nvidia-driver-580-open", "nvidia-dkms-580-open", "libnvidia-compute-580", "nvidia-settings")
    ]
    found = finding(CHECK, UBUNTU, packages, *REST, history(*took))
    assert "removed on 2026-11-22 06:50:11 by `apt autoremove -y`: nvidia-driver-580-open" in found.summary
    assert found.severity is None
    assert registry.checks[CHECK].severity is Severity.ERROR
    assert "apt autoremove -y: nvidia-driver-580-open" in proof(found)
    assert "libnvidia-compute-580 580.95.05-0ubuntu0.24.04.2 (removed)" in proof(found)
    assert "NVIDIA H200" in proof(found)
    assert "`apt-get install nvidia-driver-580-open`" in found.remedy
    assert "`apt-mark manual nvidia-driver-580-open`" in found.remedy


def test_a_purge_leaves_only_the_history() -> None:
    took = [
        event(name, "purge", "535.261.03-1", command="apt purge nvidia*") for name in ("libcuda1", "nvidia-kernel-dkms")
    ]
    found = finding(CHECK, DEBIAN, dpkg([]), *REST, history(*took))
    assert "by `apt purge nvidia*`" in found.summary
    assert "`apt-get install libcuda1 nvidia-kernel-dkms`" in found.remedy


def test_rpm_tells_it_by_its_history() -> None:
    took = event("akmod-nvidia", "remove", "3:580.95.05-1.fc42", command="dnf autoremove")
    found = finding(CHECK, FEDORA, rpm([package("kernel-core", "6.16.10-200.fc42")]), *REST, history(took))
    assert "`dnf install akmod-nvidia`" in found.remedy
    assert "apt-mark" not in found.remedy


def test_settings_alone_prove_it_too() -> None:
    found = finding(CHECK, UBUNTU, dpkg(removed("nvidia-dkms-580-open", "libnvidia-compute-580")), *REST)
    assert "`apt-get install nvidia-dkms-580-open libnvidia-compute-580`" in found.remedy


def test_settings_of_an_older_branch_are_not_what_was_removed_last() -> None:
    old = package("libnvidia-compute-470", "470.256.02-0ubuntu0.22.04.1", state="removed")
    took = event("libnvidia-compute-580", "remove", "580.95.05-0ubuntu0.24.04.2", command="apt remove libnvidia*")
    found = finding(CHECK, UBUNTU, dpkg([old, *removed("libnvidia-compute-580")]), *REST, history(took))
    assert "470" not in found.summary + found.remedy


def test_firmware_or_programs_alone_are_no_driver() -> None:
    took = [event(name, "purge", "535.261.03-1") for name in ("firmware-nvidia-gsp", "nvidia-smi")]
    assert status(CHECK, DEBIAN, dpkg([]), *REST, history(*took)) is Status.OK
    driver = event("libcuda1", "purge", "535.261.03-1", time=took[0].time - 3600)
    found = finding(CHECK, DEBIAN, dpkg([]), *REST, history(driver, *took))
    assert "`apt-get install libcuda1`" in found.remedy


def test_what_was_installed_again_or_by_another_name_is_fine() -> None:
    left = package("libnvidia-compute-570", "570.195.03-0ubuntu0.24.04.1", state="removed")
    took = event("libnvidia-compute-570", "remove", "570.195.03-0ubuntu0.24.04.1")
    assert status(CHECK, UBUNTU, dpkg([left, *ubuntu().values()]), *REST, history(took)) is Status.OK
    again = event("libcuda1", "remove", "535.261.03-1"), event("libcuda1", "install", "", "535.261.03-1", time=2000.0)
    assert status(CHECK, DEBIAN, dpkg([]), *REST, history(*again)) is Status.OK


def test_a_module_left_in_memory_helps_nobody_but_a_working_driver_does() -> None:
    packages = dpkg(removed("libnvidia-compute-580"))
    path = "/usr/lib/x86_64-linux-gnu/libcuda.so"
    there = DriverLibraries((DriverLibrary("libcuda.so.1", f"{path}.1", f"{path}.580.95.05", "580.95.05", "", 0.0),))
    assert status(CHECK, UBUNTU, packages, GPU, LOADED, NO_LIBRARIES, NO_TRACES) is Status.FOUND
    assert status(CHECK, UBUNTU, packages, GPU, LOADED, there, NO_TRACES) is Status.OK


def test_who_went_over_to_a_runfile_removed_them_on_purpose() -> None:
    traces = RunfileTraces(("/var/lib/nvidia/dirs",), "580.95.05", "", "")
    assert status(CHECK, UBUNTU, dpkg(removed("libnvidia-compute-580")), GPU, NOT_LOADED, traces) is Status.OK


def test_without_a_gpu_nobody_misses_it() -> None:
    packages = dpkg(removed("libnvidia-compute-580"))
    assert status(CHECK, UBUNTU, packages, NO_GPU, NOT_LOADED, NO_TRACES) is Status.OK
    given_away = PciGpus((H200._replace(driver="vfio-pci"),))
    assert status(CHECK, UBUNTU, packages, given_away, NOT_LOADED, NO_TRACES) is Status.OK


def test_on_a_disk_the_gpu_is_not_seen() -> None:
    load_plugins()
    from gpudoctor.diagnose import run_check
    from gpudoctor.registry import Facts
    from gpudoctor.snapshot import SnapshotHost

    disk = NotRunning("the system is not running")
    packages = dpkg(removed("libnvidia-compute-580"))
    known = {PciGpus: disk, LoadedDriver: disk, Packages: packages, Confinement: Confinement("", False)}
    facts = Facts(SnapshotHost({}), {**known, type(UBUNTU): UBUNTU, RunfileTraces: NO_TRACES})
    (found,) = run_check(registry.checks[CHECK], facts).findings
    assert found.severity is Severity.WARNING


def test_never_installed_is_another_finding() -> None:
    assert status(CHECK, DEBIAN, dpkg([package("linux-image-amd64", "6.1.176-1")]), *REST) is Status.OK


def test_where_it_cannot_be_told_or_makes_no_sense() -> None:
    packages = dpkg(removed("libnvidia-compute-580"))
    assert status(CHECK, UBUNTU, *REST, without=(Packages,)) is Status.UNKNOWN
    assert status(CHECK, UBUNTU, packages, GPU, NO_TRACES, without=(LoadedDriver,)) is Status.UNKNOWN
    damaged = packages._replace(damage="/var/lib/dpkg/status: 3 damaged entries")
    assert outcome(CHECK, UBUNTU, damaged, *REST).reason == "/var/lib/dpkg/status: 3 damaged entries"
    assert status(CHECK, UBUNTU, packages, *REST, Confinement("docker", False)) is Status.SKIPPED
    assert status(CHECK, UBUNTU, packages, *REST, Confinement("", True)) is Status.SKIPPED


def test_an_unreadable_history_leaves_the_settings_as_proof() -> None:
    packages = dpkg(removed("libnvidia-compute-580"))
    assert status(CHECK, UBUNTU, packages, *REST, Unavailable("permission denied")) is Status.FOUND
    assert status(CHECK, DEBIAN, dpkg(bookworm().values()), *REST, Unavailable("permission denied")) is Status.OK


@pytest.mark.parametrize(
    "message",
    ["bash: nvidia-smi: command not found", "Command 'nvidia-smi' not found, but can be installed with:"],
)
def test_messages_that_users_see(message: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message, re.IGNORECASE) for pattern in registry.checks[CHECK].symptoms)
