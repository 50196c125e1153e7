"""What is read from a text: versions, names and answers, in the forms in which programs and people write them."""

import time

import pytest

from gpudoctor.triage.paste import read_paste
from gpudoctor.triage.read import read_shown
from gpudoctor.triage.shown import Shown

COLLECT_ENV = """\
Collecting environment information...
PyTorch version: 2.7.0+cu128
Is debug build: False
CUDA used to build PyTorch: 12.8
ROCM used to build PyTorch: N/A

OS: Ubuntu 24.04.2 LTS (x86_64)
Python version: 3.12.3 (main, Feb  4 2025, 14:48:35) [GCC 13.3.0] (64-bit runtime)
Python platform: Linux-6.11.0-1014-gcp-x86_64-with-glibc2.39
Is CUDA available: True
CUDA runtime version: 12.9.41
GPU models and configuration:
GPU 0: NVIDIA A100-SXM4-40GB
GPU 1: NVIDIA A100-SXM4-40GB
Nvidia driver version: 575.51.03
cuDNN version: Could not collect

Versions of relevant libraries:
[pip3] numpy==2.1.2
[pip3] nvidia-cudnn-cu12==9.7.1.26
[conda] magma-cuda121             2.6.1                         1    pytorch
"""
TABLE = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 550.54.14              Driver Version: 550.54.14      CUDA Version: 12.4     |
|-----------------------------------------+------------------------+----------------------+
|   0  NVIDIA GeForce RTX 3090        Off |   00000000:01:00.0 Off |                  N/A |
| 30%   41C    P8             21W /  350W |       1MiB /  24576MiB |      0%      Default |
|                                         |                        |                  N/A |
+-----------------------------------------+------------------------+----------------------+
"""


def shown(text: str) -> Shown:
    return read_shown(read_paste(text))


def test_collect_env_of_torch() -> None:
    read = shown(COLLECT_ENV)
    assert read.driver.version is not None
    assert (read.driver.version.value, read.driver.version.line) == ("575.51.03", 15)
    assert [gpu.value for gpu in read.gpus] == ["NVIDIA A100-SXM4-40GB"] * 2
    assert read.python.torch is not None
    assert read.python.torch.value == "2.7.0+cu128"
    assert read.python.torch_cuda is not None
    assert read.python.torch_cuda.value == "12.8"
    assert read.python.torch_sees_gpu is True
    assert read.python.packages["nvidia-cudnn-cu12"].value == "9.7.1.26"
    assert read.python.version == "3.12"
    assert (read.system.id, read.system.version, read.system.kernel) == ("ubuntu", "24.04", "6.11.0-1014-gcp")


def test_the_table_of_nvidia_smi() -> None:
    read = shown(TABLE)
    assert read.driver.version is not None
    assert read.driver.version.value == "550.54.14"
    assert read.driver.cuda is not None
    assert read.driver.cuda.value == "12.4"
    assert read.driver.nvml is not None
    assert [gpu.name for gpu in read.driver.nvml.gpus] == ["NVIDIA GeForce RTX 3090"]


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("Nvidia driver version: 410.104", "410.104"),
        ("driver 387.12", "387.12"),
        ("nvidia driver: 460.91.03", "460.91.03"),
        ("Nvidia Driver 525.147.05", "525.147.05"),
        ("NVIDIA driver 535 on Ubuntu", "535"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12", "535.183.01"),
        ("[1.15] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  390.129  Mon Jul 22", "390.129"),
        ("NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15", "570.86.15"),
        ("requires an NVIDIA driver >= 525.60.13", ""),
        ("please update to driver 580.65.06 or newer", ""),
        ("downloaded NVIDIA-Linux-x86_64-550.54.14.run", ""),
        ("kernel 6.8.0-48-generic", ""),
    ],
)
def test_the_driver_that_is_there_and_not_one_that_is_wanted(line: str, version: str) -> None:
    read = shown(line).driver.version
    assert (read.value if read else "") == version


@pytest.mark.parametrize(
    ("line", "name", "version"),
    [
        ("torch==2.5.0+cu121", "torch", "2.5.0+cu121"),
        ("torch                   2.10.0.dev20251024+cu130", "torch", "2.10.0.dev20251024+cu130"),
        ("[pip3] nvidia-nccl-cu11==2.14.3", "nvidia-nccl-cu11", "2.14.3"),
        ("PyTorch 2.2.1+cu118", "torch", "2.2.1+cu118"),
        ("jaxlib: 0.3.15", "jaxlib", "0.3.15"),
        ("onnxruntime-gpu 1.16", "onnxruntime-gpu", "1.16"),
        ("Found existing installation: onnxruntime 1.23.2", "onnxruntime", "1.23.2"),
        ("$ pip install torch===1.3.0 torchvision===0.4.1", "torchvision", "0.4.1"),
        ("ctranslate2==4.5.0", "ctranslate2", "4.5.0"),
    ],
)
def test_packages_in_lists_commands_and_words(line: str, name: str, version: str) -> None:
    assert shown(line).python.packages[name].value == version


@pytest.mark.parametrize(
    "line",
    [
        "vllm 0.6.3 requires torch==2.4.0, but you have torch 2.5.1 which is incompatible.",
        "This wheel was built for torch 2.1.0",
    ],
)
def test_what_a_package_asks_for_is_not_taken_for_installed_by_words_alone(line: str) -> None:
    found = shown(line).python.packages.get("torch")
    assert found is None or found.value == "2.4.0"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (">>> torch.cuda.is_available()\nFalse", False),
        ("torch.cuda.is_available() -> False", False),
        ("print(torch.cuda.is_available())  # True", True),
        ("Is CUDA available: No", False),
        ("torch.cuda.device_count()\n0", None),
    ],
)
def test_whether_torch_sees_a_gpu(text: str, answer: bool | None) -> None:
    assert shown(text).python.torch_sees_gpu is answer


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("RTX 4090, Ubuntu 22.04", ["RTX 4090"]),
        ("Device 0: [GeForce GTX 1080 Ti] PCIe GEN 3@16x", ["GeForce GTX 1080 Ti"]),
        ("on two H100s", []),
        ("GPU 0: Tesla T4", ["Tesla T4"]),
        ("GPU: DGX Spark", ["NVIDIA GB10"]),
        ("the NVIDIA driver is installed", []),
        ("NVIDIA Corporation GP107M", []),
    ],
)
def test_names_of_gpus_that_the_table_knows(line: str, names: list[str]) -> None:
    assert [gpu.value for gpu in shown(line).gpus] == names


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("$ echo $LD_LIBRARY_PATH\n/usr/local/cuda/lib64:/opt/x", "LD_LIBRARY_PATH", "/usr/local/cuda/lib64:/opt/x"),
        ("export CUDA_HOME=$CUDA_HOME:/usr/local/cuda-11.8", "CUDA_HOME", "$CUDA_HOME:/usr/local/cuda-11.8"),
        ("CUDA_VISIBLE_DEVICES=-1 python train.py", "CUDA_VISIBLE_DEVICES", "-1"),
    ],
)
def test_variables_of_the_environment(text: str, name: str, value: str) -> None:
    assert shown(text).system.variables[name].value == value


def test_a_token_in_a_pasted_environment_is_not_taken_up() -> None:
    assert "HF_TOKEN" not in shown("export HF_TOKEN=hf_secret").system.variables


@pytest.mark.parametrize(
    ("text", "wsl", "container"),
    [
        ("Linux 5.15.90.1-microsoft-standard-WSL2 x86_64", True, ""),
        ("root@0123456789ab:/# nvidia-smi", False, "docker"),
        ("$ kubectl logs trainer", False, "kubernetes"),
        ("$ docker run --gpus all x nvidia-smi", False, ""),
    ],
)
def test_where_the_text_comes_from(text: str, wsl: bool, container: str) -> None:
    system = shown(text).system
    assert (system.wsl, system.container) == (wsl, container)


@pytest.mark.parametrize(
    "line", ["conda 1" + "a1" * 200 + "-", "torch 1" + ".1" * 200 + "-", "x" * 1900, "A" * 900 + "=" * 900]
)
def test_no_line_takes_long(line: str) -> None:
    began = time.process_time()
    shown(line)
    assert time.process_time() - began < 1
