"""What every step of every shipped fix must be, on machines in many states."""

from pathlib import Path

import pytest
from step_rules import broken_rules

from gpudoctor import Findings, Manual, Phase, Run, Step, Unavailable
from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.devices import DeviceNode, DeviceNodes
from gpudoctor.facts.dkms import Dkms, DkmsSource
from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.facts.kernels import InstalledKernels, ModuleFile, ModuleFiles
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.modprobe import ModprobeConfig, ModprobeLine
from gpudoctor.facts.package_manager import simulate
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.processes import DeviceUsers, StaleProcess
from gpudoctor.facts.reboot import RebootRequired
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.secure_boot import SecureBoot, SigningKey
from gpudoctor.facts.system import Compiler, Confinement, Identity, Kernel
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.registry import load_plugins, registry
from gpudoctor.repair import fixes_for
from gpudoctor.testing import facts_of

load_plugins(fixes=True)
OURS = sorted(fix.id for fix in registry.fixes.values() if fix.function.__module__.startswith("gpudoctor.fixes."))

PACKAGE_PROGRAMS = ("apt-get", "dnf", "zypper", "pacman")

GPU = PciGpu("0000:01:00.0", "2c58", "nvidia", "RTX", "Blackwell", "open-only", None, "570.133.07")
OLD_GPU = GPU._replace(module="proprietary-only", last_branch=470, first_driver="")
HELD_GPU = GPU._replace(driver="vfio-pci")
FREE_GPU = GPU._replace(driver="nouveau")


def everything(machine, with_module, a_package):
    """The machine in many states at once; fixes take what concerns them."""
    nodes = DeviceNodes((DeviceNode("/dev/nvidiactl", 0o660, 0, 44, (195, 255)),), {"nvidia-uvm": 511}, False)
    sick = NvmlGpu(0, 15, "NVML_ERROR_GPU_IS_LOST", "", "", "0000:01:00.0", None, None, None, {}, {})
    removed = PackageEvent(1.0, "", "remove", "nvidia-driver-999", "999.10.10-1", "", "", True, "")
    common = (
        nodes,
        Nvml(0, "", "", "", "", "", None, (sick,)),
        Identity(1000, (1000,)),
        DeviceUsers((), (StaleProcess(1, 0, "Xorg", ("/x",)),), 0),
        HostCompilers(11, (11,)),
        ModprobeConfig((ModprobeLine("/etc/modprobe.d/x.conf", "blacklist", "nvidia", ""),), ""),
        PackageHistory((removed,)),
        RebootRequired(True, (), ""),
        SecureBoot(True, "", ()),
    )
    kernel = next(fact for fact in machine if isinstance(fact, Kernel))
    packages = next(fact for fact in machine if isinstance(fact, Packages))
    dkms = [fact for fact in machine if isinstance(fact, Dkms)][-1]
    versions = next(fact for fact in machine if isinstance(fact, DriverVersions))
    kernels = next(fact for fact in machine if isinstance(fact, InstalledKernels))
    ready = tuple(kernel._replace(headers=True) for kernel in kernels.kernels)
    runfile = RunfileTraces(("/var/lib/nvidia",), "550.54.14", "/usr/bin/nvidia-uninstall", "")
    bare, user_space = (*machine, *common), versions.user_space
    loaded = (*with_module(bare, loaded="500.10.10"), PciGpus((GPU,)))
    older = a_package("libnvidia-compute-535", user_space[:-1] + "0", vendor="Somebody")
    other = a_package("libnvidia-compute-999", "999.10-1", vendor="Somebody")
    broken = a_package("nvidia-kernel-dkms", state="half-configured")
    both = a_package("linux-modules-nvidia-580-6.14.0-29-generic"), a_package("nvidia-open")
    held = a_package("nvidia-driver-580", f"{user_space}-1", hold=True)
    old_source = DkmsSource("nvidia", "400.10.10", True, ())
    yield (*bare, PciGpus((GPU,)))
    yield (*bare, PciGpus((OLD_GPU,)), kernels._replace(kernels=ready))
    yield (*bare, PciGpus((GPU,)), kernel._replace(compiler=Compiler("gcc", 13, "gcc-13")), Packages("rpm", both))
    yield (*bare, kernels._replace(next_boot=kernels.kernels[1].release), PciGpus((GPU,)))
    yield (*bare, PciGpus((GPU,)), runfile, Dkms(False, ()), Packages("dpkg", ()))
    yield loaded
    yield (*loaded, runfile, LoadedModules({"nvidia": ()}))
    yield (*loaded, versions._replace(loaded="500.10.10", on_disk="500.10.10"))
    for change in ((older,), (other,), (broken,), both, (held,)):
        yield (*loaded, packages._replace(packages=(*packages.packages, *change)), PciGpus((OLD_GPU,)))
    yield (*loaded, Packages("dpkg", (broken,)), Dkms(True, (*dkms.sources, old_source)))
    yield (*with_module(bare), PciGpus((HELD_GPU,)), SecureBoot(True, "", (SigningKey("/a/k", True, False),)))
    yield (*with_module(bare), PciGpus((FREE_GPU,)), SecureBoot(True, "", (SigningKey("/a/k", False, True),)))
    yield (*bare, packages._replace(packages=(*packages.packages, *both)), Dkms(False, ()))
    lagging = ModuleFile(kernel.release, "/lib/modules/nvidia.ko", "prebuilt", "580.10.10", "", "", "signed", 0.0)
    names = ("libnvidia-compute-580", f"linux-modules-nvidia-580-{kernel.release}")
    yield (*loaded, ModuleFiles((lagging,)), Packages("dpkg", tuple(a_package(name) for name in names)))
    yield (*bare, Confinement("docker", False))


def all_steps(machines, with_module, a_package, *more):
    """(fix id, its steps) on every machine in every state, where there are any."""
    accounts = next(kind for kind in registry.providers if kind.__name__ == "Accounts")
    names = accounts({1000: "ada"}, {44: "video"})
    found = []
    for machine in machines.values():
        for facts in everything(machine, with_module, a_package):
            known = facts_of(*facts, names, Findings(()), *more)
            for id in OURS:
                try:
                    made = tuple(known.call(registry.fixes[id].function))
                except Unavailable:
                    continue  # a fact that this fix needs was not given
                found += [(id, made)] if made else []
    return found


@pytest.fixture(scope="module")
def steps(machines, with_module, a_package):
    return all_steps(machines, with_module, a_package)


def test_every_fix_was_tried(steps):
    """Here, or by a test of its own: those of Python environments need findings."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    tried = {id for id, _ in steps} | {id for id in OURS if f'"{id}"' in tests}
    assert set(OURS) - tried == set()


def test_every_step_keeps_the_rules(steps):
    assert [(id, broken) for id, made in steps for step in made for broken in broken_rules(step)] == []


GOOD = Step(Run(("depmod", "-a")), "The list of modules is behind.", verify=Run(("true",)), undo=Run(("true",)))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (GOOD._replace(why="no"), "no reason"),
        (GOOD._replace(verify=None), "without a proof"),
        (GOOD._replace(undo=None), "without a way back"),
        (GOOD._replace(action=Run(("/usr/bin/x", "y"))), "by its path"),
        (GOOD._replace(action=Run(("/usr/local/cuda-12.8/bin/sh", "y"))), "by its path"),
        (GOOD._replace(action=Run(("/home/ada/bin/gpudoctor", "fix"))), "by its path"),
        (GOOD._replace(action=Run(("sudo", "x"))), "no program of its own"),
        (GOOD._replace(action=Run(("sh", "-c", "x"))), "no program of its own"),
        (GOOD._replace(action=Run(("sh", "/tmp/a.run", "x"))), "no program of its own"),
        (GOOD._replace(action=Run(("sh", "relative.run", "--silent"))), "no program of its own"),
        (GOOD._replace(verify=Run(("a", "|", "b"))), "words for a shell"),
        (GOOD._replace(undo=Run(("apt-get", "purge", "x"))), "never done"),
        (GOOD._replace(action=Run(("apt-get", "remove", "nvidia-*"))), "a pattern"),
        (GOOD._replace(undo=Manual("use --force-overwrite")), "bad advice"),
    ],
)
def test_the_rules_can_be_broken(step, words):
    assert broken_rules(GOOD) == []
    assert any(words in broken for broken in broken_rules(step))


def test_a_transaction_is_tried_out_before_anything_is_touched(steps):
    checked = 0
    for id, made in steps:
        trials = {step.action.argv for step in made if isinstance(step.action, Run) and step.phase is Phase.SIMULATE}
        for step in made:
            action = step.action
            if isinstance(action, Run) and action.argv[0] in PACKAGE_PROGRAMS and step.phase is not Phase.SIMULATE:
                renewal = any(word in str(action) for word in ("reinstall", "--force ", "clean", "lock"))
                arch = action.argv[0] == "pacman" and id in ("switch-flavour", "one-branch", "remove-runfile")
                assert simulate(action.argv) in trials or renewal or arch, (id, action)
                checked += 1
    assert checked > 50


def test_in_a_container_and_in_wsl_nothing_is_changed(machines, with_module, a_package):
    for confinement in (Confinement("docker", False), Confinement("", True)):
        made = all_steps(machines, with_module, a_package, confinement)
        assert {id for id, _ in made} == {"repair-the-host"}
        assert all(isinstance(step.action, Manual) for _, steps in made for step in steps)


def test_every_cure_is_for_a_check_that_there_is():
    for id in OURS:
        assert registry.fixes[id].cures, id
        for check in registry.fixes[id].cures:
            assert check in registry.checks, f"{id} cures {check}, which is no check"


def test_every_driver_check_has_a_fix():
    kinds = ("pci.", "kernel.", "packages.", "driver.", "devices.", "gpu.count", "health.fallen")
    left = [id for id in registry.checks if id.startswith(kinds) and not fixes_for(id)]
    assert left == []


@pytest.mark.parametrize(
    ("check", "order"),
    [
        ("driver.library-mismatch", ["repair-the-host", "reload-driver", "reboot"]),
        (
            "kernel.headers-missing",
            ["install-headers", "install-kernel-with-headers", "remove-kernel-without-headers"],
        ),
        ("kernel.uvm-wedged", ["repair-the-host", "reload-uvm", "restart-anew"]),
    ],
)
def test_the_least_invasive_comes_first(check, order):
    assert list(fixes_for(check)) == order


def test_titles_are_sentences():
    for id in OURS:
        title = registry.fixes[id].title
        assert title.endswith("."), id
        assert 20 < len(title) < 120, id
