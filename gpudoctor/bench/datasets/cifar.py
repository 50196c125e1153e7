"""Reads CIFAR-10 as its authors publish it: a folder of Python pickles (https://www.cs.toronto.edu/~kriz/cifar.html).

A pickle is a program. Here it can build text, bytes, numbers, lists, dictionaries and tables of bytes; for the names of
NumPy it gets functions of this file, and any other name is refused. So nothing runs that a file brings along.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from gpudoctor.bench.datasets.images import Images, Split

SIZE = 32
CHANNELS = 3
CLASSES = 10

_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = "test_batch"
_META = "batches.meta"
_ROW = CHANNELS * SIZE * SIZE

# A batch of 10,000 pictures is 30.7 MB of pixels, and some names. A file far larger is something else.
_MOST_BYTES = 200 * 2**20


class DamagedData(Exception):
    """The folder is not CIFAR-10 as published; the text says what is wrong with which file, in a sentence."""


class _Batch(NamedTuple):
    pixels: NDArray[numpy.uint8]  # (N, 3072)
    labels: list[int]


class _Table:
    """What a pickled array of bytes becomes here."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.content = b""

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, shape, _, column_major, content = state
        if column_major or not isinstance(shape, tuple) or not isinstance(content, bytes):
            raise ValueError("it has an array that is not a plain table of bytes")
        if not all(type(side) is int and 0 <= side <= _MOST_BYTES for side in shape):
            raise ValueError("it has an array of an impossible size")
        self.shape, self.content = shape, content


class _Unsigned8:
    """What the pickled dtype uint8 becomes here. Any other is refused."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in ("u1", b"u1"):
            raise ValueError(f"it has an array of {code!r}, and CIFAR's are of bytes")

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which a byte does not have."""


def _begun_table(*_: object) -> _Table:
    return _Table()


def _whole_table(content: object, _: object, shape: object, order: object) -> _Table:
    table = _Table()
    table.__setstate__((1, shape, None, order != "C", bytes(content) if isinstance(content, bytearray) else content))
    return table


def _encoded(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("it has bytes in an unknown spelling")
    return text.encode("latin1")


# The names in the pickle of an array, as NumPy 1 and 2 and the protocols write it, and what stands for each.
_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _begun_table,
    ("numpy._core.multiarray", "_reconstruct"): _begun_table,
    ("numpy.core.numeric", "_frombuffer"): _whole_table,
    ("numpy._core.numeric", "_frombuffer"): _whole_table,
    ("numpy", "ndarray"): _Table,
    ("numpy", "dtype"): _Unsigned8,
    ("_codecs", "encode"): _encoded,
}


# The one written in C sets aside whatever memory a damaged file asks for; the one in Python only what it needs.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no file of CIFAR-10 does") from None


def cifar_data(folder: Path, seed: int) -> Split:
    """CIFAR-10 from that folder, its training pictures shuffled by the seed (0 or more); the test set is its own.

    The folder is the unpacked cifar-10-batches-py: data_batch_1 to 5, test_batch, batches.meta. Pictures are
    (N, 32, 32, 3), brightness 0 to 1. Raises DamagedData for anything else.
    """
    classes = _class_names(folder / _META)
    training = [_read_batch(folder / name, len(classes)) for name in _BATCHES]
    order = numpy.random.default_rng([seed, 4]).permutation(sum(len(batch.labels) for batch in training))
    test = _as_images([_read_batch(folder / _TEST, len(classes))], slice(None))
    return Split(f"CIFAR-10 in {folder}", _as_images(training, order), test, classes)


def _as_images(batches: list[_Batch], order: NDArray[numpy.int64] | slice) -> Images:
    # Put in order while they are bytes: as numbers they are four times as large.
    pixels = numpy.concatenate([batch.pixels for batch in batches])[order]
    labels = numpy.array([label for batch in batches for label in batch.labels], dtype=numpy.int64)[order]
    # A row is the red plane, then the green, then the blue; the nets want the three values of a pixel together.
    planes = pixels.reshape(-1, CHANNELS, SIZE, SIZE).transpose(0, 2, 3, 1)
    return Images(numpy.divide(planes, 255, order="C", dtype=numpy.float32), labels)


def _read_batch(file: Path, classes: int) -> _Batch:
    told = _unpickled(file)
    table, labels = told.get(b"data"), told.get(b"labels")
    if not isinstance(table, _Table):
        raise DamagedData(f"{file}: its entry `data` is not a table of bytes.")
    count = len(table.content) // _ROW
    if count == 0 or table.shape != (count, _ROW) or len(table.content) != count * _ROW:
        shape = " x ".join(map(str, table.shape))
        raise DamagedData(
            f"{file}: its pictures are {shape} bytes, of which {len(table.content)} are there; a picture has {_ROW}."
        )
    if not isinstance(labels, list) or len(labels) != count:
        given = len(labels) if isinstance(labels, list) else "no"
        raise DamagedData(f"{file}: it has {count} pictures and {given} labels.")
    # What is in the list is not printed: it may be of any type and size.
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise DamagedData(f"{file}: not all of its labels are whole numbers from 0 to {classes - 1}.")
    return _Batch(numpy.frombuffer(table.content, numpy.uint8).reshape(count, _ROW), labels)


def _class_names(file: Path) -> tuple[str, ...]:
    names = _unpickled(file).get(b"label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise DamagedData(f"{file}: its entry `label_names` is not a list of names.")
    if len(names) != CLASSES:
        raise DamagedData(f"{file}: it names {len(names)} classes, and CIFAR-10 has {CLASSES}.")
    return tuple(name.decode("utf-8", "replace") for name in names)


def _unpickled(file: Path) -> dict[Any, Any]:
    try:
        if not file.is_file():
            raise DamagedData(
                f"{file} is missing: the folder must be the unpacked cifar-10-batches-py, "
                f"with {_BATCHES[0]} to {_BATCHES[-1]}, {_TEST} and {_META}."
            )
        if file.stat().st_size > _MOST_BYTES:
            raise DamagedData(f"{file} is {file.stat().st_size / 1e6:.0f} MB large, which no file of CIFAR-10 is.")
        content = file.read_bytes()
    except OSError as error:
        raise DamagedData(f"{file} cannot be read: {error.strerror or error}.") from error
    try:
        told = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except MemoryError as error:
        raise DamagedData(f"{file} is no CIFAR batch: it asks for more memory than there is.") from error
    except Exception as error:  # a damaged pickle raises whatever its damaged step does
        raise DamagedData(f"{file} is no CIFAR batch, or is damaged: {_in_words(error)}.") from error
    if not isinstance(told, dict):
        raise DamagedData(f"{file} is no CIFAR batch: it holds a {type(told).__name__}, not a dictionary.")
    return told


def _in_words(error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return first.rstrip(".")[:200]
