"""The pictures to learn from: seven-segment digits, shifted, of uneven brightness, under noise.

They are made here: nothing is downloaded, and every machine makes the same ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy
from numpy.typing import NDArray

SIZE = 16
CLASSES = 10

_HEIGHT, _WIDTH = 11, 7

# The segments of the display, as the rectangles they cover: rows and columns.
_SEGMENTS = {
    "top": numpy.s_[0:2, 0:7],
    "upper left": numpy.s_[0:6, 0:2],
    "upper right": numpy.s_[0:6, 5:7],
    "middle": numpy.s_[4:7, 0:7],
    "lower left": numpy.s_[5:11, 0:2],
    "lower right": numpy.s_[5:11, 5:7],
    "bottom": numpy.s_[9:11, 0:7],
}
_DARK = (
    {"middle"},
    {"top", "upper left", "middle", "lower left", "bottom"},
    {"upper left", "lower right"},
    {"upper left", "lower left"},
    {"top", "lower left", "bottom"},
    {"upper right", "lower left"},
    {"upper right"},
    {"upper left", "middle", "lower left", "bottom"},
    set[str](),
    {"lower left"},
)


class Glyphs(NamedTuple):
    """Images (N, SIZE, SIZE, 1), float32, and the digit that each shows (N,), int64."""

    images: NDArray[numpy.float32]
    labels: NDArray[numpy.int64]


def draw(count: int, seed: list[int], noise: float = 0.15) -> Glyphs:
    """Draws count digits, the same ones for the same seed (whole numbers, none below zero).

    Each is a random digit at a random place, of brightness 0.5 to 1, under normal noise of that standard deviation.
    """
    rng = numpy.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    top = rng.integers(0, SIZE - _HEIGHT + 1, count)
    left = rng.integers(0, SIZE - _WIDTH + 1, count)
    brightness = rng.uniform(0.5, 1.0, count)
    images = rng.normal(0.0, noise, (count, SIZE, SIZE))
    shapes = digit_shapes()
    for image, label, row, column, light in zip(images, labels, top, left, brightness, strict=True):
        image[row : row + _HEIGHT, column : column + _WIDTH] += light * shapes[label]
    return Glyphs(images[..., None].astype(numpy.float32), labels)


def digit_shapes() -> NDArray[numpy.float64]:
    """The ten digits, (10, height, width), 1 where a lit segment is and 0 elsewhere."""
    shapes = numpy.zeros((CLASSES, _HEIGHT, _WIDTH))
    for shape, dark in zip(shapes, _DARK, strict=True):
        for name, area in _SEGMENTS.items():
            if name not in dark:
                shape[area] = 1.0
    return shapes
