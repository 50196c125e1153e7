"""Does the system itself ask for a restart?"""

from typing import NamedTuple

from gpudoctor.host import Host
from gpudoctor.registry import fact


class RebootRequired(NamedTuple):
    """The flag that Debian's packages set, and the packages that set it."""

    required: bool
    packages: tuple[str, ...]
    source: str  # "/run/reboot-required"


_FLAG = "/run/reboot-required"


@fact
def reboot_required(host: Host) -> RebootRequired:
    """From the flag and the list beside it. Other systems than Debian and Ubuntu set no flag."""
    required = host.status(_FLAG) is not None
    names = (host.read(f"{_FLAG}.pkgs") or "").split() if required else []
    return RebootRequired(required, tuple(dict.fromkeys(names)), _FLAG)
