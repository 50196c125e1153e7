"""What the numerics phase learns from: one small training, laid out in full, and how it goes in float64 on the CPU.

Whatever trains it - our own nodes on a GPU, another framework - starts from the same numbers and sees the same images
in the same order, so that only the arithmetic can differ.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from gpudoctor.bench import net as nets
from gpudoctor.bench.datasets.glyphs import CLASSES, SIZE, draw
from gpudoctor.bench.net import Net, PerNode
from gpudoctor.bench.nodes import SoftmaxCrossEntropy

STEPS = 30
BATCH = 64
RATE = 0.02
MOMENTUM = 0.9

# With faint noise and full contrast this net comes down to 0.7 of its first loss within 30 steps: enough to tell
# learning from wobbling. Paler images would take hundreds of steps.
_NOISE = 0.05
_CONTRAST, _SHIFT = 4.0, -1.0
_WIDTHS = (16, 32)


class Materials(NamedTuple):
    """A training in full. Every number is one that float32 holds exactly: no device starts from a rounded copy."""

    net: Net
    parameters: PerNode  # before the first step, float64
    images: tuple[NDArray[numpy.float32], ...]  # of each step, (BATCH, SIZE, SIZE, 1)
    labels: tuple[NDArray[numpy.int64], ...]  # of each step, (BATCH,)


def numerics_materials(seed: int) -> Materials:
    """The same ones for the same seed (0 or more): a smooth net, and other images in each of its 30 steps."""
    glyphs = draw(STEPS * BATCH, [seed, 8], _NOISE)
    images = numpy.float32(_CONTRAST) * glyphs.images + numpy.float32(_SHIFT)
    net = nets.smooth_net(SIZE, CLASSES, _WIDTHS)
    rounded = nets.initial_parameters(net, numpy, numpy.random.default_rng([seed, 9]), "float32")
    return Materials(
        net,
        [tuple(one.astype("float64") for one in own) for own in rounded],
        tuple(numpy.split(images, STEPS)),
        tuple(numpy.split(glyphs.labels, STEPS)),
    )


def reference_run(materials: Materials) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """The training in float64 on the CPU: the loss of each step, and the gradient of the first.

    The gradient is one vector: that of each parameter, flat, in the order of the net.
    """
    parameters = [tuple(one.copy() for one in own) for own in materials.parameters]
    velocities = nets.zeros_like(numpy, parameters)
    end = SoftmaxCrossEntropy()
    losses: list[float] = []
    first = numpy.zeros(0)
    for images, labels in zip(materials.images, materials.labels, strict=True):
        went = nets.forward(materials.net, numpy, images.astype("float64"), parameters)
        loss, kept = end.forward(numpy, went.scores, labels)
        back = nets.backward(materials.net, numpy, went, end.backward(numpy, kept))
        if not losses:
            first = numpy.concatenate([slope.ravel() for own in back.parameters for slope in own])
        losses.append(float(loss))
        nets.momentum_step(parameters, velocities, back.parameters, rate=RATE, momentum=MOMENTUM)
    return numpy.array(losses), first
