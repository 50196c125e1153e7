"""RECORD files: what a Python package installed, and what two packages both claim."""

import csv
import hashlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.facts.record import RecordEntry, RecordFile, parse_record, sha256_of, shared_paths

EMPTY = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
RECORD = f"""\
../../../bin/torchrun,sha256=dCJQ5iB6X8Zx5zYdRJ2cRzAgi1n0oZ6vCoAK0D5dQ0Y,220
/etc/OpenCL/vendors/nvidia.icd,,
torch/__init__.py,{EMPTY},0
torch/__pycache__/__init__.cpython-311.pyc,,
"torch/a, b.py",{EMPTY},0
"torch/say ""hello"".py",{EMPTY},0
torch/größe.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,12
torch-2.9.1.dist-info/RECORD,,
"""


def test_every_row() -> None:
    record = parse_record(RECORD)
    assert record.damaged == 0
    assert record.entries == {
        "../../../bin/torchrun": RecordEntry("sha256=dCJQ5iB6X8Zx5zYdRJ2cRzAgi1n0oZ6vCoAK0D5dQ0Y", 220),
        "/etc/OpenCL/vendors/nvidia.icd": RecordEntry("", None),
        "torch/__init__.py": RecordEntry(EMPTY, 0),
        "torch/__pycache__/__init__.cpython-311.pyc": RecordEntry("", None),
        "torch/a, b.py": RecordEntry(EMPTY, 0),
        'torch/say "hello".py': RecordEntry(EMPTY, 0),
        "torch/größe.py": RecordEntry("md5=1B2M2Y8AsgTpgAmY7PhCfg", 12),
        "torch-2.9.1.dist-info/RECORD": RecordEntry("", None),
    }
    assert parse_record(RECORD.replace("\n", "\r\n")) == record
    assert parse_record(RECORD.rstrip("\n")) == record


@pytest.mark.parametrize(
    "row",
    [
        "torch/a.py",
        "torch/a.py,",
        "torch/a, b.py,,12",
        f"torch/a.py,{EMPTY},twelve",
        f"torch/a.py,{EMPTY},-1",
        f"torch/a.py,{EMPTY},{'9' * 5000}",
        "torch/a.py,47DEQpj8,12",
        ",,",
        '"torch/a.py,,',
        '"torch/a".py,,',
        "torch/\0.py,,",
        "\0\0\0\0\0",
    ],
)
def test_damaged_rows_are_counted_and_the_others_kept(row: str) -> None:
    record = parse_record(f"a.py,,\n{row}\n\nb.py,,\n")
    assert record == RecordFile({"a.py": RecordEntry("", None), "b.py": RecordEntry("", None)}, 1)


def test_an_empty_record() -> None:
    assert parse_record("") == RecordFile({}, 0)


_paths = st.text(st.sampled_from("ab/.,\"' é;\x0b\u2028"), min_size=1, max_size=12)


@settings(derandomize=True, deadline=None, database=None, max_examples=150)
@given(st.dictionaries(_paths, st.tuples(st.sampled_from(["", EMPTY]), st.sampled_from(["", "0", "1234"]))))
def test_what_csv_writes_is_read(rows: dict[str, tuple[str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows((path, *rest) for path, rest in rows.items())
    record = parse_record(text.getvalue())
    assert record.damaged == 0
    assert record.entries == {
        path: RecordEntry(hash, int(size) if size else None) for path, (hash, size) in rows.items()
    }


@settings(derandomize=True, deadline=None, database=None, max_examples=150)
@given(st.text(st.sampled_from('a,"=\r\n\0é1 '), max_size=60))
def test_any_text_gives_a_record(text: str) -> None:
    record = parse_record(text)
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    assert len(record.entries) + record.damaged <= len(lines)
    assert bool(record.entries) or record.damaged == len(lines)


def test_what_two_packages_both_brought() -> None:
    cu12 = parse_record(
        f"nvidia/__init__.py,{EMPTY},0\n"
        "nvidia/cudnn/__init__.py,sha256=same,30\n"
        "nvidia/cudnn/lib/libcudnn.so.9,sha256=one,104664\n"
        "nvidia/cudnn/lib/libcudnn_ops.so.9,,\n"
        "nvidia/cudnn/lib/__init__.py,sha256=one,7\n"
        "nvidia/cudnn/only.h,,\n"
        "nvidia/__pycache__/__init__.cpython-311.pyc,,\n"
        "nvidia/old.pyc,,\n"
        "nvidia_cudnn.dist-info/INSTALLER,,\n"
    )
    cu13 = RecordFile(
        {
            **cu12.entries,
            "nvidia/__init__.py": RecordEntry("sha256=comment", 12),
            "nvidia/cudnn/lib/libcudnn.so.9": RecordEntry("sha256=two", 9),
            "nvidia/cudnn/lib/__init__.py": RecordEntry("sha256=two", 8),
            "nvidia/cudnn/other.h": RecordEntry("", None),
        }
    )
    del cu13.entries["nvidia/cudnn/only.h"]  # type: ignore[attr-defined]
    shared = (
        "nvidia/cudnn/lib/__init__.py",
        "nvidia/cudnn/lib/libcudnn.so.9",
        "nvidia/cudnn/lib/libcudnn_ops.so.9",
    )
    assert shared_paths(cu12, cu13) == shared_paths(cu13, cu12) == shared
    assert shared_paths(cu12, parse_record("")) == ()


@pytest.mark.parametrize("content", [b"", b"torch", b"\xff" * 50, b"cuDNN 9"])
def test_hashes_compare_with_those_of_files(content: bytes) -> None:
    import base64

    text = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
    for written in (text.rstrip("="), text):
        assert sha256_of(RecordEntry(f"sha256={written}", None)) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "hash", ["", "sha256", "sha256=", "sha256=abc", "sha256=é", f"sha512={EMPTY[7:]}", EMPTY + "AAAA", EMPTY[:-1] + "*"]
)
def test_no_hash_to_compare(hash: str) -> None:
    assert sha256_of(RecordEntry(hash, 1)) == ""
