"""The few words that introduce a machine at the top of every report."""

from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.facts.answers import Cuda, DriverAnswers, Nvml
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.deep import DeepTrials, FrameworkTrial
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.host import NotRunning, Unavailable
from gpudoctor.registry import Facts

# Where the facts come from, as it is said to people; "" for the usual.
SOURCES = {"live": "", "root": "mounted root", "snapshot": "snapshot", "text": "pasted text"}


class PythonSummary(NamedTuple):
    """One Python environment."""

    prefix: str
    version: str  # "3.11"
    in_use: bool
    found_by: tuple[str, ...]
    frameworks: tuple[str, ...]  # "torch 2.9.1+cu128 (CUDA 12.8)"


class MachineSummary(NamedTuple):
    """ "" and () for what could not be told."""

    source: str  # one of SOURCES
    os: str  # "ubuntu 24.04"
    os_name: str  # "Ubuntu 24.04.1 LTS"
    kernel: str
    kernel_running: bool
    driver: str  # the loaded one's version
    gpus: tuple[str, ...]
    confinement: str  # "docker container", "WSL", ""
    # Modules and nodes that were there before the driver was asked; None: not asked.
    before_asking: tuple[str, ...] | None
    pythons: tuple[PythonSummary, ...]  # the environments that are in use, or have a framework
    trials: tuple[FrameworkTrial, ...]  # of `check --deep`
    usable_gpus: int | None  # with how many libcuda starts; None: it could not be told
    driver_told: bool  # False: whether one is loaded could not be told
    gpus_told: bool  # False: whether there are any could not be told

    @property
    def kernel_words(self) -> str:
        """ "6.1.0-56-amd64", or "6.1.0-56-amd64, not running"; "" if it could not be told."""
        return f"{self.kernel}, not running" if self.kernel and not self.kernel_running else self.kernel


def machine_summary(facts: Facts) -> MachineSummary:
    """From facts that the checks have found out already."""
    system = facts.get_for_words(OperatingSystem)
    kernel = facts.get_for_words(Kernel)
    driver = facts.get_for_words(LoadedDriver)
    confinement = facts.get_for_words(Confinement)
    asked = facts.get_for_words(DriverAnswers)
    gpus = _gpu_names(facts)
    return MachineSummary(
        facts.host.source,
        "" if isinstance(system, Unavailable) else f"{system.id} {system.version}".strip(),
        "" if isinstance(system, Unavailable) else system.pretty_name,
        "" if isinstance(kernel, Unavailable) else kernel.release,
        not isinstance(kernel, Unavailable) and kernel.running,
        "" if isinstance(driver, Unavailable) else driver.version,
        gpus or (),
        "" if isinstance(confinement, Unavailable) else _confinement(confinement),
        None if isinstance(asked, Unavailable) else (*asked.before.modules, *asked.before.nodes),
        _pythons(facts),
        _trials(facts),
        _usable_gpus(facts, driver, asked),
        not isinstance(driver, Unavailable),
        gpus is not None,
    )


def _pythons(facts: Facts) -> tuple[PythonSummary, ...]:
    environments, builds = facts.get_for_words(PythonEnvironments), facts.get_for_words(FrameworkBuilds)
    if isinstance(environments, Unavailable) or isinstance(builds, Unavailable):
        return ()
    frameworks: dict[str, list[str]] = {}
    for build in builds.builds:
        words = f"{build.words} ({build.cuda_words})" if build.cuda else build.words
        frameworks.setdefault(build.environment.prefix, []).append(words)
    return tuple(
        PythonSummary(one.prefix, one.version, one.in_use, one.found_by, tuple(frameworks.get(one.prefix, ())))
        for one in environments.environments
        if one.in_use or one.prefix in frameworks
    )


def _trials(facts: Facts) -> tuple[FrameworkTrial, ...]:
    trials = facts.get_for_words(DeepTrials)
    return () if isinstance(trials, Unavailable) else trials.trials


def _usable_gpus(facts: Facts, driver: LoadedDriver | Unavailable, asked: DriverAnswers | Unavailable) -> int | None:
    """libcuda's count: what it starts with can be used, whatever else is wrong, and nothing else can."""
    if isinstance(asked, NotRunning):
        # Of a system that runs that is an answer: without a module and without device nodes there is nobody to ask.
        return None if isinstance(driver, Unavailable) else 0
    cuda = facts.get_for_words(Cuda)
    if isinstance(cuda, Unavailable):
        return None
    return cuda.device_count if cuda.return_code == 0 else 0


def _gpu_names(facts: Facts) -> tuple[str, ...] | None:
    """NVML's names; the table's where NVML has no answer; those of a text where there is no machine. None: not told."""
    nvml = facts.get_for_words(Nvml)
    if not isinstance(nvml, Unavailable) and nvml.gpus:
        return tuple(gpu.name or f"GPU {gpu.number}: {gpu.return_name}" for gpu in nvml.gpus)
    gpus = facts.get_for_words(PciGpus)
    if not isinstance(gpus, Unavailable):
        return tuple(gpu.label for gpu in gpus.gpus)
    named = facts.get_for_words(ComputeGpus)
    names = () if isinstance(named, Unavailable) else tuple(gpu.name for gpu in named.gpus if gpu.name)
    return names or (None if isinstance(nvml, Unavailable) else ())


def _confinement(confinement: Confinement) -> str:
    if confinement.wsl:
        return "WSL"
    return f"{confinement.container} container" if confinement.container else ""


def in_words(names: Sequence[str]) -> str:
    """ "8 x NVIDIA H200"; of several models one after the other."""
    counted = {name: names.count(name) for name in names}
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counted.items())
