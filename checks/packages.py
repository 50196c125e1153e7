"""Is the driver whole, as its packages tell it: all of one version, all of them on hold or none?"""

from collections.abc import Iterator, Sequence

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.driver_packages import DriverPackage, Part
from gpudoctor.facts.driver_sets import lagging, partly_held, unmet_exact
from gpudoctor.facts.driver_version import newest
from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement, OperatingSystem

from ._gpus import gpu_works
from ._kernels import event_evidence
from ._package_words import align, hold, manager_of, on_the, some, states_of, trial
from ._scope import own_driver


@check(
    "packages.partial-upgrade",
    severity=Severity.ERROR,
    after=["packages.half-configured", "packages.two-branches", "packages.mixed-origins"],
    symptoms=[
        likely(r"lib(nvidia-|cuda\.so)[^\s:]*: undefined symbol", without=r"/stubs/"),
        r"libnvidia-ptxjitcompiler\.so\S*: cannot open shared object file",
        r"PTX JIT compiler library (was )?not found",
        r"CUDA_ERROR_JIT_COMPILER_NOT_FOUND|cudaErrorJitCompilerNotFound",
        hint(r"undefined symbol: (?-i:nvml[A-Z]|cu[A-Z])\w+"),
    ],
)
def partial_upgrade(
    confinement: Confinement,
    packages: Packages,
    system: OperatingSystem,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
    history: PackageHistory | Unavailable,
) -> Iterator[Finding]:
    """The packages of one driver are installed in different versions.

    What: the driver's module, its libraries and its firmware work together only if all are of
    exactly one version. An upgrade that left some of them behind breaks the driver, at the latest
    with the next reboot. Mostly a hold (`apt-mark hold`) lies on a part of them, or single packages
    were upgraded by name. The package manager sees nothing wrong: the module is only recommended.

    Proof: the versions in the package manager's database, who is on hold, and the history that
    tells which upgrade left them behind. Tools with a numbering of their own (nvidia-modprobe,
    nvidia-settings, nvidia-persistenced) and modules made per kernel are not compared.

    Repair: release the hold, bring all of them to one version in one transaction, then reboot or
    reload the module. Do not copy libraries by hand, and do not purge the driver.

    Reference: NVIDIA driver README, chapter "Common Problems" (API mismatch); apt-mark(8).
    """
    own_driver(confinement)
    for top, ahead, behind, _ in lagging(packages):
        held = [member for member in behind if member.package.hold]
        others = [member for member in behind if member not in held] if held else []
        event = _arrival(ahead, history)
        when = f" The upgrade came {on_the(event)}." if event and event.when else ""
        yield Finding(
            f"The driver was upgraded only in part: {_listed(behind)}, but {_listed(ahead)}.{when}",
            behind[0].name,
            (
                states_of(packages, [member.package for member in held or behind]),
                *([states_of(packages, [other.package for other in others])] if others else ()),
                states_of(packages, [member.package for member in ahead]),
                *([event_evidence(event)] if event else ()),
            ),
            _aligning(manager_of(packages, system), behind, held, top),
            _how_bad((*ahead, *behind)) if not gpu_works(nvml, cuda) else Severity.WARNING,
        )


def _how_bad(compared: Sequence[DriverPackage]) -> Severity:
    """Programs of another version mostly still run, and 32-bit libraries serve few."""
    needed = {member.version for member in compared if member.part is not Part.TOOL and not member.only_32_bit}
    return Severity.ERROR if len(needed) > 1 else Severity.WARNING


def _listed(members: Sequence[DriverPackage]) -> str:
    versions = dict.fromkeys(member.version for member in members)
    return "; ".join(
        f"{some([_and_held(member) for member in members if member.version == version], 3)} "
        f"{'is' if sum(member.version == version for member in members) == 1 else 'are'} {version}"
        for version in versions
    )


def _and_held(member: DriverPackage) -> str:
    return f"{member.name} (on hold)" if member.package.hold else member.name


def _aligning(manager: str, behind: Sequence[DriverPackage], held: Sequence[DriverPackage], top: str) -> str:
    names = [member.name for member in behind]
    old = newest(member.version for member in behind)
    first = f"Release the hold: {hold(manager, [member.name for member in held], release=True)}. " if held else ""
    return (
        f"{first}Bring what lags to {top} in one transaction: {align(manager, names)}{trial(manager)}; then reboot, or "
        f"reload the module. If the repositories have no {top} of it, take the others back to {old} instead."
    )


def _arrival(ahead: Sequence[DriverPackage], history: PackageHistory | Unavailable) -> PackageEvent | None:
    if isinstance(history, Unavailable):
        return None
    versions = {(member.name, member.package.version) for member in ahead}
    found = [event for event in history.events if (event.package, event.new) in versions]
    return found[-1] if found else None


@check(
    "packages.held-or-broken",
    severity=Severity.WARNING,
    after=["packages.partial-upgrade", "packages.half-configured", "packages.two-branches"],
    symptoms=[
        r"you have held broken packages",
        r"(nvidia\S*|\bcuda-\S+|\bcuda) : (Pre)?Depends: \S+( \(.*\))? but .*(installed|installable)",
        likely(r"packages have unmet dependencies", beside=r"nvidia|\bcuda-"),
        likely(r"Unmet dependencies\. Try 'apt", beside=r"nvidia|\bcuda-"),
        likely(r"nothing provides \S*(nvidia|kmod)\S* needed by", beside=r"nvidia"),
        r"breaks dependency '\S*nvidia|unable to satisfy dependency '\S*nvidia",
        r"nvidia\S* have been kept back|kept back: .{0,200}nvidia-(driver|dkms)",
        r"Held packages were changed and -y was used without --allow-change-held-packages",
        likely(
            r"but none of the providers can be installed",
            beside=r"nvidia|cuda",
            without=r"libmamba|\bconda\b|py3\.?\d+_",
        ),
        likely(r"failed to prepare transaction \(|unresolvable package conflicts detected", beside=r"nvidia"),
        r"nothing provides .{1,60} needed by .{0,40}\bnvidia-",
        r"pkgProblemResolver::Resolve generated breaks",
        r"nvidia\S* : (Conflicts|Breaks): ",
        hint(r"Package '?\S*(nvidia-(?!container|docker)|cuda-drivers)\S* (has no installation|is not available, but)"),
        hint(r"Version '\S+' for '\S*(nvidia|cuda)\S*' was not found"),
        likely(r"cannot install the best (update )?candidate for", beside=r"nvidia|cuda"),
        r"breaks dependency '[^']+' required by \S*nvidia",
        r"\bnvidia\S* and \S*nvidia\S* are in conflict",
        r"\bnvidia\S* conflicts with '?\S*nvidia\S* provided by",
    ],
)
def held_or_broken(confinement: Confinement, packages: Packages, system: OperatingSystem) -> Iterator[Finding]:
    """A part of the driver is held back, or needs another package in a version that is not there.

    What: a hold on some of the driver's packages lets the others move on without them. All is well
    until the next upgrade; that one either refuses with "held broken packages" or tears the driver
    apart. A dependency on one exact version that is not met is such a tear already.

    Proof: the holds in the package manager's database, and the dependencies that tie the packages
    to each other: what a held package holds with it is not counted as free.

    Repair: release the hold, or hold the whole driver. Better than holds: keep the driver's
    packages out of automatic upgrades (Unattended-Upgrade::Package-Blacklist), and upgrade them by
    hand when no job runs. Either also stops security fixes.

    Reference: apt-mark(8); https://github.com/NVIDIA/ansible-role-nvidia-driver/issues/11
    """
    own_driver(confinement)
    manager = manager_of(packages, system)
    for held, free in partly_held(packages):
        names = [member.name for member in free]
        yield Finding(
            f"Only a part of the driver is on hold ({some(member.name for member in held)}): the next upgrade can "
            f"move {some(names)} on without it.",
            held[0].name,
            (
                states_of(packages, [member.package for member in held]),
                states_of(packages, [member.package for member in free]),
            ),
            f"Release the hold: {hold(manager, [member.name for member in held], release=True)}; or hold the rest "
            f"too: {hold(manager, names, release=False)}.",
        )
    unmet = tuple(unmet_exact(packages))
    if unmet:
        names = [one.package.name for one in unmet]
        yield Finding(
            f"{some(names)} {'needs' if len({*names}) == 1 else 'need'} another package of the driver in exactly one "
            f"version, and it is not there: {unmet[0].dependency}, {unmet[0].instead}.",
            names[0],
            tuple(
                Evidence(f"{one.package.name} {one.package.version}", f"Depends: {one.dependency}; {one.instead}")
                for one in unmet[:5]
            ),
            "Let the package manager mend it: `apt-get --fix-broken install` (first with `-s`: it must not remove the "
            "driver)."
            if manager == "apt-get"
            else f"Bring them to one version: {align(manager, names)}.",
        )
