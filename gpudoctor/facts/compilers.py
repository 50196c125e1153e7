"""Which C compilers are installed, and which of them builds what: plain `gcc` kernel modules, nvcc's own CUDA code."""

from typing import NamedTuple

from gpudoctor.facts.environment import Environment, programs
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.toolkits import CudaToolkits
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class HostCompilers(NamedTuple):
    """Installed gcc versions, from /usr/bin and the packages."""

    default: int | None  # major version of plain gcc, None if there is none or it cannot be told from files
    versions: tuple[int, ...]  # majors, ascending; plain gcc's is among them


@fact
def host_compilers(host: Host, packages: Packages | Unavailable) -> HostCompilers:
    """From names in /usr/bin, from what gcc leads to there, and from packages named gcc-N. Where gcc is a file of its
    own (Fedora, Arch), the version of the package gcc tells.
    """
    known = packages.installed() if isinstance(packages, Packages) else ()
    packaged = next((_major_in_version(package.version) for package in known if package.name == "gcc"), None)
    names = host.list("/usr/bin") or ()
    default = None
    if "gcc" in names:
        default = _major_in_name((host.resolve("/usr/bin/gcc") or "").rpartition("/")[2]) or packaged
    majors = {_major_in_name(name) for name in (*names, *(package.name for package in known))} | {default, packaged}
    return HostCompilers(default, tuple(sorted(major for major in majors if major is not None)))


def _major_in_name(name: str) -> int | None:
    """12 of "gcc-12" and "x86_64-linux-gnu-gcc-12", None for "gcc" and "gcc-ar-12"."""
    stem, _, number = name.rpartition("-")
    return int(number) if number.isdecimal() and (stem == "gcc" or stem.endswith("-gcc")) else None


def _major_in_version(version: str) -> int | None:
    """15 of "15.2.1-3.fc43", 12 of "4:12.2.0-3"."""
    number = version.rpartition(":")[2].partition(".")[0]
    return int(number) if number.isdecimal() else None


class NvccHostCompiler(NamedTuple):
    """The compiler that nvcc calls for the code of the host."""

    name: str  # "gcc", "g++-12", "clang++"; "" if there is none
    major: int | None  # None if it cannot be told from files
    path: str  # as it is named: "/usr/bin/gcc"; "" if what names it leads to nothing
    real_path: str  # with all links followed: "/usr/bin/x86_64-linux-gnu-gcc-12"
    source: str  # "PATH", "NVCC_CCBIN", "CUDAHOSTCXX", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", a folder

    @property
    def family(self) -> str:
        """ "gcc" or "clang": which of nvcc's limits holds; "" for any other compiler."""
        name = self.real_path.rpartition("/")[2] or self.name
        if "clang" in name:
            return "clang"
        return "gcc" if any(word in name for word in ("gcc", "g++", "c++")) or name == "cc" else ""


# They run the compiler of the same name that comes next on PATH.
_PASSING_ON = ("ccache", "sccache", "distcc", "icecc")


@fact
def nvcc_host_compiler(
    host: Host, environment: Environment | Unavailable, toolkits: CudaToolkits, packages: Packages | Unavailable
) -> NvccHostCompiler:
    """Of the nvcc that PATH finds: what a variable names, else the gcc beside nvcc, else the gcc on PATH.

    nvcc puts its own folder before PATH (nvcc.profile), and distributions lay a link to an older gcc there. CMake's
    CUDAHOSTCXX comes behind nvcc's own variables. What a build says on its command line nobody can know here.
    """
    for source, said in _said(environment):
        path = _named(host, environment, said)
        return _compiler(host, (path or said).rpartition("/")[2], path, source, packages)
    beside = toolkits.on_path.leads_to.rpartition("/")[0] if toolkits.on_path else ""
    if beside and beside != "/usr/bin" and host.exists(f"{beside}/gcc"):
        return _compiler(host, "gcc", f"{beside}/gcc", beside, packages)
    for path in programs(host, environment, "gcc"):
        if (host.resolve(path) or "").rpartition("/")[2] not in _PASSING_ON:
            known = isinstance(environment, Environment) and environment.folders("PATH")
            return _compiler(host, "gcc", path, "PATH" if known else path.rpartition("/")[0], packages)
    return NvccHostCompiler("", None, "", "", "PATH")


def _said(environment: Environment | Unavailable) -> list[tuple[str, str]]:
    """(variable, compiler) in the order of their force: flags before NVCC_CCBIN, later flags before earlier ones."""
    variables = environment.variables if isinstance(environment, Environment) else {}
    found = []
    for flags in ("NVCC_APPEND_FLAGS", "NVCC_PREPEND_FLAGS"):
        words = variables.get(flags, "").replace("=", " ").split()
        found += [
            (flags, words[place + 1])
            for place in range(len(words) - 2, -1, -1)
            if words[place] in ("-ccbin", "--compiler-bindir")
        ]
    return found + [(name, variables[name]) for name in ("NVCC_CCBIN", "CUDAHOSTCXX") if variables.get(name)]


def _named(host: Host, environment: Environment | Unavailable, said: str) -> str:
    """The path of a compiler that is given by path, by name, or by the folder that it lies in; "" if none is there."""
    if "/" not in said:
        return next(iter(programs(host, environment, said)), "")
    status = host.status(said)
    path = f"{said.rstrip('/')}/gcc" if status and status.kind == "directory" else said
    return path if host.exists(path) else ""


def _compiler(host: Host, name: str, path: str, source: str, packages: Packages | Unavailable) -> NvccHostCompiler:
    real = host.resolve(path) or "" if path else ""
    return NvccHostCompiler(name, _major_of(host, real, packages) if real else None, path, real, source)


def _major_of(host: Host, real: str, packages: Packages | Unavailable) -> int | None:
    """From the file's name (g++-12, clang-18), its folder (llvm-14), or the libraries that lie with the compiler."""
    folder, _, name = real.rpartition("/")
    number = name.rpartition("-")[2]
    if number.isdecimal():
        return int(number)
    prefix = folder.rpartition("/")[0]
    version = prefix.rpartition("/llvm")[2].removeprefix("-")
    if version.isdecimal():
        return int(version)
    if "clang" in name:
        return None
    if prefix == "/usr" and isinstance(packages, Packages) and (package := packages.get("gcc")):
        return _major_in_version(package.version)
    majors = {
        _major_in_version(version)
        for target in host.list(f"{prefix}/lib/gcc") or ()
        for version in host.list(f"{prefix}/lib/gcc/{target}") or ()
    } - {None}
    return majors.pop() if len(majors) == 1 else None
