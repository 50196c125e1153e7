"""Databases and logs that the real rpm, dnf, zypper and pacman wrote, from tiny packages built on the spot."""

import shutil
from pathlib import Path

import pytest
from disk_trees import ARCH, FEDORA, SUSE, disk, facts_on
from tiny_packages import SEEN, SPECS, WithRpm, build_rpm, call, in_order, install_rpms, need_tools

from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.package_names import globs
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.rpm import QUERY_FORMAT
from gpudoctor.host import Completed
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts


@pytest.mark.slow
def test_the_database_of_the_real_rpm(tmp_path: Path) -> None:
    need_tools("rpm", "rpmbuild")
    large = build_rpm(tmp_path, ("kernel-devel", None, "6.16.9", "200.fc42", "Vendor: Example Vendor", ""), files=3000)
    install_rpms(tmp_path, [*(build_rpm(tmp_path, spec) for spec in SPECS), large])
    root = tmp_path / "root"
    packages = facts_on(root, {"/etc/os-release": FEDORA}).get(Packages)
    devel = Package("kernel-devel", "6.16.9-200.fc42", "noarch", "installed", False, "Example Vendor")
    assert packages.damage == ""
    assert in_order(packages) == tuple(sorted([*SEEN, devel]))

    # The same through rpm's own mouth, as on machines with another kind of database.
    words = ("--root", str(root), "--dbpath", "/var/lib/rpm", "-qa", "--queryformat", QUERY_FORMAT, *globs())
    said = call("rpm", *words, folder=tmp_path)
    shutil.rmtree(root / "var/lib/rpm")
    disk(root, {"/var/lib/rpm/Packages.db": b"RpmP"})
    asked = Facts(WithRpm(root, Completed(("rpm",), 0, said, ""))).get(Packages)
    assert in_order(asked) == tuple(sorted([*SEEN, devel]))


def changes(facts: Facts) -> list[tuple[str, str, str, str]]:
    return [(event.action, event.package, event.old, event.new) for event in facts.get(PackageHistory).events]


OLD, NEW = "3:580.95.05-1.fc42", "3:580.105.08-1.fc42"


@pytest.mark.slow
def test_the_history_of_the_real_dnf(tmp_path: Path) -> None:
    need_tools("dnf", "rpmbuild")
    old = build_rpm(tmp_path, SPECS[0])
    new = build_rpm(tmp_path, ("kmod-nvidia", 3, "580.105.08", "1.fc42", "Vendor: Example Vendor", ""))
    bash, kernel = build_rpm(tmp_path, SPECS[6]), build_rpm(tmp_path, SPECS[3])
    root = tmp_path / "root"
    root.mkdir()
    words = ["-y", f"--installroot={root}", "--releasever=42", "--setopt=tsflags=justdb", "--nogpgcheck"]
    for act in (
        ("install", str(old), str(bash), str(kernel)),
        ("upgrade", str(new)),
        ("downgrade", str(old)),
        ("reinstall", str(old)),
        ("remove", "kmod-nvidia"),
    ):
        call("dnf", *words, *act, folder=tmp_path)
    facts = facts_on(root, {"/etc/os-release": FEDORA})
    assert sorted(changes(facts)[:2]) == [
        ("install", "kernel-core", "", "6.16.9-200.fc42"),
        ("install", "kmod-nvidia", "", OLD),
    ]
    assert changes(facts)[2:] == [
        ("upgrade", "kmod-nvidia", OLD, NEW),
        ("downgrade", "kmod-nvidia", NEW, OLD),
        ("reinstall", "kmod-nvidia", OLD, OLD),
        ("remove", "kmod-nvidia", OLD, ""),
    ]
    last = facts.get(PackageHistory).events[-1]
    assert last.command.startswith("dnf -y")
    assert last.command.endswith("remove kmod-nvidia")
    assert last.complete


@pytest.mark.slow
def test_the_history_of_the_real_zypper(tmp_path: Path) -> None:
    need_tools("zypper", "createrepo_c", "rpmbuild")
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    shutil.copy(build_rpm(tmp_path, SPECS[0]), tmp_path / "first")
    shutil.copy(build_rpm(tmp_path, SPECS[6]), tmp_path / "first")
    new = ("kmod-nvidia", 3, "580.105.08", "1.fc42", "Vendor: Example Vendor", "")
    shutil.copy(build_rpm(tmp_path, new), tmp_path / "second")
    root = tmp_path / "root"
    words = ["--root", str(root), "--non-interactive", "--no-gpg-checks", "--quiet"]
    for name in ("first", "second"):
        call("createrepo_c", "-q", str(tmp_path / name), folder=tmp_path)
        call("zypper", *words, "addrepo", str(tmp_path / name), name, folder=tmp_path)
    call("zypper", *words, "install", "--from", "first", "kmod-nvidia", "bash", folder=tmp_path)
    call("zypper", *words, "update", folder=tmp_path)
    call("zypper", *words, "remove", "kmod-nvidia", folder=tmp_path)
    call("zypper", *words, "addlock", "kernel-*", folder=tmp_path)
    facts = facts_on(root, {"/etc/os-release": SUSE})
    assert changes(facts) == [
        ("install", "kmod-nvidia", "", OLD),
        ("upgrade", "kmod-nvidia", OLD, NEW),
        ("remove", "kmod-nvidia", NEW, ""),
    ]
    assert facts.get(PackageHistory).events[1].command.endswith("--quiet update")
    install_rpms(tmp_path, [build_rpm(tmp_path, SPECS[3]), build_rpm(tmp_path, SPECS[4])])
    assert [(package.name, package.hold) for package in facts.get(Packages).packages] == [
        ("gcc", False),
        ("kernel-core", True),
    ]


@pytest.mark.slow
def test_the_database_and_the_log_of_the_real_pacman(tmp_path: Path) -> None:
    need_tools("pacman", "bsdtar")
    built = {}
    for name, version in (("nvidia-utils", "1-1"), ("nvidia-utils", "2-1"), ("which", "1-1")):
        folder = tmp_path / f"{name}-{version}"
        (folder / "usr").mkdir(parents=True)
        (folder / "usr" / name).write_text("x")
        lines = (
            f"pkgname = {name}",
            f"pkgver = {version}",
            "arch = any",
            "packager = Zoë <zoe@example.org>",
            "size = 1",
        )
        (folder / ".PKGINFO").write_text("\n".join((*lines, "depend = libglvnd>=1.3")) + "\n")
        built[name, version] = str(tmp_path / f"{name}-{version}-any.pkg.tar.gz")
        call("bsdtar", "-czf", built[name, version], ".PKGINFO", "usr", folder=folder)
    root = tmp_path / "root"
    disk(root, {"/etc/os-release": ARCH, "/var/lib/pacman/": "", "/var/log/": "", "/cache/": ""})
    (tmp_path / "pacman.conf").write_text("[options]\nSigLevel = Never\n")
    words = ["--config", str(tmp_path / "pacman.conf"), "--root", str(root), "--dbpath", str(root / "var/lib/pacman")]
    words += ["--logfile", str(root / "var/log/pacman.log"), "--cachedir", str(root / "cache"), "--noconfirm"]
    install = ("-U", "-dd", "--noscriptlet")
    call("pacman", *words, *install, built["nvidia-utils", "1-1"], built["which", "1-1"], folder=tmp_path)
    call("pacman", *words, *install, built["nvidia-utils", "2-1"], folder=tmp_path)
    call("pacman", *words, *install, built["nvidia-utils", "1-1"], folder=tmp_path)
    call("pacman", *words, *install, built["nvidia-utils", "1-1"], folder=tmp_path)
    facts = Facts(RootHost(str(root)))
    packages = facts.get(Packages)
    expected = ("nvidia-utils", "1-1", "any", "installed", False, "Zoë <zoe@example.org>", ("libglvnd (>= 1.3)",))
    assert packages.packages == (Package(*expected),)
    call("pacman", *words, "-R", "--noscriptlet", "nvidia-utils", folder=tmp_path)
    assert changes(facts) == [
        ("install", "nvidia-utils", "", "1-1"),
        ("upgrade", "nvidia-utils", "1-1", "2-1"),
        ("downgrade", "nvidia-utils", "2-1", "1-1"),
        ("reinstall", "nvidia-utils", "1-1", "1-1"),
        ("remove", "nvidia-utils", "1-1", ""),
    ]
    events = facts.get(PackageHistory).events
    assert events[-1].command.startswith("pacman --config")
    assert all(event.complete for event in events)
