"""Nodes in a row: forward through all of them, and backward through all of them."""

from __future__ import annotations

from typing import NamedTuple

from gpudoctor.bench.devices.device import Array, ArrayModule
from gpudoctor.bench.nodes.node import Kept, Node, Random

Net = tuple[Node, ...]

# One tuple of arrays for each node of the net, empty for a node that learns nothing.
PerNode = list[tuple[Array, ...]]


class Forward(NamedTuple):
    """What going forward leaves behind. outputs[i] is the output of node i; the last one is the scores."""

    outputs: list[Array]
    kept: list[Kept]

    @property
    def scores(self) -> Array:
        """(images, classes): the larger, the likelier."""
        return self.outputs[-1]


class Backward(NamedTuple):
    """The gradients of the loss: by the output of each node, and by the parameters of each node."""

    outputs: list[Array]
    parameters: PerNode


def forward(net: Net, xp: ArrayModule, images: Array, parameters: PerNode, step: int | None = None) -> Forward:
    """Sends images through the net.

    step is the number of the step of training, which decides what Dropout drops; None: nothing is dropped.
    """
    if step is not None:
        net = at(net, (step,))
    outputs, kept = [], []
    x = images
    for node, own in zip(net, parameters, strict=True):
        x, needed = node.forward(xp, x, *own)
        outputs.append(x)
        kept.append(needed)
    return Forward(outputs, kept)


def backward(net: Net, xp: ArrayModule, went: Forward, d_scores: Array) -> Backward:
    """Sends the gradient of the scores back through the net, last node first."""
    outputs: list[Array] = [d_scores]
    parameters: PerNode = []
    for index in reversed(range(len(net))):
        parameters.append(net[index].gradients(xp, outputs[-1], went.kept[index]))
        # What the first node would send back is the gradient of the images, and nobody learns from that.
        if index > 0:
            outputs.append(net[index].backward(xp, outputs[-1], went.kept[index]))
    return Backward(outputs[::-1], parameters[::-1])


def at(net: Net, moment: tuple[int, ...]) -> Net:
    """The net as it is at that moment of training: each node that draws knows the moment and its own place."""
    return tuple(node.at((*moment, place)) if isinstance(node, Random) else node for place, node in enumerate(net))
