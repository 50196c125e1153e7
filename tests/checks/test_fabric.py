"""The switches between GPUs: the fabric manager's version, whether it runs, and what the newest boards need."""

import re
from typing import Any

import pytest
from gpu_machines import DOCKER, NEW, OLD, WSL, answer, cuda, evidence_of, finding, gpu, libraries, loaded, nvml, status
from gpu_machines import facts as machine

from gpudoctor.diagnose import diagnose
from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.fabric import LOG, FabricManager, Nvlink5Board
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.findings import Severity, Status
from gpudoctor.registry import load_plugins, registry

READY, MISMATCH, UNNEEDED, MODULES = (
    "fabric.manager-not-ready",
    "fabric.manager-version-mismatch",
    "fabric.manager-unneeded",
    "fabric.nvlink5-modules-missing",
)
UNIT = "/usr/lib/systemd/system/nvidia-fabricmanager.service"
HGX = PciGpus((gpu(),), 6)
RUNS, STOPPED = FabricManager(UNIT, True, 2041), FabricManager(UNIT, True, 0)
B200 = Nvlink5Board("HGX B200", "", ("mlx5_ib", "ib_umad"), ("mlx5_ib",), "/opt/nvidia/nvlsm/sbin/nvlsm", True)
WAITS = cuda(802, "CUDA_ERROR_SYSTEM_NOT_READY")
OPERATOR = Confinement("", False, driver_container=True)


def manager_package(version: str, name: str = "nvidia-fabricmanager-580", manager: str = "dpkg") -> Packages:
    return Packages(manager, (Package(name, version, "amd64", "installed", False, "NVIDIA CORPORATION"),))


HEALTHY: tuple[Any, ...] = (HGX, RUNS, Nvlink5Board(), manager_package(f"{NEW}-1"))


def in_state(state: str) -> NvmlGpu:
    return answer()._replace(values={"fabric_state": state})


@pytest.mark.parametrize("check", [READY, MISMATCH, UNNEEDED, MODULES])
def test_fine_on_a_healthy_board(check: str) -> None:
    assert status(check, *HEALTHY) is Status.OK


@pytest.mark.parametrize("check", [MISMATCH, UNNEEDED])
@pytest.mark.parametrize("place", [DOCKER, WSL, OPERATOR])
def test_the_service_is_the_hosts(check: str, place: Confinement) -> None:
    assert status(check, *HEALTHY, place) is Status.SKIPPED


@pytest.mark.parametrize("check", [READY, MODULES])
def test_no_such_boards_in_wsl(check: str) -> None:
    assert status(check, *HEALTHY, WSL) is Status.SKIPPED


# fabric.manager-version-mismatch


@pytest.mark.parametrize(
    ("name", "version", "manager"),
    [
        ("nvidia-fabricmanager-580", f"{OLD}-0ubuntu0.24.04.1", "dpkg"),
        ("nvidia-fabricmanager", f"{OLD}-1", "dpkg"),
        ("nvidia-fabric-manager", f"{OLD}-1", "rpm"),
        ("nvidia-fabricmanager", f"{OLD}-1", "rpm"),
        ("nvidia-fabricmanager", f"{OLD}-1", "pacman"),
    ],
)
def test_manager_of_another_version_whoever_packaged_it(name: str, version: str, manager: str) -> None:
    found = finding("fabric.manager-version-mismatch", *HEALTHY, manager_package(version, name, manager), STOPPED)
    assert found.summary == (
        f"The fabric manager is {OLD}, the driver is {NEW}: it does not start, and no program can use the GPUs "
        "(error 802)."
    )
    assert found.subject == name
    assert f"installed packages: {name} {version}" in evidence_of(found)
    assert NEW in found.remedy


def test_headers_of_another_version_are_no_matter() -> None:
    headers = Package("nvidia-fabricmanager-dev-580", f"{OLD}-1", "amd64", "installed", False, "")
    assert status(MISMATCH, *HEALTHY, Packages("dpkg", (headers,))) is Status.OK


def test_both_were_upgraded_and_wait_for_the_restart() -> None:
    assert status(MISMATCH, *HEALTHY, loaded(OLD)) is Status.OK


def test_driver_was_upgraded_alone_and_the_old_one_still_runs() -> None:
    found = finding(MISMATCH, *HEALTHY, manager_package(f"{OLD}-1"), loaded(OLD))
    assert "after the next start it refuses to work" in found.summary


def test_manager_that_was_unpacked_by_hand_tells_its_version_itself() -> None:
    said = (
        "[Nov 05 2024 13:55:26] [ERROR] [tid 104230] fabric manager NVIDIA GPU driver interface version 550.127.05 "
        f"don't match with driver version {NEW}. Please update with matching NVIDIA driver package."
    )
    found = finding(MISMATCH, *HEALTHY, Packages("dpkg", ()), STOPPED._replace(said=said))
    assert found.subject == "nv-fabricmanager"
    assert found.summary.startswith("The fabric manager is 550.127.05,")
    assert f"{LOG}: {said}" in evidence_of(found)
    old = said.replace(NEW, "570.10.10")
    assert status(MISMATCH, *HEALTHY, Packages("dpkg", ()), STOPPED._replace(said=old)) is Status.OK


def test_a_mismatch_is_no_matter_without_switches() -> None:
    assert status(MISMATCH, *HEALTHY, manager_package(f"{OLD}-1"), PciGpus((gpu(),))) is Status.OK
    assert status(MISMATCH, *HEALTHY, manager_package(f"{OLD}-1"), PciGpus((gpu(),)), B200) is Status.FOUND


def test_of_a_disk_nobody_knows_the_switches() -> None:
    found = finding(MISMATCH, *HEALTHY[1:], manager_package(f"{OLD}-1"), not_running=(PciGpus,))
    assert found.severity is Severity.WARNING


def test_packages_that_cannot_be_read() -> None:
    assert status(MISMATCH, HGX, RUNS, Nvlink5Board(), without=(Packages,)) is Status.UNKNOWN
    assert status(MISMATCH, *HEALTHY, libraries("", "x"), loaded("")) is Status.OK


# fabric.manager-not-ready


def test_cuda_waits_and_the_manager_does_not_run() -> None:
    found = finding(READY, *HEALTHY, WAITS, STOPPED._replace(enabled=False))
    assert found.summary == (
        "The links between the GPUs are not set up, and no CUDA program starts (error 802): the fabric manager does "
        "not run, and is not enabled."
    )
    assert "cuInit: 802 CUDA_ERROR_SYSTEM_NOT_READY" in evidence_of(found)
    assert "/sys/bus/pci/devices: 6 NVSwitches" in evidence_of(found)
    assert "systemctl enable --now" in found.remedy


def test_manager_is_not_installed() -> None:
    found = finding(READY, *HEALTHY, WAITS, FabricManager(), Packages("dpkg", ()))
    assert found.summary.endswith(": the fabric manager is not installed.")
    assert f"nvidia-fabricmanager of {NEW}, exactly" in found.remedy


@pytest.mark.parametrize("state", ["in_progress", "not_started"])
def test_gpus_tell_it_where_cuda_was_not_asked(state: str) -> None:
    found = finding(READY, *HEALTHY, nvml(in_state(state)), without=(Cuda,))
    assert state.replace("_", " ") in evidence_of(found)
    assert ", though the fabric manager runs." in found.summary
    assert "journalctl -u nvidia-fabricmanager" in found.remedy


def test_cuda_that_works_outranks_what_the_gpus_tell() -> None:
    assert status(READY, *HEALTHY, nvml(in_state("in_progress")), STOPPED) is Status.OK


def test_manager_that_does_not_run_on_a_board_whose_cuda_fails_otherwise() -> None:
    assert status(READY, *HEALTHY, cuda(999), STOPPED) is Status.FOUND
    assert status(READY, *HEALTHY, cuda(999), RUNS) is Status.OK
    assert status(READY, *HEALTHY, cuda(999), STOPPED, PciGpus((gpu(),))) is Status.OK
    assert status(READY, *HEALTHY, cuda(999), STOPPED, loaded("")) is Status.OK
    assert status(READY, *HEALTHY, cuda(999), STOPPED, PciGpus((gpu(driver="vfio-pci"),), 6)) is Status.OK


def test_in_a_container_the_remedy_is_the_hosts() -> None:
    found = finding(READY, *HEALTHY, WAITS, DOCKER, FabricManager())
    assert found.remedy.startswith("On the host: ")
    assert "no such process" not in evidence_of(found)
    assert status(READY, *HEALTHY, cuda(999), DOCKER, FabricManager()) is Status.OK


def test_a_single_gpu_of_such_a_board_in_a_virtual_machine() -> None:
    found = finding(READY, PciGpus((gpu(),)), FabricManager(), Nvlink5Board(), Packages("dpkg", ()), WAITS)
    assert found.summary.endswith(": this machine sees no NVSwitch.")
    assert "NVreg_NvLinkDisable=1" in found.remedy


def test_a_node_of_a_rack() -> None:
    found = finding(READY, *HEALTHY, WAITS, PciGpus((gpu(),)), Nvlink5Board(rack="GB200 NVL72"), FabricManager())
    assert "switch trays" in found.remedy


def test_whether_it_runs_cannot_be_told() -> None:
    unknown = FabricManager(UNIT, True, None)
    assert status(READY, *HEALTHY, cuda(999), unknown) is Status.UNKNOWN
    assert "systemctl status" in finding(READY, *HEALTHY, WAITS, unknown).remedy
    assert status(READY, HGX, Nvlink5Board(), cuda(999), without=(FabricManager,)) is Status.UNKNOWN
    assert status(READY, HGX, Nvlink5Board(), WAITS, without=(FabricManager,)) is Status.FOUND
    assert status(READY, not_running=(PciGpus, Cuda, Nvml)) is Status.UNKNOWN


def test_it_explains_cuda_and_is_explained_by_the_mismatch() -> None:
    load_plugins()
    known = machine(*HEALTHY, WAITS, STOPPED, manager_package(f"{OLD}-1"))
    ids = (READY, MISMATCH, MODULES, UNNEEDED, "driver.cuda-init-failed")
    report = diagnose(known, [registry.checks[id] for id in ids])
    assert [(ranked.check.id, ranked.explains) for ranked in report.findings] == [
        (MISMATCH, (READY, "driver.cuda-init-failed"))
    ]


# fabric.manager-unneeded


def test_enabled_service_with_nothing_to_do() -> None:
    found = finding(UNNEEDED, *HEALTHY, PciGpus((gpu(),)), STOPPED._replace(said="[ERROR] [NV_WARN_NOTHING_TO_DO]"))
    assert "its service fails at each start" in found.summary
    assert "NV_WARN_NOTHING_TO_DO" in evidence_of(found)
    assert registry.checks[UNNEEDED].severity is Severity.WARNING


@pytest.mark.parametrize(
    "change",
    [
        STOPPED._replace(enabled=False),
        STOPPED._replace(process_id=None),
        RUNS,
        B200,
        Nvlink5Board(rack="GB300 NVL72"),
        WAITS,
        PciGpus(()),
    ],
)
def test_service_that_is_needed_or_does_no_harm(change: object) -> None:
    given = {type(fact): fact for fact in (*HEALTHY, PciGpus((gpu(),)), STOPPED, change)}
    assert status(UNNEEDED, *given.values()) is Status.OK


def test_needs_the_bus_and_the_service() -> None:
    assert status(UNNEEDED, *HEALTHY[1:], without=(PciGpus,)) is Status.UNKNOWN
    assert status(UNNEEDED, HGX, without=(FabricManager,)) is Status.UNKNOWN


# fabric.nvlink5-modules-missing

NO_MODULES, ALL_MODULES = LoadedModules({"nvidia": ()}), LoadedModules({"mlx5_ib": (), "ib_umad": ()})


def test_board_whose_switches_nobody_can_reach() -> None:
    found = finding(MODULES, *HEALTHY, B200, WAITS, NO_MODULES)
    assert found.summary == (
        "The NVLink switches of this HGX B200 cannot be set up without the kernel modules mlx5_ib and ib_umad."
    )
    assert "/proc/modules: no mlx5_ib, no ib_umad" in evidence_of(found)
    assert found.remedy.startswith("Install linux-modules-extra of this kernel, load mlx5_ib and ib_umad")


def test_subnet_manager_is_missing() -> None:
    found = finding(MODULES, *HEALTHY, B200._replace(subnet_manager_there=False), WAITS, ALL_MODULES)
    assert found.summary.endswith("cannot be set up without the subnet manager nvlsm.")
    assert found.remedy == "Install nvlsm; then restart nvidia-fabricmanager."


def test_a_container_sees_the_hosts_modules_and_not_its_files() -> None:
    away = B200._replace(subnet_manager_there=False)
    assert status(MODULES, *HEALTHY, away, WAITS, ALL_MODULES, DOCKER) is Status.OK
    assert finding(MODULES, *HEALTHY, away, WAITS, NO_MODULES, DOCKER).remedy.startswith("On the host: load mlx5_ib")


def test_nobody_waits_for_the_switches() -> None:
    assert status(MODULES, *HEALTHY, B200, NO_MODULES) is Status.OK
    assert status(MODULES, *HEALTHY, WAITS, NO_MODULES) is Status.OK
    assert status(MODULES, *HEALTHY, B200, WAITS, ALL_MODULES) is Status.OK
    assert status(MODULES, *HEALTHY, NO_MODULES, without=(Nvlink5Board,)) is Status.OK


def test_which_board_it_is_cannot_be_told() -> None:
    assert status(MODULES, WAITS, without=(Nvlink5Board,)) is Status.UNKNOWN
    assert status(MODULES, B200, WAITS, without=(LoadedModules,)) is Status.UNKNOWN
    assert status(MODULES, B200, WAITS, not_running=(LoadedModules, Kernel)) is Status.UNKNOWN


# What people paste


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("RuntimeError: CUDA error: system not yet initialized", READY),
        ("Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized", READY),
        ("failed call to cuInit: CUDA_ERROR_SYSTEM_NOT_READY: system not yet initialized", READY),
        ("    Fabric\n        State                             : In Progress\n        Status : N/A", READY),
        ("host:12098:12141 [2] transport/nvls.cc:244 NCCL WARN Cuda failure 1 'invalid argument'", READY),
        ("Failed to restart nvidia-fabricmanager.service: Unit nvidia-fabricmanager.service not found.", READY),
        (
            "nv-fabricmanager[3228]: fabric manager NVIDIA GPU driver interface version 530.30.02 don't match with "
            "driver version 530.41.03. Please update with matching NVIDIA driver package.",
            MISMATCH,
        ),
        (
            "fabric manager NVIDIA GPU driver interface version 550.90.07 don\u2019t match with driver version "
            "550.107.02. Please update with matching NVIDIA driver package",
            MISMATCH,
        ),
        (
            "nv-fabricmanager[4177]: request to query NVSwitch device information from NVSwitch driver failed with "
            "error:WARNING Nothing to do [NV_WARN_NOTHING_TO_DO]",
            UNNEEDED,
        ),
        ('Kernel module "ib_umad" has not been loaded, fabric manager cannot start', MODULES),
        (
            '"/opt/nvidia/nvlsm/sbin/nvlsm" does not exist. Please install "Nvidia NVLink Subnet Manager" (nvlsm)',
            MODULES,
        ),
        ("ibwarn: [15] umad_init: can't read ABI version from /sys/class/infiniband_mad/abi_version", MODULES),
    ],
)
def test_messages_lead_to_the_check(message: str, check: str) -> None:
    load_plugins()
    told = [
        id for id in (READY, MISMATCH, UNNEEDED, MODULES) for s in registry.checks[id].symptoms if re.search(s, message)
    ]
    assert set(told) == {check}
