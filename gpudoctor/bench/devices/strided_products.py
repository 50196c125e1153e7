"""Products of matrices that lie interleaved in flat arrays, as one call of cuBLAS computes them: told here in rows and
columns, and computed by NumPy, so that whoever lays matrices out can be tested without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy

from gpudoctor.bench.devices.device import Array


class Matrices(NamedTuple):
    """Where a row of matrices of one shape lies in a flat array, counted in elements.

    Entry (i, j) of matrix number n is element start + n apart + i leading + j; if they are transposed, which means
    that their columns lie one after the other, it is element start + n apart + i + j leading.
    """

    start: int
    leading: int
    apart: int = 0
    transposed: bool = False

    def ends(self, rows: int, columns: int, count: int) -> int:
        """The element after the last one of all, where the matrices are (rows, columns)."""
        lines, width = (columns, rows) if self.transposed else (rows, columns)
        return self.start + (count - 1) * self.apart + (lines - 1) * self.leading + width


class Products(NamedTuple):
    """C = A B, or C = C + A B, for each matrix of a `batch`; A (rows, inner), B (inner, columns), C (rows, columns).

    C is never transposed, and no element belongs to two of its matrices.
    """

    rows: int
    columns: int
    inner: int
    batch: int
    a: Matrices
    b: Matrices
    c: Matrices
    add: bool = False


def check_layout(products: Products, c: Array, a: Array, b: Array) -> None:
    """Raises ValueError for matrices that are empty or reach out of their arrays: a GPU would read and write there."""
    rows, columns, inner, batch = products[:4]
    if min(rows, columns, inner, batch) < 1:
        raise ValueError(f"products of {rows} x {inner} by {inner} x {columns}, {batch} times: nothing may be empty")
    if products.c.transposed:
        raise ValueError("the result of a product is not written transposed")
    for name, flat, lie, shape in (
        ("A", a, products.a, (rows, inner)),
        ("B", b, products.b, (inner, columns)),
        ("C", c, products.c, (rows, columns)),
    ):
        if flat.ndim != 1 or lie.start < 0 or lie.apart < 0 or lie.ends(*shape, batch) > flat.size:
            raise ValueError(f"{name} reaches out of its array of shape {flat.shape}: {lie}")
        if lie.leading < (shape[0] if lie.transposed else shape[1]):
            raise ValueError(f"{name} has lines that overlap: {lie} for {shape[0]} x {shape[1]}")


def products_by_numpy(c: Array, a: Array, b: Array, steps: Sequence[Products]) -> None:
    """All steps, one after the other, on flat arrays of NumPy. Sums are kept in float32, or in what is wider."""
    for step in steps:
        check_layout(step, c, a, b)
        left = _matrices(a, step.a, step.rows, step.inner, step.batch)
        right = _matrices(b, step.b, step.inner, step.columns, step.batch)
        result = _matrices(c, step.c, step.rows, step.columns, step.batch)
        sums = numpy.result_type(c, "float32")
        for one, first, second in zip(result, left, right, strict=True):
            product = first.astype(sums, copy=False) @ second.astype(sums, copy=False)
            one[...] = one + product if step.add else product


def _matrices(flat: Array, lie: Matrices, rows: int, columns: int, count: int) -> Array:
    """(count, rows, columns), a view."""
    size = flat.itemsize
    by_row, by_column = (size, lie.leading * size) if lie.transposed else (lie.leading * size, size)
    return numpy.lib.stride_tricks.as_strided(
        flat[lie.start :], (count, rows, columns), (lie.apart * size, by_row, by_column)
    )
