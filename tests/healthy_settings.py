"""Machines on which all is well: toolkits, and variables that are set rightly."""

import json
from pathlib import Path

from family_machines import Files
from healthy_environments import (
    DRIVER,
    KINDS,
    PATH,
    SITE,
    VENV,
    Kind,
    active,
    healthy,
    machine,
    numpy,
    nvidia_wheel,
    pip_torch,
    toolkit,
)
from healthy_frameworks import ADA, TORCH, debians_toolkit, kernel_json, runpath_torch, tensorflow
from python_trees import interpreter, site_of, venv, wheel
from shared_objects import shared_object

from gpudoctor.testing import MachineTree


@healthy("env.library-path-shadows")
def a_toolkit_of_the_same_release_in_the_library_path(folder: Path) -> MachineTree:
    parts = (toolkit("12.8.1"), {"/usr/local/cuda": "-> cuda-12.8"}, runpath_torch())
    return machine(folder, *parts, active(LD_LIBRARY_PATH="/usr/local/cuda/lib64", PATH=f"/usr/local/cuda/bin:{PATH}"))


@healthy("cuda.nvcc-mismatch")
def a_toolkit_in_the_library_path_of_a_torch_with_rpath(folder: Path) -> MachineTree:
    parts = (TORCH, toolkit("11.8.0", gcc=12), {"/usr/local/cuda": "-> cuda-11.8"})
    return machine(folder, *parts, active(LD_LIBRARY_PATH="/usr/local/cuda/lib64"))


@healthy("env.library-path-shadows")
def a_newer_toolkit_in_the_library_path(folder: Path) -> MachineTree:
    parts = (toolkit("12.9.1"), {"/usr/local/cuda": "-> cuda-12.9"}, runpath_torch())
    return machine(folder, *parts, active(LD_LIBRARY_PATH="/usr/local/cuda/lib64:/usr/local/cuda/extras/CUPTI/lib64:"))


@healthy("cuda.nvcc-mismatch")
def a_toolkit_of_another_major_in_the_library_path(folder: Path) -> MachineTree:
    parts = (toolkit("13.0.2", gcc=15), {"/usr/local/cuda": "-> cuda-13.0"}, TORCH)
    return machine(folder, *parts, active(LD_LIBRARY_PATH="/usr/local/cuda-13.0/lib64"))


@healthy()
def the_library_path_leads_to_the_wheels_themselves(folder: Path) -> MachineTree:
    """An old recipe for TensorFlow, kept in bin/activate."""
    folders = ":".join(f"{SITE}/nvidia/{one}/lib" for one in ("cudnn", "cublas", "cuda_runtime", "nvjitlink"))
    return machine(folder, venv(VENV, tensorflow(SITE)), active(LD_LIBRARY_PATH=f"{folders}:"))


@healthy("cuda.nvcc-mismatch")
def debians_own_nvcc_beside_torch(folder: Path) -> MachineTree:
    return machine(folder, TORCH, debians_toolkit(), active())


@healthy()
def two_toolkits_through_alternatives(folder: Path) -> MachineTree:
    links = {
        "/usr/local/cuda": "-> /etc/alternatives/cuda",
        "/etc/alternatives/cuda": "-> /usr/local/cuda-12.8",
        "/etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n",
        "/etc/ld.so.conf.d/988_cuda-11.conf": "/usr/local/cuda-11/targets/x86_64-linux/lib\n",
        "/usr/local/cuda-11": "-> cuda-11.8",
        "/usr/local/cuda-12": "-> cuda-12.8",
    }
    torch = venv(VENV, pip_torch(SITE, "2.9.1+cu126", "12.6"))
    parts = (toolkit("11.8.0", gcc=11), toolkit("12.8.1"), links, torch)
    return machine(folder, *parts, active(PATH=f"/usr/local/cuda/bin:{PATH}", CUDA_HOME="/usr/local/cuda"))


@healthy("cuda.nvcc-mismatch")
def the_newest_toolkit_with_the_newest_gcc(folder: Path) -> MachineTree:
    gcc = {
        "/usr/bin/gcc-15": interpreter(),
        "/usr/local/bin/gcc": "-> /usr/bin/gcc-15",
        "/usr/local/cuda": "-> cuda-13.1",
    }
    return machine(folder, toolkit("13.1.0", gcc=15), gcc, TORCH, active(PATH=f"/usr/local/cuda/bin:{PATH}"))


@healthy()
def the_toolkit_of_wheels(folder: Path) -> MachineTree:
    files = pip_torch(SITE, "2.9.1+cu128", "12.8") | nvidia_wheel(SITE, "nvidia-cuda-nvcc-cu12", "12.8.93")
    files |= {f"{SITE}/nvidia/cuda_nvcc/bin/ptxas": interpreter()}
    return machine(folder, venv(VENV, files), active())


@healthy()
def numba_with_a_toolkit(folder: Path) -> MachineTree:
    files = wheel(SITE, "numba", "0.61.2", requires=["numpy<2.4,>=1.24"]) | numpy(SITE)
    return machine(folder, venv(VENV, files), toolkit("12.8.1"), {"/usr/local/cuda": "-> cuda-12.8"}, active())


def _switches(**variables: str) -> Kind:
    return lambda folder: machine(folder, TORCH, active(**variables), gpus=("A100", "A100"))


UUID = "GPU-5f7a3a0e-1111-2222-3333-444455556660"


SETTINGS = {
    "one_gpu": {"CUDA_VISIBLE_DEVICES": "0"},
    "both_gpus": {"CUDA_VISIBLE_DEVICES": "0,1"},
    "both_gpus_with_a_blank": {"CUDA_VISIBLE_DEVICES": "1, 0"},
    "a_uuid": {"CUDA_VISIBLE_DEVICES": UUID},
    "a_mig_instance": {"CUDA_VISIBLE_DEVICES": "MIG-3f7a3a0e-1111-2222-3333-444455556660"},
    "an_old_mig_instance": {"CUDA_VISIBLE_DEVICES": f"MIG-{UUID}/1/0"},
    "the_order_of_the_bus": {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
    "harmless_switches": {
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": ".75",
        "XLA_FLAGS": "--xla_gpu_deterministic_ops=true",
        "JAX_PLATFORMS": "cuda",
        "NCCL_DEBUG": "INFO",
        "NCCL_SOCKET_IFNAME": "^docker,lo",
        "TORCH_CUDA_ARCH_LIST": "8.0;9.0+PTX",
        "CUDA_LAUNCH_BLOCKING": "0",
        "CUDA_CACHE_PATH": "/tmp/cache",
        "CUDA_CACHE_MAXSIZE": "4294967296",
        "CUDA_MODULE_LOADING": "LAZY",
        "CUDA_DEVICE_MAX_CONNECTIONS": "1",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        "TRITON_CACHE_DIR": "/tmp/triton",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    },
}


for _name, _variables in SETTINGS.items():
    KINDS[_name] = _switches(**_variables), frozenset()


SETTINGS_TOLD = {
    "one_gpu_more_than_there_are": ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, "env.cuda-visible-devices"),
    "quiet_tensorflow": ({"TF_CPP_MIN_LOG_LEVEL": "3"}, "env.framework-switches"),
    "the_check_of_nvml": ({"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}, "env.framework-switches"),
    "jax_on_the_cpu_where_nobody_has_jax": ({"JAX_PLATFORMS": "cpu"}, "env.framework-switches"),
}


for _name, (_variables, _told) in SETTINGS_TOLD.items():
    KINDS[_name] = _switches(**_variables), frozenset({_told})


@healthy()
def a_job_of_slurm(folder: Path) -> MachineTree:
    """The cgroup hides three of four GPUs, and CUDA counts the one that is left from 0."""
    job = {"/proc/self/cgroup": "0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n"}
    env = active(CUDA_VISIBLE_DEVICES="0", SLURM_JOB_ID="4711", SLURM_JOB_GPUS="2", SLURM_STEP_GPUS="2")
    return machine(folder, TORCH, job, env, gpus=("H200",) * 4, listed=[2])


@healthy("env.cuda-device-order")
def two_kinds_of_gpus(folder: Path) -> MachineTree:
    return machine(folder, TORCH, active(), gpus=("RTX 4090", "RTX 3090"))


@healthy()
def kernels_of_jupyter(folder: Path) -> MachineTree:
    other, kernels = f"{ADA}/.virtualenvs/serve", f"{ADA}/.local/share/jupyter/kernels"
    docker = ["/usr/bin/docker", "run", "--gpus", "all", "nvcr.io/nvidia/pytorch:25.09-py3"]
    files: Files = {
        f"{VENV}/share/jupyter/kernels/python3/kernel.json": kernel_json("python"),
        f"{kernels}/train/kernel.json": kernel_json(f"{VENV}/bin/python"),
        f"{kernels}/serve/kernel.json": kernel_json(f"{other}/bin/python3"),
        f"{kernels}/ngc/kernel.json": json.dumps({"argv": docker}),
        f"{kernels}/apptainer/kernel.json": '{"argv": ["apptainer", "exec", "--nv", "/torch.sif", "python3"]}',
        "/usr/bin/docker": interpreter(),
        f"{kernels}/julia-1.11/kernel.json": '{"argv": ["/home/ada/.juliaup/bin/julia", "-i"]}',
        "/home/ada/.juliaup/bin/julia": interpreter(),
        "/usr/share/jupyter/kernels/python3/kernel.json": kernel_json("/usr/bin/python3"),
        "/usr/bin/python3": "-> python3.11",
    }
    return machine(folder, venv(other, numpy(site_of(other))), TORCH, files, active())


@healthy("cuda.driver-too-old")
def forward_compatibility_on_a_data_centre_gpu(folder: Path) -> MachineTree:
    """Driver 535, cuda-compat-13-0 in front of it, and a torch for CUDA 13."""
    compat = "/usr/local/cuda-13.0/compat"
    files: Files = {
        f"{compat}/libcuda.so.1": f"-> libcuda.so.{DRIVER}",
        f"{compat}/libcuda.so.{DRIVER}": shared_object(soname="libcuda.so.1"),
    }
    torch = venv(VENV, pip_torch(SITE, "2.14.1+cu130", "13.0"))
    variables = active(LD_LIBRARY_PATH=compat)
    return machine(folder, torch, files, variables, driver="535.261.03", library=f"{compat}/libcuda.so.1", serves=13000)


@healthy("env.library-path-shadows")
def an_older_toolkit_that_is_new_enough_for_tensorflow(folder: Path) -> MachineTree:
    """pip took the newest wheels of CUDA 12; TensorFlow asks for 12.5 at least, and all of a toolkit goes together."""
    lib = "/usr/local/cuda-12.6/targets/x86_64-linux/lib"
    linker = {
        f"{lib}/libnvJitLink.so.12.6.90": shared_object(soname="libnvJitLink.so.12"),
        f"{lib}/libnvJitLink.so.12": "-> libnvJitLink.so.12.6.90",
    }
    return machine(folder, venv(VENV, tensorflow(SITE)), toolkit("12.6.3"), linker, active(LD_LIBRARY_PATH=lib))
