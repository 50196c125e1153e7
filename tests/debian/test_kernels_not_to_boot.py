"""Kernels that the machine would not come up with again, for real: no initramfs, and the boot links point at them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from debian_machines import (
    DKMS_DEPENDS,
    FLAVOUR,
    HEALTHY,
    VERSION,
    Kernels,
    Running,
    check,
    fix,
    module_of,
    on_running,
)
from debian_roots import Root
from standin_packages import dkms_source, publish

pytestmark = pytest.mark.slow

DO_NOT_RESTART = "do not restart this machine, for that kernel has no initramfs"
# Compiles for kernels up to the old one only.
PICKY = """
#include <linux/version.h>
#if LINUX_VERSION_CODE > KERNEL_VERSION({version})
int stand_in_follows(void);
int stand_in_follows(void) {{ return follow_pfn_as_before(1); }}
#endif
"""


def test_a_driver_that_does_not_compile_leaves_the_newest_kernel_without_initramfs(
    machine: Root, kernels: Kernels
) -> None:
    running = Running(kernels.old)
    version = ", ".join(kernels.old_meta.partition("-")[0].split("."))  # "6.1.176-1" is Linux 6.1.176
    publish(machine, [dkms_source(VERSION, "1+standin2", DKMS_DEPENDS, PICKY.format(version=version))])
    machine.do("apt-get", "-y", "-q", "install", "nvidia-kernel-dkms")
    metas = (f"linux-image-{FLAVOUR}", f"linux-headers-{FLAVOUR}")
    failed = machine.run("apt-get", "-y", "-q", "install", *metas)
    assert failed.exit_code == 100, failed.output
    assert machine.inside("/vmlinuz").readlink().name == f"vmlinuz-{kernels.new}"
    assert not machine.inside(f"/boot/initrd.img-{kernels.new}").exists()

    seen = check(machine, running)
    assert (seen.exit_code, seen.found) == (2, ("kernel.driver-too-old-for-kernel",))
    assert DO_NOT_RESTART in seen.text.partition(" | ")[0], "said in the first sentence"
    assert "follow_pfn_as_before" in seen.text
    assert "packages.half-configured" in seen.explained

    assert fix(machine, running, "--yes").exit_code == 3, "a kernel is not removed without being allowed to"
    done = fix(machine, running, "--yes", "--allow", "high")
    assert done.exit_code == 0, done.output
    assert machine.inside("/vmlinuz").readlink().name == f"vmlinuz-{kernels.old}"
    assert machine.do("dpkg", "--audit") == ""
    assert check(machine, running) == HEALTHY


class SmallBoot(NamedTuple):
    """A /boot of its own in the root, with somebody's large file in it."""

    folder: Path
    leftover: Path

    @property
    def mounts(self) -> list[tuple[str, ...]]:
        return [("--bind", str(self.folder), "/boot")]


@pytest.fixture
def small_boot(machine: Root, roots: Path) -> Iterator[SmallBoot]:
    """Room for another kernel, but not for its initramfs."""
    there = machine.inside("/boot")
    used = sum(file.stat().st_size for file in there.iterdir()) >> 20
    folder = roots / "boot"
    folder.mkdir()
    size = used + 200 + 22
    subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={size}M", "tmpfs", str(folder)), check=True)
    try:
        subprocess.run(("cp", "-a", f"{there}/.", str(folder)), check=True)
        leftover = folder / "image-of-the-old-disk"
        leftover.write_bytes(bytes(200 << 20))
        yield SmallBoot(folder, leftover)
    finally:
        subprocess.run(("umount", str(folder)), check=True)
        folder.rmdir()


def test_a_full_boot_partition(machine: Root, kernels: Kernels, small_boot: SmallBoot) -> None:
    running, mounts = Running(kernels.old), small_boot.mounts
    failed = machine.run("apt-get", "-y", "-q", "dist-upgrade", mounts=mounts)
    assert failed.exit_code == 100, failed.output
    assert "No space left on device" in failed.output

    seen = check(machine, running, mounts=mounts)
    assert (seen.exit_code, {*seen.found}) == (2, {"kernel.headers-missing", "packages.disk-full"})
    assert DO_NOT_RESTART in seen.text.partition(" | ")[0], "said in the first sentence"
    assert f"Do not restart before that: kernel {kernels.new} boots next and has no initramfs" in seen.text
    assert "packages.half-configured" in seen.explained

    stopped = fix(machine, running, "--yes", mounts=mounts)
    assert stopped.exit_code == 3
    assert "is for a person: Have at least 1 GB free on / and /var and 100 MB on /boot" in " ".join(
        stopped.output.split()
    )
    # The person does so.
    small_boot.leftover.unlink()
    done = fix(machine, running, "--resume", "--yes", mounts=mounts)
    assert done.exit_code == 0, done.output
    assert (small_boot.folder / f"initrd.img-{kernels.new}").exists()
    assert module_of(machine, kernels.new)
    assert machine.do("dpkg", "--audit") == ""
    assert check(machine, running, mounts=mounts) == HEALTHY
    again = on_running(machine, running, "gpudoctor", "fix", "--yes", mounts=mounts)
    assert again.output == "Nothing to repair.\n"
