"""The module in memory and the libraries on the disk are of different versions."""

import pytest
from gpu_machines import (
    DOCKER,
    FOLDER,
    NEW,
    OLD,
    WSL,
    answer,
    cuda,
    evidence_of,
    explained,
    finding,
    ids_for,
    libraries,
    loaded,
    nvml,
    status,
    upgraded,
    versions,
)

from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.processes import DeviceUsers, StaleProcess
from gpudoctor.facts.system import Boot, Kernel
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.findings import Status

MISMATCH, STALE = "driver.library-mismatch", "driver.deleted-libraries-in-use"

REFUSED = nvml(code=18, name="NVML_ERROR_LIB_RM_VERSION_MISMATCH")
PENDING = (versions(loaded=OLD), loaded(OLD))  # user space and the module on disk are new, the one in memory is old


@pytest.mark.parametrize("check", [MISMATCH, STALE])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check) is Status.OK


# driver.library-mismatch


def test_upgrade_under_a_running_module() -> None:
    found = finding(MISMATCH, *PENDING, REFUSED, cuda(999), upgraded())
    assert found.summary == (
        f"The driver in memory is {OLD}, its libraries are {NEW}: an upgrade on 2026-11-22 06:50:11 by "
        "`/usr/bin/unattended-upgrade` has replaced the files, the old module is still loaded."
    )
    assert found.subject == f"{FOLDER}/libcuda.so.{NEW}"
    told = evidence_of(found)
    assert f"/proc/driver/nvidia/version: {OLD}" in told
    assert f"{FOLDER}/libcuda.so.{NEW}: {NEW}" in told
    assert f"updates/dkms/nvidia.ko: {NEW}" in told
    assert "NVML: 18 NVML_ERROR_LIB_RM_VERSION_MISMATCH" in told
    assert "/var/log/apt/history.log: 2026-11-22 06:50:11 /usr/bin/unattended-upgrade: libnvidia-compute-580" in told
    assert found.remedy.startswith("Reboot; or, if nothing uses the GPU, reload the module (`gpudoctor fix --dry-run`")


def test_mismatch_is_told_when_nvml_hangs_and_no_log_is_left() -> None:
    found = finding(MISMATCH, *PENDING, without=(Nvml, Cuda, PackageHistory, Boot))
    assert f"its libraries are {NEW}: an upgrade has replaced the files" in found.summary


@pytest.mark.parametrize(
    "disk",
    [versions(loaded=OLD, on_disk=OLD), versions(loaded=OLD, on_disk="")],
    ids=["old module on the disk", "no module on the disk"],
)
def test_stale_module_is_another_check_unless_nvml_refuses(disk: DriverVersions) -> None:
    assert status(MISMATCH, disk, loaded(OLD), without=(Nvml, Cuda)) is Status.OK
    found = finding(MISMATCH, disk, loaded(OLD), REFUSED)
    assert "a restart alone would bring the old module back" in found.summary
    assert "kernel.module-stale" in found.remedy


def test_refused_library_that_comes_first_by_a_search_path() -> None:
    found = finding(MISMATCH, nvml(code=18, name="MISMATCH", path="/opt/conda/lib/libnvidia-ml.so.470.256.02"))
    assert found.subject == "/opt/conda/lib/libnvidia-ml.so.470.256.02"
    assert "programs load /opt/conda/lib/libnvidia-ml.so.470.256.02" in found.summary
    assert "LD_LIBRARY_PATH" in found.summary
    assert found.remedy.startswith("Take /opt/conda/lib out of LD_LIBRARY_PATH")
    assert "eboot" not in found.remedy


def test_only_the_other_library_is_of_another_version() -> None:
    own = DriverLibraries((*libraries(NEW, "libcuda.so.1").libraries, *libraries(OLD, "libnvidia-ml.so.1").libraries))
    found = finding(MISMATCH, own, nvml(code=18, name="MISMATCH", path=f"{FOLDER}/libnvidia-ml.so.{OLD}"))
    assert found.summary == f"The driver in memory is {NEW}, its library libnvidia-ml is {OLD}."


def test_forward_compatibility_is_no_mismatch() -> None:
    path = "/usr/local/cuda-13.0/compat/libcuda.so.580.95.05"
    assert status(MISMATCH, versions(loaded="535.261.03", on_disk="535.261.03", user_space_path=path)) is Status.OK


def test_what_works_is_no_mismatch() -> None:
    assert status(MISMATCH, *PENDING, nvml(answer()), cuda()) is Status.OK


def test_container_with_other_libraries_than_the_hosts_driver() -> None:
    facts = (DOCKER, versions(loaded=OLD, on_disk="", packaged="", packaged_name=""), loaded(OLD), REFUSED)
    mounted = finding(MISMATCH, *facts)
    assert mounted.summary.startswith(f"The host's driver is {OLD}, the libraries in this container are {NEW}.")
    assert "Restart the container" in mounted.remedy
    assert "on the host" in mounted.remedy
    baked = finding(MISMATCH, *facts, versions(loaded=OLD, on_disk=""))
    assert "The image brings driver libraries of its own (libnvidia-compute-580" in baked.remedy


def test_mismatch_is_not_asked_for_where_it_makes_no_sense() -> None:
    assert status(MISMATCH, *PENDING, WSL) is Status.SKIPPED
    assert status(MISMATCH, Kernel("", False, None, ()), without=(LoadedDriver,)) is Status.UNKNOWN


def test_mismatch_needs_the_versions() -> None:
    assert status(MISMATCH, without=(DriverVersions,)) is Status.UNKNOWN


def test_everything_that_follows_is_one_finding() -> None:
    explains = explained(*PENDING, REFUSED, cuda(999), upgraded(), ExpectedGpus(1))
    assert list(explains) == [MISMATCH]
    assert {"driver.nvml-failed", "driver.cuda-init-failed", "gpu.count-unexpected"} <= set(explains[MISMATCH])


def test_little_is_enough() -> None:
    """A machine of which little is known still gets its verdict from files."""
    assert status(MISMATCH, without=(Nvml, Cuda, PackageHistory, Boot)) is Status.OK
    assert status(MISMATCH, without=(ModuleFiles,)) is Status.UNKNOWN


# driver.deleted-libraries-in-use


def test_programs_with_deleted_libraries() -> None:
    path = f"{FOLDER}/libcuda.so.{OLD}"
    stale = tuple(StaleProcess(4711 + number, 1000, "python3", (path,)) for number in range(5))
    found = finding(STALE, DeviceUsers((), stale, 0))
    assert found.summary.startswith(
        "5 running programs use driver libraries that an upgrade has deleted: python3 (4711)"
    )
    assert found.summary.endswith("and 2 more.")
    assert f"/proc/4711/maps: {path} (deleted)" in evidence_of(found)
    assert "Restart these programs" in found.remedy


def test_processes_that_nobody_may_look_into_are_not_called_fine() -> None:
    assert status(STALE, DeviceUsers((), (), 12)) is Status.UNKNOWN
    assert status(STALE, DeviceUsers((), (), 12), loaded("")) is Status.OK
    assert status(STALE, without=(DeviceUsers,)) is Status.UNKNOWN


# symptoms


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch", MISMATCH),
        ("NVML library version: 550.90", MISMATCH),
        (
            "NVRM: API mismatch: the client 'nvidia-smi' (pid 4711) has the version 580.95.05, but this kernel module "
            "has the version 580.82.07.",
            MISMATCH,
        ),
    ],
)
def test_message_belongs_to_one_check(message: str, check: str) -> None:
    assert ids_for(message) == [check]
