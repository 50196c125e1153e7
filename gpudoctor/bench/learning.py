"""Trains a net, epoch by epoch, and watches at every step where its arrays lie and whether the loss is a number."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy

from gpudoctor.bench import net as nets
from gpudoctor.bench.datasets.images import Images
from gpudoctor.bench.devices.device import CPU, Array, ArrayModule, Device, DoesNotTrain
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.nodes import SoftmaxCrossEntropy

# The test set goes through the net in parts: what the nodes keep of ten thousand images would fill the memory.
_READ_AT_ONCE = 128


class Epoch(NamedTuple):
    """How the net stood after an epoch. Number 0 is the untrained net, with its loss on the test set."""

    number: int  # passes over the training set so far
    loss: float  # mean over the images of the epoch, each taken when its batch was learned
    accuracy: float  # share of the test images that it reads rightly, 0 to 1
    images: int  # trained on, since the Epoch before, while the clock ran: all but the run's first batch
    seconds: float


def learn(
    device: Device,
    net: nets.Net,
    training: Images,
    test: Images,
    *,
    seed: int,
    batch: int,
    rate: float,
    momentum: float,
    every: int = 1,
) -> Iterator[Epoch]:
    """Yields an Epoch before training and one after `every` passes over the training set, without an end.

    Works in float32, the sets on the device as a whole. The seed (0 or more) decides the initial parameters and the
    order of the images; the last batch of a pass may be smaller.
    Raises DoesNotTrain at the first loss that is not finite, and at the first array that lies elsewhere than on the
    device. What the device raises passes through.
    """
    xp = device.computing_in(Precision.FP32)
    images, labels = xp.asarray(training.images), xp.asarray(training.labels)
    test_images, test_labels = xp.asarray(test.images), xp.asarray(test.labels)
    parameters = nets.initial_parameters(net, xp, numpy.random.default_rng([seed, 2]), "float32")
    velocities = nets.zeros_like(xp, parameters)
    shuffle = numpy.random.default_rng([seed, 3])

    yield Epoch(0, *evaluate(device, xp, net, parameters, test_images, test_labels), images=0, seconds=0.0)
    number, step, timed, seconds = 0, 0, 0, 0.0
    while True:
        number += 1
        total_loss = 0.0
        order = xp.asarray(shuffle.permutation(len(labels)))
        for start in range(0, len(labels), batch):
            began = time.perf_counter()
            rows = order[start : start + batch]
            loss = _step(device, xp, net, parameters, velocities, images[rows], labels[rows], step, rate, momentum)
            if step > 0:  # the first batch also compiles the kernels
                timed += len(rows)
                seconds += time.perf_counter() - began
            step += 1
            if not math.isfinite(loss):
                raise DoesNotTrain(f"The loss became {loss} in batch {start // batch + 1} of epoch {number}.")
            total_loss += loss * len(rows)
        if number % every == 0:
            _, accuracy = evaluate(device, xp, net, parameters, test_images, test_labels)
            yield Epoch(number, total_loss / len(labels), accuracy, timed, seconds)
            timed, seconds = 0, 0.0


def evaluate(
    device: Device, xp: ArrayModule, net: nets.Net, parameters: nets.PerNode, images: Array, labels: Array
) -> tuple[float, float]:
    """The mean loss over the images, and the share of them that the net reads rightly.

    An image whose scores are not all finite is not read rightly, whatever argmax makes of them.
    """
    total_loss, read = 0.0, 0
    for start in range(0, len(labels), _READ_AT_ONCE):
        part = labels[start : start + _READ_AT_ONCE]
        # An overflow is judged by the scores that come of it; NumPy's warning on the way tells the reader nothing.
        with numpy.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scores = nets.forward(net, xp, images[start : start + _READ_AT_ONCE], parameters).scores
            loss, _ = SoftmaxCrossEntropy().forward(xp, scores, part)
        right = (scores.argmax(axis=1) == part) & xp.isfinite(scores).all(axis=1)
        stay_at_home(device, "the scores of the test images", [scores, loss, right])
        total_loss += float(loss) * len(part)
        read += int(right.sum())
    return total_loss / len(labels), read / len(labels)


def stay_at_home(device: Device, what: str, arrays: list[Array]) -> None:
    """Raises DoesNotTrain unless every array lies on the device, by the array's own word."""
    for array in arrays:
        place = device.place_of(array)
        if place == device.home:
            continue
        if place == CPU:
            raise DoesNotTrain(f"Training fell back to the CPU: among {what} there is a {_type_name(array)}.")
        raise DoesNotTrain(f"Training left its device: among {what} one lies on {place}, not on {device.home}.")


def _step(
    device: Device,
    xp: ArrayModule,
    net: nets.Net,
    parameters: nets.PerNode,
    velocities: nets.PerNode,
    images: Array,
    labels: Array,
    step: int,
    rate: float,
    momentum: float,
) -> float:
    """One batch forward, backward and downhill: its loss. Raises DoesNotTrain for an array that is not at home."""
    end = SoftmaxCrossEntropy()
    with numpy.errstate(over="ignore", invalid="ignore", divide="ignore"):
        went = nets.forward(net, xp, images, parameters, step)
        loss, kept = end.forward(xp, went.scores, labels)
        stay_at_home(device, "the images", [images])
        stay_at_home(device, "the labels", [labels])
        stay_at_home(device, "the outputs of the nodes", went.outputs)
        stay_at_home(device, "what the nodes kept", [*_arrays_in(went.kept), *_arrays_in(kept)])
        stay_at_home(device, "the loss", [loss])
        back = nets.backward(net, xp, went, end.backward(xp, kept))
        nets.momentum_step(parameters, velocities, back.parameters, rate=rate, momentum=momentum)
        stay_at_home(device, "the gradients of the outputs", back.outputs)
        stay_at_home(device, "the gradients of the parameters", _arrays_in(back.parameters))
        stay_at_home(device, "the parameters", _arrays_in(parameters))
        stay_at_home(device, "the velocities", _arrays_in(velocities))
    # Reading the loss waits for the device, so that a clock around this counts the work and not its ordering.
    return float(loss)


def _arrays_in(values: object) -> list[Array]:
    """The arrays in nested lists and tuples; the numbers of a shape that a node kept are left out."""
    if isinstance(values, list | tuple):
        return [array for value in values for array in _arrays_in(value)]
    return [values] if hasattr(values, "dtype") else []


def _type_name(array: Array) -> str:
    return f"{type(array).__module__}.{type(array).__qualname__}"
