"""The distributions in one site-packages folder, from folder names and METADATA headers; nothing is imported.

importlib.metadata takes 160 ms and more for 340 distributions, this takes 10.
"""

import re
from typing import NamedTuple

from gpudoctor.host import Host, Unavailable
from gpudoctor.python.pep508 import normalised


class Distribution(NamedTuple):
    """One installed distribution that concerns the GPU, or that asks for one which does."""

    name: str  # normalised: "nvidia-cudnn-cu12"
    version: str  # "9.10.2.21", "" if nothing tells
    requires: tuple[str, ...]  # its Requires-Dist lines that name packages of interest, as they stand
    folder: str  # the dist-info or egg-info folder (or file)
    location: str  # the site-packages folder it lies in
    installer: str  # "pip", "uv", "conda", "Poetry 1.8.3", "" unknown
    problem: str = ""  # what of it could not be told, and why

    @property
    def release(self) -> str:
        """The version without its local part: "2.13.0" of "2.13.0+cpu"."""
        return self.version.partition("+")[0]


# Frameworks, what is built against them, and NVIDIA's own wheels; names are normalised.
_PREFIXES = (
    *("torch", "pytorch", "nvidia-", "cuda-", "cupy", "jax", "tensorflow", "tf-nightly", "onnxruntime", "ort-nightly"),
    *("triton", "numba", "flash-attn", "flashinfer", "faiss", "vllm", "sgl-kernel", "cudf", "rmm-cu", "cuml"),
)
_NAMES = frozenset(
    (
        *("numpy", "xformers", "bitsandbytes", "deepspeed", "apex", "auto-gptq", "autoawq", "ctranslate2", "pycuda"),
        *("causal-conv1d", "mamba-ssm", "transformer-engine", "llvmlite", "keras", "accelerate", "lightning"),
    )
)
# How METADATA spells them: any mixture of "-", "_" and "." and of cases.
_REQUIRES = re.compile(
    r"^Requires-Dist:[ \t]*((?:"
    + "|".join(re.sub(r"-", "[-_.]", name) for name in (*_PREFIXES, *sorted(_NAMES)))
    + r")[^\r\n]*)",
    re.MULTILINE | re.IGNORECASE,
)
_VERSION = re.compile(r"^Version:[ \t]*([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
_NAME = re.compile(r"^Name:[ \t]*([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
_HEAD, _LONG_HEAD = 4096, 1 << 18  # bytes


def concerns_gpu(name: str) -> bool:
    """Is the distribution of this normalised name a GPU framework, built against one, or NVIDIA's?"""
    return name.startswith(_PREFIXES) or name in _NAMES


def is_framework(name: str) -> bool:
    """The same without what everybody has, such as numpy: does it make the environment worth a look?"""
    return concerns_gpu(name) and name not in ("numpy", "llvmlite", "nvidia-ml-py")


class SitePackages(NamedTuple):
    """One folder with distributions, and the names of the folders that describe them."""

    location: str
    folders: tuple[str, ...]  # "torch-2.9.1.dist-info"

    @property
    def has_framework(self) -> bool:
        """Told from names alone: where there is none, nothing else is worth reading."""
        return any(is_framework(_named(folder)[0]) for folder in self.folders)


def site_packages(host: Host, location: str) -> SitePackages | None:
    """None if there is no such folder. Raises Unavailable where it cannot be listed."""
    names = host.list(location)
    if names is None:
        return None
    return SitePackages(location, tuple(name for name in names if name.endswith((".dist-info", ".egg-info"))))


def distributions_in(host: Host, site: SitePackages) -> tuple[Distribution, ...]:
    """Those that concern the GPU."""
    return tuple(found for folder in site.folders if (found := _distribution(host, site.location, folder)) is not None)


def metadata_head(text: str) -> str:
    """Of a METADATA file the fields that are judged, as snapshots keep them; a piece of a header stays as it is."""
    head, end, _ = text.replace("\r\n", "\n").partition("\n\n")
    if not end:
        return text
    lines = (match[0] for pattern in (_NAME, _VERSION, _REQUIRES) for match in pattern.finditer(head))
    return "".join(f"{line}\n" for line in lines) + "\n"


def _distribution(host: Host, location: str, folder: str) -> Distribution | None:
    name, version = _named(folder)
    path = f"{location}/{folder}"
    try:
        head = _head(host, path, folder)
    except Unavailable as reason:
        head, problem = "", str(reason)
    else:
        problem = "" if head is not None else f"{path} has no METADATA"
    head = head or ""
    told = _first(_NAME, head)
    name = normalised(told) if told else name
    requires = tuple(line.strip() for line in _REQUIRES.findall(head))
    if not (requires or concerns_gpu(name)):
        return None
    if head and not _VERSION.search(head):
        problem = f"{path}: METADATA tells no version"
    version = _first(_VERSION, head) or version
    try:
        installer = (host.read(f"{path}/INSTALLER") or "").strip() if concerns_gpu(name) else ""
    except Unavailable:  # an egg-info may be a file; who installed it is then not said anywhere
        installer = ""
    return Distribution(name, version, requires, path, location, installer[:40], problem)


def _head(host: Host, path: str, folder: str) -> str | None:
    """The header of METADATA or PKG-INFO. An egg-info can be that file itself."""
    names = ("METADATA",) if folder.endswith(".dist-info") else ("PKG-INFO", "")
    for name in names:
        file = f"{path}/{name}" if name else path
        text = host.read(file, first=_HEAD)
        if text is not None and "\n\n" not in text and "\r\n\r\n" not in text and len(text) >= _HEAD - 3:
            text = host.read(file, first=_LONG_HEAD)
        if text is not None:
            return text.replace("\r\n", "\n").partition("\n\n")[0]
    return None


def _named(folder: str) -> tuple[str, str]:
    """Name and version out of "torch-2.13.0+cpu.dist-info" and "PyYAML-6.0-py3.11.egg-info"."""
    stem = folder.rpartition(".")[0]
    name, _, rest = stem.partition("-")
    return normalised(name), rest.partition("-py")[0]


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1].strip() if match else ""
