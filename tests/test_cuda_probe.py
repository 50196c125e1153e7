"""The probe of libcuda, over a stub library that can be as sick as a test wants."""

import pytest
from imaginary_machines import VERSION, Environment, a100, eight_gpus, machine
from probe_children import ask

pytest_plugins = ["native_libraries"]


def test_eight_healthy_cuda_devices(environment: Environment) -> None:
    answer = ask("cuda", environment(eight_gpus()))
    devices = answer.pop("devices")
    assert answer.pop("library_path").endswith(f"/libcuda.so.{VERSION}")
    assert answer == {
        "return_code": 0,
        "return_name": "CUDA_SUCCESS",
        "message": "no error",
        "error": None,
        "driver_version": 12020,
        "device_count": 8,
    }
    assert [device["ordinal"] for device in devices] == list(range(8))
    assert devices[7] == {
        "ordinal": 7,
        "return_code": 0,
        "return_name": "CUDA_SUCCESS",
        "message": "no error",
        "name": "NVIDIA A100-SXM4-80GB",
        "compute_capability": [8, 0],
        "memory_total_bytes": 81920 << 20,
        "uuid": "GPU-11111111-2222-3333-4444-555555555557",
        "field_errors": {},
    }


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        (100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"),
        (802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"),
        (
            803,
            "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
            "system has unsupported display driver / cuda driver combination",
        ),
        (999, "CUDA_ERROR_UNKNOWN", "unknown error"),
        (777, None, None),
    ],
)
def test_cuda_that_cannot_start(environment: Environment, code: int, name: str | None, message: str | None) -> None:
    answer = ask("cuda", environment(eight_gpus(cuInit=code, cuda_version=13000)))
    assert (answer["return_code"], answer["return_name"], answer["message"]) == (code, name, message)
    assert (answer["driver_version"], answer["device_count"], answer["devices"]) == (13000, None, [])
    assert answer["error"] is None


def test_cuda_device_and_field_that_fail(environment: Environment) -> None:
    gpus = [a100(0, cuDeviceGet="!101"), a100(1, memory="!999"), a100(2)]
    gone, sick, healthy = ask("cuda", environment(machine(gpus)))["devices"]
    assert (gone["return_name"], gone["name"], gone["uuid"]) == ("CUDA_ERROR_INVALID_DEVICE", None, None)
    assert sick["field_errors"] == {"memory_total_bytes": {"return_code": 999, "return_name": "CUDA_ERROR_UNKNOWN"}}
    assert (sick["memory_total_bytes"], sick["compute_capability"]) == (None, [8, 0])
    assert (healthy["return_code"], healthy["field_errors"]) == (0, {})
    assert gone.keys() == healthy.keys()
