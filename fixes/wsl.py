"""WSL: take a Linux driver out of the way, and say what is to be done on Windows."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Run, Step, fix
from gpudoctor.facts.driver_packages import driver_packages
from gpudoctor.facts.package_manager import PackageManager, remove, simulate
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.system import Confinement

from ._packaging import targets
from ._remedies import by_remedy
from ._scope import by_hand_if_unsafe


@fix("remove-linux-driver-from-wsl", cures=["wsl.linux-driver-installed"], effort=Effort.ONE_ORIGIN)
@by_hand_if_unsafe
def remove_linux_driver(
    confinement: Confinement, manager: PackageManager, packages: Packages, findings: Findings
) -> Iterator[Step]:
    """Remove the Linux driver's packages from WSL, so that the libraries of Windows are found."""
    if not confinement.wsl or confinement.container or not findings.items:
        return
    members = [member.package for member in driver_packages(packages)]
    if not members or not manager.kind:
        for _, finding in findings.items:
            yield by_remedy(finding, "who put it there")
        return
    names = targets(members, packages)
    dragged = _dragged_away(members, packages)
    if dragged:
        yield Step(
            Manual(
                f"Decide about {', '.join(dragged[:6])}: removing the driver ({', '.join(names)}) takes them along. A "
                "toolkit that needs no driver is cuda-toolkit-X-Y of NVIDIA's repository for WSL. Then remove them, "
                "run `ldconfig`, and `wsl --shutdown` on Windows."
            ),
            "Packages that are no driver depend on the Linux driver, and only their user knows what they are for.",
            Phase.REMOVE,
        )
        return
    trial, removal = Run(simulate(remove(manager, names))), Run(remove(manager, names))
    yield Step(
        Manual(
            f"Here in WSL, look first at what `sudo {trial}` would remove. If it is these alone, run `sudo {removal}`, "
            "then `sudo ldconfig`. After that run `wsl --shutdown` on Windows, and start the distribution again."
        ),
        "In WSL the driver is the one of Windows, and these packages hide its libraries; nothing of a plan is carried "
        "out in WSL by itself.",
        Phase.REMOVE,
    )


def _dragged_away(members: list[Package], packages: Packages) -> list[str]:
    """Installed packages that would go with the driver, because one of their needs is met by nothing else."""
    going = {package.name for package in members}
    dragged: list[str] = []
    grown = True
    while grown:
        there = {package.name for package in packages.installed()} - going
        lost = [
            package.name
            for package in packages.installed()
            if package.name not in going and any(_is_unmet(need, going, there) for need in package.depends)
        ]
        grown = bool(lost)
        going |= set(lost)
        dragged += lost
    return sorted(dragged)


def _is_unmet(need: str, going: set[str], there: set[str]) -> bool:
    """ "libcuda1 | libcuda.so.1 (>= 525)" where libcuda1 goes, and no other of them is there by that name."""
    words = (choice.split() for choice in need.split("|"))
    names = {choice[0].partition(":")[0] for choice in words if choice}
    return bool(names & going) and not names & there


@fix("update-windows-for-wsl", cures=["wsl.host-too-old"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def update_windows(findings: Findings) -> Iterator[Step]:
    """Bring the driver of Windows, and WSL itself, up to date."""
    for _, finding in findings.items:
        yield Step(
            Manual(finding.remedy),
            "In WSL the driver is the one of Windows, and nothing inside can replace it.",
            Phase.AFTERWARDS,
            root=False,
        )
