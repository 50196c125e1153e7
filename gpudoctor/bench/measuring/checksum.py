"""Checks every matrix product while a net trains: algorithm-based fault tolerance by column sums.

For C = A B the sum of each column of C is (the column sums of A) times B. The two are worked out in float64 and
compared, relative to what rounding could do: the same sum over |A| and |B|. (Huang and Abraham, "Algorithm-Based Fault
Tolerance for Matrix Operations", IEEE Transactions on Computers, 1984.)
"""

from __future__ import annotations

from gpudoctor.bench.devices.device import Array, ArrayModule, WithProduct

# Healthy float32 products stayed below 3e-7, whichever their size; a wrong upper bit of a mantissa is mostly above it.
RESIDUAL_LIMIT = 1e-6

_TINY = 1e-300  # keeps columns of nothing but zeros from dividing by zero: their two sums must be equal


class Checked(WithProduct):
    """An array module whose products are checked; what they give is unchanged. For float32 and float64."""

    def __init__(self, xp: ArrayModule) -> None:
        super().__init__(xp, self._checked)
        self._inner = xp
        self._worst: Array | None = None

    @property
    def residual(self) -> float:
        """The largest normalised residual of all products so far; reading it waits for the device. NaN: one was NaN.

        Raises ValueError if no product was made: nothing was checked then.
        """
        if self._worst is None:
            raise ValueError("no product was checked")
        return float(self._worst)

    def _checked(self, a: Array, b: Array) -> Array:
        c = self._inner.matmul(a, b)
        xp = self._inner
        wide = b.astype("float64")
        told = c.sum(axis=0, dtype="float64")
        expected = (a.sum(axis=0, dtype="float64")[None, :] @ wide)[0]
        bound = (abs(a).sum(axis=0, dtype="float64")[None, :] @ abs(wide))[0]
        worst = (abs(told - expected) / (bound + _TINY)).max()
        # maximum keeps a NaN, whichever side it is on: it must not be lost.
        self._worst = worst if self._worst is None else xp.maximum(self._worst, worst)
        return c
