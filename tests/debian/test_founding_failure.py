"""The founding failure for real: a kernel comes by an upgrade, its headers do not, and DKMS builds nothing for it."""

import pytest
from debian_machines import HEALTHY, Kernels, Running, check, check_disk, fix, module_of, on_running, upgrade
from debian_roots import Root

pytestmark = pytest.mark.slow

MISSING = "kernel.headers-missing"


def test_a_kernel_without_headers_is_named_repaired_and_taken_back(machine: Root, kernels: Kernels) -> None:
    running, rebooted = Running(kernels.old), Running(kernels.new, loaded="")
    assert check(machine, running) == HEALTHY

    assert "was skipped since the kernel headers for this kernel do not seem to be installed" in upgrade(machine)
    assert module_of(machine, kernels.new) == ""
    # No standard tool complains.
    assert machine.do("dpkg", "--audit") == ""
    machine.do("apt-get", "check")
    assert kernels.new not in machine.do("dkms", "status")

    before = check(machine, running)
    assert (before.exit_code, before.found) == (1, (MISSING,))
    assert f"linux-image-{kernels.new}" in before.text
    assert "the GPU works until the next reboot" in before.text
    for seen in (check(machine, rebooted), check_disk(machine, kernels.new)):
        assert (seen.exit_code, seen.found, seen.explained) == (2, (MISSING,), {"kernel.module-missing"})

    done = fix(machine, running, "--yes")
    assert done.exit_code == 0, done.output
    assert "repaired, and the diagnosis agrees" in done.output
    assert f"vermagic:       {kernels.new} " in module_of(machine, kernels.new)
    assert check(machine, running) == HEALTHY
    assert check_disk(machine, kernels.new) == HEALTHY
    # What is left after the reboot is to load it, which no root can.
    assert check(machine, rebooted).found == ("kernel.module-not-loaded",)

    again = fix(machine, running, "--yes")
    assert (again.exit_code, again.output) == (0, "Nothing to repair.\n")
    assert len(on_running(machine, running, "gpudoctor", "fix", "--history").output.splitlines()) == 1

    undone = fix(machine, running, "--undo", "--yes")
    assert undone.exit_code == 0, undone.output
    assert module_of(machine, kernels.new) == ""
    assert not machine.inside(f"/lib/modules/{kernels.new}/build").exists()
    assert check(machine, running)[:3] == before[:3]

    assert fix(machine, running, "--yes").exit_code == 0
    assert check(machine, running) == HEALTHY


def test_what_dkms_takes_for_installed_is_looked_for_and_put_back(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    for file in machine.inside(f"/lib/modules/{kernels.old}/updates/dkms").iterdir():
        file.unlink()
    machine.do("depmod", kernels.old)
    assert f"{kernels.old}, x86_64: installed" in machine.do("dkms", "status")
    machine.do("dkms", "autoinstall", "-k", kernels.old)
    assert module_of(machine, kernels.old) == "", "dkms autoinstall does nothing about it"

    assert check(machine, running).found == ("kernel.next-boot-module-missing",)
    assert check(machine, Running(kernels.old, loaded="")).found == ("kernel.module-missing",)
    done = fix(machine, running, "--yes")
    assert done.exit_code == 0, done.output
    assert module_of(machine, kernels.old)
    assert check(machine, running) == HEALTHY


def test_headers_that_the_archive_has_dropped_are_not_promised(machine: Root, kernels: Kernels) -> None:
    if not kernels.bare:
        pytest.skip("the archive has the headers of all its kernels")
    running = Running(kernels.old)
    machine.do("apt-get", "-y", "-q", "--no-install-recommends", "install", f"linux-image-{kernels.bare}")
    before = check(machine, running)
    assert (before.found, kernels.bare in before.text) == ((MISSING,), True)
    held = packages_of(machine)

    # A newer kernel is more than what goes without asking.
    refused = fix(machine, running, "--yes")
    assert refused.exit_code == 3
    assert "--allow high" in refused.output
    assert packages_of(machine) == held

    done = fix(machine, running, "--yes", "--allow", "high")
    assert done.exit_code == 0, done.output
    assert module_of(machine, kernels.new)
    assert module_of(machine, kernels.bare) == ""
    assert check(machine, running) == HEALTHY


def test_a_trial_that_fails_ends_the_repair_before_anything_is_changed(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    upgrade(machine)
    for file in machine.inside("/var/lib/apt/lists").glob("*_Packages*"):
        file.unlink()
    held = packages_of(machine)
    done = fix(machine, running, "--yes")
    assert done.exit_code == 3
    assert f"Unable to locate package linux-headers-{kernels.new}" in done.output
    assert "step 1 failed" in done.output
    assert packages_of(machine) == held
    assert check(machine, running).found == (MISSING,)


def packages_of(root: Root) -> str:
    return root.do("dpkg-query", "--show")
