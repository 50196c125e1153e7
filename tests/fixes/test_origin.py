"""More than one driver on one disk: two branches, two makers, packages and the installer's driver."""

from gpudoctor import Reboot, Risk
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.testing import steps_of

APT = "apt-get -y --no-remove -o Dpkg::Options::=--force-confold"


def two_branches(a_package):
    return Packages(
        "dpkg",
        (
            a_package("libnvidia-compute-535", "535.309.01-0ubuntu1"),
            a_package("libnvidia-compute-580", "580.95.05-0ubuntu1"),
            a_package("nvidia-dkms-580", "580.95.05-0ubuntu1"),
            a_package("nvidia-container-toolkit", "1.17.0-1"),
        ),
    )


def test_one_branch_stays(ubuntu, a_package, commands):
    versions = DriverVersions("", "580.95.05", "", "535.309.01", "", "", "")
    steps = steps_of("one-branch", *ubuntu, two_branches(a_package), versions)
    assert commands(steps) == [
        "apt-get -y -o Dpkg::Options::=--force-confold remove libnvidia-compute-535",
        f"{APT} install --reinstall libnvidia-compute-580 nvidia-dkms-580",
    ]
    assert steps[1].risk is Risk.HIGH
    assert steps_of("one-branch", *ubuntu) == ()


def test_the_server_set_and_the_desktop_set_are_two(ubuntu, a_package, commands):
    """Of one version, and with the same files: only their names tell them apart."""
    names = ("libnvidia-compute-580", "nvidia-dkms-580", "libnvidia-compute-580-server", "libnvidia-cfg1-580-server")
    packages = Packages("dpkg", tuple(a_package(name, "580.95.05-0ubuntu1") for name in names))
    typed = commands(steps_of("one-branch", *ubuntu, packages))
    assert typed[0].endswith(" remove libnvidia-compute-580-server libnvidia-cfg1-580-server")


def test_two_makers_are_a_persons_choice(ubuntu, a_package, by_hand):
    packages = Packages(
        "dpkg",
        (
            a_package("libnvidia-compute-580", vendor="Ubuntu Developers <u@example.org>"),
            a_package("nvidia-dkms-580", vendor="NVIDIA CORPORATION <cudatools@nvidia.com>"),
        ),
    )
    text = by_hand(steps_of("one-origin", *ubuntu, packages))
    assert "Ubuntu: libnvidia-compute-580" in text
    assert "preferences.d" in text
    assert steps_of("one-origin", *ubuntu) == ()


def test_overwritten_files(ubuntu, a_package, by_hand):
    packages = Packages("dpkg", (a_package("libnvidia-gl-580", "580.95.05-1", state="half-installed"),))
    assert "libnvidia-gl-580" in by_hand(steps_of("resolve-overwrite", *ubuntu, packages))
    assert steps_of("resolve-overwrite", *ubuntu) == ()


RUNFILE = RunfileTraces(("/var/lib/nvidia/log",), "550.54.14", "/usr/bin/nvidia-uninstall", "/var/log/x")


def test_the_installers_driver_is_removed(debian, commands):
    steps = steps_of("remove-runfile", *debian, RUNFILE)
    assert str(steps[0].action).startswith("apt-get --download-only"), "nothing goes before the packages are at hand"
    # apt-get says only so, and ends with 0, where the installed version cannot be had any more. A repository of files
    # on this disk leaves nothing in its cache.
    members = "nvidia-kernel-dkms=535.309.01-1 libcuda1=535.309.01-1 libnvidia-ml1=535.309.01-1 nvidia-smi=535.309.01-1"
    assert str(steps[0].verify) == f"apt-get --print-uris download {members}"
    typed = commands(steps)
    assert typed[0] == "nvidia-uninstall --silent"
    assert typed[1].startswith(f"{APT} install --reinstall nvidia-kernel-dkms libcuda1")
    assert typed[2:] == ["dkms autoinstall -k 6.1.0-56-amd64", "update-initramfs -u -k 6.1.0-56-amd64"]
    assert steps[-1].action == Reboot()


def test_without_the_uninstaller_a_person_has_to_look(debian, by_hand):
    text = by_hand(steps_of("remove-runfile", *debian, RUNFILE._replace(uninstaller="")))
    assert "--uninstall" in text
    assert steps_of("remove-runfile", *debian) == ()
