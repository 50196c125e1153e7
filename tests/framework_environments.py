"""Facts of imaginary Python environments, frameworks, GPUs and drivers, for the tests of checks and fixes."""

from gpudoctor.facts.conda import CondaPackage
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials, FrameworkTrial
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.framework_libraries import LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.facts.loader import Found
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments

PREFIX = "/home/ada/venv"
SITE = f"{PREFIX}/lib/python3.11/site-packages"


def distribution(name: str, version: str, *requires: str, installer: str = "pip", site: str = SITE) -> Distribution:
    folder = f"{site}/{name.replace('-', '_')}-{version}.dist-info"
    return Distribution(name, version, requires, folder, site, installer)


def environment(
    *distributions: Distribution,
    prefix: str = PREFIX,
    in_use: bool = True,
    version: str = "3.11",
    kind: str = "venv",
    conda: tuple[CondaPackage, ...] = (),
    uv: bool = False,
    lock_file: str = "",
    managed: str = "",
    owner: int = 1000,
    machine: str = "x86_64",
    problems: tuple[str, ...] = (),
) -> PythonEnvironment:
    return PythonEnvironment(
        prefix,
        f"{prefix}/bin/python",
        version,
        kind,
        ("VIRTUAL_ENV",) if in_use else ("installed",),
        in_use,
        (f"{prefix}/lib/python{version}/site-packages",),
        distributions,
        (),
        len(distributions) + 20,
        conda,
        uv,
        lock_file,
        managed,
        "/usr/bin",
        owner,
        machine,
        problems,
    )


def environments(*members: PythonEnvironment) -> PythonEnvironments:
    return PythonEnvironments(members)


def build(
    framework: str,
    found: Distribution,
    cuda: tuple[int, int] | None,
    *architectures: str,
    where: PythonEnvironment | None = None,
    version: str = "",
    cudnn: str = "",
    cuda_minor_known: bool = True,
    problem: str = "",
) -> FrameworkBuild:
    """A build in an environment that holds nothing else, unless another is given."""
    said = version or found.version
    return FrameworkBuild(
        where or environment(found),
        framework,
        found,
        said,
        cuda,
        cuda_minor_known,
        cudnn,
        architectures,
        "table" if architectures else "",
        f"{found.location}/{framework}/version.py",
        f"__version__ = '{said}', cuda = {f'{cuda[0]}.{cuda[1]}' if cuda else None!r}",
        problem,
    )


def torch(version: str, cuda: tuple[int, int] | None, *architectures: str, in_use: bool = True) -> FrameworkBuild:
    """torch(“2.9.1+cu128”, (12, 8), "sm_70", ...) alone in its environment."""
    found = distribution("torch", version.partition("+")[0])
    return build("torch", found, cuda, *architectures, where=environment(found, in_use=in_use), version=version)


def use(
    framework: str, soname: str, found: str = "", *, by: str = "", undisturbed: str = "", prefix: str = PREFIX
) -> LibraryUse:
    """A library that a framework needs, and the files that the loader takes: "" for none."""
    taken = Found(found, found, by or "RPATH of /x.so") if found else None
    clean = (
        Found(undisturbed, undisturbed, "RPATH of /x.so")
        if undisturbed
        else (None if by == "LD_LIBRARY_PATH" else taken)
    )
    return LibraryUse(prefix, framework, soname, "/x.so", taken, clean)


def gpu(name: str, capability: tuple[int, int] | None, *, data_centre: bool | None = False) -> ComputeGpu:
    return ComputeGpu("0000:01:00.0", name, capability, "NVML", data_centre)


def gpus(*members: ComputeGpu) -> ComputeGpus:
    return ComputeGpus(members)


RTX_5090 = gpu("NVIDIA GeForce RTX 5090", (12, 0))
RTX_4090 = gpu("NVIDIA GeForce RTX 4090", (8, 9))
GTX_1080 = gpu("NVIDIA GeForce GTX 1080", (6, 1))
V100 = gpu("Tesla V100-SXM2-16GB", (7, 0), data_centre=True)
A100 = gpu("NVIDIA A100-SXM4-80GB", (8, 0), data_centre=True)
H200 = gpu("NVIDIA H200", (9, 0), data_centre=True)


def driver(version: str, cuda: tuple[int, int] | None) -> DriverCuda:
    return DriverCuda(version, cuda, "/proc/driver/nvidia/version")


def tried(failure: str = "", devices: int = 1, framework: str = "torch") -> DeepTrials:
    """What `check --deep` saw: that it computes, or with which words it ends."""
    at = "matmul" if failure else ""
    return DeepTrials((FrameworkTrial(framework, "2.9.1", devices, failure, at, (), {}, PREFIX),))
