import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from package_index import PackageIndex

import gpudoctor.knowledge

KNOWLEDGE = Path(gpudoctor.knowledge.__file__).parent


@pytest.fixture
def knowledge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the tables, from which the loaders read as well."""
    folder = tmp_path / "knowledge"
    shutil.copytree(KNOWLEDGE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setattr(gpudoctor.knowledge, "__file__", str(folder / "__init__.py"))
    gpudoctor.knowledge.load_table.cache_clear()
    yield folder
    monkeypatch.undo()
    gpudoctor.knowledge.load_table.cache_clear()


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    served = PackageIndex()
    yield served
    served.close()
