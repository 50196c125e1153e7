"""What the package manager did and when, so that the report can say which upgrade did it."""

from typing import NamedTuple


class PackageEvent(NamedTuple):
    """One package changed in one run of the package manager."""

    time: float  # seconds since the epoch, the machine's local time taken as written
    when: str  # as the log writes it: "2026-11-22  06:50:11"
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
        found = [event for event in self.events if event.package == package and (not actions or event.action in actions)]
        return found[-1] if found else None
