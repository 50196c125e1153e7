"""Which packages of this machine's repositories bring the driver that is asked for: of one maker, in one version."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gpudoctor import Unavailable
from gpudoctor.facts.display_manager import DisplayManager
from gpudoctor.facts.driver_packages import (
    READY_MODULES,
    DriverPackage,
    Part,
    as_driver_package,
    driver_packages,
    maker_of,
)
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.kernel_headers import kernel_metas
from gpudoctor.facts.package_offers import Offer, PackageOffers, oldest_first
from gpudoctor.facts.packages import Package
from gpudoctor.facts.secure_boot import SecureBoot

from ._driver_names import Names, kind_of, names_for
from ._ground import Ground
from ._offered import alternatives, closure

_NEW_DEFAULT = 560  # from this branch on NVIDIA's own installation takes the open modules


class Choice(NamedTuple):
    """One transaction. Names carry the architecture where it is not the machine's own ("libcuda1:i386")."""

    install: Mapping[str, str]  # name to version
    remove: tuple[str, ...]
    version: str  # of the driver: "580.95.05"
    maker: str
    built_here: bool  # the module is compiled for each kernel, which takes its headers
    module: str  # the name of its file: "nvidia", Debian's "nvidia-current"
    older: bool  # than what is installed
    lean: bool  # it is not the newest that there is, so that what it merely recommends would come in another version
    download: int  # bytes, 0 unknown
    size: int  # bytes on the disk, 0 unknown


class NoChoice(NamedTuple):
    """Why there is none, as a sentence."""

    reason: str


def choose(version: str, ground: Ground) -> Choice | NoChoice:
    """The newest that is meant by "580" or "580.95.05"; of the maker of what is installed, if anything is."""
    if isinstance(ground.offers, Unavailable):
        return NoChoice(f"Which packages bring driver {version} here cannot be told: {ground.offers}.")
    offered = tuple(_drivers(ground.offers, ground.packages.manager))
    fitting = [(m, o) for m, o in offered if m.version and f"{m.version}.".startswith(f"{version}.")]
    if not fitting:
        return NoChoice(_nothing(version, offered, ground.offers))
    installed = driver_packages(ground.packages)
    own = _own_maker(installed, ground.offers)
    makers = sorted({offer.maker for _, offer in fitting}, key=lambda maker: (maker != own, maker == "NVIDIA", maker))
    if installed and own and own not in makers:
        return NoChoice(
            f"The driver here is {own}'s, and {' and '.join(makers)} alone offers driver {version}: of two makers' "
            f"packages neither works. Remove {own}'s first ({', '.join(m.name for m in installed[:4])}...), then ask "
            "again."
        )
    for maker in makers:
        group = [(member, offer) for member, offer in fitting if offer.maker == maker]
        for series, release in _candidates(group, installed):
            # Of several revisions of one release the last, which is the newest.
            found = {m.name: (m, o) for m, o in group if (m.series, m.version) == (series, release)}
            for flavour in flavours(ground, release):
                names = names_for(
                    series,
                    {name: member for name, (member, _) in found.items()},
                    installed,
                    open_module=flavour == "open",
                    desktop=_shows_pictures(ground, installed),
                )
                offers = {name: offer for name, (_, offer) in found.items()}
                if names is not None and not _leads_elsewhere(names, offers, offered):
                    return _choice(names, series, release, offers, flavour, ground, ground.offers)
    wanted = " or ".join(flavours(ground, version))
    return NoChoice(
        f"{' and '.join(makers)} offers driver {version}, but no whole one with {wanted} kernel modules that could "
        "take the place of what is installed."
    )


def _shows_pictures(ground: Ground, installed: Sequence[DriverPackage]) -> bool:
    """Is there a login screen, or was the driver installed with what a screen needs?"""
    if isinstance(ground.display, DisplayManager) and ground.display.unit:
        return True
    return any(m.name.startswith(("xserver-xorg-video-nvidia", "nvidia-driver", "libnvidia-gl-")) for m in installed)


def flavours(ground: Ground, version: str) -> tuple[str, ...]:
    """Of "open" and "proprietary" those that serve the GPUs, the one to take first: what is here stays."""
    needed = {gpu.module.removesuffix("-only") for gpu in ground.own_gpus if gpu.module.endswith("-only")}
    if needed:
        return tuple(sorted(needed))
    loaded = "" if isinstance(ground.driver, Unavailable) else ground.driver.flavour
    here = loaded or next((file.flavour for file in ground.files.of(ground.kernel.release) if file.flavour), "")
    usual = "open" if int(version.partition(".")[0]) >= _NEW_DEFAULT else "proprietary"
    return tuple(dict.fromkeys(filter(None, (here, usual, "open", "proprietary"))))


def branches_offered(ground: Ground) -> tuple[int, ...]:
    """The driver branches in this machine's repositories, the newest first."""
    if isinstance(ground.offers, Unavailable):
        return ()
    found = {member.branch for member, _ in _drivers(ground.offers, ground.packages.manager) if member.version}
    return tuple(sorted(found, reverse=True))


def _drivers(offers: PackageOffers, manager: str) -> Iterator[tuple[DriverPackage, Offer]]:
    for offer in oldest_first(offers.offers):
        member = as_driver_package(Package(offer.name, offer.version, "", "installed", False, offer.maker), manager)
        if member is not None:
            yield member, offer


def _nothing(version: str, offered: Sequence[tuple[DriverPackage, Offer]], offers: PackageOffers) -> str:
    newest: dict[str, set[str]] = {}
    for member, offer in offered:
        if member.part is Part.LIBRARY:
            newest.setdefault(offer.maker or "somebody", set()).add(member.version)
    there = "; ".join(f"{maker}: {', '.join(sorted(found, key=version_key))}" for maker, found in newest.items())
    unread = f" Not all lists could be read ({offers.unread[0]})." if offers.unread else ""
    return f"The repositories of this machine offer no driver {version} (there is {there or 'none at all'}).{unread}"


def _own_maker(installed: Sequence[DriverPackage], offers: PackageOffers) -> str:
    """Whose the installed driver is: of the repository that has just these versions, else of who is named in them."""
    counts: dict[str, int] = {}
    for member in installed:
        known = {offer.maker for offer in offers.of(member.name) if offer.version == member.package.version}
        for maker in known or {maker_of(member.package)}:
            counts[maker] = counts.get(maker, 0) + 1
    return max(counts, key=lambda maker: counts[maker], default="")


def _candidates(
    group: Iterable[tuple[DriverPackage, Offer]], installed: Sequence[DriverPackage]
) -> list[tuple[str, str]]:
    """(series, version): first those that are cut as what is installed, or the usual ones; of each the newest."""
    kinds = {kind_of(member.series) for member in installed} or {""}
    found = {(member.series, member.version) for member, _ in group}
    newest_first = sorted(found, key=lambda one: version_key(one[1]), reverse=True)
    return sorted(newest_first, key=lambda one: (kind_of(one[0]) not in kinds, kind_of(one[0])))


def _leads_elsewhere(names: Names, found: Mapping[str, Offer], offered: Sequence[tuple[DriverPackage, Offer]]) -> bool:
    """Are they kept for the name alone, and depend on another driver? Debian ends branches so."""
    others = {member.name for member, _ in offered} - found.keys()
    needed = [set(alternatives(line)) for name in names.install for line in found[name].depends]
    return any(wanted & others and not wanted & found.keys() for wanted in needed)


def _choice(
    names: Names,
    series: str,
    version: str,
    found: Mapping[str, Offer],
    flavour: str,
    ground: Ground,
    offers: PackageOffers,
) -> Choice:
    maker = next(iter(found.values())).maker
    ready = _ready_modules(series, flavour, ground, offers)
    more = (*ready, *_pin(version, ground, offers, maker))
    asked = {name: found[name] for name in names.install if not (ready and "-dkms" in name)}
    install = dict(closure((*asked.values(), *more), offers))
    install |= dict(_foreign(install, ground))
    changed = {
        name: version for name, version in install.items() if not _is_installed(ground, name.partition(":")[0], version)
    }
    sizes = [offer for name, wanted in changed.items() for offer in offers.of(name) if offer.version == wanted]
    before = [member.version for member in driver_packages(ground.packages) if member.version]
    # What drivers of several branches share is named by one of them only.
    shared = {name for one in offers.offers if install.get(one.name) == one.version for name in _needed(one)}
    newest = all(_is_newest(name, install[name], maker, offers) for name in names.install if name in install)
    return Choice(
        changed,
        tuple(name for name in (*names.remove, *_other_pins(ground, install)) if name not in {*install, *shared}),
        version,
        maker,
        not ready,
        _module_name(series, maker, flavour),
        any(version_key(one) > version_key(version) for one in before),
        not newest,
        sum(offer.download for offer in sizes),
        sum(offer.installed_size for offer in sizes),
    )


def _needed(offer: Offer) -> tuple[str, ...]:
    """Names that it cannot do without, in whatever version."""
    return tuple(name for line in offer.depends if len(names := alternatives(line)) == 1 for name in names)


def _is_newest(name: str, version: str, maker: str, offers: PackageOffers) -> bool:
    known = (offer.version for offer in offers.of(name) if offer.maker == maker)
    upstream = [one.rpartition(":")[2].partition("-")[0] for one in (version, *known)]
    return version_key(upstream[0]) >= max(map(version_key, upstream))


def _foreign(install: Mapping[str, str], ground: Ground) -> Iterator[tuple[str, str]]:
    """Libraries for programs of 32 bits move along with the others."""
    for member in driver_packages(ground.packages):
        if member.only_32_bit and member.name in install:
            yield f"{member.name}:{member.package.architecture}", install[member.name]


def _is_installed(ground: Ground, name: str, version: str) -> bool:
    there = [package for package in ground.packages.installed() if package.name == name]
    return bool(there) and all(package.version == version and package.state == "installed" for package in there)


def _ready_modules(series: str, flavour: str, ground: Ground, offers: PackageOffers) -> tuple[Offer, ...]:
    """Ubuntu's signed modules for the kernels here, where they were used before or Secure Boot asks for them; () where
    one of the kernels has none.
    """
    used = any(package.name.startswith(READY_MODULES) for package in ground.packages.installed())
    if not used and not (isinstance(ground.secure_boot, SecureBoot) and ground.secure_boot.enabled):
        return ()
    stem = f"{READY_MODULES}{series}{'-open' if flavour == 'open' else ''}"
    found: list[Offer] = []
    for release in ground.releases:
        own = offers.of(f"{stem}-{release}")
        if not own:
            return ()
        metas = (name.removeprefix("linux-image-") for name in kernel_metas(release, ground.packages))
        found += [*own[-1:], *(offer for meta in metas for offer in offers.of(f"{stem}-{meta}")[-1:])]
    return tuple(dict.fromkeys(found))


def _pin(version: str, ground: Ground, offers: PackageOffers, maker: str) -> tuple[Offer, ...]:
    """NVIDIA's package that keeps later upgrades within the branch, or at the version that was asked for."""
    request = ground.wanted.get("driver")
    asked = request.version if request else ""
    for wanted in (asked, version.partition(".")[0]) if maker == "NVIDIA" else ():
        found = offers.of(f"nvidia-driver-pinning-{wanted}") if wanted else ()
        if found:
            return found[-1:]
    return ()


def _other_pins(ground: Ground, install: Mapping[str, str]) -> tuple[str, ...]:
    names = (package.name for package in ground.packages.installed())
    pins = tuple(name for name in names if name.startswith("nvidia-driver-pinning-") and name not in install)
    return pins if any(name.startswith("nvidia-driver-pinning-") for name in install) else ()


def _module_name(series: str, maker: str, flavour: str) -> str:
    if maker != "Debian":
        return "nvidia"
    stem = f"nvidia-{series}" if series and not series[0].isdigit() else "nvidia-current"
    return f"{stem}-open" if flavour == "open" else stem
