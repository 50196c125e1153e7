"""How much room a disk must have for packages."""

from collections.abc import Mapping

from gpudoctor.facts.storage import FreeSpace

MEGABYTE = 1_000_000
FULL = 50 * MEGABYTE  # no package can be unpacked, no initramfs written


def below(space: FreeSpace, limits: Mapping[str, int]) -> dict[str, int]:
    """The free bytes of those folders that have less than their limit."""
    return {path: free for path, free in space.free.items() if free < limits.get(path, 0)}
