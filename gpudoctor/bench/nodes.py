"""The nodes of the net: what each computes forward, and how it sends the gradient of the loss backward.

Read it to learn backpropagation. L is the loss, a single number. For an array A of the net, dA is an array of A's
shape with the derivative of L by each entry of A. A node turns an input X into an output Y. Going backward it is given
dY and owes two answers, both by the chain rule: dX, for the node before it, and the gradients of its own parameters.

Every node has the same four methods:

    initial(rng)              the parameters before training: NumPy arrays, float64
    forward(xp, x, *params)   Y, and `kept`: what the way back will need
    backward(xp, dy, kept)    dX
    gradients(xp, dy, kept)   one gradient for each parameter, of its shape

`xp` is the array module, numpy or cupy. The text is the same for both, so a GPU runs exactly what is read here.
Images are NHWC: (images, rows, columns, channels). The dtype of the images goes through unchanged.
Matrix products stay two-dimensional: beyond that CuPy takes other paths, and float16 would silently become float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy

# numpy.ndarray and cupy.ndarray offer the same methods but share no class that a type could name.
Array = Any
ArrayModule = Any
Kept = Any


class Node(Protocol):
    """What the net asks of each of its parts; the module's docstring says what the methods mean."""

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]: ...

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]: ...

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array: ...

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]: ...


class WithoutParameters:
    """The half of a node that has nothing to learn."""

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]:
        """Nothing to start from."""
        return ()

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]:
        """Nothing to correct."""
        return ()


@dataclass(frozen=True)
class Dense:
    """The fully connected node: every output is a weighted sum of every input.

    forward    Y = X W + b           X (images, inputs), W (inputs, outputs), b (outputs,), Y (images, outputs)
    backward   dX = dY W^T           an input reached every output through its row of W, so it answers for all of them
               dW = X^T dY           a weight met every image once, so its gradient is the sum over the images
               db = sum of dY over the images
    """

    inputs: int
    outputs: int

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]:
        """W (inputs, outputs) and b (outputs,)."""
        return weights_for_relu(rng, (self.inputs, self.outputs), summed=self.inputs), numpy.zeros(self.outputs)

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y (images, outputs)."""
        w, b = parameters
        return x @ w + b, (x, w)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX (images, inputs)."""
        _, w = kept
        return dy @ w.T

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]:
        """dW and db."""
        x, _ = kept
        return x.T @ dy, dy.sum(axis=0)


@dataclass(frozen=True)
class Conv:
    """The convolution: a Dense node that sees one patch of the image at a time, with the same weights everywhere.

    With k the kernel's size, p the padding (zeros around the image), c over channels in, o over channels out:

    forward    Y[n,i,j,o] = b[o] + sum over u,v,c of X[n, i+u-p, j+v-p, c] W[u,v,c,o]
    backward   dX[n,i,j,c] = sum over u,v,o of dY[n, i-u+p, j-v+p, o] W[u,v,c,o]
               dW[u,v,c,o] = sum over n,i,j of X[n, i+u-p, j+v-p, c] dY[n,i,j,o]
               db[o]       = sum over n,i,j of dY[n,i,j,o]

    X (N, H, W, c), W (k, k, c, o), b (o,), Y (N, H', W', o) with H' = H + 2p - k + 1, and W' likewise.
    Write the patches as the rows of a matrix P, one row for each pixel of Y: then Y = P W + b and dW = P^T dY, as in
    Dense. The index of dY above runs against the index of W: so dX is itself a convolution, of dY, with the kernel
    turned by 180 degrees, its channels in and out exchanged, and k-1-p zeros around.
    """

    channels_in: int
    channels_out: int
    kernel: int = 3
    padding: int = 1

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]:
        """W (k, k, channels in, channels out) and b (channels out,)."""
        k = self.kernel
        shape = (k, k, self.channels_in, self.channels_out)
        return weights_for_relu(rng, shape, summed=k * k * self.channels_in), numpy.zeros(self.channels_out)

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y (N, H', W', channels out)."""
        w, b = parameters
        patches, (n, rows, columns) = patches_of(xp, x, self.kernel, self.padding)
        y = patches @ w.reshape(-1, self.channels_out) + b
        return y.reshape(n, rows, columns, self.channels_out), (patches, w)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX (N, H, W, channels in)."""
        _, w = kept
        turned = w[::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1, self.channels_in)
        patches, (n, rows, columns) = patches_of(xp, dy, self.kernel, self.kernel - 1 - self.padding)
        return (patches @ turned).reshape(n, rows, columns, self.channels_in)

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]:
        """dW and db."""
        patches, w = kept
        dy = dy.reshape(-1, self.channels_out)
        return (patches.T @ dy).reshape(w.shape), dy.sum(axis=0)


class ReLU(WithoutParameters):
    """The rectifier: lets through what is positive. X and Y of any one shape.

    forward    Y = max(X, 0)
    backward   dX = dY where X > 0, else 0
    """

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y, of X's shape. NaN stays NaN."""
        return xp.maximum(x, 0), x > 0

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        return dy * kept


class SiLU(WithoutParameters):
    """A rectifier without the kink. X and Y of any one shape; s is the logistic function, s(x) = 1 / (1 + exp(-x)).

    forward    Y = X s(X)
    backward   dX = dY s(X) (1 + X (1 - s(X)))          by the product rule, with s' = s (1 - s)
    """

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y, of X's shape."""
        # The same function as 1 / (1 + exp(-x)), but exp overflows for a large negative x.
        s = (1 + xp.tanh(x / 2)) / 2
        return x * s, (x, s)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        x, s = kept
        return dy * (s * (1 + x * (1 - s)))


class MaxPool(WithoutParameters):
    """Keeps the largest of each 2 x 2 square. X (N, H, W, channels), H and W even; Y (N, H/2, W/2, channels).

    forward    Y = max over the square
    backward   dX = dY at the entry that was the largest, 0 at the others; equals share dY evenly
    """

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y, half as high and half as wide as X. A NaN in the square gives NaN."""
        first, second, third, fourth = corners(x)
        y = xp.maximum(xp.maximum(first, second), xp.maximum(third, fourth))
        return y, (x, y)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        x, y = kept
        won = [(corner == y).astype(dy.dtype) for corner in corners(x)]
        share = dy / (won[0] + won[1] + won[2] + won[3])
        dx = xp.empty_like(x)
        for corner, winner in zip(corners(dx), won, strict=True):
            corner[...] = share * winner
        return dx


class AveragePool(WithoutParameters):
    """Takes the mean of each 2 x 2 square. X (N, H, W, channels), H and W even; Y (N, H/2, W/2, channels).

    forward    Y = (sum over the square) / 4
    backward   dX = dY / 4 at each of the four
    """

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y, half as high and half as wide as X."""
        first, second, third, fourth = corners(x)
        return (first + second + third + fourth) / 4, x

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        dx = xp.empty_like(kept)
        for corner in corners(dx):
            corner[...] = dy / 4
        return dx


class Flatten(WithoutParameters):
    """Lays each image out as one row, for Dense. X (N, ...), Y (N, product of the rest).

    forward    Y = X in another shape
    backward   dX = dY in the old shape
    """

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y, two-dimensional."""
        return x.reshape(len(x), -1), x.shape

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX, of X's shape."""
        return dy.reshape(kept)


class SoftmaxCrossEntropy:
    """The end of the net: turns scores into probabilities, and probabilities into the loss.

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


def weights_for_relu(rng: numpy.random.Generator, shape: tuple[int, ...], summed: int) -> Array:
    """Normal weights of variance 2 / summed, where each output sums that many inputs: so that neither the values going
    forward nor the gradients going backward grow or die from one rectified node to the next."""
    return rng.standard_normal(shape) * (2 / summed) ** 0.5


def patches_of(xp: ArrayModule, x: Array, kernel: int, padding: int) -> tuple[Array, tuple[int, int, int]]:
    """Every kernel x kernel patch of the images x (N, H, W, channels), zeros around, as the row of a matrix.

    The matrix is (N * H' * W', kernel * kernel * channels), H' = H + 2 padding - kernel + 1; beside it (N, H', W').
    """
    if padding:
        n, rows, columns, channels = x.shape
        padded = xp.zeros((n, rows + 2 * padding, columns + 2 * padding, channels), dtype=x.dtype)
        padded[:, padding:-padding, padding:-padding] = x
        x = padded
    n, rows, columns, channels = x.shape
    rows, columns = rows - kernel + 1, columns - kernel + 1
    by_image, by_row, by_column, by_channel = x.strides
    # A view that repeats pixels. CuPy's sliding_window_view would say it better, but waits for the GPU at every call.
    windows = xp.lib.stride_tricks.as_strided(
        x,
        (n, rows, columns, kernel, kernel, channels),
        (by_image, by_row, by_column, by_row, by_column, by_channel),
    )
    return windows.reshape(n * rows * columns, kernel * kernel * channels), (n, rows, columns)


def corners(x: Array) -> tuple[Array, Array, Array, Array]:
    """The four entries of each 2 x 2 square of x (N, H, W, channels), as four views (N, H/2, W/2, channels).

    Four large strided operations take a third of the time of one reduction over axes of length two.
    """
    return x[:, 0::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 0::2], x[:, 1::2, 1::2]
