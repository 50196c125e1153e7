"""Steps with packages that many fixes share: each change is tried out before anything is touched."""

from collections.abc import Iterable, Iterator, Sequence

from gpudoctor import Manual, Phase, Risk, Run, Step
from gpudoctor.facts.driver_packages import DriverPackage
from gpudoctor.facts.package_manager import Argv, PackageManager, package_name, simulate
from gpudoctor.facts.packages import Package, Packages

from ._proofs import all_configured


def targets(chosen: Iterable[DriverPackage | Package], packages: Packages) -> tuple[str, ...]:
    """Names for the package manager, with the architecture where it is not the machine's own. Raises UnsafeWord."""
    counts: dict[str, int] = {}
    for package in packages.installed():
        if package.architecture not in ("all", "noarch", "any", ""):
            counts[package.architecture] = counts.get(package.architecture, 0) + 1
    own = max(counts, key=lambda architecture: counts[architecture], default="")
    separator = ":" if packages.manager == "dpkg" else "."
    names = []
    for one in chosen:
        package = one if isinstance(one, Package) else one.package
        foreign = package.architecture in counts and package.architecture != own
        names.append(package_name(package.name + (separator + package.architecture if foreign else "")))
    return tuple(dict.fromkeys(names))


def waiting(packages: Packages) -> tuple[Package, ...]:
    """What `dpkg --configure -a` would take up: what is unfinished, and what only waits for a trigger."""
    return packages.unfinished("triggers")


def change(
    manager: PackageManager,
    argv: Argv,
    why: str,
    verify: Run | None,
    undo: Run | Manual | None,
    *,
    phase: Phase = Phase.INSTALL,
    risk: Risk = Risk.MEDIUM,
) -> Iterator[Step]:
    """One transaction, and before everything else its trial."""
    yield Step(
        Run(simulate(argv)),
        "A trial that changes nothing: if the packages cannot be had or would drag others away, the repair ends here.",
        Phase.SIMULATE,
        # apt-get and pacman let everybody try; dnf and zypper do not.
        root=manager.kind in ("dnf", "zypper"),
    )
    yield Step(Run(argv), why, phase, risk, verify=verify, undo=undo)


def finish_first(manager: PackageManager, packages: Packages) -> Iterator[Step]:
    """apt-get does nothing at all while dpkg is not done with what it began."""
    if manager.kind == "apt" and waiting(packages):
        yield configure_all(packages)


def configure_all(packages: Packages) -> Step:
    """Let dpkg finish what was interrupted."""
    names = ", ".join(package.name for package in waiting(packages)[:6])
    return Step(
        Run(("dpkg", "--force-confold", "--configure", "-a")),
        f"An installation was interrupted ({names}); dpkg takes it up where it stopped.",
        # Before any INSTALL: until this is done apt-get refuses to work.
        Phase.REMOVE,
        Risk.MEDIUM,
        verify=all_configured(),
    )


def back_to(members: Sequence[DriverPackage]) -> Manual:
    """Undoes an upgrade as far as that is possible: the archive may have dropped the old version."""
    versions = ", ".join(f"{member.name} {member.package.version}" for member in members)
    return Manual(f"Install the versions from before again, if the repositories or the cache have them: {versions}.")
