"""Is it as fast as it should be? Each rate against what this GPU can do at the clock that it ran at.

The yardstick of a product is made from the GPU's own multiprocessors and the clock sampled meanwhile: it needs no
table of models, and it parts a GPU that is slow from one that was slowed down. What has no trustworthy yardstick is
reported and not judged. Every comparison is written so that a NaN fails it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from gpudoctor.bench.job import Phase
from gpudoctor.bench.measures import Counters, Rate, Sample, Traits
from gpudoctor.bench.result import Judgement, PhaseResult, Status, by_the_worst
from gpudoctor.bench.verdicts import clocks
from gpudoctor.bench.verdicts.yardsticks import Yardstick, clock_during, during, yardstick
from gpudoctor.bench.words import amount
from gpudoctor.knowledge.peaks import measured_rate, rated_gpu

# DCGM sets the threshold of each model to this share of what NVIDIA measured (comments in nvvs/diag-skus.yaml).
OF_MEASURED = 0.75

# Relative error (L2) of a product's checked rows against float64: rounding explains a tenth of each.
ERROR_LIMITS = {"fp64": 1e-10, "fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3, "bf16": 1e-2}

# The groups of one rate that lie further apart than this share do not repeat.
STEADY = 0.05


class _Row(NamedTuple):
    """One rate, judged."""

    rate: Rate
    numbers: dict[str, Any]
    judgements: tuple[Judgement, ...]
    judged: tuple[str, ...]  # ids of the checks for which there is a verdict, good or bad


def judge_rates(
    rates: Sequence[Rate],
    traits: Traits | None,
    samples: Sequence[Sample] = (),
    counters: Counters | None = None,
) -> PhaseResult:
    """The phases throughput and between GPUs (by what was timed). Failed: far too slow, or wrong; warned: too slow.

    traits: None for a CPU. samples: of this GPU during the run. counters: from before it, for the PCIe link and the
    power limit. Of `numbers`, "judged" lists the ids for which there is a verdict, and "rates" each rate with its
    "peak", "share" of it, "clock_mhz" and "verdict".
    """
    name = Phase.THROUGHPUT.value
    if rates and all(rate.what in ("peer copy", "all-reduce") for rate in rates):
        name = Phase.BETWEEN_GPUS.value
    best = _fastest(rates)
    rows = [
        _judged(rate, yardstick(rate, traits, samples, counters) if rate in best else _SLOWER_WAY, traits, samples)
        for rate in rates
    ]
    found = [judgement for row in rows for judgement in row.judgements]
    judged = {id for row in rows for id in row.judged}
    numbers: dict[str, Any] = {"rates": [row.numbers for row in rows]}
    notes = []
    if traits is not None and name == Phase.THROUGHPUT.value:
        under_load = [sample for rate in rates if rate.what == "product" for sample in during(rate, samples)]
        told = clocks.judge_clocks(under_load, traits, counters)
        found += told.judgements
        judged |= {clocks.ID} if told.judged else set()
        numbers["clocks"] = told.numbers
        notes += [told.words] if told.words else []
    numbers["judged"] = sorted(judged)
    unsteady = [f"{_subject(row.rate)} ({row.rate.spread:.0%})" for row in rows if row.numbers["unsteady"]]
    if unsteady:
        notes.append(f"Unsteady, by the spread of its groups: {', '.join(unsteady)}.")
    if not rates:
        return PhaseResult(name, Status.SKIPPED, "Nothing was timed.", [], numbers)
    if found:
        return by_the_worst(name, found, numbers)
    if not judged:
        why = next((row.numbers["why_not"] for row in rows if row.numbers["why_not"]), "nothing was checked")
        return PhaseResult(name, Status.SKIPPED, f"Timed, but not judged: {why}.", [], numbers)
    return PhaseResult(name, Status.PASSED, " ".join([_summary(rows), *notes]), [], numbers)


# Of two ways to convolve the slower is there for comparison, and is known to be slow.
_SLOWER_WAY = Yardstick(None, why_not="a faster way to do the same was timed, too")


def _fastest(rates: Sequence[Rate]) -> list[Rate]:
    """All rates, of the convolutions in one precision only the fastest. One that is no number stays, to be judged."""
    most: dict[str, float] = {}
    for rate in rates:
        if rate.what == "convolution" and rate.median > most.get(rate.precision, 0.0):
            most[rate.precision] = rate.median
    return [rate for rate in rates if rate.what != "convolution" or not rate.median < most.get(rate.precision, 0.0)]


def _judged(rate: Rate, stick: Yardstick, traits: Traits | None, samples: Sequence[Sample]) -> _Row:
    id = _check_of(rate.what)
    judgements, judged = _error(rate)
    verdict = "not judged"
    share = rate.median / stick.peak if stick.peak else None
    if not (math.isfinite(rate.median) and rate.median > 0):
        text = f"The {_subject(rate)} came out at {rate.median} {rate.unit}, which no clock can have measured."
        judgements.append(Judgement(id, Status.FAILED, _subject(rate), text))
        judged.append(id)
        verdict, share = Status.FAILED.value, None
    elif share is not None:
        judged.append(id)
        status = _status(share, stick)
        verdict = status.value
        if status is not Status.PASSED:
            judgements.append(Judgement(id, status, _subject(rate), _too_slow(rate, share, stick)))
        elif known := _below_measured(rate, traits):
            judgements.append(known)
            verdict = Status.WARNED.value
    numbers = {
        **rate._asdict(),
        "clock_mhz": clock_during(rate, samples),
        "peak": stick.peak,
        "share": share,
        "verdict": verdict,
        "why_not": stick.why_not,
        "unsteady": not rate.spread <= STEADY,
    }
    return _Row(rate, numbers, tuple(judgements), tuple(judged))


def _error(rate: Rate) -> tuple[list[Judgement], list[str]]:
    """The verdict on the numbers that came out, where a part of them was checked."""
    if rate.error is None:
        return [], []
    limit = ERROR_LIMITS.get(rate.precision, 0.0)  # what only moves numbers moves them unchanged
    if rate.error <= limit:
        return [], ["bench.numerics-wrong"]
    if rate.precision:
        wrong = f"relative error {rate.error:.1e} against float64, limit {limit:.0e}"
    else:
        wrong = f"a share of {rate.error:.1e} of what arrived is not what was sent"
    text = f"The {_subject(rate)} gives wrong numbers: {wrong}."
    return [Judgement("bench.numerics-wrong", Status.FAILED, _subject(rate), text)], ["bench.numerics-wrong"]


def _status(share: float, stick: Yardstick) -> Status:
    if share >= stick.least.passed:
        return Status.PASSED
    return Status.WARNED if share >= stick.least.warned or not stick.may_fail else Status.FAILED


def _below_measured(rate: Rate, traits: Traits | None) -> Judgement | None:
    """Against what others measured on the same model: never more than a warning, for they measured other shapes."""
    row = rated_gpu(traits.name, traits.sm_count) if traits else None
    what = {"product": rate.precision, "copy": "copy"}.get(rate.what, "")
    known = measured_rate(row, what) if row and what else None
    if known is None or not rate.median < OF_MEASURED * known.rate:
        return None
    text = (
        f"The {_subject(rate)} reaches {_amount(rate)}: {rate.median / known.rate:.0%} of the {amount(known.rate)} "
        f"{rate.unit} measured on a {row.name if row else 'GPU'} elsewhere ({known.how})."
    )
    return Judgement(_check_of(rate.what), Status.WARNED, _subject(rate), text)


def _too_slow(rate: Rate, share: float, stick: Yardstick) -> str:
    text = (
        f"The {_subject(rate)} reaches {_amount(rate)}: {share:.1%} of {stick.of}; a healthy machine reaches "
        f"{stick.least.passed:.0%} or more."
    )
    return f"{text} {stick.hint}".rstrip()


def _check_of(what: str) -> str:
    match what:
        case "product":
            return "bench.compute-slow"
        case "copy":
            return "bench.memory-slow"
        case "convolution" | "training":
            return "bench.convolution-slow"
        case _:
            return "bench.pcie-slow"


def _subject(rate: Rate) -> str:
    what = {"to device": "copy from host to GPU", "to host": "copy from GPU to host"}.get(rate.what, rate.what)
    return f"{what} in {rate.precision}" if rate.precision else what


def _amount(rate: Rate) -> str:
    return f"{amount(rate.median)} {rate.unit}"


def _summary(rows: Sequence[_Row]) -> str:
    """Of what was judged: "Products reach 71 to 80 % of the peak, copies 90 %." """
    parts = []
    for what, words in (("product", "products"), ("copy", "copies"), *_LINK_WORDS.items()):
        shares = [row.numbers["share"] for row in rows if row.rate.what == what and row.numbers["share"] is not None]
        if shares:
            low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
            parts.append(f"{words} {low}" if low == high else f"{words} {low} to {high}")
    if parts:
        return f"Of what this GPU can do at its clock: {', '.join(parts)}."
    return "The numbers are right; how fast it should be is not known."


_LINK_WORDS = {"to device": "from the host", "to host": "to the host"}
