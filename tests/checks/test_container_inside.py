"""From inside a container: the GPU was not asked for, was asked away, came without libcuda, or was taken back."""

import re

import pytest
from container_texts import LIBRARIES
from gpu_machines import (
    DOCKER,
    FOLDER,
    WSL,
    answer,
    cuda,
    evidence_of,
    facts,
    finding,
    libraries,
    loaded,
    nodes,
    nvml,
    outcome,
    status,
)

from gpudoctor import Severity
from gpudoctor.diagnose import diagnose
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.container import Cgroups, ContainerMounts, NodeRefusals
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Check, Status
from gpudoctor.registry import registry

NONE_ASKED, VOID = "container.no-gpu-requested", "container.visible-devices-void"
CAPABILITIES, LOST = "container.driver-capabilities", "container.cgroup-access-lost"
ALL = (NONE_ASKED, VOID, CAPABILITIES, LOST)

NO_NVML = nvml(code=12, name="NVML_ERROR_LIBRARY_NOT_FOUND", path="")
NO_CUDA = cuda(None, "", "", "libcuda.so.1: cannot open shared object file: No such file or directory")
NO_LIBRARIES = DriverLibraries(())
NOTHING = (nodes("none"), NO_LIBRARIES, NO_NVML, NO_CUDA)
UNKNOWN = nvml(code=999, name="NVML_ERROR_UNKNOWN")
REFUSED = NodeRefusals({"/dev/nvidia0": "EPERM", "/dev/nvidiactl": "EPERM"})


def environment(**variables: str) -> Environment:
    return Environment(variables, ())


def mounts(*names: str, told: bool = True, version: int = 2) -> ContainerMounts:
    return ContainerMounts(told, tuple(f"{LIBRARIES}/{name}" for name in names), None, Cgroups(version, True))


def engine(name: str) -> Confinement:
    return Confinement(name, False)


# The driver's own checks and those of this file, which name each other as causes.
KINDS = ("container.", "driver.", "devices.")


def checks_here() -> list[Check]:
    return [check for id, check in registry.checks.items() if id.startswith(KINDS)]


WELL = (environment(NVIDIA_VISIBLE_DEVICES="all"), mounts("libcuda.so.580.95.05", "libnvidia-ml.so.580.95.05"))
WELL_THERE = (*WELL, NodeRefusals({}))


@pytest.mark.parametrize("check", ALL)
def test_fine_in_a_container_with_its_gpu(check: str) -> None:
    assert status(check, DOCKER, *WELL_THERE) is Status.OK


@pytest.mark.parametrize("check", ALL)
def test_void_is_fine_where_cdi_handed_the_gpu_in(check: str) -> None:
    assert status(check, DOCKER, *WELL_THERE, environment(NVIDIA_VISIBLE_DEVICES="void")) is Status.OK


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize("place", [Confinement("", False), WSL, Confinement("docker", True)])
def test_not_applicable_outside_of_containers_and_in_wsl(check: str, place: Confinement) -> None:
    assert status(check, place, *WELL_THERE) is Status.SKIPPED


@pytest.mark.parametrize("check", ALL)
def test_outside_of_containers_nothing_else_needs_to_be_known(check: str) -> None:
    unknown = (DeviceNodes, LoadedDriver, Nvml, Cuda)
    assert status(check, *WELL_THERE, without=unknown) is Status.SKIPPED


@pytest.mark.parametrize("check", ALL)
def test_needs_the_nodes(check: str) -> None:
    assert status(check, DOCKER, *WELL_THERE, without=(DeviceNodes,)) is Status.UNKNOWN


# container.no-gpu-requested


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("docker", "docker run --gpus all"),
        ("podman", "--device nvidia.com/gpu=all"),
        ("kubernetes", "nvidia.com/gpu: 1"),
        ("containerd", "nerdctl run --gpus all"),
        ("enroot", "98-nvidia.sh"),
        ("lxc", "/dev/nvidia* passed in"),
        ("somebody's", "nvidia.com/gpu=all"),
    ],
)
def test_started_without_a_gpu(name: str, option: str) -> None:
    found = finding(NONE_ASKED, engine(name), *NOTHING, environment())
    assert found.summary.startswith(f"This {name} container was started without a GPU")
    assert found.remedy.startswith("On the host, start the container with its GPU: ")
    assert option in found.remedy
    assert "NVIDIA_VISIBLE_DEVICES: not set" in evidence_of(found)


def test_the_variable_of_the_image_alone_does_nothing() -> None:
    found = finding(NONE_ASKED, DOCKER, *NOTHING, environment(NVIDIA_VISIBLE_DEVICES="all"))
    assert "NVIDIA_VISIBLE_DEVICES: 'all'" in evidence_of(found)


def test_told_without_knowing_the_variables() -> None:
    found = finding(NONE_ASKED, DOCKER, *NOTHING, without=(Environment,))
    assert "NVIDIA_VISIBLE_DEVICES" not in evidence_of(found)


@pytest.mark.parametrize(("name", "option"), [("docker", "--gpus all"), ("apptainer", "apptainer exec --nv")])
def test_the_devices_alone_are_not_enough(name: str, option: str) -> None:
    """Privileged containers see them all, and apptainer shows the whole of /dev."""
    found = finding(NONE_ASKED, engine(name), NO_LIBRARIES, NO_NVML, NO_CUDA, environment())
    assert "got none of the driver's libraries" in found.summary
    assert option in found.remedy


def test_libraries_that_programs_find_elsewhere_are_there() -> None:
    assert status(NONE_ASKED, engine("apptainer"), NO_LIBRARIES, environment()) is Status.OK


def test_of_libraries_nothing_is_said_while_nvml_is_silent() -> None:
    assert status(NONE_ASKED, DOCKER, NO_LIBRARIES, NO_CUDA, environment(), without=(Nvml,)) is Status.OK


def test_a_guest_of_lxc_has_libraries_of_its_own() -> None:
    assert status(NONE_ASKED, engine("lxc"), NO_LIBRARIES, NO_NVML, NO_CUDA, environment()) is Status.OK


def test_nobody_means_a_gpu_here() -> None:
    for check in (NONE_ASKED, VOID):
        said = environment(NVIDIA_VISIBLE_DEVICES="none")
        assert status(check, DOCKER, *NOTHING, said, ExpectedGpus(0)) is Status.OK


def test_without_a_driver_on_the_host_the_container_is_not_to_blame() -> None:
    for check in (NONE_ASKED, VOID):
        said = environment(NVIDIA_VISIBLE_DEVICES="none")
        assert status(check, DOCKER, *NOTHING, said, loaded("")) is Status.OK


def test_it_explains_what_follows() -> None:
    """One finding, not five."""
    report = diagnose(facts(DOCKER, *NOTHING, *WELL, NodeRefusals({})), checks_here())
    assert [ranked.check.id for ranked in report.findings] == [NONE_ASKED]
    (only,) = report.findings
    assert {"devices.nodes-missing", "driver.nvml-failed", "driver.cuda-init-failed"} <= set(only.explains)


# container.visible-devices-void


@pytest.mark.parametrize("value", ["void", "none", "", "NONE"])
def test_asked_away(value: str) -> None:
    here = (DOCKER, *NOTHING, environment(NVIDIA_VISIBLE_DEVICES=value))
    found = finding(VOID, *here)
    assert found.summary.startswith(f"NVIDIA_VISIBLE_DEVICES is {value!r}, which asks for no GPU")
    assert found.remedy.startswith("On the host, start the container with its GPU")
    assert status(NONE_ASKED, *here) is Status.OK  # one of the two tells it


def test_none_brings_the_control_device_and_no_gpu() -> None:
    said = environment(NVIDIA_VISIBLE_DEVICES="none")
    assert finding(VOID, DOCKER, nodes("/dev/nvidiactl", "/dev/nvidia-uvm"), said).subject == "NVIDIA_VISIBLE_DEVICES"


@pytest.mark.parametrize("said", [environment(), environment(NVIDIA_VISIBLE_DEVICES="0,1")])
def test_not_asked_away(said: Environment) -> None:
    assert status(VOID, DOCKER, *NOTHING, said) is Status.OK


@pytest.mark.parametrize("without", [(Environment,), ()])
def test_variables_that_could_not_be_read(without: tuple[type, ...]) -> None:
    unread = Environment({}, (), unknown="/proc/self/environ: Permission denied")
    found = outcome(VOID, DOCKER, *NOTHING, unread, without=without)
    assert found.status is Status.UNKNOWN
    assert not found.matters


# container.driver-capabilities


@pytest.mark.parametrize("value", ["utility", "utility,video", "graphics,display"])
def test_without_compute(value: str) -> None:
    without = (libraries("580.95.05", "libnvidia-ml.so.1"), NO_CUDA, mounts("libnvidia-ml.so.580.95.05"))
    found = finding(CAPABILITIES, DOCKER, *without, environment(NVIDIA_DRIVER_CAPABILITIES=value))
    assert f"NVIDIA_DRIVER_CAPABILITIES is {value!r}" in found.summary
    assert "no program computes" in found.summary
    assert "`-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`" in found.remedy
    assert f"mounted: {LIBRARIES}/libnvidia-ml.so.580.95.05" in evidence_of(found)


def test_old_toolkits_take_an_unset_variable_for_utility() -> None:
    without = (libraries("580.95.05", "libnvidia-ml.so.1"), NO_CUDA, mounts("libnvidia-ml.so.580.95.05"))
    found = finding(CAPABILITIES, engine("kubernetes"), *without, environment())
    assert "is not set, which old toolkits take for utility" in found.summary
    assert "under `env` of the pod's container" in found.remedy


def test_without_utility_only_monitoring_is_lost() -> None:
    without = (libraries("580.95.05", "libcuda.so.1"), NO_NVML, mounts("libcuda.so.580.95.05"))
    found = finding(CAPABILITIES, engine("apptainer"), *without, environment(NVIDIA_DRIVER_CAPABILITIES="compute"))
    assert found.severity is Severity.WARNING
    assert "nvidia-smi and monitoring do not work" in found.summary
    assert "--env NVIDIA_DRIVER_CAPABILITIES=compute,utility" in found.remedy


@pytest.mark.parametrize("value", ["compute,utility", "all", "compute"])
def test_a_library_that_is_missing_although_asked_for_is_another_matter(value: str) -> None:
    without = (libraries("580.95.05", "libnvidia-ml.so.1"), NO_CUDA, mounts("libnvidia-ml.so.580.95.05"))
    assert status(CAPABILITIES, DOCKER, *without, environment(NVIDIA_DRIVER_CAPABILITIES=value)) is Status.OK


def test_the_variable_alone_proves_nothing() -> None:
    """Programs compute: the driver came in another way."""
    assert status(CAPABILITIES, DOCKER, *WELL, environment(NVIDIA_DRIVER_CAPABILITIES="utility")) is Status.OK


def test_unset_and_nothing_known_of_mounts() -> None:
    without = (libraries("580.95.05", "libnvidia-ml.so.1"), NO_CUDA, mounts(told=False))
    assert status(CAPABILITIES, DOCKER, *without, environment()) is Status.OK


def test_capabilities_explain_the_missing_library() -> None:
    here = (DOCKER, libraries("580.95.05", "libnvidia-ml.so.1"), NO_CUDA, mounts("libnvidia-ml.so.580.95.05"))
    said = environment(NVIDIA_DRIVER_CAPABILITIES="utility", NVIDIA_VISIBLE_DEVICES="all")
    report = diagnose(facts(*here, said, NodeRefusals({})), checks_here())
    assert [ranked.check.id for ranked in report.findings] == [CAPABILITIES]
    assert {"driver.library-missing", "driver.cuda-init-failed"} <= set(report.findings[0].explains)


# container.cgroup-access-lost


@pytest.mark.parametrize("code", [999, 17])
def test_the_kernel_refuses_what_the_mode_allows(code: int) -> None:
    found = finding(LOST, DOCKER, *WELL, nvml(code=code, name="NVML_ERROR_UNKNOWN"), REFUSED)
    assert found.summary.startswith("The host's device rules for this docker container leave the GPU out")
    assert found.subject == "/dev/nvidia0"
    assert "Operation not permitted (EPERM)" in evidence_of(found)
    assert "control groups: version 2" in evidence_of(found)
    assert "On the host, restart the container" in found.remedy
    assert "nvidia.com/gpu=all" in found.remedy


@pytest.mark.parametrize(
    ("answers", "refusals"),
    [
        (UNKNOWN, NodeRefusals({})),  # it can be opened: the GPU itself is sick
        (UNKNOWN, NodeRefusals({"/dev/nvidiactl": "EIO"})),
        (UNKNOWN, NodeRefusals({"/dev/nvidiactl": "EACCES"})),  # the mode, or SELinux
        (nvml(code=4, name="NVML_ERROR_NO_PERMISSION"), REFUSED),
        (nvml(code=18, name="NVML_ERROR_LIB_RM_VERSION_MISMATCH"), REFUSED),
        (nvml(answer()), REFUSED),
    ],
)
def test_other_failures_are_told_elsewhere(answers: Nvml, refusals: NodeRefusals) -> None:
    assert status(LOST, DOCKER, *WELL, answers, refusals) is Status.OK


def test_without_nodes_there_was_nothing_to_lose() -> None:
    assert status(LOST, DOCKER, *WELL, nodes("none"), UNKNOWN, REFUSED) is Status.OK


@pytest.mark.parametrize(("without", "changes"), [((NodeRefusals,), (UNKNOWN,)), ((Nvml,), (REFUSED,))])
def test_unknown_where_nobody_tried(without: tuple[type, ...], changes: tuple[object, ...]) -> None:
    """As in snapshots of older versions: nothing is concluded from the return code alone."""
    found = outcome(LOST, DOCKER, *WELL, *changes, without=without)
    assert found.status is Status.UNKNOWN
    assert not found.matters


def test_it_explains_nvml_and_cuda() -> None:
    failed = cuda(999, "CUDA_ERROR_UNKNOWN", f"{FOLDER}/libcuda.so.580.95.05")
    report = diagnose(facts(DOCKER, *WELL, UNKNOWN, failed, REFUSED), checks_here())
    assert [ranked.check.id for ranked in report.findings] == [LOST]
    assert {"driver.nvml-failed", "driver.cuda-init-failed"} <= set(report.findings[0].explains)


# What users see


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (NONE_ASKED, "WARNING: The NVIDIA Driver was not detected.  GPU functionality will not be available."),
        (NONE_ASKED, "   Use the NVIDIA Container Toolkit to start this container with GPU support; see"),
        (CAPABILITIES, "NVIDIA_DRIVER_CAPABILITIES=utility"),
        (CAPABILITIES, "unsupported capabilities found in 'compute,foo' (allowed 'compute,utility')"),
        (LOST, "Failed to initialize NVML: Unknown Error"),
        (LOST, "open /dev/nvidiactl: operation not permitted"),
    ],
)
def test_messages(check: str, message: str) -> None:
    assert any(re.search(pattern, message, re.IGNORECASE) for pattern in registry.checks[check].symptoms)


@pytest.mark.parametrize("value", ["compute,utility", "all", "graphics,compute", "utility,compute,video"])
def test_settings_of_healthy_containers_are_no_symptom(value: str) -> None:
    text = f"NVIDIA_DRIVER_CAPABILITIES={value}\nNVIDIA_VISIBLE_DEVICES=all"
    assert not any(re.search(pattern, text) for pattern in registry.checks[CAPABILITIES].symptoms)
