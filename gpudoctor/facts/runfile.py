"""Traces of a driver that was installed by hand from NVIDIA's .run file."""

from typing import NamedTuple


class RunfileTraces(NamedTuple):
    """What the installer left. `paths` is empty where it never ran, or was uninstalled."""

    paths: tuple[str, ...]  # of /var/lib/nvidia/dirs, /var/lib/nvidia/log, /usr/bin/nvidia-uninstall, /usr/bin/nvidia-installer...
    version: str  # from the installer's log, "" if it does not say
    uninstaller: str  # path of nvidia-uninstall, "" if it is gone
    log: str  # path of the installer's log, "" if it is gone
