"""Could a package not be installed because another one has one of its files?"""

import re

import pytest
from package_findings import cuda, event, finding, history, nvml, outcome, printed, proof, status
from package_machines import DEBIAN, FEDORA, HEALTHY, UBUNTU, dpkg, fedora_rpmfusion, package, rpm, ubuntu

from gpudoctor import Severity
from gpudoctor.facts.package_log import PackageManagerLog
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Status
from gpudoctor.registry import load_plugins, registry

CHECK = "packages.overwrite-conflict"
NEW = "450.80.02-0ubuntu0.18.04.3"
# As a real machine printed it, with apt's own folder and number before the name.
ARCHIVE = "/tmp/apt-dpkg-install-7YcN9P/57-nvidia-compute-utils-450-server_450.80.02-0ubuntu0.18.04.3_amd64.deb"
LINES = (
    f"dpkg: error processing archive {ARCHIVE} (--unpack):",
    "trying to overwrite '/usr/bin/nvidia-persistenced', which is also in package nvidia-compute-utils-450 450.66-1",
)
OWNER = package("nvidia-compute-utils-450", "450.66-1")
WAITING = package("libnvidia-compute-450-server", NEW, state="unpacked")


@pytest.mark.parametrize("machine", HEALTHY)
def test_healthy_machines_raise_no_alarm(machine: str) -> None:
    system, packages = HEALTHY[machine]
    assert outcome(CHECK, system, packages).status is Status.OK


def test_the_server_driver_over_the_desktop_driver() -> None:
    found = finding(CHECK, UBUNTU, dpkg([OWNER, WAITING]), printed(*LINES))
    assert f"nvidia-compute-utils-450-server {NEW} could not be installed" in found.summary
    assert "/usr/bin/nvidia-persistenced also belongs to nvidia-compute-utils-450." in found.summary
    assert found.severity is None
    assert registry.checks[CHECK].severity is Severity.ERROR
    assert "/var/log/apt/term.log: 2026-11-22 06:50:11 trying to overwrite" in proof(found)
    assert "`apt-get -s remove nvidia-compute-utils-450`" in found.remedy
    assert "--force-overwrite" not in found.remedy


def test_a_gpu_that_answers_makes_it_a_warning() -> None:
    found = finding(CHECK, UBUNTU, dpkg([OWNER, WAITING]), printed(*LINES), nvml(), cuda())
    assert found.severity is Severity.WARNING


def test_the_same_package_of_another_architecture() -> None:
    lines = (
        "dpkg: error processing archive /var/cache/apt/archives/libnvidia-glvkspirv_580.65.06-1_i386.deb (--unpack):",
        "trying to overwrite shared '/usr/share/doc/libnvidia-glvkspirv/changelog.Debian.gz', which is different from "
        "other instances of package libnvidia-glvkspirv:i386",
    )
    found = finding(CHECK, DEBIAN, dpkg([package("libnvidia-glvkspirv", "580.82.07-1")]), printed(*lines))
    assert "libnvidia-glvkspirv 580.65.06-1 could not be installed" in found.summary


def test_what_was_settled_since_is_no_finding() -> None:
    log = printed(*LINES)
    there = package("nvidia-compute-utils-450-server", NEW)
    assert status(CHECK, UBUNTU, dpkg([OWNER, there]), log) is Status.OK
    assert status(CHECK, UBUNTU, dpkg([WAITING]), log) is Status.OK  # what was in the way is gone
    given_up = printed(*LINES, latest=False)
    assert status(CHECK, UBUNTU, dpkg([OWNER]), given_up) is Status.OK
    assert status(CHECK, UBUNTU, dpkg([OWNER, WAITING]), given_up) is Status.FOUND
    assert status(CHECK, UBUNTU, dpkg([OWNER, there._replace(state="half-installed")]), given_up) is Status.FOUND


def test_an_epoch_is_written_in_another_way_in_the_archives_name() -> None:
    lines = (
        "dpkg: error processing archive /var/cache/apt/archives/nvidia-utils-580_1%3a580.95.05-1_amd64.deb (--unpack):",
        "trying to overwrite '/usr/bin/nvidia-smi', which is also in package nvidia-smi 535.261.03-1",
    )
    packages = [package("nvidia-smi", "535.261.03-1"), package("nvidia-utils-580", "1:580.95.05-1")]
    assert status(CHECK, UBUNTU, dpkg(packages), printed(*lines)) is Status.OK
    found = finding(CHECK, UBUNTU, dpkg(packages[:1]), printed(*lines))
    assert "nvidia-utils-580 1:580.95.05-1" in found.summary


def test_conflicts_of_other_software_are_not_ours() -> None:
    lines = (
        "dpkg: error processing archive /var/cache/apt/archives/libvdpau1_0.2.1-0ubuntu3_i386.deb (--unpack):",
        "trying to overwrite '/etc/alsa/conf.d/99', which is also in package libasound2-plugins 1.2",
    )
    assert status(CHECK, UBUNTU, dpkg([WAITING]), printed(*lines)) is Status.OK


def test_rpm_refuses_before_anything_is_changed() -> None:
    line = (
        "file /usr/lib64/libcuda.so.580.95.05 from install of nvidia-driver-cuda-libs-3:580.95.05-1.el9.x86_64 "
        "conflicts with file from package xorg-x11-drv-nvidia-cuda-libs-3:580.95.05-1.fc42.x86_64"
    )
    log = printed(line, source="/var/log/dnf.log")
    found = finding(CHECK, FEDORA, rpm(fedora_rpmfusion().values()), log)
    assert "nvidia-driver-cuda-libs 3:580.95.05-1.el9 could not be installed" in found.summary
    assert found.severity is Severity.WARNING
    assert "`dnf swap xorg-x11-drv-nvidia-cuda-libs nvidia-driver-cuda-libs`" in found.remedy
    earlier = printed(line, source="/var/log/dnf.log", latest=False)
    owner = "xorg-x11-drv-nvidia-cuda-libs"
    before = event(owner, "upgrade", when="2026-11-21 06:50:11")
    after = event(owner, "upgrade", when="2026-11-23 06:50:11")
    assert status(CHECK, FEDORA, rpm(fedora_rpmfusion().values()), earlier, history(before)) is Status.FOUND
    assert status(CHECK, FEDORA, rpm(fedora_rpmfusion().values()), earlier, history(before, after)) is Status.OK


def test_many_files_of_one_pair_are_told_once() -> None:
    lines = [
        f"file /usr/lib64/{name} from install of nvidia-driver-libs-3:580.95.05-1.el9.x86_64 conflicts with file from "
        f"package xorg-x11-drv-nvidia-libs-3:580.95.05-1.fc42.x86_64"
        for name in ("libGLX_nvidia.so.0", "libEGL_nvidia.so.0")
    ]
    found = finding(CHECK, FEDORA, rpm(fedora_rpmfusion().values()), printed(*lines))
    assert len(found.evidence) == 1
    pair = "file /usr/bin/nvidia-smi from install of nvidia-driver-cuda-3:580.95.05-1.el9.x86_64 conflicts with file "
    pair += "from package xorg-x11-drv-nvidia-cuda-3:580.95.05-1.fc42.x86_64"
    found = finding(CHECK, FEDORA, rpm(fedora_rpmfusion().values()), printed(*lines, pair))
    assert "xorg-x11-drv-nvidia-cuda (nor could 1 more)." in found.summary


def test_an_unreadable_log_matters_only_where_something_is_broken() -> None:
    assert status(CHECK, UBUNTU, dpkg(ubuntu().values()), without=(PackageManagerLog,)) is Status.OK
    assert status(CHECK, UBUNTU, dpkg([OWNER, WAITING]), without=(PackageManagerLog,)) is Status.UNKNOWN


def test_lines_that_were_cut_off_prove_nothing() -> None:
    texts = (
        "trying to overwrite '/usr/bin/nvidia-smi', which is also in package nvidia-smi 1",
        "trying to overwrite '",
    )
    for text in texts:
        assert status(CHECK, UBUNTU, dpkg([WAITING]), printed(text)) is Status.OK


def test_where_it_cannot_be_told_or_makes_no_sense() -> None:
    log = printed(*LINES)
    assert status(CHECK, UBUNTU, log, without=(Packages,)) is Status.UNKNOWN
    assert status(CHECK, UBUNTU, log, dpkg([OWNER, WAITING]), Confinement("lxc", False)) is Status.SKIPPED
    assert status(CHECK, UBUNTU, log, dpkg([OWNER, WAITING]), Confinement("", True)) is Status.SKIPPED


@pytest.mark.parametrize(
    "message",
    [
        "trying to overwrite '/usr/lib/…', which is also in package …",
        " trying to overwrite '/lib/udev/rules.d/71-nvidia.rules', which is also in package nvidia-kernel-common-418 1",
        "trying to overwrite shared '/usr/share/doc/a', which is different from other instances of package a:i386",
        "file /usr/bin/nvidia-smi from install of a-1-1.x86_64 conflicts with file from package b-1-1.x86_64",
    ],
)
def test_messages_that_users_see(message: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message, re.IGNORECASE) for pattern in registry.checks[CHECK].symptoms)
