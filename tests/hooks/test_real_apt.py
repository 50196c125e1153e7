"""The hook in the real apt: a kernel comes without its headers, and with them; gpudoctor is broken in every way.

The machine is imaginary, see live_machines: Debian with a GPU, a driver built by DKMS for the kernel that runs. Its apt
and dpkg are this machine's, its packages small ones of a local archive.
"""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from debian_roots import Root
from layered_machines import Done, Layered, layered, merged_usr, need_gpudoctor
from live_machines import debian
from standin_packages import StandIn, publish

import gpudoctor

pytestmark = pytest.mark.slow

NEXT = "6.1.0-56-amd64"
OWN = (sys.executable, "-I", "-m", "gpudoctor")
NOTE = "/var/lib/gpudoctor/upgrade.json"
MARK = f"/boot/vmlinuz-{NEXT}"
# As the package of a Debian kernel does: what boots next is the newest.
BOOT_LINK = f"""#!/bin/sh
ln -sf boot/vmlinuz-{NEXT} /vmlinuz
for one in /etc/kernel/postinst.d/*; do [ ! -x "$one" ] || "$one" {NEXT} {MARK} || exit; done
"""
UPGRADES = (
    StandIn("harmless", "2"),
    StandIn("linux-image-amd64", "6.1.192-1", {"Depends": f"linux-image-{NEXT}"}),
    StandIn(
        f"linux-image-{NEXT}",
        "6.1.192-1",
        {},
        {MARK: "", f"/usr/lib/modules/{NEXT}/modules.dep": "", f"/boot/initrd.img-{NEXT}": ""},
        {"postinst": BOOT_LINK},
    ),
    StandIn("linux-headers-amd64", "6.1.192-1", {"Depends": f"linux-headers-{NEXT}"}),
    StandIn(f"linux-headers-{NEXT}", "6.1.192-1", {}, {f"/usr/src/linux-headers-{NEXT}/Makefile": ""}),
)


class NotStarted(Root):
    """The files of a root, before anything runs in it."""

    def do(self, *argv: str, mounts: Sequence[Sequence[str]] = (), environment: Mapping[str, str] | None = None) -> str:
        return ""


class Machine:
    """The machine while it runs."""

    def __init__(self, layer: Layered) -> None:
        self.layer = layer

    def gpudoctor(self, *words: str) -> Done:
        return self.layer.run(*OWN, *words)

    def apt(self, *words: str) -> Done:
        options = ("Dir::Etc::SourceList=/etc/apt/sources.list.d/stand-ins.list", "Dir::Etc::SourceParts=-")
        options += ("Dir::State::Lists=/srv/lists", "Dir::Cache=/srv/cache", "APT::Sandbox::User=root")
        return self.layer.run("apt-get", "-y", *(f"-o{option}" for option in options), *words)

    @property
    def upgraded(self) -> bool:
        return self.layer.run("test", "-e", MARK).exit_code == 0

    def note(self) -> dict[str, object] | None:
        text = self.layer.read(NOTE)
        return json.loads(text) if text else None

    def add(self, path: str, source: str) -> None:
        """Add to a module of the gpudoctor that is called here; the real one stays as it is."""
        self.layer.do("tee", "-a", path, text=f"\n\n{source}")


def told(done: Done) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("gpudoctor: ")]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    tree, place = tmp_path / "machine", tmp_path / "overlay"
    tree.mkdir()
    place.mkdir()
    merged_usr(tree)
    debian(tree)
    status = tree / "var/lib/dpkg/status"
    packages = [f"{text.strip()}\nDescription: stand-in\n" for text in status.read_text().split("\n\n")]
    # Headers of the kernel that was new once, and nothing that brings those of the next one.
    packages = [text for text in packages if not text.startswith("Package: linux-headers-amd64\n")]
    packages.append(packages[0].replace("Package: dkms", "Package: harmless").replace("3.0.10-8+deb12u1", "1"))
    status.write_text("\n".join(packages))
    publish(NotStarted(tree, tree), UPGRADES)
    for folder in ("lists/partial", "cache/archives/partial"):
        (tree / "srv" / folder).mkdir(parents=True)
    with layered(tree, place, ("apt-get", "dpkg", "dpkg-deb")) as layer:
        need_gpudoctor(layer)
        made = Machine(layer)
        updated = made.apt("update")
        assert updated.exit_code == 0, updated.stderr
        yield made


def install(machine: Machine, *words: str) -> None:
    done = machine.gpudoctor("hook", "apt", "--install", *words)
    assert (done.exit_code, done.stderr) == (0, ""), done
    assert done.stdout == "written: /etc/apt/apt.conf.d/90gpudoctor\n"


def test_a_harmless_upgrade_passes_without_a_word(machine: Machine) -> None:
    install(machine, "--enforce")
    done = machine.apt("install", "harmless")
    assert (done.exit_code, told(done)) == (0, [])
    assert "Setting up harmless (2)" in done.stdout
    assert machine.note() is None


def test_by_default_it_warns_and_the_check_afterwards_names_the_same(machine: Machine) -> None:
    install(machine)
    done = machine.apt("dist-upgrade")
    assert done.exit_code == 0
    assert machine.upgraded
    before, _, after = "\n".join(told(done)).partition("gpudoctor: after this upgrade:")
    assert before.startswith("gpudoctor: with this upgrade the GPU would not work after the next restart:\n")
    assert f"ERROR The headers of kernel {NEXT} are not installed" in before
    assert f"The headers of the kernel that boots next ({NEXT}) are not installed" in after
    assert "`gpudoctor fix` repairs it" in after
    assert machine.note() is None
    assert "kernel.headers-missing" in machine.gpudoctor("check").stdout
    assert told(machine.apt("install", "--reinstall", "harmless")) == []  # told once


def test_enforced_nothing_happens_until_a_person_says_so(machine: Machine) -> None:
    install(machine, "--enforce")
    before = machine.layer.do("dpkg", "-l")
    done = machine.apt("dist-upgrade")
    assert done.exit_code == 100
    assert "Failure running script GPUDOCTOR_HOOK=apt" in done.stderr
    assert told(done)[-1].endswith("repeat the command with `-o GpuDoctor::Enforce=false`.")
    assert not machine.upgraded
    assert machine.layer.do("dpkg", "-l") == before
    assert machine.note() is None

    done = machine.apt("-o", "GpuDoctor::Enforce=false", "dist-upgrade")
    assert done.exit_code == 0
    assert machine.upgraded
    assert f"ERROR The headers of kernel {NEXT}" in "\n".join(told(done))


def test_with_the_headers_the_same_upgrade_passes_where_enforced(machine: Machine) -> None:
    install(machine, "--enforce")
    done = machine.apt("install", "linux-image-amd64", "linux-headers-amd64")
    assert done.exit_code == 0
    assert machine.upgraded
    assert not [line for line in told(done) if "with this upgrade" in line]


def test_the_hook_of_the_kernel_speaks_from_within_dpkg(machine: Machine) -> None:
    done = machine.gpudoctor("hook", "kernel", "--install")
    assert (done.exit_code, done.stderr) == (0, "")
    done = machine.apt("dist-upgrade")
    assert done.exit_code == 0
    assert f"gpudoctor: kernel {NEXT} was installed:" in done.stdout + done.stderr
    assert "(kernel.headers-missing)" in done.stdout + done.stderr


def python_is_gone(machine: Machine) -> None:
    machine.layer.do("rm", sys.executable)


def python_is_broken(machine: Machine) -> None:
    machine.layer.do("rm", "-r", os.path.join(os.path.dirname(os.__file__), "encodings"))


def package_is_gone(machine: Machine) -> None:
    machine.layer.do("rm", "-r", os.path.dirname(gpudoctor.__file__))


def _source(name: str) -> str:
    return os.path.join(os.path.dirname(gpudoctor.__file__), name)


def package_is_half_written(machine: Machine) -> None:
    machine.layer.do("truncate", "--size=700", _source("hooks/run.py"))


def judgement_crashes(machine: Machine) -> None:
    machine.add(_source("preflight/foresee.py"), "def foresee(*_):\n    raise KeyError\n")


def judgement_hangs(machine: Machine) -> None:
    machine.add(_source("hooks/judging.py"), "DEADLINE = 1.0\n")
    machine.add(_source("hooks/upgrade.py"), "def before(*_):\n    while True: pass\n")


def judgement_is_killed(machine: Machine) -> None:
    machine.add(_source("hooks/upgrade.py"), "def before(*_):\n    import os\n    os.kill(os.getpid(), 9)\n")


def apt_speaks_an_unknown_version(machine: Machine) -> None:
    machine.layer.do("sed", "-i", 's/Version "3"/Version "1"/', "/etc/apt/apt.conf.d/90gpudoctor")


def state_cannot_be_written(machine: Machine) -> None:
    machine.layer.do("rm", "-rf", "/var/lib/gpudoctor")
    machine.layer.write("/var/lib/gpudoctor", "a file in its place")


HARM = (
    python_is_gone,
    python_is_broken,
    package_is_gone,
    package_is_half_written,
    judgement_crashes,
    judgement_hangs,
    judgement_is_killed,
    apt_speaks_an_unknown_version,
)


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("enforce", [False, True], ids=["warning", "enforcing"])
def test_with_gpudoctor_broken_apt_works(harm: Callable[[Machine], None], enforce: bool, machine: Machine) -> None:
    install(machine, *(["--enforce"] if enforce else []))
    harm(machine)
    done = machine.apt("dist-upgrade")
    assert done.exit_code == 0, done.stderr
    assert machine.upgraded
    ours = [line for line in done.stderr.splitlines() if "gpudoctor" in line or "ython" in line or "not found" in line]
    assert ours, "silence would look like health"
    if harm in (judgement_crashes, judgement_hangs, judgement_is_killed, apt_speaks_an_unknown_version):
        assert "gpudoctor: " in ours[0]
        assert "gpudoctor: after this upgrade" in "\n".join(ours[1:])  # the one afterwards still tells


def test_where_nothing_can_be_noted_down_apt_works(machine: Machine) -> None:
    install(machine)
    state_cannot_be_written(machine)
    done = machine.apt("dist-upgrade")
    assert done.exit_code == 0
    assert "there will be no check afterwards" in "\n".join(told(done))


def test_it_goes_as_it_came(machine: Machine) -> None:
    before = machine.layer.do("apt-config", "dump")
    install(machine, "--enforce")
    assert machine.layer.do("apt-config", "dump") != before
    assert machine.gpudoctor("hook", "apt", "--remove").exit_code == 0
    assert machine.layer.do("apt-config", "dump") == before
    assert shlex.join(OWN) not in before
