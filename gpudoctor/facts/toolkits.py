"""CUDA toolkits: each one on the machine, and which of them PATH, CUDA_HOME and the loader lead to. By files alone."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gpudoctor.facts.cuda_release import release_in
from gpudoctor.facts.environment import Environment, programs
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.facts.toolkit_versions import header_of, limits_of, version_of
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class Toolkit(NamedTuple):
    """One toolkit; "" and None for what its files do not tell."""

    folder: str  # "/usr/local/cuda-13.0"
    real_folder: str  # with all links followed
    version: str  # "13.0.2" or "13.0"
    version_source: str  # the file that told it
    nvcc: str  # "/usr/local/cuda-13.0/bin/nvcc", "" in a toolkit of libraries only
    header_version: str  # "13.0", of cuda.h
    header: str  # the path of that cuda.h
    gcc_limit: int | None  # the newest gcc that nvcc accepts
    clang_limit: int | None
    limits_source: str  # the path of host_config.h
    origin: str  # "local" (NVIDIA's packages or runfile), "distribution", "conda", "wheel"
    found_by: tuple[str, ...]  # "/usr/local", "CUDA_HOME", "PATH"...

    @property
    def release(self) -> tuple[int, int] | None:
        """(13, 0) of version "13.0.2"."""
        return release_in(self.version)


class DefaultLink(NamedTuple):
    """/usr/local/cuda, that guides and build scripts name."""

    links: tuple[tuple[str, str], ...]  # (path, target) of each link on the way; () if it is a folder of its own
    real_folder: str  # "" if the links lead to nothing
    toolkit: Toolkit | None

    @property
    def dangling(self) -> bool:
        return not self.real_folder


class NvccOnPath(NamedTuple):
    """What a shell runs for `nvcc`."""

    path: str  # "/usr/local/bin/nvcc"
    leads_to: str  # the program behind links and wrapper scripts, "" if a script does not tell
    wrappers: tuple[str, ...]  # the scripts on the way
    toolkit: Toolkit | None


class NamedToolkit(NamedTuple):
    """What CUDA_HOME or CUDA_PATH says."""

    variable: str
    value: str
    problem: str  # "" or why it names no toolkit: "there is no such folder", "it is a list of folders"...
    toolkit: Toolkit | None


class LoaderChoice(NamedTuple):
    """A library of a toolkit that every program gets from ld.so.cache."""

    soname: str  # "libcudart.so.12"
    path: str
    real_path: str
    toolkit: Toolkit | None  # None: of no toolkit above, as distributions' own in /usr/lib


class CudaToolkits(NamedTuple):
    """All toolkits that were found, and what names one of them."""

    toolkits: tuple[Toolkit, ...]
    default_link: DefaultLink | None  # None: there is no /usr/local/cuda
    on_path: NvccOnPath | None  # None: no nvcc, or nobody knows PATH (see `unknown`)
    by_variable: tuple[NamedToolkit, ...]  # in the order in which build scripts ask: CUDA_HOME, CUDA_PATH
    by_loader: tuple[LoaderChoice, ...]
    unknown: str = ""  # why PATH and CUDA_HOME are not known, "" if they are
    unread: tuple[str, ...] = ()  # what could not be looked into: toolkits may be missing above

    @property
    def by_cuda_home(self) -> NamedToolkit | None:
        return next(iter(self.by_variable), None)


_LOCAL = "/usr/local"
_DEFAULT = f"{_LOCAL}/cuda"
# Debian's and Ubuntu's package: programs, and the folder that looks like a toolkit to build scripts; the headers lie
# in /usr/include (Debian) or /usr/include/cuda (Fedora's third-party packages).
_PACKAGED = ("/usr/lib/cuda", "/usr/lib/nvidia-cuda-toolkit", "/usr")
_VARIABLES = ("CUDA_HOME", "CUDA_PATH")
_SONAMES = ("libcudart.so.", "libcublas.so.")


@fact
def cuda_toolkits(host: Host, environment: Environment | Unavailable, cache: LoaderCache | Unavailable) -> CudaToolkits:
    """From the folders in which toolkits lie, and those that PATH, CUDA_HOME, CUDA_PATH and CONDA_PREFIX name."""
    variables = environment.variables if isinstance(environment, Environment) else {}
    unknown = environment.unknown if isinstance(environment, Environment) else str(environment)
    unread: list[str] = []
    nvcc = None if unknown else _nvcc_on_path(host, environment, variables)
    found: dict[str, Toolkit] = {}
    for folder, found_by in _places(host, variables, nvcc, unread):
        try:
            toolkit = toolkit_in(host, folder, found_by)
        except Unavailable as reason:
            unread.append(str(reason))
            continue
        if toolkit is not None:
            known = found.get(toolkit.real_folder)
            # Of two names for one folder the real one stays: /usr/local/cuda is a link to it.
            kept = toolkit if known is None or toolkit.folder == toolkit.real_folder else known
            before = known.found_by if known else ()
            found[toolkit.real_folder] = kept._replace(found_by=tuple(dict.fromkeys((*before, found_by))))
    toolkits = tuple(found.values())
    return CudaToolkits(
        toolkits,
        _default_link(host, toolkits),
        nvcc and nvcc._replace(toolkit=_owner(nvcc.leads_to, toolkits)),
        tuple(_named(host, name, variables[name], toolkits) for name in _VARIABLES if variables.get(name)),
        tuple(_loader_choices(host, cache, toolkits)) if isinstance(cache, LoaderCache) else (),
        unknown,
        tuple(dict.fromkeys(unread)),
    )


def toolkit_in(host: Host, folder: str, found_by: str) -> Toolkit | None:
    """The toolkit in a folder; None if it holds neither nvcc, nor cuda.h, nor a runtime library, nor a version file."""
    folder = folder.rstrip("/")
    real = host.resolve(folder) if folder else None
    if real is None:
        return None
    packaged = real in _PACKAGED
    if packaged:
        folder = real = next(place for place in _PACKAGED if host.exists(place))
    nvcc = next((path for path in _nvccs(folder, packaged) if host.exists(path)), "")
    if packaged and not nvcc:  # /usr has headers and libraries of everybody
        return None
    headers = ("/usr/include", "/usr/include/cuda") if packaged else ()
    header, header_version = header_of(host, folder, headers)
    version, source = version_of(host, folder, header, header_version)
    origin = _origin(host, real, packaged)
    # A conda environment that only pins a CUDA version, and a folder in which nothing but its name is left, are none.
    if not (nvcc or header or (version and source != folder and origin != "conda")):
        return None
    limits = limits_of(host, folder, headers) if nvcc or header else (None, None, "")
    return Toolkit(folder, real, version, source, nvcc, header_version, header, *limits, origin, (found_by,))


def _nvccs(folder: str, packaged: bool) -> tuple[str, ...]:
    return ("/usr/lib/nvidia-cuda-toolkit/bin/nvcc", "/usr/bin/nvcc") if packaged else (f"{folder}/bin/nvcc",)


def _origin(host: Host, folder: str, packaged: bool) -> str:
    if packaged or folder == "/opt/cuda":  # Arch
        return "distribution"
    if "/site-packages/" in folder:
        return "wheel"
    return "conda" if host.exists(f"{folder}/conda-meta") else "local"


def _places(
    host: Host, variables: Mapping[str, str], nvcc: NvccOnPath | None, unread: list[str]
) -> Iterator[tuple[str, str]]:
    """(folder, what named it), each that may hold a toolkit."""
    for parent in (_LOCAL, "/opt"):
        try:
            names = host.list(parent) or ()
        except Unavailable as reason:
            unread.append(str(reason))
            continue
        yield from ((f"{parent}/{name}", parent) for name in names if name.startswith("cuda"))
    if host.exists("/usr/bin/nvcc") or host.exists("/usr/lib/nvidia-cuda-toolkit/bin/nvcc"):
        leads_to = _behind(host, "/usr/bin/nvcc", {})[0]
        if not leads_to or _folder_of(leads_to) in _PACKAGED:  # else it is a link to a toolkit elsewhere
            yield _PACKAGED[0] if host.exists(_PACKAGED[0]) else _PACKAGED[-1], "/usr/bin"
    for name in (*_VARIABLES, "CONDA_PREFIX"):
        if variables.get(name, "").startswith("/"):
            yield variables[name], name
    if nvcc and nvcc.leads_to:
        yield _folder_of(nvcc.leads_to), "PATH"


def _folder_of(nvcc: str) -> str:
    return nvcc.rpartition("/")[0].rpartition("/")[0]


def _owner(path: str, toolkits: tuple[Toolkit, ...]) -> Toolkit | None:
    """The toolkit that a file with all links followed is part of: the one in the deepest folder."""
    if not path:
        return None
    if any(path.startswith(f"{place}/bin/") for place in _PACKAGED):
        return next((toolkit for toolkit in toolkits if toolkit.real_folder in _PACKAGED), None)
    owners = [toolkit for toolkit in toolkits if path.startswith(f"{toolkit.real_folder}/")]
    return max((o for o in owners if o.real_folder != "/usr"), key=lambda o: len(o.real_folder), default=None)


def _nvcc_on_path(
    host: Host, environment: Environment | Unavailable, variables: Mapping[str, str]
) -> NvccOnPath | None:
    for path in programs(host, environment, "nvcc"):
        leads_to, wrappers = _behind(host, path, variables)
        if leads_to.rpartition("/")[2] != "ccache":  # it runs the next nvcc on PATH
            return NvccOnPath(path, leads_to, wrappers, None)
    return None


def _behind(host: Host, path: str, variables: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The program behind links and scripts of one `exec`, and those scripts; "" where that cannot be told."""
    wrappers: list[str] = []
    try:
        while len(wrappers) < 5:
            real = host.resolve(path) or ""
            if not real or host.read_bytes(real, 2) != b"#!":
                return real, tuple(wrappers)
            wrappers.append(real)
            path = _target(host.read(real, first=4096) or "", variables)
    except Unavailable:
        pass
    return "", tuple(wrappers)


def _target(script: str, variables: Mapping[str, str]) -> str:
    """/usr/local/cuda-13.0/bin/nvcc of `exec /usr/local/cuda-13.0/bin/nvcc "$@"`."""
    for line in script.splitlines():
        for word in () if line.lstrip().startswith("#") else line.split():
            word = word.strip("\"'")
            for name, value in variables.items():
                word = word.replace(f"${{{name}}}", value).replace(f"${name}/", f"{value}/")
            if word.startswith("/") and word.endswith("/nvcc") and "$" not in word:
                return word
    return ""


def _default_link(host: Host, toolkits: tuple[Toolkit, ...]) -> DefaultLink | None:
    links: list[tuple[str, str]] = []
    path = _DEFAULT
    try:
        # Commonly /usr/local/cuda, /etc/alternatives/cuda, /usr/local/cuda-12.4.
        while (target := host.link(path)) is not None and len(links) < 10:
            links.append((path, target))
            path = target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"
        real = host.resolve(_DEFAULT) or ""
    except Unavailable:  # links in a circle
        real = ""
    if not links and not real:
        return None
    return DefaultLink(tuple(links), real, next((one for one in toolkits if one.real_folder == real), None))


def _named(host: Host, variable: str, value: str, toolkits: tuple[Toolkit, ...]) -> NamedToolkit:
    if ":" in value:
        return NamedToolkit(variable, value, "it is a list of folders", None)
    try:
        real = host.resolve(value) if value.startswith("/") else None
        status = host.status(value) if real else None
    except Unavailable as reason:
        return NamedToolkit(variable, value, str(reason), None)
    if real is None or status is None:
        return NamedToolkit(variable, value, "there is no such folder", None)
    if status.kind != "directory":
        return NamedToolkit(variable, value, "it is not a folder", None)
    same = _PACKAGED if real in _PACKAGED else (real,)
    toolkit = next((one for one in toolkits if one.real_folder in same), None)
    return NamedToolkit(variable, value, "" if toolkit else "there is no CUDA toolkit in it", toolkit)


def _loader_choices(host: Host, cache: LoaderCache, toolkits: tuple[Toolkit, ...]) -> Iterator[LoaderChoice]:
    for soname in [name for beginning in _SONAMES for name in cache.sonames(beginning)]:
        for path in cache.paths(soname):
            try:
                real = host.resolve(path)
            except Unavailable:
                real = None
            if real is not None:  # the cache may be older than the last removal
                yield LoaderChoice(soname, path, real, _owner(real, toolkits))
                break
