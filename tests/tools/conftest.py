import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from documented import TREE
from package_index import PackageIndex

import gpudoctor.knowledge

KNOWLEDGE = Path(gpudoctor.knowledge.__file__).parent
EXAMPLE = TREE / "examples/gpudoctor-scratch"

sys.path.append(str(TREE / "tools"))  # the tools are no package that is installed


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


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that has the plugin, with the metadata that pip writes."""
    if sys.version_info < (3, 11):
        pytest.skip("tomllib came with Python 3.11")
    import tomllib

    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    site = tmp_path / "site"
    metadata = site / "gpudoctor_scratch-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    lines = [f"{name} = {module}" for name, module in project["entry-points"]["gpudoctor.plugins"].items()]
    (metadata / "entry_points.txt").write_text("[gpudoctor.plugins]\n" + "\n".join(lines))
    (site / "gpudoctor_scratch").symlink_to(EXAMPLE / "gpudoctor_scratch")
    return {**os.environ, "PYTHONPATH": str(site)}
