"""What NVML, NVIDIA's management library, says about the driver and each GPU, through NVIDIA's own binding pynvml.

`null` is NVML's `[N/A]`: the GPU, the library or the rights of this user do not have the value. An error is sickness.
"""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import pynvml

from gpudoctor.probes.device_files import node_refusals
from gpudoctor.probes.mappings import file_behind
from gpudoctor.probes.nvml_calls import NOT_AVAILABLE, call, first_of, memory_of, message_of, named, two_states
from gpudoctor.probes.nvml_links import fabric_state, pci_peers, performance_state
from gpudoctor.probes.nvml_sharing import license_of, mig_devices, processes, recovery_action, virtualization_mode
from gpudoctor.probes.restraint import leave_driver_unloaded

_NAMES = {code: name for name, code in vars(pynvml).items() if name.startswith(("NVML_SUCCESS", "NVML_ERROR_"))}

# Whichever field was asked for: these speak of the whole GPU.
_GPU_IS_SICK = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)

_MEMORY_FIELDS = ("memory_total_bytes", "memory_reserved_bytes", "memory_used_bytes", "memory_free_bytes")

# A question gives the values of all the fields it is filed under, or raises NVMLError.
_Questions = Mapping[tuple[str, ...], Callable[[], tuple[object, ...]]]


def ask_nvml() -> dict[str, object]:
    """NVML's answer.

    `return_code`, `return_name`, `message` (NVML's own text): of nvmlInit, or where that succeeded and GPUs cannot even
    be counted, of counting them. `error`: the loader's reason if the library could not be loaded, else null.
    `library_path`: the file that was loaded, links resolved. `cuda_driver_version`: 12020 is CUDA 12.2.
    `gpus`: one object a GPU, see _ask_gpu. `field_errors`: as there, for the fields on this level.
    `node_refusals`: where NVML fails without a reason, by device node the name of the error that opening it gave.
    """
    leave_driver_unloaded()
    answer: dict[str, object] = {"error": None, "library_path": None, "nvml_version": None}
    questions: dict[tuple[str, ...], Callable[[], tuple[object, ...]]] = {}
    gpu_count = 0
    try:
        # pynvml finds it loaded already, and keeps quiet about why it could not be.
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        answer["error"] = str(error)
    else:
        answer["library_path"] = _path_of(library)
        questions[("nvml_version",)] = _one("nvmlSystemGetNVMLVersion")  # answers without nvmlInit
    try:
        pynvml.nvmlInit()
        questions[("driver_version",)] = _one("nvmlSystemGetDriverVersion")
        questions[("cuda_driver_version",)] = _one("nvmlSystemGetCudaDriverVersion")
        gpu_count = pynvml.nvmlDeviceGetCount()
        code = pynvml.NVML_SUCCESS
    except pynvml.NVMLError as error:
        code = error.value
    answer |= {"return_code": code, "return_name": _NAMES.get(code), "message": message_of(code)}
    answer |= {"driver_version": None, "cuda_driver_version": None}
    fields, answer["field_errors"] = _ask(questions)
    answer |= fields
    answer["gpus"] = [_ask_gpu(index) for index in range(gpu_count)]
    if code in (pynvml.NVML_ERROR_UNKNOWN, pynvml.NVML_ERROR_OPERATING_SYSTEM):
        answer["node_refusals"] = node_refusals("/dev")
    return answer


def _ask_gpu(index: int) -> dict[str, object]:
    """One GPU.

    `return_code`: of taking its handle, or GPU_IS_LOST and RESET_REQUIRED if any field said so.
    `field_errors`: by field, the `return_code` and `return_name` of what should have a value and has an error.
    `..._mode` is true for enabled, but for `compute_mode`, which is "default", "exclusive_process" or "prohibited".
    `clocks_event_reasons` is NVML's bit mask, and `clocks_event_reason_names` says which bits are set.
    `memory_used_bytes` leaves out `memory_reserved_bytes`, which the driver keeps, where the driver tells them apart.
    `minor_number`: the N of /dev/nvidiaN. `mig_devices`: the UUIDs of its MIG instances, null while MIG is off.
    `processes`: those that NVML shows here, by `pid`, `kind` ("compute", "graphics", "mps") and `memory_bytes`.
    `recovery_action`: what the driver says must be done: "none", "gpu_reset", "node_reboot"...
    `virtualization_mode`: "none", "passthrough", "vgpu", or of a host's "host_vgpu". `license_state`,
    `license_product`: of a vGPU alone, "licensed" or "unlicensed", and what for.
    `performance_state`, `fabric_state`, `pci_peers`: see `nvml_links`.
    """
    handle = None
    code = pynvml.NVML_SUCCESS
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        code = error.value
    questions = _gpu_questions(index, handle)
    gpu: dict[str, object] = {"index": index, "return_code": code, "return_name": None}
    gpu |= {field: None for fields in questions for field in fields}
    gpu["field_errors"] = {}
    if handle is not None:
        values, errors = _ask(questions)
        gpu |= values
        gpu["field_errors"] = errors
        code = next((error["return_code"] for error in errors.values() if error["return_code"] in _GPU_IS_SICK), code)
    return gpu | {"return_code": code, "return_name": _NAMES.get(code), "message": message_of(code)}


def _gpu_questions(index: int, handle: Any) -> _Questions:
    return {
        ("pci_address", "pci_device_id"): lambda: _pci(handle),
        ("name",): _one("nvmlDeviceGetName", handle),
        ("uuid",): _one("nvmlDeviceGetUUID", handle),
        ("serial",): _one("nvmlDeviceGetSerial", handle),
        ("minor_number",): _one("nvmlDeviceGetMinorNumber", handle),
        ("compute_capability",): _one("nvmlDeviceGetCudaComputeCapability", handle),
        _MEMORY_FIELDS: lambda: memory_of(handle),
        ("persistence_mode",): lambda: (bool(call("nvmlDeviceGetPersistenceMode", handle)),),
        ("compute_mode",): lambda: (_compute_mode(call("nvmlDeviceGetComputeMode", handle)),),
        ("mig_mode", "mig_mode_pending"): lambda: two_states("nvmlDeviceGetMigMode", handle),
        ("mig_devices",): lambda: (mig_devices(handle),),
        ("ecc_mode", "ecc_mode_pending"): lambda: two_states("nvmlDeviceGetEccMode", handle),
        ("ecc_uncorrected_volatile",): _uncorrected(handle, pynvml.NVML_VOLATILE_ECC),
        ("ecc_uncorrected_aggregate",): _uncorrected(handle, pynvml.NVML_AGGREGATE_ECC),
        ("remapped_rows",): lambda: (_remapped_rows(handle),),
        ("retired_pages_pending",): lambda: (bool(call("nvmlDeviceGetRetiredPagesPendingStatus", handle)),),
        ("temperature_c",): lambda: (
            first_of(("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"), handle, pynvml.NVML_TEMPERATURE_GPU),
        ),
        ("power_w",): lambda: (call("nvmlDeviceGetPowerUsage", handle) / 1000,),
        ("power_limit_w",): lambda: (call("nvmlDeviceGetEnforcedPowerLimit", handle) / 1000,),
        ("power_limit_default_w",): lambda: (call("nvmlDeviceGetPowerManagementDefaultLimit", handle) / 1000,),
        ("utilization_percent",): lambda: (call("nvmlDeviceGetUtilizationRates", handle).gpu,),
        ("clocks_event_reasons", "clocks_event_reason_names"): lambda: _clocks_event_reasons(handle),
        ("pcie_link_generation",): _one("nvmlDeviceGetCurrPcieLinkGeneration", handle),
        ("pcie_link_generation_max",): _one("nvmlDeviceGetMaxPcieLinkGeneration", handle),
        ("pcie_link_width",): _one("nvmlDeviceGetCurrPcieLinkWidth", handle),
        ("pcie_link_width_max",): _one("nvmlDeviceGetMaxPcieLinkWidth", handle),
        ("performance_state",): lambda: (performance_state(handle),),
        ("fabric_state",): lambda: (fabric_state(handle),),
        ("pci_peers",): lambda: (pci_peers(index, handle),),
        ("display_active",): lambda: (bool(call("nvmlDeviceGetDisplayActive", handle)),),
        ("virtualization_mode",): lambda: (virtualization_mode(handle),),
        ("license_state", "license_product"): lambda: license_of(handle),
        ("processes",): lambda: (processes(handle),),
        ("recovery_action",): lambda: (recovery_action(handle),),
    }


def _ask(questions: _Questions) -> tuple[dict[str, object], dict[str, dict[str, object]]]:
    """All values by field, and the errors by field."""
    values: dict[str, object] = {}
    errors: dict[str, dict[str, object]] = {}
    for fields, question in questions.items():
        try:
            values.update(zip(fields, question(), strict=True))
        except pynvml.NVMLError as error:
            values.update(dict.fromkeys(fields))
            if error.value not in NOT_AVAILABLE:
                sickness = {"return_code": error.value, "return_name": _NAMES.get(error.value)}
                errors.update(dict.fromkeys(fields, sickness))
    return values, errors


def _one(function: str, *arguments: Any) -> Callable[[], tuple[object, ...]]:
    return lambda: (call(function, *arguments),)


def _pci(handle: Any) -> tuple[str, str]:
    """As in /sys/bus/pci/devices, where a GPU's function is always 0, and `vendor:device`."""
    pci = call("nvmlDeviceGetPciInfo", handle)
    address = f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0"
    return address, f"{pci.pciDeviceId & 0xFFFF:04x}:{pci.pciDeviceId >> 16:04x}"


def _uncorrected(handle: Any, counter: int) -> Callable[[], tuple[object, ...]]:
    return _one("nvmlDeviceGetTotalEccErrors", handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, counter)


def _remapped_rows(handle: Any) -> dict[str, object]:
    correctable, uncorrectable, pending, failed = call("nvmlDeviceGetRemappedRows", handle)
    counts = {"correctable": correctable, "uncorrectable": uncorrectable}
    return counts | {"pending": bool(pending), "failed": bool(failed)}


def _compute_mode(mode: int) -> str | int:
    return named("NVML_COMPUTEMODE_", mode)


def _clocks_event_reasons(handle: Any) -> tuple[int, list[str]]:
    new, old = "nvmlClocksEventReason", "nvmlClocksThrottleReason"  # renamed in driver 535
    mask = first_of(("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"), handle)
    names: dict[int, str] = {}
    for name, bit in vars(pynvml).items():
        if name.startswith((new, old)) and isinstance(bit, int) and bit.bit_count() == 1 and bit & mask:
            names.setdefault(bit, name.removeprefix(new).removeprefix(old))
    return mask, [names[bit] for bit in sorted(names)]


def _path_of(library: ctypes.CDLL) -> str | None:
    try:
        function = library.nvmlSystemGetNVMLVersion
    except AttributeError:  # some other library by this name
        return None
    return file_behind(ctypes.cast(function, ctypes.c_void_p).value or 0)
