"""How fast a GPU's clock ran under load, against its rated boost clock, and what held it back."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from gpudoctor.bench.measures import Counters, Sample, Traits
from gpudoctor.bench.result import Judgement, Status
from gpudoctor.knowledge.peaks import rated_gpu

ID = "bench.clocks-throttled"

# Below this share of the rated boost clock something holds a GPU back that is not its load: healthy ones run products
# at 0.85 to 1.2 of it, unless their power is used up.
LEAST_SHARE = 0.85

# nvml.h, nvmlClocksEventReasons: what a machine in order does not do to a GPU.
SLOWDOWNS = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
APPLICATION_CLOCKS = 0x02  # somebody set them, or locked the clocks
POWER_CAP = 0x04
REASONS = {0x01: "idle", APPLICATION_CLOCKS: "clocks set by an administrator", POWER_CAP: "software power cap"}
REASONS |= {0x10: "sync boost", 0x100: "display clocks"} | SLOWDOWNS

# A single sample of a slowdown is a spike when the load begins; two are 0.2 s.
LEAST_SAMPLES = 2

# A card that draws this much of its limit is stopped by its power, as it is built to be.
AT_ITS_LIMIT = 0.90

# Watts: cards fed by the slot alone never come near their boost clock (the L4 of 72 W runs products at half of it).
SLOT_POWER = 75


class Clocks(NamedTuple):
    """What the samples under load say."""

    judged: bool  # False: NVML told neither clocks nor reasons
    judgements: tuple[Judgement, ...]
    numbers: dict[str, Any]
    words: str  # a sentence for the report, "" nothing to say


def judge_clocks(samples: Sequence[Sample], traits: Traits | None, counters: Counters | None) -> Clocks:
    """Warned if the GPU was slowed down under the load during which the samples were taken. A power cap is normal.

    traits, counters: for the rated clock and the power limit; without them only slowdowns are seen.
    """
    clocks = [sample.sm_mhz for sample in samples if sample.sm_mhz]
    told = [sample.reasons for sample in samples if sample.reasons is not None]
    rated = rated_mhz(traits)
    clock = median(clocks) if clocks else None
    share = clock / rated if clock and rated else None
    seen = {bit: sum(bool(reasons & bit) for reasons in told) for bit in REASONS}
    numbers: dict[str, Any] = {
        "samples": len(samples),
        "sm_mhz": clock,
        "rated_mhz": rated,
        "clock_share": share,
        "power_w": _middle([sample.power_w for sample in samples]),
        "power_limit_w": counters.power_limit_w if counters else None,
        "hottest_c": max((s.temperature_c for s in samples if s.temperature_c is not None), default=None),
        "reasons": {REASONS[bit]: count / len(told) for bit, count in seen.items() if count},
    }
    if not told and share is None:
        return Clocks(False, (), numbers, "NVML told no clocks during the run, so that they were not judged.")
    slowed = [name for bit, name in SLOWDOWNS.items() if seen[bit] >= LEAST_SAMPLES]
    if slowed:
        most = max(seen[bit] for bit in SLOWDOWNS) / len(told)
        text = f"Under load the GPU slowed itself down: {', '.join(slowed)} in {most:.0%} of the samples"
        return _slow(f"{text}{_heat(numbers)}.{_clock_words(clock, rated)}", numbers)
    if share is None or share >= LEAST_SHARE:
        return Clocks(True, (), numbers, "")
    running = f"Under load the clock was {clock:.0f} MHz, {share:.0%} of the rated boost of {rated:.0f} MHz"
    if seen[POWER_CAP] >= LEAST_SAMPLES:
        if _at_its_limit(numbers):
            return Clocks(True, (), numbers, f"{running}: its power is used up, as is normal at full load.")
        return _slow(
            f"{running}: it is held at a power of {numbers['power_w']:.0f} W, below its own limit of "
            f"{numbers['power_limit_w']:.0f} W.",
            numbers,
        )
    if seen[APPLICATION_CLOCKS] >= LEAST_SAMPLES:
        return _slow(f"{running}: somebody has set its clocks so low.", numbers)
    return _slow(f"{running}, and the driver tells no reason.", numbers)


def rated_mhz(traits: Traits | None) -> float | None:
    """The rated boost clock, as CUDA tells it or the table of models. None: unknown."""
    if traits is None:
        return None
    if traits.boost_khz > 0:
        return traits.boost_khz / 1000
    row = rated_gpu(traits.name, traits.sm_count)
    return row.boost_mhz if row else None


def _slow(text: str, numbers: dict[str, Any]) -> Clocks:
    return Clocks(True, (Judgement(ID, Status.WARNED, "clocks", text),), numbers, "")


def _at_its_limit(numbers: dict[str, Any]) -> bool:
    """Also where the limit or the power is not told: nothing speaks against it then."""
    power, limit = numbers["power_w"], numbers["power_limit_w"]
    return not power or not limit or limit <= SLOT_POWER or power >= AT_ITS_LIMIT * limit


def _heat(numbers: dict[str, Any]) -> str:
    hottest = numbers["hottest_c"]
    return "" if hottest is None else f", at up to {hottest} °C"


def _clock_words(clock: float | None, rated: float | None) -> str:
    if clock is None or rated is None:
        return ""
    return f" Its clock was {clock:.0f} MHz, {clock / rated:.0%} of the rated boost of {rated:.0f} MHz."


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
