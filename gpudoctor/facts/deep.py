"""What the frameworks of each Python environment really do on the GPU: tried only when `check --deep` asks for it."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.probe_answers import checked_trial
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.host import Host, NotRunning, Unavailable
from gpudoctor.registry import fact

TRIAL_TIMEOUT = 120.0  # seconds for one framework: its first start from a cold disk takes a minute

# By the names of their distributions.
_FRAMEWORKS = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "tf-nightly"),
    "jax": ("jaxlib",),
    "cupy": ("cupy",),
    "onnxruntime": ("onnxruntime",),
    "numba": ("numba",),
}


class DeepWanted(NamedTuple):
    """Whether the user asked for it (--deep)."""

    wanted: bool


class FrameworkTrial(NamedTuple):
    """What one framework did. `failure` is "" where the device computed the right numbers.

    `unavailable` says why nothing is known: a deadline, a crash, an interpreter that must not be run.
    """

    framework: str  # "torch", "tensorflow", "jax", "cupy", "onnxruntime"
    version: str
    devices: int | None  # how many it sees, None if it could not even be asked
    failure: str  # the framework's own message
    failed_at: str  # "import", "devices", "matmul", "convolution", "" nowhere
    libraries: tuple[str, ...]  # the CUDA libraries that the process had really mapped
    facts: Mapping[str, object]  # what else it said of itself: "cuda", "cudnn", "arch_list", "providers"
    prefix: str = ""  # of the environment
    user: int = 0  # id of who it ran as: the environment's owner
    unavailable: str = ""

    @property
    def words(self) -> str:
        """ "torch 2.9.1 in /home/ada/venv, as user 1000, computed right on the GPU"."""
        who = f"{self.framework} {self.version}".strip() + f" in {self.prefix}"
        if self.unavailable:
            return f"{who}: {self.unavailable}"
        outcome = f"failed: {self.failure[:200]}" if self.failure else "computed right on the GPU"
        return f"{who}, as user {self.user}, {outcome}"


class DeepTrials(NamedTuple):
    """One for each framework of each environment that is in use."""

    trials: tuple[FrameworkTrial, ...]

    def of(self, prefix: str) -> tuple[FrameworkTrial, ...]:
        return tuple(trial for trial in self.trials if trial.prefix == prefix)

    def get(self, prefix: str, framework: str) -> FrameworkTrial | None:
        return next((trial for trial in self.of(prefix) if trial.framework == framework), None)


@fact
def deep_wanted(host: Host) -> DeepWanted:
    """Nobody asked: the command line puts another answer in its place."""
    return DeepWanted(False)


@fact
def deep_trials(host: Host, wanted: DeepWanted, pythons: PythonEnvironments) -> DeepTrials:
    """Tries the environments that are in use, one after the other: two at once would share one GPU's memory.

    Raises NotRunning where nobody asked for it.
    """
    if not wanted.wanted:
        raise NotRunning("the frameworks were not tried: only `check --deep` runs them")
    return DeepTrials(
        tuple(
            _try(host, one, framework) for one in pythons.environments for framework in frameworks_of(one) if one.in_use
        )
    )


def frameworks_of(environment: PythonEnvironment) -> tuple[str, ...]:
    """Those that can be tried: "torch", "jax"..."""
    names = [one.name for one in environment.distributions]
    return tuple(
        framework
        for framework, prefixes in _FRAMEWORKS.items()
        if any(
            name == prefix or (framework in ("cupy", "onnxruntime", "tensorflow") and name.startswith(f"{prefix}-"))
            for name in names
            for prefix in prefixes
        )
    )


def _try(host: Host, environment: PythonEnvironment, framework: str) -> FrameworkTrial:
    nothing = FrameworkTrial(framework, "", None, "", "", (), {}, environment.prefix)
    if not environment.interpreter:
        return nothing._replace(unavailable=f"{environment.prefix} has no interpreter any more")
    try:
        answer, failure = checked_trial(host.try_framework(environment.interpreter, framework, TRIAL_TIMEOUT))
    except NotRunning:
        raise
    except Unavailable as reason:
        answer, failure = None, str(reason)
    if answer is None:
        return nothing._replace(unavailable=failure)
    devices, libraries, user = answer.get("devices"), answer.get("libraries"), answer.get("user")
    return nothing._replace(
        version=str(answer.get("version") or ""),
        devices=devices if isinstance(devices, int) else None,
        failure=str(answer.get("failure") or ""),
        failed_at=str(answer.get("failed_at") or ""),
        libraries=tuple(str(path) for path in libraries) if isinstance(libraries, list) else (),
        user=user if isinstance(user, int) else 0,
        facts={key: value for key, value in answer.items() if key not in FrameworkTrial._fields},
    )
