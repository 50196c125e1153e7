"""Versions that part on Ubuntu: an upgrade under the loaded module, a kernel without its module, an old initramfs."""

from pathlib import Path

import pytest
from diagnoses import diagnosed
from driver_answers import Gpu
from family_machines import AFTER, UBUNTU, Machine, Module, machine
from package_databases import apt_history
from ubuntu_machines import (
    HISTORY,
    KERNEL,
    NEW,
    NEXT,
    OLD,
    READY,
    RTX_4090,
    UPGRADE,
    kernels,
    ready_made,
    with_dkms,
)

from gpudoctor.findings import Severity
from gpudoctor.machine import RootHost


def test_unattended_upgrade_replaced_the_driver_under_the_loaded_module(tmp_path: Path) -> None:
    flag = {"/run/reboot-required": "", "/run/reboot-required.pkgs": "nvidia-driver-580-open\n"}
    seen = diagnosed(with_dkms(tmp_path, loaded=OLD, written=AFTER, files={HISTORY: UPGRADE, **flag}))
    assert seen.found == ["driver.library-mismatch"]
    assert f"driver in memory is {OLD}, its libraries are {NEW}" in seen.first.summary
    assert "on 2026-11-22 06:50:11 by `/usr/bin/unattended-upgrade`" in seen.first.summary
    assert seen.first.remedy.startswith("Reboot; or, if nothing uses the GPU, reload")
    assert seen.explained == {"driver.nvml-failed", "driver.cuda-init-failed", "packages.reboot-required"}
    assert seen.fixes == ["reload-driver"]
    assert seen.steps == [
        "modprobe -r nvidia_uvm nvidia_drm nvidia_modeset nvidia",
        "modprobe -a nvidia nvidia_modeset nvidia_drm nvidia_uvm",
    ]
    assert [chosen.fix.id for chosen in seen.plan.alternatives] == ["reboot"]


def test_a_ready_made_module_stayed_behind_its_libraries(tmp_path: Path) -> None:
    seen = diagnosed(
        machine(
            tmp_path,
            UBUNTU,
            KERNEL,
            packages=[*ready_made(KERNEL), *kernels(KERNEL)],
            modules={KERNEL: [Module(OLD, "kernel/nvidia-580-open", open=True, signed=True)]},
            loaded=OLD,
            open_module=True,
            user_space=NEW,
            gpus=[Gpu(RTX_4090)],
            files={HISTORY: UPGRADE},
        )
    )
    assert seen.found == ["kernel.module-stale"]
    assert f"`apt install {READY}-{KERNEL}`" in seen.first.remedy
    assert seen.steps == [f"apt-get install {READY}-{KERNEL} {READY}-generic", "systemctl reboot"]


def test_the_next_kernel_has_the_module_that_fits_so_reboot(tmp_path: Path) -> None:
    seen = diagnosed(
        machine(
            tmp_path,
            UBUNTU,
            KERNEL,
            others=[NEXT],
            packages=[*ready_made(KERNEL, NEXT), *kernels(KERNEL, NEXT)],
            modules={
                KERNEL: [Module(OLD, "kernel/nvidia-580-open", open=True, signed=True)],
                NEXT: [Module(NEW, "kernel/nvidia-580-open", open=True, signed=True)],
            },
            loaded=OLD,
            open_module=True,
            user_space=NEW,
            gpus=[Gpu(RTX_4090)],
            files={HISTORY: UPGRADE},
        )
    )
    assert seen.found == ["driver.library-mismatch"]
    assert seen.first.remedy.startswith(f"Reboot: the kernel that boots next has the module {NEW}.")
    assert "reload" not in seen.first.remedy
    assert seen.steps == ["systemctl reboot"]


def without_the_next_module(folder: Path, *, running: str) -> Machine:
    upgrade = apt_history(
        "2026-11-20 06:50:11", "/usr/bin/unattended-upgrade", f"Install: linux-image-{NEXT}:amd64 (6.8.0-100.100)"
    )
    return machine(
        folder,
        UBUNTU,
        running,
        others=[release for release in (KERNEL, NEXT) if release != running],
        packages=[*ready_made(KERNEL, follow=False), *kernels(KERNEL, NEXT)],
        modules={KERNEL: [Module(NEW, "kernel/nvidia-580-open", open=True, signed=True)]},
        loaded=NEW if running == KERNEL else "",
        open_module=True,
        user_space=NEW,
        gpus=[Gpu(RTX_4090, "nvidia" if running == KERNEL else "")],
        files={HISTORY: upgrade},
    )


@pytest.mark.parametrize("running", [NEXT, KERNEL])
def test_a_kernel_came_without_its_ready_made_module(tmp_path: Path, running: str) -> None:
    seen = diagnosed(without_the_next_module(tmp_path, running=running))
    assert seen.found == ["kernel.prebuilt-module-missing"]
    assert "came on 2026-11-20 06:50:11 by `/usr/bin/unattended-upgrade`" in seen.first.summary
    assert f"`apt install {READY}-{NEXT} {READY}-generic`" in seen.first.remedy
    assert "Do not add nvidia-dkms" in seen.first.remedy
    install = f"apt-get install {READY}-{NEXT} {READY}-generic"
    if running == NEXT:
        assert seen.severity is Severity.ERROR
        assert "the GPU cannot be used" in seen.first.summary
        assert seen.explained == {"kernel.module-missing"}
        assert seen.steps == [install, "modprobe -a nvidia nvidia_uvm"]
    else:
        assert seen.severity is Severity.WARNING
        assert "the GPU works until the next reboot" in seen.first.summary
        assert seen.explained == {"kernel.next-boot-module-missing"}
        assert seen.steps == [install]


def test_the_same_on_its_mounted_disk(tmp_path: Path) -> None:
    without_the_next_module(tmp_path, running=NEXT)
    seen = diagnosed(RootHost(str(tmp_path)))
    assert seen.found == ["kernel.prebuilt-module-missing"]
    assert "the GPU will not work when this system boots it" in seen.first.summary
    assert seen.steps == [f"apt-get install {READY}-{NEXT} {READY}-generic"]


def test_the_file_of_a_ready_made_module_is_gone(tmp_path: Path) -> None:
    packages = [*ready_made(KERNEL), *kernels(KERNEL)]
    seen = diagnosed(machine(tmp_path, UBUNTU, KERNEL, packages=packages, user_space=NEW, gpus=[Gpu(RTX_4090, "")]))
    assert seen.found == ["kernel.module-missing"]
    assert f"`apt-get install --reinstall {READY}-{KERNEL}`" in seen.first.remedy
    assert seen.steps == [f"apt-get install --reinstall {READY}-{KERNEL}", "modprobe -a nvidia nvidia_uvm"]


def test_an_old_copy_in_the_initramfs_survives_the_reboot(tmp_path: Path) -> None:
    before = UPGRADE.replace("2026-11-22", "2026-11-18")
    seen = diagnosed(with_dkms(tmp_path, loaded=OLD, files={HISTORY: before}))
    assert seen.found == ["kernel.module-stale"]
    assert "an older copy is loaded at boot" in seen.first.summary
    assert seen.first.remedy == f"Refresh the initramfs with `update-initramfs -u -k {KERNEL}`, then reboot."
    assert f"/boot/initrd.img-{KERNEL}: written 2026-11-20" in seen.proof
    assert seen.steps == [f"update-initramfs -u -k {KERNEL}", "systemctl reboot"]
