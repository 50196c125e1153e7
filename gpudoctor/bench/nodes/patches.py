"""The patches of images as the rows of a matrix: with it, a convolution is a product of matrices.

All of it works along the axes between the first and the last: two for images, one for sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from gpudoctor.bench.devices.device import Array, ArrayModule


def on_canvas(xp: ArrayModule, x: Array, start: int, lengths: Sequence[int], step: int = 1) -> Array:
    """Zeros (N, *lengths, channels) with the entries of x at start, start + step, ... along each axis.

    Entries that fall outside are left out; start may be negative.
    """
    if start == 0 and step == 1 and x.shape[1:-1] == tuple(lengths):
        return x
    canvas = xp.zeros((len(x), *lengths, x.shape[-1]), dtype=x.dtype)
    taken, places = [slice(None)], [slice(None)]
    for count, length in zip(x.shape[1:-1], lengths, strict=True):
        first = max(0, -(start // step))
        end = min(count, (length - 1 - start) // step + 1)
        taken.append(slice(first, end))
        places.append(slice(start + step * first, start + step * (end - 1) + 1, step))
    canvas[tuple(places)] = x[tuple(taken)]
    return canvas


def patches_of(xp: ArrayModule, x: Array, kernel: int, stride: int) -> tuple[Array, tuple[int, ...]]:
    """Every patch of x (N, ..., channels), `kernel` long along each axis, as the row of a matrix.

    For images the matrix is (N * H' * W', kernel * kernel * channels), H' = (H - kernel) / stride + 1 rounded down;
    beside it (N, H', W').
    """
    axes = range(1, x.ndim - 1)
    counts = (len(x), *((x.shape[axis] - kernel) // stride + 1 for axis in axes))
    if min(counts[1:]) < 1:
        raise ValueError(f"A kernel of {kernel} does not fit into {x.shape[1:-1]}.")
    window = (*(kernel for _ in axes), x.shape[-1])
    by_patch = (x.strides[0], *(stride * x.strides[axis] for axis in axes))
    by_entry = x.strides[1:]
    # Views that repeat pixels. CuPy's sliding_window_view would say it better, but waits for the GPU at every call.
    as_strided = xp.lib.stride_tricks.as_strided
    if x.shape[-1] == 1:
        # One channel: the patches are short, and quicker to copy entry by entry, each entry of all patches at once.
        entries = as_strided(x, window + counts, by_entry + by_patch)
        return entries.reshape(prod(window), prod(counts)).T, counts
    patches = as_strided(x, counts + window, by_patch + by_entry)
    return patches.reshape(prod(counts), prod(window)), counts


def summed_over_all_but_channels(x: Array) -> Array:
    """(channels,): the sum over everything else."""
    # Over the images first: NumPy adds few long rows faster than many short ones, and more accurately.
    wide = summed_in(x.dtype)
    return x.reshape(len(x), -1).sum(axis=0, dtype=wide).reshape(-1, x.shape[-1]).sum(axis=0).astype(x.dtype)


def summed_in(dtype: Any) -> Any:
    """The dtype in which numbers of this dtype are added up: float32 for those of 16 bits, as products do."""
    return "float32" if dtype.itemsize == 2 else dtype
