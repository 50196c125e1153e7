"""What apt, dnf and pacman print when they only plan: read as they mean it, refused when it was tampered with."""

from pathlib import Path

import pytest

from gpudoctor.preflight.simulation import LIMIT, read_simulation, simulation_in
from gpudoctor.preflight.transaction import Change, NoTransaction, concerns_gpu

SECURITY = "Debian-Security:12/oldstable-security"

# Lines of a real `apt-get -s dist-upgrade` of Debian 12, the day after which the GPU was gone.
APT = """Reading package lists...
Building dependency tree...
Reading state information...
Calculating upgrade...
The following NEW packages will be installed:
  linux-image-6.1.0-56-amd64
The following packages have been kept back:
  firmware-nvidia-gsp nvidia-kernel-dkms
The following packages will be upgraded:
  libperl5.36 linux-image-amd64 nvidia-smi perl
4 upgraded, 1 newly installed, 1 to remove and 2 not upgraded.
Remv nvidia-driver [535.261.03-1] [nvidia-smi:amd64 ]
Inst libperl5.36 [5.36.0-7+deb12u3] (5.36.0-7+deb12u4 Debian-Security:12/oldstable-security [amd64]) [perl:amd64 ]
Inst perl [5.36.0-7+deb12u3] (5.36.0-7+deb12u4 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst nvidia-smi [535.261.03-1] (535.309.01-0+deb12u1 Debian-Security:12/oldstable-security [amd64]) []
Inst linux-image-6.1.0-56-amd64 (6.1.192-2 Debian-Security:12/oldstable-security [amd64])
Inst linux-image-amd64 [6.1.176-1] (6.1.192-2 Debian-Security:12/oldstable-security [amd64])
Conf nvidia-smi (535.309.01-0+deb12u1 Debian-Security:12/oldstable-security [amd64])
"""

# What apt 3 prints of its own accord, apt-get only when asked to.
APT_3 = """
WARNING: apt does not have a stable CLI interface. Use with caution in scripts.

Reading package lists...
Building dependency tree...
Upgrading:
  libssl3t64  openssl-provider-legacy

Not upgrading:
  nvidia-kernel-dkms

Summary:
  Upgrading: 2, Installing: 0, Removing: 0, Not Upgrading: 1
Inst openssl-provider-legacy [3.5.7-1~deb13u3] (3.5.9-1~deb13u1 Debian:13.8/stable [amd64])
Conf openssl-provider-legacy (3.5.9-1~deb13u1 Debian:13.8/stable [amd64])
Inst libssl3t64 [3.5.7-1~deb13u3] (3.5.9-1~deb13u1 Debian:13.8/stable [amd64])
"""

DNF_4 = """Last metadata expiration check: 0:00:01 ago on Wed Nov 25 13:54:32 2026.
Dependencies resolved.
================================================================================
 Package                          Arch      Version               Repo     Size
================================================================================
Installing:
 kernel-core                      x86_64    6.16.10-200.fc42      updates   18 M
Upgrading:
 akmod-nvidia                     x86_64    3:580.95.05-1.fc42    rpmfusion-nonfree-nvidia-driver
                                                                           5.5 k
     replacing  kmod-nvidia-470.x86_64 470.256.02-1
 xorg-x11-drv-nvidia-cuda-libs    x86_64    3:580.95.05-1.fc42    rpmfusion 5.6 k
Installing dependencies:
 new-dep                          noarch    2.0-1.fc42            updates  5.4 k
Removing:
 kernel-core                      x86_64    6.16.7-200.fc42       @updates  69 M
Skipping packages with broken dependencies:
 nvidia-modprobe                  x86_64    3:580.95.05-1.fc42    rpmfusion 5.5 k

Transaction Summary
================================================================================
Install  2 Packages
Upgrade  2 Packages
Remove   1 Package
Skip     1 Package

Total size: 22 k
Operation aborted.
"""

DNF_5 = """Updating and loading repositories:
Repositories loaded.
Package                             Arch   Version              Repository      Size
Upgrading:
 xorg-x11-drv-nvidia-cuda-libs      x86_64 3:580.95.05-1.fc42   rpmfusion  195.7 KiB
   replacing xorg-x11-drv-nvidia-cuda-libs x86_64 3:580.82.07-1.fc42 rpmfusion  187.1 KiB
 dnf5-plugins                       x86_64 0:5.4.3.0-2.fc44     updates      1.6 MiB
   replacing dnf5-plugins           x86_64 0:5.4.1.0-1.fc44     <unknown>    1.6 MiB

Transaction Summary:
 Upgrading:         2 packages
 Replacing:         2 packages

Total size of inbound packages is 1 MiB. Need to download 1 MiB.
Operation aborted by the user.
"""

PACMAN = """linux 6.16.10.arch1-1
newdep 1-1
nvidia-utils 580.95.05-1
xorg-server 1:21.1.18-2
"""


def test_a_plan_of_apt() -> None:
    plan = read_simulation(APT, "the plan")
    assert plan.manager == "dpkg"
    assert plan.kept_back == ("firmware-nvidia-gsp", "nvidia-kernel-dkms")
    assert Change("nvidia-smi", "amd64", "535.261.03-1", "535.309.01-0+deb12u1", SECURITY) in plan.changes
    assert Change("linux-image-6.1.0-56-amd64", "amd64", "", "6.1.192-2", SECURITY) in plan.changes
    assert Change("nvidia-driver", "", "535.261.03-1", "") in plan.changes
    assert len(plan.changes) == 6
    assert concerns_gpu(plan)


def test_a_plan_of_apt_3() -> None:
    plan = read_simulation(APT_3, "the plan")
    assert [(change.name, change.old, change.new) for change in plan.changes] == [
        ("openssl-provider-legacy", "3.5.7-1~deb13u3", "3.5.9-1~deb13u1"),
        ("libssl3t64", "3.5.7-1~deb13u3", "3.5.9-1~deb13u1"),
    ]
    assert plan.kept_back == ("nvidia-kernel-dkms",)
    assert not concerns_gpu(plan)


def test_a_plan_of_dnf_4() -> None:
    plan = read_simulation(DNF_4, "the plan")
    assert plan.manager == "rpm"
    assert plan.changes == (
        Change("kernel-core", "x86_64", "", "6.16.10-200.fc42", "updates"),
        Change("akmod-nvidia", "x86_64", "", "3:580.95.05-1.fc42", "rpmfusion-nonfree-nvidia-driver"),
        Change("kmod-nvidia-470", "x86_64", "470.256.02-1", ""),
        Change("xorg-x11-drv-nvidia-cuda-libs", "x86_64", "", "3:580.95.05-1.fc42", "rpmfusion"),
        Change("new-dep", "noarch", "", "2.0-1.fc42", "updates"),
        Change("kernel-core", "x86_64", "6.16.7-200.fc42", ""),
    )
    assert plan.kept_back == ("nvidia-modprobe",)


def test_a_plan_of_dnf_5_names_both_versions() -> None:
    plan = read_simulation(DNF_5, "the plan")
    assert plan.changes == (
        Change("xorg-x11-drv-nvidia-cuda-libs", "x86_64", "3:580.82.07-1.fc42", "3:580.95.05-1.fc42", "rpmfusion"),
        Change("dnf5-plugins", "x86_64", "5.4.1.0-1.fc44", "5.4.3.0-2.fc44", "updates"),
    )


def test_a_plan_of_pacman() -> None:
    plan = read_simulation(PACMAN, "the plan")
    assert plan.manager == "pacman"
    assert plan.changes[0] == Change("linux", "", "", "6.16.10.arch1-1")
    assert plan.changes[-1] == Change("xorg-server", "", "", "1:21.1.18-2")


@pytest.mark.parametrize(
    "text",
    [
        "Reading package lists...\n0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n",
        "Summary:\n  Upgrading: 0, Installing: 0, Removing: 0, Not Upgrading: 0\n",
        "Dependencies resolved.\nNothing to do.\nComplete!\n",
        "Repositories loaded.\nNothing to do.\n",
    ],
)
def test_nothing_to_do_is_a_plan(text: str) -> None:
    assert read_simulation(text, "the plan").changes == ()


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (("Inst nvidia-smi ", "Inst nvidia-smi;reboot "), "'nvidia-smi;reboot' is no name of a package"),
        (("Inst nvidia-smi ", "Inst $(reboot) "), "is no name of a package"),
        (("Inst nvidia-smi ", "Inst ../../etc/passwd "), "is no name of a package"),
        (("Inst nvidia-smi ", "Inst -o "), "is no name of a package"),
        (("[535.261.03-1] (", "[535`id`] ("), "is no version of a package"),
        (("(535.309.01-0+deb12u1 ", "(535.309.01|sh "), "is no version of a package"),
        (("Remv nvidia-driver ", "Remv a&b "), "is no name of a package"),
        (("  firmware-nvidia-gsp ", "  firmware>x "), "is no name of a package"),
        (("(6.1.192-2 Debian", "6.1.192-2 Debian"), "a line that apt does not write"),
        (("4 upgraded", "9 upgraded"), "it is cut short or was changed: it counts 10 packages"),
        (("Remv nvidia-driver [535.261.03-1] [nvidia-smi:amd64 ]\n", ""), "it is cut short or was changed"),
        (("Calculating upgrade...", "E: Unable to correct problems, you have held broken packages."), "held broken"),
        (("Calculating upgrade...", "Error: Unable to locate package x"), "apt cannot do this: Unable to locate"),
        (
            ("Conf nvidia-smi", "Inst nvidia-smi [535.261.03-1] (536.1-1 Debian [amd64])\nConf nvidia-smi"),
            "it says two things of nvidia-smi: 535.309.01-0+deb12u1 and 536.1-1",
        ),
    ],
)
def test_a_forged_or_damaged_plan_of_apt_is_refused(damage: tuple[str, str], word: str) -> None:
    assert damage[0] in APT
    with pytest.raises(NoTransaction, match="the plan: ") as refusal:
        read_simulation(APT.replace(*damage, 1), "the plan")
    assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_every_plan_cut_short_is_refused_or_says_less() -> None:
    """Wherever it is cut, no package appears that was not in it, and nothing but a clear refusal is raised."""
    for text in (APT, APT_3, DNF_4, DNF_5):
        whole = {(change.name, change.new) for change in read_simulation(text, "the plan").changes}
        refused = 0
        for end in range(len(text)):
            try:
                found = read_simulation(text[:end], "the plan").changes
            except NoTransaction:
                refused += 1
                continue
            assert {(change.name, change.new) for change in found} <= whole
        assert refused > len(text) / 2


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (
            (
                "kernel-core                      x86_64    6.16.10",
                "kernel;core                      x86_64    6.16.10",
            ),
            "no name",
        ),
        (("3:580.95.05-1.fc42    rpmfusion 5.6", "3:580$95    rpmfusion 5.6"), "no version"),
        (("Upgrading:", "Aktualisieren:"), "'Aktualisieren' is no part of dnf's table"),
        (("Upgrade  2", "Upgrade  3"), "it is cut short or was changed"),
        (
            (" new-dep                          noarch    2.0-1.fc42            updates  5.4 k\n", " new-dep\n"),
            "cannot be read",
        ),
    ],
)
def test_a_forged_or_damaged_plan_of_dnf_is_refused(damage: tuple[str, str], word: str) -> None:
    assert damage[0] in DNF_4
    with pytest.raises(NoTransaction, match=word):
        read_simulation(DNF_4.replace(*damage, 1), "the plan")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("hello world\n", "no simulation"),
        ("nvidia-utils 580.95.05-1\nrm -rf /\n", "no simulation"),
        ("nvidia-utils;id 580.95.05-1\n", "no name of a package"),
        ("error: failed to prepare transaction (could not satisfy dependencies)\n", "pacman cannot do this"),
        ("linux 6.16.10.arch1-1\nnvidia-utils 580.95.05-1", "cut short"),
        ('{"schema": 1}\n', "no simulation"),
        ("VERSION 3\nAPT::Architecture=amd64\n\n", "no simulation"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, word: str) -> None:
    with pytest.raises(NoTransaction, match=word):
        read_simulation(text, "the plan")


def test_files_that_are_none(tmp_path: Path) -> None:
    for content, word in (
        (b"\x7fELF\2\1\1\0\0\0", "not a text"),
        (b"Inst caf\xe9 (1 Debian [amd64])\n", "not a text"),
        (b"Inst " + b"x" * LIMIT, "more than 8 MiB"),
        (b"Inst " + b"x" * 100_000 + b" (1-1 Debian [amd64])\n", "no name of a package"),
    ):
        (tmp_path / "plan").write_bytes(content)
        with pytest.raises(NoTransaction, match=word) as refusal:
            simulation_in(str(tmp_path / "plan"))
        assert len(str(refusal.value)) < 400
    for path, word in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(NoTransaction, match=word):
            simulation_in(str(path))


def test_a_file_from_windows(tmp_path: Path) -> None:
    (tmp_path / "plan").write_bytes(APT.replace("\n", "\r\n").encode())
    assert len(simulation_in(str(tmp_path / "plan")).changes) == 6


@pytest.mark.parametrize(
    ("name", "concerned"),
    [
        *(
            (name, True)
            for name in ("libcuda1", "nvidia-driver-580", "linux-image-6.1.0-56-amd64", "cuda-toolkit-13-0")
        ),
        *((name, True) for name in ("libcudnn9-cuda-12", "dkms", "gcc-12", "kernel-core", "kernel-devel", "linux")),
        *((name, True) for name in ("linux-headers-amd64", "proxmox-kernel-6.8.12-4-pve", "akmod-nvidia", "libnccl2")),
        *((name, False) for name in ("bash", "libc6", "linux-libc-dev", "gcc-12-base", "libstdc++6", "python3")),
    ],
)
def test_which_packages_concern_the_gpu(name: str, concerned: bool) -> None:
    plan = read_simulation(f"Inst {name} [1-1] (2-1 Debian:12.15/oldstable [amd64])\n", "the plan")
    assert concerns_gpu(plan) is concerned
