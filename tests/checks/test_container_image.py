"""What an image brings against the host's driver: driver libraries of its own, and the CUDA it asks for."""

import re

import pytest
from container_texts import LIBRARIES
from gpu_machines import DOCKER, cuda, evidence_of, facts, finding, libraries, loaded, nvml, outcome, status, versions

from gpudoctor import Severity
from gpudoctor.diagnose import diagnose
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.container import Cgroups, ContainerMounts
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Status
from gpudoctor.registry import registry

BAKED, REQUIRES = "container.driver-baked-in", "container.requires-newer-driver"
IMAGE = "550.120"  # of the package in the image
MISMATCH = nvml(code=18, name="NVML_ERROR_LIB_RM_VERSION_MISMATCH")
NO_CUDA = cuda(803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH")
OWN = versions(user_space=IMAGE, packaged=IMAGE, packaged_name="libnvidia-compute-550")
UNPACKAGED = versions(user_space=IMAGE, packaged="", packaged_name="")
NOTHING_MOUNTED = ContainerMounts(True, (), None, Cgroups(2, True))
NOT_TOLD = NOTHING_MOUNTED._replace(told=False)
BROKEN = (DOCKER, libraries(IMAGE), MISMATCH, NO_CUDA)


def mounted(version: str) -> ContainerMounts:
    return NOTHING_MOUNTED._replace(
        driver_files=tuple(f"{LIBRARIES}/{name}.so.{version}" for name in ("libcuda", "libnvidia-ml"))
    )


def test_the_image_has_libraries_of_another_version() -> None:
    found = finding(BAKED, *BROKEN, OWN, NOTHING_MOUNTED)
    assert found.summary == (
        "The image brings driver libraries 550.120 of its own (package libnvidia-compute-550 550.120), and the host's "
        "driver is 580.95.05."
    )
    assert found.subject == f"{LIBRARIES}/libcuda.so.550.120"
    assert "not mounted from the host" in evidence_of(found)
    assert "Rebuild the image without driver packages" in found.remedy


def test_libraries_beside_those_of_the_host_that_programs_find_first() -> None:
    assert "550.120" in finding(BAKED, *BROKEN, OWN, mounted("580.95.05")).summary


def test_copied_by_hand_into_the_image() -> None:
    found = finding(BAKED, *BROKEN, UNPACKAGED, NOTHING_MOUNTED)
    assert "package" not in found.summary


def test_a_package_of_the_image_tells_where_the_mounts_are_not_known() -> None:
    assert "mountinfo" not in evidence_of(finding(BAKED, *BROKEN, OWN, NOT_TOLD))


def test_unknown_where_neither_mounts_nor_packages_tell() -> None:
    found = outcome(BAKED, *BROKEN, UNPACKAGED, NOT_TOLD)
    assert found.status is Status.UNKNOWN
    assert not found.matters


def test_libraries_of_a_host_that_was_upgraded_since_are_not_the_images() -> None:
    assert status(BAKED, *BROKEN, UNPACKAGED, mounted(IMAGE)) is Status.OK


def test_forward_compatibility_libraries_may_be_in_an_image() -> None:
    (library,) = libraries(IMAGE, "libcuda.so.1").libraries
    compat = library._replace(real_path="/usr/local/cuda-12.4/compat/libcuda.so.550.120")
    assert status(BAKED, *BROKEN[2:], DOCKER, DriverLibraries((compat,)), UNPACKAGED, NOTHING_MOUNTED) is Status.OK


def test_what_works_is_good_to_know_and_no_more() -> None:
    found = finding(BAKED, DOCKER, OWN, mounted("580.95.05"))
    assert found.severity is Severity.INFO
    assert "it works, until" in found.summary


def test_fine_with_the_libraries_of_the_host() -> None:
    assert status(BAKED, DOCKER, UNPACKAGED, mounted("580.95.05")) is Status.OK


def test_fine_with_libraries_of_the_same_version() -> None:
    assert status(BAKED, DOCKER, MISMATCH, NOTHING_MOUNTED) is Status.OK


def test_a_guest_of_lxc_has_a_driver_package_of_its_own() -> None:
    guest = Confinement("lxc", False)
    assert status(BAKED, guest, *BROKEN[1:], OWN, NOTHING_MOUNTED) is Status.OK


def test_without_a_driver_on_the_host_the_image_is_not_to_blame() -> None:
    assert status(BAKED, *BROKEN, OWN, NOTHING_MOUNTED, loaded("")) is Status.OK


@pytest.mark.parametrize("check", [BAKED, REQUIRES])
def test_not_applicable_outside_of_containers(check: str) -> None:
    here = (Environment({"NVIDIA_REQUIRE_CUDA": "cuda>=13.0"}, ()), NOTHING_MOUNTED)
    assert status(check, *here, without=(LoadedDriver, Nvml, Cuda)) is Status.SKIPPED


def test_it_explains_the_mismatch() -> None:
    known = facts(*BROKEN, OWN, NOTHING_MOUNTED, Environment({}, ()))
    ids = (BAKED, "driver.library-mismatch", "driver.nvml-failed", "driver.cuda-init-failed")
    report = diagnose(known, [registry.checks[id] for id in ids])
    assert [ranked.check.id for ranked in report.findings] == [BAKED]
    assert set(report.findings[0].explains) == set(ids[1:])


# container.requires-newer-driver

# As in images of NVIDIA's: alternatives for branches on which their forward compatibility libraries work.
CUDA_12_9 = (
    "cuda>=12.9 brand=unknown,driver>=535,driver<536 brand=grid,driver>=535,driver<536 "
    "brand=tesla,driver>=535,driver<536 brand=tesla,driver>=550,driver<551 brand=cloudgaming,driver>=565,driver<566"
)


def asking(require: str, **more: str) -> Environment:
    return Environment({"NVIDIA_REQUIRE_CUDA": require, **more}, ())


def served(version: int, code: int = 0) -> Cuda:
    return cuda(code)._replace(driver_version=version)


def test_the_image_is_for_a_newer_cuda() -> None:
    found = finding(REQUIRES, DOCKER, loaded("570.195.03"), served(12080), asking("cuda>=13.0 brand=tesla,driver<536"))
    assert found.summary == (
        "The image asks for CUDA 13.0, and the host's driver 570.195.03 serves CUDA 12.8: its programs cannot start."
    )
    assert found.severity is None
    assert registry.checks[REQUIRES].severity is Severity.WARNING
    assert "libcuda: CUDA 12.8" in evidence_of(found)
    assert "update the driver of the host" in found.remedy


def test_within_one_major_most_programs_run() -> None:
    found = finding(REQUIRES, DOCKER, loaded("560.35.03"), served(12060), asking(CUDA_12_9))
    assert found.severity is Severity.INFO
    assert "run all the same" in found.summary
    assert len(evidence_of(found)) < 300


@pytest.mark.parametrize("value", ["1", "true"])
def test_waived_within_one_major(value: str) -> None:
    said = asking(CUDA_12_9, NVIDIA_DISABLE_REQUIRE=value)
    assert status(REQUIRES, DOCKER, loaded("560.35.03"), served(12060), said) is Status.OK


def test_a_waiver_does_not_make_an_old_driver_newer() -> None:
    said = asking("cuda>=13.0", NVIDIA_DISABLE_REQUIRE="true")
    assert finding(REQUIRES, DOCKER, loaded("570.195.03"), served(12080), said)


@pytest.mark.parametrize(
    ("require", "version"),
    [
        ("cuda>=12.8", 12080),
        ("cuda>=12.8.1", 12080),
        (CUDA_12_9, 12090),  # forward compatibility libraries of the image are at work
        ("cuda>=13.0 driver>=570,driver<571", 12080),
        ("cuda>=9.0 arch>=7.5", 12080),
        ("driver>=999", 12080),  # says nothing of CUDA
        ("nonsense ,, >= cuda", 12080),
        (f"cuda>={'9' * 5000}.0", 12080),
    ],
)
def test_met(require: str, version: int) -> None:
    assert status(REQUIRES, DOCKER, loaded("570.195.03"), served(version), asking(require)) is Status.OK


def test_nothing_is_asked_for() -> None:
    assert status(REQUIRES, DOCKER, Environment({"CUDA_VERSION": "13.0"}, ())) is Status.OK


def test_the_branch_tells_where_the_driver_does_not_answer() -> None:
    silent = {"without": (Nvml, Cuda)}
    found = finding(REQUIRES, DOCKER, loaded("470.256.02"), asking("cuda>=12.9"), **silent)  # type: ignore[arg-type]
    assert "the table of driver branches: CUDA 11.4" in evidence_of(found)
    newer = outcome(REQUIRES, DOCKER, loaded("999.10"), asking("cuda>=99.0"), **silent)  # type: ignore[arg-type]
    assert newer.status is Status.UNKNOWN
    # Of which brand the GPU is nobody could tell.
    older = outcome(REQUIRES, DOCKER, loaded("550.120"), asking(CUDA_12_9), **silent)  # type: ignore[arg-type]
    assert older.status is Status.UNKNOWN


def test_the_variables_must_be_known() -> None:
    assert status(REQUIRES, DOCKER, without=(Environment,)) is Status.UNKNOWN
    unread = outcome(REQUIRES, DOCKER, Environment({}, (), unknown="/proc/self/environ: Permission denied"))
    assert unread.status is Status.UNKNOWN
    assert not unread.matters


@pytest.mark.parametrize(
    "message",
    [
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=11.0, please update your driver to a "
        "newer version, or use an earlier cuda container: unknown.",
        "nvidia-container-cli: requirement error: unsatisfied condition: brand = tesla",
        "ERROR: This container was built for NVIDIA Driver Release 510.39 or later, but\n"
        "       version 470.82.01 was detected and compatibility mode is UNAVAILABLE.",
    ],
)
def test_messages(message: str) -> None:
    assert any(re.search(pattern, message) for pattern in registry.checks[REQUIRES].symptoms)
