"""What the package manager did and when, so that the report can say which upgrade did it."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gpudoctor.facts.package_names import is_of_interest
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class PackageEvent(NamedTuple):
    """One package changed in one run of the package manager."""

    time: float  # seconds since the epoch, the machine's local time taken as written
    when: str  # as the log writes it: "2026-11-22  06:50:11"; "" of a run that is only planned
    action: str  # "install", "upgrade", "downgrade", "remove", "purge", "reinstall"
    package: str  # without architecture
    old: str  # version before, "" if none
    new: str  # version after, "" if none
    command: str  # command line of the run: "/usr/bin/unattended-upgrade", "apt upgrade -y", "" unknown
    complete: bool  # False: the log has no end for this run (it was interrupted)
    source: str  # the log's path


class PackageHistory(NamedTuple):
    """Events of packages of interest (driver, kernels, headers, dkms), oldest first."""

    events: tuple[PackageEvent, ...]

    def last(self, package: str, *actions: str) -> PackageEvent | None:
        """The newest event of a package, of these actions if any are named."""
        for event in reversed(self.events):
            if event.package == package and (not actions or event.action in actions):
                return event
        return None


@fact
def package_history(host: Host, system: OperatingSystem | Unavailable) -> PackageHistory:
    """From the logs of the system's own package manager, of all known ones where the system is unknown; empty
    where there are none.
    """
    family = system.family if isinstance(system, OperatingSystem) else ""
    events: list[PackageEvent] = []
    for families, read in _READERS.items():
        if not family or family in families:
            events += read(host)
    events = [event for event in events if is_of_interest(event.package)]
    return PackageHistory(tuple(sorted(events, key=lambda event: event.time)))


# Logs grow without bound where nobody rotates them; the newest part is what matters.
_NEWEST = 4 * 1024 * 1024
_ROTATED = 6

_APT = "/var/log/apt"
_DPKG_LOG = "/var/log/dpkg.log"


def _apt(host: Host) -> Iterable[PackageEvent]:
    """history.log and the newest rotated ones; dpkg.log only for what was done without apt."""
    from gpudoctor.facts import apt_history  # here for start-up: one machine has one package manager

    runs = []
    for name in apt_history.newest_logs(host.list(_APT) or (), _ROTATED):
        path = f"{_APT}/{name}"
        if name.endswith(".gz"):
            text = apt_history.unpack(host.read_bytes(path, _NEWEST) or b"", _NEWEST)
        else:
            text = host.read(path, last=_NEWEST) or ""
        runs += apt_history.read_runs(text, path)
    direct = apt_history.read_dpkg_log(host.read(_DPKG_LOG, last=_NEWEST // 4) or "", _DPKG_LOG)
    return [*(event for run in runs for event in run.events), *apt_history.outside(runs, direct)]


def _dnf(host: Host) -> Iterable[PackageEvent]:
    from gpudoctor.facts import dnf_history  # here for start-up
    from gpudoctor.facts.write_ahead import require_written_back

    events: list[PackageEvent] = []
    for path, sql in dnf_history.DATABASES.items():
        if host.status(path) is not None:
            require_written_back(host, path)
            events += dnf_history.read_rows(host.query(path, sql) or (), path)
    return events


def _zypper(host: Host) -> Iterable[PackageEvent]:
    from gpudoctor.facts.zypper_history import read_history  # here for start-up

    path = "/var/log/zypp/history"
    return read_history(host.read(path, last=_NEWEST) or "", path)


def _pacman(host: Host) -> Iterable[PackageEvent]:
    from gpudoctor.facts.pacman_history import read_log  # here for start-up

    path = "/var/log/pacman.log"
    return read_log(host.read(path, last=_NEWEST) or "", path)


_READERS: Mapping[tuple[str, ...], Callable[[Host], Iterable[PackageEvent]]] = {
    ("debian",): _apt,
    ("fedora",): _dnf,
    ("suse",): _zypper,
    ("arch",): _pacman,
}
