"""Gentoo, NixOS and Ubuntu Core, whose packages nobody knows here: what lies on the disk tells of a driver."""

import shutil
from pathlib import Path

import healthy_machines
import healthy_rolling as rolling
import pytest
from command_line import calls
from diagnoses import diagnosed
from healthy_machines import DESKTOP, Running, bus, listed, running
from healthy_parts import gsp, kernel, ld_cache, libraries, modules, system
from healthy_places import noble_dkms
from recorded_machines import recorded

OLD, NEW = "580.82.07", "580.95.05"
GENTOO = "6.12.57-gentoo-dist"


def after_a_restart(folder: Path) -> Running:
    """The same disk, with nothing of the driver in memory."""
    for path in ("proc/driver/nvidia/version", "sys/module/nvidia/version"):
        (folder / path).unlink()
    (folder / "proc/modules").write_text("ext4 1 1 - Live 0x0\n")
    (folder / "dev/kmsg").write_text("6,0,0,-;Linux version\n")
    uevent = folder / f"sys/bus/pci/devices/{DESKTOP.address}/uevent"
    uevent.write_text(uevent.read_text().replace("DRIVER=nvidia\n", ""))
    return Running(str(folder), no_answer="nothing is loaded")


def new_kernel_of_gentoo(folder: Path) -> Running:
    rolling.gentoo(folder, 0)
    shutil.rmtree(folder / f"lib/modules/{GENTOO}/video")
    (folder / f"lib/modules/{GENTOO}/modules.dep").write_text("")
    return after_a_restart(folder)


def test_a_new_kernel_of_gentoo_without_its_module(tmp_path: Path) -> None:
    seen = diagnosed(new_kernel_of_gentoo(tmp_path))
    assert seen.found == ["kernel.module-missing"]
    assert f"library /usr/lib64/libcuda.so.{NEW}" in seen.proof
    assert "`emerge @module-rebuild`" in seen.first.remedy


def test_what_no_fix_cures_here_is_left_to_a_person_with_the_remedy(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    snapshot = recorded(new_kernel_of_gentoo(tmp_path / "disk"), tmp_path / "gentoo.json")
    shown = calls(capfd)("fix", "--dry-run", "--snapshot", str(snapshot))
    assert "Left for a person: kernel.module-missing. Build it for this kernel" in " ".join(shown.out.split())


def test_a_driver_that_nixos_has_switched_to_waits_for_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*words: object) -> dict[str, dict[str, object]]:
        said = healthy_machines.answers([DESKTOP], NEW, "/nix/store/0a1b2c3d-nvidia-x11-580.95.05-6.12.57/lib")
        said["nvml"] |= {"return_code": 18, "return_name": "NVML_ERROR_LIB_RM_VERSION_MISMATCH", "gpus": []}
        said["cuda"] |= {"return_code": 803, "return_name": "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "device_count": 0}
        return said

    monkeypatch.setattr(rolling, "answers", refused)
    machine = rolling.nixos(tmp_path, 0)
    version = tmp_path / "proc/driver/nvidia/version"
    version.write_text(version.read_text().replace(NEW, OLD))
    (tmp_path / "sys/module/nvidia/version").write_text(f"{OLD}\n")
    seen = diagnosed(machine)
    assert seen.found == ["driver.library-mismatch"]
    assert (
        f"/run/current-system/kernel-modules/lib/modules/6.12.57/kernel/drivers/video/nvidia.ko.xz: {NEW}" in seen.proof
    )
    assert seen.first.remedy.startswith("Reboot: until then modprobe goes on")
    assert seen.fixes == ["reboot"]  # modprobe would load the old one again


def test_a_module_of_nixos_that_is_not_loaded(tmp_path: Path) -> None:
    rolling.nixos(tmp_path, 0)
    seen = diagnosed(after_a_restart(tmp_path))
    assert seen.found == ["kernel.module-not-loaded"]
    assert seen.first.remedy.startswith("Run `modprobe nvidia`")
    assert seen.fixes == ["load-module"]


def test_a_module_of_nixos_that_came_with_a_generation_that_was_not_booted_yet(tmp_path: Path) -> None:
    rolling.nixos(tmp_path, 0)
    shutil.rmtree(tmp_path / "run/booted-system/kernel-modules/lib/modules/6.12.57/kernel/drivers/video")
    (tmp_path / "run/booted-system/kernel-modules/lib/modules/6.12.57/modules.dep").write_text("")
    seen = diagnosed(after_a_restart(tmp_path))
    assert seen.found == ["kernel.module-not-loaded"]
    assert seen.first.remedy.startswith("Reboot: until then modprobe goes on")  # it would find no module
    assert "/run/booted-system/kernel-modules/lib/modules/6.12.57: no NVIDIA module" in seen.proof
    assert seen.fixes == ["boot-new-generation"]


CORE = 'ID=ubuntu-core\nVERSION_ID="24"\nPRETTY_NAME="Ubuntu Core 24"\n'


@pytest.mark.parametrize("failed", [False, True])
def test_on_ubuntu_core_what_lies_in_snaps_is_not_called_missing(tmp_path: Path, failed: bool) -> None:
    files = noble_dkms([DESKTOP], 0) | {"/etc/os-release": CORE, "/etc/ld.so.cache": ld_cache([])}
    gone = ("/usr/lib/", "/lib/firmware/", "/var/", "/etc/default/", "/boot/grub")
    files = {path: content for path, content in files.items() if path.endswith("/") or not path.startswith(gone)}
    if failed:
        line = f"nvidia 0000:01:00.0: Direct firmware load for nvidia/{NEW}/gsp_ga10x.bin failed with error -2"
        files["/dev/kmsg"] = f"4,1,1,-;{line}\n"
    said = healthy_machines.answers([DESKTOP], NEW, "")
    said["nvml"] |= {"return_code": 12, "return_name": "NVML_ERROR_LIBRARY_NOT_FOUND", "library_path": None, "gpus": []}
    said["cuda"] |= {"return_code": None, "error": "libcuda.so.1: cannot open", "library_path": None, "device_count": 0}
    seen = diagnosed(running(tmp_path, files, manager="", cards=[DESKTOP], said=said))
    told = {one.check.id: one.reason for one in seen.report.outcomes if one.matters}
    assert "driver.library-missing" in told
    assert "lie in snaps" in told["driver.library-missing"]
    assert seen.found == (["driver.gsp-firmware-missing"] if failed else [])
    assert seen.report.exit_code == (2 if failed else 3), "it is no health either"


@pytest.mark.parametrize("bound", ["", "nouveau"])
@pytest.mark.parametrize("manager", ["", "dpkg"])
@pytest.mark.parametrize("module", [False, True], ids=["no module", "module"])
@pytest.mark.parametrize("library", [False, True], ids=["no library", "library"])
def test_a_gpu_that_no_driver_serves_is_never_called_fine(
    tmp_path: Path, library: bool, module: bool, manager: str, bound: str
) -> None:
    release, card = "6.12.57_1", DESKTOP._replace(driver=bound)
    files = system('ID=void\nPRETTY_NAME="Void Linux"\n', release, "gcc (GCC) 14.2.1") | kernel(release) | bus([card])
    packages = listed({"gcc-14": "14.2.0-19"}, {"": "Debian"})
    files |= modules(release, "extra", NEW) | gsp(NEW) if module else {}
    files |= libraries(NEW, "/usr/lib") if library else {}
    found = diagnosed(running(tmp_path, files, manager=manager, packages=packages, cards=[card])).found
    assert found
    assert found[0] in {
        *("driver.not-installed", "kernel.module-missing", "kernel.module-not-loaded", "kernel.nouveau-bound")
    }
