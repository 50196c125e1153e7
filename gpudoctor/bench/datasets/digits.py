"""The handwritten digits that come with gpudoctor: nothing is downloaded, and every machine learns from the same ones.

They are the test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49, licensed under CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). data/README.md says what was changed: only how they are packed.
"""

from __future__ import annotations

from pathlib import Path

import numpy

from gpudoctor.bench.datasets.images import Images, Split, chosen

SIZE = 8
CLASSES = 10
TEST_IMAGES = 360  # a fifth

_FILE = Path(__file__).with_name("data") / "digits.npz"
_BRIGHTEST = 16  # a pixel counts the dark ones of 4 x 4 in the scan


def load_digits() -> Images:
    """All 1797 digits, (1797, 8, 8, 1), brightness 0 to 1 in steps of 1/16, in the order of the original file."""
    with numpy.load(_FILE, allow_pickle=False) as packed:
        pixels, labels = packed["images"], packed["labels"]
    return Images((pixels / _BRIGHTEST).astype(numpy.float32)[..., None], labels.astype(numpy.int64))


def digits_split(seed: int) -> tuple[Images, Images]:
    """1437 digits to learn from and 360 others to be tested on, parted and shuffled by the seed (0 or more)."""
    digits = load_digits()
    order = numpy.random.default_rng([seed, 4]).permutation(len(digits.labels))
    return chosen(digits, order[TEST_IMAGES:]), chosen(digits, order[:TEST_IMAGES])


def digits_data(seed: int) -> Split:
    """The same split with its names."""
    return Split("UCI handwritten digits", *digits_split(seed), tuple(str(digit) for digit in range(CLASSES)))
