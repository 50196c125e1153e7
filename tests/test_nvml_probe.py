"""The probe of NVML: NVIDIA's real pynvml over a stub library that can be as sick as a test wants."""

import os
from pathlib import Path

import pytest
from imaginary_machines import VERSION, Environment, a100, eight_gpus, machine
from probe_children import ask

pytest_plugins = ["native_libraries"]


def test_eight_healthy_gpus(environment: Environment) -> None:
    answer = ask("nvml", environment(eight_gpus()))
    gpus = answer.pop("gpus")
    path = answer.pop("library_path")
    assert path.endswith(f"/libnvidia-ml.so.{VERSION}")
    assert os.path.isabs(path)
    assert answer == {
        "return_code": 0,
        "return_name": "NVML_SUCCESS",
        "message": "Success",
        "error": None,
        "nvml_version": "12.535.261.03",
        "driver_version": "535.261.03",
        "cuda_driver_version": 12020,
        "field_errors": {},
    }
    assert [gpu["index"] for gpu in gpus] == list(range(8))
    assert [gpu["pci_address"] for gpu in gpus] == [f"0000:{bus:02x}:00.0" for bus in range(7, 15)]
    assert gpus[3] == {
        "index": 3,
        "return_code": 0,
        "return_name": "NVML_SUCCESS",
        "message": "Success",
        "name": "NVIDIA A100-SXM4-80GB",
        "uuid": "GPU-11111111-2222-3333-4444-555555555553",
        "serial": "1320000000003",
        "pci_address": "0000:0a:00.0",
        "pci_device_id": "10de:20b2",
        "compute_capability": [8, 0],
        "memory_total_bytes": 81920 << 20,
        "memory_reserved_bytes": 640 << 20,
        "memory_used_bytes": 1024 << 20,
        "memory_free_bytes": (81920 - 640 - 1024) << 20,
        "persistence_mode": True,
        "compute_mode": "default",
        "mig_mode": False,
        "mig_mode_pending": False,
        "ecc_mode": True,
        "ecc_mode_pending": True,
        "ecc_uncorrected_volatile": 0,
        "ecc_uncorrected_aggregate": 3,
        "remapped_rows": {"correctable": 0, "uncorrectable": 1, "pending": False, "failed": False},
        "retired_pages_pending": None,
        "temperature_c": 34,
        "power_w": 62.5,
        "power_limit_w": 400.0,
        "power_limit_default_w": 400.0,
        "utilization_percent": 0,
        "clocks_event_reasons": 1,
        "clocks_event_reason_names": ["GpuIdle"],
        "pcie_link_generation": 4,
        "pcie_link_generation_max": 4,
        "pcie_link_width": 16,
        "pcie_link_width_max": 16,
        "display_active": False,
        "performance_state": 0,
        "fabric_state": None,
        "pci_peers": None,
        "minor_number": 3,
        "mig_devices": None,
        "processes": [],
        "recovery_action": "none",
        "virtualization_mode": None,
        "license_state": None,
        "license_product": None,
        "field_errors": {},
    }


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        (4, "NVML_ERROR_NO_PERMISSION", "Insufficient Permissions"),
        (9, "NVML_ERROR_DRIVER_NOT_LOADED", "Driver Not Loaded"),
        (12, "NVML_ERROR_LIBRARY_NOT_FOUND", "NVML Shared Library Not Found"),
        (18, "NVML_ERROR_LIB_RM_VERSION_MISMATCH", "Driver/library version mismatch"),
        (999, "NVML_ERROR_UNKNOWN", "Unknown Error"),
        (777, None, "Unknown Error"),
    ],
)
def test_nvml_that_cannot_start(environment: Environment, code: int, name: str | None, message: str) -> None:
    answer = ask("nvml", environment(eight_gpus(nvmlInit=code)))
    assert (answer["return_code"], answer["return_name"], answer["message"]) == (code, name, message)
    assert (answer["driver_version"], answer["cuda_driver_version"], answer["gpus"]) == (None, None, [])
    assert answer["nvml_version"] == "12.535.261.03"
    assert answer["library_path"].endswith(f"/libnvidia-ml.so.{VERSION}")
    assert answer["error"] is None


def test_gpus_that_cannot_be_counted_are_not_no_gpus(environment: Environment) -> None:
    answer = ask("nvml", environment(eight_gpus(count="!999")))
    assert (answer["return_code"], answer["gpus"]) == (999, [])
    assert answer["driver_version"] == "535.261.03"


def test_machine_without_gpus(environment: Environment) -> None:
    answer = ask("nvml", environment(machine([])))
    assert (answer["return_code"], answer["gpus"]) == (0, [])


def test_field_of_the_whole_machine_that_fails(environment: Environment) -> None:
    answer = ask("nvml", environment(eight_gpus(driver_version="!999")))
    assert answer["driver_version"] is None
    assert answer["field_errors"] == {"driver_version": {"return_code": 999, "return_name": "NVML_ERROR_UNKNOWN"}}
    assert len(answer["gpus"]) == 8


@pytest.mark.parametrize("code", [3, 4, 13, 25, 26])
def test_field_that_a_gpu_does_not_have_is_null_and_no_sickness(environment: Environment, code: int) -> None:
    [gpu] = ask("nvml", environment(machine([a100(0, power=f"!{code}")])))["gpus"]
    assert gpu["power_w"] is None
    assert gpu["temperature_c"] == 34
    assert (gpu["return_code"], gpu["field_errors"]) == (0, {})


def test_gpu_that_tells_nothing_but_its_name(environment: Environment) -> None:
    [gpu] = ask("nvml", environment(machine([{"name": "NVIDIA GeForce GTX 750"}])))["gpus"]
    assert {field for field, value in gpu.items() if value is not None} == {
        *("index", "name", "return_code", "return_name", "message", "field_errors")
    }
    assert gpu["field_errors"] == {}


def test_field_that_fails_is_sickness(environment: Environment) -> None:
    answer = ask("nvml", environment(machine([a100(0), a100(1, power="!999", memory="!10")])))
    healthy, sick = answer["gpus"]
    assert healthy["field_errors"] == {}
    assert sick["return_code"] == 0
    assert sick["power_w"] is None
    assert sick["memory_total_bytes"] is None
    assert sick["temperature_c"] == 34
    timeout = {"return_code": 10, "return_name": "NVML_ERROR_TIMEOUT"}
    assert sick["field_errors"] == {
        "power_w": {"return_code": 999, "return_name": "NVML_ERROR_UNKNOWN"},
        "memory_total_bytes": timeout,
        "memory_reserved_bytes": timeout,
        "memory_used_bytes": timeout,
        "memory_free_bytes": timeout,
    }


@pytest.mark.parametrize("way", ["handle", "every"])
def test_one_lost_gpu_does_not_hide_the_others(environment: Environment, way: str) -> None:
    gpus = [a100(index) for index in range(8)]
    gpus[5] = a100(5, **{way: "!15"})
    answer = ask("nvml", environment(machine(gpus)))
    assert answer["return_code"] == 0
    assert [gpu["return_code"] for gpu in answer["gpus"]] == [0, 0, 0, 0, 0, 15, 0, 0]
    lost = answer["gpus"][5]
    assert (lost["index"], lost["return_name"], lost["message"]) == (5, "NVML_ERROR_GPU_IS_LOST", "GPU is lost")
    assert lost["uuid"] is None
    assert lost.keys() == answer["gpus"][6].keys()
    assert ("uuid" in lost["field_errors"]) == (way == "every")
    assert answer["gpus"][6]["uuid"] == "GPU-11111111-2222-3333-4444-555555555556"


def test_gpu_that_wants_a_reset_keeps_what_it_still_tells(environment: Environment) -> None:
    [gpu] = ask("nvml", environment(machine([a100(0, remapped_rows="!16")])))["gpus"]
    assert gpu["return_name"] == "NVML_ERROR_RESET_REQUIRED"
    assert gpu["field_errors"].keys() == {"remapped_rows"}
    assert gpu["uuid"] == "GPU-11111111-2222-3333-4444-555555555550"


def test_library_of_a_driver_before_510(environment: Environment) -> None:
    old = a100(0, memory_v2="!13", clocks_event_reasons=None, clocks_throttle_reasons=0x44)
    [gpu] = ask("nvml", environment(machine([old])))["gpus"]
    assert gpu["memory_reserved_bytes"] is None
    assert gpu["memory_used_bytes"] == (640 + 1024) << 20
    assert gpu["clocks_event_reasons"] == 0x44
    assert gpu["clocks_event_reason_names"] == ["SwPowerCap", "HwThermalSlowdown"]
    assert gpu["field_errors"] == {}


def test_modes_and_remapped_rows(environment: Environment) -> None:
    changes = {"compute_mode": 3, "mig_mode": "1 0", "persistence_mode": 0, "display_active": 1}
    [gpu] = ask("nvml", environment(machine([a100(0, remapped_rows="4 2 1 1", **changes)])))["gpus"]
    assert gpu["compute_mode"] == "exclusive_process"
    assert (gpu["mig_mode"], gpu["mig_mode_pending"]) == (True, False)
    assert (gpu["persistence_mode"], gpu["display_active"]) == (False, True)
    assert gpu["remapped_rows"] == {"correctable": 4, "uncorrectable": 2, "pending": True, "failed": True}


def test_load_limits_and_retired_pages(environment: Environment) -> None:
    changes = {"utilisation": 97, "power_limit": 250000, "retired_pages_pending": 1, "power_limit_default": "!3"}
    [gpu] = ask("nvml", environment(machine([a100(0, **changes)])))["gpus"]
    told = [gpu[field] for field in ("utilization_percent", "power_limit_w", "power_limit_default_w")]
    assert told == [97, 250.0, None]
    assert gpu["retired_pages_pending"] is True
    assert gpu["field_errors"] == {}


def test_mig_instances(environment: Environment) -> None:
    off = a100(0, mig_devices=0)
    empty, cut, refused = (a100(n, mig_mode="1 1", mig_devices=count) for n, count in enumerate((0, 2, "!4"), 1))
    gpus = ask("nvml", environment(machine([off, empty, cut, refused])))["gpus"]
    instances = [f"MIG-00000000-0000-0000-0000-00000000000{place}" for place in (0, 2)]
    assert [gpu["mig_devices"] for gpu in gpus] == [None, [], instances, None]
    assert [gpu["field_errors"] for gpu in gpus] == [{}] * 4


def test_processes_of_every_kind(environment: Environment) -> None:
    busy = a100(0, processes=1, graphics_processes=1, mps_processes=1)
    only_compute = a100(1, processes=2, graphics_processes=None, mps_processes="!3")
    first, second = ask("nvml", environment(machine([busy, only_compute])))["gpus"]
    assert first["processes"] == [
        {"pid": 1001, "kind": "compute", "memory_bytes": 1 << 30},
        {"pid": 2001, "kind": "graphics", "memory_bytes": 1 << 20},
        {"pid": 3001, "kind": "mps", "memory_bytes": 1 << 20},
    ]
    assert [process["pid"] for process in second["processes"]] == [1001, 1002]


@pytest.mark.parametrize(
    ("told", "action"),
    [(0, "none"), (1, "gpu_reset"), (2, "node_reboot"), (4, "drain_and_reset"), (99, 99), ("!2", None), ("!3", None)],
)
def test_what_the_driver_wants_done(environment: Environment, told: object, action: object) -> None:
    [gpu] = ask("nvml", environment(machine([a100(0, recovery_action=told)])))["gpus"]
    assert gpu["recovery_action"] == action
    assert gpu["field_errors"] == {}


def test_licenses_of_virtual_gpus_alone(environment: Environment) -> None:
    bare, whole = a100(0, virtualization_mode=0), a100(1, virtualization_mode=1, licensed=0)
    mine, unlicensed = (a100(2 + licensed, virtualization_mode=2, licensed=licensed) for licensed in (1, 0))
    refused = a100(4, virtualization_mode=2, licensed="!3")
    gpus = ask("nvml", environment(machine([bare, whole, mine, unlicensed, refused])))["gpus"]
    assert [gpu["virtualization_mode"] for gpu in gpus] == ["none", "passthrough", "vgpu", "vgpu", "vgpu"]
    assert [gpu["license_state"] for gpu in gpus] == [None, None, "licensed", "unlicensed", None]
    assert gpus[3]["license_product"] == "NVIDIA Virtual Compute Server"
    assert [gpu["field_errors"] for gpu in gpus] == [{}] * 5


def test_pci_domain_of_more_than_16_bits_is_written_as_the_kernel_does(environment: Environment) -> None:
    [gpu] = ask("nvml", environment(machine([a100(0, pci="10000:E1:00 2330")])))["gpus"]
    assert (gpu["pci_address"], gpu["pci_device_id"]) == ("10000:e1:00.0", "10de:2330")


def test_name_of_junk_bytes(environment: Environment) -> None:
    [gpu] = ask("nvml", environment(machine([a100(0, name="NVIDIA \udcff\udcfe")])))["gpus"]
    assert gpu["name"] == "NVIDIA \\xff\\xfe"


def test_nvml_names_its_code_without_a_library(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    answer = ask("nvml", {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert answer["return_name"] == "NVML_ERROR_LIBRARY_NOT_FOUND"
    assert (answer["message"], answer["gpus"]) == ("NVML Shared Library Not Found", [])


@pytest.mark.parametrize(("setting", "state"), [(1, "not_started"), (2, "in_progress"), (3, "completed"), (0, None)])
def test_state_of_the_switches_between_gpus(environment: Environment, setting: int, state: str | None) -> None:
    [gpu] = ask("nvml", environment(machine([a100(0, fabric_state=setting)])))["gpus"]
    assert gpu["fabric_state"] == state


def test_ways_to_other_gpus_that_cannot_be_told_are_no_sickness(environment: Environment) -> None:
    failing = {"fabric_state": "!999", "p2p_read": "!999", "performance_state": "!999"}
    for gpu in ask("nvml", environment(machine([a100(0, **failing), a100(1)])))["gpus"]:
        assert (gpu["fabric_state"], gpu["pci_peers"], gpu["return_code"], gpu["field_errors"]) == (None, None, 0, {})


@pytest.mark.parametrize(("nvlink", "peers"), [(5, [1, 2]), (0, [])])
def test_gpus_that_exchange_data_over_pci_express(environment: Environment, nvlink: int, peers: list[int]) -> None:
    allowed = {"p2p_read": 0, "p2p_nvlink": nvlink}
    gpus = ask("nvml", environment(machine([a100(0, **allowed), a100(1, **allowed), a100(2, p2p_read=2)])))["gpus"]
    assert [gpu["pci_peers"] for gpu in gpus] == [peers, [0, 2] if peers else [], []]
