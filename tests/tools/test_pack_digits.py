"""tools/pack_digits.py makes the file of digits that comes with gpudoctor, and refuses what are no digits."""

import gzip
import runpy
import sys
from pathlib import Path

import numpy
import pytest

from gpudoctor.bench.datasets.digits import load_digits

PACK = Path(__file__).parents[2] / "tools" / "pack_digits.py"


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
