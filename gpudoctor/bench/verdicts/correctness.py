"""Does it compute and train rightly? Verdicts on the phases numerics, training and replay.

Every comparison is written so that a NaN fails it: `not error <= limit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpudoctor.bench.gradient_check import LIMIT
from gpudoctor.bench.measures import Burned, Curve, Replayed, Trained
from gpudoctor.bench.measuring.checksum import RESIDUAL_LIMIT
from gpudoctor.bench.phases.numerics import Numerics
from gpudoctor.bench.phases.training import ACCURACY_NEEDED, LOSS_FALLEN
from gpudoctor.bench.result import Judgement, PhaseResult, Status, by_the_worst
from gpudoctor.bench.words import size

# The largest relative deviation of a loss from float64 within 30 steps, by precision. Measured over six seeds with
# the products' factors rounded as each precision does: fp32 1e-7, fp16 and tf32 1.4e-4 (1.4e-3 where hardware
# truncates), bf16 7e-4; a net of other widths went up to 4e-3 in tf32 and 3e-3 in bf16.
LOSS_LIMITS = {"fp32": 1e-5, "tf32": 2e-2, "fp16": 5e-3, "bf16": 2e-2}

# The same for the whole gradient of the first step (L2): fp32 4e-7, fp16 and tf32 7e-4 (7e-3 truncated), bf16 7e-3.
GRADIENT_LIMITS = {"fp32": 1e-5, "tf32": 2e-2, "fp16": 5e-3, "bf16": 5e-2}

# After 30 steps a right training has come down to 0.7 of its first loss; one that only wobbles has not.
FALLEN = 0.85
_LAST = 5


def judge_numerics(measured: Numerics) -> PhaseResult:
    """Failed if a gradient, a curve or the fall of a loss is wrong in any precision."""
    found: list[Judgement] = []
    for name, error in measured.gradient_errors.items():
        if not error <= LIMIT:
            text = (
                f"The gradient of {name} is wrong: relative error {error:.1e} against differences, limit {LIMIT:.0e}."
            )
            found.append(Judgement("bench.does-not-train", Status.FAILED, f"gradient of {name}", text))
    for curve in measured.curves:
        found += _judge_curve(curve)
    numbers: dict[str, Any] = {
        "gradient_check": {"limit": LIMIT, "errors": measured.gradient_errors},
        "curves": [
            {
                **curve._asdict(),
                "loss_limit": LOSS_LIMITS[curve.precision],
                "gradient_limit": GRADIENT_LIMITS[curve.precision],
            }
            for curve in measured.curves
        ],
    }
    if not measured.curves and not found:
        return PhaseResult("numerics", Status.SKIPPED, "Nothing was compared with float64.", [], numbers)
    named = ", ".join(f"{curve.precision} {curve.loss_error:.0e}" for curve in measured.curves)
    reason = f"The loss follows float64 on the CPU: largest relative deviation {named}."
    return _result("numerics", found, reason, numbers)


def judge_training(measured: Trained) -> PhaseResult:
    """Failed if the net did not learn to read."""
    found: list[Judgement] = []
    accuracy = measured.accuracies[-1] if measured.accuracies else float("nan")
    loss = measured.losses[-1] if measured.losses else float("nan")
    standing = f"it reads {accuracy:.1%} of digits it never saw, after {len(measured.losses)} epochs"
    if not (accuracy >= ACCURACY_NEEDED and loss < LOSS_FALLEN * measured.untrained_loss):
        text = (
            f"The net does not learn: {standing}; needed are {ACCURACY_NEEDED:.0%}, and a loss below "
            f"{LOSS_FALLEN * measured.untrained_loss:.2f}, which is {loss:.2f}."
        )
        found.append(Judgement("bench.does-not-train", Status.FAILED, "digits", text))
    numbers = {**measured._asdict(), "accuracy_needed": ACCURACY_NEEDED}
    return _result("training", found, f"The net learns: {standing}.", numbers)


def judge_replay(measured: Sequence[Replayed]) -> PhaseResult:
    """Failed if two runs of one training ended in different bits, or a product's column sums do not fit."""
    found: list[Judgement] = []
    for replay in measured:
        if replay.first != replay.second:
            text = (
                f"The same training in {replay.precision} ended in other bits the second time "
                f"({replay.first[:12]}, {replay.second[:12]}): the device computes wrongly now and then."
            )
            found.append(Judgement("bench.replay-differs", Status.FAILED, f"replay in {replay.precision}", text))
        if replay.residual is not None and not replay.residual <= RESIDUAL_LIMIT:
            text = (
                f"A matrix product in {replay.precision} does not agree with its column sums: residual "
                f"{replay.residual:.1e}, limit {RESIDUAL_LIMIT:.0e}."
            )
            found.append(Judgement("bench.replay-differs", Status.FAILED, f"products in {replay.precision}", text))
    named = ", ".join(replay.precision for replay in measured)
    steps = max((replay.steps for replay in measured), default=0)
    numbers = {"replays": [replay._asdict() for replay in measured], "residual_limit": RESIDUAL_LIMIT}
    if not measured:
        return PhaseResult("replay", Status.SKIPPED, "Nothing was replayed.", [], numbers)
    return _result("replay", found, f"{steps} steps, twice, end in the same bits: {named}.", numbers)


def judge_burn(measured: Burned) -> PhaseResult:
    """Failed if under full load a bit was not what it was before, or a NaN came out. Heat is judged with the clocks."""
    found: list[Judgement] = []
    if measured.mismatches:
        text = f"Under full load {measured.mismatches:,} numbers came out otherwise than the first time."
        found.append(Judgement("bench.replay-differs", Status.FAILED, "products under load", text))
    if measured.wrong_hashes:
        text = f"Under full load {measured.wrong_hashes} of {measured.hashes} trainings ended in other bits."
        found.append(Judgement("bench.replay-differs", Status.FAILED, "training under load", text))
    if not measured.worst_residual <= RESIDUAL_LIMIT:
        text = (
            f"Under full load a product did not agree with its column sums: residual {measured.worst_residual:.1e}, "
            f"limit {RESIDUAL_LIMIT:.0e}."
        )
        found.append(Judgement("bench.replay-differs", Status.FAILED, "products under load", text))
    numbers = {**measured._asdict(), "residual_limit": RESIDUAL_LIMIT}
    if not (measured.rounds and measured.hashes):
        return PhaseResult("burn", Status.SKIPPED, "Nothing was compared under load.", found, numbers)
    reason = (
        f"{measured.seconds:.0f} s of full load: {measured.rounds:,} rounds over {size(measured.memory_bytes)} of "
        f"memory gave the same bits, trainings among them: {measured.hashes}."
    )
    return _result("burn", found, reason, numbers)


def _judge_curve(curve: Curve) -> list[Judgement]:
    found = []
    for what, error, limit in (
        ("loss", curve.loss_error, LOSS_LIMITS[curve.precision]),
        ("gradient of the first step", curve.gradient_error, GRADIENT_LIMITS[curve.precision]),
    ):
        if not error <= limit:
            text = (
                f"The {what} in {curve.precision} is not what float64 on the CPU gives: relative deviation "
                f"{error:.1e}, limit {limit:.0e}."
            )
            found.append(Judgement("bench.numerics-wrong", Status.FAILED, f"{what} in {curve.precision}", text))
    if not curve.losses or len(curve.losses) != len(curve.reference):
        text = f"{len(curve.losses)} of {len(curve.reference)} steps were trained in {curve.precision}."
        found.append(Judgement("bench.numerics-wrong", Status.FAILED, f"loss in {curve.precision}", text))
        return found
    last = sum(curve.losses[-_LAST:]) / len(curve.losses[-_LAST:])
    if not last < FALLEN * curve.losses[0]:
        text = f"The loss in {curve.precision} does not fall: {curve.losses[0]:.3f} at first, {last:.3f} at the end."
        found.append(Judgement("bench.does-not-train", Status.FAILED, f"loss in {curve.precision}", text))
    return found


def _result(name: str, found: list[Judgement], reason: str, numbers: dict[str, Any]) -> PhaseResult:
    return by_the_worst(name, found, numbers) if found else PhaseResult(name, Status.PASSED, reason, [], numbers)
