"""Put NVIDIA's wheels that overwrote each other's files in order: all of them out, the right one in."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Step, fix
from gpudoctor.facts.wheel_files import WheelFiles
from gpudoctor.python.steps import reinstalled
from gpudoctor.python.wheel_pins import COLLIDING, orders, torn_apart

from ._scope import by_hand_if_unsafe


@fix("reinstall-nvidia-wheels", cures=["python.nvidia-wheels-collide"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def reinstall_nvidia_wheels(findings: Findings, files: WheelFiles) -> Iterator[Step]:
    """Take out both wheels that wrote the same files, then install the one that the framework asks for."""
    meant = {finding.environment for _, finding in findings.items}
    found = tuple(order for order in orders(files, COLLIDING) if order.environment.prefix in meant)
    for order in found:
        why = f"Both wheels wrote the same files, and this one belongs here: {order.why}."
        yield from reinstalled(
            order.environment, install=(order.requirement,), remove=order.remove, no_deps=True, why=why
        )
    for one in torn_apart(files, found):
        if one.environment.prefix in meant:
            name, version = one.distribution.name, one.distribution.version
            why = f"{len(one.missing)} libraries of {name} {version} are gone, and come back with it."
            requirement = f"{name}=={version}" if version else name
            yield from reinstalled(one.environment, install=(requirement,), remove=(name,), no_deps=True, why=why)
