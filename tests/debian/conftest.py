"""The roots that these tests break and repair: one GPU machine a test run, and a copy of it for each test."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian_machines import Kernels, install_driver, install_gpudoctor, kernels_of
from debian_roots import Root, make_root, need_roots, remove


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which all roots of this test run lie; they are large, so nothing is left of them."""
    folder = tmp_path_factory.mktemp("debian-roots")
    need_roots(folder)
    yield folder
    subprocess.run(("rm", "-rf", str(folder)), check=True)


@pytest.fixture(scope="session")
def base(roots: Path) -> Root:
    """A Debian with apt, Python and gpudoctor."""
    root = make_root(roots / "base", roots / "archives", ("mount", "python3", "zstd"))
    install_gpudoctor(root)
    return root


@pytest.fixture(scope="session")
def kernels(base: Root) -> Kernels:
    return kernels_of(base)


@pytest.fixture(scope="session")
def driver_installed(base: Root, kernels: Kernels, roots: Path) -> Root:
    """The base with the old kernel and the driver, all in order."""
    root = base.copy(roots / "driver-installed")
    install_driver(root, kernels)
    return root


@pytest.fixture
def machine(driver_installed: Root, roots: Path) -> Iterator[Root]:
    """A GPU machine in order, for one test to break."""
    root = driver_installed.layer(roots / "machine")
    yield root
    remove(root)
