"""Texts about nvcc, its host compiler, and programs that were built for another GPU or driver: what each is told."""

import pytest
from diagnoses import told

TEXTS = [
    ("cuda.host-compiler-too-new", "#error -- unsupported GNU version! gcc 4.7 and up are not supported!"),
    (
        "cuda.host-compiler-too-new",
        "static_assert failed: error STL1002: Unexpected compiler version, expected CUDA 12.4",
    ),
    ("cuda.host-compiler-too-new", '/usr/include/c++/16.1/type_traits(393): error: identifier "char8_t" is undefined'),
    ("cuda.host-compiler-too-new", "/usr/include/c++/15/bits/unicode.h(102): error: expected an expression"),
    (
        "cuda.arch-unsupported-by-nvcc",
        "NvvmError: Failed to compile\nlibNVVM error: -arch=compute_120 is an unsupported option",
    ),
    ("cuda.driver-too-old", "The CUDA driver was found, but it is too old. gpuDevice wants CUDA 11.2 or greater."),
    (
        "cuda.driver-too-old",
        "This version of CUDA.jl only supports NVIDIA drivers for CUDA 11.x or higher (yours is for CUDA 10.2.0)",
    ),
    ("torch.no-kernels-for-gpu", "[0] CUDA GPU is too old. Compute Capability detected: 3.5"),
    ("torch.no-kernels-for-gpu", "Kokkos::Cuda::initialize ERROR: likely mismatch of architecture"),
    ("torch.no-kernels-for-gpu", "CUDA binary kernel for this graphics card compute capability (12.0) not found."),
    ("cuda.host-compiler-too-new", "nvcc doesn't support my gcc 14"),
    ("torch.no-kernels-for-gpu", "My card is sm_120 and pytorch says it's not compatible"),
    ("triton.ptxas-too-old", "ptxas /tmp/a.ptx, line 5; fatal   : Unsupported .version 8.7; current version is '8.4'"),
    (
        "cuda.ptx-newer-than-driver",
        "ptxas application ptx input, line 9; fatal   : Unsupported .version 8.5; current version is '8.2'",
    ),
    ("torch.companion-mismatch", "torch          2.13.0+cu130\ntorchvision    0.28.0+cpu"),
    ("torch.cpu-only", "torch cpu version installed, how do I solve this"),
    ("torch.cpu-only", "自动安装的torch选择的是cpu版"),
    ("torch.cpu-only", "RuntimeError: Failed to infer device type\nPyTorch version: 2.5.1+cpu"),
]
HEALTHY = [
    "[CudaDevice(id=0)]\nThe NVIDIA driver's CUDA version is 12.4 which is older than the ptxas CUDA version (12.6).",
    # Of the user's own types, though told within the headers; and of gcc itself.
    '/usr/include/c++/11/bits/stl_pair.h(460): error: no instance of constructor "Point" matches the argument',
    "/usr/include/c++/11/type_traits:1406:12: error: no type named 'type' in 'struct std::enable_if<false, void>'",
]


@pytest.mark.parametrize(("first", "text"), TEXTS)
def test_what_a_text_is_told_first(first: str, text: str) -> None:
    assert told(text)[:1] == [first]


@pytest.mark.parametrize("text", HEALTHY)
def test_nothing_is_told_of_a_fault_in_the_code(text: str) -> None:
    assert told(text) == []
