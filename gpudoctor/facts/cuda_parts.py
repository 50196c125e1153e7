"""What CuPy and numba compile kernels with: NVRTC, CUDA's headers, NVVM and libdevice, wherever they look for them."""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.facts.toolkits import CudaToolkits
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class CudaPart(NamedTuple):
    """One file of CUDA's compilers."""

    kind: str  # "nvrtc", "headers", "nvvm", "libdevice"
    path: str
    origin: str  # "wheel", "conda", "toolkit", "loader"
    major: int | None  # of CUDA, None where nothing tells


class CudaParts(NamedTuple):
    """Those that one environment gets, its own first. `problems`: what could not be looked at, and why."""

    prefix: str
    parts: tuple[CudaPart, ...]
    problems: tuple[str, ...] = ()

    def of(self, kind: str, major: int | None = None) -> tuple[CudaPart, ...]:
        """Those of a kind; with a CUDA major those of it, and those that may be."""
        return tuple(one for one in self.parts if one.kind == kind and (not major or one.major in (major, None)))


class KernelCompilers(NamedTuple):
    """One entry for each environment that has CuPy or numba."""

    environments: tuple[CudaParts, ...]

    def get(self, environment: PythonEnvironment) -> CudaParts | None:
        return next((one for one in self.environments if one.prefix == environment.prefix), None)


_USERS = ("cupy", "numba")
_MAJORS = ("11.2", "12", "13")  # as NVRTC's soname has them
# Below a toolkit, a wheel's folder in nvidia/, or the prefix of a conda environment.
_FILES = {
    "nvrtc": tuple(f"{folder}/libnvrtc.so.{major}" for folder in ("lib", "lib64") for major in _MAJORS),
    "headers": (
        *("include/cuda_fp16.h", "targets/x86_64-linux/include/cuda_fp16.h"),
        *("targets/sbsa-linux/include/cuda_fp16.h", "targets/aarch64-linux/include/cuda_fp16.h"),
    ),
    "nvvm": (
        *("nvvm/lib64/libnvvm.so", "nvvm/lib64/libnvvm.so.4", "lib/libnvvm.so.4", "lib/libnvvm.so"),
        *("lib64/libnvvm.so.4", "lib/x86_64-linux-gnu/libnvvm.so", "lib/x86_64-linux-gnu/libnvvm.so.4"),
    ),
    "libdevice": (
        *("nvvm/libdevice/libdevice.10.bc", "lib/libdevice.10.bc"),
        "lib/nvidia-cuda-toolkit/libdevice/libdevice.10.bc",
    ),
}


@fact
def kernel_compilers(
    host: Host,
    pythons: PythonEnvironments,
    toolkits: CudaToolkits | Unavailable,
    environment: Environment | Unavailable,
    cache: LoaderCache | Unavailable,
) -> KernelCompilers:
    """By names of files alone; none is opened."""
    users = [one for one in pythons.environments if one.having(*_USERS)]
    if not users:
        return KernelCompilers(())
    shared: list[str] = []
    common = (*_of_toolkits(host, toolkits, shared), *_of_loader(host, environment, cache, shared))
    found = []
    for one in users:
        problems: list[str] = []
        own = (*_of_wheels(host, one, problems), *_of_conda(host, one, problems))
        found.append(CudaParts(one.prefix, (*own, *common), (*problems, *shared)))
    return KernelCompilers(tuple(found))


def _of_wheels(host: Host, environment: PythonEnvironment, problems: list[str]) -> Iterator[CudaPart]:
    for location in environment.site_packages:
        try:
            names = host.list(f"{location}/nvidia") or ()
        except Unavailable as reason:
            problems.append(str(reason))
            continue
        for name in names:
            yield from _in(host, f"{location}/nvidia/{name}", "wheel", _major_of_wheel(environment, name), problems)


def _major_of_wheel(environment: PythonEnvironment, folder: str) -> int | None:
    """13 of "cu13"; from CUDA 12 backwards each wheel has its own folder, and tells it in its name."""
    digits = folder.removeprefix("cu")
    if digits.isdecimal():
        return int(digits)
    name = f"nvidia-{folder.replace('_', '-')}-cu"
    found = [one.name.removeprefix(name) for one in environment.having(name)]
    return int(found[0]) if len(found) == 1 and found[0].isdecimal() else None


def _of_conda(host: Host, environment: PythonEnvironment, problems: list[str]) -> Iterator[CudaPart]:
    if environment.kind == "conda":
        package = environment.conda_package("cuda-version", "cudatoolkit", "cuda-nvrtc", "cuda-nvcc")
        digits = package.version.partition(".")[0] if package else ""
        yield from _in(host, environment.prefix, "conda", int(digits) if digits.isdecimal() else None, problems)


def _of_toolkits(host: Host, toolkits: CudaToolkits | Unavailable, problems: list[str]) -> Iterator[CudaPart]:
    if isinstance(toolkits, Unavailable):
        problems.append(str(toolkits))
        return
    for toolkit in toolkits.toolkits:
        if toolkit.origin not in ("wheel", "conda"):
            yield from _in(host, toolkit.folder, "toolkit", toolkit.release[0] if toolkit.release else None, problems)


def _of_loader(
    host: Host, environment: Environment | Unavailable, cache: LoaderCache | Unavailable, problems: list[str]
) -> Iterator[CudaPart]:
    """NVRTC in LD_LIBRARY_PATH and in ld.so.cache, that every program can load."""
    folders = environment.folders("LD_LIBRARY_PATH") if isinstance(environment, Environment) else ()
    for major in _MAJORS:
        soname = f"libnvrtc.so.{major}"
        paths = [f"{folder}/{soname}" for folder in folders]
        paths += cache.paths(soname) if isinstance(cache, LoaderCache) else ()
        for path in paths:
            if _is_there(host, path, problems):
                yield CudaPart("nvrtc", path, "loader", int(major.partition(".")[0]))


def _in(host: Host, folder: str, origin: str, major: int | None, problems: list[str]) -> Iterator[CudaPart]:
    for kind, files in _FILES.items():
        for file in files:
            path = f"{folder}/{file}"
            if _is_there(host, path, problems):
                told = path.rpartition(".so.")[2].partition(".")[0] if kind == "nvrtc" else ""
                yield CudaPart(kind, path, origin, int(told) if told.isdecimal() else major)


def _is_there(host: Host, path: str, problems: list[str]) -> bool:
    try:
        return host.resolve(path) is not None
    except Unavailable as reason:
        problems.append(str(reason))
        return False
