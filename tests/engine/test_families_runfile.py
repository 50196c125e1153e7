"""Drivers from NVIDIA's .run file: alone, over packages, and in the way of packages."""

from pathlib import Path

import pytest
from diagnoses import diagnosed
from driver_answers import Gpu
from family_machines import AFTER, DEBIAN, UBUNTU, Module, dkms, machine
from package_databases import apt_history
from package_machines import package, ubuntu
from ubuntu_machines import HISTORY, KERNEL, NEW, NEW_PACKAGE, NEXT, OLD_PACKAGE, RTX_4090, TERMINAL, kernels

from gpudoctor.findings import Severity

BOOKWORM = "6.1.0-50-amd64"

# What NVIDIA's installer leaves.
INSTALLER: dict[str, str | bytes] = {
    "/var/lib/nvidia/log": "1.0-5505414 (550.54.14)\n",
    "/var/lib/nvidia/dirs": "/usr/lib\n",
    "/usr/bin/nvidia-uninstall": "",
    "/usr/bin/nvidia-installer": "",
    "/var/log/nvidia-installer.log": "installer version: 550.54.14\n",
}


def test_debians_packages_do_not_go_over_a_driver_from_a_run_file(tmp_path: Path) -> None:
    packages = [
        package("dkms", "3.0.10-8+deb12u1", state="unpacked"),
        package("gcc-12", "12.2.0-14+deb12u1", state="unpacked"),
        package("make", "4.3-4.1", state="unpacked"),
        package("nvidia-installer-cleanup", "20220217+3~deb12u1", state="half-configured"),
        package(f"linux-image-{BOOKWORM}", "6.1.176-1"),
    ]
    failure = (
        "Log started: 2026-11-20  20:00:11\n"
        "dpkg: error processing package nvidia-installer-cleanup (--configure):\n"
        " installed nvidia-installer-cleanup package post-installation script subprocess returned error exit status 1\n"
    )
    seen = diagnosed(
        machine(
            tmp_path,
            DEBIAN,
            BOOKWORM,
            packages=packages,
            modules={BOOKWORM: [Module("550.54.14", "kernel/drivers/video")]},
            loaded="550.54.14",
            user_space="550.54.14",
            gpus=[Gpu("20b2")],
            files={**INSTALLER, TERMINAL: failure},
        )
    )
    assert seen.found == ["packages.half-configured"]
    assert seen.severity is Severity.WARNING, "the GPU works"
    assert "first run `/usr/bin/nvidia-uninstall`" in seen.first.remedy
    # To configure them again before that decision would only fail again.
    assert seen.steps[0].startswith("Decide which driver stays.")
    assert seen.steps[1] == "dpkg --configure -a"


def test_apt_upgraded_packages_under_a_driver_from_a_run_file(tmp_path: Path) -> None:
    change = f"Upgrade: libnvidia-compute-580:amd64 ({OLD_PACKAGE}, {NEW_PACKAGE})"
    seen = diagnosed(
        machine(
            tmp_path,
            UBUNTU,
            KERNEL,
            packages=[*ubuntu().values(), *kernels(KERNEL)],
            modules={
                KERNEL: [
                    Module(NEW, open=True, signed=True, written=AFTER),
                    Module("550.54.14", "kernel/drivers/video", open=True),
                ]
            },
            loaded="550.54.14",
            open_module=True,
            user_space=NEW,
            gpus=[Gpu(RTX_4090)],
            files={
                **INSTALLER,
                **dkms("nvidia", NEW, [KERNEL]),
                HISTORY: apt_history("2026-11-22 06:50:11", "/usr/bin/unattended-upgrade", change),
            },
        )
    )
    assert seen.found == ["packages.runfile-and-packages"]
    assert "550.54.14 from NVIDIA's .run file, and 580.95.05 from packages" in seen.first.summary
    assert "`/usr/bin/nvidia-uninstall`" in seen.first.remedy
    assert seen.explained == {"driver.library-mismatch", "driver.nvml-failed", "driver.cuda-init-failed"}
    assert seen.steps[0] == "nvidia-uninstall --silent"
    assert seen.steps[1].startswith("apt-get install --reinstall ")
    assert seen.steps[-1] == "systemctl reboot"


@pytest.mark.parametrize("headers", [True, False])
def test_a_driver_from_a_run_file_knows_nothing_of_the_next_kernel(tmp_path: Path, headers: bool) -> None:
    change = f"Install: linux-image-{NEXT}:amd64 (6.8.0-100.100, automatic)"
    seen = diagnosed(
        machine(
            tmp_path,
            UBUNTU,
            NEXT,
            others=[KERNEL],
            headers=[KERNEL, NEXT] if headers else [KERNEL],
            packages=kernels(KERNEL, NEXT),
            modules={KERNEL: [Module("550.54.14", "kernel/drivers/video", open=True)]},
            user_space="550.54.14",
            gpus=[Gpu(RTX_4090, "")],
            files={**INSTALLER, HISTORY: apt_history("2026-11-20 06:50:11", "apt upgrade -y", change)},
        )
    )
    assert seen.found == ["kernel.module-missing"]
    assert f"`sh NVIDIA-Linux-x86_64-550.54.14.run --kernel-name={NEXT} --dkms`" in seen.first.remedy
    assert (f"`apt install linux-headers-{NEXT}`" in seen.first.remedy) is not headers
    assert seen.fixes == ["rerun-installer"]
    assert ("install them first" in seen.steps[0]) is not headers
