"""Databases and logs that the real rpm, dnf, zypper and pacman wrote, from tiny packages built on the spot.

`python tests/facts/test_real_package_managers.py` records data/rpm-headers.json anew, for the fast tests.
"""

import base64
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from disk_trees import ARCH, FEDORA, SUSE, disk, facts_on

from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.host import Completed, RootHost, SqlValue, Unavailable
from gpudoctor.registry import Facts

HEADERS = Path(__file__).parent / "data" / "rpm-headers.json"
NEEDS = "nvidia-kmod-common = 3:580.95.05, nvidia-persistenced, dkms >= 3, /sbin/depmod, libcuda.so.1()(64bit)"
SPECS = (
    # name, epoch, version, release, maker, requirements
    ("kmod-nvidia", 3, "580.95.05", "1.fc42", "Vendor: Example Vendor", ""),
    ("nvidia-driver-cuda", 3, "580.95.05", "1.fc42", "Vendor: Example Vendor", NEEDS),
    ("nvidia-settings", None, "580.95.05", "1.fc42", "Packager: Zoë <zoe@example.org>", ""),
    ("kernel-core", None, "6.16.9", "200.fc42", "Vendor: Example Vendor", ""),
    ("gcc", None, "15.2.1", "3.fc43", "Vendor: Example Vendor", ""),
    ("gcc-c++", None, "15.2.1", "3.fc43", "Vendor: Example Vendor", ""),
    ("bash", None, "5.2", "1.fc42", "Vendor: Example Vendor", ""),
)
SEEN = (
    Package("gcc", "15.2.1-3.fc43", "noarch", "installed", False, "Example Vendor"),
    Package("kernel-core", "6.16.9-200.fc42", "noarch", "installed", False, "Example Vendor"),
    Package("kmod-nvidia", "3:580.95.05-1.fc42", "noarch", "installed", False, "Example Vendor"),
    Package(
        "nvidia-driver-cuda",
        "3:580.95.05-1.fc42",
        "noarch",
        "installed",
        False,
        "Example Vendor",
        ("dkms (>= 3)", "nvidia-kmod-common (= 3:580.95.05)", "nvidia-persistenced"),
    ),
    Package("nvidia-settings", "580.95.05-1.fc42", "noarch", "installed", False, "Zoë <zoe@example.org>"),
)


class WithRpm(RootHost):
    """A root whose rpm answers: really, or with what it said once."""

    def __init__(self, root: Path, said: Completed | None) -> None:
        super().__init__(str(root))
        self.said = said

    def run(self, argv: Sequence[str], *, timeout: float = 10.0) -> Completed | None:
        return self.said


def in_order(packages: Packages) -> tuple[Package, ...]:
    """By name; rpm sorts a package's requirements by its own rules, which vary with its version."""
    return tuple(sorted(p._replace(depends=tuple(sorted(p.depends))) for p in packages.packages))


def database_of(recorded: dict[str, list[list[str]]], path: Path) -> None:
    """The two tables of rpm's database that are read, filled with recorded headers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        connection.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        for number, (name, header) in enumerate(recorded["headers"], 1):
            connection.execute("INSERT INTO Packages VALUES (?, ?)", (number, base64.b64decode(header)))
            connection.execute("INSERT INTO Name VALUES (?, ?, 0)", (name, number))
    connection.close()


@pytest.fixture
def recorded() -> dict[str, list[list[str]]]:
    loaded: dict[str, list[list[str]]] = json.loads(HEADERS.read_text())
    return loaded


@pytest.mark.parametrize("folder", ["usr/lib/sysimage/rpm", "var/lib/rpm"])
def test_packages_from_headers_that_rpm_wrote(
    folder: str, recorded: dict[str, list[list[str]]], tmp_path: Path
) -> None:
    database_of(recorded, tmp_path / folder / "rpmdb.sqlite")
    packages = facts_on(tmp_path, {"/etc/os-release": FEDORA}).get(Packages)
    assert packages.manager == "rpm"
    assert packages.damage == ""
    assert in_order(packages) == SEEN


def test_version_locks_of_dnf_and_zypper_hold(recorded: dict[str, list[list[str]]], tmp_path: Path) -> None:
    database_of(recorded, tmp_path / "var/lib/rpm/rpmdb.sqlite")

    def held(locks: dict[str, str | bytes]) -> set[str]:
        for path in ("etc/dnf/plugins/versionlock.list", "etc/dnf/versionlock.toml", "etc/zypp/locks"):
            (tmp_path / path).unlink(missing_ok=True)
        packages = facts_on(tmp_path, {"/etc/os-release": FEDORA, **locks}).get(Packages)
        return {package.name for package in packages.packages if package.hold}

    dnf4, dnf5, zypper = "/etc/dnf/plugins/versionlock.list", "/etc/dnf/versionlock.toml", "/etc/zypp/locks"
    condition = '[[packages.conditions]]\nkey = "evr"\ncomparator = "{}"  # how\nvalue = "3:580.95.05-1.fc42"\n'
    entry = "type: package\nmatch_type: {}\ncase_sensitive: {}\nsolvable_name: {}\n"
    assert held({}) == set()
    assert held({dnf4: "# Added lock\nkmod-nvidia-3:580.95.05-1.fc42.*\n!gcc-0:15.2.1-3.fc43.*\n"}) == {"kmod-nvidia"}
    assert held({dnf4: "3:kmod-nvidia-580.95.05-1.fc42.*\n"}) == {"kmod-nvidia"}
    assert held({dnf4: "nvidia*\n"}) == {"nvidia-settings", "nvidia-driver-cuda"}
    assert held({dnf5: '[[packages]]\nname = "kmod-*"  # all\n' + condition.format("=")}) == {"kmod-nvidia"}
    assert held({dnf5: '[[packages]]\nname = "kmod-*"\n' + condition.format("!=")}) == set()
    assert held({zypper: entry.format("glob", "on", "nvidia-d*")}) == {"nvidia-driver-cuda"}
    assert held({zypper: entry.format("glob", "on", "NVIDIA-d*")}) == set()
    assert held({zypper: entry.format("exact", "on", "nvidia") + "\n" + entry.format("exact", "on", "gcc")}) == {"gcc"}
    assert held({zypper: "solvable_name: KERNEL\n"}) == {"kernel-core"}
    assert held({zypper: entry.format("regex", "on", "^kmod|^gcc$")}) == {"kmod-nvidia", "gcc"}
    assert held({zypper: entry.format("regex", "on", "(((")}) == set()
    assert held({zypper: "type: patch\n" + entry.format("glob", "on", "*").partition("\n")[2]}) == set()


def test_a_cut_header_gives_the_package_without_needs_or_counts_as_damage(
    recorded: dict[str, list[list[str]]], tmp_path: Path
) -> None:
    header = next(base64.b64decode(header) for name, header in recorded["headers"] if name == "nvidia-driver-cuda")
    whole = SEEN[3]
    for length in range(0, len(header), 7):
        cut = {"headers": [["nvidia-driver-cuda", base64.b64encode(header[:length]).decode()]]}
        (tmp_path / "rpmdb.sqlite").unlink(missing_ok=True)
        database_of(cut, tmp_path / "rpmdb.sqlite")
        host = disk(tmp_path, {"/etc/os-release": FEDORA})
        (tmp_path / "var/lib/rpm").mkdir(parents=True, exist_ok=True)
        os.replace(tmp_path / "rpmdb.sqlite", tmp_path / "var/lib/rpm/rpmdb.sqlite")
        packages = Facts(host).get(Packages)
        assert in_order(packages) in ((), (whole,), (whole._replace(depends=()),))
        assert bool(packages.packages) != bool(packages.damage)


def test_an_unfinished_transaction_makes_the_database_unknown(
    recorded: dict[str, list[list[str]]], tmp_path: Path
) -> None:
    path = tmp_path / "var/lib/rpm/rpmdb.sqlite"
    database_of(recorded, path)
    facts = facts_on(tmp_path, {"/etc/os-release": FEDORA, "/var/lib/rpm/rpmdb.sqlite-wal": ""})
    assert in_order(facts.get(Packages)) == SEEN

    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("DELETE FROM Packages")
    connection.commit()
    waiting = Facts(facts.host).get_or_reason(Packages)
    assert isinstance(waiting, Unavailable)
    assert "changes wait in /var/lib/rpm/rpmdb.sqlite-wal" in str(waiting)

    connection.execute("PRAGMA wal_checkpoint")
    assert (tmp_path / "var/lib/rpm/rpmdb.sqlite-wal").stat().st_size > 0
    assert Facts(facts.host).get(Packages).packages == ()
    connection.close()


def test_what_only_rpm_can_read_is_asked_of_rpm(tmp_path: Path) -> None:
    said = (
        "warning: something about keys\n"
        "gcc\t15.2.1-3.fc43\tnoarch\tExample Vendor\t(none)\t\n"
        "gcc-c++\t15.2.1-3.fc43\tnoarch\tExample Vendor\t(none)\t\n"
        "kernel-core\t6.16.9-200.fc42\tnoarch\tExample Vendor\t(none)\t\n"
        "kmod-nvidia\t3:580.95.05-1.fc42\tnoarch\tExample Vendor\t(none)\trpmlib(FileDigests) <= 4.6.0-1|\n"
        "nvidia-driver-cuda\t3:580.95.05-1.fc42\tnoarch\tExample Vendor\t(none)\t/sbin/depmod  |dkms >= 3"
        "|libcuda.so.1()(64bit)  |nvidia-kmod-common = 3:580.95.05|nvidia-persistenced  |\n"
        "nvidia-settings\t580.95.05-1.fc42\tnoarch\t(none)\tZoë <zoe@example.org>\t\n"
    )
    for place in ("/usr/lib/sysimage/rpm/Packages.db", "/var/lib/rpm/Packages"):
        folder = tmp_path / place.replace("/", "_")
        host = disk(folder, {"/etc/os-release": SUSE, place: b"RpmP"})
        reason = Facts(host).get_or_reason(Packages)
        assert str(reason) == f"only a running rpm can read {place}"
        assert in_order(Facts(WithRpm(folder, Completed(("rpm",), 0, said, ""))).get(Packages)) == SEEN
        no_rpm = Facts(WithRpm(folder, None)).get_or_reason(Packages)
        assert "there is no rpm here" in str(no_rpm)
        failing = WithRpm(folder, Completed(("rpm",), 1, "", "error: cannot open Packages\n"))
        assert str(Facts(failing).get_or_reason(Packages)) == "rpm -qa: error: cannot open Packages"


def test_a_destroyed_database_is_unknown(tmp_path: Path) -> None:
    facts = facts_on(tmp_path, {"/etc/os-release": FEDORA, "/var/lib/rpm/rpmdb.sqlite": b"\0junk" * 4000})
    reason = facts.get_or_reason(Packages)
    assert isinstance(reason, Unavailable)
    assert "rpmdb.sqlite" in str(reason)


def call(*argv: str, folder: Path) -> str:
    environment = {**os.environ, "HOME": str(folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def build_rpm(folder: Path, spec: tuple[str, int | None, str, str, str, str], files: int = 0) -> Path:
    """An rpm package that holds nothing, or so many empty files."""
    name, epoch, version, release, maker, needs = spec
    lines = [f"Name: {name}", f"Version: {version}", f"Release: {release}", "Summary: tiny", "License: MIT", maker]
    lines += ["BuildArch: noarch", *([f"Epoch: {epoch}"] if epoch else []), *([f"Requires: {needs}"] if needs else [])]
    place = f"%{{buildroot}}/usr/src/{name}"
    making = f"mkdir -p {place}\nfor n in $(seq {files}); do : > {place}/a-name-as-long-as-kernel-headers-$n; done"
    lines += ["%description", "tiny", *(["%install", making, "%files", f"/usr/src/{name}"] if files else ["%files"])]
    path = folder / f"{name}-{version}.spec"
    path.write_text("\n".join(lines) + "\n")
    macros = {"_topdir": folder / "top", "_rpmdir": folder / "rpms", "_buildhost": "build.example"}
    defines = [word for key, value in macros.items() for word in ("--define", f"{key} {value}")]
    call("rpmbuild", "-bb", "--quiet", *defines, str(path), folder=folder)
    return folder / "rpms" / "noarch" / f"{name}-{version}-{release}.noarch.rpm"


def install_rpms(folder: Path, rpms: Sequence[Path]) -> None:
    """Enter them into the database of the root, without touching its files."""
    (folder / "root/var/lib/rpm").mkdir(parents=True, exist_ok=True)
    words = ("--root", str(folder / "root"), "--dbpath", "/var/lib/rpm", "--define", "_db_backend sqlite")
    call("rpm", *words, "-i", "--justdb", "--nodeps", *(str(path) for path in rpms), folder=folder)


def need_tools(*names: str) -> None:
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


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
    from gpudoctor.facts.package_names import globs
    from gpudoctor.facts.rpm import QUERY_FORMAT

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


def record() -> None:
    """Write data/rpm-headers.json: name and header of every tiny package, as the real rpm stores them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install_rpms(folder, [build_rpm(folder, spec) for spec in SPECS])
        with sqlite3.connect(folder / "root/var/lib/rpm/rpmdb.sqlite") as connection:
            rows: list[tuple[SqlValue, ...]] = connection.execute(
                "SELECT n.key, p.blob FROM Name n JOIN Packages p ON p.hnum = n.hnum ORDER BY n.key"
            ).fetchall()
    headers = [[key, base64.b64encode(blob).decode()] for key, blob in rows if isinstance(blob, bytes)]
    HEADERS.parent.mkdir(exist_ok=True)
    HEADERS.write_text(json.dumps({"headers": headers}, indent=1) + "\n")


if __name__ == "__main__":
    record()
