"""The numerics phase: does the device compute what the CPU computes in float64?

A smooth net is trained for some steps on both: no rectifier and no maximum in it, where rounding could flip a sign or
a winner, so that the two curves can be compared a thousand times more sharply than those of the usual net.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy

from gpudoctor.bench import net as nets
from gpudoctor.bench.devices.device import Array, CannotRun, Device, DoesNotTrain
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.gradient_check import gradient_errors
from gpudoctor.bench.job import LEFT_OUT, Job, Level
from gpudoctor.bench.learning import stay_at_home
from gpudoctor.bench.measures import Curve
from gpudoctor.bench.measuring.materials import MOMENTUM, RATE, Materials, numerics_materials, reference_run
from gpudoctor.bench.nodes import SoftmaxCrossEntropy


class Numerics(NamedTuple):
    """What the phase measures."""

    curves: tuple[Curve, ...]  # one for each precision
    gradient_errors: dict[str, float]  # worst relative error of each node against differences, empty: not checked


def measure_numerics(device: Device, job: Job, say: Callable[[str], None]) -> Numerics:
    """Trains the smooth net in every precision of the device, and beside it in float64 on the CPU."""
    errors: dict[str, float] = {}
    # On a GPU the check compiles many kernels of float64, and the comparison below sees the same faults.
    if job.level is not Level.QUICK or device.traits is None:
        say("checking the gradients of every node")
        errors = gradient_errors(device.xp)
    materials = numerics_materials(job.seed)
    losses, gradient = reference_run(materials)
    curves = []
    for precision in device.precisions:
        say(f"training in {precision.value} beside float64 on the CPU")
        try:
            curves.append(_curve(device, precision, materials, losses, gradient))
        except CannotRun as why:
            say(f"{LEFT_OUT}{precision.value}: {why}")
    if not curves:
        raise CannotRun("The device computes in none of the precisions that can be compared.")
    return Numerics(tuple(curves), errors)


def _curve(
    device: Device, precision: Precision, materials: Materials, reference: numpy.ndarray, first: numpy.ndarray
) -> Curve:
    xp = device.computing_in(precision)
    parameters = [tuple(device.xp.asarray(one.astype("float32")) for one in own) for own in materials.parameters]
    velocities = nets.zeros_like(device.xp, parameters)
    end = SoftmaxCrossEntropy()
    losses: list[Array] = []
    gradient: list[Array] = []
    for images, labels in zip(materials.images, materials.labels, strict=True):
        x, t = device.xp.asarray(images.astype("float32")), device.xp.asarray(labels)
        went = nets.forward(materials.net, xp, x, parameters)
        loss, kept = end.forward(xp, went.scores, t)
        back = nets.backward(materials.net, xp, went, end.backward(xp, kept))
        if not losses:
            gradient = [slope for own in back.parameters for slope in own]
        losses.append(loss)
        nets.momentum_step(parameters, velocities, back.parameters, rate=RATE, momentum=MOMENTUM)
    stay_at_home(device, "the losses", losses)
    stay_at_home(device, "the gradients of the first step", gradient)
    stay_at_home(device, "the parameters", [one for own in parameters for one in own])
    told = numpy.array([float(loss) for loss in losses])
    slopes = numpy.concatenate([numpy.asarray(device.to_host(one), dtype="float64").ravel() for one in gradient])
    if slopes.shape != first.shape:
        raise DoesNotTrain(f"The gradient has {slopes.size} numbers where {first.size} belong.")
    return Curve(
        precision.value,
        tuple(told.tolist()),
        tuple(reference.tolist()),
        # max passes a NaN on: numpy's does, Python's may not.
        float(numpy.max(abs(told - reference) / abs(reference))),
        float(numpy.linalg.norm(slopes - first) / numpy.linalg.norm(first)),
    )
