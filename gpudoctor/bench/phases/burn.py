"""The burn phase: full load for as long as is wanted, with the memory full, and every bit compared.

The memory is filled with copies of one matrix product, as gpu-burn does (github.com/wilicc/gpu-burn). Here they are
compared bit for bit: a NaN is no exception, no tolerance hides a wrong bit, and the first copy is not trusted but
compared with float64 on the CPU. Now and then a training is replayed, whose weights must be the same to the bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gpudoctor.bench.devices.device import Array, CannotRun, Device
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.job import Job
from gpudoctor.bench.measures import Burned
from gpudoctor.bench.measuring.batch import halving
from gpudoctor.bench.measuring.checksum import Checked
from gpudoctor.bench.measuring.noise import dtype_of, poison
from gpudoctor.bench.measuring.products import deviation, expected, operands
from gpudoctor.bench.measuring.timing import Protocol, time_calls
from gpudoctor.bench.phases import replay
from gpudoctor.bench.words import size as size_of

Say = Callable[[str], None]

BETWEEN_HASHES = 10.0  # seconds
SHARE = 0.9  # of the free memory, products and what makes them together

_BETWEEN_LOOKS = 0.5  # seconds of products before the clock is looked at again
_WORD = 4  # bytes
_NOTHING_YET = 0xFFFFFFFF  # NaN, whichever way the bits are read


class Size(NamedTuple):
    """How large the products are, and how much memory is filled with them at most."""

    product: int  # rows and columns
    filled: int | None  # bytes; None: what is free


ON_CPU = Size(256, 8 << 20)
ON_GPU = Size(8192, None)


class Product(NamedTuple):
    """One product that is made again and again."""

    precision: Precision
    a: Array
    b: Array
    reference: Array  # (words,) uint32: the bits of the first one
    seconds: float  # it takes about so long
    flops: float


@dataclass
class Tally:
    """What came out so far."""

    products: int = 0
    flops: float = 0.0
    filled: int = 0  # bytes, in the fullest round
    mismatches: int = 0
    hashes: int = 0
    wrong_hashes: int = 0


def measure_burn(device: Device, job: Job, say: Say) -> Burned:
    """Loads the device for `job.burn_seconds`, and at least until something was compared.

    A mismatch is a word of 32 bits that is not what it was in the first product, or a number of the first product
    that is not what float64 gives. Raises CannotRun while somebody else computes on the device.
    """
    if job.busy:
        raise CannotRun("Somebody else computes on this GPU: its memory is not filled.")
    size, load = (ON_CPU, replay.ON_CPU) if device.traits is None else (ON_GPU, replay.ON_GPU)
    began = time.monotonic()
    until = began + job.burn_seconds
    kept_free = int((1 - SHARE) * device.free_bytes())
    tally = Tally()
    products = _products(device, size.product, job.seed, tally, say)
    checked = Checked(device.computing_in(Precision.FP32))

    def train() -> str:
        return replay.weights_after(device, checked, job.seed, load)

    def compare_training() -> None:
        tally.hashes += 1
        tally.wrong_hashes += train() != first

    def burn(slots: int) -> None:
        """Fills so many of the largest product's size."""
        pool = device.xp.empty(slots * largest, "uint32")
        say(f"full load with {size_of(pool.nbytes)}, {max(0.0, until - time.monotonic()):.0f} s to go")
        hashed, turn = time.monotonic(), 0
        while turn == 0 or time.monotonic() < until:
            _round(device, pool, products[turn % len(products)], until, tally)
            turn += 1
            if time.monotonic() - hashed >= BETWEEN_HASHES:
                compare_training()
                hashed = time.monotonic()
                say(
                    f"{hashed - began:.0f} s: {tally.products:,} products and {tally.hashes} trainings, {_found(tally)}"
                )

    # Before the memory is filled: what training needs stays with the device's allocator.
    first = train()
    largest = max(product.reference.size for product in products)
    room = device.free_bytes() - kept_free if size.filled is None else size.filled
    halving(device, max(1, room // (largest * _WORD)), burn, say, "products in memory")
    compare_training()
    ended = time.monotonic()
    seconds = ended - began
    return Burned(
        seconds=seconds,
        memory_bytes=tally.filled,
        rounds=tally.products + tally.hashes,
        mismatches=tally.mismatches,
        hashes=tally.hashes,
        wrong_hashes=tally.wrong_hashes,
        worst_residual=checked.residual,
        tflops=tally.flops / seconds / 1e12,
        began=began,
        ended=ended,
    )


def _products(device: Device, size: int, seed: int, tally: Tally, say: Say) -> list[Product]:
    """One for each precision: its factors and its bits take at most a quarter of the free memory, all together."""
    precisions = device.precisions
    while 4 * _WORD * size**2 * len(precisions) > device.free_bytes() // 4 and size > 512:
        size //= 2
    products = []
    for precision in precisions:
        say(f"the first product in {precision.value}, {size} x {size} x {size}, beside float64 on the CPU")
        made = operands(device, size, precision, seed)
        poison(made.c, precision)
        device.multiply_into(made.c, made.a, made.b, precision)
        tally.mismatches += deviation(device, made, expected(size, precision, seed)).outliers
        again = device.xp.empty_like(made.c)

        def multiply(made=made, again=again) -> None:  # type: ignore[no-untyped-def]
            device.multiply_into(again, made.a, made.b, made.precision)

        seconds = time_calls(device.seconds, multiply, Protocol(0, 1, 0)).median
        reference = made.c.reshape(-1).view("uint32")
        products.append(Product(precision, made.a, made.b, reference, seconds, made.flops))
    device.release()
    return products


def _round(device: Device, pool: Array, product: Product, until: float, tally: Tally) -> None:
    """Fills the pool with copies of the product, as many as there is time for, and then compares them all."""
    words = product.reference.size
    slots = [pool[start : start + words] for start in range(0, pool.size - words + 1, words)]
    pool.fill(_NOTHING_YET)
    at_once = max(1, int(_BETWEEN_LOOKS / product.seconds))
    made = 0
    while made < len(slots) and (made == 0 or time.monotonic() < until):
        for slot in slots[made : made + at_once]:
            c = slot.view(dtype_of(product.precision)).reshape(product.a.shape)
            device.multiply_into(c, product.a, product.b, product.precision)
        device.synchronize()
        made = min(made + at_once, len(slots))
    differing = [(slot != product.reference).sum() for slot in slots[:made]]
    tally.mismatches += sum(int(count) for count in differing)
    tally.products += made
    tally.flops += made * product.flops
    tally.filled = max(tally.filled, made * words * _WORD)


def _found(tally: Tally) -> str:
    if not (tally.mismatches or tally.wrong_hashes):
        return "all the same to the bit"
    return f"{tally.mismatches:,} words and {tally.wrong_hashes} trainings differ"
