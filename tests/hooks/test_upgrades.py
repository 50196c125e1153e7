"""What the hooks say before and after an upgrade, on a Debian machine laid out in a folder."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from live_machines import KERNEL, NEW, debian

from gpudoctor import time_limit
from gpudoctor.hooks import upgrade, upgrade_note, verdict
from gpudoctor.hooks.judging import STOP
from gpudoctor.hooks.run import run_hook
from gpudoctor.machine import RootHost
from gpudoctor.preflight.foresee import When
from gpudoctor.testing import MachineTree

NEXT = "6.1.0-56-amd64"
OWN = f"{NEW}-0+deb12u1"
KERNEL_ALONE = f"""linux-image-{NEXT} - - none < 6.1.192-1 amd64 none /var/cache/apt/archives/a.deb
linux-image-amd64 6.1.176-1 amd64 none < 6.1.192-1 amd64 none /var/cache/apt/archives/b.deb
linux-image-{NEXT} - - none < 6.1.192-1 amd64 none **CONFIGURE**
"""
WITH_HEADERS = f"""{KERNEL_ALONE}linux-headers-{NEXT} - - none < 6.1.192-1 amd64 none /var/cache/apt/archives/c.deb
"""
LIBRARIES_ALONE = f"libcuda1 {OWN} amd64 same < 535.400.01-1 amd64 same /var/cache/apt/archives/d.deb\n"

Call = Callable[..., tuple[int, str]]


class Machine:
    """Debian with a GPU, and the folder in which hooks note things down there."""

    def __init__(self, folder: Path) -> None:
        (folder / "machine").mkdir()
        self.tree: MachineTree = debian(folder / "machine")
        self.files = folder / "machine"
        self.state = folder / "state"

    @property
    def note(self) -> dict[str, object] | None:
        path = self.state / "upgrade.json"
        return json.loads(path.read_text()) if path.exists() else None

    def install_kernel(self) -> None:
        """As apt leaves it where the headers did not come along."""
        (self.files / f"boot/vmlinuz-{NEXT}").write_text("")
        (self.files / f"boot/initrd.img-{NEXT}").write_text("")
        (self.files / f"lib/modules/{NEXT}").mkdir(parents=True)
        (self.files / "vmlinuz").unlink()
        (self.files / "vmlinuz").symlink_to(f"boot/vmlinuz-{NEXT}")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(upgrade, "LiveHost", lambda timeout, probe_timeout: made.tree)
    monkeypatch.setattr(upgrade, "RootHost", lambda root, kernel: RootHost(str(made.files), kernel))
    monkeypatch.setattr(upgrade_note, "state_folder", lambda: str(made.state))
    return made


@pytest.fixture
def call(machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """call(WHAT, packages="", enforce="false"): exit code and standard error of a hook on this machine."""

    def made(what: str, *words: str, packages: str = "", enforce: str = "false") -> tuple[int, str]:
        reading, writing = os.pipe()
        os.write(writing, f"VERSION 3\nAPT::Architecture=amd64\nGpuDoctor::Enforce={enforce}\n\n{packages}".encode())
        os.close(writing)
        monkeypatch.setenv("APT_HOOK_INFO_FD", str(reading))
        code = run_hook([what, *words])
        os.close(reading)
        told = capfd.readouterr()
        assert told.out == ""
        return code, told.err

    return made


def test_a_kernel_without_headers_is_foretold_and_passes(machine: Machine, call: Call) -> None:
    code, told = call("apt-before", packages=KERNEL_ALONE)
    assert code == 0
    first, second, *_ = told.splitlines()
    assert first == f"gpudoctor: with this upgrade the GPU would not work {When.AFTER_RESTART.value}:"
    assert second.startswith(f"gpudoctor:   ERROR The headers of kernel {NEXT} are not installed")
    assert "(kernel.headers-missing)" in told
    assert "`apt-get install linux-headers-amd64`" in told
    assert "stopped" not in told
    assert machine.note


def test_enforced_it_is_stopped_and_a_person_can_let_it_pass(
    machine: Machine, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = call("apt-before", packages=KERNEL_ALONE, enforce="true")
    assert code == STOP
    assert told.splitlines()[-1] == (
        "gpudoctor: So it is stopped, and nothing was changed. To let it happen all the same, repeat the command with"
        " `-o GpuDoctor::Enforce=false`."
    )
    assert machine.note is None  # nothing was changed, so nothing is to be looked at
    assert call("apt-before", packages=KERNEL_ALONE, enforce="false")[0] == 0
    monkeypatch.setenv("GPUDOCTOR_ENFORCE", "false")
    assert call("apt-before", packages=KERNEL_ALONE, enforce="true")[0] == 0


def test_with_its_headers_the_kernel_passes_even_where_enforced(machine: Machine, call: Call) -> None:
    assert call("apt-before", packages=WITH_HEADERS, enforce="true") == (0, "")
    assert machine.note


def test_libraries_without_their_module_break_at_once(call: Call) -> None:
    code, told = call("apt-before", packages=LIBRARIES_ALONE, enforce="true")
    assert code == STOP
    assert told.startswith("gpudoctor: with this upgrade the GPU would not work from the upgrade on")
    assert "ERROR" in told


def test_after_the_upgrade_what_came_with_it_is_told_once(machine: Machine, call: Call) -> None:
    call("apt-before", packages=KERNEL_ALONE)
    machine.install_kernel()
    code, told = call("apt-after")
    assert code == 0
    assert told.startswith("gpudoctor: after this upgrade:\ngpudoctor:   WARNING The headers of ")
    assert told.endswith("gpudoctor: `gpudoctor fix` repairs it, `gpudoctor check` tells all of it.\n")
    assert machine.note is None
    assert call("apt-after") == (0, "")


def test_after_an_upgrade_that_did_no_harm_nothing_is_told(machine: Machine, call: Call) -> None:
    call("apt-before", packages=WITH_HEADERS)
    assert call("apt-after") == (0, "")
    assert machine.note is None


def test_what_was_wrong_before_is_not_laid_at_the_door_of_the_upgrade(machine: Machine, call: Call) -> None:
    machine.install_kernel()
    call(
        "apt-before",
        packages="nvidia-modprobe 535.161.07-1~deb12u1 amd64 foreign < 535.309.01-0+deb12u1 amd64 foreign /x.deb\n",
    )
    assert ["kernel.headers-missing", NEXT, ""] in machine.note["known"]  # type: ignore[index, operator]
    assert call("apt-after") == (0, "")


def test_a_transaction_of_another_day_is_not_judged_but_looked_at_afterwards(machine: Machine, call: Call) -> None:
    code, told = call("apt-before", packages="libcuda1 1.0 amd64 same < 2.0 amd64 same /x.deb\n", enforce="true")
    assert code == 0
    assert told.startswith("gpudoctor: what this upgrade does to the GPU cannot be told beforehand: apt does not fit")
    assert told.count("\n") == 1
    machine.install_kernel()
    assert "kernel.headers-missing" in call("apt-after")[1]


def test_where_nothing_can_be_noted_it_is_said_and_the_warning_comes_all_the_same(machine: Machine, call: Call) -> None:
    machine.state.write_text("a file in its place")
    code, told = call("apt-before", packages=KERNEL_ALONE)
    assert code == 0
    assert "ERROR The headers of kernel" in told
    assert f"nothing can be noted in {machine.state}, so there will be no check afterwards" in told
    assert call("apt-after")[0] == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"known": 7, "removals": []}', '{"known": [[1]], "removals": []}'])
def test_a_damaged_note_still_leads_to_a_check(text: str, machine: Machine, call: Call) -> None:
    machine.state.mkdir(mode=0o700)
    (machine.state / "upgrade.json").write_text(text)
    (machine.state / "upgrade.json").chmod(0o600)
    machine.install_kernel()
    code, told = call("apt-after")
    assert code == 0
    assert told.startswith("gpudoctor: after this upgrade (it may have been so before):")
    assert "kernel.headers-missing" in told


def test_a_note_that_others_could_write_is_not_believed(machine: Machine, call: Call) -> None:
    machine.state.mkdir(mode=0o700)
    (machine.state / "upgrade.json").write_text('{"known": [], "removals": []}')
    (machine.state / "upgrade.json").chmod(0o666)
    code, told = call("apt-after")
    assert code == 0
    assert "can be changed by others" in told
    assert told.count("\n") == 1


def test_the_kernels_own_hook_names_the_kernel_that_has_no_module(machine: Machine, call: Call) -> None:
    assert call("kernel", KERNEL) == (0, "")
    machine.install_kernel()
    code, told = call("kernel", NEXT)
    assert code == 0
    assert told.startswith(f"gpudoctor: kernel {NEXT} was installed:\n")
    assert "(kernel.headers-missing)" in told


def test_a_crash_while_foreseeing_stops_nothing(machine: Machine, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError("somewhere deep")

    monkeypatch.setattr(upgrade, "foresee", crash)
    assert call("apt-before", packages=KERNEL_ALONE, enforce="true") == (
        0,
        "gpudoctor: it failed (ZeroDivisionError: somewhere deep); please report that\n",
    )
    machine.install_kernel()
    assert "kernel.headers-missing" in call("apt-after")[1]


@pytest.fixture
def late(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file never comes to an end, and the time of a hook is short."""
    read = MachineTree.read

    def stuck(host: MachineTree, path: str, **part: int | None) -> str | None:
        if path == "/etc/environment":
            time_limit.asking_for(path)
            time.sleep(60)
        return read(host, path, **part)

    monkeypatch.setattr(MachineTree, "read", stuck)
    monkeypatch.setattr(verdict, "_SHARE", 0.5 / verdict.DEADLINE)


HALF = "not all was found out in 0.5 s, the time of the whole run (last asked for: /etc/environment)"


@pytest.mark.usefixtures("late")
def test_half_a_look_beforehand_stops_nothing_and_blames_nothing(machine: Machine, call: Call) -> None:
    assert call("apt-before", packages=KERNEL_ALONE, enforce="true") == (
        0,
        f"gpudoctor: what this upgrade does to the GPU cannot be told beforehand: {HALF}\n",
    )
    assert machine.note is not None
    assert machine.note["known"] is None


@pytest.mark.usefixtures("late")
def test_half_a_look_afterwards_is_called_so(machine: Machine, call: Call) -> None:
    upgrade_note.leave(upgrade_note.UpgradeNote())
    code, told = call("apt-after")
    assert code == 0
    assert told.endswith(f"gpudoctor: {HALF}; `gpudoctor check` tells more\n")
