"""Which C compilers are installed, and which one plain `gcc` is: modules must be built with the kernel's own."""

from typing import NamedTuple


class HostCompilers(NamedTuple):
    """Installed gcc versions, from /usr/bin."""

    default: int | None  # major version of plain gcc, None if there is none or it cannot be told from files
    versions: tuple[int, ...]  # majors of gcc-N
