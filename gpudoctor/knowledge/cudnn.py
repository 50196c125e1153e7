"""What is known of cuDNN: its support lines, the least compute capability of each, and the versions of the wheels.

A cuDNN release is a tuple of numbers, (9, 10, 2).
"""

from typing import NamedTuple

from gpudoctor.knowledge import load_table
from gpudoctor.knowledge.cuda import version_numbers, version_pair


class CudnnLine(NamedTuple):
    """Releases of cuDNN with the same sublibraries and the same support."""

    first: tuple[int, ...]  # the line begins at this release
    soname: str  # "libcudnn.so.9"
    sublibraries: tuple[str, ...]  # "graph": libcudnn_graph.so.9
    capabilities: tuple[tuple[int, tuple[int, int]], ...]  # CUDA major, least compute capability
    verified: bool  # False: the least compute capability was not read from NVIDIA's page
    source: str

    def minimum_capability(self, cuda_major: int) -> tuple[int, int] | None:
        """The least compute capability for a CUDA major; None where the line has no build for it."""
        return dict(self.capabilities).get(cuda_major)


def cudnn_line(version: tuple[int, ...]) -> CudnnLine | None:
    """The support line of a release; None: older than the table, or of a newer major than it knows."""
    matching = [row for row in load_table("cudnn")["lines"] if version_numbers(row["from"]) <= version]
    if not matching or version_numbers(matching[-1]["from"])[0] != version[0]:
        return None
    row = matching[-1]
    capabilities = tuple((int(major), version_pair(least)) for major, least in row["capability"].items())
    return CudnnLine(
        version_numbers(row["from"]),
        row["soname"],
        tuple(row["sublibraries"]),
        capabilities,
        not row.get("unverified", False),
        row["source"],
    )


def cudnn_wheels(cuda_major: int) -> tuple[str, ...]:
    """The versions of nvidia-cudnn-cuN on PyPI, oldest first; empty: no such package."""
    return tuple(load_table("cudnn")["wheels"].get(f"nvidia-cudnn-cu{cuda_major}", ()))


def newest_cudnn_wheel(cuda_major: int, capability: tuple[int, int]) -> str | None:
    """The newest wheel for a compute capability: "9.10.2.21" for CUDA 12 and (7, 0); None: there is none."""
    for wheel in reversed(cudnn_wheels(cuda_major)):
        line = cudnn_line(wheel_release(wheel))
        least = line.minimum_capability(cuda_major) if line else None
        if least and least <= capability:
            return wheel
    return None


def faulty_cudnn(version: tuple[int, ...]) -> str:
    """Why a release is known to be faulty; "" where nothing is known."""
    rows = load_table("cudnn")["faulty"]
    return next((row["why"] for row in rows if version_numbers(row["cudnn"]) == version[:3]), "")


def wheel_release(wheel: str) -> tuple[int, ...]:
    """The cuDNN release of a wheel version: "9.10.2.21" is (9, 10, 2)."""
    return version_numbers(wheel)[:3]


def numbered_release(number: int) -> tuple[int, ...]:
    """The release of a CUDNN_VERSION: 8902 is (8, 9, 2), 91002 is (9, 10, 2)."""
    if number < 10000:
        return number // 1000, number % 1000 // 100, number % 100
    return number // 10000, number % 10000 // 100, number % 100
