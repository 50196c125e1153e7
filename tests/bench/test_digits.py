"""The handwritten digits that come with gpudoctor."""

import numpy

from gpudoctor.bench.datasets.digits import digits_data, digits_split, load_digits

# The first line of optdigits.tes, a zero.
FIRST = """
0 0 5 13 9 1 0 0   0 0 13 15 10 15 5 0   0 3 15 2 0 11 8 0   0 4 12 0 0 8 8 0
0 5 8 0 0 9 8 0    0 4 11 0 1 12 7 0     0 2 14 5 10 12 0 0  0 0 6 13 10 0 0 0
"""


def test_the_digits_are_those_of_the_original_file():
    digits = load_digits()
    assert (digits.images.shape, digits.images.dtype) == ((1797, 8, 8, 1), numpy.float32)
    assert (digits.labels.shape, digits.labels.dtype) == ((1797,), numpy.int64)
    assert (digits.images[0].ravel() * 16).tolist() == [int(pixel) for pixel in FIRST.split()]
    assert digits.labels[:10].tolist() == list(range(10))
    assert (digits.images.min(), digits.images.max()) == (0.0, 1.0)
    # The class distribution that the data set's own description gives for its test set.
    assert numpy.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digits.images.sum() * 16 == 561718


def test_the_split_parts_all_digits_and_repeats_with_its_seed():
    training, test = digits_split(3)
    assert (len(training.labels), len(test.labels)) == (1437, 360)
    both = numpy.concatenate([training.images, test.images]).reshape(1797, 64)
    everything = load_digits().images.reshape(1797, 64)
    assert (numpy.sort(both.view("V256").ravel()) == numpy.sort(everything.view("V256").ravel())).all()
    assert (digits_split(3)[0].images == training.images).all()
    assert (digits_split(3)[1].labels == test.labels).all()
    assert (digits_split(4)[1].labels != test.labels).any()
    assert digits_data(3).classes == tuple("0123456789")
