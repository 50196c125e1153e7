"""Measurements of imaginary GPUs, for the tests of verdicts, baselines and records."""

from typing import Any

from gpudoctor.bench.measures import Counters, Rate, Replayed, Sample, Traits
from gpudoctor.bench.result import BenchResult, DeviceResult, Status

UUID = "GPU-11111111-2222-3333-4444-555555555501"
H200 = Traits("NVIDIA H200", UUID, "0000:18:00.0", (9, 0), 132, 60 << 20, 140 << 30, 1_980_000, 3_201_000, 6144)
L4 = Traits("NVIDIA L4", UUID, "0000:3b:00.0", (8, 9), 58, 48 << 20, 22 << 30, 2_040_000, 6_251_000, 192)
UNLISTED = H200._replace(name="NVIDIA Z900")


def rate(what: str = "product", precision: str = "fp16", median: float = 780.0, **changes: Any) -> Rate:
    """As a healthy H200 has it: 79 % of its peak at 1830 MHz."""
    unit = {"product": "TFLOPS", "training": "images/s", "convolution": "images/s"}.get(what, "GB/s")
    known = Rate(what, precision, "8192 x 8192 x 8192", unit, median, median * 1.01, 0.02, 100.0, 101.0)
    return known._replace(**changes)


def samples(sm_mhz: int | None = 1830, number: int = 10, began: float = 100.05, **changes: Any) -> list[Sample]:
    """Every 0.1 s from 100 s on, when the rates above are timed."""
    return [Sample(began + 0.1 * place, UUID, sm_mhz=sm_mhz, **changes) for place in range(number)]


def counters(**changes: Any) -> Counters:
    """A GPU at PCIe 5.0 x16 that counted nothing yet."""
    known = Counters(UUID, 0, 0, 0, 0, 0, 0, 0, 700.0, 1, 5, 16, 16, 1980, 141 << 30, 140 << 30)
    return known._replace(**changes)


def replay(bits: str = "aa", again: str = "", precision: str = "fp32", steps: int = 200) -> Replayed:
    return Replayed(precision, steps, bits, again or bits, 1e-7)


def device(traits: Traits | None = H200, *phases: Any, status: Status = Status.PASSED, **versions: str) -> DeviceResult:
    told = traits._asdict() if traits else None
    made = DeviceResult("a GPU", "cupy", "GPU 0", told, status, "It trains.", list(phases))
    made.versions = {"driver": "580.95.05", **versions}
    return made


def result(*devices: DeviceResult, level: str = "default", status: Status = Status.PASSED) -> BenchResult:
    return BenchResult("cupy", level, 0, status, "The GPU trains.", list(devices))
