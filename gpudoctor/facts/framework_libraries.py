"""Which CUDA libraries each framework would load, and from where: the loader's way followed through their ELF files."""

import re
from collections.abc import Iterator, Sequence
from os.path import normpath
from typing import NamedTuple

from gpudoctor.facts.elf import Elf, read_elf
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import Found, LoaderCache, find_library
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class LibraryUse(NamedTuple):
    """One library that a framework needs, directly or through another."""

    prefix: str  # of the environment
    framework: str  # "torch"
    soname: str  # "libcudnn.so.9"
    wanted_by: str  # the file that needs it
    found: Found | None  # what the loader takes, None: nothing
    undisturbed: Found | None  # what it would take without LD_LIBRARY_PATH

    @property
    def shadowed(self) -> bool:
        """Does LD_LIBRARY_PATH put another file in place of the one that the framework brought or found?"""
        if self.found is None or self.undisturbed is None or self.found.by != "LD_LIBRARY_PATH":
            return False
        return self.found.real_path != self.undisturbed.real_path


class FrameworkLibraries(NamedTuple):
    """All of all environments. `problems`: by environment prefix, ELF files that could not be read, and why."""

    uses: tuple[LibraryUse, ...]
    problems: tuple[tuple[str, str], ...] = ()

    def of(self, build: FrameworkBuild) -> tuple[LibraryUse, ...]:
        return tuple(
            use for use in self.uses if use.prefix == build.environment.prefix and use.framework == build.framework
        )

    def get(self, build: FrameworkBuild, beginning: str) -> LibraryUse | None:
        """The first whose name begins so: "libcudnn.so"."""
        return next((use for use in self.of(build) if use.soname.startswith(beginning)), None)


# NVIDIA's user-space libraries. libcuda and libnvidia-ml are the driver's, and judged with it.
_OURS = ("libcu", "libnv", "libnccl")
_NOT_OURS = ("libcuda.so", "libnvidia-")
# What is loaded first, below site-packages; a name that ends in "/" stands for all libraries in that folder.
_ROOTS = {
    "torch": ("torch/lib/libtorch_cuda.so", "torch/lib/libc10_cuda.so"),
    "tensorflow": ("tensorflow/libtensorflow_framework.so.2", "tensorflow/libtensorflow_cc.so.2"),
    "jax": ("jax_plugins/xla_cuda{major}/xla_cuda_plugin.so",),
    "onnxruntime": ("onnxruntime/capi/libonnxruntime_providers_cuda.so",),
    "cupy": ("cupy_backends/cuda/libs/",),
}
# These open their libraries by name when they are first needed: no ELF file lists them.
_OPEN_BY_NAME = ("tensorflow", "jax")
# These look into NVIDIA's wheels of their environment by themselves, where the loader finds nothing.
_LOOK_INTO_WHEELS = ("torch", "jax", "onnxruntime", "cupy")
BY_WHEELS = "NVIDIA's wheels in the environment"
_MOST = 60  # libraries of one framework; a real one needs about 20


@fact
def framework_libraries(
    host: Host, builds: FrameworkBuilds, environment: Environment, cache: LoaderCache
) -> FrameworkLibraries:
    """From DT_NEEDED, RPATH and RUNPATH of each file on the way. Builds without CUDA need nothing."""
    library_path = environment.folders("LD_LIBRARY_PATH")
    named = next(filter(None, (environment.variables.get(name) for name in ("CUDA_PATH", "CUDA_HOME"))), "")
    uses: list[LibraryUse] = []
    problems: list[tuple[str, str]] = []
    for build in builds.builds:
        if build.cuda is None or (build.framework == "jax" and build.distribution.name == "jaxlib"):
            continue
        walk = _Walk(host, build, library_path, cache, named)
        uses += walk.follow()
        problems += [(build.environment.prefix, problem) for problem in walk.problems]
    return FrameworkLibraries(tuple(uses), tuple(problems))


class _Walk:
    """The way through one framework's libraries."""

    def __init__(
        self, host: Host, build: FrameworkBuild, library_path: Sequence[str], cache: LoaderCache, toolkit: str
    ) -> None:
        self._host, self._build, self._library_path, self._cache = host, build, library_path, cache
        self._toolkit = toolkit  # what CUDA_PATH or CUDA_HOME names
        self._wheels: list[str] | None = None
        self.problems: list[str] = []

    def follow(self) -> Iterator[LibraryUse]:
        pending = [(path, elf) for path in self._roots() if (elf := self._elf(path)) is not None]
        if pending and self._build.framework in _OPEN_BY_NAME:
            path, elf = pending[0]
            # TensorFlow opens them from both of its libraries; in 2.21 each has only some of the wheels in its RUNPATH.
            folders = (*elf.runpath, *(folder for other, its in pending[1:] for folder in _from(its.runpath, other)))
            pending[0] = (path, elf._replace(needed=(*elf.needed, *self._opened_by_name()), runpath=folders))
        seen: set[str] = set()
        while pending and len(seen) < _MOST:
            path, elf = pending.pop(0)
            for soname in elf.needed:
                if soname in seen or not soname.startswith(_OURS) or soname.startswith(_NOT_OURS):
                    continue
                seen.add(soname)  # the first that is loaded under a name serves all
                found = self._find(soname, path, elf, self._library_path)
                undisturbed = self._find(soname, path, elf, ()) if self._library_path else found
                build = self._build
                yield LibraryUse(build.environment.prefix, build.framework, soname, path, found, undisturbed)
                further = self._elf(found.real_path) if found else None
                if found and further:
                    # A DT_RPATH serves also what the library loads in turn, unless that has a RUNPATH of its own.
                    inherited = () if further.runpath or elf.runpath else _from(elf.rpath, path)
                    # $ORIGIN is the folder that the loader found it in, links not followed: uv can lay out an
                    # environment as links to its cache.
                    pending.append((normpath(found.path), further._replace(rpath=(*further.rpath, *inherited))))

    def _roots(self) -> Iterator[str]:
        for root in _ROOTS[self._build.framework]:
            major = self._build.cuda[0] if self._build.cuda else 0
            path = f"{self._build.distribution.location}/{root.format(major=major)}"
            if not path.endswith("/"):
                yield self._behind(path)
                continue
            try:
                names = self._host.list(path) or ()
            except Unavailable as reason:
                self.problems.append(str(reason))
                continue
            yield from (path + name for name in names if name.endswith(".so"))

    def _behind(self, path: str) -> str:
        """conda keeps torch's libraries in lib of its prefix, where torch._C finds them, and links to them here."""
        if self._build.environment.kind != "conda":
            return path
        try:
            return self._host.resolve(path) or path
        except Unavailable as reason:
            self.problems.append(str(reason))
            return path

    def _opened_by_name(self) -> tuple[str, ...]:
        from gpudoctor.knowledge.cuda import library_sonames  # here for start-up: TensorFlow and JAX only

        if self._build.cuda is None:
            return ()
        return (*library_sonames(self._build.cuda[0]), *self._cudnn())

    def _cudnn(self) -> Iterator[str]:
        """TensorFlow tells the major version of cuDNN itself, of JAX's plugin the wheels that it asks for do."""
        major = self._build.cudnn.partition(".")[0]
        for requirement in self._build.distribution.requires:
            if not major and requirement.startswith("nvidia-cudnn"):
                found = re.search(r">=\s*([0-9]+)", requirement)
                major = found[1] if found else ""
        if major.isdecimal():
            yield f"libcudnn.so.{major}"

    def _elf(self, path: str) -> Elf | None:
        try:
            return read_elf(self._host, path)
        except Unavailable as reason:
            self.problems.append(str(reason))
            return None

    def _find(self, soname: str, path: str, elf: Elf, library_path: Sequence[str]) -> Found | None:
        try:
            found = find_library(self._host, soname, path, elf, library_path, self._cache)
            if found is None and self._build.framework in _LOOK_INTO_WHEELS:
                found = self._in_wheels(soname) or self._by_pathfinder(soname)
        except Unavailable as reason:
            self.problems.append(str(reason))
            return None
        return found

    def _in_wheels(self, soname: str) -> Found | None:
        if self._wheels is None:
            folders = (f"{location}/nvidia" for location in self._build.environment.site_packages)
            self._wheels = [f"{folder}/{name}/lib" for folder in folders for name in self._host.list(folder) or ()]
        for folder in self._wheels:
            real = self._host.resolve(f"{folder}/{soname}")
            if real:
                return Found(f"{folder}/{soname}", real, BY_WHEELS)
        return None

    def _by_pathfinder(self, soname: str) -> Found | None:
        """CuPy from 14 on asks cuda-pathfinder, which also looks into conda's prefix and CUDA_PATH, else CUDA_HOME."""
        environment = self._build.environment
        if self._build.framework != "cupy" or environment.get("cuda-pathfinder") is None:
            return None
        folders = [f"{environment.prefix}/lib"] * (environment.kind == "conda")
        if self._toolkit.startswith("/"):
            folders += [f"{self._toolkit.rstrip('/')}/{name}" for name in ("lib64", "lib")]
        for folder in folders:
            real = self._host.resolve(f"{folder}/{soname}")
            if real:
                return Found(f"{folder}/{soname}", real, "cuda-pathfinder")
        return None


def _from(rpath: Sequence[str], path: str) -> tuple[str, ...]:
    """The folders of an RPATH, spelled out: what inherits them lies elsewhere."""
    folder = path.rpartition("/")[0]
    return tuple(entry.replace("${ORIGIN}", folder).replace("$ORIGIN", folder) for entry in rpath)
