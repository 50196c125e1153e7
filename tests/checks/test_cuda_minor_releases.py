"""Frameworks whose PTX or calls are too new for a driver of the same CUDA major."""

import pytest
from framework_environments import (
    H200,
    PREFIX,
    RTX_5090,
    driver,
    gpus,
    torch,
    tried,
)
from outcomes import only, severity_of, status

from gpudoctor import Severity
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.findings import Status

PTX, CALL = "cuda.ptx-newer-than-driver", "cuda.call-needs-newer-driver"


# cuda.ptx-newer-than-driver


def test_ptx_of_a_newer_toolkit() -> None:
    one = torch("2.9.1+cu132", (13, 2), "sm_75", "sm_80", "compute_80")
    found = only(PTX, FrameworkBuilds((one,)), gpus(RTX_5090), driver("580.95.05", (13, 0)))
    assert severity_of(PTX, found) is Severity.ERROR
    assert "has for NVIDIA GeForce RTX 5090 (compute capability 12.0) only PTX of CUDA 13.2" in found.summary
    assert ("table", "sm_75 sm_80 compute_80") in found.evidence


@pytest.mark.parametrize(
    ("architectures", "cuda", "version", "level"),
    [
        (("sm_75", "sm_120", "compute_120"), (13, 2), "580.95.05", (13, 0)),  # native code
        (("sm_75", "compute_90"), (13, 0), "580.95.05", (13, 0)),  # the driver's own CUDA
        (("sm_75", "compute_90"), (13, 2), "595.45.04", (13, 2)),
        (("sm_75", "sm_90"), (13, 2), "580.95.05", (13, 0)),  # nothing at all for this GPU: another check's
        ((), (13, 2), "580.95.05", (13, 0)),
    ],
)
def test_ptx_that_is_no_trouble(architectures: tuple, cuda: tuple, version: str, level: tuple) -> None:
    builds = FrameworkBuilds((torch("2.9.1", cuda, *architectures),))
    assert status(PTX, builds, gpus(RTX_5090), driver(version, level)) is Status.OK


def test_ptx_with_a_driver_that_no_table_knows() -> None:
    builds = FrameworkBuilds((torch("2.9.1", (99, 0), "sm_75", "compute_90"),))
    unknown = DriverCuda("999.10", (13, 4), "NVML", certain=False)
    assert status(PTX, builds, gpus(RTX_5090), unknown) is Status.UNKNOWN


def test_ptx_by_the_framework_s_own_words() -> None:
    one = torch("2.9.1", (13, 2), "sm_120")
    said = "AcceleratorError: CUDA error: the provided PTX was compiled with an unsupported toolchain.\nmore"
    found = only(PTX, FrameworkBuilds((one,)), gpus(RTX_5090), driver("580.95.05", (13, 0)), tried(said))
    assert ("torch, tried", said.partition("\n")[0]) in found.evidence
    assert status(PTX, FrameworkBuilds((one,)), gpus(RTX_5090), driver("580.95.05", (13, 0)), tried()) is Status.OK


# cuda.call-needs-newer-driver


def test_call_needs_newer_driver() -> None:
    builds = FrameworkBuilds((torch("2.9.1", (12, 8), "sm_90"),))
    said = "RuntimeError: CUDA driver error: CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER"
    found = only(CALL, builds, gpus(H200), driver("535.309.01", (12, 2)), tried(said))
    assert "branch 570 or later" in found.remedy
    assert found.environment == PREFIX
    assert status(CALL, builds, gpus(H200), driver("535.309.01", (12, 2)), tried()) is Status.OK
    assert status(CALL, builds, gpus(H200), driver("535.309.01", (12, 2))) is Status.UNKNOWN  # nobody tried
    assert status(CALL, builds, ComputeGpus(())) is Status.SKIPPED
