"""Names of the packages that bring a kernel's headers, without which no module can be built for it."""

from typing import NamedTuple

from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.host import Unavailable


class HeaderPackages(NamedTuple):
    """For one kernel. Each empty where the distribution has no such package, or nothing tells which one it is."""

    exact: tuple[str, ...]  # this kernel's headers
    version: str  # of the exact ones, where the name does not tell the kernel (SUSE)
    follow: tuple[str, ...]  # bring the headers of every later kernel
    images: tuple[str, ...]  # bring every later kernel itself


def flavour_of(release: str) -> str:
    """What follows the numbers: "amd64", "cloud-amd64", "generic", "aws"; "" if nothing does."""
    words = release.split("-")
    while words and words[0][:1].isdigit():
        del words[0]
    return "-".join(words)


def kernel_metas(release: str, packages: Packages | Unavailable) -> tuple[str, ...]:
    """What is installed of what brings every next kernel of this flavour on Debian and Ubuntu: linux-image-amd64,
    linux-image-generic-hwe-24.04... Ubuntu has several for one flavour: those of newer kernels come first.
    """
    flavour = flavour_of(release)
    if not flavour or isinstance(packages, Unavailable):
        return ()
    series = (f"{flavour}-hwe", f"{flavour}-lts")
    names = (package.name for package in packages.installed() if package.name.startswith("linux-image-"))
    followed = ((name, name.removeprefix("linux-image-")) for name in names)
    metas = (name for name, kind in followed if kind == flavour or kind.startswith(series))
    return tuple(sorted(metas, key=lambda name: "-hwe" not in name))


def flavour_to_follow(release: str, packages: Packages | Unavailable) -> str:
    """The flavour as the package names it that brings every next kernel: "amd64", "generic", "generic-hwe-24.04"."""
    metas = kernel_metas(release, packages)
    return metas[0].removeprefix("linux-image-") if metas else flavour_of(release) or release


def header_packages(
    family: str, system: OperatingSystem, release: str, packages: Packages | Unavailable
) -> HeaderPackages:
    """By the names of a family of distributions, which may be known where that of the system itself is not."""
    match family:
        case "debian":
            if release.endswith("-pve"):
                return HeaderPackages((f"proxmox-headers-{release}",), "", ("proxmox-default-headers",), ())
            images = kernel_metas(release, packages)
            follow = tuple(name.replace("linux-image-", "linux-headers-", 1) for name in images)
            return HeaderPackages((f"linux-headers-{release}",), "", follow, images)
        case "fedora":
            return _fedora(system, release)
        case "suse":
            number, _, flavour = release.rpartition("-")
            name = f"kernel-{flavour}"
            # The package's version has a rebuild number behind the one that `uname -r` shows.
            installed = packages.installed() if isinstance(packages, Packages) else ()
            versions = (package.version for package in installed if package.name == name)
            fitting = next((v for v in versions if v == number or v.startswith(f"{number}.")), "")
            return HeaderPackages((f"{name}-devel",) if fitting else (), fitting, (f"{name}-devel",), (name,))
        case "arch":
            kind = next((word for word in ("lts", "zen", "hardened") if release.endswith(f"-{word}")), "")
            name = f"linux-{kind}" if kind else "linux"
            return HeaderPackages((f"{name}-headers",), "", (), (name,))
    return HeaderPackages((), "", (), ())


def _fedora(system: OperatingSystem, release: str) -> HeaderPackages:
    number, _, variant = release.partition("+")
    kind = f"kernel-{variant}" if variant in ("rt", "64k") else "kernel-uek" if "uek" in number else "kernel"
    exact: tuple[str, ...] = (f"{kind}-devel-{number}",)
    major = system.version.partition(".")[0]
    if kind == "kernel" and (system.id == "fedora" or (major.isdigit() and 9 <= int(major) < 100)):
        # From RHEL 9 on this one ties headers and kernel together in every upgrade. With its version, for without
        # one it would bring the newest kernel along.
        exact = (*exact, f"kernel-devel-matched-{number}")
    return HeaderPackages(exact, "", (f"{kind}-devel",), (kind,))
