"""Names of the packages that bring a kernel's headers, without which no module can be built for it."""

from typing import NamedTuple

from gpudoctor import Unavailable
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import OperatingSystem


def flavour_of(release: str) -> str:
    """What follows the numbers of a Debian or Ubuntu kernel: "amd64", "cloud-amd64", "generic", "aws"."""
    words = release.split("-")
    while len(words) > 1 and words[0][:1].isdigit():
        del words[0]
    return "-".join(words)


def flavour_to_follow(release: str, packages: Packages | Unavailable) -> str:
    """The flavour as the package names it that brings every next kernel: "amd64", "generic", "generic-hwe-24.04"."""
    flavour = flavour_of(release)
    for package in packages.installed() if isinstance(packages, Packages) else ():
        # Ubuntu has several for one flavour; the installed one is meant.
        if package.name.startswith(f"linux-image-{flavour}-hwe"):
            return package.name.removeprefix("linux-image-")
    return flavour


class Headers(NamedTuple):
    """The packages that bring a kernel's headers."""

    exact: str  # of this very kernel, "" where the distribution has no such name
    follow: str  # the one that brings them with every later kernel, "" unknown


def headers_of(release: str, system: OperatingSystem, packages: Packages | Unavailable) -> Headers:
    """By the names of the distribution."""
    match system.family:
        case "debian":
            return Headers(f"linux-headers-{release}", f"linux-headers-{flavour_to_follow(release, packages)}")
        case "fedora":
            return Headers(f"kernel-devel-{release}", "kernel-devel-matched")
        case "suse":
            version, _, flavour = release.rpartition("-")
            return Headers(f"kernel-{flavour}-devel={version}", f"kernel-{flavour}-devel")
        case "arch":
            kind = next((kind for kind in ("lts", "zen", "hardened") if f"-{kind}" in release), "")
            return Headers("", f"linux-{kind}-headers" if kind else "linux-headers")
        case _:
            return Headers("", "")


def install_headers(release: str, system: OperatingSystem, packages: Packages | Unavailable) -> str:
    """The sentence that tells how to get a kernel's headers."""
    exact, follow = headers_of(release, system, packages)
    match system.family:
        case "debian":
            return (
                f"Install {exact} (`apt install {exact}`), and {follow} so that every later kernel brings its headers; "
                f"if that version is gone from the archive, take the newest kernel together with its headers."
            )
        case "fedora":
            return (
                f"Install {exact} (`dnf install {exact}`), and {follow} so that every later kernel brings it; "
                f"if that version is gone from the repository, take the newest kernel together with its kernel-devel."
            )
        case "suse":
            return (
                f"Install {follow} of this kernel (`zypper install '{exact}'`); if that version is gone from the "
                f"repository, take the newest kernel together with its {follow}."
            )
        case "arch":
            return (
                f"Install {follow} together with the newest kernel (`pacman -Syu {follow}`), never {follow} alone: "
                f"it fits only the newest kernel."
            )
        case _:
            return f"Install the headers (the development package) of kernel {release} from your distribution."
