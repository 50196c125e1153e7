"""Machines on which all is well: environments of conda, with packages of conda-forge and with wheels."""

from pathlib import Path

from family_machines import Files
from healthy_environments import PATH, VENV, environ, healthy, machine, pip_torch, toolkit
from healthy_frameworks import BASE, BUILD_INFO, FORGE, TORCH, conda, conda_active, conda_torch, cupy
from python_trees import interpreter, site_of, torch_wheel, wheel
from shared_objects import shared_object

from gpudoctor.testing import MachineTree


@healthy()
def torch_of_conda_forge(folder: Path) -> MachineTree:
    return machine(folder, conda_torch(FORGE), conda(BASE, "3.13"), conda_active(FORGE, CONDA_EXE=f"{BASE}/bin/conda"))


@healthy()
def a_module_of_a_cluster_beside_conda(folder: Path) -> MachineTree:
    """`module load cuda/12.2` sets these variables for everybody."""
    root = "/opt/cuda-12.2"
    loaded = conda_active(FORGE, LD_LIBRARY_PATH=f"{root}/lib64", CUDA_HOME=root, CUDA_PATH=root)
    return machine(folder, conda_torch(FORGE), conda(BASE, "3.13"), toolkit("12.2.2", folder=root, gcc=12), loaded)


@healthy()
def wheels_in_an_environment_of_conda(folder: Path) -> MachineTree:
    torch = pip_torch(site_of(FORGE, "3.12"), "2.9.1+cu128", "12.8")
    return machine(folder, conda(FORGE), torch, conda(BASE, "3.13"), conda_active(FORGE))


@healthy("torch.cpu-only")
def a_venv_over_condas_base(folder: Path) -> MachineTree:
    """conda activates its base in every shell; the venv that was activated after it is the one that is meant."""
    site = site_of(BASE, "3.13")
    cpu = torch_wheel(site, "2.9.1", None, installer="conda")
    variables = environ(CONDA_PREFIX=BASE, VIRTUAL_ENV=VENV, PATH=f"{VENV}/bin:{BASE}/bin:{BASE}/condabin:{PATH}")
    return machine(folder, conda(BASE, "3.13"), cpu, TORCH, {"/proc/self/environ": variables})


@healthy()
def cupy_of_conda_forge(folder: Path) -> MachineTree:
    site = site_of(FORGE, "3.12")
    files = (
        conda(FORGE)
        | wheel(site, "cupy", "13.6.0", installer="conda", requires=["numpy>=1.22,<2.6", "fastrlock"])
        | wheel(site, "numpy", "2.2.6", installer="conda")
    )
    for record in (
        "cupy-13.6.0-py312h1acd1a8_2",
        "cupy-core-13.6.0-py312h1acd1a8_2",
        "cuda-version-12.9-h4f385c5_3",
        "cuda-nvrtc-12.9.86-h5888daf_0",
        "libcublas-12.9.1.4-h676940d_1",
    ):
        files[f"{FORGE}/conda-meta/{record}.json"] = "{}"
    files[f"{site}/cupy_backends/cuda/libs/cublas.cpython-312-x86_64-linux-gnu.so"] = shared_object(
        needed=["libcublas.so.12"], rpath="$ORIGIN/../../../../../.."
    )
    return machine(folder, files, conda_active(FORGE))


@healthy()
def cupy_from_pypi_with_the_libraries_of_conda(folder: Path) -> MachineTree:
    site = site_of(FORGE, "3.12")
    files = {path: text for path, text in cupy(site).items() if "/nvidia" not in path} | conda(FORGE)
    for name in ("libcublas.so.13", "libcublasLt.so.13", "libcufft.so.12", "libnvrtc.so.13"):
        files[f"{FORGE}/lib/{name}"] = shared_object(soname=name)
    files |= {
        f"{FORGE}/targets/x86_64-linux/include/cuda_fp16.h": "",
        f"{FORGE}/conda-meta/cuda-version-13.0-hffde075_3.json": "{}",
    }
    files |= {f"{FORGE}/conda-meta/{one}-13.0.2-h676940d_0.json": "{}" for one in ("libcublas", "cuda-nvrtc")}
    return machine(folder, files, conda_active(FORGE))


@healthy()
def tensorflow_of_conda_forge(folder: Path) -> MachineTree:
    site = site_of(FORGE, "3.12")
    info = BUILD_INFO.replace("12.5.1", "12.9")
    files = conda(FORGE) | wheel(
        site,
        "tensorflow",
        "2.19.1",
        installer="conda",
        requires=["numpy<2.2.0,>=1.26.0", 'nvidia-cublas-cu12==12.5.3.2; extra == "and-cuda"'],
        files={"tensorflow/python/platform/build_info.py": info},
    )
    files |= wheel(site, "numpy", "2.1.3", installer="conda")
    for name in (
        "libcudart.so.12",
        "libcublas.so.12",
        "libcublasLt.so.12",
        "libcufft.so.11",
        "libcusolver.so.11",
        "libcusparse.so.12",
        "libcudnn.so.9",
    ):
        files[f"{FORGE}/lib/{name}.10.1"] = shared_object(soname=name)
        files[f"{FORGE}/lib/{name}"] = f"-> {name}.10.1"
    for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2"):
        files[f"{FORGE}/lib/{name}"] = shared_object(soname=name, rpath="$ORIGIN/.")
        files[f"{site}/tensorflow/{name}"] = f"-> ../../../{name}"
    files |= {
        f"{FORGE}/conda-meta/{one}.json": "{}"
        for one in (
            "tensorflow-2.19.1-cuda129py312h7d60f06_200",
            "cuda-version-12.9-h4f385c5_3",
            "cudnn-9.10.1.4-h7646684_0",
        )
    }
    return machine(folder, files, conda_active(FORGE))


@healthy()
def an_image_with_conda(folder: Path) -> MachineTree:
    prefix = "/opt/conda"
    files: Files = {
        "/.dockerenv": "",
        "/proc/self/environ": environ(
            HOME="/root",
            PATH=f"{prefix}/bin:/usr/local/nvidia/bin:/usr/local/cuda/bin:{PATH}",
            LD_LIBRARY_PATH="/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
        ),
    }
    return machine(folder, conda(prefix), pip_torch(site_of(prefix, "3.12"), "2.9.1+cu128", "12.8"), files)


@healthy()
def cuda_home_of_conda(folder: Path) -> MachineTree:
    files = conda_torch(FORGE) | {
        f"{FORGE}/bin/nvcc": interpreter(),
        f"{FORGE}/bin/x86_64-conda-linux-gnu-gcc": interpreter(),
        f"{FORGE}/targets/x86_64-linux/include/cuda.h": "#define CUDA_VERSION 12060\n",
        f"{FORGE}/conda-meta/cuda-nvcc-12.6.85-hcdd1206_0.json": "{}",
        f"{FORGE}/conda-meta/cuda-nvcc-tools-12.6.85-he02047a_0.json": "{}",
    }
    return machine(folder, files, conda(BASE, "3.13"), conda_active(FORGE, CUDA_HOME=FORGE))
