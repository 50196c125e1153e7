"""Machines on which all is well: environments of wheels, made with pip and uv."""

from pathlib import Path

from family_machines import Files
from healthy_environments import (
    PATH,
    SITE,
    VENV,
    active,
    environ,
    healthy,
    machine,
    numpy,
    nvidia_wheel,
    pip_torch,
    toolkit,
)
from healthy_frameworks import ADA, TORCH, cupy, debians_toolkit, flash_attn, jax_wheels, onnxruntime, tensorflow
from healthy_parts import ld_cache
from python_trees import interpreter, site_of, venv, wheel
from shared_objects import fat_binary, shared_object

from gpudoctor.testing import MachineTree


@healthy()
def torch_in_a_venv(folder: Path) -> MachineTree:
    return machine(folder, TORCH, active())


@healthy()
def torch_in_a_venv_that_is_not_active(folder: Path) -> MachineTree:
    prefix = f"{ADA}/.virtualenvs/train"
    return machine(folder, venv(prefix, pip_torch(site_of(prefix), "2.9.1+cu128", "12.8")))


@healthy()
def torch_of_pypi_for_cuda_13(folder: Path) -> MachineTree:
    return machine(folder, venv(VENV, pip_torch(SITE, "2.14.1+cu130", "13.0")), active(), gpus=("RTX 5090", "RTX 5090"))


@healthy()
def python_without_its_lock(folder: Path) -> MachineTree:
    """python3.14t has folders of its own name."""
    site = f"{VENV}/lib/python3.14t/site-packages"
    base = f"{ADA}/.local/share/uv/python/cpython-3.14.0+freethreaded-linux-x86_64-gnu"
    files: Files = {
        f"{VENV}/pyvenv.cfg": f"home = {base}/bin\nimplementation = CPython\nuv = 0.9.11\nversion_info = 3.14.0\n",
        f"{VENV}/bin/python": f"-> {base}/bin/python3.14t",
        f"{VENV}/bin/python3": "-> python",
        f"{base}/bin/python3.14t": interpreter(),
        f"{base}/include/python3.14t/Python.h": "",
    }
    return machine(folder, files, pip_torch(site, "2.9.1+cu128", "12.8"), active())


@healthy()
def a_venv_of_fedora(folder: Path) -> MachineTree:
    return machine(folder, TORCH, {f"{VENV}/lib64": "-> lib"}, active())


@healthy()
def a_nightly_build_of_torch(folder: Path) -> MachineTree:
    version, cuda = "2.16.0.dev20261120+cu132", "13.2"
    code = fat_binary(("sm_75", 64), ("sm_80", 64), ("sm_86", 64), ("sm_90", 64), ("sm_100", 64), ("sm_120", 64))
    files = wheel(
        SITE,
        "torch",
        version,
        requires=[
            'nvidia-cudnn-cu13==9.24.0.43; platform_system == "Linux"',
            'triton==3.9.0+git1a2b3c4d; platform_system == "Linux"',
        ],
        files={"torch/version.py": f"__version__ = '{version}'\ncuda: Optional[str] = '{cuda}'\n"},
    )
    files |= wheel(SITE, "triton", "3.9.0+git1a2b3c4d") | nvidia_wheel(SITE, "nvidia-cudnn-cu13", "9.24.0.43")
    files |= nvidia_wheel(SITE, "nvidia-cublas", "13.2.0.9") | numpy(SITE)
    files |= wheel(
        SITE,
        "torchvision",
        "0.31.0.dev20261120+cu132",
        requires=["numpy", "torch==2.16.0.dev20261120"],
        files={"torchvision/version.py": "__version__ = '0.31.0.dev20261120+cu132'\n"},
    )
    files[f"{SITE}/torch/lib/libtorch_cuda.so"] = shared_object(
        needed=["libcudnn.so.9", "libcublas.so.13"],
        rpath="$ORIGIN/../../nvidia/cudnn/lib:$ORIGIN/../../nvidia/cu13/lib",
        sections={".nv_fatbin": code},
    )
    return machine(folder, venv(VENV, files), active())


@healthy()
def an_environment_of_links_to_the_cache_of_uv(folder: Path) -> MachineTree:
    """uv sync --link-mode symlink: the loader does not follow links when it fills in $ORIGIN."""
    cache = f"{ADA}/.cache/uv/archive-v0"
    files: Files = {}
    for path, content in venv(VENV, tensorflow(SITE), uv=True).items():
        piece = path.removeprefix(f"{SITE}/").replace("/", "-")
        if path.startswith(f"{SITE}/") and path.endswith((".so.2", ".so.11", ".so.12", ".so.9")):
            files[f"{cache}/{piece}/{path.rpartition('/')[2]}"] = content
            files[path] = f"-> {cache}/{piece}/{path.rpartition('/')[2]}"
        else:
            files[path] = content
    return machine(folder, files, active())


@healthy()
def torch_and_jax_together(folder: Path) -> MachineTree:
    files = jax_wheels(SITE, 12, installer="pip") | pip_torch(SITE, "2.9.1+cu128", "12.8")
    other = {path for path in files if ".dist-info/" in path and "nvidia_" in path and "_cu12-12.9" in path}
    newer = ("_cu12-9.16", "_cu12-11.4.1.4", "_cu12-11.7.5", "_cu12-12.5.10", "_cu12-2.28", "_cu12-3.4.5")
    other |= {path for path in files if ".dist-info/" in path and any(one in path for one in newer)}
    return machine(folder, venv(VENV, {path: text for path, text in files.items() if path not in other}), active())


@healthy()
def jax_with_the_libraries_of_the_system(folder: Path) -> MachineTree:
    """jax[cuda12-local]: toolkit and cuDNN of NVIDIA's packages, known to the loader."""
    files = {path: text for path, text in jax_wheels(SITE, 12).items() if "/nvidia" not in path}
    lib = "/usr/local/cuda-12.9/targets/x86_64-linux/lib"
    names = (
        "libcudart.so.12",
        "libcublas.so.12",
        "libcublasLt.so.12",
        "libcufft.so.11",
        "libcusolver.so.11",
        "libcusparse.so.12",
        "libnvJitLink.so.12",
    )
    dnn = "/usr/lib/x86_64-linux-gnu/libcudnn.so.9"
    system: Files = {
        "/usr/local/cuda": "-> cuda-12.9",
        f"{lib}/libnvJitLink.so.12": shared_object(soname="libnvJitLink.so.12"),
        dnn: "-> libcudnn.so.9.16.0",
        "/usr/lib/x86_64-linux-gnu/libcudnn.so.9.16.0": shared_object(soname="libcudnn.so.9"),
        "/usr/lib/x86_64-linux-gnu/libnccl.so.2": shared_object(soname="libnccl.so.2"),
        "/etc/ld.so.cache": ld_cache(
            [
                *(f"{lib}/{name}" for name in names),
                dnn,
                "/usr/lib/x86_64-linux-gnu/libnccl.so.2",
                "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
                "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
            ]
        ),
    }
    return machine(folder, venv(VENV, files), toolkit("12.9.1"), system, active())


@healthy()
def jax_for_cuda_12_in_a_project_of_uv(folder: Path) -> MachineTree:
    project = {
        "/home/ada/train/uv.lock": "",
        "/home/ada/train/pyproject.toml": "",
        "/proc/self/cwd": "-> /home/ada/train",
    }
    parts = venv(VENV, jax_wheels(SITE, 12), uv=True)
    switches = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_PLATFORMS": "cuda,cpu"}
    return machine(folder, parts, project, {"/proc/self/environ": environ(PATH=PATH, **switches)})


@healthy()
def jax_for_cuda_13(folder: Path) -> MachineTree:
    return machine(folder, venv(VENV, jax_wheels(SITE, 13)), active(JAX_PLATFORMS="cuda"), gpus=("B200",))


@healthy()
def tensorflow_with_its_libraries(folder: Path) -> MachineTree:
    return machine(folder, venv(VENV, tensorflow(SITE)), active(TF_CPP_MIN_LOG_LEVEL="1"))


@healthy("tensorflow.cuda-libraries-missing")
def tensorflow_for_the_cpu_where_another_is_in_use(folder: Path) -> MachineTree:
    other = f"{ADA}/.virtualenvs/serve"
    site = site_of(other)
    info = {
        "tensorflow/python/platform/build_info.py": "build_info = {'is_cuda_build': False, 'is_rocm_build': False}\n"
    }
    cpu = wheel(site, "tensorflow-cpu", "2.21.0", files=info) | numpy(site)
    return machine(folder, venv(other, cpu), TORCH, active())


@healthy("tensorflow.cuda-libraries-missing")
def tensorflow_for_the_cpu_beside_jax(folder: Path) -> MachineTree:
    """JAX's users read their data with it, and want it to leave the GPU alone."""
    info = {
        "tensorflow/python/platform/build_info.py": "build_info = {'is_cuda_build': False, 'is_rocm_build': False}\n"
    }
    files = jax_wheels(SITE, 12) | wheel(SITE, "tensorflow-cpu", "2.21.0", files=info)
    return machine(folder, venv(VENV, files), active())


@healthy()
def onnxruntime_with_wheels_for_cuda_13(folder: Path) -> MachineTree:
    files = onnxruntime(SITE, "onnxruntime-gpu", "1.31.1", "13.0")
    for name, version in {
        "cublas": "13.1.1.3",
        "curand": "10.4.0.35",
        "cufft": "12.0.0.61",
        "cuda-runtime": "13.0.96",
        "cuda-nvrtc": "13.0.88",
        "nvjitlink": "13.0.88",
        "cudnn-cu13": "9.24.0.43",
    }.items():
        files |= nvidia_wheel(SITE, f"nvidia-{name}", version)
    return machine(folder, venv(VENV, files), active())


@healthy("onnxruntime.cpu-only")
def onnxruntime_for_the_cpu(folder: Path) -> MachineTree:
    return machine(folder, venv(VENV, onnxruntime(SITE, "onnxruntime", "1.32.0")), active())


@healthy()
def torch_and_onnxruntime_share_their_libraries(folder: Path) -> MachineTree:
    files = pip_torch(SITE, "2.9.1+cu128", "12.8") | onnxruntime(SITE, "onnxruntime-gpu", "1.23.2", "12.8")
    return machine(folder, venv(VENV, files), active())


@healthy()
def all_frameworks_on_the_wheels_of_torch(folder: Path) -> MachineTree:
    """As in a hosted notebook: TensorFlow and JAX take what torch brought."""
    files = pip_torch(SITE, "2.9.1+cu128", "12.8")
    for one in (tensorflow(SITE), jax_wheels(SITE, 12)):
        files |= {path: text for path, text in one.items() if "/nvidia" not in path}
    return machine(folder, venv(VENV, files), active())


@healthy()
def cupy_with_its_toolkit(folder: Path) -> MachineTree:
    return machine(folder, venv(VENV, cupy(SITE)), active())


@healthy()
def cupy_with_the_toolkit_that_cuda_path_names(folder: Path) -> MachineTree:
    """cuda-pathfinder looks there, whatever the loader knows."""
    files = {path: text for path, text in cupy(SITE).items() if "/nvidia" not in path}
    return machine(
        folder,
        venv(VENV, files),
        toolkit("13.0.2", folder="/opt/nvidia/cuda", gcc=15),
        active(CUDA_PATH="/opt/nvidia/cuda"),
    )


@healthy("cuda.home-missing", "numba.nvvm-missing")
def vllm_and_what_is_compiled_for_its_torch(folder: Path) -> MachineTree:
    """No toolkit: vllm brings its kernels, and asks for flashinfer that compiles others when somebody chooses it."""
    asked = [
        "torch==2.9.1",
        "torchvision==0.24.1",
        "torchaudio==2.9.1",
        "xformers==0.0.33.post2; platform_system == 'Linux'",
        "flashinfer-python==0.5.3",
        "numba==0.61.2",
        "numpy",
    ]
    files = pip_torch(SITE, "2.9.1+cu128", "12.8") | wheel(SITE, "vllm", "0.13.0", requires=asked)
    files |= wheel(
        SITE,
        "xformers",
        "0.0.33.post2",
        requires=["numpy", "torch>=2.9"],
        files={"xformers/cpp_lib.json": '{"version": {"cuda": 1208, "torch": "2.9.0+cu128"}}'},
    )
    files |= wheel(SITE, "flashinfer-python", "0.5.3", requires=["torch", "numpy"])
    files |= wheel(SITE, "numba", "0.61.2", requires=["llvmlite<0.45,>=0.44.0dev0", "numpy<2.4,>=1.24"]) | wheel(
        SITE, "llvmlite", "0.44.0"
    )
    return machine(folder, venv(VENV, files), active(), gpus=("H200",))


@healthy("cuda.nvcc-mismatch")
def flash_attn_from_a_ready_wheel_beside_debians_nvcc(folder: Path) -> MachineTree:
    address = "https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/flash_attn-2.8.3%2Bcu12torch2.9cxx11abiTRUE-cp311-cp311-linux_x86_64.whl"
    files = pip_torch(SITE, "2.9.1+cu128", "12.8") | flash_attn(SITE, address=address)
    return machine(folder, venv(VENV, files), debians_toolkit(), active())


@healthy("cuda.nvcc-mismatch")
def flash_attn_of_a_package_index_with_its_build_in_the_version(folder: Path) -> MachineTree:
    files = pip_torch(SITE, "2.9.1+cu128", "12.8") | flash_attn(SITE, "2.8.3+cu12torch2.9cxx11abiTRUE")
    return machine(folder, venv(VENV, files), debians_toolkit(), active())


@healthy()
def flash_attn_compiled_here_after_torch(folder: Path) -> MachineTree:
    parts = (toolkit("12.8.1"), {"/usr/local/cuda": "-> cuda-12.8"})
    files = pip_torch(SITE, "2.9.1+cu128", "12.8") | flash_attn(SITE)
    return machine(folder, venv(VENV, files), *parts, active(CUDA_HOME="/usr/local/cuda"))


@healthy()
def bitsandbytes(folder: Path) -> MachineTree:
    content = {f"bitsandbytes/libbitsandbytes_cuda{number}.so": "" for number in (118, 120, 126, 128, 129, 130)}
    files = pip_torch(SITE, "2.9.1+cu128", "12.8") | wheel(
        SITE, "bitsandbytes", "0.48.2", requires=["torch<3,>=2.3", "numpy>=1.17"], files=content
    )
    files |= wheel(SITE, "accelerate", "1.12.0", requires=["numpy<3.0.0,>=1.17", "torch>=2.0.0"])
    return machine(folder, venv(VENV, files), active())


@healthy("python.pin-broken")
def a_newer_cudnn_than_torch_pins(folder: Path) -> MachineTree:
    """As the notes of torch 2.9 advise against slow 3D convolutions."""
    files = pip_torch(SITE, "2.9.1+cu128", "12.8")
    files = {path: text for path, text in files.items() if "nvidia_cudnn" not in path and "/nvidia/cudnn/" not in path}
    return machine(folder, venv(VENV, files, nvidia_wheel(SITE, "nvidia-cudnn-cu12", "9.15.1.9")), active())


@healthy()
def rapids(folder: Path) -> MachineTree:
    files = (
        cupy(SITE)
        | wheel(SITE, "numba", "0.61.2", requires=["llvmlite<0.45,>=0.44.0dev0", "numpy<2.4,>=1.24"])
        | wheel(SITE, "llvmlite", "0.44.0")
    )
    files |= wheel(
        SITE,
        "numba-cuda",
        "0.22.1",
        requires=["numba>=0.60.0", "cuda-bindings<14.0.0,>=12.9.1", 'nvidia-nvvm==13.*; extra == "cu13"'],
    )
    files |= wheel(
        SITE,
        "cudf-cu13",
        "25.12.0",
        requires=[
            "cupy-cuda13x!=14.0.0,>=13.6.0",
            "numba-cuda[cu13]<0.23.0,>=0.22.1",
            "numba<0.62.0,>=0.60.0",
            "numpy<3.0,>=1.23",
            "rmm-cu13==25.12.*",
        ],
    )
    files |= wheel(SITE, "rmm-cu13", "25.12.0", requires=["numpy<3.0,>=1.23", "cuda-python<14.0,>=13.0.1"]) | wheel(
        SITE, "cuda-bindings", "13.0.3"
    )
    files |= wheel(
        SITE,
        "nvidia-nvvm",
        "13.0.88",
        files={"nvidia/cu13/lib/libnvvm.so.4": shared_object(), "nvidia/cu13/nvvm/libdevice/libdevice.10.bc": ""},
    )
    return machine(folder, venv(VENV, files), active())


@healthy()
def a_tool_of_uv(folder: Path) -> MachineTree:
    prefix = f"{ADA}/.local/share/uv/tools/vllm"
    return machine(folder, venv(prefix, pip_torch(site_of(prefix), "2.9.1+cu128", "12.8", installer="uv"), uv=True))
