"""The phase between GPUs: does what is copied from one to another arrive, is a sum over all of them right, how fast?

One process sees all the GPUs here. Copies between peers go wrong silently on some machines, with an IOMMU between the
GPUs above all, and nothing that is measured on one GPU alone shows it: so every number that arrived is compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from itertools import permutations
from typing import Any, NamedTuple

import numpy

from gpudoctor.bench.devices.device import Array, CannotRun, Device
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.job import Job, Level
from gpudoctor.bench.measures import Rate
from gpudoctor.bench.measuring.batch import halving
from gpudoctor.bench.measuring.noise import fill, noise, poison
from gpudoctor.bench.measuring.timing import Protocol, rate_of, time_calls
from gpudoctor.bench.words import mebibytes

Say = Callable[[str], None]

_COPIED = 64 << 20  # numbers of four bytes
_ALL_PAIRS_UP_TO = 4  # GPUs

# cudaErrorPeerAccessAlreadyEnabled of driver_types.h.
_ALREADY_ENABLED = 704


class Gpus(NamedTuple):
    """The GPUs of this process, one of them as the device that it was opened with."""

    device: Device
    all: list[Any]  # cupy.cuda.Device: a context in which that GPU is current
    protocol: Protocol


def measure_between_gpus(device: Device, job: Job, say: Say) -> list[Rate]:
    """Copies between pairs of GPUs, and an all-reduce over all of them where NCCL is at hand.

    The error of a rate is the share of numbers that are wrong. Raises CannotRun where there is one GPU.
    """
    cuda = device.xp.cuda if device.traits is not None else None
    count = int(cuda.runtime.getDeviceCount()) if cuda else 1
    if cuda is None or count < 2:
        raise CannotRun("There is one GPU here: nothing lies between it and another.")
    if job.busy:
        say("nothing is timed while somebody else computes on these GPUs")
        return []
    protocol = Protocol(0.05, 3, 0.05) if job.level is Level.QUICK else Protocol(0.2, 5, 0.1)
    gpus = Gpus(device, [cuda.Device(index) for index in range(count)], protocol)
    nccl = _nccl()
    if nccl is None:
        say("no all-reduce: NCCL is not installed (nvidia-nccl-cu13 or nvidia-nccl-cu12, by the major version of CUDA)")

    def measured(size: int) -> list[Rate]:
        block = noise(job.seed, Precision.FP32)
        rates = []
        for source, target in pairs_of(count):
            say(f"copy from GPU {source} to GPU {target}")
            rates.append(_peer_copy(gpus, source, target, block, size))
        if nccl is not None:
            say(f"all-reduce over {count} GPUs")
            rates.append(_all_reduce(gpus, nccl, block, size))
        return rates

    return halving(device, _COPIED, measured, say, "numbers")


def pairs_of(count: int) -> list[tuple[int, int]]:
    """Which GPU sends to which: each to each, or among many each to the next one and to the one opposite."""
    if count <= _ALL_PAIRS_UP_TO:
        return list(permutations(range(count), 2))
    return [(index, (index + step) % count) for step in (1, count // 2) for index in range(count)]


def _peer_copy(gpus: Gpus, source: int, target: int, block: Array, size: int) -> Rate:
    xp = gpus.device.xp
    direct = _let_access(gpus, source, target)
    # Other numbers from each GPU: what another copy left behind is not taken for this one.
    arrives, wanted = _empty(gpus, target, size), _holding(gpus, target, size, block, source)
    sent = _holding(gpus, source, size, block, source)
    with gpus.all[source]:
        stream = xp.cuda.get_current_stream()

        def copy() -> None:
            xp.cuda.runtime.memcpyPeerAsync(arrives.data.ptr, target, sent.data.ptr, source, sent.nbytes, stream.ptr)

        timing = time_calls(gpus.device.seconds, copy, gpus.protocol)
    error = _differing(gpus, target, arrives, wanted) / size
    detail = f"GPU {source} to GPU {target}, {'directly' if direct else 'through the host'}, {mebibytes(4 * size)}"
    return rate_of(timing, sent.nbytes / 1e9, what="peer copy", detail=detail, unit="GB/s", error=error)


def _let_access(gpus: Gpus, source: int, target: int) -> bool:
    """Lets the two reach into each other's memory, if they can. If not, the driver copies through the host."""
    runtime = gpus.device.xp.cuda.runtime
    ways = ((source, target), (target, source))
    if not all(runtime.deviceCanAccessPeer(here, there) for here, there in ways):
        return False
    for here, there in ways:
        with gpus.all[here]:
            try:
                runtime.deviceEnablePeerAccess(there)
            except runtime.CUDARuntimeError as error:
                if error.status != _ALREADY_ENABLED:
                    raise
    return True


def _all_reduce(gpus: Gpus, nccl: Any, block: Array, size: int) -> Rate:
    count = len(gpus.all)
    # Small whole numbers: their sums are exact in float32, in whatever order they are added. (0.0: no negative zeros.)
    whole = (block * 100).round() + 0.0
    total = sum(numpy.roll(whole, -index) for index in range(count))
    sent = [_holding(gpus, index, size, whole, index) for index in range(count)]
    arrives = [_empty(gpus, index, size) for index in range(count)]
    streams = []
    for gpu in gpus.all:
        with gpu:
            streams.append(gpus.device.xp.cuda.Stream(non_blocking=True))
    communicators = nccl.NcclCommunicator.initAll(list(range(count)))

    def reduce() -> None:
        nccl.groupStart()
        for gpu, communicator, given, result, stream in zip(
            gpus.all, communicators, sent, arrives, streams, strict=True
        ):
            with gpu:
                communicator.allReduce(
                    given.data.ptr, result.data.ptr, size, nccl.NCCL_FLOAT32, nccl.NCCL_SUM, stream.ptr
                )
        nccl.groupEnd()

    try:
        # One GPU's clock tells for all: none is done before it has the numbers of every other.
        with gpus.all[0], streams[0]:
            timing = time_calls(gpus.device.seconds, reduce, gpus.protocol)
        for gpu in gpus.all:
            gpu.synchronize()
    finally:
        for communicator in communicators:
            communicator.destroy()
    wrong = sum(
        _differing(gpus, index, arrives[index], _holding(gpus, index, size, total, 0)) for index in range(count)
    )
    # As nccl-tests count it: what each link carried, which does not depend on the number of GPUs.
    carried = 2 * (count - 1) / count * size * 4 / 1e9
    detail = f"{count} GPUs, {mebibytes(4 * size)}, bus bandwidth"
    return rate_of(timing, carried, what="all-reduce", detail=detail, unit="GB/s", error=wrong / (size * count))


def _holding(gpus: Gpus, index: int, size: int, block: Array, start: int) -> Array:
    """float32 on that GPU, with the block repeated from `start`."""
    array = _empty(gpus, index, size)
    with gpus.all[index]:
        fill(gpus.device, array, block, start)
    gpus.all[index].synchronize()
    return array


def _empty(gpus: Gpus, index: int, size: int) -> Array:
    """float32 on that GPU, poisoned."""
    with gpus.all[index]:
        array = gpus.device.xp.empty(size, "float32")
        poison(array, Precision.FP32)
    gpus.all[index].synchronize()
    return array


def _differing(gpus: Gpus, index: int, found: Array, wanted: Array) -> int:
    gpus.all[index].synchronize()
    with gpus.all[index]:
        return int((found.view("uint32") != wanted.view("uint32")).sum())


def _nccl() -> Any | None:
    """CuPy's binding of NCCL; None where the library is not installed."""
    with warnings.catch_warnings():
        # CuPy warns of a library that it does not find: we say so ourselves.
        warnings.simplefilter("ignore")
        nccl = import_module("cupy.cuda.nccl")
    return nccl if nccl.available else None
