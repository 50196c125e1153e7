"""Packages from the databases of dpkg and pacman, also when the machine died while they were written."""

import random
from pathlib import Path

import pytest
from disk_trees import ARCH, DEBIAN, FEDORA, facts_on

from gpudoctor.facts.packages import Package, Packages
from gpudoctor.host import Unavailable
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts
from gpudoctor.snapshot import RecordingHost, SnapshotHost

STATUS = "/var/lib/dpkg/status"


def stanza(name: str, version: str, status: str = "install ok installed", arch: str = "amd64", more: str = "") -> str:
    """As dpkg writes it."""
    return (
        f"Package: {name}\nStatus: {status}\nPriority: optional\nSection: non-free/libs\nInstalled-Size: 4711\n"
        f"Maintainer: Debian NVIDIA Maintainers <pkg-nvidia-devel@lists.alioth.debian.org>\nArchitecture: {arch}\n"
        f"Version: {version}\n{more}Description: NVIDIA CUDA Driver Library\n The Compute Unified Device Architecture\n"
        f" .\n Version: 1.0 of this sentence is no field.\n\n"
    )


MACHINE = "".join(
    (
        stanza("adduser", "3.134", arch="all"),
        stanza("libcuda1", "535.309.01-0+deb12u1", more="Depends: nvidia-support, libc6 (>= 2.34), a | b\n"),
        stanza("libcuda1", "535.309.01-0+deb12u1", arch="i386"),
        stanza("linux-image-6.1.0-56-amd64", "6.1.192-2"),
        stanza("linux-modules-nvidia-580-6.8.0-48-generic", "6.8.0-48.48+1"),
        stanza("nvidia-kernel-dkms", "535.309.01-0+deb12u1", "hold ok installed"),
        stanza("nvidia-driver", "535.261.03-1", "deinstall ok config-files"),
        stanza("nvidia-smi", "535.261.03-1", "purge ok not-installed"),
        stanza("gcc-12", "12.2.0-14+deb12u1"),
        stanza("gcc-12-base", "12.2.0-14+deb12u1"),
        stanza("bash", "5.2", "install ok half-configured"),
        stanza("vim", "9.1", "install reinstreq half-installed"),
        stanza("man-db", "2.11", "install ok triggers-pending"),
        stanza("mawk", "1.3", "install reinstreq installed"),
        stanza("old-editor", "1.0", "deinstall ok config-files"),
        stanza("systemd", "252.39-1", "install ok unpacked"),
    )
)


def packages_of(tmp_path: Path, files: dict[str, str | bytes]) -> Packages:
    return facts_on(tmp_path, {"/etc/os-release": DEBIAN, **files}).get(Packages)


def states(packages: Packages) -> dict[str, str]:
    return {package.name: package.state for package in packages.packages}


def test_of_thousands_those_that_matter_and_the_broken_ones_are_kept(tmp_path: Path) -> None:
    packages = packages_of(tmp_path, {STATUS: MACHINE})
    assert packages.manager == "dpkg"
    assert packages.damage == ""
    assert states(packages) == {
        "libcuda1": "installed",
        "linux-image-6.1.0-56-amd64": "installed",
        "linux-modules-nvidia-580-6.8.0-48-generic": "installed",
        "nvidia-kernel-dkms": "installed",
        "nvidia-driver": "removed",
        "gcc-12": "installed",
        "bash": "half-configured",
        "vim": "half-installed",
        "man-db": "triggers",
        "mawk": "half-installed",
        "systemd": "unpacked",
    }
    assert [package.name for package in packages.packages if package.hold] == ["nvidia-kernel-dkms"]
    assert [package.name for package in packages.packages if package.conffiles_only] == ["nvidia-driver"]
    assert packages.get("nvidia-driver") is None


def test_a_package_has_its_version_maker_architecture_and_needs(tmp_path: Path) -> None:
    first, foreign = [p for p in packages_of(tmp_path, {STATUS: MACHINE}).packages if p.name == "libcuda1"]
    assert first == Package(
        "libcuda1",
        "535.309.01-0+deb12u1",
        "amd64",
        "installed",
        False,
        "Debian NVIDIA Maintainers <pkg-nvidia-devel@lists.alioth.debian.org>",
        ("nvidia-support", "libc6 (>= 2.34)", "a | b"),
    )
    assert foreign.architecture == "i386"


@pytest.mark.parametrize(
    ("name", "version", "upstream"),
    [
        ("libnvidia-compute-580", "580.95.05-0ubuntu0.24.04.1", "580.95.05"),
        ("libnvidia-compute", "580.95.05-0ubuntu1", "580.95.05"),
        ("nvidia-open", "580.95.05-1ubuntu1", "580.95.05"),
        ("libcuda1", "535.309.01-0+deb12u1", "535.309.01"),
        ("nvidia-tesla-470-kernel-dkms", "470.256.02-1~deb12u1", "470.256.02"),
        ("nvidia-driver-cuda", "3:580.95.05-1.fc42", "580.95.05"),
        ("kmod-nvidia-6.16.9-200.fc42.x86_64", "3:580.95.05-1.fc42", "580.95.05"),
        ("nvidia-utils", "580.95.05-3", "580.95.05"),
        ("nvidia-open-driver-G06-signed-kmp-default", "580.95.05_k6.4.0_150600.21-lp156.1", "580.95.05"),
        ("nvidia-driver-340", "340.108-0ubuntu5", "340.108"),
        ("linux-modules-nvidia-580-6.8.0-48-generic", "6.8.0-48.48+1", ""),
        ("linux-image-6.1.0-56-amd64", "6.1.192-2", ""),
        ("nvidia-kernel-common", "20220217+3~deb12u1", ""),
        ("nvidia-container-toolkit", "1.17.8-1", ""),
        ("nvidia-cuda-toolkit", "12.4.131~12.4.1-2", ""),
        ("cuda-toolkit-12-8", "12.8.1-1", ""),
        ("kernel-firmware-nvidia", "20250206-1.1", ""),
        ("gcc", "4:12.2.0-3", ""),
        ("systemd", "252.39-1~deb12u2", ""),
        ("nvidia-utils", "", ""),
    ],
)
def test_the_driver_version_in_a_package_version(name: str, version: str, upstream: str) -> None:
    assert Package(name, version, "amd64", "installed", False, "").upstream == upstream


def test_the_journal_of_an_interrupted_dpkg_counts_more_than_the_status_file(tmp_path: Path) -> None:
    packages = packages_of(
        tmp_path,
        {
            STATUS: "".join(stanza(name, "535.261.03-1") for name in ("nvidia-kernel-dkms", "nvidia-smi", "sed")),
            "/var/lib/dpkg/updates/0002": stanza("nvidia-kernel-dkms", "535.309.01-1", "install ok half-configured"),
            "/var/lib/dpkg/updates/0001": stanza("nvidia-kernel-dkms", "535.309.01-1", "install ok unpacked"),
            "/var/lib/dpkg/updates/0003": stanza("nvidia-smi", "535.261.03-1", "deinstall ok not-installed"),
            "/var/lib/dpkg/updates/0004": stanza("sed", "535.261.03-1", "install ok unpacked"),
            "/var/lib/dpkg/updates/0005": stanza("libcuda1", "535.309.01-1", "install ok unpacked"),
            "/var/lib/dpkg/updates/0006": stanza("grep", "3", "install ok unpacked"),
            "/var/lib/dpkg/updates/0007": stanza("grep", "3"),
            "/var/lib/dpkg/updates/tmp.i": stanza("nvidia-kernel-dkms", "9"),
        },
    )
    assert states(packages) == {"nvidia-kernel-dkms": "half-configured", "sed": "unpacked", "libcuda1": "unpacked"}
    assert packages.packages[0].version == "535.309.01-1"


def test_what_an_empty_or_destroyed_status_file_said_is_unknown(tmp_path: Path) -> None:
    for number, (content, words) in enumerate(
        ((b"", "status is empty"), (b"\n\n", "status is empty"), (b"\0" * 70000, "no package that can be read"))
    ):
        facts = facts_on(tmp_path / str(number), {"/etc/os-release": DEBIAN, STATUS: content})
        with pytest.raises(Unavailable, match=words):
            facts.get(Packages)


def test_a_half_written_last_entry_does_not_count_and_is_told(tmp_path: Path) -> None:
    cut = MACHINE + stanza("nvidia-modprobe", "535.309.01-1").partition("9.01-1")[0]
    packages = packages_of(tmp_path, {STATUS: cut})
    assert "nvidia-modprobe" not in states(packages)
    assert len(packages.packages) == 12
    assert packages.damage == "/var/lib/dpkg/status is damaged, entries are missing"


def test_wherever_the_file_ends_what_is_read_is_true(tmp_path: Path) -> None:
    whole = {(p.name, p.architecture): p for p in packages_of(tmp_path / "whole", {STATUS: MACHINE}).packages}
    offsets = random.Random(1).sample(range(len(MACHINE)), 200)
    known = 0
    for offset in offsets:
        facts = facts_on(tmp_path / "cut", {"/etc/os-release": DEBIAN, STATUS: MACHINE[:offset]})
        found = facts.get_or_reason(Packages)
        if isinstance(found, Unavailable):
            assert MACHINE[:offset].count("\nStatus: ") <= 1
            continue
        known += 1
        for package in found.packages:
            # Only what comes after the version may be lost.
            assert package._replace(depends=()) == whole[package.name, package.architecture]._replace(depends=())
    assert known > 150


def test_binary_junk_anywhere_raises_nothing_but_unavailable(tmp_path: Path) -> None:
    generator = random.Random(2)
    content = bytearray(MACHINE.encode())
    for _ in range(150):
        junk = bytearray(content)
        for _ in range(generator.randrange(1, 40)):
            start = generator.randrange(len(junk))
            junk[start : start + generator.randrange(1, 60)] = generator.randbytes(generator.randrange(60))
        facts = facts_on(tmp_path, {"/etc/os-release": DEBIAN, STATUS: bytes(junk)})
        found = facts.get(Packages)
        assert found.manager == "dpkg"
        assert all(package.version and package.name for package in found.packages)


def test_names_that_are_no_utf8_survive_a_snapshot(tmp_path: Path) -> None:
    strange = stanza("nvidia-\udcff\udcfe", "1.0") + stanza("libcuda1", "535.309.01-1")
    facts = facts_on(tmp_path, {"/etc/os-release": DEBIAN, STATUS: strange})
    recording = RecordingHost(facts.host)
    live = Facts(recording).get(Packages)
    assert [package.name for package in live.packages] == ["nvidia-\udcff\udcfe", "libcuda1"]
    assert Facts(SnapshotHost(recording.answers)).get(Packages) == live


def test_a_system_without_a_known_database_has_no_packages(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    assert Facts(RootHost(str(tmp_path))).get(Packages) == Packages("", ())


DESC = """%NAME%
nvidia-open-dkms

%VERSION%
580.95.05-3

%BASE%
nvidia-open-dkms

%ARCH%
x86_64

%PACKAGER%
Example Packager <packager@example.org>

%DEPENDS%
nvidia-utils=580.95.05
dkms
libglvnd>=1.3

"""
PACMAN: dict[str, str | bytes] = {
    "/etc/os-release": ARCH,
    "/etc/pacman.conf": "[options]\n# IgnorePkg = dkms\nIgnorePkg = linux nvidia-open*  # until next week\n",
    "/var/lib/pacman/local/ALPM_DB_VERSION": "9\n",
    "/var/lib/pacman/local/nvidia-open-dkms-580.95.05-3/desc": DESC,
    "/var/lib/pacman/local/dkms-3.2.2-1/desc": "%NAME%\ndkms\n\n%VERSION%\n3.2.2-1\n",
    "/var/lib/pacman/local/linux-6.17.2.arch1-1/desc": "",
    "/var/lib/pacman/local/which-2.21-6/desc": DESC,
}


def test_pacman_folders_become_packages_and_an_empty_one_is_half_installed(tmp_path: Path) -> None:
    packages = facts_on(tmp_path, PACMAN).get(Packages)
    assert packages.manager == "pacman"
    assert states(packages) == {"dkms": "installed", "linux": "half-installed", "nvidia-open-dkms": "installed"}
    driver = packages.get("nvidia-open-dkms")
    assert driver == Package(
        "nvidia-open-dkms",
        "580.95.05-3",
        "x86_64",
        "installed",
        True,
        "Example Packager <packager@example.org>",
        ("nvidia-utils (= 580.95.05)", "dkms", "libglvnd (>= 1.3)"),
    )
    assert [package.hold for package in packages.packages] == [False, True, True]


def test_of_two_databases_the_systems_own_counts(tmp_path: Path) -> None:
    both = {**PACMAN, STATUS: MACHINE}
    for number, (system, manager) in enumerate(((ARCH, "pacman"), (DEBIAN, "dpkg"), ("ID=unheard-of\n", "dpkg"))):
        assert facts_on(tmp_path / str(number), {**both, "/etc/os-release": system}).get(Packages).manager == manager


def test_of_two_databases_on_an_unknown_system_the_one_that_holds_something_counts(tmp_path: Path) -> None:
    unknown = {**PACMAN, "/etc/os-release": "ID=unheard-of\n"}
    for number, status in enumerate(("", stanza("adduser", "3.134"))):
        assert facts_on(tmp_path / str(number), {**unknown, STATUS: status}).get(Packages).manager == "pacman"


def test_tools_of_another_family_do_not_hide_a_damaged_database(tmp_path: Path) -> None:
    facts = facts_on(tmp_path, {**PACMAN, STATUS: "", "/etc/os-release": DEBIAN})
    with pytest.raises(Unavailable, match="empty"):
        facts.get(Packages)


def test_fedora_without_any_database_is_not_taken_for_debian(tmp_path: Path) -> None:
    assert facts_on(tmp_path, {"/etc/os-release": FEDORA}).get(Packages) == Packages("", ())
