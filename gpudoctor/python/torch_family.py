"""What to install: the torch that fits a machine, and what belongs to the torch that is there."""

import re

from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.extensions import Extension
from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.facts.toolkits import CudaToolkits, Toolkit
from gpudoctor.host import Unavailable
from gpudoctor.python.installers import index_of, install, tool_of
from gpudoctor.python.pins import TORCH_FAMILY, BrokenPin, Restoring, torch_pin
from gpudoctor.python.recommend import Recommendation, installed_in, recommend, target_of
from gpudoctor.python.torch_faults import minor_of


def family_in(environment: PythonEnvironment) -> tuple[str, ...]:
    return tuple(name for name in TORCH_FAMILY if environment.get(name))


def fitting_build(
    build: FrameworkBuild, driver: DriverCuda | Unavailable, gpus: ComputeGpus | Unavailable
) -> Recommendation:
    """The same torch for another CUDA where there is one, else the newest that fits; its companions come along.

    Where another package asks for a torch that is not there, that one comes before the same.
    """
    target, installed = target_of(build.environment, driver, gpus), installed_in(build.environment)
    pinned = torch_pin(build.environment)
    if pinned:
        release = pinned[1].requirements[0].partition("==")[2].partition("+")[0]
        asked_for = recommend("torch", target, release, installed=installed)
        if asked_for.best:
            return asked_for
    found = recommend("torch", target, build.version.partition("+")[0], installed=installed)
    if found.best is None:
        newest = recommend("torch", target, installed=installed)
        found = newest if newest.best or not found.rejected else found._replace(instead=newest.instead or found.instead)
    return found


def family_mending(build: FrameworkBuild) -> tuple[tuple[str, ...], str, str]:
    """Requirements that bring torch's family together again, the index that has them, and a phrase that says why so.

    The torch that is there stays, unless another package pins the one that was there before.
    """
    pinned = torch_pin(build.environment)
    if pinned:
        pin, back = pinned
        return back.requirements, back.index_url, f"Take torch and its family back, for {pin.words}"
    from gpudoctor.knowledge.companions import companions_of  # here for start-up: only findings need it

    names, version = family_in(build.environment), build.distribution.version
    known = companions_of(build.version) if minor_of(build.version) else {}
    local = version.partition("+")[2]
    index = index_of(version)
    suffix = f"+{local}" if index else ""
    wanted = tuple(
        f"{name}=={_first_for(name, known[name], build.version)}{suffix}" if name in known else name for name in names
    )
    return wanted, index, f"Install what belongs to torch {version}"


def _first_for(name: str, newest: str, torch: str) -> str:
    """Of a companion's patch releases the first that takes this torch: it came with it, as 0.29.1 with 2.14.1."""
    from gpudoctor.knowledge.companions import made_for  # here for start-up: only findings need it

    minor, _, patch = newest.rpartition(".")
    earlier = (f"{minor}.{number}" for number in range(int(patch) if patch.isdecimal() else 0))
    return next((one for one in earlier if made_for(name, one, torch)), newest)


def fitting_pin(environment: PythonEnvironment, extension: Extension) -> tuple[BrokenPin, Restoring] | None:
    """What takes torch back to the version that another package asks for, where the extension was compiled for that."""
    pinned = torch_pin(environment) if extension.torch else None
    if pinned is None:
        return None
    release = minor_of(pinned[1].requirements[0].partition("==")[2])
    return pinned if release in [minor_of(one) for one in extension.torch] else None


def mending(extension: Extension, build: FrameworkBuild) -> tuple[str, ...]:
    """The command that brings a build of the extension for the torch that is there. Raises UnsafeWord."""
    from gpudoctor.knowledge.companions import releases_for_torch  # here for start-up: only findings need it

    one, environment = extension.distribution, build.environment
    fitting = releases_for_torch(one.name, build.version)
    if fitting:
        return install(environment, (f"{one.name}=={fitting[-1]}",))
    command = install(environment, (f"{one.name}=={one.release}",), reinstall=True, no_deps=True)
    flags = {"pip": ("--no-build-isolation", "--no-cache-dir"), "uv": ("--no-build-isolation", "--no-cache")}
    place = command.index("install") + 1 if "install" in command else len(command)
    return (*command[:place], *flags.get(tool_of(environment, one), ()), *command[place:])


def quantisation_requirement(build: FrameworkBuild) -> str:
    """ "bitsandbytes==0.50.2": the newest with a library for torch's CUDA; "" if none is known."""
    from gpudoctor.knowledge.companions import bitsandbytes_for  # here for start-up: only findings need it

    known = bitsandbytes_for(build.cuda) if build.cuda else None
    return f"bitsandbytes=={known}" if known else ""


def torch_with_ptxas_for(gpu: ComputeGpu) -> str:
    """The first torch whose triton knows a GPU, "" if none does."""
    from gpudoctor.knowledge.companions import ptxas_used  # here for start-up: only findings need them
    from gpudoctor.knowledge.torch import default_build, releases

    for release in releases():
        wheel = default_build(release)
        triton = re.sub(r"[^0-9.]", "", wheel.requires.get("triton", "")) if wheel else ""
        ptxas = ptxas_used(triton, gpu.capability) if triton and gpu.capability else None
        if ptxas and gpu.capability and ptxas.knows(gpu.capability):
            return release
    return ""


def knows(toolkit: Toolkit, gpu: ComputeGpu) -> bool | None:
    """Does the ptxas of this toolkit know a GPU? None if the table does not tell."""
    from gpudoctor.knowledge.cuda import nvcc_support  # here for start-up: only findings need it

    support = nvcc_support(toolkit.release) if toolkit.release else None
    return gpu.sm in support.architectures if support and gpu.sm else None


def toolkit_with_ptxas_for(gpu: ComputeGpu, toolkits: CudaToolkits | Unavailable) -> str:
    """The folder of a CUDA toolkit on this machine whose ptxas knows a GPU, "" if there is none."""
    able = toolkits.toolkits if isinstance(toolkits, CudaToolkits) else ()
    return next((one.folder for one in able if one.nvcc and knows(one, gpu)), "")


def python_for_torch(environment: PythonEnvironment, driver: DriverCuda, gpus: ComputeGpus) -> tuple[str, ...]:
    """The Pythons that have a torch which fits this machine, where the environment's own has none; () else."""
    target = target_of(environment, driver, gpus)
    if recommend("torch", target).best or not recommend("torch", target._replace(python=None)).best:
        return ()
    minors = (minor for minor in range(6, 20) if recommend("torch", target._replace(python=(3, minor))).best)
    return tuple(f"3.{minor}" for minor in minors)
