"""A driver on request for real: planned from apt's own lists, tried by apt itself, carried out, and taken back."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import gpudoctor
from debian_machines import HEALTHY, VERSION, Kernels, Running, check, fix, module_of, publish_next_driver
from debian_roots import Root
from run_files import driver_run
from standin_packages import ARCHIVE

from gpudoctor.machine import RootHost

pytestmark = pytest.mark.slow

NEXT = "535.309.01"
LIBCUDA = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"


@pytest.fixture
def bare(base: Root, kernels: Kernels, roots: Path) -> Iterator[Root]:
    """A machine with a kernel and without a driver."""
    root = base.copy(roots / "bare")
    root.do("apt-get", "-q", "-y", "--no-install-recommends", "install", f"linux-image-{kernels.old}")
    yield root
    shutil.rmtree(root.path)


def as_debians_own(root: Root) -> None:
    """Let the stand-ins be of the maker whose driver is installed: packages of two are not mixed."""
    data = root.inside(f"{ARCHIVE}/Packages").read_bytes()
    root.write(
        f"{ARCHIVE}/Release", f"Origin: Debian\nSHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} Packages\n"
    )
    root.do("apt-get", "-q", "update")


def trials(root: Root, kernel: str, text: str) -> list[list[str]]:
    """The commands of the plan for the root as a disk that change nothing."""
    words = ("--root", str(root.path), "--kernel", kernel, "--to", text, "--format", "json")
    done = gpudoctor("fix", *words)
    assert done.returncode == 0, done.stderr
    return [step["action"]["argv"] for step in json.loads(done.stdout)["steps"] if step["phase"] == "simulate"]


@pytest.mark.parametrize("text", ["driver=535", f"driver={VERSION}", "driver=470", "cuda=11.8"])
def test_apt_can_do_what_is_planned(bare: Root, kernels: Kernels, text: str) -> None:
    commands = trials(bare, kernels.old, text)
    assert commands
    for argv in commands:
        bare.do(*argv)


def test_another_release_comes_on_request_and_goes_again(machine: Root, kernels: Kernels) -> None:
    publish_next_driver(machine, NEXT)
    as_debians_own(machine)
    machine.write("/usr/bin/systemctl", "#!/bin/sh\n", 0o755)
    running, restarted = Running(kernels.old), Running(kernels.old, NEXT, boot=2)
    asked = ("--to", f"driver={NEXT}", "--yes", "--allow", "high")
    before = packages_of(machine)

    done = fix(machine, running, *asked)
    assert "has to be restarted" in done.output, done.output
    done = fix(machine, restarted, "--resume", "--yes", "--allow", "high")
    assert done.exit_code == 0, done.output
    assert (RootHost(str(machine.path)).resolve(LIBCUDA) or "").endswith(f"libcuda.so.{NEXT}")
    assert f"version:        {NEXT}" in module_of(machine, kernels.old)
    assert check(machine, restarted) == HEALTHY
    assert fix(machine, restarted, *asked).output == "Nothing to repair.\n"

    undone = fix(machine, restarted, "--undo", "--yes", "--allow", "high")
    assert undone.exit_code == 0, undone.output
    assert packages_of(machine) == before
    assert f"version:        {VERSION}" in module_of(machine, kernels.old)


def test_a_file_over_packages_is_refused(machine: Root, kernels: Kernels) -> None:
    driver_run(machine.inside("/root/driver.run"))
    words = ("--to", "driver=580", "--runfile", "/root/driver.run")
    done = fix(machine, Running(kernels.old), *words, "--yes", "--allow", "high")
    assert done.exit_code == 3
    assert "The driver here is the one of packages" in done.output
    assert f"version:        {VERSION}" in module_of(machine, kernels.old)


def packages_of(root: Root) -> str:
    return root.do("dpkg-query", "--show")
