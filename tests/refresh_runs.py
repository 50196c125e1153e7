"""Runs of tools/refresh_knowledge.py on a copy of the tables, against an index that has what they have."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from package_index import PackageIndex

import gpudoctor.knowledge

pytest.importorskip("pypi_simple", reason="pip install -e '.[refresh]'")
pytest.importorskip("remotezip", reason="pip install -e '.[refresh]'")
ROOT = Path(__file__).parents[1]
KNOWLEDGE = ROOT / "gpudoctor" / "knowledge"
sys.path.append(str(ROOT / "tools"))  # the tools are no package that is installed

from refresh.index import from_pip_config  # noqa: E402
from refresh.rows import as_text, differences  # noqa: E402
from refresh_knowledge import TABLES, main  # noqa: E402

__all__ = [
    "TABLES",
    "as_text",
    "differences",
    "from_pip_config",
    "main",
]  # tests have them from here: see sys.path above


def refresh(index: PackageIndex, knowledge: Path, *arguments: str) -> int:
    """The exit code; the loaders then read what was written."""
    try:
        return main(["--index-url", index.url, "--knowledge", str(knowledge), "--pause", "0", *arguments])
    finally:
        gpudoctor.knowledge.load_table.cache_clear()


def add_known_cudnn(index: PackageIndex, knowledge: Path) -> None:
    for project, versions in table(knowledge, "cudnn")["wheels"].items():
        for version in versions:
            index.add(project, version)


def add_known_jax(index: PackageIndex, knowledge: Path) -> None:
    told = table(knowledge, "jax")
    for row in told["jax"]:
        index.add("jax", row["jax"], "py3-none-any")
    for row in told["plugins"]:
        for tag in row["pythons"]:
            index.add(row["plugin"], row["version"], f"{tag.removesuffix('t')}-{tag}-manylinux_2_27_x86_64")


def table(knowledge: Path, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((knowledge / f"{name}.json").read_text())
    return told


def cudnn_contents(*more: str) -> dict[str, str]:
    line = table(KNOWLEDGE, "cudnn")["lines"][-1]
    return {f"nvidia/cudnn/lib/libcudnn_{name}.so.9": "" for name in (*line["sublibraries"], *more)}


def add_new_jax(index: PackageIndex) -> str:
    metadata = (
        "Requires-Python: >=3.13\nRequires-Dist: jaxlib<=99.0,>=98.5\nRequires-Dist: numpy>=2.4\n"
        "Requires-Dist: numpy>=2.5; python_version>='3.15'\n"
        'Requires-Dist: jax-cuda13-plugin[with-cuda]<=99.0,>=99.0; extra == "cuda13"\n'
        'Requires-Dist: jax-cuda13-plugin<=99.0,>=98.0; extra == "cuda13-local"\n'
    )
    contents = {"jax/version.py": 'x = 1\n_minimum_jaxlib_version = "98.5"\n', "jax/big.py": "0123456789" * 20000}
    return index.add("jax", "99.0", "py3-none-any", contents=contents, metadata=metadata)
