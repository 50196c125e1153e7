"""Steps with packages that many fixes share: each change is tried out before anything is touched."""

from collections.abc import Iterator, Sequence

from gpudoctor import Manual, Phase, Risk, Run, Step
from gpudoctor.facts.package_manager import Argv, PackageManager, simulate
from gpudoctor.facts.packages import Package, Packages

from ._driver_set import unfinished
from ._proofs import all_configured


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
    if manager.kind == "apt" and unfinished(packages):
        yield configure_all(packages)


def configure_all(packages: Packages) -> Step:
    """Let dpkg finish what was interrupted."""
    names = ", ".join(package.name for package in unfinished(packages)[:6])
    return Step(
        Run(("dpkg", "--force-confold", "--configure", "-a")),
        f"An installation was interrupted ({names}); dpkg takes it up where it stopped.",
        # Before any INSTALL: until this is done apt-get refuses to work.
        Phase.REMOVE,
        Risk.MEDIUM,
        verify=all_configured(),
    )


def back_to(packages: Sequence[Package]) -> Manual:
    """Undoes an upgrade as far as that is possible: the archive may have dropped the old version."""
    versions = ", ".join(f"{package.name} {package.version}" for package in packages)
    return Manual(f"Install the versions from before again, if the repositories or the cache have them: {versions}.")
