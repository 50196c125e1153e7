"""What may keep a kernel module from being loaded: modprobe.d, and the kernel's command line."""

from collections.abc import Mapping
from typing import NamedTuple


class ModprobeLine(NamedTuple):
    """One directive that counts for an NVIDIA or a rival module."""

    path: str  # file, or "/proc/cmdline"
    directive: str  # "blacklist", "install", "options", "alias"; on the command line "module_blacklist", "parameter"
    module: str  # with "-" as "_"
    rest: str  # what follows: "/bin/false", "NVreg_DeviceFileMode=0660"


class ModprobeConfig(NamedTuple):
    """All such directives, in modprobe's order of files (a file in /etc hides one of the same name elsewhere)."""

    lines: tuple[ModprobeLine, ...]
    prime: str  # content of /etc/prime-discrete: "on", "off", "on-demand", "" if there is none

    def blacklisting(self, module: str) -> tuple[ModprobeLine, ...]:
        """The lines that keep this module from being loaded: blacklist, module_blacklist, install ... false."""
        return tuple(line for line in self.lines if line.module == module and _forbids(line))

    def options(self, module: str) -> Mapping[str, str]:
        """Options that modprobe would give to this module, by name."""
        words = " ".join(line.rest for line in self.lines if line.directive == "options" and line.module == module)
        return {name: value for name, _, value in (word.partition("=") for word in words.split())}


def _forbids(line: ModprobeLine) -> bool:
    if line.directive in ("blacklist", "module_blacklist"):
        return True
    return line.directive == "install" and line.rest.split()[:1] in (["/bin/false"], ["/bin/true"], ["false"], ["true"])
