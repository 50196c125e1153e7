"""The gpudoctor that runs: its program, and whether it can train on a GPU."""

import importlib.util
import sys

import pytest

from gpudoctor.facts.own_installation import OwnInstallation
from gpudoctor.registry import Facts
from gpudoctor.snapshot import SnapshotHost


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path


def found() -> OwnInstallation:
    return Facts(SnapshotHost({})).get(OwnInstallation)


def test_the_program_beside_the_interpreter(folder):
    assert found().program != str(folder / "gpudoctor"), "it is not there yet"
    (folder / "gpudoctor").touch()
    assert found().program == str(folder / "gpudoctor")


@pytest.mark.parametrize("there", [True, False])
def test_cupy_is_looked_for_and_not_imported(folder, monkeypatch, there):
    (folder / "cupy").mkdir()
    (folder / "cupy" / "__init__.py").write_text("raise SystemExit('imported')\n" if there else "")
    monkeypatch.setattr(sys, "path", [str(folder)] if there else [])
    importlib.invalidate_caches()
    assert found().cupy is there
