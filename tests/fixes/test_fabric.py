"""The fabric manager: installed to fit, started, or left to a person; and what the newest boards need."""

from collections.abc import Callable

import pytest

from gpudoctor import Finding, Findings, Manual, Run, Step, WriteFile
from gpudoctor.facts.fabric import FabricManager, Nvlink5Board
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.testing import steps_of

NEW, OLD = "580.95.05", "580.82.07"
UNIT = "/usr/lib/systemd/system/nvidia-fabricmanager.service"
STOPPED, RUNS = FabricManager(UNIT, True, 0), FabricManager(UNIT, True, 2041)
GPU = PciGpu("0000:1b:00.0", "2330", "nvidia", "NVIDIA H100 80GB HBM3", "Hopper", "either", None, "")
HGX, PLAIN = PciGpus((GPU,), 4), PciGpus((GPU,))
B200 = Nvlink5Board("HGX B200", "", ("mlx5_ib", "ib_umad"), ("mlx5_ib", "ib_umad"), "/opt/nvidia/nvlsm/sbin/nvlsm")
HERE, DOCKER = Confinement("", False), Confinement("docker", False)
KERNEL = Kernel("6.8.0-87-generic", True, None, ())
UBUNTU = OperatingSystem("ubuntu", "24.04", "Ubuntu 24.04", "debian")
VERSIONS = DriverVersions(NEW, NEW, "", NEW, "", NEW, "libnvidia-compute-580")
NVIDIA, CANONICAL = "NVIDIA CORPORATION <cudatools@nvidia.com>", "Ubuntu Developers"

START = ["systemctl start nvidia-fabricmanager.service"]
RESTART = "systemctl restart nvidia-fabricmanager.service"
ENABLE = "systemctl --no-reload enable nvidia-fabricmanager.service"


def asked(id: str = "fabric.manager-not-ready", remedy: str = "Look at it.") -> Findings:
    return Findings(((id, Finding("The links between the GPUs are not set up.", "", (), remedy)),))


def package(name: str, version: str, vendor: str = NVIDIA, *, hold: bool = False) -> Package:
    return Package(name, version, "amd64", "installed", hold, vendor)


Commands = Callable[[tuple[Step, ...]], list[str]]


# start


def test_start_where_it_is_enabled(commands: Commands) -> None:
    steps = steps_of("start-fabric-manager", HERE, KERNEL, STOPPED, HGX, Nvlink5Board())
    assert commands(steps) == START
    steps = steps_of("start-fabric-manager", HERE, KERNEL, STOPPED, PLAIN, B200)
    assert commands(steps) == START


def test_enable_where_it_is_not(commands: Commands) -> None:
    steps = steps_of("start-fabric-manager", HERE, KERNEL, STOPPED._replace(enabled=False), HGX, Nvlink5Board())
    assert commands(steps) == [ENABLE, *START]


@pytest.mark.parametrize(
    "change",
    [DOCKER, KERNEL._replace(running=False), RUNS, STOPPED._replace(process_id=None), STOPPED._replace(unit=""), PLAIN],
)
def test_nothing_to_start(change: object) -> None:
    given = {type(fact): fact for fact in (HERE, KERNEL, STOPPED, HGX, Nvlink5Board(), change)}
    assert steps_of("start-fabric-manager", *given.values()) == ()


# match


def matched(manager: str, *packages: Package, more: tuple[object, ...] = ()) -> tuple[Step, ...]:
    database = {"apt": "dpkg", "pacman": "pacman"}.get(manager, "rpm")
    facts = (HERE, KERNEL, Packages(database, packages), PackageManager(manager), VERSIONS, STOPPED, HGX)
    given = {type(fact): fact for fact in (*facts, Nvlink5Board(), asked(), *more)}
    return steps_of("match-fabric-manager", *given.values())


@pytest.mark.parametrize(
    ("manager", "there", "argv"),
    [
        (
            "apt",
            package("nvidia-fabricmanager-580", f"{OLD}-0ubuntu0.24.04.1", CANONICAL),
            f"install --allow-downgrades nvidia-fabricmanager-580={NEW}-0ubuntu0.24.04.1",
        ),
        (
            "apt",
            package("nvidia-fabricmanager", f"{OLD}-1"),
            f"install --allow-downgrades nvidia-fabricmanager={NEW}-1",
        ),
        (
            "apt",
            package("nvidia-fabricmanager-570", "570.195.03-1"),
            f"install --allow-downgrades nvidia-fabricmanager={NEW}-1 nvidia-fabricmanager-570-",
        ),
        ("dnf", package("nvidia-fabricmanager", f"{OLD}-1"), f"dnf -y install nvidia-fabricmanager-{NEW}"),
        (
            "dnf",
            package("nvidia-fabric-manager", "570.195.03-1"),
            f"dnf -y install --allowerasing nvidia-fabricmanager-{NEW}",
        ),
        ("zypper", package("nvidia-fabricmanager", f"{OLD}-1"), f"nvidia-fabricmanager={NEW}"),
    ],
)
def test_the_drivers_version_is_installed(commands: Commands, manager: str, there: Package, argv: str) -> None:
    install, restart = commands(matched(manager, there))
    assert argv in install
    assert restart == RESTART


def test_it_is_tried_out_first() -> None:
    first, *_ = matched("apt", package("nvidia-fabricmanager", f"{OLD}-1"))
    assert isinstance(first.action, Run)
    assert first.action.argv[:2] == ("apt-get", "-s")


@pytest.mark.parametrize(
    ("manager", "driver", "argv"),
    [
        (
            "apt",
            package("libnvidia-compute-580-server", f"{NEW}-0ubuntu0.24.04.2", CANONICAL),
            f"nvidia-fabricmanager-580={NEW}-0ubuntu0.24.04.2",
        ),
        ("apt", package("libnvidia-compute", f"{NEW}-1"), f"nvidia-fabricmanager={NEW}-1"),
        ("dnf", package("nvidia-driver-cuda-libs", f"3:{NEW}-1.el9"), f"nvidia-fabricmanager-{NEW}"),
    ],
)
def test_it_is_installed_where_it_is_missing(commands: Commands, manager: str, driver: Package, argv: str) -> None:
    install, enable, restart = commands(matched(manager, driver, more=(FabricManager(),)))
    assert argv in install
    assert (enable, restart) == (ENABLE, RESTART)


def test_old_branches_of_red_hat_have_another_name(commands: Commands) -> None:
    old = DriverVersions("570.195.03", "", "", "570.195.03", "", "", "")
    driver = package("nvidia-driver-cuda-libs", "3:570.195.03-1.el9")
    (install, *_) = commands(matched("dnf", driver, more=(old, FabricManager())))
    assert install == "dnf -y install nvidia-fabric-manager-570.195.03"


def test_no_restart_of_the_service_before_the_one_of_the_machine(commands: Commands) -> None:
    waiting = VERSIONS._replace(loaded=OLD)
    assert len(commands(matched("apt", package("nvidia-fabricmanager", f"{OLD}-1"), more=(waiting,)))) == 1


@pytest.mark.parametrize(
    ("manager", "packages"),
    [
        ("pacman", (package("nvidia-fabricmanager", f"{OLD}-1"), package("nvidia-utils", f"{NEW}-1"))),
        ("apt", (package("nvidia-fabricmanager", f"{OLD}-1", hold=True),)),
        ("apt", ()),
        ("", (package("nvidia-fabricmanager", f"{OLD}-1"),)),
    ],
)
def test_what_a_person_must_install(manager: str, packages: tuple[Package, ...]) -> None:
    (step,) = matched(manager, *packages)
    assert isinstance(step.action, Manual)
    assert f"nvidia-fabricmanager {NEW}" in step.action.instruction
    assert step.action.instruction.startswith("Release the hold" if any(p.hold for p in packages) else "Install")


def test_the_right_one_is_left_alone() -> None:
    right = package("nvidia-fabricmanager", f"{NEW}-1")
    assert matched("apt", right) == ()
    assert matched("apt", package("nvidia-fabricmanager", f"{OLD}-1"), more=(DOCKER,)) == ()
    assert matched("apt", package("libnvidia-compute", f"{NEW}-1"), more=(PLAIN,)) == ()
    assert matched("apt", right, more=(VERSIONS._replace(loaded="", user_space=""),)) == ()


# the newest boards


def boarded(*more: object) -> tuple[Step, ...]:
    facts = (HERE, KERNEL, B200, LoadedModules({}), STOPPED, Packages("dpkg", ()), PackageManager("apt"), UBUNTU)
    given = {type(fact): fact for fact in (*facts, asked("fabric.nvlink5-modules-missing"), *more)}
    return steps_of("load-nvlink5-modules", *given.values())


def test_modules_that_lie_on_the_disk_are_loaded_now_and_at_each_start(commands: Commands) -> None:
    steps = boarded()
    assert commands(steps) == ["modprobe -a mlx5_ib ib_umad", RESTART]
    (written,) = [step.action for step in steps if isinstance(step.action, WriteFile)]
    assert (written.path, written.text) == ("/etc/modules-load.d/gpudoctor-nvlink5.conf", "mlx5_ib\nib_umad\n")


def test_modules_and_subnet_manager_that_must_be_installed(commands: Commands) -> None:
    bare = B200._replace(loadable=(), subnet_manager_there=False)
    install, modprobe, restart = commands(boarded(bare))
    assert install.endswith("install linux-modules-extra-6.8.0-87-generic nvlsm")
    assert (modprobe, restart) == ("modprobe -a mlx5_ib ib_umad", RESTART)


def test_only_the_subnet_manager_is_missing(commands: Commands) -> None:
    there = LoadedModules({"mlx5_ib": (), "ib_umad": ()})
    fedora = OperatingSystem("rhel", "9", "RHEL 9", "fedora")
    steps = boarded(B200._replace(subnet_manager_there=False), there, fedora, PackageManager("dnf"))
    assert commands(steps) == ["dnf -y install nvlsm", RESTART]


def test_modules_of_other_systems_are_for_a_person() -> None:
    (step,) = boarded(
        B200._replace(loadable=()), OperatingSystem("rhel", "9", "RHEL 9", "fedora"), PackageManager("dnf")
    )
    assert step.action == Manual("Look at it.")
    assert boarded(DOCKER) == boarded(Nvlink5Board()) == ()


# disable, and what is left to a person


def test_service_that_nobody_needs(commands: Commands) -> None:
    steps = steps_of("disable-fabric-manager", HERE, KERNEL, STOPPED)
    assert commands(steps) == ["systemctl --no-reload disable nvidia-fabricmanager.service"]
    assert steps_of("disable-fabric-manager", HERE, KERNEL, RUNS) == ()
    assert steps_of("disable-fabric-manager", DOCKER, KERNEL, STOPPED) == ()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((STOPPED, HGX), False),
        ((FabricManager(), HGX), False),
        ((RUNS, HGX), True),
        ((FabricManager(), PLAIN), True),
        ((FabricManager(), HGX, Packages("dpkg", (package("nvidia-fabricmanager", f"{NEW}-1"),))), True),
        ((STOPPED, HGX, DOCKER), False),
    ],
)
def test_links_that_a_person_must_look_at(more: tuple[object, ...], told: bool) -> None:
    given = {type(fact): fact for fact in (HERE, Packages("dpkg", ()), Nvlink5Board(), asked(), *more)}
    steps = steps_of("set-up-links", *given.values())
    assert [step.action for step in steps] == [Manual("Look at it.")] * told


def test_seat_and_settings_are_looked_at_by_a_person() -> None:
    twice = Findings((*asked("pci.link-degraded").items, *asked("pci.p2p-blocked").items))
    (step,) = steps_of("look-at-links", HERE, twice)
    assert step.action == Manual("Look at it.")
    assert steps_of("look-at-links", DOCKER, twice) == ()
