"""Names of the packages that bring a kernel's headers, and the next kernel together with its headers."""

from typing import NamedTuple

from gpudoctor.facts.package_manager import Argv, PackageManager, install, install_versions
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import OperatingSystem

from ._scope import kernel_release


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


def kernel_metas(release: str, packages: Packages) -> tuple[str, ...]:
    """What brings every next kernel of this flavour on Debian and Ubuntu: linux-image-amd64, linux-image-generic..."""
    flavour = flavour_of(release)
    if not flavour:
        return ()
    series = (f"{flavour}-hwe", f"{flavour}-lts")
    names = (package.name for package in packages.installed() if package.name.startswith("linux-image-"))
    followed = ((name, name.removeprefix("linux-image-")) for name in names)
    return tuple(name for name, kind in followed if kind == flavour or kind.startswith(series))


def header_packages(
    manager: PackageManager, system: OperatingSystem, release: str, packages: Packages
) -> HeaderPackages:
    """By the names of the distribution. Raises UnsafeWord if the release is none."""
    release = kernel_release(release)
    match manager.kind:
        case "apt":
            if release.endswith("-pve"):
                return HeaderPackages((f"proxmox-headers-{release}",), "", ("proxmox-default-headers",), ())
            images = kernel_metas(release, packages)
            follow = tuple(name.replace("linux-image-", "linux-headers-", 1) for name in images)
            return HeaderPackages((f"linux-headers-{release}",), "", follow, images)
        case "dnf":
            return _fedora(system, release)
        case "zypper":
            number, _, flavour = release.rpartition("-")
            name = f"kernel-{flavour}"
            # The package's version has a rebuild number behind the one that `uname -r` shows.
            versions = (p.version for p in packages.installed() if p.name == name)
            fitting = next((v for v in versions if v == number or v.startswith(f"{number}.")), "")
            return HeaderPackages((f"{name}-devel",) if fitting else (), fitting, (f"{name}-devel",), (name,))
        case "pacman":
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


def install_exact(manager: PackageManager, found: HeaderPackages, more: tuple[str, ...] = ()) -> Argv | None:
    """Installs the headers of this very kernel; None where nothing tells their version. Raises UnsafeWord."""
    if not found.exact:
        return None
    if found.version:
        return install_versions(manager, dict.fromkeys(found.exact, found.version))
    return install(manager, (*found.exact, *more))
