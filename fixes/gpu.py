"""States of a GPU that end somebody's work when they are changed: gpudoctor says how, a person says when."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Step, fix
from gpudoctor.facts.system import Confinement

from ._remedies import by_remedy
from ._scope import by_hand_if_unsafe, own_driver


@fix("reset-waiting-gpu", cures=["gpu.reset-required"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def reset_waiting_gpu(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Reset the GPU that waits for it, or restart the machine."""
    yield from _told(confinement, findings, "when the work on it may end")


@fix("create-mig-instances", cures=["gpu.mig-no-instances"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def create_mig_instances(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Cut the GPU into instances, or take it out of MIG mode."""
    yield from _told(confinement, findings, "into which parts it is to be cut")


@fix("open-compute-mode", cures=["gpu.compute-mode-exclusive"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def open_compute_mode(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Let more than one process compute on the GPU, if its owner agrees."""
    yield from _told(confinement, findings, "whether more are to be let in")


@fix("find-memory-holder", cures=["gpu.memory-without-process"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def find_memory_holder(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Find out who keeps the GPU's memory, and let that one process end."""
    yield from _told(confinement, findings, "which process may end")


@fix("restart-mps", cures=["gpu.mps-stale"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def restart_mps(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Start the daemon of the multi-process service anew, or do without it."""
    yield from _told(confinement, findings, "whether it is wanted")


@fix("keep-driver-awake", cures=["gpu.persistence-off"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def keep_driver_awake(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Enable the daemon that keeps the GPUs started between programs."""
    # Not done by gpudoctor: to enable a unit, systemd reads all units anew, and containers can lose their GPU by it.
    yield from _told(confinement, findings, "when no container is disturbed by it")


def _told(confinement: Confinement, findings: Findings, what: str) -> Iterator[Step]:
    if own_driver(confinement):
        for _, finding in findings.items:
            yield by_remedy(finding, what)
