"""Is there a driver, with the libraries that programs open?"""

import pytest
from gpu_machines import (
    ADDRESS,
    BLACKWELL,
    DEBIAN,
    DOCKER,
    NEW,
    PASCAL,
    WSL,
    cuda,
    evidence_of,
    finding,
    gpu,
    ids_for,
    libraries,
    loaded,
    modules_on_disk,
    nvml,
    status,
)

from gpudoctor import Severity
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverWanted
from gpudoctor.findings import Status

NOT_INSTALLED, MISSING = "driver.not-installed", "driver.library-missing"

BARE = (DriverWanted(()), loaded(""), modules_on_disk(""), DriverLibraries(()))


@pytest.mark.parametrize("check", [NOT_INSTALLED, MISSING])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check) is Status.OK


# driver.not-installed


def test_gpu_without_any_driver() -> None:
    found = finding(NOT_INSTALLED, PciGpus((gpu(BLACKWELL, driver="nouveau"),)), *BARE)
    assert found.summary == "NVIDIA GeForce RTX 5090 Laptop GPU: the GPU is there, and no NVIDIA driver is installed."
    assert found.subject == ADDRESS
    assert "driver: nouveau" in evidence_of(found)
    assert "ubuntu-drivers install" in found.remedy
    assert "the open kernel modules, release 570.86.16 or later" in found.remedy


@pytest.mark.parametrize(
    ("release", "headers"),
    [
        ("6.1.0-50-amd64", "linux-headers-amd64"),
        ("6.1.0-50-cloud-amd64", "linux-headers-cloud-amd64"),
        ("6.1.0-50-arm64", "linux-headers-arm64"),
    ],
)
def test_the_headers_are_those_of_this_kernel(release: str, headers: str) -> None:
    found = finding(NOT_INSTALLED, PciGpus((gpu(),)), DEBIAN, Kernel(release, True, None, ()), *BARE)
    assert f"`apt install {headers} nvidia-driver`" in found.remedy


@pytest.mark.parametrize(
    ("system", "device", "told"),
    [
        (OperatingSystem("kali", "2025.3", "Kali", "debian", ("debian",)), BLACKWELL, "`apt install linux-headers-"),
        (OperatingSystem("pop", "24.04", "Pop!_OS", "debian", ("ubuntu", "debian")), BLACKWELL, "ubuntu-drivers"),
        (OperatingSystem("fedora", "42", "Fedora", "fedora"), BLACKWELL, "`dnf install akmod-nvidia xorg-x11-drv"),
        (OperatingSystem("fedora", "42", "Fedora", "fedora"), PASCAL, "`dnf install akmod-nvidia-580xx xorg-x11-drv"),
        (OperatingSystem("bazzite", "42", "Bazzite", "fedora", ("fedora",), True), BLACKWELL, "`rpm-ostree install "),
        (OperatingSystem("rocky", "9.6", "Rocky", "fedora"), BLACKWELL, "nvidia-driver:open-dkms`, then `dnf install"),
        (OperatingSystem("rocky", "9.6", "Rocky", "fedora"), PASCAL, "nvidia-driver:580-dkms`, then `dnf install cuda"),
        (OperatingSystem("amzn", "2023", "Amazon Linux", "fedora"), BLACKWELL, "from NVIDIA's repository: `dnf module"),
        (
            OperatingSystem("rhel", "10.0", "RHEL", "fedora"),
            BLACKWELL,
            "from NVIDIA's repository: `dnf install nvidia-",
        ),
        (OperatingSystem("arch", "", "Arch", "arch"), BLACKWELL, "`pacman -Syu nvidia-open nvidia-utils`"),
        (OperatingSystem("arch", "", "Arch", "arch"), PASCAL, "`nvidia-580xx-dkms` of the AUR"),
        (OperatingSystem("nixos", "25.05", "NixOS", ""), BLACKWELL, "`hardware.nvidia.open`"),
        (OperatingSystem("cos", "121", "Container-Optimized OS", ""), BLACKWELL, "`cos-extensions install gpu`"),
        (OperatingSystem("gentoo", "", "Gentoo", ""), BLACKWELL, "packages of your distribution; then restart."),
    ],
    ids=lambda value: value.id if isinstance(value, OperatingSystem) else None,
)
def test_each_distribution_has_its_own_way_to_a_driver(system: OperatingSystem, device: str, told: str) -> None:
    found = finding(NOT_INSTALLED, PciGpus((gpu(device),)), system, *BARE)
    assert told in found.remedy
    assert ("RPM Fusion" in found.remedy) is (system.id in ("fedora", "bazzite"))


def test_a_gpu_for_the_screen_alone_needs_no_driver() -> None:
    nouveau = PciGpus((gpu(driver="nouveau"),))
    assert "--expect-gpus 0" in finding(NOT_INSTALLED, nouveau, *BARE).remedy
    assert status(NOT_INSTALLED, nouveau, *BARE, ExpectedGpus(0)) is Status.OK


def test_two_gpus_that_no_single_driver_serves() -> None:
    both = PciGpus((gpu(BLACKWELL), gpu(PASCAL, "0000:02:00.0")))
    assert "No single driver serves all GPUs" in finding(NOT_INSTALLED, both, DEBIAN, *BARE).remedy


@pytest.mark.parametrize(
    "sign",
    [DriverWanted(("package nvidia-driver",)), loaded(), libraries(), modules_on_disk()],
    ids=lambda s: type(s).__name__,
)
def test_any_sign_of_a_driver_is_a_driver(sign: object) -> None:
    assert status(NOT_INSTALLED, *BARE, sign) is Status.OK


@pytest.mark.parametrize("gpus", [PciGpus(()), PciGpus((gpu(driver="vfio-pci"),))], ids=["no GPU", "all for machines"])
def test_no_gpu_of_its_own_needs_no_driver(gpus: PciGpus) -> None:
    assert status(NOT_INSTALLED, *BARE, gpus) is Status.OK


@pytest.mark.parametrize("place", [DOCKER, WSL])
def test_driver_of_somebody_else(place: object) -> None:
    assert status(NOT_INSTALLED, *BARE, place) is Status.SKIPPED


def test_not_installed_needs_the_bus() -> None:
    assert status(NOT_INSTALLED, *BARE, without=(PciGpus,)) is Status.UNKNOWN


# driver.library-missing


@pytest.mark.parametrize(
    ("present", "missing", "severity"),
    [("libnvidia-ml.so.1", "libcuda.so.1", Severity.ERROR), ("libcuda.so.1", "libnvidia-ml.so.1", Severity.WARNING)],
)
def test_one_library_is_missing(present: str, missing: str, severity: Severity) -> None:
    answers = (nvml(code=12, path=""), cuda(None, "", "", "libcuda.so.1: cannot open shared object file"))
    found = finding(MISSING, libraries(NEW, present), *answers)
    assert found.summary.startswith(f"Driver {NEW} is loaded, but {missing} cannot be found")
    assert found.severity is severity
    assert found.subject == missing
    assert f"no {missing}" in evidence_of(found)
    assert "libnvidia-compute-580" in found.remedy
    assert NEW in found.remedy


def test_library_that_programs_find_elsewhere_is_not_missing() -> None:
    assert status(MISSING, DriverLibraries(())) is Status.OK


def test_libraries_of_a_container() -> None:
    found = finding(MISSING, DOCKER, DriverLibraries(()), nvml(code=12, path=""), cuda(None, "", "", "not found"))
    assert "--gpus all" in found.remedy
    assert "compute,utility" in found.remedy


def test_library_missing_elsewhere() -> None:
    assert status(MISSING, loaded(""), DriverLibraries(())) is Status.OK
    assert status(MISSING, WSL, DriverLibraries(())) is Status.SKIPPED
    assert status(MISSING, without=(DriverLibraries,)) is Status.UNKNOWN


# symptoms


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("libcuda.so.1: cannot open shared object file: No such file or directory", MISSING),
        ("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", MISSING),
        (
            "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
            NOT_INSTALLED,
        ),
    ],
)
def test_message_belongs_to_one_check(message: str, check: str) -> None:
    assert ids_for(message) == [check]
