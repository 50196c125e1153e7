"""The program that shows the login screen and keeps the GPU in use: gdm, sddm, lightdm and their like, or none."""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.host import Host, NotRunning, Unavailable, quietly
from gpudoctor.registry import fact


class DisplayManager(NamedTuple):
    """As systemd knows it; `unit` is "" where there is none. On a disk nothing runs."""

    unit: str  # "gdm3.service", "sddm.service", "lightdm.service"
    running: bool  # False also where it was stopped by hand
    x_servers: tuple[int, ...] = ()  # process ids of all X servers, whoever started them


_LINK = "/etc/systemd/system/display-manager.service"
# Where a service has its control group as long as it runs: version 2, and the two layouts of version 1.
_GROUPS = ("/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice", "/sys/fs/cgroup/unified/system.slice")
_X_LOCKS = tuple(f"/tmp/.X{number}-lock" for number in range(8))  # those that NVIDIA's installer looks at


@fact
def display_manager(host: Host) -> DisplayManager:
    """From the link that enables it, its control group, and the lock file that each X server keeps."""
    unit = (host.link(_LINK) or "").rpartition("/")[2]
    unit = unit if unit.endswith(".service") else ""
    try:
        running = bool(unit) and any(host.exists(f"{group}/{unit}") for group in _GROUPS)
    except NotRunning:
        return DisplayManager(unit, False)
    return DisplayManager(unit, running, tuple(_x_servers(host)))


def _x_servers(host: Host) -> Iterator[int]:
    for path in _X_LOCKS:
        text = (quietly(host.read, path) or "").strip()
        try:
            if text.isdecimal() and host.exists(f"/proc/{text}"):
                yield int(text)
        except Unavailable:
            continue
