"""What a text does not say and would decide the matter, with the command that tells it."""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.facts.system import FAMILIES
from gpudoctor.findings import Ranked
from gpudoctor.triage.shown import Shown

_DRIVER_SIDE = ("driver", "kernel", "packages", "devices", "pci", "health", "fabric", "gpu", "wsl")
_OF_KERNEL = ("kernel", "packages")
_CONTAINER = ("container",)
_LISTS = {
    "debian": "dpkg -l | grep -iE 'nvidia|linux-(image|headers)'",
    "fedora": "rpm -qa | grep -iE 'nvidia|kernel'",
    "suse": "rpm -qa | grep -iE 'nvidia|kernel'",
    "arch": "pacman -Q | grep -iE 'nvidia|linux'",
}


class Question(NamedTuple):
    """`why`: what would be known then; `command`: as it is typed on the machine in question."""

    why: str
    command: str


def questions(shown: Shown, findings: tuple[Ranked, ...]) -> tuple[Question, ...]:
    """The few that matter for the causes that were found; () where the text shows the first of them."""
    if findings and findings[0].certainty == "shown":
        return ()
    return tuple(_questions(shown, {ranked.check.id.partition(".")[0] for ranked in findings[:3]}))


def _questions(shown: Shown, domains: set[str]) -> Iterator[Question]:
    if shown.driver.version is None and shown.driver.nvml is None:
        yield Question("which driver is loaded, and whether it answers", "nvidia-smi; cat /proc/driver/nvidia/version")
    if not shown.system.kernel_lines and (not domains or domains & {*_DRIVER_SIDE}):
        yield Question("what the driver told the kernel", "sudo dmesg | grep -iE 'nvrm|nvidia|nouveau|xid|signature'")
    if domains & {*_OF_KERNEL}:
        yield Question("which modules are built for which kernel", "uname -r; dkms status; modinfo -n nvidia")
        family = FAMILIES.get(shown.system.id, "debian")
        packages = _LISTS.get(family, _LISTS["debian"])
        yield Question("which packages are installed", packages)
    if domains & {*_CONTAINER}:
        yield Question(
            "what the engine knows of the GPU", "docker info | grep -iE 'runtime|cdi|cgroup'; nvidia-ctk --version"
        )
    elif not domains or domains - {*_DRIVER_SIDE}:
        if not shown.python.packages:
            yield Question(
                "which builds are installed, and for which CUDA", "python -m torch.utils.collect_env; pip list"
            )
        if "LD_LIBRARY_PATH" not in shown.system.variables:
            yield Question("which libraries come first", "echo $LD_LIBRARY_PATH; env | grep -iE 'cuda|nvidia'")
