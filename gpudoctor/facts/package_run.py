"""Is a package manager at work right now? Then half of what it installs is not there yet, and nothing is broken."""

from typing import NamedTuple

from gpudoctor.facts.packages import Packages
from gpudoctor.host import Host
from gpudoctor.registry import fact


class PackageRun(NamedTuple):
    """`command` is "" where none is at work."""

    command: str  # "apt-get", "dpkg", "unattended-upgrade"
    process_id: int


# By the name that the kernel knows them by, which it cuts to 15 characters.
_MANAGERS = {name[:15]: name for name in ("dpkg", "apt", "apt-get", "aptitude", "unattended-upgrade", "packagekitd")}


@fact
def package_run(host: Host, packages: Packages) -> PackageRun:
    """By who holds locks on files, as dpkg and apt do on their database; asked only where packages are unfinished."""
    if packages.unfinished():
        # "2: POSIX  ADVISORY  WRITE 2811 fd:01:1180313 0 EOF"
        locks = [line.split() for line in (host.read("/proc/locks") or "").splitlines()]
        for process_id in dict.fromkeys(words[4] for words in locks if words[3:4] == ["WRITE"] and len(words) > 4):
            command = (host.read(f"/proc/{process_id}/comm") or "").strip() if process_id.isdecimal() else ""
            if command in _MANAGERS:
                return PackageRun(_MANAGERS[command], int(process_id))
    return PackageRun("", 0)
