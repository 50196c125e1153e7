"""Upgrades that would take the GPU away, for real: said beforehand, warned of by apt's hook, and stopped on request."""

import shutil

import pytest
from debian_machines import (
    FLAVOUR,
    HEALTHY,
    VERSION,
    Kernels,
    Running,
    check,
    diagnosis,
    module_of,
    on_running,
    publish_next_driver,
)
from debian_roots import Done, Root
from standin_packages import StandIn, publish

pytestmark = pytest.mark.slow

MISSING = "kernel.headers-missing"
HOOK = "/etc/apt/apt.conf.d/90gpudoctor"
WARNED = "with this upgrade the GPU would not work after the next restart"


def install_hook(root: Root, running: Running, *words: str) -> None:
    done = on_running(root, running, "gpudoctor", "hook", "apt", "--install", *words)
    assert done.exit_code == 0, done.output
    assert root.inside(HOOK).exists()
    publish(root, [StandIn("harmless", "1.0")])


def apt(root: Root, running: Running, *words: str) -> Done:
    """As on a machine that runs: the hook diagnoses it."""
    return on_running(root, running, "apt-get", "-y", "-q", *words)


def versions_of(root: Root) -> str:
    return root.do("dpkg-query", "--show", "-f", "${binary:Package} ${Version} ${db:Status-Abbrev}\n")


def test_it_is_said_before_the_upgrade_in_its_course_and_after_it(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    foreseen = on_running(machine, running, "gpudoctor", "preflight", "--format", "json")
    before = diagnosis(foreseen.exit_code, foreseen.output)
    assert (before.exit_code, before.found) == (2, (MISSING,))
    assert kernels.new in before.text

    install_hook(machine, running)
    harmless = apt(machine, running, "install", "harmless")
    assert (harmless.exit_code, "gpudoctor" in harmless.output) == (0, False), harmless.output
    upgraded = apt(machine, running, "dist-upgrade")
    assert upgraded.exit_code == 0, "it warns, and goes on"
    said, _, afterwards = upgraded.output.partition("Unpacking")
    assert WARNED in said
    assert MISSING in said
    assert "gpudoctor: after this upgrade:" in afterwards
    assert check(machine, running).found == (MISSING,)

    removed = on_running(machine, running, "gpudoctor", "hook", "apt", "--remove")
    assert removed.exit_code == 0, removed.output
    assert not machine.inside(HOOK).exists()


def test_enforced_it_stops_before_anything_is_changed_and_its_advice_helps(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    install_hook(machine, running, "--enforce")
    held = versions_of(machine)
    stopped = apt(machine, running, "dist-upgrade")
    assert stopped.exit_code == 100
    assert WARNED in stopped.output
    assert versions_of(machine) == held
    assert check(machine, running) == HEALTHY

    assert apt(machine, running, "install", "harmless").exit_code == 0
    assert f"First `apt-get install linux-headers-{FLAVOUR}`" in stopped.output
    assert apt(machine, running, "install", f"linux-headers-{FLAVOUR}").exit_code == 0
    done = apt(machine, running, "dist-upgrade")
    assert done.exit_code == 0, done.output
    assert module_of(machine, kernels.new)
    assert check(machine, running) == HEALTHY


def test_enforced_it_can_be_overruled_once(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    install_hook(machine, running, "--enforce")
    done = apt(machine, running, "-o", "GpuDoctor::Enforce=false", "dist-upgrade")
    assert done.exit_code == 0, done.output
    assert WARNED in done.output
    assert module_of(machine, kernels.new) == ""


def package_gone(root: Root) -> None:
    (folder,) = root.inside("/opt/gpudoctor/lib").glob("python3*/site-packages/gpudoctor")
    folder.rename(folder.with_name("gpudoctor-away"))


def package_damaged(root: Root) -> None:
    (file,) = root.inside("/opt/gpudoctor/lib").glob("python3*/site-packages/gpudoctor/registry.py")
    file.write_text("def (")


def interpreter_gone(root: Root) -> None:
    root.inside("/opt/gpudoctor/bin/python").unlink()


def environment_gone(root: Root) -> None:
    shutil.rmtree(root.inside("/opt/gpudoctor"))


def test_a_broken_gpudoctor_never_stops_apt(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    install_hook(machine, running, "--enforce")
    for damage in (package_damaged, package_gone, interpreter_gone, environment_gone):
        damage(machine)
        done = apt(machine, running, "install", "harmless")
        assert done.exit_code == 0, (damage, done.output)
        assert apt(machine, running, "remove", "harmless").exit_code == 0
    done = apt(machine, running, "dist-upgrade")
    assert done.exit_code == 0, done.output
    assert machine.inside(f"/boot/vmlinuz-{kernels.new}").exists()


def test_a_hold_that_would_part_libraries_and_module_is_foreseen(machine: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    machine.do("apt-mark", "hold", "nvidia-kernel-dkms")
    publish_next_driver(machine, "535.309.01")
    command = ("install", "libcuda1", "nvidia-smi")
    words = ("preflight", "--format", "json", "--command", " ".join(("apt-get", *command)))
    foreseen = on_running(machine, running, "gpudoctor", *words)
    before = diagnosis(foreseen.exit_code, foreseen.output)
    assert (before.exit_code, before.found[:1]) == (2, ("packages.partial-upgrade",)), before.text

    install_hook(machine, running, "--enforce")
    held = versions_of(machine)
    assert apt(machine, running, *command).exit_code == 100
    assert versions_of(machine) == held
    assert VERSION in held
