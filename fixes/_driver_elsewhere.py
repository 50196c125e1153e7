"""A driver on request with dnf, zypper and pacman, whose repositories only they can read: the trial decides."""

import re
from collections.abc import Iterator

from gpudoctor import Manual, Phase, Risk, Run, Step, Unavailable
from gpudoctor.facts.driver_packages import DriverPackage, driver_packages, maker_of
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.package_manager import Argv, exchange_versions, install, replace, upgrade

from ._branches import how_by_hand, rpm_fusion_exchange
from ._build import has_headers, header_steps, module_steps
from ._driver_choice import flavours
from ._ground import Ground
from ._modules import after_package_change, load
from ._packaging import back_to, change, targets
from ._proofs import installed

# Where dnf has streams of modules; NVIDIA's repository offers each branch as one.
_STREAMS = ("8", "9", "2023")
_STEM = re.compile(r"(akmod-nvidia|xorg-x11-drv-nvidia)(-\d{3}xx)?(-open|-cuda)?")


def by_other_managers(version: str, ground: Ground) -> Iterator[Step]:
    """Raises UnsafeWord."""
    made = tuple(_transaction(version, ground))
    if not made:
        older = _is_older(version, ground)
        how = how_by_hand(ground.manager, ground.system, version.partition(".")[0], older=older)
        yield Step(
            Manual(f"{how} Then ask again."),
            f"Which packages bring driver {version} here is not known for certain.",
            Phase.SIMULATE,
            Risk.HIGH,
        )
        return
    if _builder(ground):
        without = [release for release in ground.releases if not has_headers(ground.kernels, release)]
        yield from header_steps(without, ground.manager, ground.system, ground.packages)
    yield from made
    # pacman's own hooks compile for the kernels that are there after the upgrade, which may have taken this one away.
    by = "" if ground.manager.kind == "pacman" else _builder(ground)
    yield from module_steps("nvidia", by, ground.releases, ground.kernels, ground.system)
    if isinstance(ground.driver, LoadedDriver) and ground.driver.loaded:
        yield from after_package_change(ground.kernel, ground.driver)
    else:
        yield from load(ground.kernel, ground.driver, ground.modules)


def _transaction(version: str, ground: Ground) -> Iterator[Step]:
    match ground.manager.kind:
        case "dnf" if _has_streams(ground):
            yield from _by_stream(version, ground)
        case "dnf":
            yield from _by_dnf(version, ground)
        case "zypper":
            yield from _by_upgrade(version, ground)
        case "pacman":
            yield from _by_pacman(version, ground)


def _builder(ground: Ground) -> str:
    """What compiles the module: that of the driver which is here; "" where it comes ready made."""
    members = [member.name for member in driver_packages(ground.packages)]
    if any(name.startswith("akmod") for name in members):
        return "akmods"
    by_dkms = any("dkms" in name.split("-") for name in members) or (not members and ground.manager.kind == "dnf")
    return "dkms" if by_dkms else ""


def _is_older(version: str, ground: Ground) -> bool:
    branches = [member.branch for member in driver_packages(ground.packages) if member.version]
    return max(branches, default=0) > int(version.partition(".")[0])


def _has_streams(ground: Ground) -> bool:
    """On Red Hat's systems of these releases, unless the driver is RPM Fusion's."""
    names = [package.name for package in ground.packages.installed()]
    fusion = any(name.startswith(("akmod-nvidia", "xorg-x11-drv-nvidia")) for name in names)
    return ground.system.id != "fedora" and ground.system.version.partition(".")[0] in _STREAMS and not fusion


def _by_stream(version: str, ground: Ground) -> Iterator[Step]:
    """NVIDIA's repository offers branches as streams, and within one only the newest version."""
    branch, _, exact = version.partition(".")
    if exact:
        return
    flavour = flavours(ground, version)[0]
    stream = f"nvidia-driver:{branch}-{'open' if flavour == 'open' else 'dkms'}"
    there = driver_packages(ground.packages)
    argv: Argv = ("dnf", "-y", "module", "switch-to" if there else "install", stream)
    argv = (*argv, "--allowerasing") if there else argv
    yield from change(
        ground.manager,
        argv,
        f"NVIDIA's repository has each branch as a stream; {stream} stays within branch {branch}, with {flavour} "
        "kernel modules. Its exit status is the proof.",
        None,
        back_to(there) if there else Manual(f"Run `dnf module remove {stream}` and `dnf module reset nvidia-driver`."),
        risk=Risk.HIGH,
    )


def _by_dnf(version: str, ground: Ground) -> Iterator[Step]:
    """RPM Fusion keeps old branches under names of their own; NVIDIA's every version under one name."""
    members = driver_packages(ground.packages)
    branch, _, exact = version.partition(".")
    fusion = [match for member in members if (match := _STEM.fullmatch(member.name))]
    if fusion and _is_older(version, ground):
        exchange = rpm_fusion_exchange(ground.packages, branch)
        if exchange and not exact:
            new, old = tuple(dict.fromkeys(exchange.values())), tuple(exchange)
            forth, back = replace(ground.manager, new, old), replace(ground.manager, old, new)
            if forth is not None and back is not None:
                yield from change(
                    ground.manager,
                    forth,
                    f"A step back to an older driver: RPM Fusion has branch {branch} under these names.",
                    installed(ground.manager, new),
                    Run(back),
                    risk=Risk.HIGH,
                )
        return
    if exact and members:
        wanted = dict.fromkeys(targets((m for m in members if m.version), ground.packages), version)
        argv = exchange_versions(ground.manager, wanted, older=True)
        if argv is not None:
            yield from change(
                ground.manager,
                argv,
                f"All packages of the driver in version {version}, if their repository still has it. Its exit status "
                "is the proof.",
                None,
                back_to(members),
                risk=Risk.HIGH,
            )
        return
    yield from _by_upgrade(version, ground)


def _by_upgrade(version: str, ground: Ground) -> Iterator[Step]:
    """Where the newest is asked for, an upgrade brings it; what it brought the diagnosis afterwards tells."""
    members: tuple[DriverPackage, ...] = tuple(m for m in driver_packages(ground.packages) if m.version)
    if not members or _is_older(version, ground) or "." in version:
        return
    whose = maker_of(members[0].package) or "their repository"
    yield from change(
        ground.manager,
        upgrade(ground.manager, targets(members, ground.packages)),
        f"All packages of the driver move to the newest that {whose} has, which has to be of branch {version}: the "
        "diagnosis afterwards tells. Its exit status is the proof.",
        None,
        back_to(members),
        risk=Risk.HIGH,
    )


def _by_pacman(version: str, ground: Ground) -> Iterator[Step]:
    """Arch has one version of the driver, and is upgraded as a whole; older branches are built by hand."""
    offered = () if isinstance(ground.offers, Unavailable) else ground.offers.of("nvidia-utils")
    fitting = [offer.version for offer in offered if f"{_upstream(offer.version)}.".startswith(f"{version}.")]
    module = _arch_module(ground)
    if not fitting or ("open" not in flavours(ground, version) and "open" in module):
        return
    members, wanted = driver_packages(ground.packages), (module, "nvidia-utils")
    yield from change(
        ground.manager,
        (*upgrade(ground.manager, ()), *install(ground.manager, wanted)[3:]),
        f"Arch has driver {fitting[0]}, and is upgraded as a whole, so that kernel and module fit.",
        installed(ground.manager, wanted),
        back_to(members) if members else Manual(f"Remove {' and '.join(wanted)} with `pacman -R`; the upgrade stays."),
        risk=Risk.HIGH,
    )


def _upstream(version: str) -> str:
    """ "590.48.01" of "1:590.48.01-2"."""
    return version.rpartition(":")[2].partition("-")[0]


def _arch_module(ground: Ground) -> str:
    """The package of the module that is here, else the one that is made for this kernel; others take DKMS."""
    known = ("nvidia-open-dkms", "nvidia-open-lts", "nvidia-open", "nvidia-dkms", "nvidia-lts", "nvidia")
    there = next((name for name in known if ground.packages.get(name)), "")
    if there:
        return there
    release = ground.kernel.release
    return (
        "nvidia-open-lts" if release.endswith("-lts") else "nvidia-open" if "-arch" in release else "nvidia-open-dkms"
    )
