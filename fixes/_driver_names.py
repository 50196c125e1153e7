"""Which packages of a driver to ask for by name; what they depend on comes along.

Ubuntu's names carry the branch (nvidia-driver-580-server-open), and so did NVIDIA's for Ubuntu up to branch 580.
Debian's, and NVIDIA's elsewhere, carry none: there the version is the branch.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.facts.driver_packages import READY_MODULES, DriverPackage, Part

# A driver's own packages that others hang on, by stem, branch, kind and flavour.
_NUMBERED = re.compile(
    r"((?:nvidia|libnvidia|xserver-xorg-video-nvidia)(?:-[a-z0-9]+)*)-(\d{3})(-server)?(-open)?", re.ASCII
)
_CHOSEN = ("nvidia-driver", "nvidia-headless", "nvidia-headless-no-dkms", "nvidia-utils")
_FLAVOURED = ("nvidia-driver", "nvidia-headless", "nvidia-headless-no-dkms", "nvidia-dkms", "nvidia-kernel-source")


class Names(NamedTuple):
    """What is to come, and what of the driver that is here has to go."""

    install: tuple[str, ...]
    remove: tuple[str, ...]


def is_numbered(series: str) -> bool:
    """Do the names of this series ("580", "580-server", "tesla-470", "") begin with the branch?"""
    return series[:3].isdecimal()


def kind_of(series: str) -> str:
    """What stays when the branch changes: "" the usual driver, "server", "tesla-470"."""
    if is_numbered(series):
        return series[4:]
    return series


def is_open(name: str) -> bool:
    """Is it a package of the open kernel modules?"""
    return "open" in name.split("-")


def names_for(
    series: str,
    offered: Mapping[str, DriverPackage],
    installed: Sequence[DriverPackage],
    *,
    open_module: bool,
    desktop: bool,
) -> Names | None:
    """From the packages of one series and version that a repository offers, in place of those that are installed.

    None where they make no whole driver of this flavour.
    """
    same_style = [m for m in installed if is_numbered(m.series) == is_numbered(series)]
    if installed and len(same_style) == len(installed):
        if is_numbered(series):
            return _of_another_branch(series, offered, installed, open_module)
        if all(member.series == series for member in installed):
            return _of_another_version(offered, installed, open_module)
    fresh = _fresh(series, offered, open_module, desktop)
    return Names(fresh, tuple(dict.fromkeys(member.name for member in installed))) if fresh else None


def _fresh(
    series: str, offered: Mapping[str, DriverPackage], open_module: bool, desktop: bool
) -> tuple[str, ...] | None:
    """Without a desktop what shows pictures is left out, where the packages are cut so."""
    if is_numbered(series):
        flavour = "-open" if open_module else ""
        headless = (f"nvidia-headless-{series}{flavour}", f"nvidia-utils-{series}")
        if not desktop and all(name in offered for name in headless):
            return headless
        whole = f"nvidia-driver-{series}{flavour}"
        return (whole,) if whole in offered else None
    meta = "nvidia-open" if open_module else "cuda-drivers"
    if meta in offered:  # NVIDIA's repository
        return (meta,)
    module = _module(offered, open_module)
    library = next((name for name in offered if name.startswith("libcuda1") or name.endswith("-cuda1")), "")
    if not module or not library:
        return None
    tool = next((name for name in offered if name.endswith("-smi")), "")
    whole = f"nvidia-{series}-driver" if series else "nvidia-driver"
    return tuple(filter(None, (module, whole if desktop and whole in offered else "", library, tool)))


def _module(offered: Collection[str], open_module: bool) -> str:
    """The package that DKMS builds the module from."""
    sources = (name for name in offered if name.endswith("-dkms") and "kernel" in name.split("-"))
    return next((name for name in sources if is_open(name) == open_module), "")


def _of_another_branch(
    series: str, offered: Mapping[str, DriverPackage], installed: Sequence[DriverPackage], open_module: bool
) -> Names | None:
    """What a person chose, and where only parts were chosen, those; the libraries of the old branch go by conflict."""
    parts = [(member, match) for member in installed if (match := _NUMBERED.fullmatch(member.name))]
    chosen = [(member, match) for member, match in parts if match[1] in _CHOSEN] or parts
    counterparts = {}
    for member, match in chosen:
        flavour = "-open" if open_module and match[1] in _FLAVOURED else ""
        counterparts[member.name] = f"{match[1]}-{series}{flavour}"
    new = tuple(dict.fromkeys(name for name in counterparts.values() if name in offered))
    if not any(name.startswith(("nvidia-driver", "nvidia-headless", "libnvidia-compute")) for name in new):
        return None
    built = (member.name for member, match in parts if match[1] in ("nvidia-dkms", "nvidia-kernel-source"))
    ready = (member.name for member in installed if member.part is Part.READY_MODULE)
    old = (name for name in dict.fromkeys((*counterparts, *built, *ready)) if name not in new)
    return Names(new, tuple(name for name in old if not _stays(name, series, open_module)))


def _stays(name: str, series: str, open_module: bool) -> bool:
    """Is it of the series and the flavour that is to come, so that only its version changes?"""
    stem = name.removeprefix(READY_MODULES)
    if stem != name:
        return stem.startswith(f"{series}-") and stem.startswith(f"{series}-open-") == open_module
    return name.endswith((f"-{series}", f"-{series}-open")) and (
        not name.startswith(_FLAVOURED) or is_open(name) == open_module
    )


def _of_another_version(
    offered: Mapping[str, DriverPackage], installed: Sequence[DriverPackage], open_module: bool
) -> Names | None:
    """The same packages; of the kernel module the other flavour, if need be."""
    wrong = [m.name for m in installed if m.part is Part.MODULE and is_open(m.name) != open_module]
    wrong += [m.name for m in installed if m.name == ("cuda-drivers" if open_module else "nvidia-open")]
    stay = [member for member in installed if member.name not in wrong]
    # What the new version does not have any more would be left behind in the old one.
    if any(m.name not in offered for m in stay if m.part in (Part.LIBRARY, Part.MODULE, Part.FIRMWARE)):
        return None
    names = [member.name for member in stay if member.name in offered]
    if not any(member.part is Part.MODULE for member in stay):
        module = _module(offered, open_module)
        if not module:
            return None
        names.append(module)
    return Names(tuple(dict.fromkeys(names)), tuple(dict.fromkeys(wrong)))
