"""What a GPU can do at most: multiply-adds a clock by compute capability, and by model the rated and measured rates.

A precision is "fp32", "tf32", "fp16" or "bf16". Rates of products are dense TFLOPS with sums in fp32, memory is GB/s
(1e9).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from gpudoctor.knowledge import load_table
from gpudoctor.knowledge.cuda import version_pair


class RatedGpu(NamedTuple):
    """A row of the table of models."""

    name: str
    capability: tuple[int, int]
    rate_class: str  # "full" or "half" rate of the tensor cores, "none": there are none; "" where all have one rate
    sm_count: int
    boost_mhz: int
    rated: Mapping[str, float]  # precision to TFLOPS; a precision that it does not have is not there
    memory_gbs: float
    tdp_w: int
    pcie: str  # "4.0x16"
    tensor_source: str  # "published", "derived", "recalled, agrees with formula", "recalled, not confirmed", "none"
    confidence: str  # "high", "medium", "low"
    mismatch: Mapping[str, tuple[float, float]]  # precision to (rated, by the formula), where they differ
    note: str

    def formula_holds(self, precision: str) -> bool:
        """Whether multiply-adds, multiprocessors and clock give this GPU's peak in a precision.

        Not where the makers limit it otherwise (H20), nor where only memory says what it should be (A10G).
        """
        if self.confidence == "low":
            return False
        rated, formula = self.mismatch.get("fp16" if precision == "bf16" else precision, (1.0, 1.0))
        return abs(rated - formula) <= _SAME * formula


class MultiplyAdds(NamedTuple):
    """Multiply-adds a clock and multiprocessor."""

    number: int
    certain: bool  # False: the model decides between rates, and is not known; the lowest was taken


class MeasuredRate(NamedTuple):
    """What others measured on a healthy GPU of a model."""

    rate: float  # TFLOPS or GB/s
    how: str
    source: str


# What a precision's stated rate may differ from the formula before the formula is no longer trusted for it. Rounding
# and other clocks explain less (B200 in fp32: 7.5 %).
_SAME = 0.10

# Names of slices, shares and weaker editions: the whole card's row says nothing of them.
_OTHER_EDITIONS = re.compile(r"\b(Laptop|Max-Q|Mobile|MIG|vGPU|GRID)\b|-\d+[ABCQ]$", re.IGNORECASE)


def rated_gpu(name: str, sm_count: int) -> RatedGpu | None:
    """The row for a GPU by the name that the driver gives it. None: there is none, or the row is of another edition.

    Several editions share a name (RTX 3080 with 10 and 12 GB), or nearly: a row counts only where the GPU has its
    number of multiprocessors.
    """
    if _OTHER_EDITIONS.search(name):
        return None
    best = ""
    found = None
    for row in load_table("gpu_peaks")["gpus"]:
        for pattern in row["match"]:
            if len(pattern) > len(best) and row["sm"] == sm_count and _is_named(pattern, name):
                best, found = pattern, row
    return None if found is None else _row(found)


def multiply_adds(capability: tuple[int, int], name: str, sm_count: int, precision: str) -> MultiplyAdds | None:
    """For a GPU of this compute capability and name, which may be a slice's. None: not known, or not at all."""
    classes = load_table("gpu_peaks")["multiply_adds"].get("{}.{}".format(*capability))
    if classes is None:
        return None
    column = "fp16" if precision == "bf16" and capability >= (8, 0) else precision
    numbers = {rate_class: row.get(column, 0) for rate_class, row in classes.items()}
    rate_class = _rate_class(name, sm_count)
    certain = rate_class in numbers or len(set(numbers.values())) == 1
    number = numbers[rate_class] if rate_class in numbers else min(numbers.values())
    return MultiplyAdds(number, certain) if number else None


def measured_rate(gpu: RatedGpu, what: str) -> MeasuredRate | None:
    """What was measured on this model: `what` is a precision, or "copy" (bytes read and written). None: nothing."""
    table = load_table("gpu_peaks")
    for row in table["measured"]:
        if row["gpu"] == gpu.name and row["what"] == what:
            return MeasuredRate(row["rate"], row["how"], table["sources"][table["source_names"][row["source"]]])
    return None


def lacks_tensor_cores(name: str) -> bool:
    """Is it one of the small Turing GPUs, whose compute capability alone promises tensor cores?"""
    return any(_is_named(pattern, name) for pattern in load_table("gpu_peaks")["without_tensor_cores"])


def is_shared(name: str) -> bool:
    """Is it a virtual GPU, by its name? It has a part of a card, in turn with others."""
    return re.search(r"\b(vGPU|GRID)\b|-\d+[ABCQ]$", name) is not None


def is_slice(name: str) -> bool:
    """Is it a MIG slice, by its name?"""
    return re.search(r"\bMIG\b", name) is not None


def _is_named(pattern: str, name: str) -> bool:
    """As whole words: T4 is not in "NVIDIA T400", nor H200 in "NVIDIA GH200"."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(pattern)}(?![A-Za-z0-9])", name) is not None


def _rate_class(name: str, sm_count: int) -> str:
    """The class of a model: all GeForce RTX have half the rate with sums in fp32."""
    row = rated_gpu(name, sm_count)
    if row is not None:
        return row.rate_class
    if "GeForce RTX" in name:
        return "half"
    return "none" if lacks_tensor_cores(name) else "unknown"


def _row(row: Mapping[str, Any]) -> RatedGpu:
    return RatedGpu(
        row["name"],
        version_pair(row["capability"]),
        row["rate_class"],
        row["sm"],
        row["boost_mhz"],
        row["rated"],
        row["memory_gbs"],
        row["tdp_w"],
        row["pcie"],
        row["tensor_source"],
        row["confidence"],
        {precision: (rated, formula) for precision, (rated, formula) in row.get("mismatch", {}).items()},
        row.get("note", ""),
    )
