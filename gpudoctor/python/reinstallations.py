"""What to take out of a Python environment and what to put in, so that TensorFlow, JAX, onnxruntime or CuPy is whole.

The version that is there stays, unless no wheel of that version can serve the machine.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.compatibility import Fit, driver_runs
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.host import Unavailable
from gpudoctor.python.jax_versions import accepted_by_jax, is_known_plugin, jax_plugins, newest_plugin, plugin_major
from gpudoctor.python.pep440 import parse_version
from gpudoctor.python.pep508 import normalised, parse_requirement

# CuPy works without these; it says so when somebody asks for what they do.
OPTIONAL_TO_CUPY = ("libcutensor", "libcudnn", "libnccl", "libcusparseLt", "libnvToolsExt", "libnvshmem")


class Reinstallation(NamedTuple):
    """First `remove`, then `install`: of two wheels that wrote the same files both must go before one comes back."""

    install: tuple[str, ...]  # requirements
    remove: tuple[str, ...] = ()  # names of distributions
    note: str = ""  # a sentence on what comes after it, "" nothing


class Needs(NamedTuple):
    """The machine that it is for. `gpu`: is there a GPU at all?"""

    gpu: bool
    driver: str  # "" unknown
    capabilities: tuple[tuple[int, int], ...]  # those that are known


def needs_of(driver: DriverCuda | Unavailable, gpus: ComputeGpus | Unavailable) -> Needs:
    known = () if isinstance(gpus, Unavailable) else gpus.gpus
    capabilities = tuple(gpu.capability for gpu in known if gpu.capability)
    return Needs(bool(known), "" if isinstance(driver, Unavailable) else driver.driver, capabilities)


def serves(major: int, needs: Needs) -> bool:
    """May builds for a CUDA major run here, as far as is known?"""
    from gpudoctor.knowledge.cuda import last_cuda  # here for start-up: only findings ask

    if needs.driver and driver_runs(needs.driver, (major, 0)) is Fit.TOO_OLD:
        return False
    last = (last_cuda(capability) for capability in needs.capabilities)
    return all(cuda is None or cuda[0] >= major for cuda in last)


def _cudnn_pin(cuda_major: int, needs: Needs) -> tuple[str, ...]:
    """The cuDNN to ask for by version, where the newest one has no code for one of the GPUs any more."""
    from gpudoctor.knowledge.cudnn import cudnn_wheels, newest_cudnn_wheel  # here for start-up

    lowest = min(needs.capabilities, default=None)
    newest = newest_cudnn_wheel(cuda_major, lowest) if lowest else None
    if newest is None or newest == cudnn_wheels(cuda_major)[-1]:
        return ()
    return (f"nvidia-cudnn-cu{cuda_major}=={newest}",)


def family(environment: PythonEnvironment, name: str) -> tuple[Distribution, ...]:
    """The members of a family of wheels that write the same files ("tensorflow"): at most one belongs here."""
    beginnings = {"tensorflow": ("tensorflow", "tf-nightly", "intel-"), "onnxruntime": ("onnxruntime", "ort-")}
    there = environment.having(*beginnings.get(name, (name,)))
    if len(there) < 2:
        return there
    from gpudoctor.knowledge.wheels import collision_families  # here for start-up: one package collides with nothing

    members = next(one.members for one in collision_families() if one.name == name)
    return tuple(one for one in there if one.name in members)


def requirers(environment: PythonEnvironment, name: str) -> tuple[str, ...]:
    """Names of distributions that require one by this very name, whatever extras they were installed with."""
    found = []
    for one in environment.distributions:
        asked = (parse_requirement(line) for line in one.requires if "extra" not in line.partition(";")[2])
        if any(requirement and normalised(requirement.name) == name for requirement in asked):
            found.append(one.name)
    return tuple(found)


def tensorflow(environment: PythonEnvironment, needs: Needs) -> Reinstallation | None:
    """One TensorFlow, with its CUDA libraries where there is a GPU; None: no wheel of its version brings them."""
    members = family(environment, "tensorflow")
    kept = next((one for name in ("tensorflow", "tf-nightly") for one in members if one.name == name), None)
    there = kept or next(iter(members), None)
    version = parse_version(there.version) if there else None
    if there is None or version is None:
        return None
    name = kept.name if kept else ("tf-nightly" if "nightly" in there.name else "tensorflow")
    remove = tuple(one.name for one in members) if len(members) > 1 or not kept else ()
    if not needs.gpu or environment.machine == "aarch64":
        return Reinstallation((f"{name}=={there.release}",), remove)
    if version.release < (2, 14):  # the extra came with it
        return None
    pin = _cudnn_pin(11 if version.release < (2, 15) else 12, needs)
    return Reinstallation((f"{name}[and-cuda]=={there.release}", *pin), remove)


def lacks(libraries: FrameworkLibraries | Unavailable, environment: PythonEnvironment, framework: str) -> bool:
    """Is a library known not to be found that the framework cannot do without?"""
    if isinstance(libraries, Unavailable):
        return False
    own = (use for use in libraries.uses if (use.prefix, use.framework) == (environment.prefix, framework))
    passed = OPTIONAL_TO_CUPY if framework == "cupy" else ()
    return any(use.found is None and not use.soname.startswith(passed) for use in own)


def onnxruntime(
    environment: PythonEnvironment, needs: Needs, *, lacking: bool, broken: bool = False
) -> Reinstallation | None:
    """onnxruntime-gpu alone, of the CUDA that the environment has; None: no wheel is known to serve this machine.

    `lacking`: NVIDIA's wheels are needed too, which its extras bring. `broken`: its own files are gone.
    """
    from gpudoctor.knowledge.wheels import onnxruntime_build, onnxruntime_releases  # here for start-up

    if environment.machine not in ("", "x86_64"):
        return None  # only these have wheels
    members = family(environment, "onnxruntime")
    own = environment.get("onnxruntime-gpu")
    kept = own or next(iter(members), None)
    if kept is None:
        return None
    whole = [one.name for one in members] == ["onnxruntime-gpu"] and not broken
    remove = () if whole else tuple(one.name for one in members)
    extras = "[cuda,cudnn]" if lacking else ""
    note = "Call onnxruntime.preload_dlls() before the first session: it loads NVIDIA's wheels." if lacking else ""
    installed = onnxruntime_build(kept.release)
    if own and installed is None:  # newer than the table
        return Reinstallation((f"onnxruntime-gpu{extras}=={own.release}",), remove, note)
    # NVIDIA's wheels of two CUDA majors cannot be in one environment: those of cuDNN write the same files.
    others = (
        cuda_majors_in(environment) - {installed.cuda_major if installed and own else 0} if lacking else frozenset()
    )
    major = next((one for one in sorted(others, reverse=True) if serves(one, needs)), 0)
    python = f"cp{environment.version.replace('.', '')}"
    for release in (kept.release, *reversed(onnxruntime_releases())):
        build = onnxruntime_build(release)
        if build is None or (lacking and (not build.extras or build.extras_problem)):
            continue
        has_wheel = python in build.pythons or (own is not None and release == own.release)
        if has_wheel and (build.cuda_major == major if major else serves(build.cuda_major, needs)):
            pin = _cudnn_pin(build.cuda_major, needs) if lacking else ()
            return Reinstallation((f"onnxruntime-gpu{extras}=={release}", *pin), remove, note)
    return None


def cupy(environment: PythonEnvironment, needs: Needs, *, lacking: bool, broken: bool = False) -> Reinstallation | None:
    """One CuPy wheel, for a CUDA major that runs here and that the environment has; None: nothing tells which.

    `lacking`: CUDA's libraries and headers are needed too. `broken`: its own files are gone, or another's lie there.
    """
    members = [one for one in family(environment, "cupy") if re.fullmatch(r"cupy-cuda[0-9]+x?", one.name)]
    if not members:
        return None
    order = [(_cupy_major(one.name), one) for one in members]
    fitting = [(major, one) for major, one in order if serves(major, needs)] or order
    majors = cuda_majors_in(environment)
    major, kept = max(fitting, key=lambda pair: (pair[0] in majors, pair[0]))
    version = parse_version(kept.version)
    # The extra that brings NVIDIA's wheels came with CuPy 14.
    extra = "[ctk]" if lacking and version and version.release >= (14,) else ""
    more = (f"nvidia-cuda-runtime-cu{major}",) if lacking and not extra and major < 13 else ()
    everything = tuple(one.name for one in family(environment, "cupy"))
    remove = everything if len(everything) > 1 or broken else ()
    return Reinstallation((f"{kept.name}{extra}=={kept.release}", *more), remove)


def _cupy_major(name: str) -> int:
    """12 of "cupy-cuda12x", 11 of "cupy-cuda117"."""
    return int(name.removeprefix("cupy-cuda")[:2])


def numba(environment: PythonEnvironment, needs: Needs) -> Reinstallation | None:
    """numba-cuda with NVVM for a CUDA major that runs here; None: for none it does."""
    own = environment.get("numba-cuda")
    majors = cuda_majors_in(environment)
    fitting = sorted((one for one in (12, 13) if serves(one, needs)), key=lambda one: (one in majors, one))
    if not fitting:
        return None
    return Reinstallation((f"numba-cuda[cu{fitting[-1]}]{f'=={own.release}' if own else ''}",))


def cuda_majors_in(environment: PythonEnvironment) -> frozenset[int]:
    """Of the CUDA libraries that NVIDIA's wheels brought into an environment, told from cuBLAS and the runtime."""
    found = set()
    for one in environment.having("nvidia-cublas", "nvidia-cuda-runtime"):
        suffix = one.name.rpartition("-cu")[2]
        digits = suffix if suffix.isdecimal() else one.version.partition(".")[0]
        found.add(int(digits) if digits.isdecimal() else 0)
    return frozenset(found - {0})


def jax_for_cpu(environment: PythonEnvironment) -> Reinstallation | None:
    """The jaxlib that the installed jax accepts: pip looks at what jax requires, whether or not it is there."""
    there = environment.get("jax")
    return Reinstallation((f"jax=={there.release}",)) if there else None


def jax(environment: PythonEnvironment, needs: Needs) -> Reinstallation | None:
    """jax, jaxlib and one CUDA plugin of one version; None: no plugin for that jax is known to serve this machine."""
    there = environment.get("jax") or environment.get("jaxlib")
    if there is None:
        return None
    plugins = jax_plugins(environment)
    if environment.get("jax"):
        offered = [one for one in (13, 12) if accepted_by_jax(environment, f"jax-cuda{one}-plugin")]
    else:
        offered = [one for one in (13, 12) if is_known_plugin(one, there.release)]
    present = [plugin_major(one.name) for one in plugins]
    fitting = [one for one in offered if serves(one, needs)]
    majors = cuda_majors_in(environment)
    # The plugin that is there before another, what goes with the other wheels here before what does not.
    fitting.sort(key=lambda one: (one in present if len(present) == 1 else False, one in majors, one), reverse=True)
    if not fitting:
        return None
    chosen = fitting[0]
    # jaxlib takes only a plugin of its very own version; pip would leave an older one that jax accepts as well.
    version = newest_plugin(chosen, accepted_by_jax(environment, f"jax-cuda{chosen}-plugin") or f"=={there.release}")
    jaxlib = environment.get("jaxlib")
    install: tuple[str, ...] = (f"jax[cuda{chosen}]=={there.release}",)
    if version and jaxlib and jaxlib.release != version:
        install = (*install, f"jaxlib=={version}")
    install = (*install, *_cudnn_pin(chosen, needs))
    others = [one.name for one in plugins if plugin_major(one.name) != chosen]
    runtimes = [f"{one.removesuffix('plugin')}pjrt" for one in others]
    remove = [name for name in (*others, *runtimes) if environment.get(name)]
    if others:
        remove += _left_over(environment, [plugin_major(name) for name in others])
    return Reinstallation(install, tuple(dict.fromkeys(remove)))


def _left_over(environment: PythonEnvironment, majors: Sequence[int]) -> list[str]:
    """NVIDIA's wheels that wrote the same files as those of the other majors: both sides, and the right ones come back.

    Where another framework asks for one of them they stay: the environment is then wrong for more than JAX.
    """
    names: list[str] = []
    for beginning in ("nvidia-cudnn-cu", "nvidia-nccl-cu", "nvidia-nvshmem-cu"):
        members = [one.name for one in environment.having(beginning)]
        of_others = [name for name in members if name.removeprefix(beginning) in map(str, majors)]
        asked = [name for name in of_others if set(requirers(environment, name)) - set(members)]
        if len(members) > 1 and of_others and not asked:
            names += members
    return names
