"""A driver from NVIDIA's .run file over the packaged one, for real but for the installer itself."""

import pytest
from debian_machines import (
    HEALTHY,
    VERSION,
    Kernels,
    Running,
    check,
    fix,
    module_of,
    publish_next_driver,
    stubs,
)
from debian_roots import Root

from gpudoctor.machine import RootHost

pytestmark = pytest.mark.slow

PACKAGED, BY_HAND = "535.309.01", "550.54.14"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"

# As the real one: takes away what was installed, puts back what was in its place, and goes. The record is in its form:
# 0 a link, 1 a file, 2 a link that was there before, each with a line or two more.
UNINSTALLER = r"""#!/usr/bin/python3
import os, shutil, sys

assert sys.argv[1:] == ["--silent"], sys.argv
lines = iter(open("/var/lib/nvidia/log").read().splitlines()[2:])
before = []
for line in lines:
    kind, _, path = line.partition(": ")
    target = next(lines)
    if kind == "2":
        next(lines)
        before.append((path, target))
    else:
        os.unlink(path)
for path, target in before:
    os.symlink(target, path)
shutil.rmtree("/var/lib/nvidia")
os.system("ldconfig; depmod -a")
"""


def install_by_hand(root: Root) -> None:
    """What NVIDIA's installer leaves, with stubs for its libraries; it has taken the packages' links away."""
    record = [f"1.0-0 ({BY_HAND})", "NVIDIA Accelerated Graphics Driver for Linux-x86_64"]
    for library, stub in stubs(root).items():
        link, file = f"{LIBRARIES}/{library}.1", f"{LIBRARIES}/{library}.{BY_HAND}"
        record += [f"2: {link}", str(root.inside(link).readlink()), "0777 0 0"]
        root.inside(link).unlink()
        root.inside(link).symlink_to(f"{library}.{BY_HAND}")
        root.inside(file).write_bytes(stub.read_bytes())
        record += [f"1: {file}", "0", f"0: {link}", f"{library}.{BY_HAND}"]
    root.write("/usr/bin/nvidia-installer", UNINSTALLER, 0o755)
    root.inside("/usr/bin/nvidia-uninstall").symlink_to("nvidia-installer")
    record += ["1: /usr/bin/nvidia-installer", "0", "0: /usr/bin/nvidia-uninstall", "nvidia-installer"]
    root.write("/var/lib/nvidia/log", "".join(f"{line}\n" for line in record), 0o600)
    root.inside("/var/lib/nvidia").chmod(0o700)
    root.write("/var/log/nvidia-installer.log", f"nvidia-installer log file\ninstaller version: {BY_HAND}\n")
    root.do("ldconfig")


def test_it_is_taken_away_and_the_packages_files_come_back(machine: Root, kernels: Kernels) -> None:
    publish_next_driver(machine, PACKAGED)
    names = ("libcuda1", "libnvidia-ml1", "nvidia-smi", "nvidia-kernel-dkms")
    machine.do("apt-get", "-y", "-q", "install", "--only-upgrade", *names)
    install_by_hand(machine)
    running = Running(kernels.old, BY_HAND)

    seen = check(machine, running)
    assert seen.found[0] == "packages.runfile-and-packages", seen.text
    assert BY_HAND in seen.text

    machine.write("/usr/bin/systemctl", "#!/bin/sh\n", 0o755)
    assert fix(machine, running, "--yes").exit_code == 3, "another driver is not taken away without being allowed to"
    done = fix(machine, running, "--yes", "--allow", "high")
    assert done.exit_code == 3
    assert "has to be restarted" in done.output, done.output
    restarted = Running(kernels.old, PACKAGED, boot=2)
    done = fix(machine, restarted, "--resume", "--yes", "--allow", "high")
    assert done.exit_code == 0, done.output

    for library in stubs(machine):
        leads_to = RootHost(str(machine.path)).resolve(f"{LIBRARIES}/{library}.1")
        assert leads_to == f"{LIBRARIES}/nvidia/current/{library}.{PACKAGED}"
    assert not machine.inside("/var/lib/nvidia").exists()
    assert f"version:        {PACKAGED}" in module_of(machine, kernels.old)
    assert check(machine, restarted) == HEALTHY
    assert fix(machine, restarted, "--yes").output == "Nothing to repair.\n"


def test_a_runfile_that_cannot_be_replaced_stays(machine: Root, kernels: Kernels) -> None:
    """The packages cannot be had any more: without them the machine would be left without a driver."""
    running = Running(kernels.old, BY_HAND)
    install_by_hand(machine)
    machine.inside("/srv/stand-ins/Packages").write_text("")
    machine.run("apt-get", "-q", "update")
    done = fix(machine, running, "--yes", "--allow", "high")
    assert done.exit_code == 3
    assert "Nothing was changed" in done.output, done.output
    assert machine.inside("/usr/bin/nvidia-uninstall").exists()
    assert VERSION in machine.read("/var/lib/dpkg/status")
