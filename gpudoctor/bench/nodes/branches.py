"""A node made of nets side by side: residual blocks, gates, maxout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import numpy

from gpudoctor.bench.devices.device import Array, ArrayModule
from gpudoctor.bench.nodes import row
from gpudoctor.bench.nodes.joints import Branch, Joint
from gpudoctor.bench.nodes.node import Kept


@dataclass(frozen=True)
class Branches:
    """Sends its input along several paths and joins what comes out. An empty path hands the input on as it is.

    forward    Y = join(path 1 of X, path 2 of X, ...)
    backward   through the joint, back along each path, and dX is the sum over the paths (Branch)

    A residual block is Branches((net, ()), Add()): its net learns what to add to X.
    """

    paths: tuple[row.Net, ...]
    join: Joint

    def __post_init__(self) -> None:
        if len(self.paths) < 2:
            raise ValueError("Branches joins two paths or more.")

    def at(self, moment: tuple[int, ...]) -> Branches:
        """The same node at that moment of training."""
        return replace(self, paths=tuple(row.at(path, (*moment, way)) for way, path in enumerate(self.paths)))

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]:
        """The parameters of all paths in one row: path after path, node after node."""
        return tuple(values for path in self.paths for node in path for values in node.initial(rng))

    @property
    def learns(self) -> int:
        """How many arrays of parameters all paths have together."""
        return sum(node.learns for path in self.paths for node in path)

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y, of the shape in which the paths end."""
        left = iter(parameters)
        starts, _ = Branch(len(self.paths)).forward(xp, x)
        went, ends = [], []
        for path, start in zip(self.paths, starts, strict=True):
            own = [tuple(islice(left, node.learns)) for node in path]
            went.append(row.forward(path, xp, start, own))
            ends.append(went[-1].outputs[-1] if path else start)
        y, *others = ends
        joined = []
        for other in others:
            y, kept = self.join.forward(xp, y, other)
            joined.append(kept)
        return y, (went, joined, [])

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        return self._back(xp, dy, kept).dx

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]:
        """One gradient for each parameter, in the order of `initial`."""
        return self._back(xp, dy, kept).gradients

    def _back(self, xp: ArrayModule, dy: Array, kept: tuple[list[row.Forward], list[Kept], list[_Back]]) -> _Back:
        # The paths are walked once, for dX and for the gradients of the parameters together: the last element of
        # `kept` remembers it.
        went_along, joined, walked = kept
        if walked and walked[0].dy is dy:
            return walked[0]
        d_ends = []
        d_joined = dy
        for needed in reversed(joined):
            d_joined, d_end = self.join.backward(xp, d_joined, needed)
            d_ends.append(d_end)
        d_ends.append(d_joined)
        d_starts: list[Array] = []
        gradients: list[Array] = []
        for path, went, d_end in zip(self.paths, went_along, reversed(d_ends), strict=True):
            if not path:
                d_starts.append(d_end)
                continue
            back = row.backward(path, xp, went, d_end)
            d_starts.append(path[0].backward(xp, back.outputs[0], went.kept[0]))
            gradients += [gradient for own in back.parameters for gradient in own]
        dx = Branch(len(self.paths)).backward(xp, tuple(d_starts), None)
        walked[:] = [_Back(dy, dx, tuple(gradients))]
        return walked[0]


class _Back(NamedTuple):
    dy: Array
    dx: Array
    gradients: tuple[Array, ...]
