"""Does the system itself ask for a restart?"""

from typing import NamedTuple


class RebootRequired(NamedTuple):
    """The flag that Debian's packages set, and the packages that set it."""

    required: bool
    packages: tuple[str, ...]
    source: str  # "/run/reboot-required"
