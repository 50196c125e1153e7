"""The tables of PyTorch, TensorFlow, JAX, onnxruntime and CuPy wheels."""

import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from packaging.version import Version

from refresh.index import Index, Unreadable
from refresh.releases import Left, Releases, releases
from refresh.rows import Row, Table, named_once, spelled_out

_FIRST_MIB = 64  # of onnxruntime's CUDA provider: the names of the libraries that it needs stand near its beginning


def torch(table: Table, index: Index, again: int) -> Iterator[Left]:
    """The default wheels of both machines; the variants are kept by a person, from PyTorch's RELEASE.md."""

    def x86_64(found: Releases, version: str) -> Row:
        wheel = found.one(version)
        build = index.inside(wheel, "torch-build", _torch_build)
        applying = index.metadata(wheel).applying()
        requires = {name: pin for name, pin in applying.items() if name.startswith(("nvidia-", "cuda-", "triton"))}
        return {"torch": version, **build, "pythons": found.pythons(version), "requires": requires}

    def aarch64(found: Releases, version: str) -> Row:
        build = index.inside(found.one(version), "torch-build", _torch_build)
        return {"torch": version, **{key: value for key, value in build.items() if value or key == "cuda"}}

    spelled_out(table["x86_64"], "requires", lambda row: row["torch"])
    yield from _renewed(table["x86_64"], "torch", releases(index, "torch"), again, x86_64)
    named_once(table["x86_64"], "requires", lambda row: row["torch"])
    yield from _renewed(table["aarch64"], "torch", releases(index, "torch", "aarch64"), again, aarch64)
    told = {row["torch"] for row in table["variants"]}
    for minor in dict.fromkeys(".".join(row["torch"].split(".")[:2]) for row in table["x86_64"]):
        if minor not in told and Version(minor) > Version(table["variants"][-1]["torch"]):
            yield Left(f"the CUDA variants of torch {minor}", by_hand=True)


def tensorflow(table: Table, index: Index, again: int) -> Iterator[Left]:
    """What build_info.py and METADATA tell; the tested combinations are kept by a person."""

    def row(found: Releases, version: str) -> Row:
        wheel = found.one(version)
        metadata = index.metadata(wheel)
        return {
            "tensorflow": version,
            **index.inside(wheel, "tensorflow-build", _tensorflow_build),
            "pythons": found.pythons(version),
            "numpy": metadata.applying().get("numpy", ""),
            "and-cuda": metadata.applying("and-cuda"),
        }

    spelled_out(table["releases"], "and-cuda", lambda row: row["tensorflow"])
    yield from _renewed(table["releases"], "tensorflow", releases(index, "tensorflow"), again, row)
    named_once(table["releases"], "and-cuda", lambda row: row["tensorflow"])


def jax(table: Table, index: Index, again: int) -> Iterator[Left]:
    """Each jax with what it accepts, and its CUDA plugins."""

    def release(found: Releases, version: str) -> Row:
        wheel = found.one(version)
        metadata = index.metadata(wheel)
        extras = {}
        for requirement in metadata.requires:
            extra = re.search(r"""extra == ['"](cuda1\d)(?:[-_]pip)?['"]""", str(requirement.marker or ""))
            if extra and re.fullmatch(r"jax-cuda1\d-plugin", requirement.name):
                extras[extra[1]] = str(requirement.specifier)
        return {
            "jax": version,
            "min_jaxlib": index.inside(wheel, "jax-version", _minimum_jaxlib),
            "jaxlib": metadata.unconditional("jaxlib"),
            "extras": extras,
            "numpy": metadata.unconditional("numpy"),
            "python": metadata.requires_python,
        }

    def plugin(found: Releases, version: str) -> Row:
        requires = index.metadata(found.one(version)).applying("with-cuda")
        return {
            "plugin": found.project,
            "version": version,
            "pythons": found.pythons(version),
            "requires": requires,
        }

    yield from _renewed(table["jax"], "jax", releases(index, "jax"), again, release)
    rows: list[Row] = table["plugins"]
    spelled_out(rows, "requires", lambda row: f"{row['plugin']} {row['version']}")
    for project in dict.fromkeys(row["plugin"] for row in rows):
        own = [row for row in rows if row["plugin"] == project]
        place = rows.index(own[0])
        others = len(own)
        yield from _renewed(own, "version", releases(index, project), again, plugin)
        rows[place : place + others] = own
    named_once(rows, "requires", lambda row: f"{row['plugin']} {row['version']}")


def onnxruntime(table: Table, index: Index, again: int) -> Iterator[Left]:
    """The libraries that the CUDA provider needs, its CUDA, and what its extras install."""

    def row(found: Releases, version: str) -> Row:
        wheel = found.one(version)
        metadata = index.metadata(wheel)
        build = index.inside(wheel, "onnxruntime-build", _onnxruntime_build)
        return {
            "onnxruntime-gpu": version,
            **build,
            "extras": {**metadata.applying("cuda"), **metadata.applying("cudnn")},
            "pythons": found.pythons(version),
        }

    rows: list[Row] = table["releases"]
    for field in ("needed", "extras"):
        spelled_out(rows, field, lambda row: row["onnxruntime-gpu"])
    yield from _renewed(rows, "onnxruntime-gpu", releases(index, "onnxruntime-gpu"), again, row)
    for field in ("needed", "extras"):
        named_once(rows, field, lambda row: row["onnxruntime-gpu"])


def cupy(table: Table, index: Index, again: int) -> Iterator[Left]:
    """First and last Python, and NumPy, of each release."""
    for package in table["packages"]:
        found = releases(index, package["package"])
        rows: dict[str, list[str]] = {row[0]: row for row in package["releases"]}
        for version in (*found.latest(again, rows), *found.new(rows)):
            try:
                numpy = index.metadata(found.one(version)).applying().get("numpy", "")
            except Unreadable as reason:
                yield Left(f"{package['package']} {version}: {reason}", by_hand=False)
                continue
            rows[version] = [version, "", "", numpy]
        for version, row in rows.items():
            pythons = (
                [tag for tag in found.pythons(version) if not tag.endswith("t")] if version in found.wheels else ()
            )
            if pythons:
                row[1:3] = pythons[0], pythons[-1]
        package["releases"] = sorted(rows.values(), key=lambda row: Version(row[0]))


def _renewed(
    rows: list[Row], key: str, found: Releases, again: int, make: Callable[[Releases, str], Row]
) -> Iterator[Left]:
    """In place: new releases get a row, known ones the Pythons that have a wheel now; marks of a row are kept."""
    known = {row[key]: row for row in rows}
    for version in (*found.latest(again, known), *found.new(known)):
        try:
            made = make(found, version)
        except Unreadable as reason:
            yield Left(f"{found.project} {version}: {reason}", by_hand=False)
            continue
        known[version] = {**known.get(version, {}), **made}
    for version, row in known.items():
        if "pythons" in row and version in found.wheels:
            row["pythons"] = found.pythons(version)
    rows[:] = sorted(known.values(), key=lambda row: Version(row[key]))


def _torch_build(wheel: zipfile.ZipFile) -> dict[str, Any]:
    """CUDA of torch/version.py, and the architectures as torch.cuda.get_arch_list() would return them."""
    text = wheel.read("torch/version.py").decode("utf-8")
    told = re.search(r"^cuda\b[^=\n]*=\s*(?:['\"]([0-9.]+)['\"]|None)", text, re.MULTILINE)
    if told is None:
        raise ValueError("torch/version.py tells no CUDA")
    if not told[1]:
        return {"cuda": None, "architectures": []}
    tail = b""
    with wheel.open("torch/lib/libtorch_python.so") as library:
        while piece := library.read(1 << 20):
            words = re.search(rb"\x00((?:(?:sm|compute)_[0-9]+[af]? ?){2,})\x00", tail + piece)
            if words:
                return {"cuda": told[1], "architectures": words[1].decode().split()}
            tail = piece[-4096:]
    raise ValueError("libtorch_python.so names no architectures")


def _tensorflow_build(wheel: zipfile.ZipFile) -> dict[str, Any]:
    text = wheel.read("tensorflow/python/platform/build_info.py").decode("utf-8")

    def told(name: str) -> str:
        match = re.search(rf"""['"]{name}['"]\s*[,:]\s*['"]([^'"]*)['"]""", text)
        if match is None:
            raise ValueError(f"build_info.py tells no {name}")
        return match[1]

    words = re.search(r"""cuda_compute_capabilities['"]\s*[,:]\s*\[([^\]]*)\]""", text)
    architectures = re.findall(r"(?:sm|compute)_[0-9]+[a-z]?", words[1]) if words else []
    return {"cuda": told("cuda_version"), "cudnn": told("cudnn_version"), "architectures": architectures}


def _minimum_jaxlib(wheel: zipfile.ZipFile) -> str:
    told = re.search(r"^_minimum_jaxlib_version\s*=\s*['\"]([0-9.]+)", wheel.read("jax/version.py").decode(), re.M)
    if told is None:
        raise ValueError("jax/version.py tells no least jaxlib")
    return told[1]


def _onnxruntime_build(wheel: zipfile.ZipFile) -> dict[str, Any]:
    info = wheel.read("onnxruntime/capi/build_and_package_info.py").decode("utf-8")
    cuda = re.search(r"^cuda_version\s*=\s*['\"]([0-9.]+)", info, re.MULTILINE)
    needed: set[str] = set()
    with wheel.open("onnxruntime/capi/libonnxruntime_providers_cuda.so") as library:
        tail = b""
        for _ in range(_FIRST_MIB):
            piece = library.read(1 << 20)
            names = re.findall(rb"\x00(lib(?:cu|nv)[A-Za-z]+\.so\.[0-9.]+)(?=\x00)", tail + piece)
            # libcuda.so.1 comes with the driver, not with a wheel.
            needed.update(name.decode() for name in names if not name.startswith(b"libcuda.so"))
            tail = piece[-256:]
            if needed or not piece:
                break
    if not needed:
        raise ValueError("the CUDA provider names no CUDA library")
    return {"cuda": cuda[1] if cuda else None, "needed": sorted(needed)}
