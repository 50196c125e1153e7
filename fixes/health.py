"""What a person does about a GPU that is sick, hot or held back: as its finding says, and who uses it now."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Step, Unavailable, fix
from gpudoctor.facts.processes import DeviceUsers

from ._remedies import by_remedy
from ._scope import by_hand_if_unsafe

_MOST_NAMES = 6


@fix(
    "act-on-gpu-health",
    cures=[
        "health.gsp-timeout",
        "health.ecc-uncorrectable",
        "health.row-remap",
        "health.nvlink-error",
        "health.other-xid",
        "health.application-xid",
        "health.thermal-throttle",
        "health.power-throttle",
    ],
    effort=Effort.EXPLAIN,
)
@by_hand_if_unsafe
def act_on_gpu_health(findings: Findings, users: DeviceUsers | Unavailable) -> Iterator[Step]:
    """Do for the GPU what its finding says, when its owner can spare it."""
    told: set[str] = set()
    for _, finding in findings.items:
        if not finding.remedy or finding.remedy in told:
            continue
        told.add(finding.remedy)
        step = by_remedy(finding, "when the GPU can be spared")
        holders = users.holders if isinstance(users, DeviceUsers) else ()
        if holders and " -r`" in finding.remedy:
            names = ", ".join(f"{holder.command} ({holder.process_id})" for holder in holders[:_MOST_NAMES])
            more = f" and {len(holders) - _MOST_NAMES} more" if len(holders) > _MOST_NAMES else ""
            step = step._replace(action=Manual(f"{finding.remedy} GPUs are in use by {names}{more}."))
        yield step
