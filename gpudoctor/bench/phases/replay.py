"""The replay phase: the same training twice must end in the same bits, on one GPU and on all of one model.

A fault of the silicon that corrupts a number now and then hardly moves the loss, but it changes the weights. cuBLAS
promises the same bits for the same calls on the same architecture with one stream (cuBLAS documentation, "Results
reproducibility"); our own kernels use no atomic additions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy

from gpudoctor.bench import net as nets
from gpudoctor.bench.datasets.glyphs import CLASSES, SIZE, draw
from gpudoctor.bench.devices.device import Array, ArrayModule, Device
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.job import Job
from gpudoctor.bench.measures import Replayed
from gpudoctor.bench.measuring.checksum import Checked
from gpudoctor.bench.nodes import SoftmaxCrossEntropy

RATE, MOMENTUM = 0.02, 0.9


class Load(NamedTuple):
    """How much of it: a GPU gets products that fill all its multiprocessors, a CPU some that are soon done."""

    widths: tuple[int, int]
    batch: int
    steps: int


ON_GPU = Load((32, 64), 256, 60)
ON_CPU = Load((8, 16), 32, 20)


def measure_replay(device: Device, job: Job, say: Callable[[str], None]) -> list[Replayed]:
    """Trains twice in every precision; the second time in float32 every product is checked by its column sums."""
    load = ON_GPU if device.traits is not None else ON_CPU
    replays = []
    for precision in device.precisions:
        say(f"training twice in {precision.value}, to the same bits")
        xp = device.computing_in(precision)
        first = weights_after(device, xp, job.seed, load)
        checked = Checked(xp) if precision is Precision.FP32 else None
        second = weights_after(device, checked or xp, job.seed, load)
        replays.append(Replayed(precision.value, load.steps, first, second, checked.residual if checked else None))
    return replays


def weights_after(device: Device, xp: ArrayModule, seed: int, load: Load) -> str:
    """The SHA-256, hexadecimal, of all parameters after `load.steps` steps from the same start."""
    net = nets.smooth_net(SIZE, CLASSES, load.widths)
    glyphs = draw(load.batch * 4, [seed, 6])
    images, labels = device.xp.asarray(glyphs.images), device.xp.asarray(glyphs.labels)
    parameters = nets.initial_parameters(net, device.xp, numpy.random.default_rng([seed, 7]), "float32")
    velocities = nets.zeros_like(device.xp, parameters)
    end = SoftmaxCrossEntropy()
    for step in range(load.steps):
        start = step % 4 * load.batch
        went = nets.forward(net, xp, images[start : start + load.batch], parameters)
        _, kept = end.forward(xp, went.scores, labels[start : start + load.batch])
        back = nets.backward(net, xp, went, end.backward(xp, kept))
        nets.momentum_step(parameters, velocities, back.parameters, rate=RATE, momentum=MOMENTUM)
    return hash_of(device, [one for own in parameters for one in own])


def hash_of(device: Device, arrays: list[Array]) -> str:
    """The SHA-256 of the arrays' bits, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(numpy.ascontiguousarray(device.to_host(array)).tobytes())
    return digest.hexdigest()
