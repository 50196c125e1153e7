"""What NVML says of how a GPU is used and divided: processes, MIG instances, virtual GPUs, what must be done to it."""

from typing import Any

import pynvml

from gpudoctor.probes.nvml_calls import NOT_AVAILABLE, call, first_of, named, two_states


def mig_devices(handle: Any) -> list[str] | None:
    """The UUIDs of the MIG instances, None while MIG is off. Raises NVMLError."""
    if not two_states("nvmlDeviceGetMigMode", handle)[0]:
        return None
    found = []
    for index in range(call("nvmlDeviceGetMaxMigDeviceCount", handle)):
        try:
            instance = call("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_NOT_FOUND:
                raise
            continue  # no instance at this place, or one that was given to others
        found.append(str(call("nvmlDeviceGetUUID", instance)))
    return found


def processes(handle: Any) -> list[dict[str, object]]:
    """The processes that NVML shows here. Raises NVMLError."""
    found: list[dict[str, object]] = []
    for kind, word in (("compute", "Compute"), ("graphics", "Graphics"), ("mps", "MPSCompute")):
        name = f"nvmlDeviceGet{word}RunningProcesses"
        try:
            told = first_of((f"{name}_v3", f"{name}_v2"), handle)
        except pynvml.NVMLError as error:
            if kind == "compute" or error.value not in NOT_AVAILABLE:
                raise
            continue  # a GPU or a driver that has no such processes
        found += [{"pid": one.pid, "kind": kind, "memory_bytes": one.usedGpuMemory} for one in told]
    return found


def recovery_action(handle: Any) -> str | int:
    """What the driver says must be done: "none", "gpu_reset"... Raises NVMLError."""
    field = getattr(pynvml, "NVML_FI_DEV_GET_GPU_RECOVERY_ACTION", None)
    if field is None:  # an older nvidia-ml-py
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    [told] = call("nvmlDeviceGetFieldValues", handle, [field])
    if told.nvmlReturn == pynvml.NVML_ERROR_INVALID_ARGUMENT:  # so says a driver that does not know the field
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    if told.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(told.nvmlReturn)
    return named("NVML_GPU_RECOVERY_ACTION_", told.value.uiVal)


def virtualization_mode(handle: Any) -> str | int:
    """ "none", "passthrough", "vgpu", "host_vgpu"... Raises NVMLError."""
    return named("NVML_GPU_VIRTUALIZATION_MODE_", call("nvmlDeviceGetVirtualizationMode", handle))


def license_of(handle: Any) -> tuple[str | None, str | None]:
    """Of a vGPU "licensed" or "unlicensed", and what for. Raises NVMLError."""
    if virtualization_mode(handle) != "vgpu":
        return None, None  # GPUs that are no vGPU work without a license, whatever NVML says of one
    told = call("nvmlDeviceGetGridLicensableFeatures", handle)
    features = told.gridLicensableFeatures[: told.licensableFeaturesCount] if told.isGridLicenseSupported else ()
    licensed = [feature for feature in features if feature.featureState]
    names = [str(feature.productName) for feature in licensed or features]
    return ("licensed" if licensed else "unlicensed") if features else None, next(iter(names), None)
