"""The most frequent failures on Fedora, RHEL and openSUSE, on whole machines."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from diagnoses import diagnosed
from driver_answers import Gpu
from family_machines import AFTER, BEFORE, FEDORA, SUSE, Machine, Module, dkms, machine
from package_databases import dnf_history
from package_machines import fedora_rpmfusion, package, suse

from gpudoctor.facts.packages import Package

OLD, NEW = "580.82.07", "580.95.05"
FREE, TAKEN = [Gpu("2684", "")], [Gpu("2684")]  # an RTX 4090

F42, F42_NEXT = "6.16.8-200.fc42.x86_64", "6.16.10-200.fc42.x86_64"
EPOCH_NEW, EPOCH_OLD = "3:580.95.05-1.fc42", "3:580.82.07-1.fc42"
TRANSACTIONS = "usr/lib/sysimage/libdnf5/transaction_history.sqlite"
CAME = [("kernel-core", "6.16.10-200.fc42", "Install", "")]


def fedora(*built: tuple[str, str]) -> list[Package]:
    """RPM Fusion's driver 580.95.05; `built`: (kernel, version) of the modules that akmods made."""
    found = [
        one for one in fedora_rpmfusion(EPOCH_NEW).values() if not one.name.startswith(("kmod-nvidia-6", "kernel-core"))
    ]
    found += [package(f"kmod-nvidia-{kernel}", version, vendor="RPM Fusion") for kernel, version in built]
    found += [package(name, "1-1.fc42", vendor="Fedora Project") for name in ("akmods", "gcc")]
    releases = (F42.removesuffix(".x86_64"), F42_NEXT.removesuffix(".x86_64"))
    return [*found, *(package("kernel-core", release, vendor="Fedora Project") for release in releases)]


def built(version: str, written: float = BEFORE) -> list[Module]:
    return [Module(version, "extra/nvidia", open=True, signed=True, written=written)]


@pytest.mark.parametrize("headers", [True, False])
def test_akmods_has_not_built_for_the_new_kernel(tmp_path: Path, headers: bool) -> None:
    dnf_history(tmp_path / TRANSACTIONS, [(BEFORE, "dnf5 upgrade", CAME)])
    seen = diagnosed(
        machine(
            tmp_path,
            FEDORA,
            F42_NEXT,
            others=[F42],
            headers=[F42, F42_NEXT] if headers else [F42],
            packages=fedora((F42, EPOCH_NEW)),
            modules={F42: built(NEW)},
            user_space=NEW,
            gpus=FREE,
        )
    )
    build = f"akmods --force --kernels {F42_NEXT}"
    assert "by `dnf5 upgrade`" in seen.first.summary
    assert f"`{build}`, then `modprobe nvidia`; no reboot is needed" in seen.first.remedy
    if headers:
        assert seen.found == ["kernel.module-missing"]
        assert seen.steps == [build, "modprobe -a nvidia nvidia_uvm"]
    else:
        assert seen.found == ["kernel.headers-missing"]
        assert f"dnf install kernel-devel-{F42_NEXT}" in seen.first.remedy
        assert seen.steps[0].startswith(f"dnf install kernel-devel-{F42_NEXT}")
        assert seen.steps[1:] == [build, "modprobe -a nvidia nvidia_uvm"]


def test_a_kernel_for_which_akmods_will_build_at_its_boot_is_no_fault(tmp_path: Path) -> None:
    seen = diagnosed(
        machine(
            tmp_path,
            FEDORA,
            F42,
            others=[F42_NEXT],
            packages=fedora((F42, EPOCH_NEW)),
            modules={F42: built(NEW)},
            loaded=NEW,
            open_module=True,
            user_space=NEW,
            gpus=TAKEN,
        )
    )
    assert seen.found == []


@pytest.mark.parametrize("ready", [True, False])
def test_dnf_upgraded_the_driver_under_the_loaded_module(tmp_path: Path, ready: bool) -> None:
    """akmods builds in the background; who looks too early finds the old module still on the disk."""
    changes = [
        ("xorg-x11-drv-nvidia-cuda-libs", EPOCH_NEW, "Upgrade", EPOCH_OLD),
        ("akmod-nvidia", EPOCH_NEW, "Upgrade", EPOCH_OLD),
    ]
    dnf_history(tmp_path / TRANSACTIONS, [(AFTER, "dnf5 upgrade", changes)])
    seen = diagnosed(
        machine(
            tmp_path,
            FEDORA,
            F42_NEXT,
            packages=fedora((F42_NEXT, EPOCH_NEW if ready else EPOCH_OLD)),
            modules={F42_NEXT: built(NEW, AFTER) if ready else built(OLD)},
            loaded=OLD,
            open_module=True,
            user_space=NEW,
            gpus=TAKEN,
        )
    )
    if ready:
        assert seen.found == ["driver.library-mismatch"]
        assert "by `dnf5 upgrade` has replaced the files" in seen.first.summary
        assert seen.fixes == ["reload-driver"]
    else:
        build = f"akmods --force --kernels {F42_NEXT}"
        assert seen.found == ["kernel.module-stale"]
        assert "the new one is not built yet" in seen.first.summary
        assert f"`{build}` (it takes minutes), then reboot." in seen.first.remedy
        assert seen.steps == [build, "systemctl reboot"]


def test_the_key_of_akmods_is_not_enrolled(tmp_path: Path) -> None:
    key = "/etc/pki/akmods/certs/public_key.der"
    seen = diagnosed(
        machine(
            tmp_path,
            FEDORA,
            F42,
            packages=fedora((F42, EPOCH_NEW)),
            modules={F42: built(NEW)},
            user_space=NEW,
            gpus=FREE,
            secure_boot=True,
            log="Loading of module with unavailable key is rejected",
            files={key: b"certificate of akmods"},
        )
    )
    assert seen.found == ["kernel.secure-boot-blocks-module"]
    assert seen.first.remedy.startswith(f"Enrol its key with `mokutil --import {key}`, reboot")
    (step,) = seen.steps
    assert f"mokutil --import {key}" in step


def test_rhel_with_dkms_lacks_the_headers_of_its_new_kernel(tmp_path: Path) -> None:
    before, now = "5.14.0-570.12.1.el9_6.x86_64", "5.14.0-570.62.1.el9_6.x86_64"
    names = ("kmod-nvidia-open-dkms", "nvidia-driver", "nvidia-driver-cuda", "nvidia-driver-cuda-libs")
    family = FEDORA._replace(
        os_release='ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.6"\nPRETTY_NAME="Red Hat Enterprise Linux 9.6"\n',
        gcc="gcc (GCC) 11.5.0 20240719 (Red Hat 11.5.0-5)",
    )
    seen = diagnosed(
        machine(
            tmp_path,
            family,
            now,
            others=[before],
            headers=[before],
            packages=[
                *(package(name, "3:580.95.05-1.el9", vendor="NVIDIA Corporation") for name in names),
                *(package("kernel-core", release.removesuffix(".x86_64")) for release in (before, now)),
                package("dkms", "3.2.2-1.el9"),
            ],
            modules={before: [Module(NEW, "extra", open=True)]},
            user_space=NEW,
            gpus=[Gpu("2330", "")],
            files=dkms("nvidia", NEW, [before]),
        )
    )
    assert seen.found == ["kernel.headers-missing"]
    assert f"dnf install kernel-devel-{now}" in seen.first.remedy
    assert seen.steps[0].startswith(f"dnf install kernel-devel-{now}")
    assert seen.steps[1:] == [f"dkms autoinstall -k {now}", "modprobe -a nvidia nvidia_uvm"]


LEAP, LEAP_NEXT = "6.4.0-150600.23.65-default", "6.4.0-150600.23.70-default"
KMP = "nvidia-open-driver-G06-signed-kmp-default"


def leap(folder: Path, packages: Iterable[Package], running: str, version: str, *, loaded: str = "") -> Machine:
    kernels = [package("kernel-default", release.removesuffix("-default") + ".1") for release in (LEAP, LEAP_NEXT)]
    came = (
        "2026-11-20 06:50:11|command|root@leap|'zypper' 'up'|\n"
        "2026-11-20 06:52:11|install|kernel-default|6.4.0-150600.23.70.1|x86_64||update|abc|\n"
    )
    return machine(
        folder,
        SUSE,
        running,
        others=[LEAP] if running != LEAP else [],
        headers=[],
        packages=[*packages, *kernels],
        modules={LEAP: [Module(version, "updates", open=True, signed=True)]},
        loaded=loaded,
        open_module=True,
        user_space=NEW,
        gpus=TAKEN if loaded else FREE,
        files={"/var/log/zypp/history": came},
    )


def test_the_kmp_is_for_another_kernel(tmp_path: Path) -> None:
    seen = diagnosed(leap(tmp_path, suse().values(), LEAP_NEXT, NEW))
    assert seen.found == ["kernel.module-missing"]
    assert "came on 2026-11-20 06:52:11 by `zypper up`" in seen.first.summary
    assert f"`zypper install --force {KMP}`" in seen.first.remedy
    assert f"Until then boot kernel {LEAP}" in seen.first.remedy
    assert seen.steps == [f"zypper install --force {KMP}", "modprobe -a nvidia nvidia_uvm"]


def test_the_kmp_stayed_behind_its_libraries(tmp_path: Path) -> None:
    packages = suse()
    packages[KMP] = packages[KMP]._replace(version=f"{OLD}_k6.4.0_150600.23.65-150600.3.1")
    seen = diagnosed(leap(tmp_path, packages.values(), LEAP, OLD, loaded=OLD))
    assert seen.found == ["packages.partial-upgrade"]
    assert f"{KMP} is {OLD}" in seen.first.summary
    # Module and libraries come from two makers, who number their packages in two ways.
    assert seen.steps == [f"zypper update {KMP}", "systemctl reboot"]
