"""What is known of the wheels of TensorFlow, JAX, onnxruntime and CuPy, and of wheels that write the same files.

CUDA releases are pairs (12, 5); requirements map a distribution to its version specifiers.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gpudoctor.knowledge import load_table
from gpudoctor.knowledge.cuda import version_pair


class TensorflowBuild(NamedTuple):
    """A TensorFlow wheel, as its build_info.py tells."""

    version: str
    cuda: tuple[int, int]
    cudnn_major: int
    architectures: tuple[str, ...]  # "sm_89", "compute_90"
    pythons: tuple[str, ...]  # "cp310"
    numpy: str  # "<2.2.0,>=1.26.0"
    cuda_requires: Mapping[str, str]  # of the extra and-cuda; empty before 2.14
    tested_cudnn: str  # the cuDNN that TensorFlow was tested with ("9.3"), "" unknown


class JaxRelease(NamedTuple):
    """A jax release and what it accepts."""

    version: str
    least_jaxlib: str
    jaxlib: str  # "<=0.12.0,>=0.11.2"; "" where jax itself requires none
    plugins: Mapping[str, str]  # extra to the plugin's specifier: {"cuda12": "<=0.12.0,>=0.12.0"}
    numpy: str
    python: str  # ">=3.12"


class JaxPlugin(NamedTuple):
    """A CUDA plugin of JAX; it requires the pjrt package of its own version."""

    name: str  # "jax-cuda12-plugin"
    version: str
    pythons: tuple[str, ...]
    cuda_requires: Mapping[str, str]  # of the extra with-cuda; empty before 0.4.30


class JaxMinimum(NamedTuple):
    """What a plugin needs of the machine."""

    plugin: str
    cuda_major: int
    driver_branch: int
    capability: tuple[int, int]
    source: str


class OnnxruntimeBuild(NamedTuple):
    """An onnxruntime-gpu wheel."""

    version: str
    cuda_major: int
    cuda: tuple[int, int] | None  # None: the wheel names none
    cudnn_major: int
    needed: tuple[str, ...]  # sonames that the CUDA provider loads
    extras: Mapping[str, str]  # of the extras cuda and cudnn together
    extras_problem: str  # why the extras cannot be installed, "" where they can
    pythons: tuple[str, ...]


class CupyRelease(NamedTuple):
    """A release of one CuPy package."""

    package: str  # "cupy-cuda12x"
    version: str
    first_python: str  # "cp310"
    last_python: str
    numpy: str


class CollisionFamily(NamedTuple):
    """Distributions that write the same paths: at most one of them belongs in an environment."""

    name: str
    members: tuple[str, ...]  # measured, then those from memory
    measured: int  # how many of the members, from the first on, were measured


def tensorflow_build(version: str) -> TensorflowBuild | None:
    """The PyPI wheel of a TensorFlow release; None: unknown."""
    rows = load_table("tensorflow")["releases"]
    row = _row(rows, "tensorflow", version)
    if row is None:
        return None
    minor = ".".join(version.split(".")[:2])
    tested = next((t["cudnn"] for t in load_table("tensorflow")["tested"] if t["tensorflow"] == minor), "")
    return TensorflowBuild(
        version,
        version_pair(row["cuda"]),
        int(row["cudnn"].partition(".")[0]),
        with_native_code(row["architectures"]),
        tuple(row["pythons"]),
        row["numpy"],
        _shared(rows, "tensorflow", row, "and-cuda"),
        tested,
    )


def with_native_code(architectures: Iterable[str]) -> tuple[str, ...]:
    """TensorFlow's own words in the sense of everybody else's: its "compute_90" asks for sm_90 code and for PTX.

    (libtensorflow_cc.so.2 of 2.21 holds as many sm_90 cubins as compute_90 PTX; its "sm_89" asks for cubins alone.)
    """
    known = tuple(architectures)
    return tuple(dict.fromkeys((*known, *(word.replace("compute_", "sm_") for word in known))))


def tensorflow_releases() -> tuple[str, ...]:
    """The known TensorFlow releases, oldest first."""
    return tuple(row["tensorflow"] for row in load_table("tensorflow")["releases"])


def jax_release(version: str) -> JaxRelease | None:
    """A jax release; None: unknown."""
    row = _row(load_table("jax")["jax"], "jax", version)
    if row is None:
        return None
    return JaxRelease(version, row["min_jaxlib"], row["jaxlib"], dict(row["extras"]), row["numpy"], row["python"])


def jax_releases() -> tuple[str, ...]:
    """The known jax releases, oldest first."""
    return tuple(row["jax"] for row in load_table("jax")["jax"])


def jax_plugin(name: str, version: str) -> JaxPlugin | None:
    """One release of a CUDA plugin ("jax-cuda12-plugin"); None: unknown."""
    rows = load_table("jax")["plugins"]
    for row in rows:
        if row["plugin"] == name and row["version"] == version:
            requires = row["requires"]
            if isinstance(requires, str):
                named, _, release = requires.partition(" ")
                requires = next(r["requires"] for r in rows if r["plugin"] == named and r["version"] == release)
            return JaxPlugin(name, version, tuple(row["pythons"]), dict(requires))
    return None


def jax_minimum(cuda_major: int) -> JaxMinimum | None:
    """The driver branch and compute capability that the plugin for a CUDA major needs; None: no such plugin."""
    for row in load_table("jax")["minimums"]:
        if row["cuda"] == cuda_major:
            capability = version_pair(row["capability"])
            return JaxMinimum(row["plugin"], cuda_major, int(row["driver"]), capability, row["source"])
    return None


def onnxruntime_build(version: str) -> OnnxruntimeBuild | None:
    """The onnxruntime-gpu wheel of a release; None: unknown."""
    rows = load_table("onnxruntime")["releases"]
    row = _row(rows, "onnxruntime-gpu", version)
    if row is None:
        return None
    needed = tuple(_shared(rows, "onnxruntime-gpu", row, "needed"))
    extras = _shared(rows, "onnxruntime-gpu", row, "extras")
    # From 1.28 on the provider names no cuDNN, yet its extra asks for one.
    cudnn = _major(needed, "libcudnn.so.") or next(
        (int(spec.strip("~=>").partition(".")[0]) for name, spec in extras.items() if name.startswith("nvidia-cudnn-")),
        0,
    )
    return OnnxruntimeBuild(
        version,
        _major(needed, "libcudart.so."),
        version_pair(row["cuda"]) if row["cuda"] else None,
        cudnn,
        needed,
        extras,
        row.get("extras_unsatisfiable", ""),
        tuple(row["pythons"]),
    )


def onnxruntime_releases() -> tuple[str, ...]:
    """The known onnxruntime-gpu releases, oldest first."""
    return tuple(row["onnxruntime-gpu"] for row in load_table("onnxruntime")["releases"])


def cupy_cuda(package: str) -> tuple[int, int | None] | None:
    """The CUDA that a CuPy package is for: "cupy-cuda12x" is (12, None), "cupy-cuda117" (11, 7); None: unknown."""
    row = _row(load_table("cupy")["packages"], "package", package)
    if row is None:
        return None
    major, _, minor = row["cuda"].partition(".")
    return int(major), int(minor) if minor.isdigit() else None


def cupy_releases(package: str) -> tuple[CupyRelease, ...]:
    """The releases of a CuPy package, oldest first; empty: unknown."""
    row = _row(load_table("cupy")["packages"], "package", package)
    return tuple(CupyRelease(package, *release) for release in row["releases"]) if row else ()


def cupy_packages() -> tuple[str, ...]:
    """The CuPy packages of the table."""
    return tuple(row["package"] for row in load_table("cupy")["packages"])


def collision_families() -> tuple[CollisionFamily, ...]:
    """All families of distributions that overwrite each other."""
    return tuple(
        CollisionFamily(row["family"], (*row["members"], *row.get("unverified", ())), len(row["members"]))
        for row in load_table("wheel_collisions")["families"]
    )


def shared_files(one: str, other: str) -> tuple[str, ...]:
    """The paths that two distributions both write, where the table spells them out; empty where it does not."""
    for row in load_table("wheel_collisions")["pairs"]:
        if {row["a"], row["b"]} == {one, other}:
            return tuple(row.get("files", ()))
    return ()


def shared_count(one: str, other: str) -> int:
    """How many paths two distributions of one family both write; at least 1 where nobody has counted."""
    rows = load_table("wheel_collisions")["pairs"]
    return next((int(row["shared"]) for row in rows if {row["a"], row["b"]} == {one, other}), 1)


def _row(rows: Iterable[dict[str, Any]], key: str, value: str) -> dict[str, Any] | None:
    return next((row for row in rows if row[key] == value), None)


def _shared(rows: list[dict[str, Any]], key: str, row: dict[str, Any], field: str) -> Any:
    """A field whose text, where it is one, names the row that spells the same value out."""
    value = row[field]
    return next(r[field] for r in rows if r[key] == value) if isinstance(value, str) else value


def _major(sonames: Iterable[str], prefix: str) -> int:
    """The major version in the soname with this prefix; 0 where none has it."""
    found = next((name for name in sonames if name.startswith(prefix)), None)
    return int(found.removeprefix(prefix).partition(".")[0]) if found else 0
