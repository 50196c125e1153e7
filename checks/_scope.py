"""Where a check makes sense."""

from gpudoctor import NotApplicable, Unavailable
from gpudoctor.facts.system import Confinement, OperatingSystem

NO_CUDA_ON_VGPU_HOST = "the GPUs are shared out as vGPUs: NVIDIA's vGPU manager brings no libcuda, the guests have it"


def driver_for_programs_here(confinement: Confinement) -> None:
    """Raises NotApplicable where no program outside of containers is meant to reach the GPU."""
    if confinement.driver_container:
        raise NotApplicable(
            "the driver is here for containers only (GPU operator, GKE): ask in a container that was given a GPU"
        )


def own_driver(confinement: Confinement) -> None:
    """Raises NotApplicable where the kernel driver belongs to somebody else."""
    if confinement.wsl:
        raise NotApplicable("WSL: the driver is the one of Windows")
    if confinement.container:
        raise NotApplicable(f"{confinement.container} container: the driver is the host's")
    driver_for_programs_here(confinement)


def nothing_in_snaps(system: OperatingSystem) -> None:
    """Raises Unavailable where what is not found in the usual places may still be there."""
    if system.id == "ubuntu-core":
        raise Unavailable("Ubuntu Core: libraries and firmware of the driver lie in snaps, for their programs")
