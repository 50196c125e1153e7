"""The cuDNN and the NCCL that each framework would really load, with their versions, told from files."""

import re
from collections.abc import Iterator, Sequence
from os.path import normpath
from typing import NamedTuple

from gpudoctor.facts.cudnn import CudnnFolder, cudnn_in
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.elf import read_elf
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import Found, LoaderCache, find_library
from gpudoctor.facts.nccl import nccl_in
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class CudnnPart(NamedTuple):
    """One sub-library, as the loader takes it for the main one."""

    soname: str  # "libcudnn_ops.so.9"
    found: Found
    version: str  # "9.10.2", "" unknown
    source: str  # the file that tells the version, "" none


class FrameworkCudnn(NamedTuple):
    """The cuDNN of one framework. `parts`: its sub-libraries; () where it has none."""

    build: FrameworkBuild
    use: LibraryUse  # of "libcudnn.so.9"
    main: CudnnPart
    parts: tuple[CudnnPart, ...]

    @property
    def acting(self) -> CudnnPart:
        """The part whose version cudnnGetVersion tells. From cuDNN 9 on the main library only passes calls on."""
        for name in ("libcudnn_graph.so.", "libcudnn_ops_infer.so."):
            for part in self.parts:
                if part.soname.startswith(name):
                    return part
        return self.main

    @property
    def mixed(self) -> tuple[CudnnPart, ...]:
        """One part of each minor version, where the sub-libraries are of several; () where they agree.

        The main library may be of another version: cuDNN 9 works so, and acts as its sub-libraries do.
        """
        by_version = {minor(part.version): part for part in reversed(self.parts) if part.version}
        if len(by_version) < 2:
            return ()
        from gpudoctor.knowledge.cudnn import cudnn_line  # here for start-up: nearly all agree

        line = cudnn_line(minor(self.acting.version))
        if line is not None:  # what an older or newer release left behind is not opened
            names = tuple(f"libcudnn_{name}.so." for name in line.sublibraries)
            by_version = {v: part for v, part in by_version.items() if part.soname.startswith(names)}
        return tuple(by_version[version] for version in sorted(by_version)) if len(by_version) > 1 else ()


class FrameworkNccl(NamedTuple):
    """The NCCL of one framework."""

    build: FrameworkBuild
    use: LibraryUse  # of "libnccl.so.2"
    version: str  # "2.27.5", "" unknown
    source: str  # the file that tells it


class FrameworkCudnns(NamedTuple):
    """All of all environments. `problems`: builds of which it could not be told, and why."""

    cudnns: tuple[FrameworkCudnn, ...]
    problems: tuple[tuple[FrameworkBuild, str], ...] = ()


class FrameworkNccls(NamedTuple):
    """All of all environments; `problems` as of cuDNN."""

    nccls: tuple[FrameworkNccl, ...]
    problems: tuple[tuple[FrameworkBuild, str], ...] = ()


class BundledCudnn(NamedTuple):
    """A distribution that brings the main library of cuDNN, renamed, and opens the sub-libraries of another."""

    environment: PythonEnvironment
    distribution: Distribution
    path: str  # ".../ctranslate2.libs/libcudnn-74a4c495.so.9.1.0"
    soname: str  # the first that it opens: "libcudnn_ops.so.9"
    found: str  # where that lies: for the loader, or in NVIDIA's wheel of the environment; "" nowhere

    @property
    def major(self) -> int:
        return int(self.soname.rpartition(".")[2])


class BundledCudnns(NamedTuple):
    """All of all environments; `problems`: (environment, what could not be told, and why)."""

    found: tuple[BundledCudnn, ...]
    problems: tuple[tuple[PythonEnvironment, str], ...] = ()


def minor(version: str) -> tuple[int, ...]:
    """(9, 10) of "9.10.2"; () of what is no version."""
    words = version.split(".")[:2]
    return tuple(map(int, words)) if len(words) == 2 and all(word.isdecimal() for word in words) else ()


@fact
def framework_cudnns(
    host: Host, builds: FrameworkBuilds, libraries: FrameworkLibraries, environment: Environment, cache: LoaderCache
) -> FrameworkCudnns:
    """Each sub-library is looked for as the main one would: LD_LIBRARY_PATH comes before a RUNPATH."""
    found: list[FrameworkCudnn] = []
    problems: list[tuple[FrameworkBuild, str]] = []
    for build, use in _uses(builds, libraries, "libcudnn.so."):
        look = _Look(host, build)
        try:
            found.append(look.cudnn(use, environment.folders("LD_LIBRARY_PATH"), cache))
        except Unavailable as reason:
            problems.append((build, str(reason)))
    return FrameworkCudnns(tuple(found), tuple(problems))


@fact
def framework_nccls(host: Host, builds: FrameworkBuilds, libraries: FrameworkLibraries) -> FrameworkNccls:
    """The version stands in the file's name, in nccl.h beside it, or in the name of the wheel that it came in."""
    found: list[FrameworkNccl] = []
    problems: list[tuple[FrameworkBuild, str]] = []
    for build, use in _uses(builds, libraries, "libnccl.so."):
        assert use.found is not None
        folder = use.found.path.rpartition("/")[0]
        try:
            library = nccl_in(host, folder)
        except Unavailable as reason:
            problems.append((build, str(reason)))
            continue
        version, source = (library.version, library.real_path) if library and library.version else ("", "")
        if not version:
            version, source = _by_wheel(build, folder, "nccl")
        found.append(FrameworkNccl(build, use, version, source))
    return FrameworkNccls(tuple(found), tuple(problems))


@fact
def bundled_cudnns(
    host: Host, pythons: PythonEnvironments, environment: Environment, cache: LoaderCache
) -> BundledCudnns:
    """Of CTranslate2, which faster-whisper and others use."""
    found: list[BundledCudnn] = []
    problems: list[tuple[PythonEnvironment, str]] = []
    for one in pythons.environments:
        distribution = one.get("ctranslate2")
        if distribution is not None:
            try:
                found += _bundled(host, one, distribution, environment.folders("LD_LIBRARY_PATH"), cache)
            except Unavailable as reason:
                problems.append((one, str(reason)))
    return BundledCudnns(tuple(found), tuple(problems))


_BUNDLED = re.compile(r"libcudnn-[0-9a-f]{8}\.so\.([0-9]+)(?:\.[0-9]+)*")


def _bundled(
    host: Host, environment: PythonEnvironment, one: Distribution, library_path: Sequence[str], cache: LoaderCache
) -> Iterator[BundledCudnn]:
    folder = f"{one.location}/{one.name}.libs"
    for name in host.list(folder) or ():
        match = _BUNDLED.fullmatch(name)
        if match is None:
            continue
        path = f"{folder}/{name}"
        soname = f"libcudnn_{'ops' if int(match[1]) > 8 else 'ops_infer'}.so.{int(match[1])}"
        elf = read_elf(host, path)
        taken = find_library(host, soname, path, elf, library_path, cache) if elf else None
        places = [f"{location}/nvidia/cudnn/lib/{soname}" for location in environment.site_packages]
        # The wheel's is found if something that looks into wheels, such as torch, has loaded it before.
        in_wheels = next((place for place in places if host.exists(place)), "")
        yield BundledCudnn(environment, one, path, soname, taken.path if taken else in_wheels)


def _uses(
    builds: FrameworkBuilds, libraries: FrameworkLibraries, beginning: str
) -> Iterator[tuple[FrameworkBuild, LibraryUse]]:
    for build in builds.builds:
        # jaxlib beside a plugin is built for no CUDA.
        use = libraries.get(build, beginning) if build.cuda else None
        if use is not None and use.found is not None:
            yield build, use._replace(found=_plain(use.found))


def _plain(found: Found) -> Found:
    """With a path that a person can read: an RPATH leads to "torch/lib/../../nvidia/cudnn/lib"."""
    return found._replace(path=normpath(found.path))


class _Look:
    """One framework's way into the folders with cuDNN, each looked into once."""

    def __init__(self, host: Host, build: FrameworkBuild) -> None:
        self._host, self._build = host, build
        self._folders: dict[str, CudnnFolder | None] = {}

    def cudnn(self, use: LibraryUse, library_path: Sequence[str], cache: LoaderCache) -> FrameworkCudnn:
        main = use.found
        assert main is not None
        elf = read_elf(self._host, main.path)
        here = self._folder(main.path)
        major = use.soname.rpartition(".")[2]
        names = [one.soname for one in here.of(int(major))] if here and major.isdecimal() else []
        parts = []
        for soname in names:
            if soname.startswith("libcudnn_") and elf is not None:
                found = find_library(self._host, soname, main.path, elf, library_path, cache)
                if found is not None:
                    parts.append(self._part(soname, _plain(found)))
        return FrameworkCudnn(self._build, use, self._part(use.soname, main), tuple(parts))

    def _part(self, soname: str, found: Found) -> CudnnPart:
        return CudnnPart(soname, found, *self._version(soname, found))

    def _version(self, soname: str, found: Found) -> tuple[str, str]:
        here = self._folder(found.path)
        named = next((one.version for one in here.libraries if one.soname == soname), "") if here else ""
        if named:
            return named, found.real_path
        major = soname.rpartition(".")[2]
        # Beside a link to one library there is no header, but beside what it leads to.
        for folder in (here, self._folder(found.real_path)):
            if folder and folder.header and folder.header.version.startswith(f"{major}."):
                return folder.header.version, folder.header.path
        return _by_wheel(self._build, found.path.rpartition("/")[0], "cudnn")

    def _folder(self, path: str) -> CudnnFolder | None:
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            self._folders[folder] = cudnn_in(self._host, folder)
        return self._folders[folder]


def _by_wheel(build: FrameworkBuild, folder: str, library: str) -> tuple[str, str]:
    """The version of the one wheel that brings a folder's files, and its METADATA; ("", "") without exactly one."""
    wheels = [
        one
        for one in build.environment.having(f"nvidia-{library}-cu")
        if folder == f"{one.location}/nvidia/{library}/lib"
    ]
    return (wheels[0].version, f"{wheels[0].folder}/METADATA") if len(wheels) == 1 else ("", "")
