"""CUDA code in shared libraries: for which architectures it was built."""

from pathlib import Path

import pytest
from disk_trees import disk
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_objects import InMemory, fat_binary, shared_object

from gpudoctor.facts.fatbin import Architectures, gpu_architectures
from gpudoctor.host import Unavailable

ONE = fat_binary(("sm_75", 64), ("sm_90", 64), ("sm_90a", 64), ("compute_90", 80), payload=1000)
TWO = fat_binary(("sm_100f", 96), ("sm_120", 112), ("sm_90", 64), ("lto_90", 64), payload=40_000)


def _read(data: bytes) -> Architectures | None:
    return gpu_architectures(InMemory(data), "/lib/x.so")


def test_counts_of_each_architecture() -> None:
    data = shared_object(sections={".nv_fatbin": ONE + TWO + b"\0" * 8 + ONE + b"\0" * 5000, "__nv_relfatbin": ONE})
    answer = _read(data)
    assert answer == Architectures({"sm_75": 3, "sm_90": 4, "sm_90a": 3, "sm_100f": 1, "sm_120": 1}, {"compute_90": 3})
    assert list(answer.cubins) == ["sm_75", "sm_90", "sm_90a", "sm_100f", "sm_120"]
    assert answer.with_share(0.5) == ("sm_75", "sm_90", "sm_90a", "compute_90")
    assert len(answer.with_share(0)) == 6


def test_no_cuda_code(tmp_path: Path) -> None:
    assert _read(shared_object()) == Architectures({}, {})
    assert _read(shared_object(sections={".nv_fatbin": b""})) == Architectures({}, {})
    assert Architectures({}, {}).with_share(0.5) == ()
    assert gpu_architectures(disk(tmp_path, {}), "/lib/x.so") is None


def test_code_is_skipped_not_read() -> None:
    host = InMemory(shared_object(sections={".nv_fatbin": fat_binary(("sm_90", 64), ("sm_80", 64), payload=4_000_000)}))
    assert gpu_architectures(host, "/lib/x.so") == Architectures({"sm_80": 1, "sm_90": 1}, {})
    assert host.bytes < 20_000


def test_of_very_many_pieces_the_first_are_counted() -> None:
    one_large = fat_binary(*[("sm_90", 64)] * 50_000, payload=0)
    for containers in (one_large, fat_binary(("sm_90", 64), payload=0) * 50_000, ONE + fat_binary() * 50_000):
        answer = _read(shared_object(sections={".nv_fatbin": containers}))
        assert answer is not None
        assert not answer.complete
        assert 0 < answer.cubins["sm_90"] < 50_000


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (b"\x01" * 100, "a layout that is not known"),
        (ONE + b"\x01" * 100, "a layout that is not known"),
        (ONE[:-8], "damaged CUDA code"),
        (ONE[:6] + b"\x08\0" + ONE[8:], "damaged CUDA code"),
        (ONE[:20] + b"\0" * 4 + ONE[24:], "damaged CUDA code"),
        (ONE[:24] + b"\xff" * 8 + ONE[32:], "damaged CUDA code"),
    ],
)
def test_damaged_code(section: bytes, reason: str) -> None:
    with pytest.raises(Unavailable, match=rf"^/lib/x\.so: .*{reason}"):
        _read(shared_object(sections={".nv_fatbin": section}))


@pytest.mark.parametrize("value", [1 << 39, 1 << 63])
def test_a_library_that_is_cut_off(value: int) -> None:
    # The section table survives where a download was resumed at the wrong place.
    data = shared_object(sections={".nv_fatbin": ONE})
    for place in (24, 32):  # sh_offset, sh_size
        entry = len(data) - 3 * 64 + place
        broken = data[:entry] + value.to_bytes(8, "little") + data[entry + 8 :]
        with pytest.raises(Unavailable, match="CUDA code"):
            _read(broken)


@settings(derandomize=True, deadline=None, database=None, max_examples=400)
@given(
    st.lists(
        st.tuples(st.integers(0, 1 << 16), st.sampled_from([b"\xff", b"\0", b"\x01", b"\xff" * 4, b"\0" * 8, b"\x10"])),
        min_size=1,
        max_size=5,
    )
)
def test_damage_is_told_at_little_cost(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(shared_object(sections={".nv_fatbin": fat_binary(("sm_80", 64), ("sm_90a", 96), payload=16) * 4}))
    for place, change in changes:
        place %= len(data)
        data[place : place + len(change)] = change
    host = InMemory(bytes(data))
    try:
        answer = gpu_architectures(host, "/lib/x.so")
    except Unavailable as reason:
        assert str(reason).startswith("/lib/x.so: ")  # noqa: PT017
    else:
        assert answer is not None
    assert host.reads <= 50
    assert host.bytes <= 4_000_000
