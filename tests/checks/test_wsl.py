"""WSL: a Linux driver in the way of the one of Windows, and a Windows that hands in none."""

import pytest
from gpu_machines import FOLDER, HEALTHY, NEW, WSL, answer, cuda, evidence_of, libraries, log, nodes, nvml

from gpudoctor import Severity, Unavailable
from gpudoctor.diagnose import diagnose, run_check
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.libraries import DriverLibraries, DriverLibrary
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.wsl import WslHost
from gpudoctor.findings import Finding, Outcome, Status
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.snapshot import SnapshotHost

load_plugins()
INSTALLED, OLD = "wsl.linux-driver-installed", "wsl.host-too-old"
KERNEL = "6.6.87.2-microsoft-standard-WSL2"
OF_WINDOWS = "/usr/lib/wsl/lib"
NAMES = ("libcuda.so.1.1", "libcuda.so.1", "libcuda.so", "libdxcore.so", "libnvidia-ml.so.1", "nvidia-smi")
STORE = ("nv_dispi.inf_amd64_0afec3f2050014a0",)
WINDOWS = WslHost(2, KERNEL, True, NAMES, ())
WITHOUT_CUDA = ("libd3d12.so", "libd3d12core.so", "libdxcore.so")
WORKS = (nvml(answer(), path=f"{OF_WINDOWS}/libnvidia-ml.so.1"), cuda(path=f"{OF_WINDOWS}/libcuda.so.1.1"))
FAILS = (nvml(code=17, name="NVML_ERROR_OPERATING_SYSTEM"), cuda(100, "CUDA_ERROR_NO_DEVICE"))
REFUSED = "misc dxg: dxgk: dxgkio_query_adapter_info: Ioctl failed: -2"
NOISE = "misc dxg: dxgk: dxgkio_query_adapter_info: Ioctl failed: -22"


def of_windows() -> DriverLibraries:
    there = (("libcuda.so.1", f"{OF_WINDOWS}/libcuda.so.1.1"), ("libnvidia-ml.so.1", f"{OF_WINDOWS}/libnvidia-ml.so.1"))
    return DriverLibraries(tuple(DriverLibrary(name, path, path, "", "ld.so.cache", 1.0) for name, path in there))


def package(name: str, version: str = "535.230.02-0ubuntu0.24.04.1") -> Package:
    return Package(name, version, "amd64", "installed", False, "Ubuntu")


NO_DRIVER = Packages(
    "dpkg", (package("cuda-toolkit-13-0", "13.0.2-1"), package("nvidia-container-toolkit", "1.18.0-1"))
)
DRIVER = Packages("dpkg", (package("libnvidia-compute-535"), package("nvidia-utils-535"), *NO_DRIVER.packages))


def known(*changes: object, without: tuple[type, ...] = ()) -> Facts:
    facts = (WSL, nodes("none", wsl=True), of_windows(), NO_DRIVER, WINDOWS, log(), *WORKS, *changes)
    unknown = dict.fromkeys(without, Unavailable("not told"))
    return Facts(SnapshotHost({}), {**HEALTHY, **{type(fact): fact for fact in facts}, **unknown})


def outcome(id: str, *changes: object, without: tuple[type, ...] = ()) -> Outcome:
    found = run_check(registry.checks[id], known(*changes, without=without))
    assert found.status is not Status.CRASHED, found.reason
    return found


def finding(id: str, *changes: object, without: tuple[type, ...] = ()) -> Finding:
    [only] = outcome(id, *changes, without=without).findings
    return only


@pytest.mark.parametrize("id", [INSTALLED, OLD])
def test_fine_where_only_the_driver_of_windows_is(id: str) -> None:
    assert outcome(id).status is Status.OK


@pytest.mark.parametrize("id", [INSTALLED, OLD])
@pytest.mark.parametrize("place", [Confinement("", False), Confinement("docker", False), Confinement("docker", True)])
def test_only_a_distribution_in_wsl_is_asked(id: str, place: Confinement) -> None:
    assert outcome(id, place).status is Status.SKIPPED


# wsl.linux-driver-installed


def test_a_linux_library_stands_before_that_of_windows() -> None:
    found = finding(INSTALLED, DRIVER, libraries("535.230.02"), *FAILS)
    assert found.summary == (
        "A Linux driver is installed in WSL, which works only with the driver of Windows: "
        f"{FOLDER}/libcuda.so.535.230.02 stands before the library of Windows."
    )
    assert found.severity is Severity.ERROR
    told = evidence_of(found)
    assert "packages: libnvidia-compute-535 535.230.02-0ubuntu0.24.04.1, nvidia-utils-535" in told
    assert "cuInit: 100 CUDA_ERROR_NO_DEVICE" in told
    assert "Remove these packages and nothing else" in found.remedy
    assert "cuda-toolkit-X-Y" in found.remedy


def test_a_library_that_crashes_is_no_small_matter() -> None:
    assert finding(INSTALLED, libraries(NEW), without=(Nvml, Cuda)).severity is Severity.ERROR


def test_a_linux_driver_that_does_no_harm_yet() -> None:
    assert finding(INSTALLED, DRIVER).severity is Severity.WARNING  # the loader finds Windows's library first
    assert finding(INSTALLED, DRIVER, libraries("535.230.02")).severity is Severity.WARNING  # seen to work


def test_packages_of_a_driver_explain_that_cuda_fails() -> None:
    assert finding(INSTALLED, DRIVER, *FAILS).severity is Severity.ERROR


def test_a_library_of_no_package() -> None:
    found = finding(INSTALLED, libraries(NEW), *FAILS)
    assert found.remedy.startswith("No package brought it: `sudo nvidia-uninstall`")
    assert finding(INSTALLED, libraries(NEW), *FAILS, without=(Packages,)).severity is Severity.ERROR


def test_without_the_list_of_packages_all_that_is_left_is_the_loader() -> None:
    assert outcome(INSTALLED, without=(Packages,)).status is Status.UNKNOWN


def test_a_link_in_the_usual_folder_leads_to_windows() -> None:
    path = f"{OF_WINDOWS}/libcuda.so.1.1"
    linked = DriverLibrary("libcuda.so.1", f"{FOLDER}/libcuda.so.1", path, "", "ld.so.cache", 1.0)
    assert outcome(INSTALLED, DriverLibraries((linked,))).status is Status.OK


# wsl.host-too-old


def test_windows_has_a_driver_without_the_part_for_wsl() -> None:
    found = finding(OLD, WINDOWS._replace(libraries=WITHOUT_CUDA, store=STORE), *FAILS)
    assert found.summary == "The NVIDIA driver of Windows hands no libcuda into WSL."
    assert "/usr/lib/wsl/drivers: nv_dispi.inf_amd64" in evidence_of(found)
    assert "wsl --update" in found.remedy
    assert "wsl --shutdown" in found.remedy


def test_windows_without_a_gpu_of_nvidia() -> None:
    bare = WINDOWS._replace(libraries=WITHOUT_CUDA)
    assert outcome(OLD, bare, *FAILS).status is Status.SKIPPED
    assert outcome(OLD, bare, ExpectedGpus(1), *FAILS).status is Status.FOUND
    assert outcome(OLD, bare, ExpectedGpus(0), *FAILS).status is Status.OK


def test_no_device() -> None:
    found = finding(OLD, WINDOWS._replace(device=False), *FAILS)
    assert found.subject == "/dev/dxg"
    assert "gpuSupport=false" in found.remedy


def test_windows_refuses_and_cuda_does_not_start() -> None:
    found = finding(OLD, log(NOISE, REFUSED, REFUSED), *FAILS)
    told = evidence_of(found)
    assert f"dmesg: {REFUSED} (such lines: 2)" in told
    assert "nvmlInit: 17 NVML_ERROR_OPERATING_SYSTEM" in told
    assert KERNEL in told


def test_the_same_lines_are_noise_where_cuda_works() -> None:
    assert outcome(OLD, log(NOISE, REFUSED)).status is Status.OK
    assert outcome(OLD, log(NOISE), *FAILS).status is Status.OK  # driver.nvml-failed tells it


def test_wsl_1_has_no_gpu() -> None:
    first = WslHost(1, "4.4.0-19041-Microsoft", False, (), ())
    assert outcome(OLD, first, *FAILS).status is Status.SKIPPED
    assert "wsl --set-version NAME 2" in finding(OLD, first, ExpectedGpus(1), *FAILS).remedy


def test_needs_what_windows_hands_in_only_where_cuda_fails() -> None:
    assert outcome(OLD, without=(WslHost,)).status is Status.OK
    assert outcome(OLD, *FAILS, without=(WslHost,)).status is Status.UNKNOWN


def test_they_explain_what_nvml_and_cuda_say() -> None:
    kinds = ("driver.nvml", "driver.cuda-init", "wsl.")
    chosen = [check for id, check in registry.checks.items() if id.startswith(kinds)]
    for change, cause in ((DRIVER, INSTALLED), (log(REFUSED), OLD)):
        [ranked] = diagnose(known(change, *FAILS), chosen).findings
        assert ranked.check.id == cause
        assert {"driver.nvml-failed", "driver.cuda-init-failed"} <= set(ranked.explains)
