"""The convolution, of images and of sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy

from gpudoctor.bench.devices.device import Array, ArrayModule
from gpudoctor.bench.nodes.node import Kept, weights_for_relu
from gpudoctor.bench.nodes.patches import on_canvas, patches_of, summed_in, summed_over_all_but_channels

# Bytes. Patches are k * k times as large as the images: large ones would fill the memory and are made again on the way
# back; keeping small ones saves a twentieth of a step.
KEPT_PATCHES = 4 << 20


@dataclass(frozen=True)
class Conv:
    """The convolution: a Dense node that sees one patch of the image at a time, with the same weights everywhere.

    With k the kernel's size, p the padding (zeros around the image), s the stride (pixels from patch to patch), c over
    channels in, o over channels out:

    forward    Y[n,i,j,o] = b[o] + sum over u,v,c of X[n, s i + u - p, s j + v - p, c] W[u,v,c,o]
    backward   dX[n,r,q,c] = sum of dY[n,i,j,o] W[u,v,c,o] over o and over all i,j,u,v that met at this pixel:
                             s i + u - p = r and s j + v - p = q
               dW[u,v,c,o] = sum over n,i,j of X[n, s i + u - p, s j + v - p, c] dY[n,i,j,o]
               db[o]       = sum over n,i,j of dY[n,i,j,o]

    X (N, H, W, c), W (k, k, c, o), b (o,), Y (N, H', W', o) with H' = (H + 2p - k) / s + 1 rounded down, and W'
    likewise. Write the patches as the rows of a matrix P, one row for each pixel of Y: then Y = P W + b and
    dW = P^T dY, as in Dense. dX is put together from the rows of the kernel: row u takes row i of dY to row
    s i + u - p of dX, and along that row it is a Conv1d.
    """

    learns: ClassVar[int] = 2
    channels_in: int
    channels_out: int
    kernel: int = 3
    padding: int = 1
    stride: int = 1

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]:
        """W (k, k, channels in, channels out) and b (channels out,)."""
        k = self.kernel
        shape = (k, k, self.channels_in, self.channels_out)
        return weights_for_relu(rng, shape, summed=k * k * self.channels_in), numpy.zeros(self.channels_out)

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y (N, H', W', channels out)."""
        w, b = parameters
        y, patches = convolved(xp, x, w, b, self.padding, self.stride)
        return y, (x, w, patches)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX (N, H, W, channels in)."""
        x, w, _ = kept
        (n, height, width, channels), p = x.shape, self.padding
        _, rows, columns, _ = dy.shape
        reached = reaching(xp, dy.reshape(n * rows, columns, -1), self.kernel, width, p, self.stride)
        dx = xp.zeros((n, height + 2 * p, width, channels), dtype=summed_in(dy.dtype))
        for u in range(self.kernel):
            share = xp.matmul(reached, turned(w[u]))
            dx[:, u : u + self.stride * rows : self.stride] += share.reshape(n, rows, width, channels)
        return dx[:, p : p + height].astype(dy.dtype, copy=False)

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]:
        """dW and db."""
        return weights_gradient(xp, dy, kept, self.padding, self.stride), summed_over_all_but_channels(dy)


@dataclass(frozen=True)
class Conv1d:
    """The convolution of sequences: Conv with one index where images have two.

    forward    Y[n,i,o] = b[o] + sum over u,c of X[n, s i + u - p, c] W[u,c,o]
    backward   dX[n,r,c] = sum over u,o of Z[n, r + p - u, o] W[u,c,o]
               dW[u,c,o] = sum over n,i of X[n, s i + u - p, c] dY[n,i,o]
               db[o]     = sum over n,i of dY[n,i,o]

    Z is dY spread out, one entry for each place where a patch could begin: Z[n, s i, o] = dY[n,i,o], zeros between and
    around. Its index runs against that of W: so dX is itself a convolution, of Z, with the kernel turned around and its
    channels in and out exchanged.

    X (N, L, c), W (k, c, o), b (o,), Y (N, L', o) with L' = (L + 2p - k) / s + 1 rounded down.
    """

    learns: ClassVar[int] = 2
    channels_in: int
    channels_out: int
    kernel: int = 3
    padding: int = 1
    stride: int = 1

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]:
        """W (k, channels in, channels out) and b (channels out,)."""
        shape = (self.kernel, self.channels_in, self.channels_out)
        return weights_for_relu(rng, shape, summed=self.kernel * self.channels_in), numpy.zeros(self.channels_out)

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y (N, L', channels out)."""
        w, b = parameters
        y, patches = convolved(xp, x, w, b, self.padding, self.stride)
        return y, (x, w, patches)

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX (N, L, channels in)."""
        x, w, _ = kept
        reached = reaching(xp, dy, self.kernel, x.shape[1], self.padding, self.stride)
        return xp.matmul(reached, turned(w)).reshape(x.shape)

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]:
        """dW and db."""
        return weights_gradient(xp, dy, kept, self.padding, self.stride), summed_over_all_but_channels(dy)


def convolved(xp: ArrayModule, x: Array, w: Array, b: Array, padding: int, stride: int) -> tuple[Array, Array | None]:
    """Y = P W + b, P being the patches of x with zeros around; and P, where it is small enough to be kept."""
    patches, counts = patches_of(xp, framed(xp, x, padding), len(w), stride)
    y = xp.matmul(patches, w.reshape(-1, w.shape[-1]))
    y += b
    small = patches.size * patches.dtype.itemsize <= KEPT_PATCHES
    return y.reshape(*counts, w.shape[-1]), patches if small else None


def reaching(xp: ArrayModule, dy: Array, kernel: int, length: int, padding: int, stride: int) -> Array:
    """For each place of X (N, length, c) the row of entries of Z that it reached: (N * length, kernel * o)."""
    z = on_canvas(xp, dy, kernel - 1 - padding, [length + kernel - 1], stride)
    return patches_of(xp, z, kernel, stride=1)[0]


def turned(w: Array) -> Array:
    """The kernel w (k, c, o) the other way round, as the matrix (k * o, c) that takes patches of Z to dX."""
    return w[::-1].transpose(0, 2, 1).reshape(-1, w.shape[1])


def weights_gradient(xp: ArrayModule, dy: Array, kept: Kept, padding: int, stride: int) -> Array:
    """dW = P^T dY, of the shape of w."""
    x, w, patches = kept
    if patches is None:
        patches, _ = patches_of(xp, framed(xp, x, padding), len(w), stride)
    return xp.matmul(patches.T, dy.reshape(-1, dy.shape[-1])).reshape(w.shape)


def framed(xp: ArrayModule, x: Array, padding: int) -> Array:
    """x with that many zeros around."""
    return on_canvas(xp, x, padding, [length + 2 * padding for length in x.shape[1:-1]])
