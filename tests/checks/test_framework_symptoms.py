"""Messages of CUDA, its libraries and the frameworks lead to the check that explains them."""

import pytest

from gpudoctor.triage.judge import triage


def first_for(text: str) -> str:
    findings = triage(text).report.findings
    return findings[0].check.id if findings else ""


@pytest.mark.parametrize(
    ("message", "check"),
    [
        # the toolkit and its compiler
        (
            "RuntimeError: The detected CUDA version (11.5) mismatches the version that was used to compile "
            "PyTorch (12.1). Please make sure to use the same CUDA versions.",
            "cuda.nvcc-mismatch",
        ),
        (
            "op_builder.builder.CUDAMismatchException: >- DeepSpeed Op Builder: Installed CUDA version 11.5 does not "
            "match the version torch was compiled with 12.1, unable to compile cuda/cpp extensions",
            "cuda.nvcc-mismatch",
        ),
        ("[Errno 2] No such file or directory: ':/usr/local/cuda:/usr/local/cuda/bin/nvcc'", "cuda.home-invalid"),
        ("NCCL WARN CUDA Driver version found is 11040. Minimum requirement is 12020", "cuda.driver-too-old"),
        (
            "NCCL library is not backwards compatible. This application was compiled with NCCL version 2.27.3, but is "
            "running with NCCL library version 2.21.5.",
            "nccl.shadowed",
        ),
        ("CUDA error: device kernel image is invalid", "cuda.ptx-newer-than-driver"),
        ("[TRT] CUDA initialization failure with error: 35", "cuda.driver-too-old"),
        ("(PreconditionNotMet) Cannot load cudnn shared library.", "cudnn.library-missing"),
        ("CUDA kernel mul_mat_q has no device code compatible with CUDA arch 520.", "torch.no-kernels-for-gpu"),
        ("RuntimeError: No such operator torchvision::nms", "torch.companion-mismatch"),
        ("RuntimeError: nms_impl: implementation for device cuda:0 not found.", "python.extension-abi"),
        ("ms_deform_attn.py: NameError: name '_C' is not defined", "python.extension-abi"),
        ("ModuleNotFoundError: No module named 'numpy._core'", "python.numpy-abi"),
        ("ERROR: Package 'vllm' requires a different Python: 3.8.10 not in '>=3.9'", "python.no-wheel"),
        ("torch._inductor.exc.InductorError: RuntimeError: Failed to find C compiler", "triton.toolchain-missing"),
        ("Can't find libdevice directory ${CUDA_DIR}/nvvm/libdevice.", "tensorflow.cuda-libraries-missing"),
        ("RuntimeError: Failed to auto-detect CUDA root directory.", "cupy.headers-missing"),
        ("RuntimeError: CUDA driver initialization failed, you might not have a CUDA gpu.", "driver.not-installed"),
        ("device < num_gpus INTERNAL ASSERT FAILED\nMIG 3g.40gb Device 0", "env.cuda-visible-devices"),
        (
            "Cuda extensions are being compiled with a version of Cuda that does not match the version used to compile "
            "Pytorch binaries.",
            "cuda.nvcc-mismatch",
        ),
        (
            "crt/host_config.h:164:2: error: #error -- unsupported Microsoft Visual Studio version! Only the versions "
            "between 2017 and 2022 (inclusive) are supported!",
            "cuda.host-compiler-too-new",
        ),
        (
            "RuntimeError: The current installed version of g++ (13.2.0) is greater than the maximum required version "
            "by CUDA 11.8 (11.0.0).",
            "cuda.host-compiler-too-new",
        ),
        (
            "/usr/include/c++/11/bits/std_function.h:435:145: error: parameter packs not expanded with '...':",
            "cuda.host-compiler-too-new",
        ),
        (
            'math.h(629): error: exception specification is incompatible with that of previous function "cospi"',
            "cuda.host-compiler-too-new",
        ),
        ("nvcc fatal   : Unsupported gpu architecture 'compute_120'", "cuda.arch-unsupported-by-nvcc"),
        (
            "nvcc fatal   : Value 'sm_89' is not defined for option 'gpu-architecture'",
            "cuda.arch-unsupported-by-nvcc",
        ),
        (
            "OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.",
            "cuda.home-missing",
        ),
        (
            "UserWarning: flash_attn was requested, but nvcc was not found.  Are you sure your environment has nvcc "
            "available?",
            "cuda.home-missing",
        ),
        ("No CMAKE_CUDA_COMPILER could be found.", "cuda.home-missing"),
        ("fatal error: cuda_runtime.h: No such file or directory", "cuda.home-missing"),
        ("FileNotFoundError: [Errno 2] No such file or directory: ':/usr/local/cuda/bin/nvcc'", "cuda.home-invalid"),
        (
            "error: [Errno 2] No such file or directory: '/usr/local/cuda-12.1:/usr/local/cuda/bin/nvcc'",
            "cuda.home-invalid",
        ),
        ("/bin/sh: 1: :/usr/local/cuda/bin/nvcc: not found", "cuda.home-invalid"),
        ("export CUDA_HOME=$CUDA_HOME:/usr/local/cuda-12.4", "cuda.home-invalid"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/home/ada/miniconda3/envs/x/bin/nvcc'",
            "cuda.home-invalid",
        ),
        (
            "Could not find `nvcc` executable in path specified by variable\n\n  CUDAToolkit_ROOT=/usr/local/cuda/",
            "cuda.home-invalid",
        ),
        ("/usr/local/cuda: broken symbolic link to /etc/alternatives/cuda", "cuda.symlink-broken"),
        ("lrwxrwxrwx 1 root /usr/local/cuda -> cuda-11.8\nthat folder does not exist any more", "cuda.symlink-broken"),
        (
            "Found two conflicting CUDA installs:\n V12.4.131 in '/usr/local/cuda-12.4/include' and\n V11.8.89 in",
            "cuda.several-toolkits",
        ),
        # the driver and CUDA
        (
            "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU",
            "cuda.driver-too-old",
        ),
        ("CUDARuntimeError: cudaErrorInsufficientDriver: CUDA driver version is insufficient", "cuda.driver-too-old"),
        (
            "[h264_nvenc @ 0x5581] Driver does not support the required nvenc API version. Required: 13.0 Found: 12.1",
            "cuda.driver-too-old",
        ),
        (
            "ptxas application ptx input, line 9; fatal : Unsupported .version 8.5; current version is '8.2'",
            "cuda.ptx-newer-than-driver",
        ),
        (
            "CUDA error: the provided PTX was compiled with an unsupported toolchain.",
            "cuda.ptx-newer-than-driver",
        ),
        ("Call to cuInit results in UNKNOWN_CUDA_ERROR (34)", "cuda.stub-library"),
        ("libcuda.so.1 => /usr/local/cuda/lib64/stubs/libcuda.so.1 (0x00007f)", "cuda.stub-library"),
        (
            "Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility was attempted on non "
            "supported HW",
            "cuda.forward-compat-unsupported",
        ),
        (
            "Error 803: system has unsupported display driver / cuda driver combination\n"
            "LD_LIBRARY_PATH=/usr/local/cuda-12.8/compat",
            "cuda.forward-compat-mismatch",
        ),
        ("RuntimeError: No CUDA GPUs are available", "env.cuda-visible-devices"),
        ("RuntimeError: CUDA error: invalid device ordinal", "env.cuda-visible-devices"),
        ("os.environ['CUDA_VISIBLE_DEVICES'] = '-1'", "env.cuda-visible-devices"),
        ("torch's cuda:0 is the GPU that nvidia-smi calls 1", "env.cuda-device-order"),
        ("The GPU ids of torch do not match: nvidia-smi order is not matching CUDA's", "env.cuda-device-order"),
        (
            "RuntimeError: Unable to initialize backend 'rocm': NOT_FOUND: (set JAX_PLATFORMS='' to automatically "
            "choose an available backend)",
            "env.framework-switches",
        ),
        # CUDA's libraries
        ("RuntimeError: Library libcublas.so.12 is not found or cannot be loaded", "cuda.library-missing"),
        ("libcublasLt.so.12 => not found", "cuda.library-missing"),
        ("libcudnn.so.9 => not found", "cudnn.library-missing"),
        ("nvrtc: error: failed to open libnvrtc-builtins.so.12.4.", "cuda.library-missing"),
        ("RuntimeError: Library cublas64_12.dll is not found or cannot be loaded", "cuda.library-missing"),
        (
            "The code execution cannot proceed because cudart64_110.dll was not found. Reinstalling the program may",
            "cuda.library-missing",
        ),
        (
            "ImportError: libcudart.so.11.0: cannot open shared object file: No such file or directory\n"
            "torch==2.5.1+cu124",
            "python.cuda-major-mismatch",
        ),
        (
            "ImportError: libcusparse.so.12: undefined symbol: __nvJitLinkAddData_12_1, version libnvJitLink.so.12",
            "env.library-path-shadows",
        ),
        (
            "symbol cublasLtGetEnvironmentMode version libcublasLt.so.12 not defined in file libcublasLt.so.12 with "
            "link time reference",
            "env.library-path-shadows",
        ),
        (
            "libcublas.so.11: undefined symbol: cublasLtHSHMatmulAlgoInit, version libcublasLt.so.11",
            "env.library-path-shadows",
        ),
        (
            "Could not load library libcudnn_cnn_infer.so.8. Error: libcudnn_cnn_infer.so.8: cannot open shared "
            "object file: No such file or directory",
            "cudnn.library-missing",
        ),
        (
            "Could not locate cudnn_ops64_9.dll. Please make sure it is in your library path!\n"
            "Invalid handle. Cannot load symbol cudnnCreateTensorDescriptor",
            "cudnn.library-missing",
        ),
        (
            "Unable to load any of {libcudnn_ops.so.9.1.0, libcudnn_ops.so.9.1, libcudnn_ops.so.9, libcudnn_ops.so}\n"
            "Invalid handle. Cannot load symbol cudnnCreateTensorDescriptor",
            "cudnn.library-missing",
        ),
        (
            "Could not load library libcudnn_cnn_train.so.8. Error: /usr/local/cuda/lib64/libcudnn_cnn_train.so.8: "
            "undefined symbol: _ZN5cudnn3cnn5layerE, version libcudnn_cnn_infer.so.8",
            "env.library-path-shadows",
        ),
        (
            "Could not load symbol cudnnGetLibConfig. Error: /opt/x/libcudnn_graph.so.9: undefined symbol: "
            "cudnnGetLibConfig",
            "cudnn.sublibrary-mix",
        ),
        ("RuntimeError: cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH", "cudnn.sublibrary-mix"),
        (
            "Loaded runtime CuDNN library: 8.0.5 but source was compiled with: 8.1.0.  CuDNN library needs to have",
            "cudnn.version-mismatch",
        ),
        (
            "RuntimeError: cuDNN version incompatibility: PyTorch was compiled  against (8, 7, 0) but found runtime "
            "version (8, 5, 0). one possibility is that there is a conflicting cuDNN in LD_LIBRARY_PATH.",
            "cudnn.version-mismatch",
        ),
        ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH", "cudnn.gpu-unsupported"),
        (
            '-- Found CUDNN: /usr/lib/x86_64-linux-gnu/libcudnn.so.9.5.1 (found version "8.9.7")',
            "cudnn.header-mismatch",
        ),
        ("ImportError: torch/lib/libtorch_cuda.so: undefined symbol: ncclCommRegister", "nccl.shadowed"),
        ("node1:77:99 [0] misc/socket.cc:1 NCCL WARN Bootstrap : no socket interface found", "nccl.init-failed"),
        (
            "libcudnn.so.9: cannot open shared object file\nnvidia-cudnn-cu12==9.10.2.21\nnvidia-cudnn-cu13==9.13.0.50",
            "python.nvidia-wheels-collide",
        ),
        # torch and what is built on it
        ("$ pip show torch\nName: torch\nVersion: 2.6.0+cpu", "torch.cpu-only"),
        ("AttributeError: module 'torch._C' has no attribute '_cuda_setDevice'", "torch.cpu-only"),
        (">>> torch.cuda.is_available()\nFalse", "torch.cpu-only"),
        ("torch.cuda.is_available() always returns False", "torch.cpu-only"),
        ("pytorch                   2.1.0           py3.11_cpu_0    pytorch", "torch.cpu-only"),
        ("pytorch-mutex             1.0             cpu    pytorch", "torch.cpu-only"),
        ("pytorch                   2.4.1           cpu_generic_py312h1576ffb_2    conda-forge", "torch.cpu-only"),
        ("ImportError: libtorch_cuda.so: cannot open shared object file: No such file or directory", "torch.cpu-only"),
        (
            "NotImplementedError: Could not run 'aten::empty.memory_format' with arguments from the 'CUDA' backend.",
            "torch.cpu-only",
        ),
        (
            "Found GPU0 NVIDIA GeForce GTX 1070 which is of cuda capability 6.1. Minimum and Maximum cuda capability "
            "supported by this version of PyTorch is (7.5) - (12.0)",
            "torch.no-kernels-for-gpu",
        ),
        ("ValueError: Unknown CUDA arch (12.0) or GPU not supported", "torch.no-kernels-for-gpu"),
        ("I have an RTX 5080 and installed torch from cu121", "torch.no-kernels-for-gpu"),
        (
            "RuntimeError: Couldn't load custom C++ ops. This can happen if your PyTorch and torchvision versions are "
            "incompatible",
            "torch.companion-mismatch",
        ),
        (
            "torchaudio 2.5.1 requires torch==2.5.1, but you have torch 2.6.0 which is incompatible.",
            "torch.companion-mismatch",
        ),
        (
            "OSError: /x/torchaudio/lib/libtorchaudio.so: undefined symbol: _ZNK3c105Error4whatEv",
            "torch.companion-mismatch",
        ),
        (
            "ImportError: /x/pointnet2_cuda.so: undefined symbol: _ZN3c106detail14torchCheckFailE",
            "python.extension-abi",
        ),
        ("ImportError: /x/mamba_ssm/ops.so: undefined symbol: _ZNK2at10TensorBase8data_ptrEv", "python.extension-abi"),
        (
            "RuntimeError: Detected that PyTorch and torch_scatter were compiled with different CUDA versions. PyTorch "
            "has CUDA version 12.1 and torch_scatter has CUDA version 11.8.",
            "python.extension-abi",
        ),
        (
            "DLL load failed while importing flash_attn_2_cuda: The specified procedure could not be found.",
            "python.extension-abi",
        ),
        ("RuntimeError: CUDA Setup failed despite CUDA being available.", "bitsandbytes.no-binary"),
        (
            "AttributeError: libbitsandbytes_cpu.so: undefined symbol: cquantize_blockwise_fp16_nf4",
            "bitsandbytes.no-binary",
        ),
        (
            "RuntimeError: Could not find the bitsandbytes CUDA binary at PosixPath('/x/libbitsandbytes_cuda126.so')",
            "bitsandbytes.no-binary",
        ),
        ("/tmp/tmp1/main.c:2:10: fatal error: Python.h: No such file or directory", "triton.toolchain-missing"),
        ("/usr/bin/ld: cannot find -lcuda: No such file or directory", "triton.toolchain-missing"),
        ("'sm_120' is not a recognized processor for this target (ignoring processor)", "triton.ptxas-too-old"),
        # the other frameworks
        (
            "gpu_device.cc:2340] Cannot dlopen some GPU libraries. Please make sure the missing libraries mentioned",
            "tensorflow.cuda-libraries-missing",
        ),
        (
            "Could not load dynamic library 'cudart64_110.dll'; dlerror: cudart64_110.dll not found",
            "tensorflow.cuda-libraries-missing",
        ),
        (">>> tf.config.list_physical_devices('GPU')\n[]", "tensorflow.cuda-libraries-missing"),
        (
            "TensorFlow was not built with CUDA kernel binaries compatible with compute capability 12.0. CUDA kernels "
            "will be jit-compiled from PTX, which could take 30 minutes or longer.",
            "tensorflow.no-kernels-for-gpu",
        ),
        ("tensorflow-cpu and tensorflow are both installed", "tensorflow.both-packages"),
        (
            "RuntimeError: Unknown backend: 'gpu' requested, but no platforms that are instances of gpu are present.",
            "jax.cpu-only",
        ),
        (
            "RuntimeError: Unable to use CUDA because of the following issues with CUDA components:\n"
            "Unable to load cuSPARSE. Is it installed?",
            "jax.outdated-library",
        ),
        (
            "CUDA backend failed to initialize: Found cuSPARSE version 12103, but JAX was built against version 12200",
            "jax.outdated-library",
        ),
        (
            "JAX plugin jax_cuda12_plugin version 0.9.2 is installed, but it is not compatible with the installed "
            "jaxlib version 0.9.0.1",
            "jax.plugin-mismatch",
        ),
        ("ALREADY_EXISTS: PJRT_Api already exists for device type cuda", "jax.both-plugins"),
        (
            "UserWarning: Specified provider 'CUDAExecutionProvider' is not in available provider names.",
            "onnxruntime.cpu-only",
        ),
        (
            "pip install onnxruntime-gpu\n>>> ort.get_available_providers()\n"
            "['AzureExecutionProvider', 'CPUExecutionProvider']",
            "onnxruntime.both-packages",
        ),
        (
            '[ONNXRuntimeError] : 1 : FAIL : LoadLibrary failed with error 126 "" when trying to load '
            '"C:\\x\\onnxruntime_providers_cuda.dll"',
            "onnxruntime.cuda-major-mismatch",
        ),
        (
            'Error loading "C:\\x\\onnxruntime_providers_cuda.dll" which depends on "cudnn64_9.dll" which is missing.',
            "onnxruntime.cudnn-mismatch",
        ),
        (
            "Failed to load library libonnxruntime_providers_cuda.so with error: libcudnn.so.9: cannot open shared "
            "object file",
            "onnxruntime.cudnn-mismatch",
        ),
        ("RuntimeError: CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12", "cupy.headers-missing"),
        ("numba.cuda.cudadrv.nvvm.NvvmSupportError: libNVVM cannot be found.", "numba.nvvm-missing"),
        # Python and its packages
        (
            "ImportError: numpy.core.multiarray failed to import\nA module that was compiled using NumPy 1.x cannot",
            "python.numpy-abi",
        ),
        ("ValueError: numpy.ufunc size changed, may indicate binary incompatibility.", "python.numpy-abi"),
        (
            "ERROR: Could not find a version that satisfies the requirement torchvision==0.20 (from versions: none)",
            "python.no-wheel",
        ),
        ("error: torch==2.5.1 has no wheels with a matching Python ABI tag (e.g., `cp314`)", "python.no-wheel"),
        (
            "ERROR: torch-2.4.0+cu121-cp310-cp310-linux_x86_64.whl is not a supported wheel on this platform.",
            "python.no-wheel",
        ),
        (
            "No Python at '\"C:\\Users\\ada\\AppData\\Local\\Programs\\Python\\Python310\\python.exe'",
            "python.interpreter-missing",
        ),
        ("jupyter notebook: ModuleNotFoundError: No module named 'torch'", "python.wrong-interpreter"),
        ("vllm 0.6.0 requires torch==2.4.0, but you have torch 2.5.1 which is incompatible.", "python.pin-broken"),
    ],
)
def test_message_leads_to_its_check(message: str, check: str) -> None:
    assert first_for(message) == check


@pytest.mark.parametrize(
    "text",
    [
        "Installed CUDA version 11.3 does not match the version torch was compiled with 11.8 but since the APIs are "
        "compatible, accepting this combination",
        "CUBLAS_STATUS_INVALID_VALUE when calling cublasSgemm; on the CPU: mat1 and mat2 shapes cannot be multiplied",
        ">>> torch.cuda.is_available()\nTrue",
        "GPU available: True (cuda), used: True",
        "sess = ort.InferenceSession('m.onnx', providers=['CPUExecutionProvider'])",
        ">>> get_available_providers()\n['TensorrtExecutionProvider', 'CUDAExecutionProvider', 'CPUExecutionProvider']",
        "export CUDA_HOME=/usr/local/cuda\nexport CUDA_VISIBLE_DEVICES=0",
        "set CUDA_HOME=C:\\Program Files\\NVIDIA GPU Computing Toolkit\\CUDA\\v12.4",
        "lrwxrwxrwx 1 root root 22 /usr/local/cuda -> /etc/alternatives/cuda",
        "The detected CUDA version (12.0) has a minor version mismatch with the version that was used to compile "
        "PyTorch (12.1). Most likely this shouldn't be a problem.",
        "TF-TRT Warning: Could not find TensorRT",
        "Unable to register cuDNN factory: Attempting to register factory for plugin cuDNN when one has already been "
        "registered",
        "NCCL INFO NET/Plugin: No plugin found (libnccl-net.so), using internal implementation",
        "pytorch                   2.3.0           py3.11_cuda12.1_cudnn8.9.2_0    pytorch",
        "pytorch-mutex             1.0             cuda    pytorch",
        "Unable to initialize backend 'rocm': module 'jaxlib.xla_extension' has no attribute 'GpuAllocatorConfig'",
        "Successfully installed torch-2.5.1 nvidia-cudnn-cu12-9.1.0.70 nvidia-nccl-cu12-2.21.5",
    ],
)
def test_what_works_gives_no_finding(text: str) -> None:
    assert first_for(text) == ""
