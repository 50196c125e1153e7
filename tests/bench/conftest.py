"""A stand-in for CuPy: arrays that are not NumPy's and refuse to be mixed with them, and a GPU that can fail."""

import operator
import sys
from types import ModuleType, SimpleNamespace

import numpy
import pytest


class CUDARuntimeError(RuntimeError):
    """CuPy's own is a RuntimeError too."""


class CompileException(Exception):
    """CuPy's own is no RuntimeError."""


class Gpu:
    """What the stand-in does wrong, and how much it was used."""

    def __init__(self, *, dies_at=None, dies_with=None, falls_back=(), wrong=False, count_error=None):
        self.products = 0
        self.dies_at = dies_at  # the number of the matrix product that fails
        self.dies_with = dies_with or CUDARuntimeError("cudaErrorLaunchFailure: unspecified launch failure")
        self.falls_back = falls_back  # names of functions that answer with a numpy.ndarray
        self.wrong = wrong
        self.count_error = count_error

    def product(self, left, right):
        self.products += 1
        if self.products == self.dies_at:
            raise self.dies_with
        result = left @ right
        if self.wrong:
            result[0, 0] += 1
        return result


class DeviceArray:
    """Like cupy.ndarray: never becomes a numpy.ndarray by itself, and is a 0-d array where NumPy gives a scalar."""

    __array_ufunc__ = None  # NumPy leaves mixed operations to us, and we refuse them

    def __init__(self, host, gpu):
        self.host, self.gpu = numpy.asarray(host), gpu
        self.device = SimpleNamespace(id=0)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def like_me(self, host):
        return type(self)(host, self.gpu)

    def unwrap(self, value):
        if isinstance(value, DeviceArray):
            return value.host
        if isinstance(value, numpy.ndarray):
            raise TypeError(f"Unsupported type {type(value)}")
        return value

    def __getitem__(self, index):
        index = tuple(map(self.unwrap, index)) if isinstance(index, tuple) else self.unwrap(index)
        return self.like_me(self.host[index])

    def __setitem__(self, index, value):
        self.host[index] = self.unwrap(value)

    def __len__(self):
        return len(self.host)

    def __float__(self):
        return float(self.host)

    def __int__(self):
        return int(self.host)

    def __matmul__(self, other):
        assert self.ndim == other.ndim == 2, "matrix products stay two-dimensional"
        return self.like_me(self.gpu.product(self.host, self.unwrap(other)))

    @property
    def T(self):
        return self.like_me(self.host.T)


class LenientArray(DeviceArray):
    """A stand-in that mixes with NumPy without a word, and then computes on the CPU: what must not go unseen."""

    def __array__(self, *args, **kwargs):
        return self.host

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return getattr(ufunc, method)(*map(self.unwrap, inputs), **kwargs)

    def unwrap(self, value):
        return value.host if isinstance(value, DeviceArray) else value


def _operator(function, *, reflected=False):
    def apply(self, other):
        left, right = self.host, self.unwrap(other)
        return self.like_me(function(right, left) if reflected else function(left, right))

    return apply


def _in_place(function):
    def apply(self, other):
        function(self.host, self.unwrap(other))
        return self

    return apply


def _method(name):
    def apply(self, *args, **kwargs):
        return self.like_me(getattr(self.host, name)(*args, **kwargs))

    return apply


for _name in ("add", "sub", "mul", "truediv", "and_", "eq", "gt"):
    setattr(DeviceArray, f"__{_name.strip('_')}__", _operator(getattr(operator, _name)))
for _name in ("add", "sub", "mul", "truediv"):
    setattr(DeviceArray, f"__r{_name}__", _operator(getattr(operator, _name), reflected=True))
for _name in ("iadd", "isub", "imul"):
    setattr(DeviceArray, f"__{_name}__", _in_place(getattr(operator, _name)))
for _name in ("reshape", "transpose", "astype", "sum", "mean", "max", "argmax", "all"):
    setattr(DeviceArray, _name, _method(_name))
for _name in ("shape", "strides", "dtype", "ndim", "size"):
    setattr(DeviceArray, _name, property(lambda self, _name=_name: getattr(self.host, _name)))


def make_cupy(gpu, *, driver=13020, runtime=13020):
    """A module named cupy that offers only names which the real CuPy 14.2 has, too."""

    array_class = LenientArray if gpu.falls_back else DeviceArray

    def function(name, source=None):
        def apply(*args, **kwargs):
            args = [value.host if isinstance(value, DeviceArray) else value for value in args]
            result = (source or getattr(numpy, name))(*args, **kwargs)
            return result if name in gpu.falls_back else array_class(result, gpu)

        return apply

    def device_count():
        if gpu.count_error is not None:
            raise gpu.count_error
        return 1

    def properties(device):
        return {"name": b"Test GPU", "major": 9, "minor": 0, "totalGlobalMem": 80 * 2**30}

    cupy = ModuleType("cupy")
    cupy.__version__ = "14.2.0"
    for name in ("arange", "zeros", "zeros_like", "empty_like", "maximum", "tanh", "exp", "log", "isfinite"):
        setattr(cupy, name, function(name))
    cupy.asarray = function("asarray", lambda values: numpy.array(values))
    cupy.asnumpy = lambda array: array.host.copy()
    cupy.lib = SimpleNamespace(
        stride_tricks=SimpleNamespace(as_strided=function("as_strided", numpy.lib.stride_tricks.as_strided))
    )
    cupy.cuda = SimpleNamespace(
        compiler=SimpleNamespace(CompileException=CompileException),
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDeviceCount=device_count,
            getDeviceProperties=properties,
            driverGetVersion=lambda: driver,
            runtimeGetVersion=lambda: runtime,
        ),
    )
    return cupy


@pytest.fixture
def install_cupy(monkeypatch):
    """Puts a stand-in where `import cupy` finds it: install_cupy(driver=..., runtime=..., **faults) gives its Gpu."""

    def install(*, driver=13020, runtime=13020, **faults):
        gpu = Gpu(**faults)
        monkeypatch.setitem(sys.modules, "cupy", make_cupy(gpu, driver=driver, runtime=runtime))
        return gpu

    return install


@pytest.fixture
def errors_like_cupy():
    """The classes that a sick GPU raises."""
    return SimpleNamespace(CUDARuntimeError=CUDARuntimeError, CompileException=CompileException)
