"""The kernel's log since this boot, in the lines that concern NVIDIA devices and modules."""

from typing import NamedTuple


class KernelLog(NamedTuple):
    """Lines of interest (NVRM, nvidia, nouveau, module signatures, BAR assignment), oldest first, without time stamps."""

    lines: tuple[str, ...]
    source: str  # "dmesg", "/var/log/kern.log", ...

    def matching(self, *words: str) -> tuple[str, ...]:
        """The lines that contain one of these words (as they stand, case matters)."""
        return tuple(line for line in self.lines if any(word in line for word in words))
