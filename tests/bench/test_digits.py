"""The handwritten digits that come with gpudoctor."""

import gzip
import runpy
import sys
from pathlib import Path

import numpy
import pytest

from gpudoctor.bench.datasets.digits import digits_data, digits_split, load_digits

PACK = Path(__file__).parents[2] / "tools" / "pack_digits.py"

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


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """Runs tools/pack_digits.py over a file and gives the path of what it wrote."""

    def run(file):
        monkeypatch.setattr(sys, "argv", [str(PACK), str(file), "--output", str(tmp_path / "out.npz")])
        runpy.run_path(str(PACK), run_name="__main__")
        return tmp_path / "out.npz"

    return run


def test_packing_the_text_again_gives_the_same_file(tmp_path, pack):
    digits = load_digits()
    table = numpy.column_stack([(digits.images * 16).reshape(1797, 64), digits.labels]).astype(int)
    text = "\n".join(",".join(map(str, row)) for row in table.tolist()) + "\n\n"
    (tmp_path / "digits.csv.gz").write_bytes(gzip.compress(text.encode()))
    with numpy.load(pack(tmp_path / "digits.csv.gz")) as packed:
        assert (packed["images"] == table[:, :64].reshape(1797, 8, 8)).all()
        assert (packed["labels"] == table[:, 64]).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3\n4,5,6\n", "not 65 whole numbers in every line"),
        ("0.5," * 64 + "1\n", "not 65 whole numbers in every line"),
        ("17," * 64 + "1\n", "brightnesses not from 0 to 16"),
        ("16," * 64 + "1\n", "digits not from 0 to 9"),
    ],
)
def test_what_is_no_file_of_digits_is_not_packed(tmp_path, pack, text, words):
    (tmp_path / "digits.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        pack(tmp_path / "digits.csv")
    assert not (tmp_path / "out.npz").exists()
