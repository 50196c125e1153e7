"""bfloat16, which neither NumPy nor CuPy has."""

import numpy

from gpudoctor.bench.devices.bfloat16 import from_bfloat16, to_bfloat16


def rounded(*numbers):
    return from_bfloat16(to_bfloat16(numpy, numpy.array(numbers, "float32"))).tolist()


def test_the_nearest_of_two_neighbours_is_taken_and_the_even_one_of_two_equally_near():
    step = 2.0**-7  # between neighbours at 1
    assert rounded(1 + 0.49 * step, 1 + 0.51 * step) == [1, 1 + step]
    assert rounded(1 + 0.5 * step, 1 + 1.5 * step) == [1, 1 + 2 * step]
    assert rounded(-1 - 0.5 * step, -1 - 1.5 * step) == [-1, -1 - 2 * step]


def test_what_bfloat16_holds_comes_back_bit_for_bit():
    every = numpy.arange(1 << 16, dtype="uint16")
    numbers = every[~numpy.isnan(from_bfloat16(every))]
    assert len(numbers) == (1 << 16) - 2 * 127
    numpy.testing.assert_array_equal(to_bfloat16(numpy, from_bfloat16(numbers)), numbers)


def test_every_nan_stays_one_and_infinity_and_too_large_numbers_become_infinity():
    nans = numpy.array([0x7FC00000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF80FFFF], "uint32").view("float32")
    assert numpy.isnan(from_bfloat16(to_bfloat16(numpy, nans))).all()
    largest = float(numpy.finfo("float32").max)
    assert rounded(numpy.inf, -numpy.inf, largest, -largest) == [numpy.inf, -numpy.inf, numpy.inf, -numpy.inf]


def test_errors_are_never_larger_than_half_of_the_last_bit():
    numbers = numpy.random.default_rng(1).standard_normal(10000, dtype="float32")
    back = from_bfloat16(to_bfloat16(numpy, numbers))
    assert 2.0**-10 < (abs(back - numbers) / abs(numbers)).max() <= 2.0**-8


def test_the_shape_and_the_order_of_a_transposed_matrix_stay():
    numbers = numpy.random.default_rng(2).standard_normal((5, 3), dtype="float32")
    numpy.testing.assert_array_equal(to_bfloat16(numpy, numbers.T), to_bfloat16(numpy, numbers).T)
