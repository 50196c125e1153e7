"""Free space, GSP firmware, compilers and the flag that asks for a restart."""

from pathlib import Path

import pytest
from disk_trees import ARCH, DEBIAN, FEDORA, disk, facts_on

from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.firmware import GspFirmware
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.reboot import RebootRequired
from gpudoctor.facts.storage import FreeSpace
from gpudoctor.host import NotRunning
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost
from gpudoctor.testing import MachineTree

load_plugins()


def test_free_space_of_the_folders_that_are_there(tmp_path: Path) -> None:
    host = disk(tmp_path, {"/usr/bin/": "", "/var/lib/": ""})
    recording = RecordingHost(host)
    space = Facts(recording).get(FreeSpace)
    assert set(space.free) == {"/", "/usr", "/var"}
    assert all(free > 0 for free in space.free.values())
    assert Facts(SnapshotHost(recording.answers)).get(FreeSpace) == space


def test_firmware_by_driver_version(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "/usr/lib/firmware/nvidia/580.95.05/gsp_ga10x.bin": "",
        "/usr/lib/firmware/nvidia/580.95.05/gsp_tu10x.bin.xz": "",
        "/usr/lib/firmware/nvidia/580.95.05/README": "",
        "/usr/lib/firmware/nvidia/570.172.08/gsp_ga10x.bin.zst": "",
        "/usr/lib/firmware/nvidia/535.309.01/": "",
        "/usr/lib/firmware/nvidia/ga102/gsp/booter_load-535.113.01.bin": "",
    }
    expected = {
        "535.309.01": (),
        "570.172.08": ("gsp_ga10x.bin.zst",),
        "580.95.05": ("gsp_ga10x.bin", "gsp_tu10x.bin.xz"),
    }
    assert facts_on(tmp_path / "merged", {**files, "/lib": "-> usr/lib"}).get(GspFirmware).files == expected
    assert facts_on(tmp_path / "only-usr", files).get(GspFirmware).files == expected
    assert facts_on(tmp_path / "none", {}).get(GspFirmware).files == {}


def test_firmware_in_a_folder_that_the_kernel_was_told_of(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "/lib/firmware/nvidia/535.309.01/gsp_ga10x.bin": "",
        "/sys/module/firmware_class/parameters/path": "/home/kubernetes/bin/nvidia/firmware\n",
        "/home/kubernetes/bin/nvidia/firmware/nvidia/580.95.05/gsp_tu10x.bin": "",
    }
    disk(tmp_path, files)
    found = Facts(MachineTree(str(tmp_path))).get(GspFirmware).files
    assert found == {"535.309.01": ("gsp_ga10x.bin",), "580.95.05": ("gsp_tu10x.bin",)}


def package(name: str, version: str) -> Packages:
    return Packages("rpm", (Package(name, version, "x86_64", "installed", False, ""),))


DEBIAN_BIN: dict[str, str | bytes] = {
    "/etc/os-release": DEBIAN,
    "/usr/bin/x86_64-linux-gnu-gcc-12": "",
    "/usr/bin/gcc-12": "-> x86_64-linux-gnu-gcc-12",
    "/usr/bin/gcc-13": "",
    "/usr/bin/gcc-ar-11": "",
    "/usr/bin/gcc": "-> gcc-12",
}


@pytest.mark.parametrize(
    ("files", "packages", "expected"),
    [
        (DEBIAN_BIN, None, HostCompilers(12, (12, 13))),
        (
            {**DEBIAN_BIN, "/usr/bin/gcc": "-> /etc/alternatives/gcc", "/etc/alternatives/gcc": "-> /usr/bin/gcc-13"},
            None,
            HostCompilers(13, (12, 13)),
        ),
        ({"/usr/bin/gcc": "", "/etc/os-release": FEDORA}, package("gcc", "15.2.1-3.fc43"), HostCompilers(15, (15,))),
        (
            {"/usr/bin/gcc": "", "/etc/os-release": ARCH},
            package("gcc", "15.2.1+r301+gf24307422d1d-1"),
            HostCompilers(15, (15,)),
        ),
        ({"/usr/bin/gcc": "", "/etc/os-release": FEDORA}, None, HostCompilers(None, ())),
        ({"/usr/bin/gcc": "-> gcc-12", "/etc/os-release": DEBIAN}, None, HostCompilers(None, ())),
        ({"/usr/bin/vim": "", "/etc/os-release": FEDORA}, package("bash", "5.2-1"), HostCompilers(None, ())),
        ({"/etc/os-release": DEBIAN}, package("gcc-12", "12.2.0-14+deb12u1"), HostCompilers(None, (12,))),
    ],
)
def test_compilers(
    files: dict[str, str | bytes], packages: Packages | None, expected: HostCompilers, tmp_path: Path
) -> None:
    facts = facts_on(tmp_path, files)
    if packages:
        facts = facts.with_known(packages)
    assert facts.get(HostCompilers) == expected


class Running(RootHost):
    """A root that counts as running: its /run can be asked."""

    def _resolve(self, path: str) -> str:
        return path


def test_the_flag_that_asks_for_a_restart(tmp_path: Path) -> None:
    names = "linux-image-6.1.0-56-amd64\nlibcuda1\nlinux-image-6.1.0-56-amd64\n"
    disk(tmp_path, {"/run/reboot-required": "*** System restart required ***\n", "/run/reboot-required.pkgs": names})
    assert Facts(Running(str(tmp_path))).get(RebootRequired) == RebootRequired(
        True, ("linux-image-6.1.0-56-amd64", "libcuda1"), "/run/reboot-required"
    )
    (tmp_path / "run/reboot-required.pkgs").unlink()
    assert Facts(Running(str(tmp_path))).get(RebootRequired).packages == ()
    (tmp_path / "run/reboot-required").unlink()
    assert not Facts(Running(str(tmp_path))).get(RebootRequired).required
    with pytest.raises(NotRunning):
        Facts(RootHost(str(tmp_path))).get(RebootRequired)
