"""The most frequent failures on Arch, on whole machines: a kernel has gone, or only a part was upgraded."""

import shutil
from pathlib import Path

import pytest
from diagnoses import diagnosed
from driver_answers import Gpu
from family_machines import ARCH, Module, dkms, machine
from package_machines import arch

from gpudoctor.machine import RootHost

OLD, NEW = "580.82.07", "580.95.05"
FREE, TAKEN = [Gpu("2684", "")], [Gpu("2684")]  # an RTX 4090
ARCH_OLD, ARCH_NEW = "6.16.8-arch1-1", "6.16.10-arch1-1"


def pacman_log(command: str, *changes: str) -> dict[str, str | bytes]:
    lines = [f"[PACMAN] Running '{command}'", "[ALPM] transaction started"]
    lines += [f"[ALPM] upgraded {change}" for change in changes]
    lines += ["[ALPM] transaction completed"]
    return {"/var/log/pacman.log": "".join(f"[2026-11-22T06:50:11+0000] {line}\n" for line in lines)}


@pytest.mark.parametrize("loaded", [OLD, ""])
@pytest.mark.parametrize("by_dkms", [True, False])
def test_pacman_took_the_running_kernels_files_away(tmp_path: Path, loaded: str, by_dkms: bool) -> None:
    packages = list(arch().values())
    if by_dkms:
        packages = [one._replace(name=one.name.replace("nvidia-open", "nvidia-open-dkms")) for one in packages]
    host = machine(
        tmp_path,
        ARCH,
        ARCH_OLD,
        others=[ARCH_NEW],
        packages=packages,
        modules={ARCH_NEW: [Module(NEW, "updates/dkms" if by_dkms else "extramodules", open=True)]},
        loaded=loaded,
        open_module=True,
        user_space=NEW,
        gpus=TAKEN if loaded else FREE,
        files={
            **(dkms("nvidia", NEW, [ARCH_NEW]) if by_dkms else {}),
            **pacman_log(
                "pacman -Syu",
                "linux (6.16.8.arch1-1 -> 6.16.10.arch1-1)",
                "nvidia-utils (580.82.07-1 -> 580.95.05-1)",
            ),
        },
    )
    shutil.rmtree(tmp_path / f"usr/lib/modules/{ARCH_OLD}")
    seen = diagnosed(host)
    if loaded:
        assert seen.found == ["driver.library-mismatch"]
        assert "by `pacman -Syu` has replaced the files" in seen.first.summary
        assert seen.first.remedy.startswith("Reboot: the kernel that boots next")
    else:
        assert seen.found == ["kernel.module-missing"]
        assert f"An upgrade has removed the files of the running kernel {ARCH_OLD}" in seen.first.summary
        assert "pacman -Syu: linux 6.16.8.arch1-1 -> 6.16.10.arch1-1" in seen.proof
        assert seen.first.remedy.startswith(f"Reboot into an installed kernel ({ARCH_NEW})")
    assert "headers" not in seen.text
    assert seen.steps == ["systemctl reboot"]


def test_a_partial_upgrade_on_arch(tmp_path: Path) -> None:
    packages = arch()
    packages["nvidia-open"] = packages["nvidia-open"]._replace(
        version=f"{OLD}-11", depends=(f"nvidia-utils (= {OLD})",)
    )
    seen = diagnosed(
        machine(
            tmp_path,
            ARCH,
            ARCH_NEW,
            packages=packages.values(),
            modules={ARCH_NEW: [Module(OLD, "extramodules", open=True)]},
            loaded=OLD,
            open_module=True,
            user_space=NEW,
            gpus=TAKEN,
            files=pacman_log("pacman -Sy nvidia-utils", "nvidia-utils (580.82.07-1 -> 580.95.05-1)"),
        )
    )
    assert seen.found == ["packages.partial-upgrade"]
    assert f"nvidia-open is {OLD}" in seen.first.summary
    assert "by `pacman -Sy nvidia-utils`" in seen.first.summary
    assert "`pacman -Syu`; then reboot" in seen.first.remedy
    assert {"kernel.module-stale", "packages.held-or-broken", "driver.library-mismatch"} <= seen.explained
    assert seen.steps == ["pacman -Syu", "systemctl reboot"]


def test_archs_kernel_moved_on_without_the_module(tmp_path: Path) -> None:
    host = machine(tmp_path, ARCH, ARCH_NEW, packages=arch().values(), user_space=NEW, gpus=FREE)
    for seen in (diagnosed(host), diagnosed(RootHost(str(tmp_path)))):
        assert seen.found == ["kernel.module-missing"]
        assert "(nvidia-open): `pacman -Syu`, then reboot." in seen.first.remedy
        assert seen.steps[0] == "pacman -Syu"
