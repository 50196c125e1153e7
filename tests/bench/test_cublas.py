"""What goes to cuBLAS: the numbers must come out as NumPy multiplies them, in every precision and however they lie."""

import numpy
import pytest

from gpudoctor.bench.devices.bfloat16 import from_bfloat16, to_bfloat16
from gpudoctor.bench.devices.cupy_device import import_cupy, open_cupy
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.devices.strided_products import Matrices, Products, products_by_numpy

# Relative errors (L2) of a product, from rounding the factors; float16 results are rounded once more.
ERRORS = {
    Precision.FP64: (0, 1e-15),
    Precision.FP32: (1e-9, 1e-6),
    Precision.TF32: (1e-5, 1e-3),
    Precision.FP16: (1e-5, 1e-3),
    Precision.BF16: (1e-4, 5e-3),
}


def matrices(*shape, seed=3):
    rows, inner, columns = shape
    rng = numpy.random.default_rng(seed)
    return rng.standard_normal((rows, inner)), rng.standard_normal((inner, columns))


def relative_error(found, wanted):
    return numpy.linalg.norm(found - wanted) / numpy.linalg.norm(wanted)


@pytest.mark.parametrize("precision", Precision)
def test_each_precision_rounds_as_it_says_and_gives_float32(precision, gpu):
    if precision not in (*gpu.precisions, Precision.FP64):
        pytest.skip(f"not on {gpu.text}")
    kind = "float64" if precision is Precision.FP64 else "float32"
    a, b = (one.astype(kind) for one in matrices(37, 64, 21))
    c = gpu.computing_in(precision).matmul(gpu.xp.asarray(a), gpu.xp.asarray(b))
    assert c.dtype == kind
    least, most = ERRORS[precision]
    assert least <= relative_error(gpu.to_host(c), a.astype("float64") @ b) <= most


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.BF16])
def test_matrices_are_multiplied_however_they_lie(precision, gpu):
    xp, (a, b) = gpu.computing_in(precision), matrices(6, 10, 4)
    for left in "CF":
        for right in "CF":
            x, y = (gpu.xp.asarray(one.astype("float32", order=order)) for one, order in ((a, left), (b, right)))
            assert (x.flags.c_contiguous, y.flags.c_contiguous) == (left == "C", right == "C")
            assert relative_error(gpu.to_host(xp.matmul(x, y)), a @ b) < 1e-2
    wide = gpu.xp.asarray(numpy.random.default_rng(4).standard_normal((24, 24)).astype("float32"))
    host = gpu.to_host(wide).astype("float64")
    for cut in (
        (slice(0, 6), slice(2, 12)),  # with a leading dimension
        (slice(0, 12, 2), slice(0, 20, 2)),  # with gaps in both directions
        (slice(None, None, -1), slice(None)),  # backwards
    ):
        for of in (lambda x: x, lambda x: x.T):
            left, right = of(wide)[cut], of(wide)[cut].T
            wanted = of(host)[cut] @ of(host)[cut].T
            assert relative_error(gpu.to_host(xp.matmul(left, right)), wanted) < 1e-2


def test_a_view_that_repeats_its_numbers_is_copied_first(gpu):
    numbers = gpu.xp.arange(12, dtype="float32")
    windows = gpu.xp.lib.stride_tricks.as_strided(numbers, (5, 4), (4, 4))
    repeated = gpu.xp.lib.stride_tricks.as_strided(numbers, (5, 4), (0, 4))
    for matrix in (windows, repeated):
        host = gpu.to_host(matrix)
        found = gpu.computing_in(Precision.FP32).matmul(matrix, matrix.T)
        numpy.testing.assert_array_equal(gpu.to_host(found), host @ host.T)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 1), (5, 1, 3), (1, 1, 4), (4, 6, 1)])
def test_single_rows_and_columns_are_matrices_too(shape, gpu):
    a, b = (one.astype("float32") for one in matrices(*shape))
    xp = gpu.computing_in(Precision.FP32)
    x, y = gpu.xp.asarray(a), gpu.xp.asarray(b)
    assert relative_error(gpu.to_host(xp.matmul(x, y)), a @ b) < 1e-6
    assert relative_error(gpu.to_host(xp.matmul(y.T, x.T)), (a @ b).T) < 1e-6


def test_a_sum_of_nothing_is_zero(gpu):
    xp = gpu.computing_in(Precision.FP32)
    empty = gpu.xp.zeros((3, 0), dtype="float32")
    numpy.testing.assert_array_equal(gpu.to_host(xp.matmul(empty, empty.T)), numpy.zeros((3, 3), "float32"))


def test_float16_is_multiplied_as_it_is_with_sums_in_float32(gpu):
    a = numpy.full((2, 4096), 1.0, "float16")
    xp = gpu.computing_in(Precision.FP16)
    c = xp.matmul(gpu.xp.asarray(a), gpu.xp.asarray(a).T)
    assert c.dtype == "float16"
    # Sums in float16 would stand still at 2048.
    numpy.testing.assert_array_equal(gpu.to_host(c), numpy.full((2, 2), 4096, "float16"))


def test_nan_and_infinity_come_through(gpu):
    a = gpu.xp.asarray(numpy.array([[numpy.nan, 1], [numpy.inf, 1]], "float32"))
    one = gpu.xp.asarray(numpy.eye(2, dtype="float32") + 1)
    for precision in gpu.precisions:
        c = gpu.to_host(gpu.computing_in(precision).matmul(a, one))
        assert numpy.isnan(c[0]).all()
        assert numpy.isinf(c[1]).all()


@pytest.mark.parametrize(
    ("precision", "kind"),
    [
        (Precision.FP32, "float64"),
        (Precision.FP64, "float32"),
        (Precision.BF16, "float16"),
        (Precision.FP32, "int32"),
        (Precision.FP16, "uint16"),
    ],
)
def test_a_dtype_that_the_precision_would_change_is_refused(precision, kind, gpu):
    one = gpu.xp.ones((2, 2), dtype=kind)
    with pytest.raises(TypeError, match=f"{kind} is not multiplied in {precision.value}"):
        gpu.computing_in(precision).matmul(one, one)


def test_factors_of_two_dtypes_and_shapes_that_do_not_fit_are_refused(gpu):
    xp = gpu.computing_in(Precision.FP16)
    with pytest.raises(TypeError, match="float32 and float16"):
        xp.matmul(gpu.xp.ones((2, 2), dtype="float32"), gpu.xp.ones((2, 2), dtype="float16"))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 3\)"):
        xp.matmul(gpu.xp.ones((2, 3), dtype="float32"), gpu.xp.ones((2, 3), dtype="float32"))
    with pytest.raises(ValueError, match="two matrices"):
        xp.matmul(gpu.xp.ones((2, 2, 2), dtype="float32"), gpu.xp.ones((2, 2), dtype="float32"))


@pytest.mark.parametrize("precision", Precision)
def test_multiplying_into_a_matrix_overwrites_what_was_there(precision, gpu):
    if precision not in (*gpu.precisions, Precision.FP64):
        pytest.skip(f"not on {gpu.text}")
    a, b = matrices(12, 40, 9)
    kind = {Precision.FP64: "float64", Precision.FP16: "float16"}.get(precision, "float32")
    if precision is Precision.BF16:
        x, y = (gpu.xp.asarray(to_bfloat16(numpy, one.astype("float32"))) for one in (a, b))
        c = gpu.xp.full((12, 9), 0x7FC0, dtype="uint16")
    else:
        x, y = (gpu.xp.asarray(one.astype(kind)) for one in (a, b))
        c = gpu.xp.full((12, 9), numpy.nan, dtype=kind)
    gpu.multiply_into(c, x, y, precision)
    found = gpu.to_host(from_bfloat16(c) if precision is Precision.BF16 else c).astype("float64")
    assert relative_error(found, a @ b) <= ERRORS[precision][1]


def test_multiplying_into_a_matrix_that_does_not_fit_is_refused(gpu):
    one = gpu.xp.ones((4, 4), dtype="float32")
    with pytest.raises(TypeError, match="takes float16, not float32"):
        gpu.multiply_into(one, one, one, Precision.FP16)
    with pytest.raises(ValueError, match="row after row"):
        gpu.multiply_into(
            gpu.xp.ones((4, 2), dtype="float32"), one, gpu.xp.ones((2, 4), dtype="float32").T, Precision.FP32
        )
    with pytest.raises(ValueError, match="do not fit"):
        gpu.multiply_into(gpu.xp.ones((4, 3), dtype="float32"), one, one, Precision.FP32)


STEPS = (
    Products(2, 3, 4, 2, Matrices(5, 9, apart=30), Matrices(1, 6, apart=2, transposed=True), Matrices(2, 10, apart=5)),
    Products(2, 3, 4, 2, Matrices(0, 2, apart=3, transposed=True), Matrices(7, 3), Matrices(2, 10, apart=5), add=True),
)


@pytest.mark.parametrize("precision", [Precision.FP64, Precision.FP32, Precision.FP16])
def test_interleaved_products_are_those_of_numpy(precision, gpu):
    kind = {Precision.FP64: "float64", Precision.FP32: "float32", Precision.FP16: "float16"}[precision]
    rng = numpy.random.default_rng(5)
    a, b = (rng.integers(-4, 5, 60).astype(kind) for _ in range(2))
    c = rng.integers(-4, 5, 40).astype(kind)
    on_device = [gpu.xp.asarray(one) for one in (c, a, b)]
    gpu.computing_in(precision).strided_products(*on_device, STEPS)
    products_by_numpy(c, a, b, STEPS)
    numpy.testing.assert_array_equal(gpu.to_host(on_device[0]), c)


def test_interleaved_products_are_what_the_layout_says():
    # Entry by entry, by the definition: what the test above compares with must be right itself.
    rng = numpy.random.default_rng(6)
    a, b, c = (rng.standard_normal(60) for _ in range(3))
    wanted = c.copy()
    for step in STEPS:
        for n in range(step.batch):
            for i in range(step.rows):
                for j in range(step.columns):
                    at = step.c.start + n * step.c.apart + i * step.c.leading + j
                    terms = [entry(a, step.a, n, i, k) * entry(b, step.b, n, k, j) for k in range(step.inner)]
                    wanted[at] = sum(terms) + (wanted[at] if step.add else 0)
    products_by_numpy(c, a, b, STEPS)
    numpy.testing.assert_allclose(c, wanted, rtol=1e-12)


def entry(flat, lie, n, i, j):
    return flat[lie.start + n * lie.apart + (i + j * lie.leading if lie.transposed else i * lie.leading + j)]


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 0},
        {"a": Matrices(40, 9, apart=30)},
        {"a": Matrices(-1, 9)},
        {"b": Matrices(0, 2)},
        {"c": Matrices(25, 10, apart=5)},
        {"c": Matrices(0, 3, transposed=True)},
    ],
)
def test_matrices_that_reach_out_of_their_array_never_come_to_the_gpu(change, install_cupy, gpu):
    a, b, c = (gpu.xp.zeros(size, dtype="float32") for size in (60, 60, 40))
    with pytest.raises(ValueError, match=r"reaches out|overlap|nothing may be empty|not written transposed"):
        gpu.computing_in(Precision.FP32).strided_products(c, a, b, [STEPS[0]._replace(**change)])


def test_a_full_memory_is_a_memory_error_and_other_errors_pass(install_cupy, errors_like_cupy):
    for status, wanted in ((3, MemoryError), (7, errors_like_cupy.CUBLASError)):
        install_cupy(dies_at=2, dies_with=errors_like_cupy.CUBLASError(status))
        device = open_cupy(import_cupy())
        one = device.xp.ones((2, 2), dtype="float32")
        with pytest.raises(wanted, match=errors_like_cupy.CUBLASError.NAMES[status]):
            device.computing_in(Precision.FP32).matmul(one, one)
