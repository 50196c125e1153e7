"""SELinux: give nodes back their label, or switch on what the policy has for GPUs in containers. It stays enforcing."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Run, Step, fix
from gpudoctor.facts.selinux import BOOLEANS, FOR_CONTAINERS, Selinux
from gpudoctor.facts.system import Confinement

from ._remedies import by_remedy
from ._scope import by_hand_if_unsafe, file_path, own_driver

_NEVER_LABELLED = "device_t"
_CONTAINER = "container_t"


@fix("allow-gpu-in-selinux", cures=["devices.selinux-denied"], effort=Effort.RELOAD)
@by_hand_if_unsafe
def allow_gpu(confinement: Confinement, selinux: Selinux, findings: Findings) -> Iterator[Step]:
    """Let SELinux's own policy allow the use of the GPU."""
    if not findings.items:
        return
    unlabelled = sorted({denial.path for denial in selinux.denials if denial.target == _NEVER_LABELLED})
    boolean = next((name for name in FOR_CONTAINERS if name in selinux.booleans), "")
    in_containers = any(d.source == _CONTAINER and d.target != _NEVER_LABELLED for d in selinux.denials)
    if own_driver(confinement) and unlabelled:
        paths = tuple(file_path(path) for path in unlabelled)
        yield Step(
            Run(("restorecon", "-v", *paths)),
            "These nodes were made without the label that the policy has for them.",
            Phase.CONFIGURE,
            Risk.LOW,
            verify=Run(("matchpathcon", "-V", *paths)),
            undo=Manual(f"Their type was {_NEVER_LABELLED}, which the next restart brings back by itself."),
        )
    if own_driver(confinement) and in_containers and boolean and not any(selinux.booleans.values()):
        yield Step(
            Run(("setsebool", "-P", boolean, "on")),
            "The policy has a switch for this: it opens such devices to all containers that are given them. For one "
            "container alone start it with --security-opt label=disable instead.",
            Phase.CONFIGURE,
            Risk.MEDIUM,
            verify=Run(("grep", "-q", "^1", f"{BOOLEANS}/{boolean}")),
            undo=Run(("setsebool", "-P", boolean, "off")),
        )
    for _, finding in findings.items:
        if not _is_cured_above(finding.remedy, confinement):
            yield by_remedy(finding, "which programs may use the GPU")


def _is_cured_above(remedy: str, confinement: Confinement) -> bool:
    """Is it one of the two repairs that a command does? A policy module is written by a person."""
    return own_driver(confinement) and ("restorecon" in remedy or "setsebool" in remedy)
