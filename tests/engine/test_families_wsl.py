"""Whole machines: WSL with a Linux driver in it, WSL on an old Windows, a vGPU with and without its license."""

from pathlib import Path

import healthy_places as places
import pytest
from diagnoses import diagnosed
from driver_answers import Answers
from family_machines import BOOTED
from healthy_machines import UBUNTU_CORE, Card, Running, answers, listed, running
from healthy_parts import MULTIARCH, ld_cache
from package_databases import database

from gpudoctor.facts.vgpu import LICENSE_LOG
from gpudoctor.host import Completed, FileStatus
from gpudoctor.testing import MachineTree

WINDOWS = "/usr/lib/wsl/lib"
LINUX = {"libnvidia-compute-535": "535.230.02-0ubuntu0.24.04.1", "nvidia-utils-535": "535.230.02-0ubuntu0.24.04.1"}
REFUSED = "misc dxg: dxgk: dxgkio_query_adapter_info: Ioctl failed: -2"


def failing(folder: Path, nvml: int, cuda: int) -> MachineTree:
    """The same WSL, whose NVML and libcuda cannot start."""
    said = answers([], "580.102.01", WINDOWS)
    said["nvml"] |= {"return_code": nvml, "return_name": f"NVML_{nvml}"}
    said["cuda"] |= {"return_code": cuda, "return_name": f"CUDA_{cuda}"}
    nodes = {"/dev/dxg": FileStatus("character", 0o666, 0, 0, 0, BOOTED, (10, 125))}
    return MachineTree(str(folder), nodes=nodes, probes=Answers(str(folder), said))


@pytest.mark.parametrize("user", [0, 1000])
def test_a_linux_driver_in_wsl(tmp_path: Path, user: int) -> None:
    places.wsl(tmp_path, user)
    packages = {**LINUX, "cuda-toolkit-13-0": "13.0.2-1"}
    for path, content in database("dpkg", listed(packages, {"": UBUNTU_CORE}), tmp_path).items():
        (tmp_path / path.lstrip("/")).write_bytes(content.encode() if isinstance(content, str) else content)
    (tmp_path / MULTIARCH.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for name in ("libcuda", "libnvidia-ml"):
        (tmp_path / f"{MULTIARCH}/{name}.so.535.230.02".lstrip("/")).touch()
        (tmp_path / f"{MULTIARCH}/{name}.so.1".lstrip("/")).symlink_to(f"{name}.so.535.230.02")
    names = [f"{folder}/{name}.so.1" for name in ("libcuda", "libnvidia-ml") for folder in (MULTIARCH, WINDOWS)]
    (tmp_path / "etc/ld.so.cache").write_bytes(ld_cache(names))
    seen = diagnosed(failing(tmp_path, 17, 100))
    assert seen.found == ["wsl.linux-driver-installed"]
    assert {"driver.nvml-failed", "driver.cuda-init-failed"} <= seen.explained
    [step] = seen.steps
    assert "remove libnvidia-compute-535 nvidia-utils-535`, then `sudo ldconfig`" in step


def test_wsl_on_an_old_windows(tmp_path: Path) -> None:
    places.wsl(tmp_path, 0)
    (tmp_path / "dev/kmsg").write_text(f"4,1,1,-;{REFUSED}\n4,2,1,-;{REFUSED}\n")
    seen = diagnosed(failing(tmp_path, 9, 500))
    assert seen.found == ["wsl.host-too-old"]
    assert {"driver.nvml-failed", "driver.cuda-init-failed"} <= seen.explained
    [step] = seen.steps
    assert "wsl --update" in step


def vgpu(folder: Path, state: str) -> Running:
    card = Card("0000:06:00.0", "20f1", "GRID A100-10C")
    said = answers([card], "580.95.05", MULTIARCH)
    [told] = said["nvml"]["gpus"]  # type: ignore[misc, attr-defined]
    told |= {"virtualization_mode": "vgpu", "license_state": state, "license_product": None}
    printed = "Failed to acquire license from 10.20.30.40 (Error: Could not connect)\n"
    return running(
        *(folder, places.noble_dkms([card], 0) | {"/etc/nvidia/gridd.conf": "FeatureType=1\n"}),
        packages=places.NOBLE_FOUND,
        cards=[card],
        said=said,
        commands={LICENSE_LOG: Completed(LICENSE_LOG, 0, printed, "")},
    )


def test_a_vgpu_with_its_license(tmp_path: Path) -> None:
    assert diagnosed(vgpu(tmp_path, "licensed")).found == []


def test_a_vgpu_without_a_license(tmp_path: Path) -> None:
    seen = diagnosed(vgpu(tmp_path, "unlicensed"))
    assert seen.found == ["driver.vgpu-unlicensed"]
    assert "Failed to acquire license from SERVER" in seen.proof
    assert seen.steps == [seen.first.remedy]
