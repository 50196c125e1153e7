"""The Pythons behind environments and notebooks."""

import json
from pathlib import Path

import pytest
from disk_trees import facts_on

from gpudoctor.facts.interpreters import Interpreters, JupyterKernels, program_of_kernel, relevant_kernel
from gpudoctor.registry import Facts

SITE = "/srv/venv/lib/python3.11/site-packages"
VENV = {
    "/srv/venv/pyvenv.cfg": "home = /usr/bin\nversion = 3.11.2\n",
    "/srv/venv/bin/python3": "-> /usr/bin/python3.11",
    "/srv/venv/bin/python": "-> python3",
    f"{SITE}/torch-2.8.0.dist-info/METADATA": "Name: torch\nVersion: 2.8.0\n\n",
}


def disk(folder: Path, files: dict[str, str], *, named: bool = True) -> Facts:
    facts = facts_on(folder, {**VENV, **files})
    facts.host.pythons = ("/srv/venv",) if named else ()
    return facts


def kernel(program: str) -> str:
    words = [program, "-m", "ipykernel_launcher"]
    return json.dumps({"argv": words, "display_name": "Python 3", "env": {"API_TOKEN": "secret"}})


def test_interpreter_with_its_headers(tmp_path: Path) -> None:
    header = "/usr/include/python3.11/Python.h"
    (found,) = disk(tmp_path, {"/usr/bin/python3.11": "", header: ""}).get(Interpreters).interpreters
    assert (found.link, found.real_path, found.version, found.header) == (
        "/usr/bin/python3.11",
        "/usr/bin/python3.11",
        "3.11",
        header,
    )


def test_interpreter_that_is_gone(tmp_path: Path) -> None:
    (found,) = disk(tmp_path, {}).get(Interpreters).interpreters
    assert (found.path, found.link, found.real_path, found.header) == (
        "/srv/venv/bin/python",
        "/usr/bin/python3.11",
        "",
        "",
    )


def test_another_python_took_its_place(tmp_path: Path) -> None:
    files = {
        "/srv/venv/bin/python3": "-> /usr/bin/python3",
        "/usr/bin/python3": "-> python3.13",
        "/usr/bin/python3.13": "",
    }
    (found,) = disk(tmp_path, files).get(Interpreters).interpreters
    assert (found.real_path, found.version) == ("/usr/bin/python3.13", "3.13")


def test_kernels_of_a_named_environment_only(tmp_path: Path) -> None:
    files = {
        "/usr/bin/python3.11": "",
        "/srv/venv/share/jupyter/kernels/python3/kernel.json": kernel("python"),
        "/srv/venv/share/jupyter/kernels/old/kernel.json": kernel("/old/bin/python"),
        "/srv/venv/share/jupyter/kernels/bad/kernel.json": "{",
        "/usr/share/jupyter/kernels/python3/kernel.json": kernel("/usr/bin/python3.11"),
    }
    found = disk(tmp_path, files).get(JupyterKernels)
    assert {(one.name, one.program, one.there, one.belongs_to) for one in found.kernels} == {
        ("python3", "python", True, "/srv/venv"),
        ("old", "/old/bin/python", False, "/srv/venv"),
    }
    assert found.problems == ("/srv/venv/share/jupyter/kernels/bad/kernel.json is damaged: it names no command",)


def test_kernels_of_the_system(tmp_path: Path) -> None:
    files = {
        "/usr/bin/python3.11": "",
        "/usr/lib/python3.11/os.py": "",
        "/usr/share/jupyter/kernels/python3/kernel.json": kernel("/usr/bin/python3.11"),
    }
    (found,) = disk(tmp_path, files, named=False).get(JupyterKernels).kernels
    assert (found.prefix, found.belongs_to) == ("/usr", "")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"argv": []}', '{"argv": [1]}', '{"argv": "python"}'])
def test_damaged_kernels(text: str) -> None:
    assert program_of_kernel(text) is None


def test_secrets_of_a_kernel_are_left_out() -> None:
    kept = relevant_kernel(kernel("/usr/bin/python3"))
    assert "secret" not in kept
    assert program_of_kernel(kept) == "/usr/bin/python3"
    assert program_of_kernel(relevant_kernel("{")) is None
