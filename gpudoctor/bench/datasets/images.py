"""A set of labelled pictures, the form in which every part of the benchmark gets what it learns from."""

from __future__ import annotations

from typing import NamedTuple

import numpy
from numpy.typing import NDArray


class Images(NamedTuple):
    """Pictures and what each of them shows, on the host. Row i of both belongs together."""

    images: NDArray[numpy.float32]  # (N, height, width, channels), brightness from 0 to 1
    labels: NDArray[numpy.int64]  # (N,), the class, from 0


class Split(NamedTuple):
    """A data set, parted into what is learned from and what is only read afterwards."""

    name: str  # for a person: "UCI digits"
    training: Images
    test: Images
    classes: tuple[str, ...]  # the name of each class; labels are positions in it


def chosen(images: Images, which: NDArray[numpy.int64]) -> Images:
    """The pictures at these positions, in this order."""
    return Images(images.images[which], images.labels[which])
