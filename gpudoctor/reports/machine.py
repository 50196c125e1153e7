"""The few words that introduce a machine at the top of every report."""

from typing import NamedTuple

from gpudoctor.facts.answers import DriverAnswers, Nvml
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts


class MachineSummary(NamedTuple):
    """ "" and () for what could not be told."""

    source: str  # "live", "root", "snapshot"
    os: str  # "ubuntu 24.04"
    os_name: str  # "Ubuntu 24.04.1 LTS"
    kernel: str
    kernel_running: bool
    driver: str  # the loaded one's version
    gpus: tuple[str, ...]
    confinement: str  # "docker container", "WSL", ""
    before_asking: (
        tuple[str, ...] | None
    )  # modules and nodes that were there before the driver was asked; None: not asked


def machine_summary(facts: Facts) -> MachineSummary:
    """From facts that the checks have found out already."""
    system = facts.get_or_reason(OperatingSystem)
    kernel = facts.get_or_reason(Kernel)
    driver = facts.get_or_reason(LoadedDriver)
    confinement = facts.get_or_reason(Confinement)
    asked = facts.get_or_reason(DriverAnswers)
    return MachineSummary(
        facts.host.source,
        "" if isinstance(system, Unavailable) else f"{system.id} {system.version}".strip(),
        "" if isinstance(system, Unavailable) else system.pretty_name,
        "" if isinstance(kernel, Unavailable) else kernel.release,
        not isinstance(kernel, Unavailable) and kernel.running,
        "" if isinstance(driver, Unavailable) else driver.version,
        _gpu_names(facts),
        "" if isinstance(confinement, Unavailable) else _confinement(confinement),
        None if isinstance(asked, Unavailable) else (*asked.before.modules, *asked.before.nodes),
    )


def _gpu_names(facts: Facts) -> tuple[str, ...]:
    """NVML's names; the table's where NVML has no answer."""
    nvml = facts.get_or_reason(Nvml)
    if not isinstance(nvml, Unavailable) and nvml.gpus:
        return tuple(gpu.name or f"GPU {gpu.number}: {gpu.return_name}" for gpu in nvml.gpus)
    gpus = facts.get_or_reason(PciGpus)
    return () if isinstance(gpus, Unavailable) else tuple(gpu.label for gpu in gpus.gpus)


def _confinement(confinement: Confinement) -> str:
    if confinement.wsl:
        return "WSL"
    return f"{confinement.container} container" if confinement.container else ""
