"""What gives an environment, or a notebook, its own Python again, as commands."""

import shlex

from gpudoctor.facts.distributions import is_framework
from gpudoctor.facts.interpreters import JupyterKernel
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.python.installers import index_of
from gpudoctor.python.plain_words import distribution_name, environment_path, requirement

# What frameworks bring along by themselves.
_BROUGHT = (
    "nvidia-",
    "triton",
    "pytorch-triton",
    "cuda-bindings",
    "cuda-pathfinder",
    "cuda-toolkit",
    "jax-cuda",
    "jaxlib",
)


def wanted_packages(environment: PythonEnvironment) -> tuple[str, ...]:
    """The GPU packages that somebody asked for, with their versions: ("torch==2.9.1", ...). Raises UnsafeWord."""
    chosen = [one for one in environment.distributions if is_framework(one.name) and not one.name.startswith(_BROUGHT)]
    return tuple(
        requirement(f"{distribution_name(one.name)}=={one.version}" if one.version else one.name)
        for one in chosen
        if one.name in _FRAMEWORKS or one.name.startswith(("cupy", "torch"))
    )


_FRAMEWORKS = ("tensorflow", "jax", "onnxruntime-gpu", "onnxruntime", "vllm", "xformers", "bitsandbytes", "numba")


def commands_for_new_environment(environment: PythonEnvironment) -> str:
    """Three commands, as one reads and copies them. Raises UnsafeWord."""
    prefix = environment_path(environment.prefix)
    words = wanted_packages(environment)
    torch = environment.get("torch")
    index = index_of(torch.version) if torch else ""
    extra = ("--extra-index-url", index) if index else ()
    if environment.uv:
        version = environment.version.split(".")
        python = ("--python", ".".join(version)) if all(word.isdecimal() for word in version) else ()
        made = ("uv", "venv", *python, prefix)
        install = ("uv", "pip", "install", "--python", prefix, *extra, *words)
    else:
        made = ("python3", "-m", "venv", prefix)
        install = (f"{prefix}/bin/python", "-m", "pip", "install", *extra, *words)
    commands = [("mv", prefix, f"{prefix}.old"), made, *([install] if words else [])]
    rest = "" if words else " and its packages"
    return ", then ".join(f"`{shlex.join(command)}`" for command in commands) + rest


def kernel_command(kernel: JupyterKernel, environment: PythonEnvironment) -> str:
    """ "`/home/ada/venv/bin/python -m ipykernel install ...`"; "" where a name or path is not plain."""
    place = ("--prefix", kernel.belongs_to) if kernel.belongs_to else ("--user",)
    try:
        words = (environment_path(environment.interpreter), "-m", "ipykernel", "install", *place, "--name")
        return f"`{shlex.join((*words, distribution_name(kernel.name)))}`"
    except UnsafeWord:
        return ""
