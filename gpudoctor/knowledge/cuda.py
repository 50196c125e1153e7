"""What is known of CUDA releases: the driver each needs, the branch that serves it, what its nvcc accepts.

A CUDA release is a pair (major, minor); a driver version is the text that the driver gives ("580.95.05"). None stands
for "the table does not tell", never for "no".
"""

import re
from functools import cache
from typing import NamedTuple

from gpudoctor.knowledge import load_table


class MinimumDriver(NamedTuple):
    """The oldest driver that runs programs built with a CUDA release."""

    version: str  # "525.60.13"
    cuda: tuple[int, int]
    minor_version_compatibility: bool  # True: one minimum for the whole major; False: the toolkit's own driver
    source: str


class CudaLevel(NamedTuple):
    """The CUDA that a driver branch serves natively."""

    cuda: tuple[int, int]
    certain: bool  # False: a branch that the table lacks; it serves at least this


class NvccSupport(NamedTuple):
    """What the nvcc of a CUDA minor release accepts and builds for."""

    cuda: tuple[int, int]
    gcc_max_major: int
    clang_max_major: int
    architectures: tuple[str, ...]  # of ptxas: "sm_75", "sm_90a", "sm_100f"
    verified: bool  # False: from documentation, not read from the toolkit itself
    source: str


class ArchitectureSpan(NamedTuple):
    """The CUDA toolkits that build for an architecture."""

    first: tuple[int, int] | None  # None: older than the table
    last: tuple[int, int] | None  # None: the newest toolkit still builds for it


@cache
def minimum_driver(cuda: tuple[int, int]) -> MinimumDriver | None:
    """The oldest driver for a CUDA release: that of its major from 11 on, the one packaged with it before that.

    CUDA 11.0 came with a driver older than the minimum of its major, and runs on it.
    """
    packaged = next((row for row in load_table("cuda")["toolkits"] if version_pair(row["cuda"]) == cuda), None)
    source = _default_source()
    for row in load_table("cuda")["minor_version_compatibility"]:
        if row["cuda"] == cuda[0]:
            if packaged and version_numbers(packaged["driver"]) < version_numbers(row["driver"]):
                return MinimumDriver(packaged["driver"], cuda, False, packaged.get("source", source))
            return MinimumDriver(row["driver"], cuda, True, row["source"])
    return MinimumDriver(packaged["driver"], cuda, False, packaged.get("source", source)) if packaged else None


@cache
def highest_cuda(branch: int) -> CudaLevel | None:
    """The CUDA that a driver branch (580) serves; None for branches older than the table.

    For a branch that the table lacks, between known ones or newer than all of them, what the nearest older one
    serves, marked as not certain.
    """
    known = [(row["branch"], row["cuda"]) for row in load_table("cuda")["branches"] if row["branch"] <= branch]
    if not known:
        return None
    nearest, cuda = max(known)
    return CudaLevel(version_pair(cuda), nearest == branch)


def branch_of(cuda: tuple[int, int]) -> int | None:
    """The first driver branch that serves a CUDA release natively, so that it compiles the PTX of its toolkit."""
    branches = (row["branch"] for row in load_table("cuda")["branches"] if version_pair(row["cuda"]) == cuda)
    return next(branches, None)


def packaged_driver(cuda: str) -> str | None:
    """The Linux driver that came with a toolkit release ("12.4.1": "550.54.15")."""
    return next((row["driver"] for row in load_table("cuda")["toolkits"] if row["cuda"] == cuda), None)


def toolkit_packaged_with(driver: str) -> str | None:
    """The toolkit release that came with a Linux driver ("550.54.15": "12.4.1"); of several the newest."""
    return next((row["cuda"] for row in reversed(load_table("cuda")["toolkits"]) if row["driver"] == driver), None)


def newest_cuda() -> tuple[int, int]:
    """The newest CUDA release whose driver branch is known."""
    return max(version_pair(row["cuda"]) for row in load_table("cuda")["branches"])


def nvcc_support(cuda: tuple[int, int]) -> NvccSupport | None:
    """Host compilers and architectures of the nvcc of a CUDA minor release."""
    for row in load_table("cuda")["nvcc"]:
        if version_pair(row["cuda"]) == cuda:
            verified = not row.get("unverified", False)
            return NvccSupport(cuda, row["gcc"], row["clang"], tuple(row["ptxas"]), verified, row["source"])
    return None


def architecture_span(capability: tuple[int, int]) -> ArchitectureSpan | None:
    """First and last toolkit for a compute capability; None where the table lacks it."""
    number = capability[0] * 10 + capability[1]
    for row in load_table("cuda")["architectures"]:
        if row["sm"] == number:
            first, last = row.get("first"), row.get("last")
            return ArchitectureSpan(version_pair(first) if first else None, version_pair(last) if last else None)
    return None


def first_cuda(capability: tuple[int, int]) -> tuple[int, int] | None:
    """The first CUDA that builds for a compute capability; None where it is older than the table, or unknown."""
    span = architecture_span(capability)
    return span.first if span else None


def last_cuda(capability: tuple[int, int]) -> tuple[int, int] | None:
    """The last CUDA that builds for a compute capability; None where the newest still does, or it is unknown."""
    span = architecture_span(capability)
    return span.last if span else None


def component_pins(cuda: str) -> dict[str, str]:
    """Wheel name to version of every component of a toolkit release ("12.8.1"); empty where it is unknown.

    "12.8" stands for the newest release of 12.8.
    """
    rows = load_table("cuda_components")["toolkits"]
    matching = [row for row in rows if row["cuda"] == cuda or row["cuda"].startswith(f"{cuda}.")]
    return dict(matching[-1]["components"]) if matching else {}


def library_sonames(cuda_major: int) -> tuple[str, ...]:
    """The libraries that TensorFlow and JAX open by name, as they are called in a CUDA major; empty: unknown."""
    return next((tuple(row["sonames"]) for row in load_table("cuda")["sonames"] if row["cuda"] == cuda_major), ())


def compatibility_package(cuda: tuple[int, int]) -> str:
    """The name of NVIDIA's forward compatibility package: (12, 1) is "cuda-compat-12-1"."""
    pattern: str = load_table("forward_compatibility")["package"]
    return pattern.format(major=cuda[0], minor=cuda[1])


@cache
def version_pair(text: str) -> tuple[int, int]:
    """Major and minor of a release as these tables write it: "13.2.2" is (13, 2)."""
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


@cache
def version_numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: "580.95.05-open" is (580, 95, 5), "" is ()."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def _default_source() -> str:
    source: str = load_table("cuda")["sources"][0]
    return source
