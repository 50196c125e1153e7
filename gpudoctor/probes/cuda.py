"""What libcuda, the user's half of the driver, says about the GPUs that a program could compute on.

No context is created: that would take memory on each GPU, and fail where another process holds one exclusively.
"""

import ctypes
from collections.abc import Callable
from typing import Any

from gpudoctor.probes.mappings import file_behind
from gpudoctor.probes.restraint import leave_driver_unloaded

_SUCCESS = 0
# CUdevice_attribute
_COMPUTE_CAPABILITY_MAJOR = 75
_COMPUTE_CAPABILITY_MINOR = 76

Call = Callable[..., "int | None"]


def ask_cuda() -> dict[str, object]:
    """libcuda's answer.

    `return_code`, `return_name`, `message`: of cuInit, or where that succeeded and devices cannot even be counted, of
    counting them. All null if the library could not be loaded; `error` then has the loader's reason.
    `library_path`: the file that was loaded, links resolved. `driver_version`: the CUDA level of this library, 12020 is
    CUDA 12.2; it is answered without a driver, too. `devices`: one object a device, see _ask_device.
    """
    leave_driver_unloaded()
    answer: dict[str, object] = {"return_code": None, "return_name": None, "message": None, "error": None}
    answer |= {"library_path": None, "driver_version": None, "device_count": None, "devices": []}
    try:
        library = ctypes.CDLL("libcuda.so.1")
        initialise = library.cuInit
    except (OSError, AttributeError) as error:  # AttributeError: some other library by this name
        return answer | {"error": str(error)}
    call = _caller(library)
    answer["library_path"] = file_behind(ctypes.cast(initialise, ctypes.c_void_p).value or 0)
    version = ctypes.c_int()
    if call("cuDriverGetVersion", ctypes.byref(version)) == _SUCCESS:
        answer["driver_version"] = version.value
    code = call("cuInit", 0)
    count = ctypes.c_int()
    if code == _SUCCESS:
        code = call("cuDeviceGetCount", ctypes.byref(count))
    if code == _SUCCESS:
        answer["device_count"] = count.value
        answer["devices"] = [_ask_device(call, ordinal) for ordinal in range(count.value)]
    return answer | _described(call, code)


def _ask_device(call: Call, ordinal: int) -> dict[str, object]:
    """One device.

    `return_code`: of taking its handle. `uuid`: of the physical GPU, as NVML writes it, also where the device is a MIG
    instance. `field_errors`: by field, the `return_code` and `return_name` of what could not be told. A field that this
    version of the library has no function for is null.
    """
    device = ctypes.c_int()
    code = call("cuDeviceGet", ctypes.byref(device), ordinal)
    answer = {"ordinal": ordinal, **_described(call, code)}
    fields: dict[str, object] = dict.fromkeys(("name", "compute_capability", "memory_total_bytes", "uuid"))
    errors: dict[str, object] = {}
    if code != _SUCCESS:
        return answer | fields | {"field_errors": errors}

    name = ctypes.create_string_buffer(256)
    major, minor = ctypes.c_int(), ctypes.c_int()
    memory = ctypes.c_size_t()
    uuid = (ctypes.c_ubyte * 16)()
    codes = {
        "name": call("cuDeviceGetName", name, len(name), device),
        "compute_capability": call("cuDeviceGetAttribute", ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, device)
        or call("cuDeviceGetAttribute", ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, device),
        "memory_total_bytes": call("cuDeviceTotalMem_v2", ctypes.byref(memory), device),
        "uuid": call("cuDeviceGetUuid", uuid, device),
    }
    values: dict[str, object] = {
        "name": name.value.decode("utf-8", "backslashreplace"),
        "compute_capability": [major.value, minor.value],
        "memory_total_bytes": memory.value,
        "uuid": _gpu_uuid(bytes(uuid)),
    }
    for field, code in codes.items():
        if code == _SUCCESS:
            fields[field] = values[field]
        elif code is not None:
            errors[field] = {"return_code": code, "return_name": _text(call, "cuGetErrorName", code)}
    return answer | fields | {"field_errors": errors}


def _caller(library: ctypes.CDLL) -> Call:
    """Calls a function by name and gives its return code; None where this version of the library lacks it."""

    def call(name: str, *arguments: Any) -> int | None:
        try:
            function = getattr(library, name)
        except AttributeError:
            return None
        return int(function(*arguments))

    return call


def _described(call: Call, code: int | None) -> dict[str, object]:
    name, message = _text(call, "cuGetErrorName", code), _text(call, "cuGetErrorString", code)
    return {"return_code": code, "return_name": name, "message": message}


def _text(call: Call, function: str, code: int | None) -> str | None:
    """What the library calls a return code; None for a code that it does not know."""
    text = ctypes.c_char_p()
    if code is None or call(function, code, ctypes.byref(text)) != _SUCCESS or text.value is None:
        return None
    return text.value.decode("utf-8", "backslashreplace")


def _gpu_uuid(octets: bytes) -> str:
    digits = octets.hex()
    return "GPU-" + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
