"""Whole containers on a GPU server, seen from inside: one cause each, and nothing where all is well."""

from pathlib import Path
from typing import Any

import pytest
from container_texts import DOCKER, KUBERNETES_V1, USUAL_RIGHTS, handed_in, limits, status
from diagnoses import Diagnosis, diagnosed
from family_machines import Files
from healthy_containers import REFUSED_DMESG, container_files
from healthy_machines import EIGHT, H200, UBUNTU_CORE, answers, listed, nodes, running
from healthy_parts import MULTIARCH, ld_cache, libraries

VERSION = "570.195.03"
IMAGE = {"libc6": "2.35-0ubuntu3.10"}
ENVIRONMENT = (
    "PATH=/usr/local/cuda/bin:/usr/bin\0NVIDIA_VISIBLE_DEVICES=all\0NVIDIA_DRIVER_CAPABILITIES=compute,utility\0"
)
FAILED: dict[str, object] = {"gpus": [], "driver_version": None, "cuda_driver_version": None}


def container(
    folder: Path,
    *,
    mounts: str = DOCKER + handed_in(VERSION),
    files: Files | None = None,
    eight: bool = False,
    environment: str = ENVIRONMENT,
    packages: dict[str, str] = IMAGE,
    nvml: dict[str, object] | None = None,
    cuda: dict[str, object] | None = None,
    without: tuple[str, ...] = (),
) -> Diagnosis:
    """`docker run --gpus` of a plain image, one of eight GPUs or all, and what differs from that."""
    cards = EIGHT if eight else H200
    made: dict[str, Any] = container_files(0, VERSION) | libraries(VERSION)
    made |= {"/proc/self/mountinfo": mounts, "/proc/self/environ": environment, "/proc/self/limits": limits("8388608")}
    made |= {"/proc/self/status": status(USUAL_RIGHTS), **(files or {})}
    made = {path: text for path, text in made.items() if not any(word in path for word in without)}
    said = answers(cards, VERSION, MULTIARCH, cuda=12080)
    said["nvml"] |= nvml or {}
    said["cuda"] |= cuda or {}
    return diagnosed(
        running(
            *(folder, made),
            packages=listed(packages, {"": UBUNTU_CORE}),
            cards=cards,
            said=said,
            more_nodes=nodes(range(8) if eight else [3], uvm=504),
            minors=(),
            commands={("dmesg",): REFUSED_DMESG},
        )
    )


def test_all_is_well_with_one_gpu(tmp_path: Path) -> None:
    seen = container(tmp_path)
    assert seen.found == []
    assert seen.report.findings == ()  # not even as information: its /dev/shm has what every container gets
    assert seen.report.exit_code == 0
    assert seen.plan.chosen == ()


def test_all_is_well_in_a_pod_with_eight_gpus_and_a_network(tmp_path: Path) -> None:
    pod = KUBERNETES_V1 + handed_in(VERSION)
    made = {"/dev/infiniband/uverbs0": "", "/proc/self/limits": limits("unlimited")}
    seen = container(tmp_path, mounts=pod, files=made, eight=True)
    assert seen.report.findings == ()
    assert seen.report.exit_code == 0


def test_eight_gpus_with_the_limits_that_containers_get(tmp_path: Path) -> None:
    seen = container(tmp_path, files={"/dev/infiniband/uverbs0": ""}, eight=True)
    assert sorted(seen.found) == ["container.memlock-small", "container.shared-memory-small"]
    assert seen.report.exit_code == 1
    assert seen.fixes == ["raise-container-limits"]
    assert any("--shm-size=1g" in step for step in seen.steps)
    assert any("--ulimit memlock=-1" in step for step in seen.steps)


def test_the_gpu_was_lost_at_a_reload_of_systemd(tmp_path: Path) -> None:
    refused = {"/dev/nvidia3": "EPERM", "/dev/nvidiactl": "EPERM"}
    seen = container(
        tmp_path,
        nvml=FAILED | {"return_code": 999, "return_name": "NVML_ERROR_UNKNOWN", "node_refusals": refused},
        cuda={"return_code": 100, "return_name": "CUDA_ERROR_NO_DEVICE", "device_count": 0},
    )
    assert seen.found == ["container.cgroup-access-lost"]
    assert {"driver.nvml-failed", "driver.cuda-init-failed"} <= seen.explained
    assert seen.fixes == ["restart-container"]
    assert "docker restart" in seen.steps[0]


def test_utility_alone(tmp_path: Path) -> None:
    seen = container(
        tmp_path,
        mounts=DOCKER + handed_in(VERSION, "libnvidia-ml"),
        environment=ENVIRONMENT.replace("compute,utility", "utility"),
        files={"/etc/ld.so.cache": ld_cache([f"{MULTIARCH}/libnvidia-ml.so.1"])},  # type: ignore[dict-item]
        without=("libcuda", "ptxjit"),
        cuda={
            **{"return_code": None, "return_name": None, "library_path": None, "device_count": None},
            "error": "libcuda.so.1: cannot open shared object file: No such file or directory",
        },
    )
    assert seen.found == ["container.driver-capabilities"]
    assert {"driver.library-missing", "driver.cuda-init-failed"} <= seen.explained
    assert seen.fixes == ["start-container-with-gpu"]


def test_a_driver_in_the_image(tmp_path: Path) -> None:
    own = "580.95.05"
    seen = container(
        tmp_path,
        packages={"libnvidia-compute-580": f"{own}-0ubuntu0.22.04.1", "nvidia-utils-580": f"{own}-0ubuntu0.22.04.1"},
        files=libraries(own),
        nvml=FAILED | {"return_code": 18, "return_name": "NVML_ERROR_LIB_RM_VERSION_MISMATCH"},
        cuda={"return_code": 803, "return_name": "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "device_count": 0},
    )
    assert seen.found == ["container.driver-baked-in"]
    assert {"driver.library-mismatch", "driver.cuda-init-failed"} <= seen.explained
    assert seen.fixes == ["rebuild-image"]


@pytest.mark.parametrize("value", ["void", "none"])
def test_asked_away(tmp_path: Path, value: str) -> None:
    files = container_files(0, VERSION) | {"/proc/self/environ": f"PATH=/usr/bin\0NVIDIA_VISIBLE_DEVICES={value}\0"}
    missing: dict[str, dict[str, object]] = {
        "nvml": FAILED
        | {"return_code": 12, "return_name": "NVML_ERROR_LIBRARY_NOT_FOUND", "message": "", "error": "x"},
        "cuda": {"return_code": None, "error": "libcuda.so.1: cannot open shared object file"},
        "processes": {"holders": [], "deleted_libraries": [], "unreadable": 0},
    }
    packages = listed(IMAGE, {"": UBUNTU_CORE})
    seen = diagnosed(running(tmp_path, files, packages=packages, cards=H200, said=missing, minors=()))
    assert seen.found == ["container.visible-devices-void"]
    assert "devices.nodes-missing" in seen.explained
    assert seen.fixes == ["start-container-with-gpu"]


def test_an_image_for_a_newer_cuda(tmp_path: Path) -> None:
    seen = container(tmp_path, environment=f"{ENVIRONMENT}NVIDIA_REQUIRE_CUDA=cuda>=13.0 brand=tesla,driver<536\0")
    assert seen.found == ["container.requires-newer-driver"]
    assert seen.report.exit_code == 1
    assert seen.fixes == ["fit-image-to-driver"]
