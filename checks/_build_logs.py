"""Whom the log of a failed build of the NVIDIA module blames: the compiler, the kernel, or neither."""

import enum
import re
from collections.abc import Sequence

from gpudoctor import Evidence
from gpudoctor.facts.dkms import DkmsBuild


class Culprit(enum.Enum):
    """What the error lines of a make.log blame."""

    COMPILER = "the compiler is not the one that the kernel was built with"
    KERNEL = "the kernel has not, or no longer, what the driver's source uses"
    UNKNOWN = "something else"


# "note: unrecognized command-line option" only accompanies other errors and is none, hence "error: " in front.
_COMPILER_WORDS = (
    "error: unrecognized command-line option",
    "error: unrecognized command line option",
    "error: unknown argument",
    "Compiler version check failed",
    "Failed CC version check",
    "cc_version_check] Error",
)

_KERNEL_WORDS = (
    "error: implicit declaration of function",
    "has no member named",
    "incompatible pointer type",
    "error: too few arguments to",
    "error: too many arguments to",
    "undeclared (first use",
    "has incomplete type",
    "invalid use of undefined type",
    "error: unknown type name",
    "error: conflicting types for",
    "error: assignment of read-only member",
    "integer from pointer without a cast",
    "pointer from integer without a cast",
    "fatal error: drm/",
    "fatal error: linux/",
    "conftest failed",
    "uses GPL-only symbol",
)


# As the shells of Debian and of all others say it.
NO_COMPILER = re.compile(r"\b(?:gcc|cc|clang)(?:-\d+)?: (?:command )?not found")


def culprit_of(errors: Sequence[str]) -> tuple[Culprit, str]:
    """Whom the lines blame, and the first line that does."""
    for line in errors:
        if NO_COMPILER.search(line):
            return Culprit.COMPILER, line.strip()
    for culprit, words in ((Culprit.COMPILER, _COMPILER_WORDS), (Culprit.KERNEL, _KERNEL_WORDS)):
        for line in errors:
            if any(word in line for word in words):
                return culprit, line.strip()
    # The build says so for a mere difference in name too ("gcc-12" and "cc"); only another major version matters.
    built = next((line for line in errors if "The kernel was built by:" in line), "")
    using = next((line for line in errors if "You are using:" in line), "")
    majors = [re.search(r"cc\D*(\d+)", line) for line in (built, using)]
    if len({found.group(1) for found in majors if found}) == 2:
        return Culprit.COMPILER, f"{built.strip()} {using.strip()}"
    return Culprit.UNKNOWN, errors[0].strip() if errors else "ends without an error line"


def log_evidence(build: DkmsBuild, line: str) -> Evidence:
    return Evidence(build.log, line if len(line) <= 240 else line[:239] + "…")
