"""What upgrades do to Fedora, RHEL, openSUSE and Arch machines, foreseen on whole machines."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import healthy_rpm
import pytest
from driver_answers import Gpu
from family_machines import ARCH, FEDORA, Machine, Module, dkms, machine
from package_machines import arch, fedora_rpmfusion, package
from preflight_plans import advice, foreseen, proof, told

from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.preflight.foresee import foresee
from gpudoctor.preflight.transaction import Transaction, change
from gpudoctor.registry import Facts

OLD, NEW = "580.82.07", "580.95.05"
F42, F42_NEXT = "6.16.8-200.fc42.x86_64", "6.16.10-200.fc42.x86_64"
TAKEN = [Gpu("2684")]  # an RTX 4090, held by the driver

HEAD = """Dependencies resolved.
================================================================================
 Package                          Arch      Version               Repo     Size
================================================================================
"""


def dnf_plan(sections: Mapping[str, Sequence[str]]) -> str:
    """What dnf 4 prints; rows are "name architecture version repository"."""
    text = HEAD
    for section, rows in sections.items():
        text += f"{section}:\n" + "".join(f" {row}  5.5 k\n" for row in rows)
    words = {"Installing": "Install", "Upgrading": "Upgrade", "Removing": "Remove"}
    text += "\nTransaction Summary\n" + "=" * 80 + "\n"
    return text + "".join(f"{words[section]}  {len(rows)} Packages\n" for section, rows in sections.items())


def fedora(folder: Path, **more: object) -> Machine:
    """RPM Fusion's driver with the module that akmods built for the running kernel."""
    found = [one for one in fedora_rpmfusion().values() if not one.name.startswith(("kmod-nvidia-6", "kernel-core"))]
    found += [package(name, "1-1.fc42", vendor="Fedora Project") for name in ("akmods", "gcc")]
    for name in ("kernel-core", "kernel-devel"):
        found.append(package(name, F42.removesuffix(".x86_64"), vendor="Fedora Project", architecture="x86_64"))
    found.append(package(f"kmod-nvidia-{F42}", "3:580.95.05-1.fc42", vendor="RPM Fusion"))
    return machine(
        folder,
        FEDORA,
        F42,
        packages=found,
        modules={F42: [Module(NEW, "extra/nvidia", open=True, signed=True)]},
        loaded=NEW,
        open_module=True,
        user_space=NEW,
        gpus=TAKEN,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("devel", [True, False])
def test_akmods_needs_the_headers_of_the_new_kernel(tmp_path: Path, devel: bool) -> None:
    rows = ["kernel-core x86_64 6.16.10-200.fc42 updates"]
    rows += ["kernel-devel x86_64 6.16.10-200.fc42 updates"] * devel
    seen = foreseen(fedora(tmp_path), dnf_plan({"Installing": rows}))
    kernels = seen.facts.get(InstalledKernels)
    assert [kernel.release for kernel in kernels.kernels] == [F42_NEXT, F42]  # installed side by side
    assert kernels.next_boot == F42_NEXT
    if devel:
        assert told(seen) == {}
    else:
        assert told(seen) == {"kernel.headers-missing": "AFTER_RESTART"}
        assert "akmods could not build" in seen.worse[0].finding.summary
        assert "`dnf install kernel-devel`" in advice(seen)
        assert f"the plan: no kernel-devel-{F42_NEXT} comes along" in proof(seen)


def test_dnf_takes_an_old_kernel_away(tmp_path: Path) -> None:
    plan = dnf_plan(
        {
            "Installing": [f"{name} x86_64 6.16.10-200.fc42 updates" for name in ("kernel-core", "kernel-devel")],
            "Removing": [f"{name} x86_64 6.16.8-200.fc42 @updates" for name in ("kernel-core", "kernel-devel")],
        }
    )
    seen = foreseen(fedora(tmp_path), plan)
    assert [kernel.release for kernel in seen.facts.get(InstalledKernels).kernels] == [F42_NEXT]
    versions = [one.version for one in seen.facts.get(Packages).installed() if one.name == "kernel-core"]
    assert versions == ["6.16.10-200.fc42"]


def test_rpm_fusions_driver_moves_on(tmp_path: Path) -> None:
    old = [
        one for one in fedora_rpmfusion().values() if one.version == "3:580.95.05-1.fc42" and "kmod-" not in one.name
    ]
    rows = [f"{one.name} {one.architecture} 3:580.105.08-1.fc42 rpmfusion-nonfree-updates" for one in old]
    plan = dnf_plan({"Upgrading": ["akmod-nvidia amd64 3:580.105.08-1.fc42 rpmfusion-nonfree-updates", *rows]})
    seen = foreseen(fedora(tmp_path), plan)
    assert seen.facts.get(DriverVersions).user_space == "580.105.08"
    assert seen.facts.get(DriverVersions).on_disk == "580.105.08"
    assert told(seen)["driver.library-mismatch"] == "UNTIL_RESTART"


def test_a_packaged_module_serves_the_next_kernel_of_rhel(tmp_path: Path) -> None:
    host = healthy_rpm.rocky_precompiled(tmp_path, 0)
    facts = Facts(host)
    before = facts.get(InstalledKernels).kernels[0].release
    number = before.removesuffix(".x86_64")
    stem, _, rest = number.partition("-")
    later = f"{stem}-{int(rest.partition('.')[0]) + 3}.{rest.partition('.')[2]}"
    coming = Transaction("rpm", (change("kernel-core", "x86_64", "", later),), (), "the plan")
    seen = foresee(facts, coming)
    assert seen.facts.get(InstalledKernels).next_boot == f"{later}.x86_64"
    assert [file.origin for file in seen.facts.get(ModuleFiles).of(f"{later}.x86_64")] == ["weak-updates"]
    assert told(seen) == {}


ARCH_OLD, ARCH_NEW = "6.16.8-arch1-1", "6.16.10-arch1-1"


def arch_machine(folder: Path, *, by_dkms: bool = False) -> Machine:
    packages = arch(OLD)
    for name in ("nvidia-utils", "opencl-nvidia", "lib32-nvidia-utils"):
        packages[name] = packages[name]._replace(version=f"{OLD}-1", depends=())
    packages["linux"] = packages["linux"]._replace(version="6.16.8.arch1-1")
    found = list(packages.values())
    if by_dkms:
        found = [one._replace(name=one.name.replace("nvidia-open", "nvidia-open-dkms")) for one in found]
        found += [package("linux-headers", "6.16.8.arch1-1"), package("dkms", "3.2.2-1")]
    return machine(
        folder,
        ARCH,
        ARCH_OLD,
        packages=found,
        modules={ARCH_OLD: [Module(OLD, "updates/dkms" if by_dkms else "extramodules", open=True)]},
        loaded=OLD,
        open_module=True,
        user_space=OLD,
        gpus=TAKEN,
        files=dkms("nvidia", OLD, [ARCH_OLD]) if by_dkms else {},
    )


UTILS = f"nvidia-utils {NEW}-1\nopencl-nvidia {NEW}-1\nlib32-nvidia-utils {NEW}-1\n"


def test_a_whole_upgrade_of_arch(tmp_path: Path) -> None:
    seen = foreseen(arch_machine(tmp_path), f"linux 6.16.10.arch1-1\nnvidia-open {NEW}-3\n{UTILS}")
    assert told(seen) == {"driver.library-mismatch": "UNTIL_RESTART"}
    assert seen.facts.get(InstalledKernels).next_boot == ARCH_NEW
    assert [(file.kernel, file.version) for file in seen.facts.get(ModuleFiles).files] == [(ARCH_NEW, NEW)]


def test_a_new_kernel_of_arch_without_its_module(tmp_path: Path) -> None:
    """IgnorePkg holds the driver, or a mirror has not got it yet."""
    seen = foreseen(arch_machine(tmp_path), "linux 6.16.10.arch1-1\n")
    assert told(seen)["kernel.module-missing"] == "AFTER_RESTART"
    assert "IgnorePkg in /etc/pacman.conf for linux" in advice(seen)


@pytest.mark.parametrize("headers", [True, False])
def test_dkms_on_arch_needs_the_headers_package_along(tmp_path: Path, headers: bool) -> None:
    plan = "linux 6.16.10.arch1-1\n" + "linux-headers 6.16.10.arch1-1\n" * headers
    seen = foreseen(arch_machine(tmp_path, by_dkms=True), plan)
    if headers:
        assert "kernel.headers-missing" not in told(seen)
        assert [file.version for file in seen.facts.get(ModuleFiles).of(ARCH_NEW)] == [OLD]
    else:
        assert told(seen)["kernel.headers-missing"] == "AFTER_RESTART"
        assert "`pacman -Syu linux-headers`" in advice(seen)


def test_libraries_of_arch_go_ahead_of_the_module(tmp_path: Path) -> None:
    seen = foreseen(arch_machine(tmp_path), UTILS)
    assert told(seen)["packages.partial-upgrade"] == "AT_ONCE"
