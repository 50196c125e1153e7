"""What conda has installed in an environment, from the names of its records in conda-meta."""

from typing import NamedTuple

from gpudoctor.facts.distributions import concerns_gpu
from gpudoctor.host import Host, Unavailable

# Packages that only conda has: the toolkit in one piece, virtual pins, the compiler.
_CONDA_ONLY = ("cudatoolkit", "cudnn", "nccl", "libtorch", "libnv", "libcu", "python", "libtensorflow")


class CondaPackage(NamedTuple):
    """One record, name-version-build.json. The build tells the CUDA of a framework: "cuda126_py312h0d5d3f0_0"."""

    name: str
    version: str
    build: str


def conda_packages(host: Host, prefix: str) -> tuple[tuple[CondaPackage, ...], tuple[str, ...]]:
    """Those that concern the GPU, and what of the records is damaged; both empty where conda is not at home."""
    try:
        names = host.list(f"{prefix}/conda-meta") or ()
    except Unavailable as reason:
        return (), (str(reason),)
    found, damaged = [], []
    for file in names:
        if not file.endswith(".json"):
            continue
        path = f"{prefix}/conda-meta/{file}"
        words = file.removesuffix(".json").rsplit("-", 2)
        if len(words) != 3 or not all(words):
            damaged.append(f"{path}: not the name of a conda record")
        elif concerns_gpu(words[0]) or words[0].startswith(_CONDA_ONLY):
            problem = _problem(host, path)
            damaged += [problem] if problem else []
            found.append(CondaPackage(*words))
    return tuple(found), tuple(damaged)


def _problem(host: Host, path: str) -> str:
    """A record that was cut while it was written: conda itself refuses to work then."""
    try:
        end = host.read(path, last=64)
    except Unavailable as reason:
        return str(reason)
    return "" if end is not None and end.rstrip().endswith("}") else f"{path}: the record is cut or damaged"
