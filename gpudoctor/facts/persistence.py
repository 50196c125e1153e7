"""What keeps the driver's state while no program uses the GPU: nvidia-persistenced, and whether it is wanted here."""

from typing import NamedTuple

from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.host import Host
from gpudoctor.registry import fact

_UNIT = "nvidia-persistenced.service"
# The first that has the unit counts (systemd.unit(5)).
_UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_PROCESS_FILE = "/run/nvidia-persistenced/nvidia-persistenced.pid"
_COMMAND = "nvidia-persiste"  # the kernel cuts names to 15 characters
# Portable, Laptop, Notebook, Hand Held, Sub Notebook, Tablet, Convertible, Detachable (SMBIOS, system enclosure types).
_PORTABLE = ("8", "9", "10", "11", "14", "30", "31", "32")


class PersistenceDaemon(NamedTuple):
    """The daemon, and the kind of machine: one that runs on a battery lets the GPU sleep."""

    unit: str  # path of its systemd unit, "" none
    passive: bool  # the unit starts it with --no-persistence-mode, as Debian's and Ubuntu's packages do
    running: bool
    portable: bool


@fact
def persistence_daemon(host: Host, loaded: LoadedDriver) -> PersistenceDaemon:
    """From the unit's file and drop-ins, the daemon's process id, and the machine's chassis."""
    if not loaded.loaded:
        return PersistenceDaemon("", False, False, False)
    paths = (f"{folder}/{_UNIT}" for folder in _UNIT_FOLDERS)
    unit = next((path for path in paths if host.status(path) is not None), "")
    command = _start_command(host, unit) if unit else ""
    process_id = (host.read(_PROCESS_FILE, first=16) or "").strip()
    named = host.read(f"/proc/{process_id}/comm") if process_id.isascii() and process_id.isdigit() else None
    chassis = (host.read("/sys/class/dmi/id/chassis_type") or "").strip()
    return PersistenceDaemon(
        unit, "--no-persistence-mode" in command.split(), (named or "").startswith(_COMMAND), chassis in _PORTABLE
    )


def _start_command(host: Host, unit: str) -> str:
    """The last ExecStart of the unit and its drop-ins; an empty one takes back those before it."""
    drop_ins = [
        f"{folder}/{_UNIT}.d/{name}"
        for folder in reversed(_UNIT_FOLDERS)
        for name in host.list(f"{folder}/{_UNIT}.d") or ()
        if name.endswith(".conf")
    ]
    command = ""
    for path in (unit, *drop_ins):
        for line in (host.read(path) or "").splitlines():
            key, separator, value = line.partition("=")
            if separator and key.strip() == "ExecStart":
                command = value.strip()
    return command
