"""Packages with code that was compiled for one torch and one CUDA, and what their files say about it."""

import re
from typing import NamedTuple

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact

Cuda = tuple[int, int]


class Extension(NamedTuple):
    """One distribution compiled for a torch. "", () and None for what nothing tells."""

    prefix: str  # of the environment
    distribution: Distribution
    torch: tuple[str, ...]  # "2.4"; several where the text can be read in more than one way: "torch210"
    cuda: str  # "12" or "12.1"
    cxx11_abi: bool | None  # compiled with the new ABI of libstdc++
    source: str  # where that stands
    value: str  # as it stands there
    compiled_here: bool  # from source, for the torch that was there when it was installed
    installed: float | None  # seconds since the epoch


class TorchInstallation(NamedTuple):
    """What the extensions beside it must fit."""

    prefix: str
    cxx11_abi: bool | None
    installed: float | None


class Companion(NamedTuple):
    """torchvision or torchaudio, as its own version.py calls itself."""

    prefix: str
    distribution: Distribution
    version: str  # "0.23.0+cu126"; the dist-info leaves the local part out where PyPI served it
    source: str
    value: str


class QuantisationLibraries(NamedTuple):
    """The CUDA libraries in a bitsandbytes package."""

    prefix: str
    distribution: Distribution
    folder: str
    cudas: tuple[Cuda, ...]
    same_major_serves: bool  # it takes the nearest of the same CUDA major where its very own is missing


class TorchExtensions(NamedTuple):
    """All of all environments. `problems`: (prefix, name of the distribution, what could not be told of it and why)."""

    extensions: tuple[Extension, ...]
    torches: tuple[TorchInstallation, ...]
    companions: tuple[Companion, ...]
    bitsandbytes: tuple[QuantisationLibraries, ...]
    problems: tuple[tuple[str, str, str], ...] = ()

    def torch_of(self, prefix: str) -> TorchInstallation | None:
        return next((one for one in self.torches if one.prefix == prefix), None)


# Those that are not called torch-something, and are compiled against it.
_COMPILED = ("flash-attn", "xformers", "sgl-kernel", "causal-conv1d", "mamba-ssm", "apex", "auto-gptq", "pytorch3d")
_FAMILY = ("torchvision", "torchaudio")
_DOTTED = re.compile(r"(?:torch|pt)v?(\d+)\.(\d+)")
_RUN_TOGETHER = re.compile(r"(?:torch|pt)(\d)(\d{1,3})(?![\d.])")
_CUDA = re.compile(r"cu(?:da)?(\d{2})(\d?)(?!\d)")
_ABI = re.compile(r"cxx11abi(true|false)")


@fact
def torch_extensions(host: Host, pythons: PythonEnvironments) -> TorchExtensions:
    """Only environments with torch are looked into. What cannot be told of one package is a problem of its own."""
    extensions: list[Extension] = []
    torches: list[TorchInstallation] = []
    companions: list[Companion] = []
    libraries: list[QuantisationLibraries] = []
    problems: list[tuple[str, str, str]] = []
    for environment in pythons.environments:
        torch, prefix = environment.get("torch"), environment.prefix
        if torch is None:
            continue
        torches.append(TorchInstallation(prefix, _abi_of_torch(host, torch), _installed(host, torch)))
        for one in environment.distributions:
            try:
                if one.name in _FAMILY:
                    companions.append(_companion(host, prefix, one))
                elif one.name == "bitsandbytes":
                    libraries.append(_bitsandbytes(host, prefix, one))
                elif extension := _extension(host, prefix, one):
                    extensions.append(extension)
            except Unavailable as reason:
                problems.append((prefix, one.name, str(reason)))
    return TorchExtensions(tuple(extensions), tuple(torches), tuple(companions), tuple(libraries), tuple(problems))


def _extension(host: Host, prefix: str, one: Distribution) -> Extension | None:
    """None for a package that says of no torch that it was compiled for it."""
    nothing = Extension(prefix, one, (), "", None, "", "", False, None)
    if one.name == "xformers":
        return _xformers(host, nothing)
    local = one.version.partition("+")[2]
    told = _told(nothing, f"{one.folder}/METADATA", one.version, local) if local else nothing
    if not told.torch and one.name in _COMPILED:
        file = _wheel_file(host, one)
        told = _told(nothing, f"{one.folder}/direct_url.json", file, file.partition("+")[2]) if file else nothing
    if told.torch:
        return told
    if one.name not in _COMPILED:
        return None
    from gpudoctor.knowledge.companions import compiled_at_install  # here for start-up: only packages that do not tell

    if compiled_at_install(one.name) and _brings_libraries(host, one):
        return nothing._replace(compiled_here=True, installed=_installed(host, one))
    return None


def _told(nothing: Extension, source: str, value: str, local: str) -> Extension:
    torch, cuda, abi = read_build(local)
    return nothing._replace(torch=torch, cuda=cuda, cxx11_abi=abi, source=source, value=value)


def read_build(local: str) -> tuple[tuple[str, ...], str, bool | None]:
    """What a local version tells: "cu12torch2.4cxx11abiFALSE" is (("2.4",), "12", False).

    Torch without a point can mean two releases: "torch210" is ("2.10", "2.1").
    """
    text = local.lower().replace("_", ".").replace("-", ".")
    torch: tuple[str, ...] = ()
    if dotted := _DOTTED.search(text):
        torch = (f"{dotted[1]}.{dotted[2]}",)
    elif match := _RUN_TOGETHER.search(text):
        digits = match[2]
        minors = ([digits] if len(digits) < 3 else []) + ([digits[:-1]] if len(digits) > 1 else [])
        torch = tuple(f"{match[1]}.{int(minor)}" for minor in minors)
    cuda, abi = _CUDA.search(text), _ABI.search(text)
    return torch, (f"{cuda[1]}.{cuda[2]}" if cuda[2] else cuda[1]) if cuda else "", abi[1] == "true" if abi else None


def _xformers(host: Host, nothing: Extension) -> Extension | None:
    """Its cpp_lib.json says what it was built with; where that is not there, the table of published wheels does."""
    one = nothing.distribution
    path = f"{one.location}/xformers/cpp_lib.json"
    text = host.read(path, first=65536)
    if text is not None:
        match = re.search(r'"torch"\s*:\s*"(\d+\.\d+)([^"]*)"', text)
        if match is None:
            raise Unavailable(f"{path} does not tell which torch it was built with")
        cuda = re.search(r'"cuda"\s*:\s*(\d{2})(\d{2})', text)
        known = f"{cuda[1]}.{int(cuda[2])}" if cuda else ""
        return nothing._replace(torch=(match[1],), cuda=known, source=path, value=match[0])
    from gpudoctor.knowledge.companions import xformers_build  # here for start-up

    build = xformers_build(one.version)
    if build is None:
        return None
    torch = ".".join(build.torch.split(".")[:2])
    cuda_text = f"{build.cuda[0]}.{build.cuda[1]}"
    return nothing._replace(
        torch=(torch,), cuda=cuda_text, source=f"table of xformers {one.version}", value=f"built with {build.torch}"
    )


def _wheel_file(host: Host, one: Distribution) -> str:
    """The name of the wheel that was installed from an address, "" if it came from an index."""
    text = host.read(f"{one.folder}/direct_url.json", first=4096) or ""
    match = re.search(r"[^/\"\\]+\.whl", wheel_of_address(text))
    return match[0] if match else ""


def wheel_of_address(text: str) -> str:
    """A direct_url.json without all but the file's name: addresses can hold names and passwords. For snapshots too."""
    match = re.search(r'"url"\s*:\s*"[^"]*/([^/"?#]+\.whl)', text)
    return f'{{"url": "/{match[1].replace("%2B", "+").replace("%2b", "+")}"}}' if match else "{}"


def _brings_libraries(host: Host, one: Distribution) -> bool:
    return bool(re.search(r"^[^,\n]+\.so,", host.read(f"{one.folder}/RECORD") or "", re.MULTILINE))


def _installed(host: Host, one: Distribution) -> float | None:
    """The installer made the folder then."""
    try:
        status = host.status(one.folder)
    except Unavailable:  # then it is not judged by its age
        return None
    return status.modified if status else None


def _abi_of_torch(host: Host, torch: Distribution) -> bool | None:
    """What its CMake file tells those who compile against it; newer releases only have the new ABI, and say nothing."""
    try:
        text = host.read(f"{torch.location}/torch/share/cmake/Torch/TorchConfig.cmake", first=65536)
    except Unavailable:
        return None
    return None if text is None else "_GLIBCXX_USE_CXX11_ABI=0" not in text


def _companion(host: Host, prefix: str, one: Distribution) -> Companion:
    path = f"{one.location}/{one.name}/version.py"
    text = host.read(path, first=4096) or ""
    match = re.search(r"""^__version__\s*(?::[^=\n]*)?=\s*['"]([^'"\n]+)['"]""", text, re.MULTILINE)
    if match is None:
        return Companion(prefix, one, one.version, f"{one.folder}/METADATA", f"Version: {one.version}")
    return Companion(prefix, one, match[1], path, match[0])


def _bitsandbytes(host: Host, prefix: str, one: Distribution) -> QuantisationLibraries:
    folder = f"{one.location}/bitsandbytes"
    names = host.list(folder)
    if names is None:
        raise Unavailable(f"{folder} is not there")
    cudas = {
        (int(match[1]), int(match[2]))
        for name in names
        if (match := re.match(r"libbitsandbytes_cuda(\d{2})(\d)(?:_nocublaslt)?\.so$", name))
    }
    chooser = host.read(f"{folder}/cextension.py", first=16384) or ""
    return QuantisationLibraries(prefix, one, folder, tuple(sorted(cudas)), "_find_cuda_libs" in chooser)
