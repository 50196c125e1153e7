"""Environment variables that change how frameworks use the GPU, and what each does."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor import Severity


class Switch(NamedTuple):
    """A setting that somebody made once to find a fault, and that costs something as long as it stays."""

    variable: str
    values: tuple[str, ...]  # in lower case; () any value that is neither empty nor 0
    framework: str  # the one that heeds it, "" every CUDA program
    effect: str  # a clause: "every kernel is waited for"
    severity: Severity


_ON = ("1", "true", "yes", "on", "y", "t")
_W, _I = Severity.WARNING, Severity.INFO

SWITCHES = (
    Switch("JAX_PLATFORMS", ("cpu",), "jax", "JAX computes on the CPU alone", _W),
    Switch("JAX_PLATFORM_NAME", ("cpu",), "jax", "JAX computes on the CPU alone", _W),
    Switch("JAX_DISABLE_JIT", _ON, "jax", "JAX compiles nothing, and is many times slower", _W),
    Switch(
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK", (), "jax", "JAX does not say which of its CUDA libraries are too old", _I
    ),
    Switch("XLA_PYTHON_CLIENT_ALLOCATOR", ("platform",), "jax", "each array is allocated by the driver: slow", _W),
    Switch("CUDA_LAUNCH_BLOCKING", (), "", "every kernel is waited for, which makes training slower", _W),
    Switch(
        "CUDA_FORCE_PTX_JIT", (), "", "ready code is ignored, and all kernels are compiled when they are loaded", _W
    ),
    Switch("CUDA_DISABLE_PTX_JIT", (), "", "kernels that are only there as PTX cannot be loaded (error 223)", _W),
    Switch("CUDA_DISABLE_JIT", (), "", "nothing can be compiled when it is loaded (error 223)", _W),
    Switch("CUDA_CACHE_DISABLE", (), "", "what the driver compiled is forgotten: each start compiles anew", _W),
    Switch(
        "CUDA_MODULE_LOADING", ("eager",), "", "all kernels are loaded at the start, which takes time and memory", _I
    ),
    Switch("PYTORCH_NVML_BASED_CUDA_CHECK", (), "torch", "torch.cuda.is_available() asks NVML, not CUDA itself", _I),
    Switch("PYTORCH_NO_CUDA_MEMORY_CACHING", (), "torch", "torch asks the driver for each tensor: very slow", _W),
    Switch("TF_CPP_MIN_LOG_LEVEL", ("2", "3"), "tensorflow", "TensorFlow does not say why it sees no GPU", _I),
    Switch("TRITON_INTERPRET", _ON, "torch", "Triton's kernels run on the CPU", _W),
    Switch("NUMBA_DISABLE_CUDA", (), "", "Numba does not use the GPU", _W),
    Switch("NUMBA_ENABLE_CUDASIM", (), "", "Numba's kernels run in a simulator on the CPU", _W),
    Switch("NVIDIA_TF32_OVERRIDE", ("0",), "", "matrix products do without TF32, and take longer", _I),
)


def switched_on(variables: Mapping[str, str]) -> tuple[tuple[Switch, str], ...]:
    """The switches that are set, and their values."""
    found = []
    for switch in SWITCHES:
        value = variables.get(switch.variable, "").strip().lower()
        if value and (value in switch.values if switch.values else value not in ("0", "false")):
            found.append((switch, variables[switch.variable]))
    return tuple(found)
