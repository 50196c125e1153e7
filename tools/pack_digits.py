"""Packs the handwritten digits that come with gpudoctor, gpudoctor/bench/datasets/data/digits.npz.

    python tools/pack_digits.py FILE

FILE is optdigits.tes of the UCI Machine Learning Repository (https://doi.org/10.24432/C50P49), or the copy that
scikit-learn has of it, sklearn/datasets/data/digits.csv.gz: a line for each digit, 64 brightnesses from 0 to 16 row by
row and then the digit, separated by commas. The same FILE gives the same bytes with the same zlib.
"""

import argparse
import gzip
from pathlib import Path

import numpy

PACKED = Path(__file__).parent.parent / "gpudoctor" / "bench" / "datasets" / "data" / "digits.npz"


def read(file: Path) -> numpy.ndarray:
    """The lines of the file, (digits, 65). Raises ValueError for a file that is something else."""
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    rows = [line.split(",") for line in text.decode("ascii").split()]
    if any(len(row) != 65 for row in rows):
        raise ValueError(f"{file}: not 65 whole numbers in every line")
    table = numpy.array(rows, dtype=float)
    if (table != numpy.rint(table)).any():
        raise ValueError(f"{file}: not 65 whole numbers in every line")
    if table[:, :64].min() < 0 or table[:, :64].max() > 16 or set(table[:, 64]) != set(range(10)):
        raise ValueError(f"{file}: brightnesses not from 0 to 16, or digits not from 0 to 9")
    return table.astype(numpy.uint8)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file", type=Path)
    options.add_argument("--output", type=Path, default=PACKED)
    given = options.parse_args()
    table = read(given.file)
    numpy.savez_compressed(given.output, images=table[:, :64].reshape(-1, 8, 8), labels=table[:, 64])
    print(f"{len(table)} digits, {given.output.stat().st_size} bytes: {given.output}")


if __name__ == "__main__":
    main()
