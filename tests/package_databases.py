"""The package managers' own databases and histories, written as they write them."""

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from gpudoctor.facts.packages import Package


def database(manager: str, packages: Iterable[Package], folder: Path) -> dict[str, str | bytes]:
    """Of "dpkg" and "pacman" the files, by path; "rpm": its database is written below the folder at once."""
    files: dict[str, str | bytes] = {}
    match manager:
        case "dpkg":
            files["/var/lib/dpkg/status"] = "\n".join(map(_stanza, packages))
        case "pacman":
            files["/var/lib/pacman/local/ALPM_DB_VERSION"] = "9\n"
            for package in packages:
                files[f"/var/lib/pacman/local/{package.name}-{package.version}/desc"] = _description(package)
        case _:
            _rpm_database(folder / "usr/lib/sysimage/rpm/rpmdb.sqlite", packages)
    return files


def _stanza(package: Package) -> str:
    wish = "hold" if package.hold else "deinstall" if package.state == "removed" else "install"
    state = {"removed": "config-files"}.get(package.state, package.state)
    depends = f"Depends: {', '.join(package.depends)}\n" if package.depends else ""
    return (
        f"Package: {package.name}\nStatus: {wish} ok {state}\nMaintainer: {package.vendor}\n"
        f"Architecture: {package.architecture}\nVersion: {package.version}\n{depends}"
    )


def _description(package: Package) -> str:
    depends = "".join(f"{word.replace(' (', '').replace(')', '').replace(' ', '')}\n" for word in package.depends)
    return (
        f"%NAME%\n{package.name}\n\n%VERSION%\n{package.version}\n\n%ARCH%\nx86_64\n\n"
        f"%PACKAGER%\n{package.vendor}\n\n%DEPENDS%\n{depends}\n"
    )


def _rpm_database(path: Path, packages: Iterable[Package]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        connection.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        connection.execute("CREATE TABLE Basenames (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        for number, package in enumerate(packages, 1):
            connection.execute("INSERT INTO Packages VALUES (?, ?)", (number, _header(package)))
            connection.execute("INSERT INTO Name VALUES (?, ?, 0)", (package.name, number))
    connection.close()


def _header(package: Package) -> bytes:
    """As rpm stores it: counts, entries (tag, type, offset, count), data."""
    epoch, _, rest = package.version.rpartition(":")
    version, _, release = rest.partition("-")
    words = {1000: package.name, 1001: version, 1002: release, 1011: package.vendor, 1022: package.architecture}
    entries, data = b"", b""
    for tag, word in words.items():
        entries += struct.pack(">IIII", tag, 6, len(data), 1)
        data += word.encode() + b"\0"
    count = len(words)
    if epoch:
        data += b"\0" * (-len(data) % 4)
        entries += struct.pack(">IIII", 1003, 4, len(data), 1)
        data += struct.pack(">I", int(epoch))
        count += 1
    return struct.pack(">II", count, len(data)) + entries + data


def dnf_history(path: Path, runs: Sequence[tuple[int, str, Sequence[tuple[str, str, str, str]]]]) -> None:
    """dnf 5's database: (begin, command line, ((name, epoch:version-release that came, action, what left), ...))."""
    path.parent.mkdir(parents=True, exist_ok=True)
    actions = ["Install", "Upgrade", "Remove", "Replaced"]
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trans (id INTEGER, dt_begin INTEGER, dt_end INTEGER, description TEXT)")
        connection.execute(
            "CREATE TABLE trans_item (id INTEGER PRIMARY KEY, trans_id INTEGER, item_id INTEGER, action_id INTEGER)"
        )
        connection.execute(
            "CREATE TABLE rpm (item_id INTEGER PRIMARY KEY, name_id INTEGER, epoch INTEGER, version TEXT,"
            " release TEXT, arch_id INTEGER)"
        )
        for table in ("pkg_name", "arch", "trans_item_action"):
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO arch VALUES (1, 'x86_64')")
        connection.executemany("INSERT INTO trans_item_action VALUES (?, ?)", enumerate(actions, 1))
        for number, (begin, command, items) in enumerate(runs, 1):
            connection.execute("INSERT INTO trans VALUES (?, ?, ?, ?)", (number, begin, begin + 60, command))
            for name, came, action, left in items:
                for full, what in ((came, action), (left, "Replaced")):
                    if not full:
                        continue
                    epoch, _, rest = full.rpartition(":")
                    version, _, release = rest.partition("-")
                    key = connection.execute("INSERT INTO pkg_name (name) VALUES (?)", (name,)).lastrowid
                    item = connection.execute(
                        "INSERT INTO rpm (name_id, epoch, version, release, arch_id) VALUES (?, ?, ?, ?, 1)",
                        (key, int(epoch or 0), version, release),
                    ).lastrowid
                    connection.execute(
                        "INSERT INTO trans_item (trans_id, item_id, action_id) VALUES (?, ?, ?)",
                        (number, item, actions.index(what) + 1),
                    )
    connection.close()


def apt_history(when: str, command: str, *changes: str, ended: bool = True) -> str:
    """One run: changes like "Upgrade: libnvidia-compute-580:amd64 (580.82.07-0ubuntu0.24.04.1, 580.95.05-...)"."""
    day, clock = when.split()
    lines = [f"Start-Date: {day}  {clock}", f"Commandline: {command}", *changes]
    return "\n" + "\n".join([*lines, *([f"End-Date: {day}  {clock[:3]}59:59"] if ended else [])]) + "\n"
