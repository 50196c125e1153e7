"""Packages left in pieces for real: apt or gpudoctor killed in the middle of DKMS, a hold, a compiler removed."""

import time
from subprocess import Popen

import pytest
from debian_machines import (
    DKMS_DEPENDS,
    HEALTHY,
    VERSION,
    Kernels,
    Running,
    check,
    fix,
    module_of,
    publish_next_driver,
    start_on_running,
    upgrade,
)
from debian_roots import Root, end
from standin_packages import dkms_source, publish

pytestmark = pytest.mark.slow

NEXT = "535.309.01"


def kill_at_the_build(root: Root, process: "Popen[str]") -> None:
    """End it and all that it started as soon as DKMS compiles."""
    log = root.inside(f"/var/lib/dkms/nvidia-current/{VERSION}/build/make.log")
    deadline = time.monotonic() + 300
    while not log.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "DKMS was never called"
        time.sleep(0.005)
    end(process)
    process.communicate()


def test_apt_killed_in_the_middle_of_dkms(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    publish(machine, [dkms_source(VERSION, "1+standin2", DKMS_DEPENDS)])
    kill_at_the_build(machine, machine.start("apt-get", "-y", "-q", "install", "nvidia-kernel-dkms"))
    refused = machine.run("apt-get", "-y", "install", "nvidia-smi")
    assert "dpkg was interrupted" in refused.output
    assert module_of(machine, kernels.old) == ""

    seen = check(machine, running)
    assert (seen.exit_code, seen.found) == (1, ("packages.half-configured",))
    assert "nvidia-kernel-dkms" in seen.text
    assert "was interrupted" in seen.text
    assert check(machine, Running(kernels.old, loaded="")).exit_code == 2

    done = fix(machine, running, "--yes")
    assert done.exit_code == 0, done.output
    assert "reboot" not in done.output, "the loaded driver is of the version that was built"
    assert module_of(machine, kernels.old)
    assert check(machine, running) == HEALTHY
    assert fix(machine, running, "--yes").output == "Nothing to repair.\n"


def test_gpudoctor_killed_in_the_middle_of_dkms_goes_on(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    upgrade(machine)
    kill_at_the_build(machine, start_on_running(machine, running, "gpudoctor", "fix", "--yes"))
    assert check(machine, running).exit_code == 1

    again = fix(machine, running, "--yes")
    assert again.exit_code == 3
    assert "--resume" in again.output
    resumed = fix(machine, running, "--resume", "--yes")
    assert resumed.exit_code == 0, resumed.output
    assert module_of(machine, kernels.new)
    assert check(machine, running) == HEALTHY


def test_a_hold_leaves_libraries_and_module_apart(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    machine.do("apt-mark", "hold", "nvidia-kernel-dkms")
    publish_next_driver(machine, NEXT)
    machine.do("apt-get", "-y", "-q", "install", "--only-upgrade", "libcuda1", "nvidia-smi")
    # Every check of packages is content: the module is only recommended.
    assert machine.do("dpkg", "--audit") == ""
    machine.do("apt-get", "check")

    seen = check(machine, running)
    assert (seen.exit_code, seen.found) == (2, ("packages.partial-upgrade",))
    assert {"driver.library-mismatch", "driver.nvml-failed"} <= seen.explained
    assert "nvidia-kernel-dkms (on hold)" in seen.text

    machine.write("/usr/bin/systemctl", '#!/bin/sh\necho "$@" >> /var/log/systemctl\n', 0o755)
    done = fix(machine, running, "--yes")
    assert done.exit_code == 3
    assert "has to be restarted" in done.output
    assert machine.read("/var/log/systemctl") == "reboot\n"
    early = fix(machine, running, "--resume", "--yes")
    assert early.exit_code == 3
    assert "has not been restarted yet" in early.output

    restarted = Running(kernels.old, NEXT, boot=2)
    done = fix(machine, restarted, "--resume", "--yes")
    assert done.exit_code == 0, done.output
    assert f"version:        {NEXT}" in module_of(machine, kernels.old)
    assert machine.do("apt-mark", "showhold") == ""
    assert check(machine, restarted) == HEALTHY
    assert fix(machine, restarted, "--yes").output == "Nothing to repair.\n"


def test_a_compiler_that_was_removed(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    publish(machine, [dkms_source(VERSION, "1+standin2", DKMS_DEPENDS)])
    # Somebody tidies up, and the next release of the driver is installed without apt, which would see it.
    machine.do("dpkg", "--force-depends", "--remove", "gcc-12")
    failed = machine.run("dpkg", "-i", f"/srv/stand-ins/nvidia-kernel-dkms_{VERSION}-1+standin2_amd64.deb")
    assert "Bad return status for module build" in failed.output

    seen = check(machine, running)
    assert (seen.exit_code, seen.found) == (1, ("kernel.compiler-mismatch",))
    assert "gcc-12: not found" in seen.text
    assert "packages.half-configured" in seen.explained

    done = fix(machine, running, "--yes")
    assert done.exit_code == 0, done.output
    assert machine.inside("/usr/bin/gcc-12").exists()
    assert module_of(machine, kernels.old)
    assert machine.do("dpkg", "--audit") == ""
    assert check(machine, running) == HEALTHY
