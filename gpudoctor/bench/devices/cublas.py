"""Matrix products by cuBLAS, in a chosen precision for each call, told in rows and columns.

cuBLAS counts columns first: what lies in memory row after row is to it the transposed matrix. C = A B is the same as
C^T = B^T A^T, so the two factors are handed over in exchanged order and nothing is ever transposed in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy

from gpudoctor.bench.devices.bfloat16 import to_bfloat16
from gpudoctor.bench.devices.device import Array, ArrayModule, DoesNotTrain
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.devices.strided_products import Matrices, Products, check_layout


class Cublas(NamedTuple):
    """CuPy's binding of cuBLAS."""

    binding: Any  # the module cupy_backends.cuda.libs.cublas
    handle: Callable[[], int]  # of this thread, on the current device


def open_cublas(cupy: Any) -> Cublas:
    """The library behind CuPy. What CuPy raises when it cannot be loaded passes through, here or at the first call."""
    # Its package looks for the library (among NVIDIA's wheels, too) when it is asked for the binding by attribute, as
    # `from ... import` does. Importing the binding by its full name finds none but a library of the system.
    libs = __import__("cupy_backends.cuda.libs", fromlist=["cublas"])
    return Cublas(libs.cublas, cupy.cuda.device.get_cublas_handle)


def cublas_version(cublas: Cublas) -> str:
    """ "13.2.0"."""
    number = int(cublas.binding.getVersion(cublas.handle()))
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


# cudaDataType_t of library_types.h, by the dtype of the array: float32, float64, float16, and uint16, which stands for
# the bits of bfloat16. By their characters, because a dtype works its name out anew each time.
_DATA_TYPE = {"f": 0, "d": 1, "e": 2, "H": 14}

# What a product is given and leaves as it is: no bit of it is lost in that precision.
_LEFT_ALONE = {
    Precision.FP64: "d",
    Precision.FP32: "fe",
    Precision.TF32: "fe",
    Precision.FP16: "e",
    Precision.BF16: "H",
}

# alpha and beta are read from the host's memory when a product is asked for, in the type in which it sums.
_SCALARS = {kind: numpy.array([0, 1], dtype=kind) for kind in "fd"}
_ZERO = {kind: pair.ctypes.data for kind, pair in _SCALARS.items()}
_ONE = {kind: pair.ctypes.data + pair.itemsize for kind, pair in _SCALARS.items()}

_ALLOC_FAILED = 3  # CUBLAS_STATUS_ALLOC_FAILED


def multiply(cublas: Cublas, xp: ArrayModule, a: Array, b: Array, precision: Precision) -> Array:
    """a b, of two matrices of any layout.

    float32 (FP64: float64) gives float32: for FP16 and BF16 the factors are rounded first, and the sums are not.
    float16 is multiplied as it is and gives float16. Raises TypeError for what does not fit the precision,
    DoesNotTrain for a matrix that is not on the GPU.
    """
    for one in (a, b):
        if isinstance(one, numpy.ndarray):
            raise DoesNotTrain("Training fell back to the CPU: a factor of a product is a numpy.ndarray.")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"no product of shapes {a.shape} and {b.shape}: two matrices that fit each other are needed")
    (rows, inner), columns = a.shape, b.shape[1]
    result = _dtype_of(a, b)
    if 0 in (rows, inner, columns):
        return xp.zeros((rows, columns), dtype=result)
    left, right = factor(xp, a, precision), factor(xp, b, precision)
    c = xp.empty((rows, columns), dtype=result)
    _gemm(cublas, c, *_laid_out(xp, left), *_laid_out(xp, right), inner, precision)
    return c


def multiply_into(cublas: Cublas, c: Array, a: Array, b: Array, precision: Precision) -> None:
    """c = a b for matrices that lie in memory row after row, without an allocation and without rounding.

    FP64: float64; FP32, TF32: float32; FP16: float16; BF16: uint16 with the bits. Raises TypeError for another dtype,
    ValueError for shapes that do not fit or another layout.
    """
    wanted = _LEFT_ALONE[precision][0]
    for one in (c, a, b):
        if one.dtype.char != wanted:
            names = numpy.dtype(wanted).name, one.dtype.name
            raise TypeError("a product in {} without rounding takes {}, not {}".format(precision.value, *names))
        if one.ndim != 2 or not one.flags.c_contiguous or one.size == 0:
            raise ValueError(f"shape {one.shape}: a matrix is needed that lies in memory row after row")
    if a.shape[1] != b.shape[0] or c.shape != (a.shape[0], b.shape[1]):
        raise ValueError(f"shapes {a.shape} times {b.shape} into {c.shape} do not fit")
    _gemm(cublas, c, a, Matrices(0, a.shape[1]), b, Matrices(0, b.shape[1]), a.shape[1], precision)


def strided_products(
    cublas: Cublas, xp: ArrayModule, c: Array, a: Array, b: Array, steps: Sequence[Products], precision: Precision
) -> None:
    """All steps, one after the other, on flat arrays a, b and c; dtypes as for `multiply`, and c may be float32."""
    _dtype_of(a, b)
    for step in steps:
        check_layout(step, c, a, b)
    a, b = factor(xp, a, precision), factor(xp, b, precision)
    binding, handle = cublas
    sums, compute = _computing(binding, precision)
    for step in steps:
        # fmt: off
        _call(
            cublas, binding.gemmStridedBatchedEx,
            handle(), _operation(binding, step.b), _operation(binding, step.a),
            step.columns, step.rows, step.inner,
            _ONE[sums],
            b.data.ptr + step.b.start * b.itemsize, _DATA_TYPE[b.dtype.char], step.b.leading, step.b.apart,
            a.data.ptr + step.a.start * a.itemsize, _DATA_TYPE[a.dtype.char], step.a.leading, step.a.apart,
            _ONE[sums] if step.add else _ZERO[sums],
            c.data.ptr + step.c.start * c.itemsize, _DATA_TYPE[c.dtype.char], step.c.leading, step.c.apart,
            step.batch, compute, binding.CUBLAS_GEMM_DEFAULT,
        )
        # fmt: on


def factor(xp: ArrayModule, array: Array, precision: Precision) -> Array:
    """What is multiplied in this precision: the array itself, or its numbers rounded to 16 bits."""
    kind = array.dtype.char
    if kind in _LEFT_ALONE[precision]:
        return array
    if kind != "f" or precision is Precision.FP64:
        raise TypeError(f"{array.dtype.name} is not multiplied in {precision.value}")
    if array.ndim == 2 and not array.flags.c_contiguous and array.flags.f_contiguous:
        # A transposed view: rounded as what it views, it keeps its layout and needs no copy later.
        return factor(xp, array.T, precision).T
    return array.astype("float16") if precision is Precision.FP16 else to_bfloat16(xp, array)


def _gemm(
    cublas: Cublas, c: Array, a: Array, a_lies: Matrices, b: Array, b_lies: Matrices, inner: int, precision: Precision
) -> None:
    binding, handle = cublas
    sums, compute = _computing(binding, precision)
    rows, columns = c.shape
    # CUBLAS_GEMM_DEFAULT uses tensor cores where the types ask for them. CUBLAS_GEMM_DEFAULT_TENSOR_OP would also
    # allow cuBLAS to round float32 to half precision (cuBLAS guide, "cublasGemmAlgo_t").
    # fmt: off
    _call(
        cublas, binding.gemmEx,
        handle(), _operation(binding, b_lies), _operation(binding, a_lies),
        columns, rows, inner,
        _ONE[sums],
        b.data.ptr, _DATA_TYPE[b.dtype.char], b_lies.leading,
        a.data.ptr, _DATA_TYPE[a.dtype.char], a_lies.leading,
        _ZERO[sums],
        c.data.ptr, _DATA_TYPE[c.dtype.char], columns,
        compute, binding.CUBLAS_GEMM_DEFAULT,
    )
    # fmt: on


def _call(cublas: Cublas, function: Callable[..., None], *arguments: int) -> None:
    """Raises MemoryError where cuBLAS finds no memory for its workspace, as CuPy does for arrays."""
    try:
        function(*arguments)
    except cublas.binding.CUBLASError as error:
        if error.status != _ALLOC_FAILED:
            raise
        raise MemoryError(f"cuBLAS finds no memory for its workspace: {error}") from error


def _computing(binding: Any, precision: Precision) -> tuple[str, int]:
    """The type of the sums, and the cublasComputeType_t."""
    match precision:
        case Precision.FP64:
            return "d", binding.CUBLAS_COMPUTE_64F
        case Precision.TF32:
            # For each call by its own: the switch for a whole handle or process would also reach products of others.
            return "f", binding.CUBLAS_COMPUTE_32F_FAST_TF32
        case Precision.FP32 | Precision.FP16 | Precision.BF16:
            return "f", binding.CUBLAS_COMPUTE_32F


def _operation(binding: Any, lies: Matrices) -> int:
    return int(binding.CUBLAS_OP_T if lies.transposed else binding.CUBLAS_OP_N)


def _dtype_of(a: Array, b: Array) -> str:
    if a.dtype != b.dtype:
        raise TypeError(f"no product of {a.dtype.name} and {b.dtype.name}: both factors must be of one dtype")
    return str(a.dtype.char)


def _laid_out(xp: ArrayModule, matrix: Array) -> tuple[Array, Matrices]:
    """The matrix, and how it lies from its first element on; a copy of it where cuBLAS cannot read it as it lies."""
    rows, columns = matrix.shape
    if matrix.flags.c_contiguous:
        return matrix, Matrices(0, columns)
    if matrix.flags.f_contiguous:
        return matrix, Matrices(0, rows, transposed=True)
    by_row, by_column = (stride // matrix.itemsize for stride in matrix.strides)
    if by_column == 1 and by_row >= columns:
        return matrix, Matrices(0, by_row)
    if by_row == 1 and by_column >= rows:
        return matrix, Matrices(0, by_column, transposed=True)
    return xp.ascontiguousarray(matrix), Matrices(0, columns)
