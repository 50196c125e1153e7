"""Kernels that cannot be served with a module, and that the machine would boot next."""

import pytest

from gpudoctor import Phase, Risk, Run
from gpudoctor.facts.installed_kernels import InstalledKernels
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.testing import steps_of

FIXES = ("remove-kernel-too-new", "remove-kernel-without-headers")
NEW, OLD = "6.1.0-56-amd64", "6.1.0-50-amd64"
REMOVE = "apt-get -y -o Dpkg::Options::=--force-confold remove"


@pytest.fixture
def waiting_for_the_restart(debian, a_package):
    """The old kernel runs, with its module; the new one boots next, and lacks it."""
    packages = Packages(
        "dpkg",
        (
            a_package("linux-image-amd64", "6.1.192-2", depends=(f"linux-image-{NEW} (= 6.1.192-2)",)),
            a_package(f"linux-image-{NEW}", "6.1.192-2", state="half-configured"),
            a_package(f"linux-headers-{NEW}", "6.1.192-2"),
            a_package(f"linux-image-{OLD}", "6.1.176-1"),
            a_package("dkms", "3.0.10", depends=("kmod", f"linux-headers-{NEW} | linux-headers-generic")),
        ),
    )
    return (*debian, Kernel(OLD, True, None, ()), packages)


@pytest.mark.parametrize("fix", FIXES)
def test_the_kernel_that_boots_next_is_removed(waiting_for_the_restart, fix):
    trial, step = steps_of(fix, *waiting_for_the_restart)
    names = f"linux-image-{NEW} linux-headers-{NEW}"
    assert (str(trial.action), trial.phase) == (REMOVE.replace("-get", "-get -s", 1) + f" {names}", Phase.SIMULATE)
    assert str(step.action) == f"{REMOVE} {names}"
    assert step.verify == Run(("test", "!", "-e", f"/boot/vmlinuz-{NEW}"))
    assert str(step.undo).endswith(f"install {names} linux-image-amd64")
    assert "linux-image-amd64 goes with it" in step.why
    assert step.risk is Risk.HIGH


@pytest.mark.parametrize("fix", FIXES)
@pytest.mark.parametrize(
    "fact",
    [
        Kernel(NEW, True, None, ()),  # it runs
        Kernel(OLD, False, None, ()),  # a disk: which kernel runs is anybody's guess
        ModuleFiles(()),  # the running one has no module either
        InstalledKernels((), "", ""),  # which boots next cannot be told
        Confinement("docker", False),
        Packages("rpm", ()),
    ],
)
def test_no_other_kernel_is(waiting_for_the_restart, fix, fact):
    assert steps_of(fix, *waiting_for_the_restart, fact) == ()


def test_the_one_that_runs_is_kept_in_place_of_choosing_it_at_the_next_boot(waiting_for_the_restart, debian, asked):
    too_old = asked("kernel.driver-too-old-for-kernel")
    assert steps_of("boot-previous-kernel", *waiting_for_the_restart, too_old) == ()
    assert steps_of("boot-previous-kernel", *waiting_for_the_restart, asked("kernel.module-build-failed"))
    assert steps_of("boot-previous-kernel", *debian, too_old)
