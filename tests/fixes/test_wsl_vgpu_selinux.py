"""Linux drivers in WSL, licenses of vGPUs, and SELinux's own switches."""

import pytest

from gpudoctor import Finding, Findings, Manual
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.selinux import Selinux, denials_in
from gpudoctor.facts.system import Confinement
from gpudoctor.testing import steps_of

REMOVE, WINDOWS = "remove-linux-driver-from-wsl", "update-windows-for-wsl"
ALLOW = "allow-gpu-in-selinux"
WSL = Confinement("", True)


def asked_for(id, remedy):
    return Findings(((id, Finding("It is so.", "/dev/nvidia0", (), remedy)),))


IN_WSL = asked_for("wsl.linux-driver-installed", "Move the copied file away.")


def packages_of(machine):
    return next(fact for fact in machine if isinstance(fact, Packages))


def test_the_packages_of_the_driver_are_named_and_nothing_else(ubuntu, a_package, by_hand):
    others = (a_package("cuda-toolkit-13-0", "13.0.2-1"), a_package("nvidia-container-toolkit", "1.18.0-1"))
    there = packages_of(ubuntu)
    steps = steps_of(REMOVE, *ubuntu, there._replace(packages=(*there.packages, *others)), WSL, IN_WSL)
    names = "remove nvidia-driver-580 nvidia-dkms-580 libnvidia-compute-580`"
    told = by_hand(steps)
    assert f"look first at what `sudo apt-get -s -y -o Dpkg::Options::=--force-confold {names} would remove" in told
    assert f"run `sudo apt-get -y -o Dpkg::Options::=--force-confold {names}, then `sudo ldconfig`" in told
    assert "`wsl --shutdown` on Windows" in told


def test_fedora_in_wsl(fedora, by_hand):
    told = by_hand(steps_of(REMOVE, *fedora, WSL, IN_WSL))
    assert "run `sudo dnf -y --setopt=clean_requirements_on_remove=False remove akmod-nvidia" in told


def test_nothing_is_changed_in_wsl_by_itself(ubuntu):
    assert [type(step.action) for step in steps_of(REMOVE, *ubuntu, WSL, IN_WSL)] == [Manual]


def test_what_would_be_dragged_away_is_for_a_person_to_decide(ubuntu, a_package, by_hand):
    toolkit = a_package("nvidia-cuda-dev", "11.5.1", depends=("libnvidia-compute-580 | libcuda1 (>= 495)",))
    meta = a_package("nvidia-cuda-toolkit", "11.5.1", depends=("nvidia-cuda-dev (= 11.5.1)",))
    there = packages_of(ubuntu)
    steps = steps_of(REMOVE, *ubuntu, there._replace(packages=(*there.packages, toolkit, meta)), WSL, IN_WSL)
    assert "nvidia-cuda-dev, nvidia-cuda-toolkit" in by_hand(steps)
    assert all(isinstance(step.action, Manual) for step in steps)


def test_what_another_package_serves_as_well_stays(ubuntu, a_package, by_hand):
    tool = a_package("nvidia-cuda-dev", "11.5.1", depends=("libnvidia-compute-580 | gcc",))
    there = packages_of(ubuntu)
    with_other = there._replace(packages=(*there.packages, tool, a_package("gcc", "13")))
    assert "nvidia-cuda-dev" not in by_hand(steps_of(REMOVE, *ubuntu, with_other, WSL, IN_WSL))


def test_a_file_that_no_package_brought(ubuntu, by_hand):
    steps = steps_of(REMOVE, *ubuntu, Packages("dpkg", ()), WSL, IN_WSL)
    assert by_hand(steps) == "Move the copied file away."


@pytest.mark.parametrize("place", [Confinement("", False), Confinement("docker", True)])
def test_elsewhere_nothing_is_removed(ubuntu, place):
    assert steps_of(REMOVE, *ubuntu, place, IN_WSL) == ()


def test_windows_is_updated_by_its_user(by_hand):
    steps = steps_of(WINDOWS, asked_for("wsl.host-too-old", "On Windows: update."))
    assert by_hand(steps) == "On Windows: update."
    assert not steps[0].root


@pytest.mark.parametrize(
    ("fix", "id"),
    [("license-vgpu", "driver.vgpu-unlicensed"), ("match-vgpu-drivers", "driver.vgpu-guest-host-mismatch")],
)
def test_vgpus_are_in_other_hands(fix, id, by_hand):
    assert by_hand(steps_of(fix, asked_for(id, "Ask for it."))) == "Ask for it."


AVC = (
    'avc:  denied  { read write } for  pid=1 comm="python" path="/dev/nvidia0" dev="devtmpfs" ino=1 '
    "scontext=system_u:system_r:container_t:s0 tcontext=system_u:object_r:xserver_misc_device_t:s0 tclass=chr_file"
)
SWITCH = "Start it so, or `sudo setsebool -P container_use_devices on`."
BOTH = {"container_use_xserver_devices": False, "container_use_devices": False}


def selinux(*lines, booleans=BOTH):
    return Selinux("enforcing", "unconfined_t", booleans, tuple(denials_in(lines, "dmesg")), "")


def test_the_narrower_boolean_is_switched_on(debian, commands):
    steps = steps_of(ALLOW, *debian, selinux(AVC), asked_for("devices.selinux-denied", SWITCH))
    assert commands(steps) == ["setsebool -P container_use_xserver_devices on"]
    assert str(steps[0].undo) == "setsebool -P container_use_xserver_devices off"
    assert str(steps[0].verify) == "grep -q '^1' /sys/fs/selinux/booleans/container_use_xserver_devices"


def test_labels_are_restored(debian, commands):
    unlabelled = AVC.replace("xserver_misc_device_t", "device_t")
    finding = asked_for("devices.selinux-denied", "`sudo restorecon -v /dev/nvidia*` gives them back.")
    steps = steps_of(ALLOW, *debian, selinux(unlabelled), finding)
    assert commands(steps) == ["restorecon -v /dev/nvidia0"]


def test_what_only_a_person_can_allow(debian, by_hand):
    module = asked_for("devices.selinux-denied", "Have a policy module made.")
    steps = steps_of(ALLOW, *debian, selinux(AVC.replace("container_t", "httpd_t")), module)
    assert by_hand(steps) == "Have a policy module made."
    assert len(steps) == 1


def test_in_a_container_it_is_done_on_the_host(debian, by_hand):
    finding = asked_for("devices.selinux-denied", f"On the host: {SWITCH}")
    steps = steps_of(ALLOW, *debian, Confinement("podman", False), Selinux("", "container_t", {}, (), ""), finding)
    assert by_hand(steps).startswith("On the host:")
    assert len(steps) == 1
