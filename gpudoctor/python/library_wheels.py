"""CUDA libraries and the wheels that bring them: which of them a framework lacks, and which another file displaces."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import Found, LoaderCache
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.host import Unavailable

# The piece of the wheel's name: nvidia-cublas-cu12, and nvidia-cublas for CUDA 13.
_PIECES = {
    "libcublas": "cublas",
    "libcublasLt": "cublas",
    "libcudart": "cuda-runtime",
    "libcufft": "cufft",
    "libcufile": "cufile",
    "libcupti": "cuda-cupti",
    "libcurand": "curand",
    "libcusolver": "cusolver",
    "libcusolverMg": "cusolver",
    "libcusparse": "cusparse",
    "libcusparseLt": "cusparselt",
    "libnccl": "nccl",
    "libnvJitLink": "nvjitlink",
    "libnvToolsExt": "nvtx",
    "libnvrtc": "cuda-nvrtc",
    "libnvshmem_host": "nvshmem",
}
# Modules of CuPy that nothing needs but who asks for them; and what has checks of its own.
_OPTIONAL = {"cupy": ("libcutensor", "libcusparseLt", "libnvshmem"), "jax": ("libnvshmem",)}
_ELSEWHERE = ("libcudnn", "libnccl")


def wheel_piece(soname: str) -> str:
    """ "cuda-runtime" of "libcudart.so.12", "" unknown."""
    stem = soname.partition(".so")[0]
    return _PIECES.get(stem) or ("cudnn" if stem.startswith("libcudnn") else "")


def brings_library(name: str) -> bool:
    """Is this one of NVIDIA's wheels with a library that keeps its interface through a major version?"""
    piece = re.sub(r"-cu\d+$", "", name.removeprefix("nvidia-"))
    kept = {*_PIECES.values(), "cudnn"} - {"cusparselt"}  # still at 0: every release may change it
    return name.startswith("nvidia-") and piece in kept


def _wheel_major(name: str, piece: str) -> int | None:
    """The CUDA major of a wheel: 12 of "nvidia-cublas-cu12"; names without a number came with 13."""
    if name == f"nvidia-{piece}":
        return 13
    suffix = name.removeprefix(f"nvidia-{piece}-cu")
    return int(suffix) if suffix.isdecimal() else None


def version_of_file(environment: PythonEnvironment, soname: str, found: Found) -> str:
    """ "12.4.5.8", from the name of the file, else from the wheel that it is of; "" where neither tells."""
    version = found.real_path.rpartition(".so.")[2]
    if "." in version:
        return version
    piece = wheel_piece(soname)
    if not piece or "/site-packages/nvidia/" not in found.real_path:
        return ""
    # Wheels for CUDA 13 share one folder, nvidia/cu13; older ones have one each, and only one of a piece fits in it.
    in_shared = re.search(r"/site-packages/nvidia/cu(\d+)/", found.real_path)
    wheels = [one for one in environment.having(f"nvidia-{piece}") if _wheel_major(one.name, piece)]
    if in_shared:
        wheels = [one for one in wheels if _wheel_major(one.name, piece) == int(in_shared[1])]
    return wheels[0].version if len(wheels) == 1 else ""


def missing_libraries(
    build: FrameworkBuild, libraries: FrameworkLibraries, gpus: ComputeGpus | Unavailable
) -> tuple[LibraryUse, ...]:
    """What a framework needs and the loader does not find.

    TensorFlow and onnxruntime have checks of their own, and so has cuDNN. torch is linked with its libraries and
    cannot even be imported without; the others need them on a GPU only.
    """
    if build.cuda is None or build.framework in ("tensorflow", "onnxruntime"):
        return ()
    if build.framework != "torch" and isinstance(gpus, ComputeGpus) and not gpus.gpus:
        return ()
    passed = (*_ELSEWHERE, *_OPTIONAL.get(build.framework, ()))
    return tuple(use for use in libraries.of(build) if use.found is None and not use.soname.startswith(passed))


class OtherMajor(NamedTuple):
    """A library of the same name with another number."""

    source: str  # the dist-info folder of a wheel, or "ld.so.cache"
    value: str  # "nvidia-cublas-cu12 12.4.5.8", "libcublas.so.12"


def others_present(build: FrameworkBuild, soname: str, cache: LoaderCache) -> tuple[OtherMajor, ...]:
    """Wheels of the environment for another CUDA major, then what ld.so.cache lists."""
    stem, _, number = soname.partition(".so.")
    piece, major = wheel_piece(soname), build.cuda[0] if build.cuda else 0
    found = [
        OtherMajor(one.folder, f"{one.name} {one.version}")
        for one in (build.environment.having(f"nvidia-{piece}") if piece else ())
        if _wheel_major(one.name, piece) not in (None, major)
    ]
    for name in cache.sonames(f"{stem}.so."):
        if name.partition(".so.")[2].partition(".")[0] != number.partition(".")[0]:
            found.append(OtherMajor("ld.so.cache", name))
    return tuple(found)


class Order(NamedTuple):
    """What to install so that the missing libraries are there."""

    requirements: tuple[str, ...]
    index_url: str = ""


def order_for(build: FrameworkBuild, missing: Iterable[LibraryUse]) -> Order:
    """The wheels as the framework's METADATA pins them; else the framework itself, with what brings its libraries."""
    from gpudoctor.python.installers import index_of  # here for start-up: only findings need them
    from gpudoctor.python.wheel_pins import pins_of

    pieces = {wheel_piece(use.soname) for use in missing} - {""}
    one, version = build.distribution, build.distribution.version
    if build.framework == "jax" and build.cuda:
        # It asks for all of them or for none, as with jax[cuda12-local].
        own = build.environment.get("jax") or build.environment.get("jaxlib") or one
        return Order((f"jax[cuda{build.cuda[0]}]=={own.release}",))
    asked = pins_of(one, build.environment, "nvidia-")
    wheels = [pin for pin in asked if re.sub(r"-cu\d+$", "", pin.wheel).removeprefix("nvidia-") in pieces]
    named = {re.sub(r"-cu\d+$", "", pin.wheel).removeprefix("nvidia-") for pin in wheels}
    if wheels and named == pieces:
        return Order(tuple(dict.fromkeys(pin.requirement for pin in wheels)))
    if one.name.startswith("cupy-cuda") and build.cuda:
        if version_key(one.release)[:1] >= (14,):
            return Order((f"{one.name}[ctk]=={one.release}",))
        suffix = f"-cu{build.cuda[0]}" if build.cuda[0] < 13 else ""
        if pieces:
            return Order(tuple(f"nvidia-{piece}{suffix}" for piece in sorted(pieces)))
    # Its version is met already, and an installer then looks whether what it requires is there.
    return Order((f"{one.name}=={version}",), index_of(build.version))


class Shadow(NamedTuple):
    """A file that comes before the one that a framework brought along. Versions are "" where nothing tells."""

    build: FrameworkBuild
    use: LibraryUse
    version: str  # of the file that is taken
    displaced: Found
    displaced_version: str
    enough: str = ""  # the least version that the framework asks for, where it takes more than one: "9.3.0.75"

    @property
    def folder(self) -> str:
        """The folder as LD_LIBRARY_PATH or ld.so.conf names it."""
        return self.use.found.path.rpartition("/")[0].rstrip("/") if self.use.found else ""

    @property
    def by(self) -> str:
        return self.use.found.by if self.use.found else ""

    @property
    def compatible(self) -> bool:
        """Known to be of the same or a newer minor release: that serves what was built for older ones of its major."""
        return self._minors is not None and not self.older

    @property
    def older(self) -> bool:
        """Known to be of an older minor release, and not enough for what takes it."""
        if self._minors is None or self._minors[0] >= self._minors[1]:
            return False
        if self.use.soname.startswith("libnvJitLink"):  # enough for those of its own release, which lie beside it
            return self.use.wanted_by.rpartition("/")[0] != self.folder
        enough = version_key(self.enough)[:2]
        return not enough or enough[:1] != self._minors[0][:1] or self._minors[0] < enough

    @property
    def _minors(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        if not (self.version and self.displaced_version):
            return None
        return version_key(self.version)[:2], version_key(self.displaced_version)[:2]


def shadows(builds: FrameworkBuilds, libraries: FrameworkLibraries) -> Iterator[Shadow]:
    """What LD_LIBRARY_PATH puts before the framework's own; and what ld.so.conf does, where the framework looks into
    NVIDIA's wheels only after the loader found nothing, and has an older one than the wheel.
    """
    for build in builds.builds:
        for use in libraries.of(build):
            if use.found is None:
                continue
            version = version_of_file(build.environment, use.soname, use.found)
            if use.shadowed and use.undisturbed:
                own = version_of_file(build.environment, use.soname, use.undisturbed)
                yield Shadow(build, use, version, use.undisturbed, own, _least(build, use.soname))
            elif use.found.by == "ld.so.cache":
                wheel = _wheel_beside(build, use)
                found = Shadow(build, use, version, *wheel) if wheel else None
                if found and found.older:
                    yield found


def _least(build: FrameworkBuild, soname: str) -> str:
    from gpudoctor.python.wheel_pins import pin_of  # here for start-up: only where LD_LIBRARY_PATH shadows something

    piece = wheel_piece(soname)
    pin = pin_of(build, f"nvidia-{piece}") if piece else None
    return pin.least if pin and not pin.exact else ""


def _wheel_beside(build: FrameworkBuild, use: LibraryUse) -> tuple[Found, str] | None:
    """The wheel of the environment that brings this library too, and its version."""
    piece, major = wheel_piece(use.soname), build.cuda[0] if build.cuda else 0
    for one in build.environment.having(f"nvidia-{piece}") if piece else ():
        if _wheel_major(one.name, piece) == major:
            return Found(one.folder, one.folder, f"{one.name} {one.version}"), one.version
    return None
