"""Where a check makes sense."""

from gpudoctor import NotApplicable
from gpudoctor.facts.system import Confinement


def own_driver(confinement: Confinement) -> None:
    """Raises NotApplicable where the kernel driver belongs to somebody else."""
    if confinement.wsl:
        raise NotApplicable("WSL: the driver is the one of Windows")
    if confinement.container:
        raise NotApplicable(f"{confinement.container} container: the driver is the host's")
