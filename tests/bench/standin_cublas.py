"""A stand-in for CuPy's binding of cuBLAS: the same functions with the same arguments in the same order, computed by
NumPy on the raw memory that the pointers name, with cuBLAS's own conventions: columns first, leading dimensions,
distances between matrices, scalars read through pointers to the host. A wrong argument gives wrong numbers here too.
"""

import ctypes
from types import ModuleType

import numpy

# cudaDataType_t: how numbers lie in memory.
R_32F, R_64F, R_16F, R_16BF = 0, 1, 2, 14
STORED = {R_32F: "float32", R_64F: "float64", R_16F: "float16", R_16BF: "uint16"}

CONSTANTS = {
    "CUBLAS_OP_N": 0,
    "CUBLAS_OP_T": 1,
    "CUBLAS_COMPUTE_32F": 68,
    "CUBLAS_COMPUTE_64F": 70,
    "CUBLAS_COMPUTE_32F_FAST_TF32": 77,
    "CUBLAS_GEMM_DEFAULT": -1,
}

# The types of A (and B) and of C that cublasGemmEx multiplies, by the type in which it sums.
SUPPORTED = {
    CONSTANTS["CUBLAS_COMPUTE_64F"]: {(R_64F, R_64F)},
    CONSTANTS["CUBLAS_COMPUTE_32F_FAST_TF32"]: {(R_32F, R_32F)},
    CONSTANTS["CUBLAS_COMPUTE_32F"]: {
        (R_32F, R_32F),
        (R_16F, R_16F),
        (R_16F, R_32F),
        (R_16BF, R_16BF),
        (R_16BF, R_32F),
    },
}

HANDLE = 4711


class CUBLASError(RuntimeError):
    """CuPy's own is a RuntimeError with the status, too."""

    NAMES = {1: "NOT_INITIALIZED", 3: "ALLOC_FAILED", 7: "INVALID_VALUE", 15: "NOT_SUPPORTED"}  # noqa: RUF012

    def __init__(self, status):
        self.status = status
        super().__init__(f"CUBLAS_STATUS_{self.NAMES[status]}")


def make_cublas(gpu):
    """The module cupy_backends.cuda.libs.cublas, for the memory of that GPU."""

    # fmt: off
    def gemmEx(
        handle, transa, transb, m, n, k, alpha, A, Atype, lda, B, Btype, ldb, beta, C, Ctype, ldc, computeType, algo
    ):
        gemmStridedBatchedEx(
            handle, transa, transb, m, n, k, alpha, A, Atype, lda, 0, B, Btype, ldb, 0, beta, C, Ctype, ldc, 0, 1,
            computeType, algo,
        )

    def gemmStridedBatchedEx(
        handle, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb, strideB, beta,
        C, Ctype, ldc, strideC, batchCount, computeType, algo,
    ):
        # fmt: on
        if handle != HANDLE:
            raise CUBLASError(1)
        if Atype != Btype or (Atype, Ctype) not in SUPPORTED[computeType] or algo != -1:
            raise CUBLASError(15)
        a = _matrices(gpu, A, Atype, *((k, m) if transa else (m, k)), lda, strideA, batchCount)
        b = _matrices(gpu, B, Btype, *((n, k) if transb else (k, n)), ldb, strideB, batchCount)
        c = _matrices(gpu, C, Ctype, m, n, ldc, strideC, batchCount)
        scalar = ctypes.c_double if computeType == CONSTANTS["CUBLAS_COMPUTE_64F"] else ctypes.c_float
        scale, kept = scalar.from_address(alpha).value, scalar.from_address(beta).value
        tf32 = computeType == CONSTANTS["CUBLAS_COMPUTE_32F_FAST_TF32"]
        left, right = (_numbers(matrices, Atype, tf32) for matrices in (a, b))
        with numpy.errstate(over="ignore", invalid="ignore"):
            for i in range(batchCount):
                sums = scale * gpu.product(left[i].T if transa else left[i], right[i].T if transb else right[i])
                # What beta = 0 would multiply is not read: it may be NaN.
                c[i] = _stored(sums + kept * _numbers(c[i], Ctype) if kept else sums, Ctype)

    def getVersion(handle):
        return 130200

    cublas = ModuleType("cupy_backends.cuda.libs.cublas")
    cublas.__dict__.update(
        CONSTANTS,
        CUBLASError=CUBLASError,
        gemmEx=gemmEx,
        gemmStridedBatchedEx=gemmStridedBatchedEx,
        getVersion=getVersion,
    )
    return cublas


def _matrices(gpu, pointer, kind, rows, columns, leading, stride, count):
    """(count, rows, columns), a view of the memory there, columns first."""
    dtype = numpy.dtype(STORED[kind])
    if leading < max(1, rows) or min(rows, columns, count) < 1:
        raise CUBLASError(7)
    size = dtype.itemsize
    reach = ((count - 1) * stride + (columns - 1) * leading + rows) * size
    memory = gpu.memory_at(pointer, reach).view(dtype)
    return numpy.lib.stride_tricks.as_strided(memory, (count, rows, columns), (stride * size, size, leading * size))


def _numbers(stored, kind, tf32=False):
    if kind == R_16BF:
        return (stored.astype("uint32") << 16).view("float32")
    if kind == R_16F:
        return stored.astype("float32")
    if tf32:
        # 10 of the 23 bits of the mantissa, rounded to the nearest.
        return ((stored.view("uint32") + 0x1000) & 0xFFFFE000).view("float32")
    return stored


def _stored(numbers, kind):
    if kind != R_16BF:
        return numbers.astype(STORED[kind])
    # Half to even, worked out in another way than the code under test does it.
    bits = numbers.astype("float32").view("uint32").astype("uint64")
    low, high = bits & 0xFFFF, bits >> 16
    return (high + ((low > 0x8000) | ((low == 0x8000) & (high & 1 == 1)))).astype("uint16")
