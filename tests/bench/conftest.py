"""A GPU for the tests of the benchmark: the stand-in for CuPy, and in the slow tests a real one where there is one."""

import os
import sys
from types import SimpleNamespace

# Before NumPy is imported. The tests run side by side, and threads of several BLAS that wait for each other take ten
# times as long as one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from bench.standin_cublas import CUBLASError
from bench.standin_cupy import CompileException, CUDARuntimeError, Gpu, make_cupy, modules_of

from gpudoctor.bench.devices.cupy_device import import_cupy, open_cupy
from gpudoctor.bench.devices.device import CannotRun


@pytest.fixture
def install_cupy(monkeypatch):
    """Puts a stand-in where `import cupy` finds it: install_cupy(driver=..., runtime=..., **faults) gives its Gpu."""

    def install(*, driver=13020, runtime=13020, version="14.2.0", properties=None, **faults):
        gpu = Gpu(**faults)
        cupy = make_cupy(gpu, driver=driver, runtime=runtime, version=version, properties=properties)
        for name, module in modules_of(cupy, gpu).items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return gpu

    return install


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.slow)])
def gpu(request, install_cupy):
    """An opened GPU: the stand-in, and in the slow tests a real one where there is one."""
    if request.param == "stand-in":
        install_cupy()
    else:
        pytest.importorskip("cupy")
    try:
        return open_cupy(import_cupy())
    except CannotRun as why:
        if request.param == "stand-in":
            raise
        pytest.skip(str(why))


@pytest.fixture
def errors_like_cupy():
    """The classes that a sick GPU raises."""
    return SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError, CompileException=CompileException, CUBLASError=CUBLASError
    )
