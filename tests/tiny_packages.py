"""Tiny rpm packages, built by the real rpm, and what is to be seen of them.

`python tests/tiny_packages.py` records facts/data/rpm-headers.json anew, for the tests that run without rpm.
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

from gpudoctor.facts.packages import Package, Packages
from gpudoctor.host import Completed, SqlValue
from gpudoctor.machine import RootHost

HEADERS = Path(__file__).parent / "facts" / "data" / "rpm-headers.json"
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
