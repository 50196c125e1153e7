"""The cuDNN and NCCL of imaginary frameworks, for the tests of their checks and fixes."""

from framework_environments import PREFIX, SITE, build, distribution, environment

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.environment import Environment, Setting
from gpudoctor.facts.framework_cudnn import CudnnPart, FrameworkCudnn, FrameworkNccl
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.facts.loader import Found

WHEEL = f"{SITE}/nvidia/cudnn/lib"
RUNPATH, VARIABLE = f"RUNPATH of {WHEEL}/libcudnn.so.9", "LD_LIBRARY_PATH"

TORCH = distribution(
    "torch",
    "2.9.1",
    'nvidia-cudnn-cu12==9.10.2.21; platform_system == "Linux"',
    'nvidia-nccl-cu12==2.27.5; platform_system == "Linux"',
)
JAX = distribution("jax-cuda12-plugin", "0.6.2", 'nvidia-cudnn-cu12<10.0,>=9.8; extra == "with-cuda"')
TENSORFLOW = distribution("tensorflow", "2.20.0", 'nvidia-cudnn-cu12<10.0,>=9.3.0.75; extra == "and-cuda"')

SET = Environment(
    {"LD_LIBRARY_PATH": "/opt/old/lib"},
    (Setting("LD_LIBRARY_PATH", "/opt/old/lib", "/home/ada/.bashrc", 12, "export LD_LIBRARY_PATH=/opt/old/lib"),),
)


def framework(
    found: Distribution, *beside: Distribution, in_use: bool = True, cuda: tuple[int, int] = (12, 8), cudnn: str = ""
) -> FrameworkBuild:
    """A build in an environment with these wheels."""
    kind = {"jax-cuda12-plugin": "jax"}.get(found.name, found.name)
    return build(kind, found, cuda, where=environment(found, *beside, in_use=in_use), cudnn=cudnn)


def part(name: str, version: str, folder: str = WHEEL, by: str = RUNPATH, major: int = 9) -> CudnnPart:
    """ "graph" for libcudnn_graph.so.9, "" for the main library; outside of wheels the file tells its version."""
    soname = f"libcudnn{f'_{name}' if name else ''}.so.{major}"
    real = f"{folder}/{soname}" if folder == WHEEL else f"{folder}/{soname.rpartition('.')[0]}.{version}"
    header = f"{folder.rpartition('/')[0]}/include/cudnn_version.h"
    source = "" if not version else header if folder == WHEEL else real
    return CudnnPart(soname, Found(f"{folder}/{soname}", real, by), version, source)


def cudnn(found: FrameworkBuild, *parts: CudnnPart, main: CudnnPart | None = None) -> FrameworkCudnn:
    main = main or part("", parts[0].version if parts else "")
    taken = LibraryUse(PREFIX, found.framework, main.soname, "/x.so", main.found, main.found)
    return FrameworkCudnn(found, taken, main, parts)


def used(one: FrameworkCudnn) -> FrameworkLibraries:
    return FrameworkLibraries((one.use,))


def nccl(found: FrameworkBuild, version: str, folder: str, by: str) -> FrameworkNccl:
    path = f"{folder}/libnccl.so.2"
    taken = Found(path, f"{path}.{version}", by)
    source = f"{path}.{version}" if version else ""
    return FrameworkNccl(
        found, LibraryUse(PREFIX, found.framework, "libnccl.so.2", "/x.so", taken, taken), version, source
    )
