"""How NVML's functions are called through pynvml, whichever release of both is there."""

from typing import Any

import pynvml

# The question does not fit this GPU, library or user; that says nothing about the GPU's health.
NOT_AVAILABLE = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
)


def call(function: str, *arguments: Any) -> Any:
    """The answer of one of pynvml's functions. Raises NVMLError."""
    binding = getattr(pynvml, function, None)
    if binding is None:  # an older nvidia-ml-py
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    try:
        return binding(*arguments)
    except UnicodeDecodeError as error:  # a sick GPU's name or serial number may be anything
        return error.object.decode("utf-8", "backslashreplace")


def first_of(functions: tuple[str, ...], *arguments: Any) -> Any:
    """The answer of the first of these functions, newest first, that this library has."""
    *newer, oldest = functions
    for function in newer:
        try:
            return call(function, *arguments)
        except pynvml.NVMLError as error:
            if error.value not in NOT_AVAILABLE:
                raise
    return call(oldest, *arguments)


def message_of(code: int) -> str:
    """What NVML calls a return code; what pynvml calls it when there is no library to ask."""
    try:
        return str(call("nvmlErrorString", code))
    except pynvml.NVMLError:
        return str(pynvml.NVMLError(code))


def memory_of(handle: Any) -> tuple[int, int | None, int, int]:
    """Bytes in all, reserved by the driver, used, free. Raises NVMLError."""
    try:
        memory = call("nvmlDeviceGetMemoryInfo", handle, pynvml.nvmlMemory_v2)
    except pynvml.NVMLError as error:
        if error.value not in NOT_AVAILABLE:
            raise
        memory = call("nvmlDeviceGetMemoryInfo", handle)  # drivers before 510
    return memory.total, getattr(memory, "reserved", None), memory.used, memory.free


def two_states(function: str, handle: Any) -> tuple[bool, bool]:
    """What is enabled now, and after the next reset. Raises NVMLError."""
    current, pending = call(function, handle)
    return bool(current), bool(pending)


def named(prefix: str, number: int) -> str | int:
    """The constant of this value in small letters, without the prefix; the number itself where there is none."""
    names = {code: name for name, code in vars(pynvml).items() if name.startswith(prefix)}
    return str(names[number]).removeprefix(prefix).lower() if number in names else number
