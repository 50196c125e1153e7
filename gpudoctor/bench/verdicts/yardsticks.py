"""Yardsticks of rates: the most that this GPU, its memory or its link can do, and the share that healthy ones reach."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from gpudoctor.bench.measures import Counters, Rate, Sample, Traits
from gpudoctor.bench.verdicts import clocks
from gpudoctor.bench.words import amount
from gpudoctor.knowledge.peaks import is_shared, is_slice, multiply_adds, rated_gpu


class Least(NamedTuple):
    """Shares of the peak: below `passed` a warning, below `warned` a failure."""

    passed: float
    warned: float


# Healthy GPUs reach 0.73 to 1.0 of the peak in 16 bits and TF32 on square products (stas00/ml-engineering, MAMF;
# xzwgit/gpu-flops-bench), and 0.67 to 0.79 in fp32 at their rated clock.
TENSOR = Least(0.65, 0.50)
FP32 = Least(0.55, 0.40)

# An H200 copies at 0.90 of its memory's peak, bytes read and written; DCGM's slower kernel reaches 0.68 to 0.90.
COPY = Least(0.75, 0.60)

# nvbandwidth reaches 0.82 of PCIe 4.0 x16; DCGM warns below 0.75 of what is measured on a healthy machine. Below a
# fifth the link has lost most of its lanes, or trained at the speed of the first generation.
LINK = Least(0.75 * 0.82, 0.20)

# Convolution and training against what the products and copies of the same run would allow.
OF_MODELLED = 0.5

# GB/s of a lane in one direction, by PCIe generation, after the line coding.
LANE_GBS = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}

# Where the device's own word on its memory and the table's are further apart, neither is trusted to fail it.
_SAME_MEMORY = 0.15

_MODELLED = ("convolution", "training")


class Yardstick(NamedTuple):
    """What a rate is held against, or why there is nothing."""

    peak: float | None
    least: Least = TENSOR
    of: str = ""  # what the peak is: "of the 989 TFLOPS that 132 multiprocessors can do at 1830 MHz"
    may_fail: bool = True  # False: the peak is not certain enough for more than a warning
    why_not: str = ""  # without a peak: why
    hint: str = ""  # a sentence to add where it is slow


def yardstick(rate: Rate, traits: Traits | None, samples: Sequence[Sample], counters: Counters | None) -> Yardstick:
    """For one rate of a GPU (traits None: of a CPU), with the samples of the run and the counters from before it."""
    if rate.what in _MODELLED:
        return _modelled(rate)
    if traits is None:
        return Yardstick(None, why_not="how fast this CPU should be is not known")
    if is_shared(traits.name):
        return Yardstick(None, why_not="a virtual GPU takes turns with others")
    match rate.what:
        case "product":
            return _product(rate, traits, samples)
        case "copy":
            return _copy(traits, samples, rate)
        case "to device" | "to host":
            return _link(traits, counters)
        case _:
            return Yardstick(None, why_not="how fast the links between these GPUs should be is not known")


def _product(rate: Rate, traits: Traits, samples: Sequence[Sample]) -> Yardstick:
    adds = multiply_adds(traits.capability, traits.name, traits.sm_count, rate.precision)
    row = rated_gpu(traits.name, traits.sm_count)
    if adds is None:
        capability = "{}.{}".format(*traits.capability)
        return Yardstick(None, why_not=f"the peak of compute capability {capability} in {rate.precision} is not known")
    if row is not None and not row.formula_holds(rate.precision):
        return Yardstick(None, why_not=f"what a {row.name} can do in {rate.precision} is not known well enough")
    sampled = clock_during(rate, samples)
    clock = sampled or clocks.rated_mhz(traits)
    if clock is None:
        return Yardstick(None, why_not="neither the clock during the run nor the rated one is known")
    if sampled is None and row is not None and row.tdp_w <= clocks.SLOT_POWER:
        return Yardstick(None, why_not="its clock was not sampled, and its power does not allow the rated one")
    peak = traits.sm_count * clock * 1e6 * adds.number * 2 / 1e12
    words = f"at the {'measured' if sampled else 'rated'} {clock:.0f} MHz"
    hint = "" if sampled else "Its clock was not sampled: it may be slow, or slowed down."
    least = FP32 if rate.precision in ("fp32", "fp64") else TENSOR
    of = f"the {amount(peak)} TFLOPS that {traits.sm_count} multiprocessors can do {words}"
    return Yardstick(peak, least, of, sampled is not None, hint=hint)


def _copy(traits: Traits, samples: Sequence[Sample], rate: Rate) -> Yardstick:
    if is_slice(traits.name):
        return Yardstick(None, why_not="how much of the memory's speed a MIG slice has is not told")
    told = traits.memory_khz * 1e3 * 2 * traits.memory_bus_bits / 8 / 1e9  # two transfers a clock
    row = rated_gpu(traits.name, traits.sm_count)
    rated = row.memory_gbs if row is not None and row.confidence != "low" else 0.0
    peaks = [peak for peak in (told, rated) if peak > 0]
    if not peaks:
        return Yardstick(None, why_not="the speed of its memory is not told")
    agree = max(peaks) - min(peaks) <= _SAME_MEMORY * min(peaks)
    peak = peaks[0] if agree else min(peaks)
    return Yardstick(peak, COPY, f"the {peak:.0f} GB/s of its memory", agree, hint=_memory_clock(traits, samples, rate))


def _memory_clock(traits: Traits, samples: Sequence[Sample], rate: Rate) -> str:
    known = [sample.memory_mhz for sample in during(rate, samples) if sample.memory_mhz]
    full = traits.memory_khz / 1000
    if not known or not median(known) < 0.9 * full:
        return ""
    return f"Its memory ran at {median(known):.0f} of {full:.0f} MHz."


def _link(traits: Traits, counters: Counters | None) -> Yardstick:
    if is_slice(traits.name):
        return Yardstick(None, why_not="a MIG slice shares the PCIe link with the other slices")
    generation = counters.pcie_generation_max if counters else None
    width = counters.pcie_width_max if counters else None
    if not counters or not generation or not width or generation not in LANE_GBS:
        return Yardstick(None, why_not="NVML does not tell the PCIe link")
    peak = LANE_GBS[generation] * width
    now = counters.pcie_width
    hint = f"The link runs on {now} of {width} lanes." if now and now < width else ""
    return Yardstick(peak, LINK, f"the {peak:.1f} GB/s of PCIe {generation}.0 x{width}", hint=hint)


def _modelled(rate: Rate) -> Yardstick:
    if rate.modelled is None or not rate.modelled > 0:
        return Yardstick(
            None, why_not="without products and copies of the same run there is nothing to hold it against"
        )
    of = f"the {amount(rate.modelled)} {rate.unit} that the products and copies of the same run would allow"
    return Yardstick(rate.modelled, Least(OF_MODELLED, 0.0), of, may_fail=False)


def clock_during(rate: Rate, samples: Sequence[Sample]) -> float | None:
    """The median SM clock in MHz while a rate was timed. None: it was not sampled."""
    known = [sample.sm_mhz for sample in during(rate, samples) if sample.sm_mhz]
    return median(known) if known else None


def during(rate: Rate, samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if rate.began <= sample.at <= rate.ended]
