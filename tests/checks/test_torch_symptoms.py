"""Messages of torch and its neighbours lead to the check that explains them."""

import re

import pytest

from gpudoctor.registry import load_plugins, registry
from gpudoctor.symptoms import compiled


def ids_for(message: str) -> list[str]:
    load_plugins()
    return sorted(
        id
        for id, check in registry.checks.items()
        if any(compiled(pattern, re.IGNORECASE).search(message) for pattern in check.symptoms)
    )


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("AssertionError: Torch not compiled with CUDA enabled", "torch.cpu-only"),
        (
            "RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation",
            "torch.no-kernels-for-gpu",
        ),
        (
            "RuntimeError: CUDA error: no kernel image is available for execution on the device",
            "torch.no-kernels-for-gpu",
        ),
        ("RuntimeError: operator torchvision::nms does not exist", "torch.companion-mismatch"),
        (
            "flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so: undefined symbol: _ZN3c104cuda9SetDeviceEi",
            "python.extension-abi",
        ),
        ("flash_attn_2_cuda.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationESs", "python.extension-abi"),
        ("WARNING: xFormers can't load C++/CUDA extensions. xFormers was built for:", "python.extension-abi"),
        (
            "vllm 0.11.0 requires torch==2.8.0, but you have torch 2.9.1 which is incompatible.",
            "python.pin-broken",
        ),
        ("CUDA Setup failed despite GPU being available.", "bitsandbytes.no-binary"),
        (
            "libbitsandbytes_cuda130.so: cannot open shared object file: No such file or directory",
            "bitsandbytes.no-binary",
        ),
        ("ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'", "triton.ptxas-too-old"),
        ("AssertionError: libcuda.so cannot found!", "triton.toolchain-missing"),
        ("fatal error: Python.h: No such file or directory", "triton.toolchain-missing"),
        (
            "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.2.6 as it may crash.",
            "python.numpy-abi",
        ),
        ("AttributeError: _ARRAY_API not found", "python.numpy-abi"),
        ("bash: /home/ada/venv/bin/pip: bad interpreter: No such file or directory", "python.interpreter-missing"),
        ("ERROR: No matching distribution found for torch==2.15.0", "python.no-wheel"),
    ],
)
def test_message_belongs_to_one_check(message: str, check: str) -> None:
    assert ids_for(message) == [check]
