"""Fixtures for children that run on an imaginary GPU machine: stub driver libraries, compiled once a test run.

A test module asks for them by `pytest_plugins = ["native_libraries"]`.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from imaginary_machines import VERSION, Environment

_SOURCES = Path(__file__).parent / "native"


class NativeLibraries(NamedTuple):
    """Folders to put on LD_LIBRARY_PATH, each with one library under its real name, and a library to preload."""

    nvml: Path
    cuda: Path
    fake_control_device: Path


@pytest.fixture(scope="session")
def native_libraries(tmp_path_factory: pytest.TempPathFactory) -> NativeLibraries:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, called cc, for the stub driver libraries")
    folder = tmp_path_factory.mktemp("native-libraries")
    for source, name in (("nvml_stub.c", "libnvidia-ml.so"), ("cuda_stub.c", "libcuda.so")):
        home = folder / name.removesuffix(".so")
        home.mkdir()
        _compile(source, home / f"{name}.{VERSION}")
        (home / f"{name}.1").symlink_to(f"{name}.{VERSION}")
    _compile("fakectl.c", folder / "fakectl.so")
    return NativeLibraries(folder / "libnvidia-ml", folder / "libcuda", folder / "fakectl.so")


def _compile(source: str, target: Path) -> None:
    command = ["cc", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", target, _SOURCES / source, "-ldl"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def environment(native_libraries: NativeLibraries, tmp_path: Path) -> Environment:
    """environment(machine_text, nvml=True, cuda=True): the variables for a child that is to run on that machine."""

    def build(machine_text: str, *, nvml: bool = True, cuda: bool = True) -> dict[str, str]:
        description = tmp_path / f"machine-{len(list(tmp_path.iterdir()))}"
        description.write_text(machine_text, encoding="utf-8", errors="surrogateescape")
        folders = [native_libraries.nvml] * nvml + [native_libraries.cuda] * cuda
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CUDA_", "NVIDIA_", "LD_"))},
            "LD_LIBRARY_PATH": ":".join(map(str, folders)),
            "FAKE_GPU_FILE": str(description),
        }

    return build
