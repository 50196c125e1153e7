"""Ready-made kernel modules: SUSE's, NVIDIA's, Arch's and Ubuntu's."""

import pytest

from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernels import ModuleFile, ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Kernel
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.testing import steps_of

APT = "apt-get -y --no-remove -o Dpkg::Options::=--force-confold install"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (
            "suse",
            "zypper --non-interactive install --force --auto-agree-with-licenses nvidia-driver-G06-kmp-default",
        ),
        ("fedora", "dnf -y upgrade kmod-nvidia-open"),
        ("arch", "pacman -Syu --noconfirm"),
    ],
)
def test_package_with_a_ready_made_module(machines, a_package, commands, name, command):
    database = "pacman" if name == "arch" else "rpm"
    names = {"suse": "nvidia-driver-G06-kmp-default", "fedora": "kmod-nvidia-open", "arch": "nvidia-open"}
    packages = Packages(database, (a_package(names[name], "580.95.05-1"),))
    steps = steps_of("reinstall-module-package", *machines[name], packages, Dkms(False, ()))
    assert commands(steps)[0] == command
    assert steps_of("reinstall-module-package", *machines["debian"]) == ()


def test_ubuntu_prebuilt(ubuntu, a_package, commands):
    packages = Packages(
        "dpkg",
        (
            a_package("linux-image-generic-hwe-24.04"),
            a_package("libnvidia-compute-580", "580.95.05-0ubuntu1"),
            a_package("linux-modules-nvidia-580-open-6.14.0-29-generic", "6.14.0-29.29"),
        ),
    )
    steps = steps_of("install-prebuilt-module", *ubuntu, packages, Dkms(False, ()))
    names = "linux-modules-nvidia-580-open-6.14.0-37-generic linux-modules-nvidia-580-open-generic-hwe-24.04"
    assert commands(steps) == [f"{APT} {names}", "modprobe -a nvidia nvidia_uvm"]
    assert str(steps[1].verify) == "modinfo -k 6.14.0-37-generic nvidia"
    assert steps_of("install-prebuilt-module", *ubuntu) == (), "DKMS builds here: no second source of the module"


def test_a_ready_made_module_that_stayed_behind_is_upgraded(ubuntu, a_package, commands):
    kernel = next(fact for fact in ubuntu if isinstance(fact, Kernel)).release
    exact = f"linux-modules-nvidia-580-open-{kernel}"
    packages = (a_package("libnvidia-compute-580", "580.95.05-0ubuntu1"), a_package(exact, "6.14.0-37.37"))
    facts = (*ubuntu, Packages("dpkg", (*packages, a_package("linux-image-generic-hwe-24.04"))), Dkms(False, ()))
    versions = DriverVersions("580.82.07", "580.82.07", "/x", "580.95.05", "/y", "580.95.05", "libnvidia-compute-580")

    def module(version, origin="prebuilt"):
        return ModuleFiles((ModuleFile(kernel, "/x", origin, version, "open", "", "signed", 0.0),))

    steps = steps_of("upgrade-prebuilt-module", *facts, versions, module("580.82.07"))
    assert commands(steps)[0] == f"{APT} {exact} linux-modules-nvidia-580-open-generic-hwe-24.04"
    assert steps_of("upgrade-prebuilt-module", *facts, versions, module("580.95.05")) == ()
    assert steps_of("upgrade-prebuilt-module", *facts, versions, module("580.82.07", "dkms")) == ()


def test_one_source_of_the_module_stays(ubuntu, a_package, commands):
    ready = [
        a_package("linux-modules-nvidia-580-6.14.0-37-generic", "6.14.0-37.37"),
        a_package("nvidia-dkms-580", "580.95.05-0ubuntu1"),
        a_package("nvidia-driver-580", "580.95.05-0ubuntu1"),
    ]
    (command,) = commands(steps_of("keep-one-module", *ubuntu, Packages("dpkg", tuple(ready))))
    assert command.endswith("linux-modules-nvidia-580-6.14.0-37-generic nvidia-driver-580 nvidia-dkms-580-")
    ready[0] = a_package("linux-modules-nvidia-580-6.14.0-29-generic", "6.14.0-29.29")
    (command,) = commands(steps_of("keep-one-module", *ubuntu, Packages("dpkg", tuple(ready))))
    assert command.endswith("nvidia-dkms-580 nvidia-driver-580 linux-modules-nvidia-580-6.14.0-29-generic-")
    assert steps_of("keep-one-module", *ubuntu) == ()
