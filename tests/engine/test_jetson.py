"""A Jetson whose GPU does not work: a part of the chip, driven by nvgpu, for which nothing of a PCI card is right."""

from pathlib import Path

import healthy_places as places
import pytest
from command_line import Call, calls
from diagnoses import diagnosed
from recorded_machines import recorded

both = pytest.mark.parametrize("new", [True, False], ids=["JetPack 6", "JetPack 5"])


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


@pytest.fixture(autouse=True)
def cuda_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    well = places.answers

    def sick(*words: object, **more: object) -> dict[str, dict[str, object]]:
        said = well(*words, **more)
        said["cuda"] |= {"return_code": 999, "return_name": "CUDA_ERROR_UNKNOWN", "device_count": 0}
        return said

    monkeypatch.setattr(places, "answers", sick)


@both
def test_cuda_that_fails_is_told_with_what_a_jetson_has(new: bool, tmp_path: Path) -> None:
    seen = diagnosed(places.jetson(tmp_path, 0, new=new))
    assert seen.found == ["driver.cuda-init-failed"], "it has no nvidia_uvm to be loaded"
    assert "nvidia-l4t-" in seen.first.remedy
    assert "nvidia_uvm" not in seen.text


@both
def test_without_its_driver_no_seat_nor_cable_is_to_be_checked(new: bool, tmp_path: Path, call: Call) -> None:
    machine = places.jetson(tmp_path / "disk", 0, new=new)
    (tmp_path / "disk/proc/modules").write_text("ext4 1 1 - Live 0x0\n")
    (tmp_path / "disk/proc/driver/nvidia/version").unlink(missing_ok=True)
    machine._probes.answers["nvml"]["gpus"] = []
    seen = diagnosed(machine)
    assert seen.found == ["pci.no-gpu"]
    assert "nvgpu is not loaded" in seen.first.summary
    assert seen.steps == []
    snapshot = str(recorded(machine, tmp_path / "jetson.json"))
    assert call("check", "--snapshot", snapshot, "--quiet", "--expect-gpus", "0").code == 0


def test_a_library_that_is_gone_comes_with_the_packages_of_the_board(tmp_path: Path) -> None:
    machine = places.jetson(tmp_path, 0, new=True)
    for path in [*tmp_path.rglob("libcuda.so*")]:
        path.unlink()
    machine._probes.answers["cuda"] |= {"return_code": None, "error": "libcuda.so.1: cannot open", "library_path": None}
    seen = diagnosed(machine)
    assert seen.found == ["driver.library-missing"]
    assert "nvidia-l4t-cuda" in seen.first.remedy
