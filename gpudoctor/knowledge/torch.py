"""What is known of PyTorch releases for Linux: the wheel that PyPI serves, and the CUDA variants beside it.

CUDA releases are pairs (12, 8), architectures are words of torch's own list ("sm_75", "compute_120" for PTX).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gpudoctor.knowledge import load_table
from gpudoctor.knowledge.cuda import version_pair


class TorchBuild(NamedTuple):
    """The wheel of a release that `pip install torch` fetches."""

    version: str
    machine: str
    cuda: tuple[int, int] | None  # None: built for the CPU
    architectures: tuple[str, ...]  # () where cuda is None
    pythons: tuple[str, ...]  # "cp310", "cp313t"; () where it was not recorded (aarch64)
    ptx_told: bool  # False: from CUDA 12.8 on the list names no PTX, yet some of these wheels may carry it
    requires: Mapping[str, str]  # {"nvidia-cudnn-cu12": "==9.10.2.21"}; empty where the wheel bundles, and on aarch64


class TorchVariant(NamedTuple):
    """One CUDA variant of a minor release, x86_64."""

    cuda: tuple[int, int]
    index_url: str  # "https://download.pytorch.org/whl/cu126"
    architectures: tuple[str, ...]  # () where it is not known
    pythons: tuple[tuple[int, int], tuple[int, int]] | None  # first and last minor release, None: not known
    verified: bool  # False: inferred or from memory
    default: bool  # True: PyPI serves this one


def default_build(version: str, machine: str = "x86_64") -> TorchBuild | None:
    """The PyPI wheel of a release ("2.8.0"; a local part such as "+cu128" is not looked at); None: unknown.

    `machine` is what the kernel calls it: "x86_64" or "aarch64".
    """
    table = load_table("torch")
    rows = table.get(machine) if machine in ("x86_64", "aarch64") else None
    public = version.partition("+")[0]
    row = next((row for row in rows or () if row["torch"] == public), None)
    if row is None:
        return None
    cuda = version_pair(row["cuda"]) if row["cuda"] else None
    return TorchBuild(
        public,
        machine,
        cuda,
        tuple(row.get("architectures", ())),
        tuple(row.get("pythons", ())),
        cuda is None or cuda < version_pair(table["ptx_not_told_from"]),
        _requires(table, row.get("requires", {})),
    )


def older_default(version: str) -> tuple[int, int] | None:
    """The CUDA of the PyPI wheel of a release before 1.10 ("1.3.1"), of which no more is recorded; None: unknown."""
    minor = ".".join(version.partition("+")[0].split(".")[:2])
    row = next((row for row in load_table("torch")["older"] if row["torch"] == minor), None)
    return version_pair(row["cuda"]) if row else None


def variants(version: str) -> tuple[TorchVariant, ...]:
    """The CUDA variants of a release ("2.8.1") or minor release ("2.8"), oldest CUDA first; empty: unknown."""
    table = load_table("torch")
    minor = ".".join(version.partition("+")[0].split(".")[:2])
    row = next((row for row in table["variants"] if row["torch"] == minor), None)
    if row is None:
        return ()
    span = row["pythons"]
    pythons = (version_pair(span[0]), version_pair(span[1])) if span else None
    return tuple(
        TorchVariant(
            version_pair(variant["cuda"]),
            table["index"].format(cuda=variant["cuda"].replace(".", "")),
            tuple(variant["architectures"]),
            pythons,
            not variant.get("unverified", False),
            variant["cuda"] == row["default"],
        )
        for variant in row["variants"]
    )


def releases() -> tuple[str, ...]:
    """The releases with a known PyPI wheel for x86_64, oldest first."""
    return tuple(row["torch"] for row in load_table("torch")["x86_64"])


def _requires(table: dict[str, Any], value: dict[str, str] | str) -> dict[str, str]:
    """The requirements of a row; a text names the release whose requirements are the same."""
    if isinstance(value, str):
        value = next(row["requires"] for row in table["x86_64"] if row["torch"] == value)
        assert isinstance(value, dict)
    return dict(value)
