"""The throughput phase: how fast the device multiplies, copies, convolves and trains, and whether rightly."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from gpudoctor.bench.devices.device import Array, Device, DoesNotTrain
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.job import LEFT_OUT, Job, Level
from gpudoctor.bench.measures import Rate
from gpudoctor.bench.measuring.batch import halving
from gpudoctor.bench.measuring.convolution_check import convolution_deviation
from gpudoctor.bench.measuring.noise import filled, poison
from gpudoctor.bench.measuring.products import Expected, Operands, deviation, expected, operands
from gpudoctor.bench.measuring.timing import Protocol, rate_of, time_calls
from gpudoctor.bench.measuring.workload import SIZE, Load, convolution_load, training_load, vgg_like
from gpudoctor.bench.nodes import Conv, Node
from gpudoctor.bench.nodes.shift_conv import with_fast_convolutions
from gpudoctor.bench.planning.plan import benchmark_batch
from gpudoctor.bench.words import mebibytes

Say = Callable[[str], None]

# A training step and a convolution are first run with so few images, to see what memory they take for each.
_FEW = 4

# Beside the arrays that a pass leaves behind, the largest few exist twice for a moment.
_FOR_A_MOMENT = 1.5

_PRECISIONS_OF_TRAINING = (Precision.FP32, Precision.FP16)


class Sizes(NamedTuple):
    """How much is timed. The batch is what fits; `images` caps it."""

    protocol: Protocol
    product: int  # rows and columns
    copied: int  # bytes
    sent: int  # bytes
    channels: int  # of the convolution
    widths: tuple[int, ...]  # of the net
    hidden: int
    images: int


ON_CPU = Sizes(Protocol(0.02, 3, 0.04), 512, 16 << 20, 4 << 20, 16, (16, 32, 64), 64, 8)
# Beyond every L2 cache, and so large that every multiprocessor has many tiles.
ON_GPU = Sizes(Protocol(0.5, 5, 0.2), 8192, 1 << 30, 256 << 20, 256, (64, 128, 256), 256, 4096)
ON_GPU_IN_SHORT = ON_GPU._replace(protocol=Protocol(0.2, 5, 0.08))


def measure_throughput(device: Device, job: Job, say: Say) -> list[Rate]:
    """Times products, copies and the link to the host, and unless in a hurry convolutions and training.

    Nothing while somebody else computes on the device. A convolution or training for which the memory does not suffice,
    with a quarter of its batch either, is left out, and `say` hears of it.
    """
    if job.busy:
        say("nothing is timed while somebody else computes on this GPU")
        return []
    sizes = sizes_for(device, job.level)
    rates = _products(device, sizes, job.seed, say)
    device.release()
    rates.append(_copy(device, sizes, job.seed, say))
    device.release()
    if device.traits is not None:  # the CPU has no link to itself
        rates += _link(device, sizes, job.seed, say)
        device.release()
    if job.level is Level.QUICK:
        return rates
    fast = device.traits is not None
    precisions = [one for one in _PRECISIONS_OF_TRAINING if one in device.precisions]
    wanted = [
        (f"convolution in {precision.value}, {path}", partial(_convolution, device, precision, path))
        for precision in precisions
        for path in (("im2col", "shift") if fast else ("im2col",))
    ]
    wanted += [
        (f"training in {precision.value}", partial(_training, device, precision, "shift" if fast else "im2col"))
        for precision in precisions
    ]
    for what, measured in wanted:
        try:
            rates.append(measured(rates, sizes, job.seed, say))
        except MemoryError as error:  # what was measured before is worth more than a skipped phase
            say(f"{LEFT_OUT}{what}: not enough memory is free ({error})")
        device.release()
    return rates


def sizes_for(device: Device, level: Level) -> Sizes:
    """What fits the device: products take at most a third of its free memory, copies half."""
    if device.traits is None:
        return ON_CPU
    sizes = ON_GPU_IN_SHORT if level is Level.QUICK else ON_GPU
    free = device.free_bytes()
    product = sizes.product
    while 3 * 4 * product**2 > free // 3 and product > 1024:
        product //= 2
    copied = min(max(sizes.copied, 8 * device.traits.l2_bytes), free // 4)
    return sizes._replace(product=product, copied=copied, sent=min(sizes.sent, free // 8))


def _products(device: Device, sizes: Sizes, seed: int, say: Say) -> list[Rate]:
    def wanted(precision: Precision) -> Expected:
        return expected(sizes.product, precision, seed)

    with ThreadPoolExecutor(max_workers=1) as beside:
        # The CPU works out what must come out while the GPU multiplies. Its own products it times alone.
        early = {precision: beside.submit(wanted, precision) for precision in device.precisions if device.traits}
        rates = []
        for precision in device.precisions:
            timed, asked = _product(device, precision, sizes, seed, say)
            right = early[precision].result() if early else wanted(precision)
            rates.append(timed._replace(error=deviation(device, asked, right).error))
    return rates


def _product(device: Device, precision: Precision, sizes: Sizes, seed: int, say: Say) -> tuple[Rate, Operands]:
    size = sizes.product
    detail = f"{size} x {size} x {size}"
    say(f"product in {precision.value}, {detail}")
    asked = operands(device, size, precision, seed)
    poison(asked.c, precision)
    timing = time_calls(
        device.seconds, lambda: device.multiply_into(asked.c, asked.a, asked.b, precision), sizes.protocol
    )
    amount = asked.flops / 1e12
    return rate_of(timing, amount, what="product", precision=precision.value, detail=detail, unit="TFLOPS"), asked


def _copy(device: Device, sizes: Sizes, seed: int, say: Say) -> Rate:
    say(f"copy on the device, {mebibytes(sizes.copied)}")
    source = filled(device, (sizes.copied // 4,), Precision.FP32, seed)
    target = device.xp.empty_like(source)
    poison(target, Precision.FP32)
    timing = time_calls(device.seconds, lambda: device.copy_into(target, source), sizes.protocol)
    detail = f"{mebibytes(source.nbytes)}, read and written"
    error = _share_differing(target, source)
    return rate_of(timing, 2 * source.nbytes / 1e9, what="copy", detail=detail, unit="GB/s", error=error)


def _link(device: Device, sizes: Sizes, seed: int, say: Say) -> list[Rate]:
    say(f"to the device and back, {mebibytes(sizes.sent)}")
    source = filled(device, (sizes.sent // 4,), Precision.FP32, seed)
    target = device.xp.empty_like(source)
    host = device.page_locked(source.nbytes)
    poison(target, Precision.FP32)
    host.fill(0)
    detail = f"{mebibytes(source.nbytes)}, page-locked"
    # First to the host, so that what is sent is what came from the device, and both ways are checked by the return.
    to_host = time_calls(device.seconds, lambda: device.fetch(host, source), sizes.protocol)
    device.synchronize()
    to_device = time_calls(device.seconds, lambda: device.send(target, host), sizes.protocol)
    error = _share_differing(target, source)
    amount = source.nbytes / 1e9
    return [
        rate_of(to_device, amount, what="to device", detail=detail, unit="GB/s", error=error),
        rate_of(to_host, amount, what="to host", detail=detail, unit="GB/s", error=error),
    ]


def _convolution(
    device: Device, precision: Precision, path: str, rates: list[Rate], sizes: Sizes, seed: int, say: Say
) -> Rate:
    channels = sizes.channels
    node: Node = Conv(channels, channels)
    if path == "shift":
        (node,) = with_fast_convolutions((node,))

    def load(batch: int) -> Load:
        return convolution_load(device, node, channels, precision, batch, seed)

    error = convolution_deviation(device, node, channels, precision, seed).error

    def measured(batch: int) -> Rate:
        shape = f"batch {batch}, {SIZE} x {SIZE}, {channels} to {channels} channels, {path}"
        say(f"convolution in {precision.value}, {shape}")
        timed = _timed(device, load(batch), "convolution", precision, shape, "TFLOPS", rates, sizes)
        return timed._replace(error=error)

    return halving(device, _batch(device, load, sizes), measured, say)


def _training(
    device: Device, precision: Precision, path: str, rates: list[Rate], sizes: Sizes, seed: int, say: Say
) -> Rate:
    net = vgg_like(sizes.widths, sizes.hidden)
    if path == "shift":
        net = with_fast_convolutions(net)

    def load(batch: int) -> Load:
        return training_load(device, net, precision, batch, seed)

    def measured(batch: int) -> Rate:
        widths = ", ".join(str(width) for width in sizes.widths)
        shape = f"batch {batch}, {SIZE} x {SIZE}, twice {widths} channels, {path}"
        say(f"training in {precision.value}, {shape}")
        return _timed(device, load(batch), "training", precision, shape, "images/s", rates, sizes)

    return halving(device, _batch(device, load, sizes), measured, say)


def _batch(device: Device, load: Callable[[int], Load], sizes: Sizes) -> int:
    """How many images at a time, by what a few of them take. Raises MemoryError where too few fit."""
    work = load(_FEW).work
    device.synchronize()
    device.release()
    if device.traits is None:
        return sizes.images
    batch = min(benchmark_batch(int(_FOR_A_MOMENT * work.held / work.images), device.free_bytes()), sizes.images)
    if batch == 0:
        raise MemoryError(f"{mebibytes(device.free_bytes())} of memory are free, too little for a batch worth timing")
    return batch


def _timed(
    device: Device, load: Load, what: str, precision: Precision, detail: str, unit: str, rates: list[Rate], sizes: Sizes
) -> Rate:
    work = load.work
    timing = time_calls(device.seconds, load.run, sizes.protocol)
    (number,) = device.to_host(load.run()).reshape(-1).tolist()
    if not math.isfinite(number):
        raise DoesNotTrain(f"A {what} in {precision.value} gave {number} while it was timed.")
    amount = work.flops / 1e12 if unit == "TFLOPS" else work.images
    modelled = None
    # A CPU does everything but products on one core: what it copies says nothing about that.
    if device.traits is not None:
        medians = {(rate.what, rate.precision): rate.median for rate in rates}
        products, copies = medians["product", precision.value], medians["copy", ""]
        modelled = amount / work.seconds(products * 1e12, copies * 1e9)
    return rate_of(timing, amount, what=what, precision=precision.value, detail=detail, unit=unit, modelled=modelled)


def _share_differing(found: Array, wanted: Array) -> float:
    """Of the words of 32 bits. Compared on the device, as whole numbers: among them NaN is no exception."""
    differing = int((found.view("uint32") != wanted.view("uint32")).sum())
    return differing / int(found.size)
