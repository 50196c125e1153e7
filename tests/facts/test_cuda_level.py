"""The CUDA level of the driver, and the compute capability of the GPUs."""

import pytest

from gpudoctor import Unavailable
from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.testing import facts_of

NOTHING = DriverVersions("", "", "", "", "", "", "")
SILENT = Nvml(9, "NVML_ERROR_DRIVER_NOT_LOADED", "", "", "", "", None, ())


def versions(
    *, loaded: str = "", on_disk: str = "", user_space: str = "", path: str = "/lib/libcuda.so"
) -> DriverVersions:
    return NOTHING._replace(loaded=loaded, on_disk=on_disk, user_space=user_space, user_space_path=path)


def level(*facts: object) -> DriverCuda:
    given = {type(fact) for fact in facts}
    missing = [fact for fact in (NOTHING, SILENT) if type(fact) not in given]
    return facts_of(*facts, *missing).get(DriverCuda)


def test_from_the_branch() -> None:
    found = level(versions(user_space="535.309.01"))
    assert (found.driver, found.cuda, found.certain) == ("535.309.01", (12, 2), True)
    assert found.words == "driver 535.309.01 (CUDA 12.2)"


def test_while_a_reload_is_pending_the_libraries_count() -> None:
    found = level(versions(loaded="535.309.01", on_disk="580.95.05", user_space="580.95.05"))
    assert (found.driver, found.cuda) == ("580.95.05", (13, 0))


def test_forward_compatibility_is_not_the_driver() -> None:
    compat = versions(
        loaded="470.82.01", user_space="535.104.05", path="/usr/local/cuda-12.2/compat/libcuda.so.535.104.05"
    )
    loaded = LoadedDriver("470.82.01", "proprietary", "/proc/driver/nvidia/version", "", {})
    found = level(compat, loaded)
    assert (found.driver, found.cuda) == ("470.82.01", (11, 4))


def test_a_branch_newer_than_the_table_promises_at_least_the_newest() -> None:
    found = level(versions(user_space="700.10"))
    assert not found.certain
    assert found.words.endswith("or newer)")
    answer = Nvml(0, "", "", "", "", "700.10", 14020, ())
    assert level(versions(user_space="700.10"), answer).cuda == (14, 2)


def test_without_a_driver() -> None:
    with pytest.raises(Unavailable, match="no driver"):
        level(NOTHING)


def nvml_gpu(name: str, capability: tuple[int, int] | None, code: int = 0) -> NvmlGpu:
    return NvmlGpu(0, code, "", name, "", "0000:01:00.0", None, capability, None, {}, {})


def pci_gpu(device_id: str, driver: str = "nvidia") -> PciGpu:
    return PciGpu("0000:01:00.0", device_id, driver, "", "", "", None, "")


def test_nvml_knows_best() -> None:
    answer = Nvml(0, "", "", "", "", "", None, (nvml_gpu("NVIDIA H200", (9, 0)),))
    (gpu,) = facts_of(PciGpus((pci_gpu("20b2"),)), answer).get(ComputeGpus).gpus
    assert (gpu.name, gpu.capability, gpu.source, gpu.sm, gpu.data_centre) == (
        "NVIDIA H200",
        (9, 0),
        "NVML",
        "sm_90",
        True,
    )


def test_the_table_where_nvml_is_silent() -> None:
    (gpu,) = facts_of(PciGpus((pci_gpu("2684"),)), SILENT).get(ComputeGpus).gpus
    assert (gpu.capability, gpu.source) == ((8, 9), "GPU table, 10de:2684")
    lost = Nvml(0, "", "", "", "", "", None, (nvml_gpu("NVIDIA H200", (9, 0)), nvml_gpu("", None, 15)))
    assert facts_of(PciGpus((pci_gpu("2684"),)), lost).get(ComputeGpus).gpus[0].source.startswith("GPU table")


def test_gpus_for_virtual_machines_are_nobodys_here() -> None:
    assert facts_of(PciGpus((pci_gpu("2684", "vfio-pci"),)), SILENT).get(ComputeGpus).gpus == ()


def test_an_unknown_device() -> None:
    (gpu,) = facts_of(PciGpus((pci_gpu("ffff"),)), SILENT).get(ComputeGpus).gpus
    assert (gpu.capability, gpu.sm) == (None, "")


def test_equal_gpus_are_judged_once() -> None:
    two = tuple(nvml_gpu("NVIDIA H200", (9, 0))._replace(pci_address=f"0000:0{n}:00.0") for n in (1, 2))
    answer = Nvml(0, "", "", "", "", "", None, (*two, nvml_gpu("NVIDIA A100", (8, 0))))
    assert [gpu.name for gpu in facts_of(answer, PciGpus(())).get(ComputeGpus).distinct] == [
        "NVIDIA H200",
        "NVIDIA A100",
    ]


def test_libcuda_tells_where_the_table_does_not_reach() -> None:
    answer = Cuda(100, "", "", "", "/usr/lib/libcuda.so.300.1", 10020, 0)
    assert level(versions(user_space="300.10"), answer).cuda == (10, 2)
