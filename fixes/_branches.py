"""What another branch of the driver is called, where its packages carry the branch in their names, and where not."""

import re

from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import OperatingSystem

# nvidia-driver-580-server-open: what a person chose, by branch and kind.
UBUNTU = re.compile(r"(nvidia-(?:driver|headless|headless-no-dkms|utils))-(\d{3})(-server)?(-open)?")


def ubuntu_exchange(packages: Packages, branch: str, *, open_module: bool) -> dict[str, str]:
    """Installed package that a person chose to its counterpart of another branch, by Ubuntu's names."""
    found = {}
    for package in packages.installed():
        match = UBUNTU.fullmatch(package.name)
        if match and match[2] != branch:
            # nvidia-utils has no flavour.
            flavour = "-open" if open_module and not match[1].endswith("utils") else ""
            found[package.name] = f"{match[1]}-{branch}{match[3] or ''}{flavour}"
    return found


def rpm_fusion_exchange(packages: Packages, branch: str) -> dict[str, str]:
    """akmod-nvidia to akmod-nvidia-580xx, xorg-x11-drv-nvidia-cuda to xorg-x11-drv-nvidia-580xx-cuda; {} if not so."""
    found = {}
    for package in packages.installed():
        for stem in ("akmod-nvidia", "xorg-x11-drv-nvidia"):
            rest = package.name.removeprefix(stem)
            if rest != package.name and "xx" not in rest and rest in ("", "-open", "-cuda"):
                found[package.name] = f"{stem}-{branch}xx{rest.removesuffix('-open')}"
    return found if any(name.startswith("akmod") for name in found) else {}


def how_by_hand(manager: PackageManager, system: OperatingSystem, branch: str, *, older: bool) -> str:
    """What a person does for a branch whose packages are not known for certain, as sentences.

    `older`: the branch is older than the one that the distribution ships.
    """
    match manager.kind:
        case "apt" if system.of_debian:
            return (
                f"Install a driver of branch {branch} {'or older' if older else 'or newer'} for Debian: its own "
                "packages of this or another release (nvidia-driver, nvidia-tesla-BRANCH-driver), or NVIDIA's "
                f"repository with nvidia-driver-pinning-{branch}."
            )
        case "dnf":
            return (
                f"Take branch {branch} of NVIDIA's repository, by `dnf versionlock` (Fedora, RHEL 10) or by its stream "
                f"(RHEL 8 and 9: `dnf module switch-to nvidia-driver:{branch}-dkms`)."
            )
        case "zypper":
            return (
                "Install the module and compute packages of the G0x series that NVIDIA's repository has for branch "
                f"{branch}, and lock them with `zypper addlock`."
            )
        case "pacman" if older:
            return f"Install nvidia-{branch}xx-dkms and nvidia-{branch}xx-utils from the AUR in place of today's."
        case "pacman":
            return "Upgrade the whole system: Arch has the newest branch only."
        case _:
            return f"Install a driver of branch {branch}, from one origin only."
