"""Which installed packages mean that somebody wants a driver here, and which one tells its libraries' version."""

import pytest
from package_machines import HEALTHY, dpkg, package, rpm

from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Kernel
from gpudoctor.facts.versions import DriverVersions, DriverWanted
from gpudoctor.host import NotRunning
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import SnapshotHost
from gpudoctor.testing import facts_of

load_plugins()


def wanted(packages: Packages) -> tuple[str, ...]:
    traces = RunfileTraces((), "", "", "")
    return facts_of(packages, Dkms(False, ()), traces).get(DriverWanted).reasons


def packaged(packages: Packages) -> tuple[str, str]:
    from gpudoctor.facts.loaded import LoadedDriver

    given = (packages, Kernel("6.1.0-50-amd64", False, None, ()), ModuleFiles(()), DriverLibraries(()))
    known = {LoadedDriver: NotRunning("not running"), **{type(fact): fact for fact in given}}
    versions = Facts(SnapshotHost({}), known).get(DriverVersions)
    return versions.packaged_name, versions.packaged


@pytest.mark.parametrize("machine", HEALTHY)
def test_a_driver_is_wanted_where_one_is_installed(machine: str) -> None:
    _, packages = HEALTHY[machine]
    assert bool(wanted(packages)) == (machine != "no driver")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("nvidia-driver-local-repo-ubuntu2404-580.95.05", "1.0-1"),
        ("nvidia-driver-pinning-580", "580-1"),
        ("nvidia-driver-assistant", "0.23.42.01-1"),
        ("nvidia-settings", "535.171.04-1"),
        ("nvidia-kernel-common", "20220217+3~deb12u1"),
        ("nvidia-firmware-580-580.82.07", "580.82.07-0ubuntu0.24.04.1"),
        ("nvidia-container-toolkit", "1.17.8-1"),
        ("cuda-compat-13-0", "580.82.07-0ubuntu1"),
    ],
)
def test_repositories_and_companions_alone_are_no_driver(name: str, version: str) -> None:
    assert wanted(dpkg([package(name, version)])) == ()


@pytest.mark.parametrize(
    ("packages", "name", "version"),
    [
        (dpkg([package("libcuda1", "535.261.03-1")]), "libcuda1", "535.261.03"),
        (dpkg([package("libnvidia-tesla-470-cuda1", "470.256.02-1")]), "libnvidia-tesla-470-cuda1", "470.256.02"),
        (dpkg([package("nvidia-utils-580", "580.95.05-1"), package("libnvidia-cfg1-580", "580.95.05-1")]), "", ""),
        (
            rpm([package("nvidia-compute-utils-G06", "580.82.07-1"), package("nvidia-compute-G06", "580.95.05-1")]),
            *("nvidia-compute-G06", "580.95.05"),
        ),
        (
            rpm([package("xorg-x11-drv-nvidia-470xx-cuda-libs", "3:470.256.02-1.fc42")]),
            *("xorg-x11-drv-nvidia-470xx-cuda-libs", "470.256.02"),
        ),
        # A damaged database: these are digits to Python, but no number.
        (dpkg([package("libcuda1", "53².261.03-1")]), "libcuda1", ""),
    ],
)
def test_the_package_that_brings_the_libraries(packages: Packages, name: str, version: str) -> None:
    assert packaged(packages) == (name, version)
