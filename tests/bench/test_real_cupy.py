"""The stand-in for CuPy against CuPy itself: every name that it offers exists there, with the arguments in that order.

No GPU is needed for that: the real module is imported in an environment of its own, and asked.
"""

import inspect
import json
import os
import shutil
import subprocess
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench.standin_cublas import make_cublas
from bench.standin_cupy import Gpu, make_cupy

import gpudoctor

pytestmark = pytest.mark.slow

# What the stand-in's classes have beside CuPy's names: their own inside.
OWN = {"at", "gpu", "host", "like_me", "unwrap"}

ASK = r"""
import importlib, json, sys

asked = json.load(sys.stdin)
wrong = []
for name, wanted in asked.items():
    module, _, rest = name.partition(":")
    try:
        package, _, last = module.rpartition(".")
        # As `from package import last`: the package loads the library first.
        found = getattr(__import__(package, fromlist=[last]), last) if package else importlib.import_module(module)
        for part in rest.split("."):
            found = getattr(found, part)
    except (AttributeError, ImportError) as error:
        wrong.append(f"{name}: {error}")
        continue
    if isinstance(wanted, list):
        # A function of Cython says its arguments in the first line of its documentation: name(type name, ...).
        arguments = found.__doc__.splitlines()[0].partition("(")[2].rpartition(")")[0]
        real = [one.split()[-1] for one in arguments.split(",") if one.strip()]
        if real != wanted:
            wrong.append(f"{name}: takes {real}, not {wanted}")
    elif wanted is not None and found != wanted:
        wrong.append(f"{name}: is {found}, not {wanted}")
print(json.dumps(wrong))
"""

# What the phase between GPUs uses, for which only its own test has a stand-in.
BETWEEN_GPUS = {
    "cupy:cuda.runtime.memcpyPeerAsync": ["dst", "dstDevice", "src", "srcDevice", "size", "stream"],
    "cupy:cuda.runtime.deviceCanAccessPeer": ["device", "peerDevice"],
    "cupy:cuda.runtime.deviceEnablePeerAccess": ["peerDevice"],
    **{f"cupy:cuda.Device.{name}": None for name in ("__enter__", "__exit__", "synchronize")},
    **{f"cupy:cuda.Stream.{name}": None for name in ("__enter__", "__exit__")},
    # NCCL comes in a package of its own: without it CuPy has the module, and says that it is not available.
    "cupy.cuda.nccl:available": False,
}

OPEN = """
from gpudoctor.bench.devices.cupy_device import cupy_versions, import_cupy, open_cupy
from gpudoctor.bench.devices.device import CannotRun
cupy = import_cupy()
print(cupy_versions(cupy)["cupy"])
try:
    print("opened", open_cupy(cupy).text)
except CannotRun as why:
    print(why)
"""


LOAD = """
import cupy
from gpudoctor.bench.devices.cublas import open_cublas
from gpudoctor.bench.devices.cupy_device import _no_kernel
try:
    print(open_cublas(cupy).binding.gemmEx.__name__)
except ImportError as error:
    print(_no_kernel(cupy, error))
"""


@pytest.fixture(
    scope="module", params=[("cupy-cuda13x==14.2.*", 13), ("cupy-cuda12x==13.6.*", 12)], ids=["14.2", "13.6"]
)
def python(request, tmp_path_factory):
    """The Python of an environment with a real CuPy and what CuPy needs of CUDA, under the names that `bench` tells."""
    cupy, cuda = request.param
    folder = tmp_path_factory.mktemp(cupy.strip(".*"))
    venv.create(folder, with_pip=True)
    path = folder / "bin/python"
    wanted = [cupy, f"cuda-toolkit[cublas,cudart,nvrtc]=={cuda}.*"]
    done = subprocess.run(
        [path, "-m", "pip", "install", "--quiet", "--no-compile", *wanted], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"pip cannot install {wanted} here: {done.stderr.strip().splitlines()[-1:]}")
    yield path
    shutil.rmtree(folder)  # a gigabyte, which pytest would keep for three runs


def answer(python, names):
    """What is wrong with these names in the real CuPy."""
    # CuPy 13 finds CUDA's libraries by the path of the loader alone.
    libraries = ":".join(map(str, sorted(python.parents[1].glob("lib/python*/site-packages/nvidia/*/lib"))))
    asked = [python, "-c", ASK]
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries} if "13.6" in python.parents[1].name else None
    done = subprocess.run(asked, env=environment, input=json.dumps(names), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def names_in(offered, path, module):
    """Each name as "module:dotted.name", with what it must be: the names of its arguments, a constant, or None."""
    names = {}
    for name, value in vars(offered).items():
        if name.startswith("__") or name in OWN:
            continue
        dotted = f"{path}.{name}" if path else name
        if isinstance(value, SimpleNamespace):
            names |= names_in(value, dotted, module)
        elif inspect.isclass(value) and value.__module__.startswith("bench."):
            names[f"{module}:{dotted}"] = None
            members = {member for member in vars(value) if not member.startswith("_")} - OWN
            names |= {f"{module}:{dotted}.{member}": None for member in members}
        elif inspect.isfunction(value) and value.__name__ == name and (path == "cuda.runtime" or "cublas" in module):
            # Called by position alone.
            names[f"{module}:{dotted}"] = list(inspect.signature(value).parameters)
        else:
            names[f"{module}:{dotted}"] = value if isinstance(value, int) else None
    return names


def offered_names():
    gpu = Gpu()
    cublas = make_cublas(gpu)
    names = names_in(make_cupy(gpu), "", "cupy") | names_in(cublas, "", cublas.__name__)
    # What only an instance has, which needs a GPU, and what is our own.
    for instance in ("cupy:cuda.Stream.ptr", f"{cublas.__name__}:CUBLASError.NAMES"):
        names.pop(instance, None)
    return names


def test_every_name_of_the_stand_in_is_one_of_cupys(python):
    names = offered_names()
    assert len(names) > 90
    assert names["cupy_backends.cuda.libs.cublas:gemmEx"][:3] == ["handle", "transa", "transb"]
    assert names["cupy_backends.cuda.libs.cublas:CUBLAS_COMPUTE_32F_FAST_TF32"] == 77
    assert names["cupy:cuda.runtime.memcpyAsync"] == ["dst", "src", "size", "kind", "stream"]
    assert "cupy:ndarray.strides" in names
    assert answer(python, names | BETWEEN_GPUS) == []


def test_what_is_no_name_of_cupys_is_found(python):
    names = {"cupy:no_such_name": None, "cupy_backends.cuda.libs.cublas:gemmEx": ["handle", "transb"]}
    first, second = answer(python, names)
    assert "no_such_name" in first
    assert "transa" in second


def test_the_real_cupy_opens_a_gpu_or_says_why_not(python):
    environment = {**os.environ, "PYTHONPATH": str(Path(gpudoctor.__file__).parents[1])}
    done = subprocess.run([python, "-c", OPEN], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    version, told = done.stdout.splitlines()
    assert version.startswith(("13.6", "14.2"))
    assert told.startswith(("opened", "CUDA finds no", "This CuPy is built", "CuPy sees a GPU, but does not find"))


def test_the_library_is_found_among_the_wheels_or_named_with_what_to_install(python, tmp_path):
    packages = next(python.parents[1].glob("lib/python*/site-packages"))
    for entry in packages.iterdir():
        if entry.name != "nvidia":
            (tmp_path / entry.name).symlink_to(entry)
    told = []
    # Without the module site the folder of the environment itself is not looked into.
    for words, folder in (((python,), packages), ((python, "-S"), tmp_path)):
        environment = {**os.environ, "PYTHONPATH": f"{Path(gpudoctor.__file__).parents[1]}:{folder}"}
        done = subprocess.run([*words, "-c", LOAD], env=environment, capture_output=True, text=True, check=True)
        told.append(done.stdout.strip())
    if "14.2" in python.parents[1].name:
        assert told[0] == "gemmEx"
    else:
        assert "and CuPy 14 or newer" in told[0]
    if "gemmEx" in told[1]:
        pytest.skip("this machine has a cuBLAS of its own")
    assert "cuda-toolkit[cublas,cudart,nvrtc]==" in told[1]
