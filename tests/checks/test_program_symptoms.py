"""What frameworks and build tools print, as their sources have it: each message leads to the check that it proves."""

import pytest
from diagnoses import told

MESSAGES = [
    (
        "bitsandbytes.no-binary",
        "RuntimeError: Method 'cquantize_blockwise_fp16' not available in CPU-only version of bitsandbytes.",
    ),
    (
        "bitsandbytes.no-binary",
        "🚨 CUDA VERSION MISMATCH 🚨\nRequested CUDA version:          13.0\nDetected PyTorch CUDA version:  "
        " 13.0\nAvailable pre-compiled versions: \n  - 11.8\n  - 12.1",
    ),
    ("bitsandbytes.no-binary", "Attempted to use bitsandbytes native library functionality but it's not available."),
    ("bitsandbytes.no-binary", "bitsandbytes tried to find a compatible CUDA binary but none could be loaded."),
    ("bitsandbytes.no-binary", "bitsandbytes doesn't ship with a pre-compiled binary for your CUDA version"),
    (
        "bitsandbytes.no-binary",
        "RuntimeError: No compatible CUDA binary found at /x/bitsandbytes/libbitsandbytes_cuda130.so",
    ),
    ("container.shared-memory-small", "RuntimeError: unable to write to file </torch_1234_5678>"),
    ("cuda.arch-unsupported-by-nvcc", "RuntimeError: FlashInfer requires GPUs with sm75 or higher"),
    ("cuda.arch-unsupported-by-nvcc", "RuntimeError: SM 12.x requires CUDA >= 12.9."),
    (
        "cuda.arch-unsupported-by-nvcc",
        "CMake Error at CMakeDetermineCUDACompiler.cmake: CMAKE_CUDA_ARCHITECTURES:\n\n    native\n\n  is "
        "not one of the following: compute_35, compute_50",
    ),
    (
        "cuda.call-needs-newer-driver",
        "numba.cuda.cudadrv.error.CudaDriverError: Driver missing function: cuMemAllocAsync",
    ),
    ("cuda.conda-toolkit-too-new", "- feature:/linux-64::__cuda==12.2=0"),
    ("cuda.conda-toolkit-too-new", "└─ __cuda =* *, which is missing on the system."),
    (
        "cuda.home-invalid",
        "CMake Error: The CMAKE_CUDA_COMPILER:\n\n    /usr/local/cuda-11.8/bin/nvcc\n\n  is not a full "
        "path to an existing compiler tool.",
    ),
    ("cuda.home-missing", "*** WARNING: nvcc not in path."),
    ("cuda.home-missing", "Error: CUDA could not be found on your system."),
    ("cuda.home-missing", "Unable to run /usr/local/cuda/bin/nvcc, unable to compile CUDA op(s):"),
    (
        "cuda.home-missing",
        "CUDA was not found on the system, please set the CUDA_HOME or the CUDA_PATHenvironment variable or add",
    ),
    ("cuda.home-missing", "-- Looking for a CUDA compiler - NOTFOUND"),
    ("cuda.home-missing", "CMake Warning: Unable to find cudart library."),
    ("cuda.host-compiler-too-new", "/usr/include/c++/10/chrono:428:27: internal compiler error: Segmentation fault"),
    ("cuda.library-missing", "🚨 CUDA SETUP ERROR: Missing dependency: libcusparse.so.12 🚨"),
    ("cuda.library-missing", "nvrtc: error: failed to load builtins for compute_86."),
    ("cuda.library-missing", "RuntimeError: cuDNN error: CUDNN_STATUS_RUNTIME_PREREQUISITE_MISSING"),
    (
        "cuda.library-missing",
        "ImportError: libnvToolsExt.so.1: cannot open shared object file: No such file or directory",
    ),
    (
        "cuda.library-missing",
        '[WinError 126] The specified module could not be found. Error loading "C:\\x\\torch\\lib\\cublas64_11.dll"',
    ),
    (
        "cuda.library-missing",
        "PreconditionNotMetError: The third-party dynamic library (cublas64_102.dll;cublas64_10.dll) that Paddle",
    ),
    (
        "cuda.nvcc-mismatch",
        "Unable to JIT load the fused_adam op due to it not being compatible due to hardware/software",
    ),
    (
        "cuda.ptx-newer-than-driver",
        "cudf: UserWarning: CUDA Toolkit is newer than CUDA driver. Numba features will not work in this",
    ),
    ("cuda.ptx-newer-than-driver", "RuntimeError: CUDA driver error: a PTX JIT compilation failed"),
    ("cuda.ptx-newer-than-driver", "CUDA_ERROR_INVALID_PTX: a PTX JIT compilation failed"),
    ("cudnn.version-mismatch", "[TRT] [W] TensorRT was linked against cuDNN 8.6.0 but loaded cuDNN 8.3.2"),
    (
        "cupy.headers-missing",
        "ImportError: DLL load failed while importing runtime: The specified module could not be "
        "found.\ncupy_backends.cuda.api",
    ),
    ("driver.cuda-init-failed", "RuntimeError: CUDA error: initialization error"),
    ("driver.cuda-init-failed", "ggml_cuda_init: failed to initialize CUDA: (null)"),
    ("driver.cuda-init-failed", 'level=INFO source=gpu.go msg="no compatible GPUs were discovered"'),
    ("driver.cuda-init-failed", "XGBoostError: Must have at least one device"),
    (
        "driver.library-missing",
        "CUDA SETUP: WARNING! libcuda.so not found! Do you have a CUDA driver installed? If you are on a cluster,",
    ),
    ("driver.library-missing", "Possible CUDA driver libraries are found but error occurred during load:"),
    (
        "driver.library-missing",
        "failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)",
    ),
    (
        "driver.library-missing",
        "/usr/bin/ld: warning: libcuda.so.1, needed by ./libggml-cuda.so, not found (try using -rpath or",
    ),
    ("driver.library-missing", "undefined reference to `cuMemCreate'"),
    ("driver.library-missing", "/usr/bin/ld: ../libggml-cuda.so: undefined reference to `cuDeviceGet'"),
    (
        "driver.not-installed",
        "ImportError: Could not find 'nvcuda.dll'. TensorFlow requires that this DLL be installed in a directory",
    ),
    ("driver.not-installed", "nvcuda.dll not found. Could not load nvcuda.dll"),
    (
        "env.cuda-visible-devices",
        "RuntimeError: DeepSpeed JIT builder for 'fused_adam' found no CUDA devices. Set TORCH_CUDA_ARCH_LIST or",
    ),
    (
        "env.cuda-visible-devices",
        "Unable to initialize backend 'cuda': INTERNAL: no supported devices found for platform CUDA",
    ),
    ("env.cuda-visible-devices", "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000"),
    (
        "env.cuda-visible-devices",
        "lightning_fabric.utilities.exceptions.MisconfigurationException: You requested gpu: [0, 1]\n But "
        "your machine only has: [0]",
    ),
    ("env.cuda-visible-devices", "UserWarning: No NVIDIA GPU detected\n  /x/cudf/utils/gpu_utils.py:149"),
    ("env.library-path-shadows", "ImportError: libcupti.so.12: undefined symbol: cuptiActivityEnableDriverApi"),
    (
        "env.library-path-shadows",
        "[TRT] [W] TensorRT was linked against cuBLAS/cuBLAS LT 11.6.1 but loaded cuBLAS/cuBLAS LT 11.3.0",
    ),
    (
        "env.library-path-shadows",
        "ImportError: libcublas.so.12: symbol cublasLtGetStatusString version libcublasLt.so.12 not defined",
    ),
    ("health.application-xid", "CUDA error: misaligned address"),
    ("health.application-xid", "CUDA error: an illegal instruction was encountered"),
    ("health.application-xid", "CUDA error: hardware stack error"),
    ("health.application-xid", "Illegal address in CUDA queue copy_from_device (integrator_shade_surface)"),
    ("jax.cpu-only", "RuntimeError: Backend 'cuda' is not in the list of known backends: ['cpu', 'tpu']."),
    (
        "jax.outdated-library",
        "RuntimeError: cuDNN 9.10.0 had a binary backward-compatibility issue due to reordered enum values",
    ),
    (
        "jax.outdated-library",
        "NOT_FOUND: Couldn't find a suitable version of ptxas in any of the following locations: ptxas,",
    ),
    (
        "jax.outdated-library",
        "INTERNAL: jaxlib/gpu/solver_handle_pool.cc:37: operation gpusolverDnCreate(&handle) failed:",
    ),
    ("jax.plugin-mismatch", "ImportError: This version of jax requires jaxlib version >= 0.1.60."),
    ("jax.plugin-mismatch", "cuda_plugin_extension is not found."),
    ("kernel.module-not-loaded", "kernel driver does not appear to be running on this host"),
    (
        "kernel.uvm-wedged",
        "THCudaCheck FAIL file=/pytorch/aten/src/THC/THCGeneral.cpp line=50 error=30 : unknown error",
    ),
    (
        "kernel.uvm-wedged",
        "tensorflow.python.framework.errors_impl.InternalError: cudaGetDevice() failed. Status: unknown error",
    ),
    ("kernel.uvm-wedged", "RuntimeError: CUDA error: unknown error"),
    (
        "nccl.init-failed",
        "rank 1. Original reason for failure was: NCCL error: remote process exited or there was a network error,",
    ),
    ("numba.nvvm-missing", "OSError: library nvvm not found"),
    ("numba.nvvm-missing", "FileNotFoundError: libcudadevrt.a not found"),
    (
        "onnxruntime.both-packages",
        "ValueError: This ORT build has ['AzureExecutionProvider', 'CPUExecutionProvider'] enabled. Since ORT",
    ),
    (
        "onnxruntime.both-packages",
        "an ONNX Runtime execution provider, but the available execution providers are ['CPUExecutionProvider'].",
    ),
    (
        "onnxruntime.cpu-only",
        "ImportError: Asked to use CUDAExecutionProvider, but `onnxruntime-gpu` package was not found. Make sure",
    ),
    (
        "onnxruntime.cuda-major-mismatch",
        "onnxruntime::python::CreateExecutionProviderInstance CUDA_PATH is set but CUDA wasnt able to be loaded.",
    ),
    (
        "python.extension-abi",
        "PyTorch version mismatch! DeepSpeed ops were compiled and installed with a different version",
    ),
    (
        "python.extension-abi",
        "RuntimeError: CUDA version mismatch! DeepSpeed ops were compiled and installed with a different version",
    ),
    ("python.extension-abi", "Memory-efficient attention, SwiGLU, sparse and more won't be available."),
    ("python.extension-abi", "[sgl_kernel] CRITICAL: Could not load any common_ops library!"),
    ("python.extension-abi", "ImportError: /x/amp_C.cpython-38-x86_64-linux-gnu.so: undefined symbol:"),
    ("python.extension-abi", "RuntimeError: Not compiled with CUDA support"),
    ("python.interpreter-missing", "Caused by: Python interpreter not found at `/x/.venv/bin/python3`"),
    (
        "python.no-wheel",
        "Distribution `torch==2.6.0+cu124 @ registry+https://download.pytorch.org/whl/cu124` can't be installed",
    ),
    (
        "python.no-wheel",
        "error: Distribution `triton==3.1.0 @ registry+https://index.example/simple` can't be installed because it",
    ),
    (
        "python.pin-broken",
        'torch 2.1.0 requires nvidia-cudnn-cu12==8.9.2.26; platform_system == "Linux" and '
        'platform_machine == "x86_64", but you have nvidia-cudnn-cu12',
    ),
    ("python.pin-broken", 'torch 2.5.1 requires triton==3.1.0; platform_system == "Linux", which is not installed.'),
    (
        "python.pin-broken",
        "depends on torch==2.3.1 and you require torch==2.5.1, we can conclude that your requirements are "
        "unsatisfiable.",
    ),
    (
        "python.pin-broken",
        "Because project depends on both torch (^2.5) and torchvision (^0.18), version solving failed.",
    ),
    (
        "python.pin-broken",
        "pytorch-2.0.1-py3.10_cuda11.8 requires pytorch-cuda 11.8.*, but none of the providers can be installed",
    ),
    (
        "tensorflow.cuda-libraries-missing",
        "I tensorflow/stream_executor/dso_loader.cc:142] Couldn't open CUDA library libcudnn.so. LD_LIBRARY_PATH:",
    ),
    (
        "tensorflow.cuda-libraries-missing",
        "ImportError: Could not find 'cudart64_90.dll'. TensorFlow requires that this DLL be installed in a",
    ),
    (
        "tensorflow.cuda-libraries-missing",
        "ImportError: Could not find 'cudnn64_7.dll'. TensorFlow requires that this DLL be installed in a",
    ),
    (
        "tensorflow.cuda-libraries-missing",
        "for operation MatMul: Operation was explicitly assigned to /device:GPU:0 but available devices are [",
    ),
    ("tensorflow.cuda-libraries-missing", "RuntimeError: /job:localhost/replica:0/task:0/device:GPU:0 unknown device."),
    (
        "tensorflow.cuda-libraries-missing",
        "devices to be available: ['/cpu:0', '/gpu:0', '/gpu:1']. However this machine only has: ['/cpu:0',",
    ),
    ("torch.companion-mismatch", "RuntimeError: operator torchvision::roi_align does not exist"),
    ("torch.companion-mismatch", "AttributeError: module 'torch.library' has no attribute 'register_fake'"),
    ("torch.companion-mismatch", "ImportError: cannot import name 'register_fake' from 'torch.library'"),
    (
        "torch.cpu-only",
        " transformer cuda is missing or is incompatible with installed torch, only cpu ops can be compiled!",
    ),
    ("torch.cpu-only", "AssertionError: libcudart functions unavailable. It looks like you have a broken build?"),
    (
        "torch.cpu-only",
        "RuntimeError: Cannot get CUDA generator without ATen_cuda library. PyTorch splits its backend into two",
    ),
    ("torch.cpu-only", "RuntimeError: Cannot query CUDA device count without ATen_cuda library"),
    ("torch.cpu-only", "No CUDA runtime is found, using CUDA_HOME='/usr/local/cuda-11.8'"),
    ("torch.cpu-only", "RuntimeError: Distributed package doesn't have NCCL built in"),
    (
        "torch.no-kernels-for-gpu",
        "Found GPU0 Tesla T4 which requires CUDA_VERSION >= 10000 to\n     work properly, but your PyTorch "
        "was compiled\n     with CUDA_VERSION 9000. Please install the correct PyTorch binary",
    ),
    ("torch.no-kernels-for-gpu", "Please install PyTorch with a following CUDA"),
    (
        "torch.no-kernels-for-gpu",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ARCH_MISMATCH when calling `cublasCreate(handle)`",
    ),
    ("torch.no-kernels-for-gpu", "RuntimeError: cuFFT error: CUFFT_INTERNAL_ERROR"),
    (
        "torch.no-kernels-for-gpu",
        "RuntimeError: CUDA error: CUSPARSE_STATUS_ARCH_MISMATCH when calling `cusparseCreate(handle)`",
    ),
    ("torch.no-kernels-for-gpu", "CURAND_STATUS_ARCH_MISMATCH"),
    (
        "triton.ptxas-too-old",
        "NoTritonConfigsError: No valid triton configs. PTXASError: PTXAS error: Internal Triton PTX codegen",
    ),
]
HARMLESS = [
    # of torchvision, without a library for a kind of pictures
    "Failed to load image Python extension: 'libjpeg.so.8: cannot open shared object file: No such file or directory'",
    "ptxas returned an error: Couldn't find a suitable version of ptxas. Relying on driver to perform ptx compilation.",
    "CUDA SETUP: Highest compute capability among GPUs detected: 8.6\nCUDA SETUP: Detected CUDA version 118",
    '-- Found CUDAToolkit: /usr/local/cuda/include (found version "12.4.131")\n-- Using CUDA architectures: native',
    "[WARNING]  async_io requires the dev libaio .so object and headers but these were not found.",
    "NCCL WARN Failed to open libibverbs.so[.1]",
    "RuntimeError: Could not run 'quantized::linear' with arguments from the 'CUDA' backend.",
]


@pytest.mark.parametrize(("check", "message"), MESSAGES)
def test_a_message_leads_to_what_raises_it(check: str, message: str) -> None:
    assert told(message)[:1] == [check]


@pytest.mark.parametrize("message", HARMLESS)
def test_what_frightens_and_is_no_fault_gives_no_finding(message: str) -> None:
    assert told(message) == []
