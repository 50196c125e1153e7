"""`gpudoctor recommend` as a process: what it prints, and its exit codes."""

import json
from pathlib import Path

import pytest
from command_line import gpudoctor

ELSEWHERE = ("--driver", "535.104.05", "--gpu", "RTX 4090", "--python-version", "3.11")


def test_the_command_comes_first_and_can_be_copied():
    done = gpudoctor("recommend", "torch==2.8.0", "--driver", "580", "--gpu", "GTX 1080", "--python-version", "3.11.4")
    assert done.returncode == 0, done.stderr
    command = "pip install --index-url https://download.pytorch.org/whl/cu126 torch==2.8.0+cu126"
    assert done.stdout.splitlines()[0] == command
    assert "torchvision 0.23.0 and torchaudio 2.8.0 belong to it." in " ".join(done.stdout.split())
    for heading in ("For", "Why", "Not chosen"):
        assert heading in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (("torch==2.9.1",), "pip install torch==2.9.1"),
        (("pytorch==2.9.1", "--tool", "uv"), "uv pip install torch==2.9.1"),
        (("onnxruntime-gpu",), "pip install 'onnxruntime-gpu[cuda,cudnn]==1.26.0'"),
        (("jax", "--tool", "poetry"), "poetry add 'jax[cuda12]==0.10.2'"),
        (("torch==2.9.1+cu126", "--tool", "conda"), "conda install -y pytorch-gpu=2.9.1"),
    ],
)
def test_for_a_machine_that_is_not_here(arguments, first):
    done = gpudoctor("recommend", *arguments, *ELSEWHERE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(first)


@pytest.mark.parametrize("name", ["RTX 4090", "rtx4090", "GeForce RTX 4090", "4090", "sm_89", "8.9"])
def test_ways_to_name_a_gpu(name):
    done = gpudoctor("recommend", "torch", "--driver", "580", "--gpu", name, "--format", "json")
    answer = json.loads(done.stdout)
    assert [gpu["compute_capability"] for gpu in answer["for"]["gpus"]] == ["8.9"]


def test_json():
    done = gpudoctor("recommend", "tensorflow", "--driver", "580", "--gpu", "V100", "--gpu", "8.9", "--format", "json")
    answer = json.loads(done.stdout)
    assert answer["status"] == "found"
    assert answer["commands"] == [["pip", "install", "tensorflow[and-cuda]==2.21.0", "nvidia-cudnn-cu12==9.10.2.21"]]
    assert answer["for"]["machine"] == "x86_64"
    assert answer["cuda"] == "12.5"


def test_nothing_fits():
    done = gpudoctor("recommend", "torch==2.6.0", "--driver", "570", "--gpu", "RTX 5090")
    assert done.returncode == 2
    assert done.stdout.startswith("No build of torch==2.6.0 fits.\n")
    assert "torch 2.11.0 would fit" in done.stdout
    answer = json.loads(
        gpudoctor("recommend", "torch==2.6.0", "--driver", "570", "--gpu", "sm_120", "--format", "json").stdout
    )
    assert answer["status"] == "none"
    assert answer["commands"] == []
    assert len(answer["rejected"]) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("numpy",), "the tables know torch, tensorflow"),
        (("torch>=2",), "the tables know torch"),
        (("torch==two",), "'two' is no version"),
        (("torch==",), "'' is no version"),
        (("torch", "--driver", "new"), "--driver new: no driver version"),
        (("torch", "--gpu", "RTX 9999"), "the GPU table has no such name"),
        (("torch", "--gpu", ""), "the GPU table has no such name"),
        (("torch", "--gpu", "TITAN"), "several GPUs are called so"),
        (("torch", "--gpu", "sm_999"), "no GPU of this compute capability"),
        (("torch", "--python-version", "three"), "no version of Python"),
        (("torch", "--machine", "vax"), "aarch64 and x86_64"),
        (("torch", "--tool", "apt"), "none of pip, uv"),
        (("torch", "--root", "/nowhere/at/all"), "no such directory"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words):
    done = gpudoctor("recommend", *arguments)
    assert done.returncode == 3
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_what_is_missing_is_named(tmp_path: Path):
    (tmp_path / "etc").mkdir()
    done = gpudoctor("recommend", "torch", "--root", str(tmp_path))
    assert done.returncode == 3
    assert "--driver" in done.stdout
    done = gpudoctor("recommend", "torch", "--root", str(tmp_path), "--driver", "580")
    assert done.returncode == 3
    assert "--gpu" in done.stdout


def test_the_environment_in_use_decides_python_and_tool(tmp_path: Path):
    venv = tmp_path / "home/ada/.venv"
    site = venv / "lib/python3.10/site-packages/torch-2.9.1.dist-info"
    site.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (venv / "bin").mkdir()
    (venv / "bin/python").write_text("")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.10.12\nuv = 0.9.0\n")
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.1\n\n")
    (site / "INSTALLER").write_text("uv\n")
    arguments = ("--root", str(tmp_path), "--python", "/home/ada/.venv", "--driver", "580", "--gpu", "8.9")
    done = gpudoctor("recommend", "torch", *arguments, "--format", "json")
    answer = json.loads(done.stdout)
    assert answer["commands"] == [["uv", "pip", "install", "--python", "/home/ada/.venv", "torch==2.14.1"]]
    assert answer["for"]["python"] == "3.10"


def test_a_file_is_written(tmp_path: Path):
    done = gpudoctor("recommend", "torch==2.9.1", *ELSEWHERE, "-o", str(tmp_path / "answer"))
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "answer").read_text().startswith("pip install torch==2.9.1\n")
