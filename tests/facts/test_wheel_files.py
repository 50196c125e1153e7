"""Wheels that wrote the same files: RECORD files and what lies on the disk."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from disk_trees import disk
from framework_environments import PREFIX, SITE, distribution, environment, environments

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.facts.wheel_files import Collision, Untold, WheelFiles
from gpudoctor.host import DIGEST_LIMIT
from gpudoctor.registry import Facts, load_plugins

load_plugins()

CU12 = distribution("nvidia-cudnn-cu12", "9.6.0.74")
CU13 = distribution("nvidia-cudnn-cu13", "9.12.0.46")
LIBRARY, OPS, HEADER = (
    "nvidia/cudnn/lib/libcudnn.so.9",
    "nvidia/cudnn/lib/libcudnn_ops.so.9",
    "nvidia/cudnn/include/c.h",
)


def record(files: Mapping[str, str]) -> str:
    """The RECORD of a wheel with these files."""
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        quoted = '"' + path.replace('"', '""') + '"' if set(path) & set(',"') else path
        rows.append(f"{quoted},sha256={digest},{len(text)}\n")
    return "".join(rows)


def wheels(folder: Path, there: Mapping[str, str | bytes], *records: tuple[Distribution, str | None]) -> WheelFiles:
    """What is found where these files lie in site-packages beside these RECORD files; None for none."""
    return look(folder, there, environment(*(one for one, _ in records)), *records)


def look(
    folder: Path,
    there: Mapping[str, str | bytes],
    where: PythonEnvironment,
    *records: tuple[Distribution, str | None],
) -> WheelFiles:
    files: dict[str, str | bytes] = {f"{SITE}/{path}": content for path, content in there.items()}
    files |= {f"{one.folder}/RECORD": text for one, text in records if text is not None}
    return Facts(disk(folder, files)).with_known(environments(where)).get(WheelFiles)


def only(found: WheelFiles) -> Collision:
    (collision,) = found.collisions
    return collision


OLD = {LIBRARY: "cudnn for 12", OPS: "ops for 12, longer"}
NEW = {LIBRARY: "cudnn for 13", OPS: "ops for 13, longer"}


@pytest.mark.parametrize(("last", "holder", "lost"), [(NEW, CU13, CU12), (OLD, CU12, CU13)])
def test_the_wheel_installed_last_holds_the_files(
    tmp_path: Path, last: dict[str, str], holder: Distribution, lost: Distribution
) -> None:
    found = only(wheels(tmp_path, last, (CU12, record(OLD)), (CU13, record(NEW))))
    assert (found.family, found.one, found.other) == ("nvidia-cudnn", CU12, CU13)
    assert (found.holder, found.overwritten, found.problem) == (holder.name, lost.name, "")
    assert found.differing == 2
    assert found.path == f"{SITE}/{LIBRARY}"  # the smallest is hashed


def test_files_of_neither(tmp_path: Path) -> None:
    found = only(wheels(tmp_path, {**NEW, LIBRARY: "patched"}, (CU12, record(OLD)), (CU13, record(NEW))))
    assert (found.holder, found.overwritten) == ("", "")
    assert "was changed since" in found.problem


def test_a_file_that_is_gone_from_both(tmp_path: Path) -> None:
    """After one of the two was uninstalled its RECORD is gone too; here somebody deleted the folder."""
    found = wheels(tmp_path, {}, (CU12, record(OLD)), (CU13, record(NEW)))
    assert only(found).holder == ""
    assert only(found).problem == f"{SITE}/{LIBRARY} is gone"
    assert [one.distribution for one in found.incomplete] == [CU12, CU13]


def test_the_half_that_stayed_when_the_other_was_uninstalled(tmp_path: Path) -> None:
    alone = {**NEW, "nvidia/cudnn/lib/libcudnn_ext.so.9": "only in the new one"}
    found = wheels(tmp_path, {"nvidia/cudnn/lib/libcudnn_ext.so.9": "only in the new one"}, (CU13, record(alone)))
    assert found.collisions == ()
    (half,) = found.incomplete
    assert (half.distribution, half.missing, half.of) == (CU13, (LIBRARY, OPS), 3)


def test_whole_wheels_are_fine(tmp_path: Path) -> None:
    nccl = distribution("nvidia-nccl-cu13", "2.30.7")
    library = {"nvidia/nccl/lib/libnccl.so.2": "nccl"}
    assert wheels(tmp_path, {**NEW, **library}, (CU13, record(NEW)), (nccl, record(library))) == WheelFiles((), ())


@pytest.mark.parametrize("name", ["nvidia/cudnn/lib/a, b.so.9", 'nvidia/cudnn/lib/say "x".so.9'])
def test_names_with_commas_and_quotes(tmp_path: Path, name: str) -> None:
    found = wheels(tmp_path, {name: "new"}, (CU12, record({name: "old"})), (CU13, record({name: "new"})))
    assert (only(found).path, only(found).holder) == (f"{SITE}/{name}", "nvidia-cudnn-cu13")
    assert found.problems == ()


def test_the_same_content_twice_is_no_collision(tmp_path: Path) -> None:
    both = {"nvidia/cudnn/include/c.h": "the same header"}
    assert wheels(tmp_path, both, (CU12, record(both)), (CU13, record(both))).collisions == ()


def test_packages_of_a_namespace_and_caches_collide_with_nobody(tmp_path: Path) -> None:
    one = record({"nvidia/__init__.py": "", "nvidia/__pycache__/__init__.cpython-311.pyc": "1"})
    other = record({"nvidia/__init__.py": "#", "nvidia/__pycache__/__init__.cpython-311.pyc": "2"})
    assert wheels(tmp_path, {"nvidia/__init__.py": "#"}, (CU12, one), (CU13, other)).collisions == ()


@pytest.mark.parametrize("missing", [0, 1])
def test_without_a_record_nothing_is_claimed_but_that(tmp_path: Path, missing: int) -> None:
    """conda and distributions write none."""
    records: list[tuple[Distribution, str | None]] = [(CU12, record(OLD)), (CU13, record(NEW))]
    records[missing] = (records[missing][0], None)
    found = wheels(tmp_path, OLD | NEW, *records)
    assert (found.collisions, found.incomplete) == ((), ())
    ((_, names, problem),) = found.problems
    assert names == ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13")
    assert "nvidia-cudnn-cu12 and nvidia-cudnn-cu13 are both in" in problem


@pytest.mark.parametrize("text", ["", "\n"])
def test_a_record_that_lists_nothing_tells_nothing(tmp_path: Path, text: str) -> None:
    found = wheels(tmp_path, NEW, (CU12, text), (CU13, record(NEW)))
    assert found.collisions == ()
    assert Untold(PREFIX, (CU12.name,), f"{CU12.folder}/RECORD lists no files") in found.problems
    assert any("no RECORD tells whose files lie there" in why for _, _, why in found.problems)


def test_another_site_packages_is_another_place(tmp_path: Path) -> None:
    elsewhere = distribution("nvidia-cudnn-cu13", "9.12.0.46", site="/opt/site-packages")
    assert wheels(tmp_path, OLD, (CU12, record(OLD)), (elsewhere, record(NEW))).collisions == ()


def test_too_large_to_be_hashed(tmp_path: Path) -> None:
    large = b"\0" * (DIGEST_LIMIT + 1)
    text = f"{LIBRARY},sha256={'A' * 43},{len(large)}\n"
    found = only(wheels(tmp_path, {LIBRARY: large}, (CU12, text), (CU13, text.replace("A", "B"))))
    assert found.holder == ""
    assert LIBRARY in found.problem


def test_damaged_rows_are_told_and_the_rest_counts(tmp_path: Path) -> None:
    found = wheels(tmp_path, NEW, (CU12, f'{record(OLD)}"broken,,\n'), (CU13, record(NEW)))
    assert only(found).holder == "nvidia-cudnn-cu13"
    assert found.problems == (Untold(PREFIX, (CU12.name,), f"{CU12.folder}/RECORD: 1 rows cannot be read"),)


def test_three_wheels_are_three_pairs(tmp_path: Path) -> None:
    cu11 = distribution("nvidia-cudnn-cu11", "9.1.0.70")
    found = wheels(tmp_path, NEW, (cu11, record({LIBRARY: "11"})), (CU12, record(OLD)), (CU13, record(NEW)))
    assert [(one.one.name[-4:], one.other.name[-4:], one.holder[-4:]) for one in found.collisions] == [
        ("cu11", "cu12", ""),
        ("cu11", "cu13", "cu13"),
        ("cu12", "cu13", "cu13"),
    ]


def test_other_families(tmp_path: Path) -> None:
    cpu, gpu = distribution("faiss-cpu", "1.15.1"), distribution("faiss-gpu-cu12", "1.14.1")
    found = wheels(
        tmp_path, {"faiss/x.so": "gpu"}, (cpu, record({"faiss/x.so": "cpu"})), (gpu, record({"faiss/x.so": "gpu"}))
    )
    assert (only(found).family, only(found).holder) == ("faiss", "faiss-gpu-cu12")
