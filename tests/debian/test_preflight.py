"""An upgrade is foreseen, real apt carries it out, and the machine is then as it was foreseen."""

import json
from pathlib import Path

import pytest
from debian_machines import DKMS_DEPENDS, HEALTHY, Kernels, Running, check_disk, on_running, upgrade
from debian_roots import Root
from preflight_plans import state
from standin_packages import dkms_source, publish

from gpudoctor.machine import RootHost
from gpudoctor.preflight.foresee import Foresight, foresee
from gpudoctor.preflight.simulation import read_simulation
from gpudoctor.registry import Facts

pytestmark = pytest.mark.slow

MISSING = "kernel.headers-missing"
NEXT_DRIVER = "535.309.01"


def simulated(root: Root) -> str:
    return root.do("apt-get", "-s", "-q", "dist-upgrade")


def foreseen(root: Root, kernels: Kernels) -> Foresight:
    host = RootHost(str(root.path), kernels.old)
    return foresee(Facts(host), read_simulation(simulated(root), "apt-get -s dist-upgrade"))


def found_on(root: Root, kernel: str) -> tuple[str, ...]:
    return check_disk(root, kernel).found


def test_what_is_foreseen_comes_true(machine: Root, kernels: Kernels) -> None:
    seen = foreseen(machine, kernels)
    assert [ranked.check.id for ranked in seen.worse] == [MISSING]
    assert seen.worse[0].finding.subject == kernels.new
    upgrade(machine)
    assert state(Facts(RootHost(str(machine.path), kernels.old))) == state(seen.facts)
    assert found_on(machine, kernels.new) == (MISSING,)


def test_a_driver_that_comes_with_the_kernel(machine: Root, kernels: Kernels) -> None:
    """A newer source for DKMS, which it builds for the kernel that has headers and for no other."""
    publish(machine, [dkms_source(NEXT_DRIVER, "1+standin2", DKMS_DEPENDS)])
    seen = foreseen(machine, kernels)
    told = {ranked.check.id for ranked in seen.worse}
    assert {MISSING, "packages.partial-upgrade"} <= told
    upgrade(machine)
    assert state(Facts(RootHost(str(machine.path), kernels.old))) == state(seen.facts)
    assert {*found_on(machine, kernels.old), *found_on(machine, kernels.new)} >= {"packages.partial-upgrade"}


def test_the_advice_helps(machine: Root, kernels: Kernels, tmp_path: Path) -> None:
    """On the machine itself, which asks its own apt."""
    running = Running(kernels.old)
    done = on_running(machine, running, "gpudoctor", "preflight", "--format", "json")
    report = json.loads(done.output)
    assert (done.exit_code, report["command"], report["status"]) == (2, "preflight", "error")
    (finding,) = report["findings"]
    assert (finding["id"], finding["subject"], finding["when"]) == (MISSING, kernels.new, "after_restart")
    command = finding["remedy"].partition("`")[2].partition("`")[0]
    assert command == "apt-get install linux-headers-cloud-amd64"

    machine.do(*command.split(), "-y", "-q", "--no-install-recommends")
    again = on_running(machine, running, "gpudoctor", "preflight")
    assert again.exit_code == 0, again.output
    assert again.output.startswith("SAFE ")
    seen = foreseen(machine, kernels)
    upgrade(machine)
    assert state(Facts(RootHost(str(machine.path), kernels.old))) == state(seen.facts)
    assert check_disk(machine, kernels.new) == HEALTHY


def test_an_upgrade_without_the_kernel_is_safe(machine: Root, kernels: Kernels) -> None:
    """`apt-get upgrade` keeps back what `apt-get dist-upgrade` brings."""
    running = Running(kernels.old)
    done = on_running(machine, running, "gpudoctor", "preflight", "--command", "apt-get upgrade")
    assert done.exit_code == 0, done.output
    assert "kept back: linux-image-cloud-amd64" in done.output
    other = on_running(machine, running, "gpudoctor", "preflight", "--command", "apt upgrade")
    assert other.exit_code == 2, other.output
