"""The DKMS tree: which NVIDIA sources are registered, for which kernels they were built, and how builds failed."""

from typing import NamedTuple

from gpudoctor.host import Host
from gpudoctor.registry import fact


class DkmsBuild(NamedTuple):
    """What became of one source on one kernel."""

    kernel: str
    state: str  # "built" (its module folder is filled), "failed" (a make.log, no module)
    log: str  # path of make.log, "" if there is none
    errors: tuple[str, ...]  # the log's error lines, at most ten, in order


class DkmsSource(NamedTuple):
    """One registered module source."""

    module: str  # "nvidia", "nvidia-current", "nvidia-tesla-470"
    version: str  # "535.309.01"
    source_present: bool  # /usr/src/MODULE-VERSION is there
    builds: tuple[DkmsBuild, ...]


class Dkms(NamedTuple):
    """All NVIDIA sources in /var/lib/dkms. `installed`: the dkms command itself is on the disk."""

    installed: bool
    sources: tuple[DkmsSource, ...]
