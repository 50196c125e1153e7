"""What the benchmark runs on: the CPU through NumPy or a GPU through CuPy, behind one small set of operations."""

from __future__ import annotations

import ctypes
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy

from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.measures import Traits

# numpy.ndarray and cupy.ndarray offer the same methods but share no class that a type could name.
Array = Any
ArrayModule = Any

CPU = "CPU"

# malloc.h of glibc
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


class CannotRun(Exception):
    """There is nothing here to run the benchmark on; the text says why, in a sentence."""


class DoesNotTrain(Exception):
    """It ran, and what was seen shows that training does not work; the text says what was seen, in a sentence."""


def in_words(error: BaseException) -> str:
    """The class and the first telling line of an error, for a sentence."""
    lines = (line.strip() for line in str(error).splitlines())
    first = next((line for line in lines if line.strip("=")), "no message")
    return f"{type(error).__name__}: {first}"


class Device(ABC):
    """A device that was seen to compute.

    `xp` is its array module, numpy or cupy. `home` says where its arrays lie: "CPU", "GPU 0". `errors` is what it
    raises when it fails in the middle of a computation; a full memory raises MemoryError.
    """

    name: str  # "numpy", "cupy"
    xp: ArrayModule
    home: str
    text: str  # the device, for a person to read
    errors: tuple[type[Exception], ...]
    traits: Traits | None  # None: not a GPU
    precisions: tuple[Precision, ...]  # that it computes in

    def versions(self) -> dict[str, str | None]:
        """Of the libraries that it computes with, as far as they are known once it is open."""
        return {}

    @abstractmethod
    def computing_in(self, precision: Precision) -> ArrayModule:
        """`xp` with a `matmul` of two matrices that multiplies in this precision: float32 in and out.

        (FP64: float64.) Arrays of 16 bits that are given to it stay what they are, with sums in float32.
        """

    @abstractmethod
    def multiply_into(self, c: Array, a: Array, b: Array, precision: Precision) -> None:
        """c = a b for contiguous matrices, without an allocation. FP16: float16; BF16: uint16 that holds the bits;
        FP32 and TF32: float32."""

    @abstractmethod
    def copy_into(self, target: Array, source: Array) -> None:
        """Copy on the device."""

    @abstractmethod
    def page_locked(self, count: int) -> Any:
        """(count,) uint8, a numpy.ndarray in memory of the host that the device reads and writes without a detour.

        Raises MemoryError when the host locks no more memory."""

    @abstractmethod
    def send(self, target: Array, source: Any) -> None:
        """Copy page-locked memory of the host into an array of the device of as many bytes, without waiting."""

    @abstractmethod
    def fetch(self, target: Any, source: Array) -> None:
        """Copy an array of the device into page-locked memory of the host of as many bytes, without waiting."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything that was asked for is done."""

    @abstractmethod
    def seconds(self, work: Callable[[], object], calls: int) -> float:
        """How long `calls` back-to-back calls take together, by the device's own clock."""

    @abstractmethod
    def free_bytes(self) -> int:
        """Memory that is free now."""

    @abstractmethod
    def release(self) -> None:
        """Give cached memory back, after what used it is gone."""

    @abstractmethod
    def place_of(self, array: Array) -> str:
        """Where the array lies, read from the array itself, in the words of `home`."""

    @abstractmethod
    def to_host(self, array: Array) -> Any:
        """The same numbers as a numpy.ndarray."""


class WithProduct:
    """An array module whose `matmul` is another function: a precision, a checksum, or in tests a fault."""

    def __init__(self, xp: ArrayModule, matmul: Callable[[Array, Array], Array]) -> None:
        self._xp, self.matmul = xp, matmul

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)


class NumpyDevice(Device):
    """The CPU. It multiplies in float64 and float32 only."""

    name, xp, home, errors, traits = "numpy", numpy, CPU, (), None
    precisions = (Precision.FP32,)

    def __init__(self) -> None:
        self.text = f"CPU (numpy {numpy.__version__})"
        keep_freed_memory()

    def computing_in(self, precision: Precision) -> ArrayModule:
        if precision not in (Precision.FP64, Precision.FP32):
            raise CannotRun(f"The CPU does not multiply in {precision.value} here.")
        return numpy

    def multiply_into(self, c: Array, a: Array, b: Array, precision: Precision) -> None:
        if precision not in (Precision.FP64, Precision.FP32):
            raise CannotRun(f"The CPU does not multiply in {precision.value} here.")
        numpy.matmul(a, b, out=c)

    def copy_into(self, target: Array, source: Array) -> None:
        numpy.copyto(target, source)

    def page_locked(self, count: int) -> Any:
        return numpy.empty(count, numpy.uint8)

    def send(self, target: Array, source: Any) -> None:
        numpy.copyto(target.view(numpy.uint8).reshape(-1), source)

    def fetch(self, target: Any, source: Array) -> None:
        numpy.copyto(target, source.view(numpy.uint8).reshape(-1))

    def synchronize(self) -> None:
        """NumPy has already waited."""

    def seconds(self, work: Callable[[], object], calls: int) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            work()
        return time.perf_counter() - began

    def free_bytes(self) -> int:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        raise CannotRun("/proc/meminfo does not say how much memory is available.")

    def release(self) -> None:
        """NumPy keeps nothing back."""

    def place_of(self, array: Array) -> str:
        return CPU if isinstance(array, numpy.ndarray | numpy.generic) else f"a {type(array).__name__}"

    def to_host(self, array: Array) -> Any:
        return array


def keep_freed_memory() -> None:
    """Asks the C library to keep what the process frees for its next arrays. Only glibc can be asked so.

    It would hand the memory back to the kernel after every step of training, and have it zeroed again page by page at
    the next: a third of the time of a step of 256 small images.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the largest that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 2**30)
