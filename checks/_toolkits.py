"""Which toolkit builds take, which one would suit a framework, and what in an environment is compiled with it."""

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.facts.toolkits import CudaToolkits, Toolkit

# They compile their kernels when these are first used; the others only while they are installed.
_WHEN_USED = ("deepspeed",)
# vllm and sglang bring it along, and compile with it only where somebody chooses it.
_WHEN_CHOSEN = "flashinfer-python"
_READY_KERNELS = "flashinfer-jit-cache"


def in_charge(toolkits: CudaToolkits) -> tuple[str, Toolkit | None]:
    """What names the toolkit that torch builds extensions with, and the toolkit; None where it names none."""
    if toolkits.by_cuda_home:
        return toolkits.by_cuda_home.variable, toolkits.by_cuda_home.toolkit
    if toolkits.on_path:
        return "PATH", toolkits.on_path.toolkit
    if toolkits.default_link:
        return "/usr/local/cuda", toolkits.default_link.toolkit
    return "", None


def toolkit_for(build: FrameworkBuild, toolkits: CudaToolkits) -> Toolkit | None:
    """A toolkit of the framework's CUDA major, one of the very release first."""
    if build.cuda is None:
        return None
    able = [one for one in toolkits.toolkits if one.nvcc and one.release and one.release[0] == build.cuda[0]]
    return next((one for one in able if one.release == build.cuda), able[-1] if able else None)


def compiled_here(environment: PythonEnvironment) -> tuple[Distribution, ...]:
    """What is installed as source and compiled against torch."""
    from gpudoctor.knowledge.companions import compiled_at_install  # here for start-up: only beside an odd nvcc

    return tuple(one for one in environment.distributions if compiled_at_install(one.name))


def compiles_when_used(environment: PythonEnvironment) -> tuple[Distribution, ...]:
    return tuple(one for one in environment.distributions if one.name in _WHEN_USED)


def compiles_when_chosen(environment: PythonEnvironment) -> tuple[Distribution, ...]:
    found = environment.get(_WHEN_CHOSEN)
    return (found,) if found and environment.get(_READY_KERNELS) is None else ()


def get_toolkit(build: FrameworkBuild, spare: Toolkit | None) -> str:
    """A remedy: name the toolkit that suits this build, or install one. It contains no driver."""
    if spare:
        return f"`export CUDA_HOME={spare.folder}` before a build names the toolkit that suits."
    major, minor = build.cuda or (0, 0)
    if build.environment.kind == "conda":
        return f"`conda install -p {build.environment.prefix} cuda-nvcc={major}.{minor}` brings a compiler that suits."
    return (
        f"For builds install cuda-toolkit-{major}-{minor} from NVIDIA's repository (it contains no driver), and "
        f"`export CUDA_HOME=/usr/local/cuda-{major}.{minor}`."
    )
