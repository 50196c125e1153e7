"""Frameworks and conda environments that are built for a newer CUDA than the driver runs."""

import pytest
from framework_environments import (
    A100,
    GTX_1080,
    H200,
    PREFIX,
    RTX_4090,
    SITE,
    build,
    distribution,
    driver,
    environment,
    environments,
    gpus,
    torch,
    tried,
)
from outcomes import only, severity_of, status

from gpudoctor import Severity
from gpudoctor.facts.conda import CondaPackage
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.driver_search import Libcuda, LibcudaSearch
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.findings import Status
from gpudoctor.testing import outcome_of

TOO_OLD, CONDA = "cuda.driver-too-old", "cuda.conda-toolkit-too-new"
OLD = driver("470.256.02", (11, 4))
NONE = LibcudaSearch(None, None, ())
MODERN = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_90")


def compat(version: str, *, used: bool) -> LibcudaSearch:
    path = "/usr/local/cuda-12.1/compat/libcuda.so.1"
    one = Libcuda(path, f"/usr/local/cuda-12.1/compat/libcuda.so.{version}", version, "LD_LIBRARY_PATH" if used else "")
    return LibcudaSearch(one if used else None, None, (one,))


# cuda.driver-too-old


def test_470_with_12_1_on_geforce_is_an_error() -> None:
    found = only(TOO_OLD, FrameworkBuilds((torch("2.5.1+cu121", (12, 1), *MODERN),)), gpus(RTX_4090), OLD, NONE)
    assert found.severity is Severity.ERROR
    assert found.summary == (
        "torch 2.5.1+cu121 in /home/ada/venv is built for CUDA 12.1, "
        "and driver 470.256.02 (CUDA 11.4) is too old for it."
    )
    assert found.environment == PREFIX
    assert ("/proc/driver/nvidia/version", "470.256.02") in found.evidence
    assert f"{SITE}/torch/version.py" in {evidence.source for evidence in found.evidence}
    # The same torch for the older CUDA, from its own index.
    assert "torch==2.5.1+cu118" in found.remedy
    assert f"{PREFIX}/bin/python -m pip install" in found.remedy


def test_470_with_12_1_on_a_data_centre_card_with_compat_is_a_note() -> None:
    builds = FrameworkBuilds((torch("2.5.1+cu121", (12, 1), *MODERN),))
    found = only(TOO_OLD, builds, gpus(A100), OLD, compat("530.30.02", used=True))
    assert found.severity is Severity.INFO
    assert "/usr/local/cuda-12.1/compat/libcuda.so.1 makes up for that" in found.summary


def test_compat_that_no_program_finds_is_the_cheapest_repair() -> None:
    builds = FrameworkBuilds((torch("2.5.1+cu121", (12, 1), *MODERN),))
    found = only(TOO_OLD, builds, gpus(A100), OLD, compat("530.30.02", used=False))
    assert found.severity is Severity.ERROR
    assert "would make up for that, and programs do not find it" in found.summary
    assert "export LD_LIBRARY_PATH=/usr/local/cuda-12.1/compat" in found.remedy


@pytest.mark.parametrize(
    ("cards", "search"),
    [
        ((RTX_4090,), compat("530.30.02", used=True)),  # GeForce is refused
        ((A100, RTX_4090), compat("530.30.02", used=True)),  # one of them is
        ((A100,), NONE),
        ((A100,), compat("510.39.01", used=True)),  # a package that is too old itself
    ],
)
def test_compat_that_does_not_help(cards: tuple, search: LibcudaSearch) -> None:
    builds = FrameworkBuilds((torch("2.5.1+cu121", (12, 1), *MODERN),))
    assert only(TOO_OLD, builds, gpus(*cards), OLD, search).severity is Severity.ERROR


@pytest.mark.parametrize(
    ("version", "level", "cuda"),
    [
        ("580.95.05", (13, 0), (13, 2)),  # minor version compatibility
        ("535.309.01", (12, 2), (12, 8)),
        ("525.60.13", (12, 0), (12, 9)),
        ("615.12", None, (11, 8)),
    ],
)
def test_drivers_that_run_it(version: str, level: tuple[int, int] | None, cuda: tuple[int, int]) -> None:
    built = FrameworkBuilds((torch("2.9.1", cuda, "sm_86", "sm_90"),))
    assert status(TOO_OLD, built, gpus(RTX_4090), driver(version, level), NONE) is Status.OK


@pytest.mark.parametrize(
    ("framework", "name", "version", "cuda", "words"),
    [
        ("jax", "jax-cuda13-plugin", "0.8.0", (13, 0), "jax[cuda12]"),
        ("cupy", "cupy-cuda13x", "14.2.0", (13, 0), "cupy-cuda12x"),
        ("onnxruntime", "onnxruntime-gpu", "1.28.0", (13, 0), "onnxruntime-gpu"),
        ("tensorflow", "tensorflow", "2.20.0", (12, 5), "tensorflow[and-cuda]=="),
    ],
)
def test_every_framework(framework: str, name: str, version: str, cuda: tuple[int, int], words: str) -> None:
    one = build(framework, distribution(name, version), cuda, cuda_minor_known=framework == "tensorflow")
    old = driver("535.309.01", (12, 2)) if cuda[0] == 13 else OLD
    found = only(TOO_OLD, FrameworkBuilds((one,)), gpus(RTX_4090), old, NONE)
    assert found.severity is Severity.ERROR
    assert words in found.remedy


def test_elsewhere_it_is_a_warning() -> None:
    builds = FrameworkBuilds((torch("2.11.0", (13, 0), *MODERN, in_use=False),))
    assert only(TOO_OLD, builds, gpus(RTX_4090), driver("535.309.01", (12, 2)), NONE).severity is Severity.WARNING


def test_what_computed_is_not_too_old() -> None:
    builds = FrameworkBuilds((torch("2.11.0", (13, 0), *MODERN),))
    assert status(TOO_OLD, builds, gpus(H200), driver("535.309.01", (12, 2)), NONE, tried()) is Status.OK
    failed = tried("RuntimeError: The NVIDIA driver on your system is too old")
    assert status(TOO_OLD, builds, gpus(H200), driver("535.309.01", (12, 2)), NONE, failed) is Status.FOUND


def test_no_gpu_no_driver_no_framework() -> None:
    builds = FrameworkBuilds((torch("2.11.0", (13, 0), *MODERN),))
    outcome = outcome_of(TOO_OLD, builds, ComputeGpus(()))
    assert (outcome.status, outcome.reason) == (Status.SKIPPED, "no NVIDIA GPU here")
    assert status(TOO_OLD, builds, gpus(RTX_4090)) is Status.UNKNOWN  # nobody knows the driver
    assert status(TOO_OLD, FrameworkBuilds(()), gpus(RTX_4090)) is Status.OK  # and nobody needs it
    assert status(TOO_OLD, FrameworkBuilds((torch("2.9.1+cpu", None),)), gpus(RTX_4090)) is Status.OK


def test_a_cuda_that_no_table_knows_is_unknown_for_its_environment() -> None:
    builds = FrameworkBuilds((torch("9.0.0", (99, 0), "sm_86"),))
    outcome = outcome_of(TOO_OLD, builds, gpus(RTX_4090), DriverCuda("999.10", None, "x"), NONE)
    assert (outcome.status, outcome.matters) == (Status.UNKNOWN, True)


# cuda.conda-toolkit-too-new


def conda_environment(*packages: tuple[str, str]) -> PythonEnvironment:
    records = tuple(CondaPackage(name, version, "h0_0") for name, version in packages)
    return environment(prefix="/opt/conda/envs/train", kind="conda", conda=records)


def test_conda_toolkit_too_new() -> None:
    place = environments(conda_environment(("cuda-version", "13.0"), ("cuda-cudart", "13.0.48")))
    found = only(CONDA, place, gpus(GTX_1080), driver("535.309.01", (12, 2)), NONE)
    assert severity_of(CONDA, found) is Severity.ERROR
    assert found.subject == "cuda-version 13.0"
    assert found.evidence[0].source == "/opt/conda/envs/train/conda-meta/cuda-version-13.0-h0_0.json"
    assert "`conda install -p /opt/conda/envs/train cuda-version=12.2`" in found.remedy


@pytest.mark.parametrize(
    "packages",
    [
        (("cuda-version", "12.9"), ("cuda-cudart", "12.9.37")),  # minor version compatibility
        (("cudatoolkit", "11.8.0"),),
        (("cuda-version", "13.0"),),  # a pin without libraries
        (("python", "3.12.1"),),
    ],
)
def test_conda_that_fits(packages: tuple[tuple[str, str], ...]) -> None:
    place = environments(conda_environment(*packages))
    assert status(CONDA, place, gpus(GTX_1080), driver("535.309.01", (12, 2)), NONE) is Status.OK


def test_one_odd_conda_record_hides_no_other() -> None:
    odd = conda_environment(("cuda-version", "odd"), ("cuda-cudart", "1"))
    bad = conda_environment(("cudatoolkit", "13.0.1"))._replace(prefix="/opt/conda/envs/other")
    outcome = outcome_of(CONDA, environments(odd, bad), gpus(GTX_1080), driver("535.309.01", (12, 2)), NONE)
    assert [found.environment for found in outcome.findings] == ["/opt/conda/envs/other"]
    assert "cuda-version 'odd' names no CUDA release" in outcome.reason
