"""Numbers of the format bfloat16, kept as their 16 bits: neither NumPy nor CuPy has a type for them.

A bfloat16 is the upper half of a float32: the same sign and exponent, and 7 of the 23 bits of the mantissa.
"""

from __future__ import annotations

from gpudoctor.bench.devices.device import Array, ArrayModule


def to_bfloat16(xp: ArrayModule, numbers: Array) -> Array:
    """float32 rounded to bfloat16: uint16 of the same shape. Halves go to the even neighbour; NaN stays NaN, and what
    is beyond the largest bfloat16 becomes infinite."""
    bits = numbers.view("uint32")
    # Adding just under half of what is cut off rounds up all above the half; the last bit kept breaks the tie.
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    # The carry could run a NaN over into another number: it keeps its upper half instead, with a bit that stays set.
    not_a_number = (bits & 0x7FFFFFFF) > 0x7F800000
    return xp.where(not_a_number, (bits >> 16) | 0x40, rounded).astype("uint16")


def from_bfloat16(bits: Array) -> Array:
    """uint16 with the bits of bfloat16 as float32, which holds every one of them exactly."""
    return (bits.astype("uint32") << 16).view("float32")
