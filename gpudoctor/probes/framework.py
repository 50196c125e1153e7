"""Lets one framework compute on the GPU, in the interpreter of the environment that it is installed in.

This file alone is given to that interpreter (Python 3.6 or later) as text, so it imports nothing of gpudoctor. It
prints one JSON object. Numbers are small integers, which every floating-point type holds exactly.
"""

import json
import os
import sys
from typing import Any, Callable, Dict, List, Sequence, Union

SIZE = 64  # rows of the matrices that are multiplied


def ask_framework(name: str) -> Dict[str, Any]:
    """What the framework did.

    `framework`, `version`; `devices`: how many GPUs it sees, null if it could not be asked; `failed_at`: "import",
    "devices", "matmul", "convolution", "" nowhere; `failure`: the framework's own words, "" if it computed the right
    numbers on the GPU; `libraries`: the CUDA libraries that were mapped in the end; `user`: the id of who it ran as;
    and what else it tells of itself.
    """
    answer: Dict[str, Any] = {"framework": name, "version": "", "devices": None, "failed_at": "import", "failure": ""}
    try:
        _TRIALS[name](answer)
        answer["failed_at"] = ""
    except BaseException as error:  # noqa: BLE001 - whatever a broken installation raises is the answer
        answer["failure"] = "{}: {}".format(type(error).__name__, error)[:2000]
    answer.update(libraries=_mapped(), user=os.geteuid())
    return answer


class WrongAnswer(Exception):
    """The GPU computed other numbers than it must, or none of the work was done on it."""


def _torch(answer: Dict[str, Any]) -> None:
    import torch

    answer.update(version=torch.__version__, cuda=torch.version.cuda, failed_at="devices")
    answer["devices"] = torch.cuda.device_count()
    if not torch.cuda.is_available():
        torch.cuda.init()  # says why
    answer.update(arch_list=torch.cuda.get_arch_list(), failed_at="matmul")
    ones = torch.ones(SIZE, SIZE, device="cuda")
    _expect(float((ones @ ones).sum()), SIZE**3)
    answer.update(failed_at="convolution", cudnn=torch.backends.cudnn.version())
    images = torch.ones(1, 3, 8, 8, device="cuda", requires_grad=True)
    result = torch.nn.functional.conv2d(images, torch.ones(4, 3, 3, 3, device="cuda"))
    result.sum().backward()
    _expect(float(result.sum()), 4 * 6 * 6 * 27)
    _expect(float(images.grad.sum()), 4 * 6 * 6 * 27)


def _tensorflow(answer: Dict[str, Any]) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0")
    import tensorflow as tf

    answer.update(version=tf.__version__, failed_at="devices")
    build = tf.sysconfig.get_build_info()
    answer.update(cuda=build.get("cuda_version"), cudnn=build.get("cudnn_version"))
    answer["devices"] = len(tf.config.list_physical_devices("GPU"))
    if not answer["devices"]:
        raise WrongAnswer("TensorFlow sees no GPU")
    with tf.device("/GPU:0"):
        answer["failed_at"] = "matmul"
        ones = tf.ones((SIZE, SIZE))
        _expect(float(tf.reduce_sum(tf.matmul(ones, ones))), SIZE**3)
        answer["failed_at"] = "convolution"
        result = tf.nn.conv2d(tf.ones((1, 8, 8, 3)), tf.ones((3, 3, 3, 4)), strides=1, padding="VALID")
        _expect(float(tf.reduce_sum(result)), 4 * 6 * 6 * 27)


def _jax(answer: Dict[str, Any]) -> None:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave the memory to who works here
    import jax
    import jax.numpy as jnp

    answer.update(version=jax.__version__, failed_at="devices")
    devices = jax.devices("gpu")
    answer.update(devices=len(devices), failed_at="matmul")
    ones = jax.device_put(jnp.ones((SIZE, SIZE)), devices[0])
    _expect(float((ones @ ones).sum()), SIZE**3)
    answer["failed_at"] = "convolution"
    images = jax.device_put(jnp.ones((1, 3, 8, 8)), devices[0])
    result = jax.lax.conv(images, jnp.ones((4, 3, 3, 3)), (1, 1), "VALID")
    _expect(float(result.sum()), 4 * 6 * 6 * 27)


def _cupy(answer: Dict[str, Any]) -> None:
    import cupy

    answer.update(version=cupy.__version__, failed_at="devices")
    answer["devices"] = cupy.cuda.runtime.getDeviceCount()
    answer["cuda"] = cupy.cuda.runtime.runtimeGetVersion()
    answer["failed_at"] = "matmul"
    ones = cupy.ones((SIZE, SIZE), dtype="float32") + cupy.zeros((SIZE, SIZE), dtype="float32")  # compiles a kernel
    _expect(float((ones @ ones).sum()), SIZE**3)


def _numba(answer: Dict[str, Any]) -> None:
    import numba
    import numpy
    from numba import cuda

    answer.update(version=numba.__version__, failed_at="devices")
    answer["devices"] = len(cuda.gpus)
    answer["failed_at"] = "matmul"

    @cuda.jit  # type: ignore[untyped-decorator]
    def double(values: Any) -> None:
        place = cuda.grid(1)
        if place < values.size:
            values[place] *= 2

    values = cuda.to_device(numpy.ones(SIZE, dtype=numpy.float32))
    double[1, SIZE](values)
    _expect(float(values.copy_to_host().sum()), 2 * SIZE)


def _onnxruntime(answer: Dict[str, Any]) -> None:
    import numpy
    import onnxruntime

    answer.update(version=onnxruntime.__version__, failed_at="devices")
    answer["providers"] = onnxruntime.get_available_providers()
    provider = "CUDAExecutionProvider"
    if provider not in answer["providers"]:
        answer["devices"] = 0
        raise WrongAnswer("{} is not in available provider names: {}".format(provider, answer["providers"]))
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(_onnx_model(), providers=[provider])
    if provider not in session.get_providers():
        answer["devices"] = 0
        raise WrongAnswer("{} was asked for, and {} is used".format(provider, session.get_providers()))
    answer.update(devices=1, failed_at="matmul")
    ones = numpy.ones((SIZE, SIZE), dtype=numpy.float32)
    images = numpy.ones((1, 3, 8, 8), dtype=numpy.float32)
    weights = numpy.ones((4, 3, 3, 3), dtype=numpy.float32)
    product, result = session.run(None, {"a": ones, "b": ones, "x": images, "w": weights})
    _expect(float(product.sum()), SIZE**3)
    answer["failed_at"] = "convolution"
    _expect(float(result.sum()), 4 * 6 * 6 * 27)


_TRIALS: Dict[str, Callable[[Dict[str, Any]], None]] = {
    "torch": _torch,
    "tensorflow": _tensorflow,
    "jax": _jax,
    "cupy": _cupy,
    "numba": _numba,
    "onnxruntime": _onnxruntime,
}


def _expect(found: float, wanted: float) -> None:
    if found != wanted:  # true for NaN as well
        raise WrongAnswer("the GPU computed {} where {} is right".format(found, wanted))


def _onnx_model() -> bytes:
    """A product of two matrices and a convolution as an ONNX file (onnx.proto3, IR version 8, operator set 13)."""

    def field(number: int, value: Union[int, str, bytes]) -> bytes:
        if isinstance(value, int):
            return bytes([number << 3, value])
        content = value if isinstance(value, bytes) else value.encode()
        size, length = len(content), b""
        while size > 127:
            length += bytes([size & 127 | 128])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    def node(kind: str, inputs: Sequence[str], output: str) -> bytes:
        return field(1, b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind))

    def value(number: int, name: str, shape: Sequence[int]) -> bytes:
        dimensions = b"".join(field(1, field(1, size)) for size in shape)
        tensor = field(1, 1) + field(2, dimensions)  # of 32-bit floating-point numbers
        return field(number, field(1, name) + field(2, field(1, tensor)))

    graph = node("MatMul", ["a", "b"], "c") + node("Conv", ["x", "w"], "y") + field(2, "trial")
    graph += value(11, "a", (SIZE, SIZE)) + value(11, "b", (SIZE, SIZE))
    graph += value(11, "x", (1, 3, 8, 8)) + value(11, "w", (4, 3, 3, 3))
    graph += value(12, "c", (SIZE, SIZE)) + value(12, "y", (1, 4, 6, 6))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


_LIBRARIES = ("libcuda", "libcu", "libnv", "libnccl", "libtorch_cuda", "libonnxruntime_providers_cuda", "xla_cuda")


def _mapped() -> List[str]:
    """Real paths of the CUDA libraries of this process."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = {line.split(None, 5)[5].strip() for line in maps if line.count("/")}
    except OSError:
        return []
    return sorted(path for path in paths if path.rpartition("/")[2].startswith(_LIBRARIES))


def main() -> None:
    # What frameworks print becomes standard error, so that the answer stays pure JSON.
    answer_descriptor = os.dup(1)
    os.dup2(2, 1)
    answer = ask_framework(sys.argv[1])
    with os.fdopen(answer_descriptor, "w") as stream:
        stream.write(json.dumps(answer, default=str) + "\n")
    os._exit(0)  # what libraries registered for the end of a process can hang with a sick driver


if __name__ == "__main__":
    main()
