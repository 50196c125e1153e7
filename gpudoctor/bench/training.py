"""Trains a net, epoch by epoch, and watches at every step where its arrays lie and whether the loss is a number."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy

from gpudoctor.bench import net as nets
from gpudoctor.bench.backends import CPU, Backend, DoesNotTrain, place_of
from gpudoctor.bench.glyphs import Glyphs
from gpudoctor.bench.nodes import Array, SoftmaxCrossEntropy

BATCH = 50
RATE = 0.03
MOMENTUM = 0.9


class Epoch(NamedTuple):
    """How the net stood after an epoch. Number 0 is the untrained net, with its loss on the test set."""

    number: int
    loss: float  # mean over the batches of the epoch
    accuracy: float  # share of the test images that it reads rightly, 0 to 1
    images: int  # trained on while the clock ran: all but the run's first batch
    seconds: float


def train(backend: Backend, net: nets.Net, training: Glyphs, test: Glyphs, *, seed: int) -> Iterator[Epoch]:
    """Yields an Epoch before training and one after each pass over the training set, without an end.

    Works in float32, the sets on the device as a whole. Raises DoesNotTrain at the first loss that is not finite, and
    at the first array that lies elsewhere than on the backend's own device. What the device raises passes through.
    """
    xp = backend.xp
    images, labels = xp.asarray(training.images), xp.asarray(training.labels)
    test_images, test_labels = xp.asarray(test.images), xp.asarray(test.labels)
    parameters = nets.initial_parameters(net, xp, numpy.random.default_rng([seed, 2]), "float32")
    velocities = nets.zeros_like(xp, parameters)
    shuffle = numpy.random.default_rng([seed, 3])
    end = SoftmaxCrossEntropy()

    yield Epoch(0, *evaluate(backend, net, parameters, test_images, test_labels), images=0, seconds=0.0)
    number = 0
    while True:
        number += 1
        losses: list[float] = []
        timed, seconds = 0, 0.0
        order = xp.asarray(shuffle.permutation(len(images)))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            began = time.perf_counter()
            batch = order[start : start + BATCH]
            batch_images, batch_labels = images[batch], labels[batch]
            went = nets.forward(net, xp, batch_images, parameters)
            loss, kept = end.forward(xp, went.scores, batch_labels)
            back = nets.backward(net, xp, went, end.backward(xp, kept))
            nets.momentum_step(parameters, velocities, back.parameters, rate=RATE, momentum=MOMENTUM)
            # Reading the loss waits for the device, so that the clock below counts the work and not its ordering.
            losses.append(float(loss))
            if number > 1 or start > 0:  # the first batch also compiles the kernels
                timed += BATCH
                seconds += time.perf_counter() - began
            if not math.isfinite(losses[-1]):
                raise DoesNotTrain(f"The loss became {losses[-1]} in batch {len(losses)} of epoch {number}.")
            for what, arrays in (
                ("the images", [batch_images]),
                ("the labels", [batch_labels]),
                ("the outputs of the nodes", went.outputs),
                ("what the nodes kept", [*_arrays_in(went.kept), *_arrays_in(kept)]),
                ("the loss", [loss]),
                ("the gradients of the outputs", back.outputs),
                ("the gradients of the parameters", _arrays_in(back.parameters)),
                ("the parameters", _arrays_in(parameters)),
                ("the velocities", _arrays_in(velocities)),
            ):
                stay_at_home(backend, what, arrays)
        _, accuracy = evaluate(backend, net, parameters, test_images, test_labels)
        yield Epoch(number, sum(losses) / len(losses), accuracy, timed, seconds)


def evaluate(
    backend: Backend, net: nets.Net, parameters: nets.PerNode, images: Array, labels: Array
) -> tuple[float, float]:
    """The mean loss over the images, and the share of them that the net reads rightly.

    An image whose scores are not all finite is not read rightly, whatever argmax makes of them.
    """
    xp = backend.xp
    scores = nets.forward(net, xp, images, parameters).scores
    loss, _ = SoftmaxCrossEntropy().forward(xp, scores, labels)
    right = (scores.argmax(axis=1) == labels) & xp.isfinite(scores).all(axis=1)
    stay_at_home(backend, "the scores of the test images", [scores, loss, right])
    return float(loss), int(right.sum()) / len(labels)


def stay_at_home(backend: Backend, what: str, arrays: list[Array]) -> None:
    """Raises DoesNotTrain unless every array lies on the backend's device, by the array's own word."""
    for array in arrays:
        place = place_of(array)
        if place == backend.home:
            continue
        if place == CPU:
            raise DoesNotTrain(f"Training fell back to the CPU: among {what} there is a {_type_name(array)}.")
        raise DoesNotTrain(f"Training left its device: among {what} one lies on {place}, not on {backend.home}.")


def _arrays_in(values: object) -> list[Array]:
    """The arrays in nested lists and tuples; the numbers of a shape that a node kept are left out."""
    if isinstance(values, list | tuple):
        return [array for value in values for array in _arrays_in(value)]
    return [values] if hasattr(values, "dtype") else []


def _type_name(array: Array) -> str:
    return f"{type(array).__module__}.{type(array).__qualname__}"
