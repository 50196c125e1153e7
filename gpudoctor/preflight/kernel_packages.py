"""Which kernel a package brings, or the headers of which: by its name, or by its version where names do not tell."""

import re
from collections.abc import Iterable, Mapping

from gpudoctor.preflight.transaction import Change

_DPKG_IMAGE = re.compile(r"(?:linux-image-(?:unsigned-)?|proxmox-kernel-|pve-kernel-)(\d\S*?)(?:-unsigned|-signed)?")
_DPKG_HEADERS = re.compile(r"(?:linux-headers-|proxmox-headers-|pve-headers-)(\d\S*)")
_DEBUG = ("-dbg", "-dbgsym", "-cloud-dbg")

# Variants of Red Hat's kernel, and what `uname -r` has behind the architecture for them.
_RPM_VARIANTS: Mapping[str, str] = {"kernel": "", "kernel-rt": "+rt", "kernel-64k": "+64k", "kernel-uek": ""}
_ARCH_KERNELS = ("linux", "linux-lts", "linux-zen", "linux-hardened")

# What rpm and zypper install beside its older versions, as a kernel must be; not kernel-headers, -tools and -firmware.
_BESIDE = ("kernel-core", "kernel-modules", "kernel-devel", "kernel-debug", "kernel-rt", "kernel-64k", "kernel-uek")
_SUSE_KERNELS = ("kernel-default", "kernel-azure", "kernel-rt", "kernel-64kb")


def is_kept_beside(name: str) -> bool:
    """Do several versions of this rpm package lie beside each other?"""
    return name == "kernel" or name.startswith((*_BESIDE, *_SUSE_KERNELS))


def image_release(manager: str, name: str, version: str, architecture: str) -> str:
    """The release of the kernel whose image this package brings: "6.1.0-56-amd64"; "" if it brings none."""
    match manager:
        case "dpkg":
            found = None if name.endswith(_DEBUG) else _DPKG_IMAGE.fullmatch(name)
            return found.group(1) if found else ""
        case "rpm":
            if name in _SUSE_KERNELS and ".el" not in version:
                return _suse_release(name, version)
            if not name.endswith("-core") and name != "kernel-uek":
                return ""
            return _rpm_release(name.removesuffix("-core"), version, architecture)
        case "pacman":
            return arch_release(name, version) if name in _ARCH_KERNELS else ""
    return ""


def headers_release(manager: str, name: str, version: str, architecture: str) -> str:
    """The same for the headers that modules are built with."""
    match manager:
        case "dpkg":
            found = _DPKG_HEADERS.fullmatch(name)
            return found.group(1) if found else ""
        case "rpm" if name.endswith("-devel"):
            if name.removesuffix("-devel") in _SUSE_KERNELS and ".el" not in version:
                return _suse_release(name.removesuffix("-devel"), version)
            return _rpm_release(name.removesuffix("-devel"), version, architecture)
        case "pacman" if name.endswith("-headers"):
            kernel = name.removesuffix("-headers")
            return arch_release(kernel, version) if kernel in _ARCH_KERNELS else ""
    return ""


def _suse_release(name: str, version: str) -> str:
    """6.4.0-150600.23.65.1 of kernel-default is 6.4.0-150600.23.65-default: the rebuild number is not in it."""
    number = version.rpartition(":")[2].rpartition(".")[0]
    return f"{number}-{name.removeprefix('kernel-')}" if "-" in number else ""


def _rpm_release(variant: str, version: str, architecture: str) -> str:
    if variant not in _RPM_VARIANTS or not version:
        return ""
    return f"{version.rpartition(':')[2]}.{architecture}{_RPM_VARIANTS[variant]}"


def arch_release(name: str, version: str) -> str:
    """As `uname -r` says: 6.16.10.arch1-1 is 6.16.10-arch1-1, and 6.12.52-1 of linux-lts is 6.12.52-1-lts."""
    number, dash, rebuild = version.rpartition("-")
    kind = name.removeprefix("linux").removeprefix("-")
    for mark in ("arch", "zen", "hardened"):
        number = number.replace(f".{mark}", f"-{mark}")
    return f"{number}{dash}{rebuild}" + (f"-{kind}" if kind else "")


def image_path(manager: str, name: str, release: str) -> str:
    return f"/boot/vmlinuz-{name if manager == 'pacman' else release}"


def coming(manager: str, changes: Iterable[Change]) -> dict[str, Change]:
    """Release of each kernel whose image is installed or replaced, and the package that brings it."""
    found = {}
    for change in changes:
        release = image_release(manager, change.name, change.new, change.architecture) if change.new else ""
        if release:
            found[release] = change
    return found


def going(manager: str, changes: Iterable[Change]) -> set[str]:
    """Releases of the kernels whose image is removed, or overwritten by that of another."""
    changes = tuple(changes)
    olds = {image_release(manager, one.name, one.old, one.architecture) for one in changes if one.old}
    return olds - {""} - {*coming(manager, changes)}
