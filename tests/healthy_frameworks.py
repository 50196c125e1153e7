"""Frameworks as their makers and conda-forge lay them out, each with all that it needs."""

from family_machines import Files
from healthy_environments import PATH, SITE, VENV, environ, numpy, nvidia_wheel, pip_torch, torch_needs
from python_trees import interpreter, site_of, torch_wheel, venv, wheel
from shared_objects import fat_binary, shared_object

TORCH = venv(VENV, pip_torch(SITE, "2.9.1+cu128", "12.8"))


def runpath_torch() -> Files:
    """Older releases of torch have a RUNPATH."""
    files = dict(TORCH)
    rpath = ":".join(
        f"$ORIGIN/../../nvidia/{name}/lib"
        for name in (
            "cublas",
            "cuda_runtime",
            "cudnn",
            "nccl",
            "cufft",
            "cusparse",
            "cusparselt",
            "cufile",
            "curand",
            "cuda_nvrtc",
        )
    )
    for name in ("libtorch_cuda.so", "libc10_cuda.so"):
        needed = torch_needs(12) if "torch" in name else ["libcudart.so.12"]
        files[f"{SITE}/torch/lib/{name}"] = shared_object(needed=needed, runpath=rpath)
    return files


ADA = "/home/ada"


BASE = f"{ADA}/miniforge3"


FORGE = f"{BASE}/envs/train"


def conda_torch(prefix: str, version: str = "2.5.1", cuda: str = "12.6", python: str = "3.12") -> Files:
    """conda-forge's: built by conda-forge, with CUDA's libraries in the prefix."""
    site = site_of(prefix, python)
    build, tag = f"cuda{cuda.replace('.', '')}_mkl_py312h30b5a27_306", cuda.replace(".", "")
    files = torch_wheel(site, version, cuda, installer="conda", requires=["numpy", "triton; extra == 'triton'"])
    files |= wheel(site, "torchvision", "0.21.0", installer="conda", requires=["numpy", "torch"])
    files |= wheel(site, "numpy", "2.2.6", installer="conda")
    for record in (
        *(
            f"pytorch-{version}-{build}",
            f"libtorch-{version}-cuda{tag}_mkl_h99b69db_306",
            f"cuda-version-{cuda}-h7480c83_3",
        ),
        *(f"python-{python}.9-h9e4cc4f_1_cpython", "libcublas-12.6.4.1-h5888daf_1", "cudnn-9.10.1.4-h7d33bf5_0"),
        *("nccl-2.27.3.1-h03a54cd_0", f"torchvision-0.21.0-cuda{tag}_py312_0", "numpy-2.2.6-py312h72c5963_0"),
        *("cuda-cudart-12.6.77-h5888daf_0", "triton-3.1.0-cuda126py312h5c8c1a2_5"),
    ):
        files[f"{prefix}/conda-meta/{record}.json"] = '{"name": "x"}'
    code = fat_binary(
        ("sm_50", 64), ("sm_60", 64), ("sm_70", 64), ("sm_80", 64), ("sm_86", 64), ("sm_90", 64), ("compute_90", 64)
    )
    files[f"{site}/torch/lib/libtorch_cuda.so"] = "-> ../../../../libtorch_cuda.so"
    files[f"{prefix}/lib/libtorch_cuda.so"] = shared_object(
        needed=["libcublas.so.12", "libcudnn.so.9", "libnccl.so.2", "libcudart.so.12"],
        rpath="$ORIGIN/.",
        sections={".nv_fatbin": code},
    )
    for name, number in {
        "libcublas.so.12": "6.4.1",
        "libcudnn.so.9": "10.1",
        "libnccl.so.2": "27.3",
        "libcudart.so.12": "6.77",
    }.items():
        files[f"{prefix}/lib/{name}.{number}"] = shared_object(soname=name)
        files[f"{prefix}/lib/{name}"] = f"-> {name}.{number}"
    return files | conda(prefix, python)


def conda(prefix: str, python: str = "3.12") -> Files:
    return {
        f"{prefix}/bin/python{python}": interpreter(),
        f"{prefix}/bin/python": f"-> python{python}",
        f"{prefix}/bin/python3": f"-> python{python}",
        f"{prefix}/include/python{python}/Python.h": "",
        f"{prefix}/conda-meta/history": "",
        f"{prefix}/conda-meta/python-{python}.9-h9e4cc4f_1_cpython.json": "{}",
        f"{prefix}/lib/python{python}/site-packages/": "",
    }


def conda_active(prefix: str, **more: str) -> Files:
    return {
        "/proc/self/environ": environ(CONDA_PREFIX=prefix, CONDA_DEFAULT_ENV="x", PATH=f"{prefix}/bin:{PATH}", **more)
    }


def jax_wheels(site: str, major: int, version: str = "0.9.0", installer: str = "uv") -> Files:
    suffix = "-cu12" if major == 12 else ""
    bounds = {
        "cublas": ("12.1.3.1", "12.9.1.4"),
        "cuda-cupti": ("12.1.105", "12.9.79"),
        "cuda-nvcc": ("12.6.85", "12.9.86"),
        "cuda-runtime": ("12.1.105", "12.9.79"),
        "cudnn": ("9.8", "9.16.0.29"),
        "cufft": ("11.0.2.54", "11.4.1.4"),
        "cusolver": ("11.4.5.107", "11.7.5.82"),
        "cusparse": ("12.1.0.106", "12.5.10.65"),
        "nccl": ("2.18.1", "2.28.9"),
        "nvjitlink": ("12.1.105", "12.9.86"),
        "cuda-nvrtc": ("12.1.55", "12.9.86"),
        "nvshmem": ("3.2.5", "3.4.5"),
    }
    own = {"cudnn", "nccl", "nvshmem"}
    requires, files = [], dict(numpy(site, installer))
    for piece, (least, there) in bounds.items():
        name = f"nvidia-{piece}{f'-cu{major}' if piece in own else suffix}"
        if major == 13 and piece not in own:
            least, there = "13.0.0", "13.0.88"
            if piece in ("cufft", "cusolver"):
                least, there = "12.0.0.61", "12.0.4.66"
            if piece == "cusparse":
                least, there = "12.6.2.49", "12.6.3.3"
        requires.append(
            f'{name}<{int(there.split(".")[0]) + 1}.0,>={least}; sys_platform == "linux" and extra == "with-cuda"'
        )
        files |= nvidia_wheel(site, name, there, installer)
    asked = [
        f"jaxlib<={version},>={version}",
        "numpy>=2.0",
        "ml_dtypes>=0.5.0",
        f'jax-cuda{major}-plugin[with-cuda]<={version},>={version}; extra == "cuda{major}"',
        f'jaxlib<={version},>={version}; extra == "cuda{major}"',
    ]
    files |= wheel(site, "jax", version, requires=asked, installer=installer)
    files |= wheel(site, "jaxlib", version, requires=["numpy>=2.0", "scipy>=1.13"], installer=installer)
    files |= wheel(site, f"jax-cuda{major}-pjrt", version, installer=installer)
    plugin = f"jax-cuda{major}-plugin"
    files |= wheel(site, plugin, version, requires=[f"jax-cuda{major}-pjrt=={version}", *requires], installer=installer)
    folders = (
        "cuda_cupti",
        "cublas",
        "nccl",
        "cuda_runtime",
        "cudnn",
        "cufft",
        "cusolver",
        "cusparse",
        "cu13",
        "nvshmem",
    )
    rpath = ":".join(f"$ORIGIN/../../nvidia/{name}/lib" for name in folders)
    files[f"{site}/jax_plugins/xla_cuda{major}/xla_cuda_plugin.so"] = shared_object(needed=["libc.so.6"], rpath=rpath)
    return files


BUILD_INFO = (
    "build_info = collections.OrderedDict([('cpu_compiler', 'clang 18'), ('cuda_compute_capabilities', ['sm_60',"
    " 'sm_70', 'sm_80', 'sm_89', 'compute_90']), ('cuda_version', '12.5.1'), ('cudnn_version', '9'),"
    " ('is_cuda_build', True), ('is_rocm_build', False)])\n"
)


def tensorflow(site: str, name: str = "tensorflow") -> Files:
    asked = {
        "nvidia-cublas-cu12": "12.9.1.4",
        "nvidia-cuda-cupti-cu12": "12.9.79",
        "nvidia-cuda-nvcc-cu12": "12.9.86",
        "nvidia-cuda-nvrtc-cu12": "12.9.86",
        "nvidia-cuda-runtime-cu12": "12.9.79",
        "nvidia-cudnn-cu12": "9.16.0.29",
        "nvidia-cufft-cu12": "11.4.1.4",
        "nvidia-curand-cu12": "10.3.10.19",
        "nvidia-cusolver-cu12": "11.7.5.82",
        "nvidia-cusparse-cu12": "12.5.10.65",
        "nvidia-nccl-cu12": "2.28.9",
        "nvidia-nvjitlink-cu12": "12.9.86",
        "nvidia-nvshmem-cu12": "3.4.5",
    }
    requires = [
        "numpy>=1.26.0",
        "keras>=3.10.0",
        *(f'{one}<{int(v.split(".")[0]) + 1}.0,>={v.split(".")[0]}.0; extra == "and-cuda"' for one, v in asked.items()),
    ]
    files = wheel(
        site, name, "2.21.0", requires=requires, files={"tensorflow/python/platform/build_info.py": BUILD_INFO}
    )
    for one, version in asked.items():
        files |= nvidia_wheel(site, one, version)
    first = ("nccl", "cuda_cupti", "cublas", "cudnn", "cufft", "cusparse", "cuda_runtime", "nvshmem")
    for library, folders in {"framework": first, "cc": ("cusolver",)}.items():
        runpath = ":".join(f"$ORIGIN/../../nvidia/{one}/lib:$ORIGIN/../nvidia/{one}/lib" for one in folders)
        files[f"{site}/tensorflow/libtensorflow_{library}.so.2"] = shared_object(needed=["libc.so.6"], runpath=runpath)
    return files | wheel(site, "keras", "3.12.0") | numpy(site)


def onnxruntime(site: str, name: str, version: str, cuda: str = "") -> Files:
    capi = "onnxruntime/capi"
    info = f"package_name = '{name}'\n__version__ = '{version}'\n" + (f"cuda_version = '{cuda}'\n" if cuda else "")
    files = wheel(
        site, name, version, requires=["numpy>=1.21.6", "protobuf"], files={f"{capi}/build_and_package_info.py": info}
    )
    if cuda:
        major = int(cuda.split(".")[0])
        needed = [
            f"libcublasLt.so.{major}",
            f"libcublas.so.{major}",
            "libcurand.so.10",
            f"libcufft.so.{major - 1}",
            f"libcudart.so.{major}",
            "libcudnn.so.9",
        ]
        files[f"{site}/{capi}/libonnxruntime_providers_cuda.so"] = shared_object(needed=needed, runpath="$ORIGIN")
    return files | numpy(site)


def cupy(site: str, major: int = 13) -> Files:
    name = f"cupy-cuda{major}x"
    fft = major - 1
    files = wheel(
        site,
        name,
        "14.2.0",
        requires=["numpy<2.6,>=2.0", "cuda-pathfinder==1.*,>=1.3.4"],
        files={"cupy/.data/_wheel.json": f'{{"cuda": "{major}.x"}}'},
    )
    for library, needed in {
        "cublas": [f"libcublas.so.{major}"],
        "cufft": [f"libcufft.so.{fft}"],
        "cutensor": ["libcutensor.so.2"],
        "nvrtc": [],
        "nccl": ["libnccl.so.2"],
    }.items():
        files[f"{site}/cupy_backends/cuda/libs/{library}.cpython-311-x86_64-linux-gnu.so"] = shared_object(
            needed=needed
        )
    for one in ("cublas", "cuda-runtime", "cuda-nvrtc", "cufft", "curand", "cusolver", "cusparse", "nvjitlink"):
        files |= nvidia_wheel(site, f"nvidia-{one}", "13.0.88")
    return files | numpy(site) | wheel(site, "cuda-pathfinder", "1.4.0")


def flash_attn(site: str, version: str = "2.8.3", address: str = "") -> Files:
    files = wheel(site, "flash-attn", version, requires=["torch", "einops"])
    folder = f"{site}/flash_attn-{version}.dist-info"
    files[f"{folder}/RECORD"] = "flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so,sha256=x,1\n"
    if address:
        files[f"{folder}/direct_url.json"] = f'{{"archive_info": {{}}, "url": "{address}"}}'
    return files


def debians_toolkit() -> Files:
    """nvidia-cuda-toolkit 11.8 of bookworm."""
    return {
        "/usr/bin/nvcc": '#!/bin/sh\nexec /usr/lib/nvidia-cuda-toolkit/bin/nvcc "$@"\n',
        "/usr/lib/nvidia-cuda-toolkit/bin/nvcc": interpreter(),
        "/usr/lib/nvidia-cuda-toolkit/bin/gcc": "-> /usr/bin/gcc-11",
        "/usr/bin/gcc-11": interpreter(),
        "/usr/lib/cuda/version.txt": "CUDA Version 11.8.89\n",
        "/usr/include/cuda.h": "#define CUDA_VERSION 11080\n",
        "/usr/include/crt/host_config.h": "#if __GNUC__ > 11\n#error -- unsupported GNU version!\n#endif\n",
        "/usr/lib/x86_64-linux-gnu/libcudart.so.11.8.89": shared_object(soname="libcudart.so.11.0"),
        "/usr/lib/x86_64-linux-gnu/libcudart.so.11.0": "-> libcudart.so.11.8.89",
    }


NGC = "/usr/local/lib/python3.12/dist-packages"


def ngc_torch(version: str = "2.9.0a0+50eac811a6.nv25.09", python: str = "3.12") -> Files:
    """The frameworks of NVIDIA's own images, built by NVIDIA."""
    code = fat_binary(
        ("sm_75", 64), ("sm_80", 64), ("sm_86", 64), ("sm_90", 64), ("sm_100", 64), ("sm_120", 64), ("compute_120", 64)
    )
    site = f"/usr/local/lib/python{python}/dist-packages"
    text = f"__version__ = '{version}'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n"
    files = wheel(site, "torch", version, requires=["filelock", "sympy>=1.13.3"], files={"torch/version.py": text})
    files[f"{site}/torch/lib/libtorch_cuda.so"] = shared_object(
        needed=["libcublas.so.13", "libcudnn.so.9", "libnccl.so.2", "libcudart.so.13", "libcupti.so.13"],
        runpath="$ORIGIN:/usr/local/cuda/lib64",
        sections={".nv_fatbin": code},
    )
    files |= wheel(
        site,
        "torchvision",
        "0.24.0a0+094e7af5",
        requires=["numpy", "torch", "pillow"],
        files={"torchvision/version.py": "__version__ = '0.24.0a0+094e7af5'\n"},
    )
    files |= wheel(site, "torch-tensorrt", "2.9.0a0", requires=["torch==2.9.0a0+50eac811a6.nv25.9", "numpy"])
    files |= wheel(site, "transformer-engine", "2.7.0", requires=["torch"]) | wheel(
        site, "flash-attn", "2.7.4.post1", requires=["torch"]
    )
    files |= wheel(site, "pytorch-triton", "3.4.0+gitc817b9b6", requires=["setuptools"]) | wheel(
        site, "numpy", "1.26.4"
    )
    files |= wheel(site, "lightning-thunder", "0.2.5.dev0", requires=["torch>=2.9.0"])
    return files


def kernel_json(program: str) -> str:
    return f'{{"argv": ["{program}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"], "language": "python"}}'
