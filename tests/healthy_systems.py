"""Machines on which all is well: distributions, images, clusters and boards."""

from pathlib import Path

import healthy_places
from disk_trees import disk
from family_machines import Files
from healthy_environments import PATH, SITE, VENV, active, environ, healthy, machine, numpy, pip_torch, toolkit
from healthy_frameworks import ADA, NGC, TORCH, ngc_torch, onnxruntime
from healthy_parts import ld_cache
from python_trees import interpreter, site_of, torch_wheel, venv, wheel
from shared_objects import fat_binary, shared_object

from gpudoctor.testing import MachineTree


@healthy()
def an_image_of_nvidia(folder: Path) -> MachineTree:
    """docker run --gpus all nvcr.io/nvidia/pytorch:25.09-py3 on a driver of the same release."""
    return _image(folder, "580.82.07")


@healthy("cuda.driver-too-old")
def an_image_that_is_newer_than_the_driver(folder: Path) -> MachineTree:
    """Its start puts the compatibility library that it brings into force."""
    return _image(folder, "570.195.03", library=f"{_COMPAT}/lib/libcuda.so.1")


_COMPAT = "/usr/local/cuda/compat"


def _image(folder: Path, driver: str, *, library: str = "") -> MachineTree:
    libraries = [
        f"/usr/local/cuda/targets/x86_64-linux/lib/{name}"
        for name in ("libcublas.so.13", "libcudart.so.13", "libcupti.so.13")
    ]
    multiarch = [f"/usr/lib/x86_64-linux-gnu/{name}" for name in ("libcudnn.so.9", "libnccl.so.2")]
    files: Files = {path: shared_object(soname=path.rpartition("/")[2]) for path in multiarch}
    files |= {
        "/.dockerenv": "",
        "/usr/bin/python3.12": interpreter(),
        "/usr/bin/python3": "-> python3.12",
        "/usr/bin/python": "-> python3",
        "/usr/include/python3.12/Python.h": "",
        "/usr/lib/python3.12/EXTERNALLY-MANAGED": "[externally-managed]\n",
        "/usr/local/cuda": "-> cuda-13.0",
        "/usr/local/cuda-13.0/compat/lib.real/libcuda.so.1": "-> libcuda.so.580.82.07",
        "/usr/local/cuda-13.0/compat/lib.real/libcuda.so.580.82.07": shared_object(soname="libcuda.so.1"),
        "/etc/ld.so.cache": ld_cache(
            [
                *libraries,
                *multiarch,
                "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
                "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
            ]
        ),
        "/proc/self/environ": environ(
            PATH=f"{NGC}/torch_tensorrt/bin:/usr/local/cuda/bin:/usr/local/sbin:{PATH}",
            LD_LIBRARY_PATH=f"{NGC}/torch/lib:{NGC}/torch_tensorrt/lib:{_COMPAT}/lib:/usr/local/nvidia/lib64",
            CUDA_HOME="/usr/local/cuda",
            CUDA_VERSION="13.0.1.012",
            CUDNN_VERSION="9.13.0.50",
            NCCL_VERSION="2.27.7",
            NVIDIA_VISIBLE_DEVICES="all",
            NVIDIA_DRIVER_CAPABILITIES="compute,utility,video",
            TORCH_CUDA_ARCH_LIST="7.5 8.0 8.6 9.0 10.0 12.0+PTX",
            PYTORCH_VERSION="2.9.0a0+50eac81",
            TRITON_PTXAS_PATH="/usr/local/cuda/bin/ptxas",
            CUDA_MODULE_LOADING="LAZY",
        ),
    }
    if library:
        files["/usr/local/cuda-13.0/compat/lib"] = "-> lib.real"
    parts = (ngc_torch(), toolkit("13.0.1", gcc=15), files)
    return machine(folder, *parts, gpus=("H200",), driver=driver, library=library, serves=13000)


@healthy()
def a_venv_over_the_packages_of_an_image(folder: Path) -> MachineTree:
    made = an_image_of_nvidia(folder)
    prefix = "/workspace/.venv"
    site = site_of(prefix, "3.12")
    files = venv(
        prefix, wheel(site, "accelerate", "1.12.0", requires=["torch>=2.0.0", "numpy<3.0.0,>=1.17"]), python="3.12.3"
    )
    files[f"{prefix}/pyvenv.cfg"] = "home = /usr/bin\ninclude-system-site-packages = true\nversion = 3.12.3\n"
    del files["/usr/bin/python3.12"]
    old = (
        (folder / "proc/self/environ")
        .read_text()
        .replace("PATH=/usr/local/lib", f"PATH={prefix}/bin:/usr/local/lib", 1)
    )
    disk(folder, files)
    (folder / "proc/self/environ").write_text(f"VIRTUAL_ENV={prefix}\0{old}")
    return made


@healthy()
def an_image_of_pytorch(folder: Path) -> MachineTree:
    """pytorch/pytorch since 2.8: PyPI's wheels in Ubuntu's own Python."""
    files: Files = {
        "/.dockerenv": "",
        "/usr/bin/python3.12": interpreter(),
        "/usr/bin/python3": "-> python3.12",
        "/usr/include/python3.12/Python.h": "",
        "/usr/lib/python3.12/EXTERNALLY-MANAGED": "",
        "/usr/lib/python3/dist-packages/": "",
        "/proc/self/environ": environ(
            PATH=PATH,
            LD_LIBRARY_PATH="/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
            NVIDIA_VISIBLE_DEVICES="all",
            NVIDIA_REQUIRE_CUDA="cuda>=12.8",
        ),
    }
    return machine(folder, files, pip_torch(NGC, "2.9.1+cu128", "12.8"))


@healthy("torch.cpu-only")
def debians_own_torch_beside_an_active_venv(folder: Path) -> MachineTree:
    site = "/usr/lib/python3/dist-packages"
    files = torch_wheel(site, "2.6.0", None, installer="debian", requires=["filelock", "numpy"])
    files |= wheel(site, "torchvision", "0.21.0", installer="debian", requires=["numpy", "torch"]) | wheel(
        site, "numpy", "2.2.4", installer="debian"
    )
    files |= {"/usr/bin/python3": "-> python3.11", "/usr/lib/python3.11/EXTERNALLY-MANAGED": ""}
    return machine(folder, files, TORCH, active())


@healthy("torch.cpu-only")
def gpudoctor_of_a_distribution(folder: Path) -> MachineTree:
    """It runs in the system's Python, which says nothing about whose frameworks are meant."""
    made = debians_own_torch_beside_an_active_venv(folder)
    disk(folder, {"/proc/self/cmdline": "/usr/bin/python3\0/usr/bin/gpudoctor\0check\0"})
    return made


@healthy()
def torch_of_arch_linux(folder: Path) -> MachineTree:
    """python-pytorch-cuda is compiled by the distribution for more GPUs than PyPI's is."""
    site = "/usr/lib/python3.11/site-packages"
    code = fat_binary(("sm_60", 64), ("sm_70", 64), ("sm_75", 64), ("sm_80", 64), ("compute_80", 64))
    files = torch_wheel(site, "2.9.1", "12.8", installer="") | numpy(site)
    files[f"{site}/torch/lib/libtorch_cuda.so"] = shared_object(
        needed=["libcudart.so.12"], runpath="/opt/cuda/lib64", sections={".nv_fatbin": code}
    )
    files |= wheel(site, "torchvision", "0.25.0", requires=["numpy", "torch"], installer="")
    files |= {"/usr/bin/python3.11": interpreter(), "/usr/bin/python3": "-> python3.11"}
    return machine(folder, files, toolkit("12.9.1", folder="/opt/cuda"), gpus=("P100",))


@healthy()
def packages_of_the_user_for_the_systems_python(folder: Path) -> MachineTree:
    site = f"{ADA}/.local/lib/python3.11/site-packages"
    base = {
        "/usr/bin/python3.11": interpreter(),
        "/usr/bin/python3": "-> python3.11",
        "/usr/lib/python3.11/os.py": "",
        "/usr/lib/python3/dist-packages/": "",
    }
    own = wheel("/usr/lib/python3/dist-packages", "numpy", "1.24.2", installer="debian")
    return machine(folder, base, own, pip_torch(site, "2.9.1+cu128", "12.8"))


@healthy()
def pyenv(folder: Path) -> MachineTree:
    prefix = f"{ADA}/.pyenv/versions/3.12.8"
    files = pip_torch(site_of(prefix, "3.12"), "2.9.1+cu128", "12.8")
    files |= {
        f"{prefix}/bin/python3.12": interpreter(),
        f"{prefix}/bin/python3": "-> python3.12",
        f"{prefix}/bin/python": "-> python3.12",
    }
    files |= {
        f"{ADA}/.pyenv/shims/python3": "#!/usr/bin/env bash\n",
        f"{ADA}/.pyenv/version": "3.12\n",
        f"{prefix}/include/python3.12/Python.h": "",
    }
    return machine(
        folder, files, {"/proc/self/environ": environ(PATH=f"{ADA}/.pyenv/shims:{PATH}", PYENV_ROOT=f"{ADA}/.pyenv")}
    )


@healthy()
def a_torch_of_the_clusters_own_build(folder: Path) -> MachineTree:
    """EasyBuild and Spack compile for the GPUs of the cluster; their version has no local part. Here for P100s."""
    apps = "/apps/software"
    prefix, torch = f"{apps}/Python/3.11.5-GCCcore-13.2.0", f"{apps}/PyTorch/2.9.1-foss-2023b-CUDA-12.9.1"
    site = site_of(torch)
    code = fat_binary(("sm_60", 64), ("sm_61", 64), ("sm_70", 64))
    names = {"CUDA/12.9.1": "libcublas.so.12", "cuDNN/9.10.1": "libcudnn.so.9", "NCCL/2.27.3": "libnccl.so.2"}
    files = torch_wheel(site, "2.9.1", "12.8", requires=["numpy"]) | numpy(site)
    files[f"{site}/torch/lib/libtorch_cuda.so"] = shared_object(
        needed=list(names.values()), rpath="$ORIGIN", sections={".nv_fatbin": code}
    )
    for module, name in names.items():
        files[f"{apps}/{module}/lib/{name}.{module.partition('/')[2].partition('.')[2]}"] = shared_object(soname=name)
        files[f"{apps}/{module}/lib/{name}"] = f"-> {name}.{module.partition('/')[2].partition('.')[2]}"
    files |= {
        f"{prefix}/bin/python3.11": interpreter(),
        f"{prefix}/bin/python3": "-> python3.11",
        f"{prefix}/include/python3.11/Python.h": "",
        f"{site_of(prefix)}/": "",
    }
    variables = environ(
        PATH=f"{prefix}/bin:{PATH}",
        PYTHONPATH=site,
        LD_LIBRARY_PATH=":".join(f"{apps}/{module}/lib" for module in names),
    )
    return machine(folder, files, {"/proc/self/environ": variables}, gpus=("P100", "P100"))


@healthy()
def torch_in_wsl(folder: Path) -> MachineTree:
    made = healthy_places.wsl(folder, 1000)
    disk(folder, TORCH | active() | {"/usr/include/python3.11/Python.h": ""})
    (folder / "usr/bin/gcc-13").chmod(0o755)
    return made


@healthy()
def torch_on_a_jetson(folder: Path) -> MachineTree:
    made = healthy_places.jetpack_6(folder, 1000)
    code = fat_binary(("sm_87", 64), ("compute_87", 64))
    site = site_of(VENV, "3.10")
    version = "2.5.0a0+872d972e41.nv24.8"
    text = f"__version__ = '{version}'\ncuda: Optional[str] = '12.6'\n"
    files = wheel(site, "torch", version, requires=["filelock", "numpy"], files={"torch/version.py": text}) | wheel(
        site, "numpy", "1.26.1"
    )
    files |= wheel(site, "torchvision", "0.20.0a0+afc54f7", requires=["numpy", "torch==2.5.0a0+872d972e41.nv24.8"])
    needed = ["libcublas.so.12", "libcudnn.so.9", "libcudart.so.12"]
    own = "/usr/local/cuda-12.6/targets/aarch64-linux/lib"
    libraries = {
        f"{own}/{name}": shared_object(soname=name, machine=183) for name in ("libcublas.so.12", "libcudart.so.12")
    }
    libraries["/usr/lib/aarch64-linux-gnu/libcudnn.so.9"] = shared_object(soname="libcudnn.so.9", machine=183)
    files[f"{site}/torch/lib/libtorch_cuda.so"] = shared_object(
        needed=needed, runpath="$ORIGIN:/usr/local/cuda/lib64", machine=183, sections={".nv_fatbin": code}
    )
    tegra = "/usr/lib/aarch64-linux-gnu"
    cached = [f"{tegra}/libcuda.so.1", f"{tegra}/nvidia/libnvidia-ml.so.1", *libraries]
    (folder / "etc/ld.so.cache").write_bytes(ld_cache(cached))
    made_venv = venv(VENV, files, python="3.10.12")
    arm = interpreter()[:18] + b"\xb7\0" + interpreter()[20:]
    disk(
        folder, made_venv | libraries | {"/usr/bin/python3.10": arm, "/usr/include/python3.10/Python.h": ""} | active()
    )
    return made


@healthy("onnxruntime.cpu-only")
def onnxruntime_of_the_system_where_nothing_is_active(folder: Path) -> MachineTree:
    files = onnxruntime("/usr/local/lib/python3.11/dist-packages", "onnxruntime", "1.32.0")
    base = {"/usr/bin/python3.11": interpreter(), "/usr/bin/python3": "-> python3.11", "/usr/lib/python3.11/os.py": ""}
    return machine(folder, files, base)


@healthy()
def onnxruntime_with_the_libraries_of_the_distribution(folder: Path) -> MachineTree:
    """cuda-12-8 and libcudnn9-cuda-12 of NVIDIA's repository."""
    lib, tree = "/usr/local/cuda-12.8/targets/x86_64-linux/lib", "/usr/lib/x86_64-linux-gnu"
    names = ("libcublas.so.12", "libcublasLt.so.12", "libcurand.so.10", "libcufft.so.11", "libcudart.so.12")
    parts = ("", "_graph", "_ops", "_cnn", "_adv", "_heuristic", "_engines_precompiled")
    cudnn = [f"{tree}/libcudnn{part}.so.9" for part in parts]
    files: Files = {"/usr/local/cuda": "-> cuda-12.8"}
    for path in cudnn:
        files[f"{path}.8.0"] = shared_object(soname=path.rpartition("/")[2])
        files[path] = f"-> {path.rpartition('/')[2]}.8.0"
    driver = [f"{tree}/{name}.so.1" for name in ("libcuda", "libnvidia-ml")]
    files["/etc/ld.so.cache"] = ld_cache([*(f"{lib}/{name}" for name in names), *cudnn, *driver])
    own = onnxruntime(SITE, "onnxruntime-gpu", "1.23.2", "12.8")
    return machine(folder, venv(VENV, own), toolkit("12.8.1"), files, active())
