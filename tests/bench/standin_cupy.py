"""A stand-in for CuPy: arrays that are not NumPy's and refuse to be mixed with them, and a GPU that can fail."""

import ctypes
import operator
import time
import weakref
from types import ModuleType, SimpleNamespace

import numpy
from bench.standin_cublas import HANDLE, make_cublas

UUID = bytes(range(0x11, 0x21))

# Functions and types of CuPy that do what NumPy's do, under the same name.
FUNCTIONS = (
    *("arange", "ascontiguousarray", "concatenate", "empty", "empty_like", "exp", "full", "isfinite", "log", "maximum"),
    *("minimum", "multiply", "ones", "ones_like", "sqrt", "tanh", "where", "zeros", "zeros_like"),
)
TYPES = ("float16", "float32", "float64", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "inf", "nan")

# Methods and properties of cupy.ndarray that do what NumPy's do.
METHODS = (
    *("all", "any", "argmax", "astype", "copy", "max", "mean", "min", "ravel", "reshape", "sum", "transpose", "view"),
)
PROPERTIES = ("dtype", "flags", "itemsize", "nbytes", "ndim", "shape", "size", "strides")


class CUDARuntimeError(RuntimeError):
    """CuPy's own is a RuntimeError with the status, too."""

    def __init__(self, message, status=999):
        super().__init__(message)
        self.status = status


class CompileException(Exception):
    """CuPy's own is no RuntimeError."""


class Gpu:
    """What the stand-in does wrong, how much it was used, and its memory."""

    def __init__(self, *, dies_at=None, dies_with=None, falls_back=(), wrong=False, count_error=None, unlockable=False):
        self.products = 0
        self.dies_at = dies_at  # the number of the matrix product that fails
        self.dies_with = dies_with or CUDARuntimeError("cudaErrorLaunchFailure: unspecified launch failure", 719)
        self.falls_back = falls_back  # names of functions that answer with a numpy.ndarray
        self.wrong = wrong
        self.count_error = count_error
        self.unlockable = unlockable  # the host locks no memory
        self.given_back = 0  # how often cached memory was
        self._allocated = weakref.WeakValueDictionary()
        self._page_locked = weakref.WeakValueDictionary()

    def product(self, left, right):
        self.products += 1
        if self.products == self.dies_at:
            raise self.dies_with
        result = left @ right
        if self.wrong:
            result[0, 0] += 1
        return result

    def pointer_to(self, host):
        """The address of an array of the stand-in; from here on its whole memory may be asked for by address."""
        return _remember(self._allocated, host)

    def memory_at(self, pointer, size):
        """(size,) uint8, the memory there. Raises CUDARuntimeError where it is not all of one allocation."""
        return _memory(self._allocated, pointer, size)

    def page_locked_at(self, pointer, size):
        """The same for memory of the host that was given out as page-locked."""
        return _memory(self._page_locked, pointer, size)

    def lock_pages(self, size):
        """Memory of the host: what numpy.frombuffer takes."""
        if self.unlockable:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory", 2)
        pages = numpy.empty(size, "uint8")
        _remember(self._page_locked, pages)
        return pages.data


def _remember(memory, host):
    whole = host
    while isinstance(whole.base, numpy.ndarray):
        whole = whole.base
    memory[whole.__array_interface__["data"][0]] = whole
    return host.__array_interface__["data"][0]


def _memory(memory, pointer, size):
    for start, whole in list(memory.items()):
        if start <= pointer and pointer + size <= start + whole.nbytes:
            return numpy.frombuffer((ctypes.c_uint8 * size).from_address(pointer), "uint8")
    raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered", 700)


class DeviceArray:
    """Like cupy.ndarray: never becomes a numpy.ndarray by itself, and is a 0-d array where NumPy gives a scalar."""

    __array_ufunc__ = None  # NumPy leaves mixed operations to us, and we refuse them

    def __init__(self, host, gpu):
        self.host, self.gpu = numpy.asarray(host), gpu

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
        index = tuple(map(self.unwrap, index)) if isinstance(index, tuple) else self.unwrap(index)
        self.host[index] = self.unwrap(value)

    def __len__(self):
        return len(self.host)

    def __bool__(self):
        return bool(self.host)

    def __float__(self):
        return float(self.host)

    def __int__(self):
        return int(self.host)

    def __matmul__(self, other):
        return _matmul(self, other)

    def fill(self, value):
        self.host.fill(value)

    @property
    def T(self):
        return self.like_me(self.host.T)

    @property
    def device(self):
        return SimpleNamespace(id=0)

    @property
    def data(self):
        return SimpleNamespace(ptr=self.gpu.pointer_to(self.host))


class LenientArray(DeviceArray):
    """A stand-in that mixes with NumPy without a word, and then computes on the CPU: what must not go unseen."""

    def __array__(self, *args, **kwargs):
        return self.host

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return getattr(ufunc, method)(*map(self.unwrap, inputs), **kwargs)

    def unwrap(self, value):
        return value.host if isinstance(value, DeviceArray) else value


def _quietly(function):
    """A GPU does not warn of an overflow."""

    def apply(*args, **kwargs):
        with numpy.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return function(*args, **kwargs)

    return apply


def _operator(function, *, reflected=False):
    @_quietly
    def apply(self, other):
        left, right = self.host, self.unwrap(other)
        return self.like_me(function(right, left) if reflected else function(left, right))

    return apply


def _in_place(function):
    @_quietly
    def apply(self, other):
        function(self.host, self.unwrap(other))
        return self

    return apply


def _unary(function):
    return lambda self: self.like_me(function(self.host))


def _method(name):
    @_quietly
    def apply(self, *args, **kwargs):
        return self.like_me(getattr(self.host, name)(*args, **kwargs))

    return apply


def _matmul(a, b):
    assert a.ndim == b.ndim == 2, "matrix products stay two-dimensional"
    return a.like_me(a.gpu.product(a.host, a.unwrap(b)))


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift")
for _name in _ARITHMETIC:
    _function = getattr(operator, f"__{_name}__")
    setattr(DeviceArray, f"__{_name}__", _operator(_function))
    setattr(DeviceArray, f"__r{_name}__", _operator(_function, reflected=True))
    setattr(DeviceArray, f"__i{_name}__", _in_place(getattr(operator, f"__i{_name}__")))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(DeviceArray, f"__{_name}__", _operator(getattr(operator, _name)))
for _name in ("neg", "abs", "invert"):
    setattr(DeviceArray, f"__{_name}__", _unary(getattr(operator, _name)))
for _name in METHODS:
    setattr(DeviceArray, _name, _method(_name))
for _name in PROPERTIES:
    setattr(DeviceArray, _name, property(lambda self, _name=_name: getattr(self.host, _name)))


class Event:
    """A moment, by the clock of the CPU."""

    def record(self):
        self.at = time.perf_counter()

    def synchronize(self):
        assert self.at, "an event that was never recorded is not waited for"


class Stream:
    """The stream of everything: the stand-in has always waited."""

    ptr = 0

    def synchronize(self):
        pass


class MemoryPool:
    """Keeps nothing back, and counts how often it was asked to."""

    def __init__(self, gpu):
        self._gpu = gpu

    def free_all_blocks(self):
        self._gpu.given_back += 1


def make_cupy(gpu, *, driver=13020, runtime=13020, version="14.2.0", properties=None):
    """A module named cupy that offers only names which the real CuPy 13 and 14 have, too."""

    array_class = LenientArray if gpu.falls_back else DeviceArray

    def unwrapped(value):
        if isinstance(value, list | tuple):
            return type(value)(map(unwrapped, value))
        if isinstance(value, numpy.ndarray) and array_class is DeviceArray:
            raise TypeError(f"Unsupported type {type(value)}")
        return value.host if isinstance(value, DeviceArray) else value

    def function(name, source=None):
        @_quietly
        def apply(*args, **kwargs):
            result = (source or getattr(numpy, name))(
                *unwrapped(args), **{key: unwrapped(value) for key, value in kwargs.items()}
            )
            return result if name in gpu.falls_back else array_class(result, gpu)

        return apply

    def asarray(values, dtype=None):
        values = values.host if isinstance(values, DeviceArray) else numpy.array(values, dtype)
        result = numpy.asarray(values, dtype)
        return result if "asarray" in gpu.falls_back else array_class(result, gpu)

    def copyto(dst, src):
        numpy.copyto(unwrapped(dst), unwrapped(src))

    def getDeviceCount():
        if gpu.count_error is not None:
            raise gpu.count_error
        return 1

    def getDeviceProperties(device):
        assert device == 0
        return {
            **{"name": b"Test GPU", "major": 9, "minor": 0, "totalGlobalMem": 80 * 2**30, "uuid": UUID},
            **{"pciDomainID": 0, "pciBusID": 0x1B, "pciDeviceID": 0, "multiProcessorCount": 132},
            **{"l2CacheSize": 50 * 2**20, "memoryBusWidth": 5120},
            **({"clockRate": 1980000, "memoryClockRate": 2619000} if runtime < 13000 else {}),
            **(properties or {}),
        }

    def deviceGetAttribute(attrib, device):
        assert device == 0
        return {13: 1980000, 36: 2619000, 37: 5120}[attrib]

    def memcpyAsync(dst, src, size, kind, stream):
        assert stream == 0
        to, of = {1: (gpu.memory_at, gpu.page_locked_at), 2: (gpu.page_locked_at, gpu.memory_at)}[kind]
        to(dst, size)[:] = of(src, size)

    cupy = ModuleType("cupy")
    cupy.__version__ = version
    for name in FUNCTIONS:
        setattr(cupy, name, function(name))
    for name in TYPES:
        setattr(cupy, name, getattr(numpy, name))
    cupy.ndarray = array_class
    cupy.asarray = asarray
    cupy.asnumpy = lambda array: unwrapped(array).copy()
    cupy.copyto = copyto
    cupy.matmul = lambda a, b: a @ b if "matmul" in gpu.falls_back else _matmul(a, b)
    pool = MemoryPool(gpu)
    cupy.get_default_memory_pool = lambda: pool
    cupy.get_default_pinned_memory_pool = lambda: pool
    cupy.lib = SimpleNamespace(
        stride_tricks=SimpleNamespace(as_strided=function("as_strided", numpy.lib.stride_tricks.as_strided))
    )
    stream = Stream()
    cupy.cuda = SimpleNamespace(
        Event=Event,
        MemoryPool=MemoryPool,
        Stream=Stream,
        alloc_pinned_memory=gpu.lock_pages,
        compiler=SimpleNamespace(CompileException=CompileException),
        device=SimpleNamespace(get_cublas_handle=lambda: HANDLE),
        get_current_stream=lambda: stream,
        get_elapsed_time=lambda began, ended: 1000 * (ended.at - began.at),
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            cudaDevAttrClockRate=13,
            cudaDevAttrGlobalMemoryBusWidth=37,
            cudaDevAttrMemoryClockRate=36,
            deviceGetAttribute=deviceGetAttribute,
            driverGetVersion=lambda: driver,
            getDevice=lambda: 0,
            getDeviceCount=getDeviceCount,
            getDeviceProperties=getDeviceProperties,
            memGetInfo=lambda: (79 * 2**30, 80 * 2**30),
            memcpyAsync=memcpyAsync,
            memcpyDeviceToHost=2,
            memcpyHostToDevice=1,
            runtimeGetVersion=lambda: runtime,
        ),
    )
    return cupy


def modules_of(cupy, gpu):
    """What stands in sys.modules once this stand-in is imported."""
    # As in CuPy 14: the binding is an attribute of its package, and importing it by its full name is another thing,
    # which does not find the library.
    libs = ModuleType("cupy_backends.cuda.libs")
    libs.cublas = make_cublas(gpu)
    modules = (cupy, ModuleType("cupy_backends"), ModuleType("cupy_backends.cuda"), libs)
    return {**{module.__name__: module for module in modules}, "cupy_backends.cuda.libs.cublas": None}
