"""The reader of CIFAR-10's Python batches: on files as they are published, on damaged ones, and on hostile ones."""

import os
import pickle
import struct

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpudoctor.bench.datasets.cifar import DamagedData, cifar_data

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def short(text):
    return b"U" + bytes([len(text)]) + text.encode()


def number(value):
    return b"K" + bytes([value])


def as_published(pixels, labels, about):
    """A batch byte for byte as cPickle of Python 2 wrote it: protocol 2, its text as plain bytes."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + short("b") + b"\x87R"
    shape = b"".join(b"M" + struct.pack("<H", size) for size in pixels.shape)
    dtype = b"cnumpy\ndtype\n" + short("u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + short("|") + b"NNN" + 2 * (b"J" + struct.pack("<i", -1)) + number(0) + b"tb"
    raw = b"T" + struct.pack("<I", pixels.nbytes) + pixels.tobytes()
    array += b"(" + number(1) + shape + b"\x86" + dtype + b"\x89" + raw + b"tb"
    listed = b"](" + b"".join(number(label) for label in labels) + b"e"
    names = b"](" + b"".join(short(f"picture_{label}.png") for label in labels) + b"e"
    return (
        b"\x80\x02}q\x01("
        + short("batch_label")
        + short(about)
        + short("labels")
        + listed
        + short("data")
        + array
        + short("filenames")
        + names
        + b"u."
    )


def pictures(name, count=4):
    """Planes that tell them apart: red counts through, green is the number of the file, blue goes down the rows."""
    planes = numpy.zeros((count, 3, 32, 32), dtype=numpy.uint8)
    planes[:, 0] = numpy.arange(count)[:, None, None]
    planes[:, 1] = sum(map(ord, name)) % 256
    planes[:, 2] = numpy.arange(32)[:, None]
    return planes.reshape(count, 3072)


BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


@pytest.fixture
def folder(tmp_path):
    for name in BATCHES:
        (tmp_path / name).write_bytes(as_published(pictures(name), [0, 3, 6, 9], f"about {name}"))
    meta = {b"num_cases_per_batch": 10000, b"label_names": [name.encode() for name in NAMES], b"num_vis": 3072}
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return tmp_path


def rewrite(folder, name, value, protocol=2):
    (folder / name).write_bytes(pickle.dumps(value, protocol=protocol))


def batch(**changes):
    told = {"data": pictures("x"), "labels": [0, 1, 2, 3], "batch_label": b"x", **changes}
    return {key.encode(): value for key, value in told.items() if value is not None}


def test_a_folder_as_published_is_read(folder):
    split = cifar_data(folder, 0)
    assert split.classes == tuple(NAMES)
    assert split.training.images.shape == (20, 32, 32, 3)
    assert (split.training.images.dtype, split.training.labels.dtype) == (numpy.float32, numpy.int64)
    assert split.test.labels.tolist() == [0, 3, 6, 9]
    colours = split.test.images * 255
    assert numpy.allclose(colours[2, :, :, 0], 2)
    assert numpy.allclose(colours[:, :, :, 1], sum(map(ord, "test_batch")) % 256)
    assert numpy.allclose(colours[1, :, 5, 2], numpy.arange(32))


def test_the_seed_decides_the_order_and_pictures_keep_their_labels(folder):
    first, again, other = cifar_data(folder, 1), cifar_data(folder, 1), cifar_data(folder, 2)
    assert (first.training.images == again.training.images).all()
    assert (first.training.labels != other.training.labels).any()
    reds = numpy.rint(first.training.images[:, 0, 0, 0] * 255).astype(int)
    assert (first.training.labels == 3 * reds).all()


@pytest.mark.parametrize("protocol", range(6))
def test_batches_written_again_by_a_newer_python_and_numpy_are_read(folder, protocol):
    rewrite(folder, "data_batch_3", batch(), protocol)
    assert cifar_data(folder, 0).training.images.shape == (20, 32, 32, 3)


class Hostile:
    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize("where", ["batches.meta", "data_batch_1", "test_batch"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_file_runs_nothing(folder, where, protocol):
    mark = folder / "it ran"
    for attack in (
        Hostile(os.system, f"touch '{mark}'"),
        Hostile(eval, f"open({str(mark)!r}, 'w').close()"),
        Hostile(getattr, "text", "upper"),
        batch(labels=[0, 1, 2, Hostile(os.mkdir, str(mark))]),
    ):
        rewrite(folder, where, attack, protocol)
        with pytest.raises(DamagedData, match=rf"{where} is no CIFAR batch, or is damaged: it names \w+\.\w+, which"):
            cifar_data(folder, 0)
        assert not mark.exists()


WRONG = (10, -1, "3", None, True, 10**5000, 1.0, [])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (batch(data=None), "its entry `data` is not a table of bytes"),
        (batch(data=b"x" * 3072), "its entry `data` is not a table of bytes"),
        (batch(data=pictures("x").astype("float32")), "has an array of 'f4', and CIFAR's are of bytes"),
        (batch(data=pictures("x")[:, :100].copy()), "its pictures are 4 x 100 bytes"),
        (batch(data=pictures("x")[:0]), "its pictures are 0 x 3072 bytes"),
        (batch(data=pictures("x").T), "not a plain table"),
        (batch(labels=[0, 1, 2]), "it has 4 pictures and 3 labels"),
        (batch(labels=None), "it has 4 pictures and no labels"),
        *((batch(labels=[0, 1, 2, wrong]), "not all of its labels are whole numbers from 0 to 9") for wrong in WRONG),
        ([1, 2], "it holds a list, not a dictionary"),
    ],
)
def test_a_batch_that_is_not_cifar_10_is_named(folder, value, words):
    rewrite(folder, "data_batch_2", value, 3)
    with pytest.raises(DamagedData, match=rf"data_batch_2.*{words}"):
        cifar_data(folder, 0)


def test_files_that_are_cut_or_missing_or_rubbish_are_named(folder):
    whole = (folder / "data_batch_4").read_bytes()
    for content in (whole[: len(whole) // 2], whole[:1], b"", b"\x1f\x8b rubbish", whole[:40] + whole[60:]):
        (folder / "data_batch_4").write_bytes(content)
        with pytest.raises(DamagedData, match=r"data_batch_4 is no CIFAR batch"):
            cifar_data(folder, 0)
    (folder / "data_batch_4").unlink()
    with pytest.raises(DamagedData, match=r"data_batch_4 is missing: the folder must be the unpacked"):
        cifar_data(folder, 0)
    rewrite(folder, "batches.meta", {b"label_names": [b"cat", b"dog"]})
    with pytest.raises(DamagedData, match=r"batches.meta: it names 2 classes, and CIFAR-10 has 10"):
        cifar_data(folder, 0)
    rewrite(folder, "batches.meta", {b"label_names": "none"})
    with pytest.raises(DamagedData, match=r"batches.meta: its entry `label_names` is not a list of names"):
        cifar_data(folder, 0)


def test_an_array_of_impossible_size_is_refused(folder):
    whole = as_published(pictures("x"), [0, 1, 2, 3], "x")
    digits = (10**5000).to_bytes(2077, "little")
    for size in (b"\x8b" + struct.pack("<I", len(digits)) + digits, b"J\xff\xff\xff\xff", b"N"):
        (folder / "data_batch_1").write_bytes(whole.replace(b"M\x00\x0c", size))
        with pytest.raises(DamagedData, match="an array of an impossible size"):
            cifar_data(folder, 0)


def test_a_memo_of_many_gigabytes_costs_no_memory(folder):
    # In CPython's own reader a single damaged index sets aside eight bytes for every number below it.
    (folder / "data_batch_1").write_bytes(b"\x80\x02}r\xff\xff\xff\xff.")
    with pytest.raises(DamagedData, match="its entry `data` is not a table"):
        cifar_data(folder, 0)


def test_a_file_that_is_far_too_large_is_not_read(folder):
    with open(folder / "test_batch", "r+b") as file:
        file.truncate(300 * 2**20)  # of nothing
    with pytest.raises(DamagedData, match=r"test_batch is 315 MB large, which no file of CIFAR-10 is"):
        cifar_data(folder, 0)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_damaged_ends_in_pictures_or_in_a_sentence(folder, data):
    head = as_published(pictures("x", 1), [5], "x")
    small = data.draw(st.sampled_from([head, pickle.dumps(batch(data=pictures("x", 1), labels=[5]), protocol=4)]))
    # Not among the pixels: there every value is right.
    places = [place for place in range(len(small)) if place < 330 or place > len(small) - 60]
    damaged = bytearray(small)
    for place in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    (folder / "data_batch_5").write_bytes(damaged)
    try:
        split, said = cifar_data(folder, 0), ""
    except DamagedData as error:
        split, said = None, str(error)
    assert "\n" not in said
    assert split is None or split.training.images.shape[1:] == (32, 32, 3)
    assert split is None or 0 <= split.training.labels.min() <= split.training.labels.max() <= 9
