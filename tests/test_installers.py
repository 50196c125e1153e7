"""The command lines of every installer, and what never becomes a part of one."""

import pytest
from framework_environments import PREFIX, distribution, environment

from gpudoctor.facts.conda import CondaPackage
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.python.installers import (
    ANYWHERE,
    TOOLS,
    caution,
    index_of,
    install,
    instruction,
    preparation,
    spoken,
    tool_of,
    uninstall,
)
from gpudoctor.python.plain_words import environment_path

CU126 = "https://download.pytorch.org/whl/cu126"
PIP = (f"{PREFIX}/bin/python", "-m", "pip")

pip = environment()
uv = environment(uv=True)
uv_project = environment(uv=True, lock_file="/home/ada/uv.lock")
poetry = environment(lock_file="/home/ada/poetry.lock")
pdm = environment(lock_file="/home/ada/pdm.lock")
pipenv = environment(lock_file="/home/ada/Pipfile.lock")
conda = environment(
    distribution("torch", "2.9.1", installer="conda"),
    distribution("jax", "0.9.0", installer="pip"),
    distribution("numpy", "2.3.0", installer=""),
    kind="conda",
    conda=(CondaPackage("pytorch", "2.9.1", "cuda126_x"), CondaPackage("numpy", "2.3.0", "py311_0")),
)
system = environment(prefix="/usr", kind="system", managed="/usr/lib/python3.11/EXTERNALLY-MANAGED")


@pytest.mark.parametrize(
    ("where", "name", "tool"),
    [
        (pip, "", "pip"),
        (uv, "", "uv"),
        (uv_project, "", "uv"),
        (poetry, "", "poetry"),
        (pdm, "", "pdm"),
        (pipenv, "", "pipenv"),
        (conda, "", "pip"),
        (conda, "torch", "conda"),
        (conda, "jax", "pip"),
        (conda, "numpy", "conda"),
        (environment(distribution("torch", "2.9.1", installer="uv")), "torch", "uv"),
        (system, "", ""),
        (pip._replace(interpreter=""), "", ""),
        (ANYWHERE, "", "pip"),
    ],
)
def test_an_environment_keeps_its_own_tool(where, name, tool):
    assert tool_of(where, where.get(name) if name else None) == tool


@pytest.mark.parametrize(
    ("where", "command"),
    [
        (pip, (*PIP, "install", "--index-url", CU126, "torch==2.9.1+cu126")),
        (uv, ("uv", "pip", "install", "--python", PREFIX, "--index-url", CU126, "torch==2.9.1+cu126")),
        (
            uv_project,
            ("uv", "add", "--project", "/home/ada", "--index", f"pytorch-cu126={CU126}", "torch==2.9.1+cu126"),
        ),
        (poetry, ("poetry", "-C", "/home/ada", "add", "--source", "pytorch-cu126", "torch==2.9.1+cu126")),
        (pdm, ("pdm", "add", "-p", "/home/ada", "torch==2.9.1+cu126")),
        (pipenv, ("pipenv", "install", "--index", CU126, "torch==2.9.1+cu126")),
        (conda, ("conda", "install", "-y", "-p", PREFIX, "pytorch-gpu=2.9.1", "cuda-version=12.6")),
        (system, ("python", "-m", "pip", "install", "--index-url", CU126, "torch==2.9.1+cu126")),
        (ANYWHERE, ("pip", "install", "--index-url", CU126, "torch==2.9.1+cu126")),
    ],
)
def test_a_variant_of_torch(where, command):
    assert install(where, ["torch==2.9.1+cu126"], index_url=CU126) == command


@pytest.mark.parametrize(
    ("where", "command"),
    [
        (pip, (*PIP, "install", "--force-reinstall", "--no-deps", "torch==2.9.1")),
        (uv, ("uv", "pip", "install", "--python", PREFIX, "--reinstall-package", "torch", "--no-deps", "torch==2.9.1")),
        (conda, ("conda", "install", "-y", "-p", PREFIX, "--force-reinstall", "--no-deps", "pytorch=2.9.1")),
    ],
)
def test_the_same_version_again(where, command):
    assert install(where, ["torch==2.9.1"], reinstall=True, no_deps=True) == command


def test_a_uv_project_is_told_what_to_reinstall():
    command = install(uv_project, ["jax[cuda12]==0.9.0"], reinstall=True)
    assert command == ("uv", "add", "--project", "/home/ada", "--reinstall-package", "jax", "jax[cuda12]==0.9.0")


@pytest.mark.parametrize(
    ("where", "command"),
    [
        (pip, (*PIP, "uninstall", "-y", "torch", "triton")),
        (uv, ("uv", "pip", "uninstall", "--python", PREFIX, "torch", "triton")),
        (poetry, ("poetry", "-C", "/home/ada", "remove", "torch", "triton")),
        (pdm, ("pdm", "remove", "-p", "/home/ada", "torch", "triton")),
        (pipenv, ("pipenv", "uninstall", "torch", "triton")),
        (conda, ("conda", "remove", "-y", "--force", "-p", PREFIX, "pytorch", "triton")),
    ],
)
def test_taking_out(where, command):
    assert uninstall(where, ["torch", "triton"]) == command


@pytest.mark.parametrize(
    ("there", "asked", "written"),
    [
        ("2.13.0+cpu", "torch==2.13.0", "torch===2.13.0"),  # pip and uv take 2.13.0+cpu for 2.13.0, and do nothing
        ("2.13.0", "torch==2.13.0", "torch==2.13.0"),
        ("2.13.0+cpu", "torch==2.13.0+cu126", "torch==2.13.0+cu126"),
        ("2.12.0+cpu", "torch==2.13.0", "torch==2.13.0"),
    ],
)
def test_another_variant_of_the_same_version_is_really_replaced(there, asked, written):
    assert install(environment(distribution("torch", there)), [asked])[-1] == written


def test_conda_is_asked_in_its_own_names():
    jax = environment(distribution("jax", "0.9.0", installer="conda"), kind="conda")
    command = install(jax, ["jax[cuda12]==0.9.0", "nvidia-cudnn-cu12==9.10.2.21"])
    assert command[5:] == ("jax=0.9.0", "cudnn=9.10.2.21", "cuda-version=12")
    assert install(ANYWHERE, ["cupy-cuda13x[ctk]==14.2.0"], tool="conda")[3:] == ("cupy=14.2.0", "cuda-version=13")


def test_poetry_learns_the_index_first():
    (first,) = preparation(poetry, CU126)
    assert first == ("poetry", "-C", "/home/ada", "source", "add", "--priority=explicit", "pytorch-cu126", CU126)
    assert preparation(poetry, "") == preparation(pip, CU126) == ()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (system, "belongs to the distribution"),
        (poetry, "/home/ada/poetry.lock"),
        (uv_project, "/home/ada/uv.lock"),
        (pipenv, "in the folder /home/ada"),
        (pdm, "pyproject.toml"),
        (pip._replace(interpreter=""), "made anew"),
        (environment(prefix="/home/ada/train/.pixi/envs/default", kind="conda"), "pixi.lock"),
    ],
)
def test_what_is_in_the_way_is_said(where, words):
    assert words in caution(where)
    assert words in instruction(where, ["torch==2.13.0"])


def test_nothing_is_in_the_way_of_pip():
    assert caution(pip) == caution(uv) == caution(ANYWHERE) == ""
    said = instruction(pip, ["onnxruntime-gpu==1.26.0"], remove=["onnxruntime", "onnxruntime-gpu"])
    assert said == (
        f"`{PREFIX}/bin/python -m pip uninstall -y onnxruntime onnxruntime-gpu`, then"
        f" `{PREFIX}/bin/python -m pip install onnxruntime-gpu==1.26.0`"
    )


def test_commands_are_quoted_for_a_shell():
    assert spoken(("pip", "install", "tensorflow[and-cuda]==2.20.0")) == "`pip install 'tensorflow[and-cuda]==2.20.0'`"


@pytest.mark.parametrize(
    ("version", "index"),
    [
        ("2.9.1+cu126", CU126),
        ("2.13.0+cpu", "https://download.pytorch.org/whl/cpu"),
        ("2.9.1", ""),
        ("2.9.1+git123", ""),
        ("", ""),
    ],
)
def test_a_version_tells_its_index(version, index):
    assert index_of(version) == index


@pytest.mark.parametrize(
    "word", ["torch; rm", "--pre", "torch @ https://x.example/t.whl", "torch==", "a b", "", "-r x"]
)
def test_words_that_are_no_requirement(word):
    for tool in TOOLS:
        with pytest.raises(UnsafeWord):
            install(pip, [word], tool=tool)
    with pytest.raises(UnsafeWord):
        uninstall(pip, [word])


@pytest.mark.parametrize(
    "url", ["http://x.example", "file:///x", "https://u:p@x.example", "https://x.example/ -r", "-x"]
)
def test_addresses_that_are_no_index(url):
    with pytest.raises(UnsafeWord):
        install(pip, ["torch"], index_url=url)


@pytest.mark.parametrize("path", ["venv", "/x\n/y", "/x/../y", "/x$(y)", "/x;y", "/\x1b[2J", "/x`y`", "-p"])
def test_paths_that_no_command_gets(path):
    with pytest.raises(UnsafeWord):
        environment_path(path)
    with pytest.raises(UnsafeWord):
        install(environment(prefix=path, uv=True), ["torch"])


@pytest.mark.parametrize("path", ["/home/ada/.venv", "/home/ada/my project/env", "/opt/Bücher/v+1", "/x/..y"])
def test_paths_of_environments_as_people_have_them(path):
    assert environment_path(path) == path
