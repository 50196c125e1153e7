"""What all checks of Python environments share: how bad it is where, how a place is named, what nobody could judge."""

from gpudoctor import NotApplicable, NotRunning, Severity, Unavailable, Undecided
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.facts.system import Kernel


def severity(environment: PythonEnvironment, own: Severity, elsewhere: Severity = Severity.WARNING) -> Severity:
    """The check's own severity in an environment that somebody means now; in any other no more than `elsewhere`."""
    return own if environment.in_use else min(own, elsewhere)


def place(environment: PythonEnvironment) -> str:
    """ "in /home/ada/venv"; of a text, which names no folder, "here"."""
    return f"in {environment.prefix}" if environment.prefix else "here"


def undecided(environment: PythonEnvironment, reason: str) -> Undecided:
    """What stands in for a finding where one environment could not be judged; the others are."""
    return Undecided(reason, matters=environment.in_use, environment=environment.prefix)


def on_gpus(gpus: ComputeGpus) -> tuple[ComputeGpu, ...]:
    """One of each kind of GPU that programs may use here. Raises NotApplicable where there is none."""
    if not gpus.gpus:
        raise NotApplicable("no NVIDIA GPU here")
    return gpus.distinct


def no_variables(reason: str, kernel: Kernel | Unavailable) -> Unavailable:
    """To be raised where nobody knows the environment's variables; on a disk that was to be expected."""
    return NotRunning(reason) if isinstance(kernel, Kernel) and not kernel.running else Unavailable(reason)


def computed(trials: DeepTrials | Unavailable, build: FrameworkBuild) -> bool:
    """Was it seen that this framework computes on the GPU? An observed success outranks every table."""
    if isinstance(trials, Unavailable):
        return False
    trial = trials.get(build.environment.prefix, build.framework)
    return trial is not None and not trial.failure and not trial.unavailable and bool(trial.devices)


def rivalled(build: FrameworkBuild, builds: FrameworkBuilds) -> bool:
    """Do several packages bring this framework for CUDA, over each other's files? Which is in force is open then."""
    same = [
        other
        for other in builds.of(build.framework)
        if other.cuda and other.environment.prefix == build.environment.prefix
    ]
    return len(same) > 1
