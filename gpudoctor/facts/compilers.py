"""Which C compilers are installed, and which one plain `gcc` is: modules must be built with the kernel's own."""

from typing import NamedTuple

from gpudoctor.facts.packages import Packages
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class HostCompilers(NamedTuple):
    """Installed gcc versions, from /usr/bin and the packages."""

    default: int | None  # major version of plain gcc, None if there is none or it cannot be told from files
    versions: tuple[int, ...]  # majors, ascending; plain gcc's is among them


@fact
def host_compilers(host: Host, packages: Packages | Unavailable) -> HostCompilers:
    """From names in /usr/bin, from what gcc leads to there, and from packages named gcc-N. Where gcc is a file of its
    own (Fedora, Arch), the version of the package gcc tells.
    """
    known = packages.installed() if isinstance(packages, Packages) else ()
    packaged = next((_major_in_version(package.version) for package in known if package.name == "gcc"), None)
    names = host.list("/usr/bin") or ()
    default = None
    if "gcc" in names:
        default = _major_in_name((host.resolve("/usr/bin/gcc") or "").rpartition("/")[2]) or packaged
    majors = {_major_in_name(name) for name in (*names, *(package.name for package in known))} | {default, packaged}
    return HostCompilers(default, tuple(sorted(major for major in majors if major is not None)))


def _major_in_name(name: str) -> int | None:
    """12 of "gcc-12" and "x86_64-linux-gnu-gcc-12", None for "gcc" and "gcc-ar-12"."""
    stem, _, number = name.rpartition("-")
    return int(number) if number.isdecimal() and (stem == "gcc" or stem.endswith("-gcc")) else None


def _major_in_version(version: str) -> int | None:
    """15 of "15.2.1-3.fc43", 12 of "4:12.2.0-3"."""
    number = version.rpartition(":")[2].partition(".")[0]
    return int(number) if number.isdecimal() else None
