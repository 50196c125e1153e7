"""A driver on request from NVIDIA's own installer: what has to be there, who has to let go, with which options."""

import subprocess

import pytest
from framework_environments import V100, gpus, torch
from run_files import damaged, driver_run

from gpudoctor import Manual, Reboot, Risk, Run, WriteFile
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.display_manager import DisplayManager
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.own_installation import OwnInstallation
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.processes import DeviceUsers, Holder
from gpudoctor.facts.requested_runfile import RequestedRunfile
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.secure_boot import SecureBoot
from gpudoctor.facts.system import Kernel
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.facts.wanted import Wanted, wanted_of
from gpudoctor.testing import steps_of

GIB = 1 << 30
PATH = "/home/ada/NVIDIA-Linux-x86_64-580.95.05.run"
ROOM = (("/tmp", 50 * GIB), ("/var/tmp", 50 * GIB), ("/usr", 50 * GIB))
TURING = PciGpu("0000:01:00.0", "1eb8", "nvidia", "Tesla T4", "Turing", "either", None, "")
PASCAL = PciGpu("0000:02:00.0", "1b06", "nvidia", "GTX 1080 Ti", "Pascal", "proprietary-only", 580, "")
BLACKWELL = PciGpu("0000:01:00.0", "2b85", "nvidia", "RTX 5090", "Blackwell", "open-only", None, "570.86.16")
OWN = OwnInstallation("/opt/gpudoctor/bin/gpudoctor", True)
BENCH = "/opt/gpudoctor/bin/gpudoctor bench --quick"
GDM = DisplayManager("gdm3.service", True, (1234,))


def archive(version="580.95.05", **more):
    return RequestedRunfile(PATH, "driver", version, "its head", GIB, ROOM)._replace(**more)


def install(machine, *more, text="driver=580", opengl=True, gpu=TURING):
    return steps_of(
        "run-driver-installer",
        *machine,
        OWN,
        wanted_of((text,), PATH, opengl=opengl),
        archive(),
        PciGpus((gpu,)),
        *more,
    )


def installer(steps):
    """The words after the file."""
    (step,) = [step for step in steps if isinstance(step.action, Run) and "--silent" in step.action.argv]
    assert step.action.argv[:2] == ("sh", PATH)
    return step.action.argv[2:]


def in_order(steps):
    return [str(step.action) for step in sorted(steps, key=lambda step: step.phase)]


@pytest.fixture
def bare(debian):
    """Debian without a driver, with headers, a compiler and DKMS, and nothing on the screen."""
    kernel = next(fact for fact in debian if isinstance(fact, Kernel))
    kernels = next(fact for fact in debian if type(fact).__name__ == "InstalledKernels")
    whole = tuple(one._replace(headers=True) for one in kernels.kernels)
    facts = (Packages("dpkg", ()), DriverVersions("", "", "", "", "", "", ""), kernels._replace(kernels=whole))
    return (*debian, *facts, kernel, HostCompilers(12, (12,)), DisplayManager("", False), Dkms(True, ()))


def test_the_file_tests_itself_and_then_compiles_and_loads_the_module(bare):
    assert in_order(install(bare)) == [
        f"sh {PATH} --check",
        f"sh {PATH} --silent --dkms --kernel-module-type=open",
        "modprobe -a nvidia nvidia_uvm",
        BENCH,
    ]


def test_the_installation_is_proved_by_the_module_and_undone_by_its_uninstaller(bare):
    (step,) = [step for step in install(bare) if "--dkms" in str(step.action)]
    assert str(step.verify) == "modinfo -k 6.1.0-56-amd64 nvidia"
    assert str(step.undo) == "nvidia-uninstall --silent"
    assert step.risk is Risk.HIGH
    (load,) = [step for step in install(bare) if "modprobe" in str(step.action)]
    assert "580.95.05" in str(load.verify)


def test_headers_and_a_compiler_come_first(debian, bare):
    without = next(fact for fact in debian if type(fact).__name__ == "InstalledKernels")
    packages = next(fact for fact in debian if isinstance(fact, Packages))
    kernel_only = Packages("dpkg", tuple(p for p in packages.packages if p.name.startswith("linux-")))
    steps = in_order(install(bare, without, kernel_only, HostCompilers(None, ())))
    assert [one for one in steps if " install " in one and "-s " not in one] == [
        one for one in steps if one.endswith(("linux-headers-amd64", "gcc make libc6-dev")) and "-s " not in one
    ]
    assert steps.index(f"sh {PATH} --silent --dkms --kernel-module-type=open") > max(
        index for index, one in enumerate(steps) if "apt-get" in one
    )
    assert any("linux-headers-6.1.0-56-amd64" in one for one in steps)


def test_without_dkms_it_says_that_the_next_kernel_gets_no_module(bare):
    steps = install(bare, Dkms(False, ()))
    assert "--dkms" not in installer(steps)
    (step,) = [step for step in steps if "--silent" in str(step.action)]
    assert "no later kernel gets it by itself" in step.why
    assert not any("no later kernel" in step.why for step in install(bare))


@pytest.mark.parametrize(
    ("version", "gpu", "option"),
    [
        ("580.95.05", TURING, "--kernel-module-type=open"),
        ("580.95.05", PASCAL, "--kernel-module-type=proprietary"),
        ("580.95.05", BLACKWELL, "--kernel-module-type=open"),
        ("550.54.14", TURING._replace(module="open-only"), "-m=kernel-open"),
        ("550.54.14", TURING, None),  # its default
        ("470.256.02", PASCAL, None),  # knows no such option
    ],
)
def test_the_flavour_is_named_as_that_installer_knows_it(bare, version, gpu, option):
    branch = version.partition(".")[0]
    words = installer(install(bare, archive(version), text=f"driver={branch}", gpu=gpu))
    assert [word for word in words if "kernel" in word] == ([option] if option else [])


def test_without_opengl_on_request(bare):
    assert "--no-opengl-files" in installer(install(bare, opengl=False))
    assert "--no-opengl-files" not in installer(install(bare))


def test_secure_boot_is_pointed_out(bare):
    steps = install(bare, SecureBoot(True, "integrity", ()))
    assert any("only a module that DKMS signed with an enrolled key will load" in step.why for step in steps)
    assert not any("Secure Boot" in step.why for step in install(bare, SecureBoot(False, "none", ())))


# Who has to let go of the GPU


def test_the_display_manager_is_stopped_and_started_again_in_the_end(bare):
    steps = install(bare, GDM)
    names = in_order(steps)
    stop, start = names.index("systemctl stop gdm3.service"), names.index("systemctl start gdm3.service")
    assert stop < names.index(f"sh {PATH} --silent --dkms --kernel-module-type=open") < start
    assert start == names.index(BENCH) - 1
    stopping = (
        steps[stop] if str(steps[stop].action) == names[stop] else next(s for s in steps if "stop" in str(s.action))
    )
    assert "save what is open" in stopping.why
    assert stopping.risk is Risk.HIGH
    assert str(stopping.undo) == "systemctl start gdm3.service"


def test_a_display_manager_that_is_stopped_already_stays_so(bare):
    steps = install(bare, DisplayManager("gdm3.service", False))
    assert not any("gdm3" in name for name in in_order(steps))


def test_an_x_server_that_was_started_by_hand_is_ended_by_a_person(bare, by_hand):
    assert "process id 1234" in by_hand(install(bare, DisplayManager("", False, (1234, 1300))))


def test_a_display_manager_with_an_odd_name_is_no_command(bare, by_hand):
    steps = install(bare, DisplayManager("a b.service", True))
    assert "is no name of a service" in by_hand(steps)
    assert not any("systemctl" in name for name in in_order(steps))


def test_the_drivers_own_services_are_stopped_and_others_are_a_persons(bare, by_hand):
    holders = (
        Holder(700, 0, "nvidia-persistenced", ("/dev/nvidia0",)),
        Holder(4711, 1000, "/usr/bin/python3", ("/dev/nvidia0",)),
    )
    steps = install(bare, DeviceUsers(holders, (), 0))
    assert "systemctl stop nvidia-persistenced.service" in in_order(steps)
    assert "End the programs that use the GPU: python3 (4711)." in by_hand(steps)
    with_screen = install(bare, DeviceUsers(holders[1:], (), 0), GDM)
    assert by_hand(with_screen) == "", "a graphical session ends with its display manager"


def test_over_a_loaded_driver_it_is_told_so_and_a_restart_brings_the_new_one(bare, with_module):
    older = with_module((*bare, DriverVersions("", "", "", "", "", "570.86.16", "")), loaded="570.86.16")
    steps = install(
        (*older, RunfileTraces(("/var/lib/nvidia/log",), "570.86.16", "/usr/bin/nvidia-uninstall", "")), GDM
    )
    assert "--allow-installation-with-running-driver" in installer(steps)
    (restart,) = [step for step in steps if isinstance(step.action, Reboot)]
    assert "580.95.05" in str(restart.verify)
    assert not any("modprobe" in name or "start gdm3" in name for name in in_order(steps))
    older_installer = install(older, archive("535.183.01"), text="driver=535")
    assert "--allow-installation-with-running-driver" not in installer(older_installer)


def test_nouveau_is_forbidden_and_the_rest_comes_after_a_restart(bare):
    modules = LoadedModules({"nouveau": ("drm",), "ext4": ()})
    steps = sorted(install(bare, modules, GDM), key=lambda step: step.phase)
    kinds = [str(step.action).splitlines()[0] for step in steps]
    write = next(step for step in steps if isinstance(step.action, WriteFile))
    assert write.action.text == "blacklist nouveau\noptions nouveau modeset=0\n"
    restart = next(index for index, step in enumerate(steps) if isinstance(step.action, Reboot))
    assert kinds[restart - 1] == "update-initramfs -u -k 6.1.0-56-amd64"
    assert str(steps[restart].verify) == "test '!' -e /sys/module/nouveau"
    assert kinds[restart + 1 :] == [
        "systemctl stop gdm3.service",
        f"sh {PATH} --silent --dkms --kernel-module-type=open",
        "modprobe -a nvidia nvidia_uvm",
        "systemctl start gdm3.service",
        BENCH,
    ]


# What forbids it


def test_where_there_is_no_room_nothing_is_begun(bare, by_hand):
    small = archive(free=(("/tmp", GIB), ("/var/tmp", GIB), ("/usr", 50 * GIB)))
    (step,) = install(bare, small)
    assert "unpacks to 1.0 GiB" in by_hand((step,))
    full = archive(free=(("/tmp", 50 * GIB), ("/var/tmp", 50 * GIB), ("/usr", GIB)))
    assert "Make room first" in by_hand(install(bare, full))


def test_where_tmp_is_small_it_unpacks_elsewhere(bare):
    small = archive(free=(("/tmp", GIB), ("/var/tmp", 50 * GIB), ("/usr", 50 * GIB)))
    assert installer(install(bare, small))[-2:] == ("--tmpdir", "/var/tmp")
    assert "--tmpdir" not in installer(install(bare))


def test_a_file_that_must_not_be_run_is_in_no_plan(bare):
    assert install(bare, archive(problem=f"{PATH} can be written by others.")) == ()


def test_over_packages_it_is_not_run(bare, a_package):
    assert install(bare, Packages("dpkg", (a_package("libcuda1"),))) == ()


def test_on_a_disk_it_is_not_run(bare):
    kernel = next(fact for fact in bare if isinstance(fact, Kernel))
    assert install(bare, kernel._replace(running=False)) == ()


def test_without_a_file_it_is_the_packages_turn(bare):
    assert install(bare, Wanted(wanted_of(("driver=580",)).requests)) == ()


def test_a_path_that_is_no_plain_one_never_becomes_a_command(bare):
    steps = install(bare, archive(path="/home/ada/a b;reboot.run"))
    assert all(isinstance(step.action, Manual) for step in steps)


# The frameworks, and the commands for real


def test_a_framework_that_is_too_new_for_the_driver_is_installed_anew(bare):
    builds = FrameworkBuilds((torch("2.5.1+cu121", (12, 1), "sm_70"),))
    steps = install(bare, archive("470.256.02"), builds, gpus(V100), text="driver=470", gpu=PASCAL)
    assert any("-m pip install" in name and "torch==2.5.1+cu118" in name for name in in_order(steps))


def test_the_commands_run_as_they_are(bare, tmp_path):
    log = tmp_path / "log"
    file = driver_run(tmp_path / "driver.run", log=log)
    steps = install(bare, archive(path=str(file)))
    by_shell = [step.action.argv for step in steps if isinstance(step.action, Run) and step.action.argv[0] == "sh"]
    assert len(by_shell) == 2
    for argv in by_shell:
        subprocess.run(argv, check=True, capture_output=True)
    assert log.read_text().splitlines() == ["./nvidia-installer --silent --dkms --kernel-module-type=open"]
    assert subprocess.run(("sh", str(damaged(file)), "--check"), capture_output=True).returncode != 0
