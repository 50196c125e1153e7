"""What all forms of a printed plan share: the diagnosis, the plan, and where its steps have to be carried out."""

from typing import NamedTuple

from gpudoctor.diagnose import Report
from gpudoctor.facts.system import Confinement
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts
from gpudoctor.repair import Plan


class Place(NamedTuple):
    """Where the steps belong. `here` is False where this machine is not the one to change."""

    here: bool
    notice: str  # "" if here


class PlanReport(NamedTuple):
    report: Report
    plan: Plan
    place: Place


def place_of(facts: Facts) -> Place:
    """In a container the driver is the host's; a disk or a snapshot can be planned for, but not repaired from here."""
    match facts.host.source:
        case "snapshot":
            return Place(False, "This plan is for the machine of the snapshot: carry it out there.")
        case "root":
            return Place(False, "This plan is for the system on this disk: boot it and carry the plan out there.")
    confinement = facts.get_or_reason(Confinement)
    if isinstance(confinement, Unavailable):
        return Place(True, "")
    if confinement.wsl:
        return Place(False, "This is WSL: the driver is the one of Windows; carry out there what concerns the driver.")
    if confinement.container:
        return Place(
            False,
            f"This is a {confinement.container} container: the driver is the host's; carry the plan out on the host.",
        )
    return Place(True, "")
