"""How well a net reads after learning from more and more images: accuracy against the number of training images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy

from gpudoctor.bench.datasets.cifar import cifar_data
from gpudoctor.bench.datasets.digits import digits_data
from gpudoctor.bench.datasets.images import Split, chosen
from gpudoctor.bench.devices.device import Device
from gpudoctor.bench.learning import learn
from gpudoctor.bench.planning.architecture import Architecture, net_of, pattern
from gpudoctor.bench.planning.layers import BadArchitecture, Shape
from gpudoctor.bench.planning.presets import net_named
from gpudoctor.bench.planning.text import read_architecture

DIGITS = "digits"  # the name of the data that come with gpudoctor

BATCH, RATE, MOMENTUM = 32, 0.02, 0.9

# Every size gets about as many steps downhill, so that a small set is not read worse for having been seen less often.
STEPS = 450
LEAST_PASSES = 4

_SMALLEST = 50  # of the sizes that are tried where none are given


class Point(NamedTuple):
    """What was read after learning from so many images."""

    images: int
    passes: int  # over them
    loss: float  # mean over the last pass
    accuracy: float  # share of the test set that is read rightly, 0 to 1
    low: float  # the 95 % interval of that share, for a test set of this size
    high: float
    seconds: float  # wall clock, with the looks at the test set


def read_data(data: str, seed: int) -> Split:
    """The digits, for "digits", or CIFAR-10 from the folder of that path; the seed (0 or more) decides the order.

    Raises DamagedData.
    """
    return digits_data(seed) if data == DIGITS else cifar_data(Path(data), seed)


def image_shape(split: Split) -> Shape:
    """The size of its pictures."""
    _, rows, columns, channels = split.training.images.shape
    return Shape(rows, columns, channels)


def architecture_for(split: Split, text: str | None) -> Architecture:
    """The net of that text or preset, or the usual shape for such pictures; checked to fit them and their classes.

    Raises BadArchitecture.
    """
    image, classes = image_shape(split), len(split.classes)
    if text is None:
        # Each stage halves the picture: down to about 4 x 4, where a fully connected layer takes over.
        stages = max(1, min(image.rows, image.columns).bit_length() - 3)
        return pattern(image, classes, convolutions=2 if stages == 1 else 1, stages=stages)
    named = net_named(text, image)
    if not named.name:
        _require_same_image(text, image, split)
    if named.architecture.output.values != classes:
        raise BadArchitecture(
            f"The net gives {named.architecture.output.values} scores, and {split.name} has {classes} classes: "
            f"its last layer must be fc{classes}."
        )
    return named.architecture


def default_sizes(available: int, most: int) -> tuple[int, ...]:
    """50, 100, 200 and so on, up to all that there are or to `most`."""
    largest = min(available, most)
    sizes = [_SMALLEST << doubling for doubling in range(largest.bit_length()) if _SMALLEST << doubling < largest]
    return (*sizes, largest)


def measure_curve(
    device: Device,
    architecture: Architecture,
    split: Split,
    sizes: tuple[int, ...],
    *,
    seed: int,
    say: Callable[[str], None],
) -> Iterator[Point]:
    """Trains a fresh net on the first n training images for each of the sizes, and tests it on the whole test set.

    Raises what `learn` raises: DoesNotTrain, and what the device raises.
    """
    net = net_of(architecture)
    for size in sizes:
        began = time.monotonic()
        passes = max(LEAST_PASSES, math.ceil(STEPS / math.ceil(size / BATCH)))
        say(f"{size:,} images: learning, in {passes} passes over them")
        run = learn(
            device,
            net,
            chosen(split.training, numpy.arange(size)),
            split.test,
            seed=seed,
            batch=BATCH,
            rate=RATE,
            momentum=MOMENTUM,
            every=passes,  # a look at a large test set costs as much as many steps
        )
        _, epoch = next(run), next(run)
        say(f"{size:,} images: loss {epoch.loss:.3f}, reads {epoch.accuracy:.1%} of the test set")
        interval = wilson_interval(epoch.accuracy, len(split.test.labels))
        yield Point(size, passes, epoch.loss, epoch.accuracy, *interval, time.monotonic() - began)
        device.release()


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Between which shares the true one lies with 95 % confidence, when `share` of `count` trials went well.

    Wilson's score interval (E. B. Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953): unlike the plain one
    it is not empty at 0 and 1. It counts the chance of the draw of test images, not that of the training.
    """
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def _require_same_image(text: str, image: Shape, split: Split) -> None:
    try:
        written = read_architecture(text).image
    except BadArchitecture:  # it names no size, and so takes that of the pictures
        return
    if written != image:
        raise BadArchitecture(f"The net is for images {written}, and those of {split.name} are {image}.")
