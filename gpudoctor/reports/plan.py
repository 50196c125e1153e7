"""What all forms of a printed plan share: the diagnosis, the plan, and where its steps have to be carried out."""

from typing import NamedTuple

from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Report
from gpudoctor.host import Unavailable
from gpudoctor.plan_data import Scope, plan_hash
from gpudoctor.registry import Facts
from gpudoctor.repair import Effort, Plan


class Place(NamedTuple):
    """Where the steps belong. `here` is False where this machine is not the one to change."""

    here: bool
    notice: str  # "" if here


class PlanReport(NamedTuple):
    report: Report
    plan: Plan
    place: Place
    machine: str = ""  # see `machine_identity`; "" where it cannot be told
    scope: Scope = Scope()

    @property
    def cures(self) -> tuple[str, ...]:
        """Ids of the findings that the plan is to cure."""
        return tuple(dict.fromkeys(id for chosen in self.plan.chosen for id in chosen.cures))

    @property
    def hash(self) -> str:
        """Tells this plan from every other."""
        return plan_hash(self.machine, self.scope, self.cures, self.plan.steps)


def place_of(facts: Facts, plan: Plan) -> Place:
    """In a container the driver is the host's, while Python packages and variables are the container's own.

    A disk or a snapshot can be planned for, but not repaired from here.
    """
    match facts.host.source:
        case "snapshot":
            return Place(False, "This plan is for the machine of the snapshot: carry it out there.")
        case "root":
            return Place(False, "This plan is for the system on this disk: boot it and carry the plan out there.")
    confinement = facts.get_or_reason(Confinement)
    efforts = [chosen.fix.effort for chosen in plan.chosen]
    own = Effort.ENVIRONMENT_VARIABLE, Effort.PYTHON_PACKAGE
    if isinstance(confinement, Unavailable) or (efforts and all(effort in own for effort in efforts)):
        return Place(True, "")
    if confinement.wsl:
        return Place(False, "This is WSL: the driver is the one of Windows; carry out there what concerns the driver.")
    if confinement.container:
        return Place(
            False,
            f"This is a {confinement.container} container: the driver is the host's; carry out there what concerns it"
            f"{', and here what concerns Python packages' if any(effort in own for effort in efforts) else ''}.",
        )
    return Place(True, "")
