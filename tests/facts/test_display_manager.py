"""The program that shows the login screen, and X servers that somebody started."""

from pathlib import Path

import pytest
from disk_trees import disk

from gpudoctor.facts.display_manager import DisplayManager
from gpudoctor.registry import Facts
from gpudoctor.testing import MachineTree

LINK = "/etc/systemd/system/display-manager.service"


def on(tmp_path: Path, files: dict[str, str | bytes]) -> DisplayManager:
    disk(tmp_path, files)
    return Facts(MachineTree(str(tmp_path))).get(DisplayManager)


@pytest.mark.parametrize(
    ("target", "unit"),
    [
        ("/lib/systemd/system/gdm3.service", "gdm3.service"),
        ("/usr/lib/systemd/system/sddm.service", "sddm.service"),
        ("/lib/systemd/system/lightdm.service", "lightdm.service"),
    ],
)
@pytest.mark.parametrize("tree", ["", "systemd/", "unified/"])
def test_the_one_that_runs(tmp_path, target, unit, tree):
    files: dict[str, str | bytes] = {LINK: f"-> {target}", f"/sys/fs/cgroup/{tree}system.slice/{unit}/": ""}
    assert on(tmp_path, files) == DisplayManager(unit, True)


def test_one_that_was_stopped_by_hand(tmp_path):
    files: dict[str, str | bytes] = {LINK: "-> /lib/systemd/system/gdm.service", "/sys/fs/cgroup/system.slice/": ""}
    assert on(tmp_path, files) == DisplayManager("gdm.service", False)


def test_a_server_has_none(tmp_path):
    assert on(tmp_path, {}) == DisplayManager("", False)


def test_a_link_to_nothing_that_is_a_service_counts_for_none(tmp_path):
    assert on(tmp_path, {LINK: "-> /dev/null"}) == DisplayManager("", False)


def test_x_servers_by_their_locks(tmp_path):
    files: dict[str, str | bytes] = {
        "/tmp/.X0-lock": "      1234\n",
        "/proc/1234/": "",
        "/tmp/.X1-lock": "      99\n",  # left behind by one that is gone
        "/tmp/.X2-lock": "nonsense\n",
    }
    assert on(tmp_path, files) == DisplayManager("", False, (1234,))


def test_on_a_disk_nothing_runs(tmp_path):
    host = disk(tmp_path, {LINK: "-> /lib/systemd/system/gdm3.service", "/tmp/.X0-lock": "1\n"})
    assert Facts(host).get(DisplayManager) == DisplayManager("gdm3.service", False)
