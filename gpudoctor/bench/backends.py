"""Opens what the net runs on, NumPy or CuPy, and says where an array really lies."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy

from gpudoctor.bench.nodes import Array, ArrayModule

CPU = "CPU"

# What CuPy lets out for a sick GPU or driver is a RuntimeError (CUDARuntimeError, CUDADriverError, CUBLASError and
# NVRTCError all are), for a library that it cannot load an ImportError or a RuntimeError, for a kernel cache that it
# cannot write an OSError. CompileException stands apart, and is added where CuPy is at hand.
_CUPY_ERRORS: tuple[type[Exception], ...] = (RuntimeError, ImportError, OSError)

# An extension module built for another NumPy fails to import with one of the last two.
_IMPORT_ERRORS: tuple[type[Exception], ...] = (*_CUPY_ERRORS, ValueError, AttributeError)


class CannotRun(Exception):
    """There is nothing here to run the benchmark on; the text says why, in a sentence."""


class DoesNotTrain(Exception):
    """It ran, and what was seen shows that training does not work; the text says what was seen, in a sentence."""


class Backend(NamedTuple):
    """An array module that was seen to compute."""

    name: str  # "numpy" or "cupy"
    xp: ArrayModule
    home: str  # where its arrays lie: "CPU", "GPU 0"
    device: str  # that device, for a person to read
    errors: tuple[type[Exception], ...]  # what a failing device raises in the middle of a computation


def open_numpy() -> Backend:
    """The CPU, through NumPy."""
    return Backend("numpy", numpy, CPU, f"CPU (numpy {numpy.__version__})", ())


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


def open_cupy(cupy: Any) -> Backend:
    """The current GPU, after a kernel and a matrix product have run on it and gave the right numbers.

    Raises CannotRun when CuPy cannot use a GPU here, DoesNotTrain when the numbers are wrong or came from the CPU.
    """
    errors = (*_CUPY_ERRORS, cupy.cuda.compiler.CompileException)
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except errors as error:
        raise CannotRun(_no_device(cupy, error)) from error
    if count < 1:
        raise CannotRun("CUDA answers, but shows no GPU.")

    # Small whole numbers: every product and sum is exact in float32 and in TF32, so the answer must be equal.
    left = numpy.arange(64 * 64, dtype=numpy.float32).reshape(64, 64) % 7 - 3
    try:
        on_device = cupy.asarray(left)
        scaled = on_device * 2 + 1
        product = scaled @ on_device
        home = place_of(product)
        if home == CPU:
            raise DoesNotTrain("CuPy fell back to the CPU: its matrix product came back as a numpy.ndarray.")
        answer = cupy.asnumpy(product)
        device = _describe(cupy, int(product.device.id))
    except MemoryError as error:
        raise CannotRun(f"The GPU has no memory free for the smallest test: {in_words(error)}") from error
    except errors as error:
        raise CannotRun(_no_kernel(cupy, error)) from error
    if not numpy.array_equal(answer, (left * 2 + 1) @ left):
        raise DoesNotTrain(f"{device} computes wrongly: a product of small whole numbers is not what it is on the CPU.")
    return Backend("cupy", cupy, home, device, errors)


def place_of(array: Array) -> str:
    """Where the array lies, read from the array itself: "CPU", or "GPU 0" for device 0 of CUDA."""
    if isinstance(array, numpy.ndarray | numpy.generic):
        return CPU
    return f"GPU {int(array.device.id)}"


def in_words(error: BaseException) -> str:
    """The class and the first telling line of an error, for a sentence."""
    lines = (line.strip() for line in str(error).splitlines())
    first = next((line for line in lines if line.strip("=")), "no message")
    return f"{type(error).__name__}: {first}"


def _describe(cupy: Any, device: int) -> str:
    properties = cupy.cuda.runtime.getDeviceProperties(device)
    name = properties["name"].decode(errors="replace")
    capability = f"compute capability {properties['major']}.{properties['minor']}"
    return f"{name} (GPU {device}, {properties['totalGlobalMem'] / 2**30:.0f} GiB, {capability})"


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
        return (
            "CuPy sees a GPU, but does not find a library of CUDA that it needs: install "
            f"cuda-toolkit[cublas,cudart,nvrtc]=={major}.* with pip. Its answer: {in_words(error)}"
        )
    return f"CuPy sees a GPU, but could not run a kernel on it: {in_words(error)}"
