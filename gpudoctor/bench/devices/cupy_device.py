"""A GPU through CuPy: what it takes to open one, what it says of itself, and how it multiplies in each precision."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from gpudoctor.bench.devices.cublas import (
    Cublas,
    cublas_version,
    multiply,
    multiply_into,
    open_cublas,
    strided_products,
)
from gpudoctor.bench.devices.device import (
    CPU,
    Array,
    ArrayModule,
    CannotRun,
    Device,
    DoesNotTrain,
    WithProduct,
    in_words,
)
from gpudoctor.bench.devices.precision import Precision, precisions_of
from gpudoctor.bench.devices.strided_products import Products
from gpudoctor.bench.measures import Traits

# What CuPy lets out for a sick GPU or driver is a RuntimeError (CUDARuntimeError, CUDADriverError, CUBLASError and
# NVRTCError all are), for a library that it cannot load an ImportError or a RuntimeError, for a kernel cache that it
# cannot write an OSError. CompileException stands apart, and is added where CuPy is at hand.
_CUPY_ERRORS: tuple[type[Exception], ...] = (RuntimeError, ImportError, OSError)

# An extension module built for another NumPy fails to import with one of the last two.
_IMPORT_ERRORS: tuple[type[Exception], ...] = (*_CUPY_ERRORS, ValueError, AttributeError)

_CUDA_ERROR_MEMORY_ALLOCATION = 2  # cudaErrorMemoryAllocation, to which CuPy gives no name


def import_cupy() -> Any:
    """The module cupy. That it imports says nothing about a GPU. Raises CannotRun when it does not even import."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise CannotRun(f"CuPy is installed, but a module that it needs is missing: {error.name}.") from error
        raise CannotRun(
            "CuPy is not installed in this Python: install the extra gpudoctor[cuda13], "
            "or gpudoctor[cuda12] where the driver serves CUDA 12 only."
        ) from error
    except _IMPORT_ERRORS as error:
        # CuPy wraps what happened in a page of advice.
        raise CannotRun(f"CuPy is installed but cannot be imported: {in_words(error.__cause__ or error)}") from error
    return cupy


def cupy_versions(cupy: Any) -> dict[str, str | None]:
    """The versions of CuPy, of the CUDA that it was built for, and of the CUDA that the driver serves, where known."""
    runtime = cupy.cuda.runtime
    return {
        "cupy": cupy.__version__,
        "cuda_runtime": cuda_version(runtime.runtimeGetVersion()),
        "cuda_driver": cuda_version(_driver_version(cupy)),
    }


def cuda_version(number: int) -> str | None:
    """12080 is "12.8"; 0 is how CUDA says that there is no driver, and gives None."""
    return f"{number // 1000}.{number % 1000 // 10}" if number > 0 else None


def open_cupy(cupy: Any) -> CupyDevice:
    """The current GPU, after kernels and a matrix product have run on it and gave the right numbers.

    Raises CannotRun when CuPy cannot use a GPU here, DoesNotTrain when the numbers are wrong or came from the CPU.
    """
    errors = (*_CUPY_ERRORS, cupy.cuda.compiler.CompileException)
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except errors as error:
        raise CannotRun(_no_device(cupy, error)) from error
    if count < 1:
        raise CannotRun("CUDA answers, but shows no GPU.")

    # Small whole numbers: every product and sum is exact in float32, so the answer must be equal.
    left = numpy.arange(64 * 64, dtype=numpy.float32).reshape(64, 64) % 7 - 3
    try:
        device = CupyDevice(cupy, open_cublas(cupy), errors)
        on_device = cupy.asarray(left)
        scaled = on_device * 2 + 1
        if device.place_of(scaled) == CPU:
            raise DoesNotTrain("CuPy fell back to the CPU: what it computed came back as a numpy.ndarray.")
        answer = device.to_host(device.computing_in(Precision.FP32).matmul(scaled, on_device.T))
    except MemoryError as error:
        raise CannotRun(f"The GPU has no memory free for the smallest test: {in_words(error)}") from error
    except errors as error:
        raise CannotRun(_no_kernel(cupy, error)) from error
    if not numpy.array_equal(answer, (left * 2 + 1) @ left.T):
        raise DoesNotTrain(
            f"{device.text} computes wrongly: a product of small whole numbers is not what it is on the CPU."
        )
    return device


class CupyDevice(Device):
    """The GPU that is current when it is opened. Everything goes onto CuPy's current stream, one after the other."""

    name = "cupy"

    def __init__(self, cupy: Any, cublas: Cublas, errors: tuple[type[Exception], ...]) -> None:
        self.xp, self.errors = cupy, errors
        self._cuda, self._cublas = cupy.cuda, cublas
        index = int(self._cuda.runtime.getDevice())
        properties = all_properties(self._cuda.runtime, index)
        self.home = f"GPU {index}"
        self.traits: Traits = traits_of(properties, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        self.precisions = precisions_of(self.traits.capability, self.traits.name)
        major, minor = self.traits.capability
        size = f"{self.traits.memory_bytes / 2**30:.0f} GiB"
        self.text = f"{self.traits.name} ({self.home}, {size}, compute capability {major}.{minor})"

    def versions(self) -> dict[str, str | None]:
        """The version of cuBLAS, which is loaded with the first product."""
        return {"cublas": cublas_version(self._cublas)}

    def computing_in(self, precision: Precision) -> ArrayModule:
        return _Computing(self.xp, self._cublas, precision)

    def multiply_into(self, c: Array, a: Array, b: Array, precision: Precision) -> None:
        multiply_into(self._cublas, c, a, b, precision)

    def copy_into(self, target: Array, source: Array) -> None:
        self.xp.copyto(target, source)

    def page_locked(self, count: int) -> Any:
        try:
            memory = self._cuda.alloc_pinned_memory(count)
        except self._cuda.runtime.CUDARuntimeError as error:
            if error.status != _CUDA_ERROR_MEMORY_ALLOCATION:
                raise
            raise MemoryError(f"the host locks no {count:,} bytes of memory: {in_words(error)}") from error
        return numpy.frombuffer(memory, numpy.uint8, count)

    def send(self, target: Array, source: Any) -> None:
        kind = self._cuda.runtime.memcpyHostToDevice
        self._copy(target.data.ptr, source.ctypes.data, _same_bytes(target, source), kind)

    def fetch(self, target: Any, source: Array) -> None:
        kind = self._cuda.runtime.memcpyDeviceToHost
        self._copy(target.ctypes.data, source.data.ptr, _same_bytes(target, source), kind)

    def synchronize(self) -> None:
        self._cuda.get_current_stream().synchronize()

    def seconds(self, work: Callable[[], object], calls: int) -> float:
        began, ended = self._cuda.Event(), self._cuda.Event()
        began.record()
        for _ in range(calls):
            work()
        ended.record()
        ended.synchronize()
        return float(self._cuda.get_elapsed_time(began, ended)) / 1000

    def free_bytes(self) -> int:
        free, _ = self._cuda.runtime.memGetInfo()
        return int(free)

    def release(self) -> None:
        self.xp.get_default_memory_pool().free_all_blocks()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()

    def place_of(self, array: Array) -> str:
        if isinstance(array, numpy.ndarray | numpy.generic):
            return CPU
        return f"GPU {int(array.device.id)}" if isinstance(array, self.xp.ndarray) else f"a {type(array).__name__}"

    def to_host(self, array: Array) -> Any:
        return self.xp.asnumpy(array)

    def _copy(self, target: int, source: int, size: int, kind: int) -> None:
        self._cuda.runtime.memcpyAsync(target, source, size, kind, self._cuda.get_current_stream().ptr)


class _Computing(WithProduct):
    """CuPy with the products of one precision."""

    def __init__(self, cupy: Any, cublas: Cublas, precision: Precision) -> None:
        super().__init__(cupy, lambda a, b: multiply(cublas, cupy, a, b, precision))
        self._cublas, self._precision = cublas, precision

    def strided_products(self, c: Array, a: Array, b: Array, steps: Sequence[Products]) -> None:
        """All steps, one after the other, on the flat arrays a, b and c."""
        strided_products(self._cublas, self._xp, c, a, b, steps, self._precision)


def all_properties(runtime: Any, index: int) -> dict[str, Any]:
    """What CUDA says of a device, clocks included: since CUDA 13 its properties have none, and attributes tell them."""
    properties = dict(runtime.getDeviceProperties(index))
    for name, attribute in (
        ("clockRate", runtime.cudaDevAttrClockRate),
        ("memoryClockRate", runtime.cudaDevAttrMemoryClockRate),
        ("memoryBusWidth", runtime.cudaDevAttrGlobalMemoryBusWidth),
    ):
        if not properties.get(name):
            properties[name] = runtime.deviceGetAttribute(attribute, index)
    return properties


def traits_of(properties: dict[str, Any], visible: str) -> Traits:
    """A device by its properties, as `all_properties` gives them. `visible`: the value
    of CUDA_VISIBLE_DEVICES, which may know the UUID better."""
    return Traits(
        name=properties["name"].decode(errors="replace"),
        uuid=uuid_of(bytes(properties.get("uuid", b"")), visible),
        pci_address="{pciDomainID:04x}:{pciBusID:02x}:{pciDeviceID:02x}.0".format_map(properties),
        capability=(properties["major"], properties["minor"]),
        sm_count=properties["multiProcessorCount"],
        l2_bytes=properties["l2CacheSize"],
        memory_bytes=properties["totalGlobalMem"],
        boost_khz=properties.get("clockRate", 0),
        memory_khz=properties.get("memoryClockRate", 0),
        memory_bus_bits=properties.get("memoryBusWidth", 0),
    )


def uuid_of(told: bytes, visible: str) -> str:
    """The UUID as `nvidia-smi -L` prints it; "" where it is not known for sure.

    CuPy hands the 16 bytes over as a C string: the first that is zero ends it, one GPU in sixteen has such a byte, and
    without one what follows in memory may be appended. The name under which this process was given its only GPU is
    then believed, if it begins with the bytes that are there. It is believed too for a slice of a GPU (MIG), which has
    a UUID of its own.
    """
    if visible.startswith("MIG-") and "," not in visible:
        return visible
    if len(told) >= 16:
        digits = told[:16].hex()
        return "GPU-" + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    given = visible.removeprefix("GPU-").replace("-", "").lower()
    whole = visible.startswith("GPU-") and len(given) == 32
    return visible if whole and given.startswith(told.hex() + "00") else ""


def _same_bytes(one: Array, other: Array) -> int:
    if one.nbytes != other.nbytes or not (one.flags.c_contiguous and other.flags.c_contiguous):
        raise ValueError(f"{one.nbytes} and {other.nbytes} bytes: a copy needs two arrays of as many, without gaps")
    return int(one.nbytes)


def _driver_version(cupy: Any) -> int:
    try:
        return int(cupy.cuda.runtime.driverGetVersion())
    except _CUPY_ERRORS:
        # The same trouble comes back, with its message, when the device is opened.
        return 0


def _no_device(cupy: Any, error: Exception) -> str:
    # CUDA says cudaErrorInsufficientDriver for a driver that is too old and for none at all: the versions tell.
    served, built_for = _driver_version(cupy), int(cupy.cuda.runtime.runtimeGetVersion())
    if served == 0:
        return f"CUDA finds no NVIDIA driver on this machine: `gpudoctor check` says why. Its answer: {in_words(error)}"
    if served // 1000 < built_for // 1000:
        way_out = (
            "install a newer driver, or the extra gpudoctor[cuda12]" if served >= 12000 else "install a newer driver"
        )
        return (
            f"This CuPy is built for CUDA {cuda_version(built_for)}, and the driver's library serves only CUDA "
            f"{cuda_version(served)}: {way_out}. Its answer: {in_words(error)}"
        )
    return f"CUDA finds no GPU that works: `gpudoctor check` says why. Its answer: {in_words(error)}"


def _no_kernel(cupy: Any, error: Exception) -> str:
    # CuPy's wheels come without CUDA's libraries and look for them when the first kernel is compiled.
    if ".so" in str(error):
        major = int(cupy.cuda.runtime.runtimeGetVersion()) // 1000
        way_out = f"install cuda-toolkit[cublas,cudart,nvrtc]=={major}.* with pip"
        if int(cupy.__version__.partition(".")[0]) < 14:
            way_out += ", and CuPy 14 or newer: older ones look for CUDA in the system alone"
        return (
            "CuPy sees a GPU, but does not find a library of CUDA that it needs: "
            f"{way_out}. Its answer: {in_words(error)}"
        )
    return f"CuPy sees a GPU, but could not run a kernel on it: {in_words(error)}"
