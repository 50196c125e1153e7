"""The 3 x 3 convolution without a matrix of patches: the images are multiplied where they lie.

`Conv` copies every patch into a row of a matrix, nine times the memory of the images, and most of its time on a GPU
goes into that copy. Here the images are laid once on a grid of pixels that is one flat array:

    one row of zeros below each image and one column of zeros to its right, W + 1 pixels a line;
    the zeros at the end of a line are the border to the left of the next one, too.

Then the three neighbouring pixels of a window's line are 3 C numbers side by side, C channels of each. Count the
pixels of the grid from 0. The windows' lines of the pixels 0, 3, 6, ... do not overlap: they are the rows of an
ordinary matrix with 3 C columns that needs no copy. Those of 1, 4, 7, ... are another, and those of 2, 5, 8, ... the
third. So a convolution is three calls, one for each line u of the kernel, of three products each:

    forward    Y[pixel] = b + sum over u of (three pixels from pixel + (u - 1)(W + 1) - 1 on) W[u]
    backward   dX is the same with dY, the kernel turned by 180 degrees, and its channels in and out exchanged
               dW[u] = sum over the pixels of (the three pixels there)^T dY[pixel]

What comes out at the pixels of the border is of no use, and is not read. dW is small and its sums are long: they are
cut into parts, so that a GPU has something to do for all of its multiprocessors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy

from gpudoctor.bench.devices.device import Array, ArrayModule
from gpudoctor.bench.devices.strided_products import Matrices, Products, products_by_numpy
from gpudoctor.bench.net import Net
from gpudoctor.bench.nodes import Branches, Conv, Kept, Node

# Tensor cores are fed 16 bytes at a time: channels of 16 bits are filled up with zeros to a multiple of eight.
_CHANNELS_AT_ONCE = 8

# A multiprocessor works out a tile of about so many rows and columns of a product at a time; with so many tiles the
# largest GPUs (132 to 160 multiprocessors) are busy. A part with fewer pixels than that would only add sums to add up.
_TILE = 128
_TILES = 320
_SHORTEST_PART = 512


@dataclass(frozen=True)
class ShiftConv:
    """Conv with a kernel of 3, a padding of 1 and a stride of 1: the same parameters, and but for rounding the same
    numbers.

    `xp` is numpy, or what a GPU's `computing_in` gives. X (N, H, W, c), W (3, 3, c, o), b (o,), Y (N, H, W, o).
    """

    channels_in: int
    channels_out: int
    learns: ClassVar[int] = 2

    def initial(self, rng: numpy.random.Generator) -> tuple[Array, ...]:
        """W (3, 3, channels in, channels out) and b (channels out,), as in Conv."""
        return Conv(self.channels_in, self.channels_out).initial(rng)

    def forward(self, xp: ArrayModule, x: Array, *parameters: Array) -> tuple[Array, Kept]:
        """Y (N, H, W, channels out)."""
        w, b = parameters
        grid = Grid(*x.shape[:3])
        laid = grid.lay_out(xp, x)
        # The grid of X is kept for dW: it takes the place of the nine times larger matrix of patches.
        return convolve(xp, grid, laid, w) + b, (grid, laid, w, [])

    def backward(self, xp: ArrayModule, dy: Array, kept: Kept) -> Array:
        """dX (N, H, W, channels in)."""
        grid, _, w, laid_out = kept
        return convolve(xp, grid, _laid_once(xp, grid, dy, laid_out), w[::-1, ::-1].transpose(0, 1, 3, 2))

    def gradients(self, xp: ArrayModule, dy: Array, kept: Kept) -> tuple[Array, ...]:
        """dW and db."""
        grid, laid, w, laid_out = kept
        dw = correlate(xp, grid, laid, _laid_once(xp, grid, dy, laid_out), w.shape[2:], dy.dtype)
        # CuPy sums many rows into few columns with one block of threads for every 32 columns: most multiprocessors
        # would wait. cuBLAS spreads a product wider.
        rows = dy.reshape(-1, self.channels_out)
        return dw, xp.matmul(xp.ones((1, len(rows)), dtype=dy.dtype), rows).reshape(-1)


class Grid(NamedTuple):
    """The pixels of a batch of images as the module's text lays them out, with zeros before and after all of them."""

    images: int
    rows: int
    columns: int

    @property
    def line(self) -> int:
        """Pixels of a line."""
        return self.columns + 1

    @property
    def pixels(self) -> int:
        """Pixels of all images with their borders."""
        return self.images * (self.rows + 1) * self.line

    @property
    def thirds(self) -> int:
        """Pixels of each of the three matrices: a few of the last may lie behind the last image."""
        return -(-self.pixels // 3)

    @property
    def most_parts(self) -> int:
        """Into how many parts the pixels of one of the three may be cut: one too short is not worth a product."""
        return max(1, min(self.thirds // _SHORTEST_PART, _TILES))

    def parts(self, inputs: int, outputs: int) -> int:
        """Into how many they are cut for dW of so many channels."""
        tiles = -(-3 * inputs // _TILE) * -(-outputs // _TILE)
        return min(self.most_parts, -(-_TILES // tiles))

    @property
    def margin(self) -> int:
        """Pixels of zeros before the first image and after the last: the windows of the corners reach that far."""
        return self.line + 1

    def body(self, flat: Array) -> Array:
        """The images in a flat array that begins with the first of them: a view (images, rows, columns, channels)."""
        channels = flat.size // (3 * self.thirds)
        grid = flat[: self.pixels * channels].reshape(self.images, self.rows + 1, self.line, channels)
        return grid[:, : self.rows, : self.columns]

    def lay_out(self, xp: ArrayModule, x: Array) -> Array:
        """A flat array with x (images, rows, columns, channels) on the grid and zeros on all borders.

        The last of the parts may reach behind the last third, by less than one pixel for each part.
        """
        dtype, channels = x.dtype, x.shape[3]
        wide = channels_on_grid(channels, dtype)
        # CuPy moves one number at a time: words of eight bytes are a quarter as many as numbers of two. A GPU cannot
        # read one that begins elsewhere than at a multiple of eight.
        aligned = x.flags.c_contiguous and getattr(x.data, "ptr", 0) % 8 == 0
        if wide == channels and channels * x.itemsize % 8 == 0 and aligned:
            x = x.view("uint64")
            wide = channels = x.shape[3]
        flat = xp.empty((2 * self.margin + 3 * (self.thirds + self.most_parts)) * wide, dtype=x.dtype)
        start, end = self.margin * wide, (self.margin + self.pixels) * wide
        flat[:start], flat[end:] = 0, 0
        grid = flat[start:end].reshape(self.images, self.rows + 1, self.line, wide)
        grid[:, self.rows], grid[:, : self.rows, self.columns] = 0, 0
        if wide > channels:
            grid[:, : self.rows, : self.columns, channels:] = 0
        grid[:, : self.rows, : self.columns, :channels] = x
        return flat.view(dtype)


def channels_on_grid(channels: int, dtype: numpy.dtype[Any]) -> int:
    """How many channels a pixel of the grid has."""
    return -(-channels // _CHANNELS_AT_ONCE) * _CHANNELS_AT_ONCE if dtype.itemsize == 2 else channels


def convolve(xp: ArrayModule, grid: Grid, laid: Array, w: Array) -> Array:
    """Y without its bias, (images, rows, columns, channels out), from X on its grid and W (3, 3, channels in, out).

    It is a view of a larger array.
    """
    outputs = w.shape[3]
    w = _filled_up(xp, w)
    channels, wide = w.shape[2:]
    y = xp.empty(3 * grid.thirds * wide, dtype=laid.dtype)
    strided_products(xp)(y, laid, w.reshape(-1), _steps_to_convolve(grid, channels, wide))
    return grid.body(y)[:, :, :, :outputs]


def correlate(
    xp: ArrayModule,
    grid: Grid,
    laid: Array,
    dy_laid: Array,
    channels: tuple[int, int],
    dtype: numpy.dtype[Any],
) -> Array:
    """dW (3, 3, channels in, channels out) from X and dY on their grids."""
    inputs, outputs = (channels_on_grid(count, laid.dtype) for count in channels)
    parts = grid.parts(inputs, outputs)
    # 16 bits would round the sums of each part.
    dw = xp.empty(parts * 9 * inputs * outputs, dtype="float64" if dtype == "float64" else "float32")
    strided_products(xp)(dw, laid, dy_laid, _steps_to_correlate(grid, inputs, outputs))
    dw = dw.reshape(parts, 3, 3, inputs, outputs)[:, :, :, : channels[0], : channels[1]]
    return (dw.sum(axis=0) if parts > 1 else dw[0]).astype(dtype, copy=False)


@lru_cache
def _steps_to_convolve(grid: Grid, inputs: int, outputs: int) -> tuple[Products, ...]:
    """Y, from its first pixel on, from X on its grid and W."""
    return tuple(
        Products(
            *(grid.thirds, outputs, 3 * inputs, 3),
            a=Matrices((grid.margin + (u - 1) * grid.line - 1) * inputs, 3 * inputs, apart=inputs),
            b=Matrices(u * 3 * inputs * outputs, outputs),
            c=Matrices(0, 3 * outputs, apart=outputs),
            add=u > 0,
        )
        for u in range(3)
    )


@lru_cache
def _steps_to_correlate(grid: Grid, inputs: int, outputs: int) -> tuple[Products, ...]:
    """The parts of dW, one after the other, from X and dY on their grids."""
    parts = grid.parts(inputs, outputs)
    rows = -(-grid.thirds // parts)
    steps = []
    for u in range(3):
        for third in range(3):
            first = grid.margin + third + (u - 1) * grid.line - 1
            steps.append(
                Products(
                    *(3 * inputs, outputs, rows, parts),
                    a=Matrices(first * inputs, 3 * inputs, rows * 3 * inputs, transposed=True),
                    b=Matrices((grid.margin + third) * outputs, 3 * outputs, rows * 3 * outputs),
                    c=Matrices(u * 3 * inputs * outputs, outputs, 9 * inputs * outputs),
                    add=third > 0,
                )
            )
    return tuple(steps)


def strided_products(xp: ArrayModule) -> Callable[[Array, Array, Array, Sequence[Products]], None]:
    """What computes Products in the flat arrays c, a and b of xp: cuBLAS on a GPU, NumPy on the CPU.

    Raises TypeError for the bare module cupy, which does not say in which precision.
    """
    by_device = getattr(xp, "strided_products", None)
    if by_device is not None:
        return by_device  # type: ignore[no-any-return]
    if xp.ndarray is not numpy.ndarray:
        raise TypeError("a convolution without patches is computed by numpy, or by what Device.computing_in gives")
    return products_by_numpy


def with_fast_convolutions(net: Net) -> Net:
    """The same net, with the same parameters, where every Conv that ShiftConv can stand for is one."""
    return tuple(_fast(node) for node in net)


def _fast(node: Node) -> Node:
    match node:
        case Conv(channels_in=inputs, channels_out=outputs, kernel=3, padding=1, stride=1):
            return ShiftConv(inputs, outputs)
        case Branches(paths=paths):
            return replace(node, paths=tuple(with_fast_convolutions(path) for path in paths))
        case _:
            return node


def _filled_up(xp: ArrayModule, w: Array) -> Array:
    """W, contiguous, with zeros for the channels that a grid of its dtype has beyond its own."""
    inputs, outputs = (channels_on_grid(count, w.dtype) for count in w.shape[2:])
    if (inputs, outputs) == w.shape[2:]:
        return xp.ascontiguousarray(w)
    filled = xp.zeros((3, 3, inputs, outputs), dtype=w.dtype)
    filled[:, :, : w.shape[2], : w.shape[3]] = w
    return filled


def _laid_once(xp: ArrayModule, grid: Grid, dy: Array, laid_out: list[Array]) -> Array:
    # `gradients` and `backward` are asked with the same dY, one after the other: the second takes what the first laid
    # out, and the memory is free again.
    if laid_out and laid_out[0] is dy:
        laid = laid_out[1]
        laid_out.clear()
        return laid
    laid = grid.lay_out(xp, dy)
    laid_out[:] = [dy, laid]
    return laid
