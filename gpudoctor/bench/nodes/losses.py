"""The ends of a net: what turns its outputs into the loss, the single number that training makes small."""

from __future__ import annotations

from dataclasses import dataclass

from gpudoctor.bench.devices.device import Array, ArrayModule
from gpudoctor.bench.nodes.node import Kept


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """For classes: turns scores into probabilities, and probabilities into the loss.

    X (images, classes) are the scores, t the right class of each image.

    forward    P = exp(X) / sum of exp(X) over the classes          (softmax)
               L = mean over the images of -log P[image, t]         (cross-entropy)
    backward   dX = (P - T) / images       T is 1 at the right class and 0 elsewhere: what was said, minus what is true
    """

    def forward(self, xp: ArrayModule, x: Array, labels: Array) -> tuple[Array, Kept]:
        """L, an array of shape () that stays on the device (reading it waits for the device)."""
        # Softmax does not change when a row is shifted, and with its largest score at 0 exp cannot overflow.
        x = x - x.max(axis=1, keepdims=True)
        exponentials = xp.exp(x)
        sums = exponentials.sum(axis=1, keepdims=True)
        truth = labels[:, None] == xp.arange(x.shape[1])
        loss = (xp.log(sums) - (x * truth).sum(axis=1, keepdims=True)).mean()
        return loss, (exponentials / sums, truth)

    def backward(self, xp: ArrayModule, kept: Kept) -> Array:
        """dX (images, classes), for dL = 1."""
        probabilities, truth = kept
        return (probabilities - truth) / len(truth)


@dataclass(frozen=True)
class MeanSquaredError:
    """For numbers: how far the outputs are from the targets. X and the targets T of any one shape, n entries each.

    forward    L = (sum of (X - T)^2) / n
    backward   dX = 2 (X - T) / n
    """

    def forward(self, xp: ArrayModule, x: Array, targets: Array) -> tuple[Array, Kept]:
        """L, an array of shape () that stays on the device."""
        difference = x - targets
        return (difference * difference).mean(), difference

    def backward(self, xp: ArrayModule, kept: Kept) -> Array:
        """dX, of X's shape, for dL = 1."""
        return kept * (2 / kept.size)
