"""Installed packages that matter to the GPU (P of the four versions), from the package manager's own files."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gpudoctor.facts.driver_version import is_driver_version
from gpudoctor.facts.package_names import globs, is_of_interest, sql_condition
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.host import Host, NotRunning, Unavailable
from gpudoctor.registry import fact


class Package(NamedTuple):
    """One package in the package manager's database."""

    name: str  # without architecture: "libcuda1"
    version: str  # the package manager's own: "535.309.01-0+deb12u1", "3:580.95.05-1.fc42"
    architecture: str
    state: str  # "installed", "unpacked", "half-configured", "half-installed", "triggers", "removed" (settings left)
    hold: bool  # held back on purpose (apt-mark hold, versionlock)
    vendor: str  # who made it, from Maintainer, Vendor or Packager: "NVIDIA CORPORATION <cudatools@nvidia.com>"
    depends: tuple[str, ...] = ()  # in dpkg's form with every manager: "libnvidia-ml1 (= 535.309.01-1)", "a | b"
    conffiles_only: bool = False  # removed, its settings are left ("rc" of dpkg -l)

    @property
    def upstream(self) -> str:
        """The driver version in the package's version: "535.309.01" of "3:535.309.01-0+deb12u1". "" where there is
        none: kernel modules packaged per kernel carry the kernel's version, the toolkit its own.
        """
        version = self.version.rpartition(":")[2]
        for mark in "-+~_":
            version = version.partition(mark)[0]
        # systemd 252.39 looks the same.
        return version if is_driver_version(version) and is_of_interest(self.name) else ""


# Begun and not ended; packages that only wait for a trigger are whole.
UNFINISHED = ("unpacked", "half-configured", "half-installed")


class Packages(NamedTuple):
    """Packages of interest: NVIDIA's driver, CUDA and container packages, kernels, headers, dkms, compilers; and
    every package, whatever its name, that is neither installed nor removed cleanly."""

    manager: str  # "dpkg", "rpm", "pacman", "" if no known database was found
    packages: tuple[Package, ...]
    damage: str = ""  # what of the database could not be read, "" if all could: packages may be missing above

    def installed(self) -> tuple[Package, ...]:
        return tuple(package for package in self.packages if package.state != "removed")

    def unfinished(self, *more: str) -> tuple[Package, ...]:
        """Packages whose installation was begun and not ended, whatever their name; `more`: other states that count."""
        return tuple(package for package in self.packages if package.state in (*UNFINISHED, *more))

    def get(self, name: str) -> Package | None:
        return next((package for package in self.installed() if package.name == name), None)


@fact
def packages(host: Host, system: OperatingSystem | Unavailable) -> Packages:
    """From dpkg, rpm or pacman. Where tools of another family left a second database, the system's own family
    decides, else the first that holds something.
    """
    family = system.family if isinstance(system, OperatingSystem) else ""
    empty, reasons = [], []
    for families in sorted(_READERS, key=lambda families: family not in families):
        try:
            found = _READERS[families](host)
        except Unavailable as reason:
            if family in families:
                raise
            reasons.append(reason)
            continue
        if found and (found.packages or family in families):
            return found
        empty += [found] if found else []
    if reasons and not empty:
        raise reasons[0]
    return empty[0] if empty else Packages("", ())


_DPKG = "/var/lib/dpkg"


def _dpkg(host: Host) -> Packages | None:
    from gpudoctor.facts import dpkg  # here for start-up: one machine has one of the three managers

    text = host.read(f"{_DPKG}/status")
    if text is None:
        return None
    journal = [name for name in host.list(f"{_DPKG}/updates") or () if name.isdecimal()]
    listing = dpkg.read_status(text, [host.read(f"{_DPKG}/updates/{name}") or "" for name in journal])
    if not listing.stanzas:
        raise Unavailable(f"{_DPKG}/status " + ("holds no package that can be read" if text.strip() else "is empty"))
    damage = f"{_DPKG}/status is damaged, entries are missing" if listing.damaged else ""
    return Packages("dpkg", listing.packages, damage)


_RPM = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
# The file lists of kernel packages take megabytes; what is asked of them lies before those. Driver packages come
# whole, for their requirements, which lie behind.
_HEADERS = (
    "SELECT CASE WHEN instr(n.key, 'nvidia') THEN p.blob ELSE substr(p.blob, 1, 65536) END"
    f" FROM Name n JOIN Packages p ON p.hnum = n.hnum WHERE {sql_condition('n.key')} ORDER BY n.key, n.hnum"
)


def _rpm(host: Host) -> Packages | None:
    """From rpm's SQLite database; of the other two kinds (Berkeley DB, ndb) only rpm itself can tell."""
    for folder in _RPM:
        if host.status(f"{folder}/rpmdb.sqlite") is not None:
            try:
                return _with_locks(host, _rpm_headers(host, f"{folder}/rpmdb.sqlite"))
            except Unavailable as reason:
                return _with_locks(host, _ask_rpm(host, reason))
    for path in [f"{folder}/{name}" for folder in _RPM for name in ("Packages.db", "Packages")]:
        if host.status(path) is not None:
            # Expected on every such disk, so it is no failure of a check there.
            return _with_locks(host, _ask_rpm(host, NotRunning(f"only a running rpm can read {path}")))
    return None


def _rpm_headers(host: Host, path: str) -> Packages:
    from gpudoctor.facts import rpm  # here for start-up
    from gpudoctor.facts.write_ahead import require_written_back

    require_written_back(host, path)
    found, damaged = [], 0
    for row in host.query(path, _HEADERS) or ():
        package = rpm.read_header(row[0]) if row and isinstance(row[0], bytes) else None
        if package is None:
            damaged += 1
        elif is_of_interest(package.name):
            found.append(package)
    return Packages("rpm", tuple(found), f"{path}: {damaged} damaged entries" if damaged else "")


def _ask_rpm(host: Host, reason: Unavailable) -> Packages:
    from gpudoctor.facts import rpm  # here for start-up

    try:
        done = host.run(("rpm", "-qa", "--queryformat", rpm.QUERY_FORMAT, *globs()))
    except NotRunning:
        raise reason from None
    if done is None:
        raise Unavailable(f"{reason}, and there is no rpm here") from reason
    if done.exit_code:
        raise Unavailable(f"rpm -qa: {done.stderr.strip() or f'exit code {done.exit_code}'}")
    return Packages("rpm", tuple(package for package in rpm.read_answer(done.stdout) if is_of_interest(package.name)))


def _with_locks(host: Host, found: Packages) -> Packages:
    from gpudoctor.facts import holds  # here for start-up

    locks = [
        *holds.versionlock_list(host.read("/etc/dnf/plugins/versionlock.list") or ""),
        *holds.versionlock_toml(host.read("/etc/dnf/versionlock.toml") or ""),
        *holds.zypper_locks(host.read("/etc/zypp/locks") or ""),
    ]
    return found._replace(packages=holds.apply(locks, found.packages))


_PACMAN = "/var/lib/pacman/local"


def _pacman(host: Host) -> Packages | None:
    from gpudoctor.facts import holds, pacman  # here for start-up

    folders = host.list(_PACMAN)
    if folders is None:
        return None
    found = []
    for folder in folders:
        # NAME-VERSION-RELEASE; what has less dashes is no package (ALPM_DB_VERSION).
        name = folder.rsplit("-", 2)[0]
        if folder.count("-") >= 2 and is_of_interest(name):
            found.append(pacman.read_description(host.read(f"{_PACMAN}/{folder}/desc") or "", folder))
    locks = holds.ignored_packages(host.read("/etc/pacman.conf") or "")
    return Packages("pacman", holds.apply(locks, found))


_READERS: Mapping[tuple[str, ...], Callable[[Host], Packages | None]] = {
    ("debian",): _dpkg,
    ("fedora", "suse"): _rpm,
    ("arch",): _pacman,
}
