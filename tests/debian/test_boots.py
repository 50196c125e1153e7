"""The founding failure in a virtual machine that boots the kernel itself; nothing is laid over /proc. On demand."""

import shutil
from pathlib import Path

import pytest
from debian_boots import boot, make_disk, need_virtual_machines
from debian_machines import FLAVOUR, HEALTHY, VERSION, Kernels, diagnosis, upgrade
from debian_roots import Done, Root

pytestmark = [pytest.mark.slow, pytest.mark.full]

CHECK = ("gpudoctor", "check", "--format", "json")
VERSIONS = ("cat", "/proc/driver/nvidia/version")


def test_before_the_repair_in_its_course_and_after_a_restart(machine: Root, kernels: Kernels, roots: Path) -> None:
    need_virtual_machines()
    upgrade(machine)
    bring_along(machine, f"linux-headers-{FLAVOUR}")
    disk = roots / "disk"
    make_disk(machine, disk)

    first = boot(
        machine,
        disk,
        kernels.new,
        {
            "kernel": ("uname", "-r"),
            "before": CHECK,
            "load": ("modprobe", "nvidia"),
            "fix": ("gpudoctor", "fix", "--yes"),
            "after": CHECK,
            "version": VERSIONS,
            "again": ("gpudoctor", "fix", "--yes"),
        },
    ).answers
    assert first["kernel"] == Done(0, f"{kernels.new}\n")
    before = diagnosis(*first["before"])
    assert (before.exit_code, before.found, before.explained) == (
        2,
        ("kernel.headers-missing",),
        {"kernel.module-missing"},
    )
    assert first["load"].exit_code != 0
    assert first["fix"].exit_code == 0, first["fix"].output
    assert f"Kernel Module  {VERSION} " in first["version"].output, "it is loaded"
    assert diagnosis(*first["after"]) == HEALTHY
    assert first["again"] == Done(0, "Nothing to repair.\n")

    # A restart brings nothing back; what loads the driver at every start is udev, which is not here.
    load = ("modprobe", "-a", "nvidia", "nvidia_uvm")
    second = boot(
        machine, disk, kernels.new, {"early": CHECK, "load": load, "version": VERSIONS, "after": CHECK}
    ).answers
    assert diagnosis(*second["early"]).found == ("kernel.module-not-loaded",)
    assert second["load"].exit_code == 0, second["load"].output
    assert VERSION in second["version"].output
    assert diagnosis(*second["after"]) == HEALTHY


def bring_along(root: Root, package: str) -> None:
    """Put this package and what it needs into the root's own cache: the virtual machine has no network."""
    root.do("apt-get", "clean")
    root.do("apt-get", "-y", "-q", "--download-only", "install", package)
    cache = root.inside("/var/cache/apt/archives")
    cache.mkdir(parents=True, exist_ok=True)
    for file in root.archives.glob("*.deb"):
        shutil.copyfile(file, cache / file.name)
