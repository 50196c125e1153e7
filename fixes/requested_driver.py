"""The driver that was asked for with `fix --to driver=`, from the packages of this machine's repositories."""

from collections.abc import Iterator

from gpudoctor import Effort, Step, Unavailable, fix
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.request_limits import driver_obstacle

from ._driver_steps import driver_by_packages, into_use, is_by_hand
from ._ground import Ground
from ._last_proofs import framework_steps, with_proof
from ._scope import by_hand_if_unsafe


@fix("bring-driver", cures=["request.driver"], effort=Effort.CHANGE_BRANCH)
@by_hand_if_unsafe
def bring_driver(
    ground: Ground, builds: FrameworkBuilds | Unavailable, compute: ComputeGpus | Unavailable
) -> Iterator[Step]:
    """Install the driver that was asked for: headers, packages of one maker, module, initramfs, restart."""
    request = ground.wanted.get("driver")
    if request is None or request.runfile:
        return
    if driver_obstacle(request, ground.gpus, ground.confinement, ground.packages, ground.archive) is not None:
        return
    on_disk = (ground.versions.user_space, ground.versions.on_disk)
    if all(request.is_met_by(version) for version in on_disk):
        made = tuple(into_use(ground.versions.user_space, ground))
    else:
        made = tuple(driver_by_packages(request.version, ground))
        if not is_by_hand(made):
            made = (*made, *framework_steps(request.version, builds, compute))
    yield from with_proof(made, "driver", request.version, ground, builds)
