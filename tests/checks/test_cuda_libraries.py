"""CUDA libraries that a framework needs and does not find."""

from framework_environments import (
    PREFIX,
    SITE,
    V100,
    build,
    distribution,
    environment,
    gpus,
    tried,
    use,
)
from outcomes import only, status

from gpudoctor import Severity
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.findings import Status
from gpudoctor.testing import outcome_of

MISSING, MAJOR = "cuda.library-missing", "python.cuda-major-mismatch"
NOTHING = LoaderCache(b"")
PINNED = distribution(
    "torch",
    "2.9.1",
    'nvidia-cublas-cu12==12.8.4.1; platform_system == "Linux" and platform_machine == "x86_64"',
    'nvidia-cudnn-cu12==9.10.2.21; platform_system == "Linux"',
)


def torch_in(place: PythonEnvironment) -> FrameworkBuild:
    return build("torch", PINNED, (12, 8), "sm_90", where=place, version="2.9.1+cu128")


def libraries(*uses: LibraryUse) -> FrameworkLibraries:
    return FrameworkLibraries(uses)


CUBLAS = use("torch", "libcublas.so.12")
CUDART = use("torch", "libcudart.so.12", f"{SITE}/nvidia/cuda_runtime/lib/libcudart.so.12")


def test_a_library_is_nowhere() -> None:
    builds = FrameworkBuilds((torch_in(environment(PINNED)),))
    found = only(MISSING, builds, libraries(CUDART, CUBLAS), NOTHING, gpus(V100))
    assert found.summary == "torch 2.9.1+cu128 in /home/ada/venv needs libcublas.so.12, which is nowhere to be found."
    assert found.severity is Severity.ERROR
    assert found.evidence == (("/x.so", "NEEDED libcublas.so.12"),)
    assert found.remedy == (
        "Install what is missing: `/home/ada/venv/bin/python -m pip install nvidia-cublas-cu12==12.8.4.1`."
    )
    assert status(MAJOR, builds, libraries(CUDART, CUBLAS), NOTHING, gpus(V100)) is Status.OK


def test_a_library_of_another_major_is_there() -> None:
    other = distribution("nvidia-cublas", "13.1.1.3")
    builds = FrameworkBuilds((torch_in(environment(PINNED, other)),))
    found = only(MAJOR, builds, libraries(CUBLAS), NOTHING, gpus(V100))
    assert found.summary.endswith("needs libcublas.so.12, and only nvidia-cublas 13.1.1.3 is there.")
    assert "nvidia-cublas-cu12==12.8.4.1" in found.remedy
    assert status(MISSING, builds, libraries(CUBLAS), NOTHING, gpus(V100)) is Status.OK


def test_nothing_is_missing() -> None:
    builds = FrameworkBuilds((torch_in(environment(PINNED)),))
    for check in (MISSING, MAJOR):
        assert status(check, builds, libraries(CUDART), NOTHING, gpus(V100)) is Status.OK
        assert (
            status(check, builds, libraries(use("torch", "libcudnn.so.9")), NOTHING, gpus(V100)) is Status.OK
        )  # another's


def test_torch_cannot_be_imported_without_gpu_either_and_others_can() -> None:
    jax = build("jax", distribution("jax-cuda12-plugin", "0.8.0"), (12, 0), cuda_minor_known=False)
    needs = libraries(CUBLAS, use("jax", "libcufft.so.11"))
    builds = FrameworkBuilds((torch_in(environment(PINNED)), jax))
    without = outcome_of(MISSING, builds, needs, NOTHING, ComputeGpus(()))
    assert [found.subject for found in without.findings] == ["torch 2.9.1+cu128"]
    on_gpu = outcome_of(MISSING, builds, needs, NOTHING, gpus(V100))
    assert [found.subject for found in on_gpu.findings] == ["torch 2.9.1+cu128", "jax-cuda12-plugin 0.8.0"]
    assert "'jax[cuda12]==0.8.0'" in on_gpu.findings[1].remedy


def test_without_a_pin_the_framework_is_asked_for_again() -> None:
    plain = distribution("torch", "2.14.1", "cuda-toolkit[cublas]==13.0.3")
    one = build("torch", plain, (13, 0), where=environment(plain), version="2.14.1+cu130")
    found = only(MISSING, FrameworkBuilds((one,)), libraries(use("torch", "libcublas.so.13")), NOTHING, gpus(V100))
    assert "torch==2.14.1" in found.remedy
    assert "whl/cu130" in found.remedy


def test_what_computed_misses_nothing() -> None:
    trials = tried()
    builds = FrameworkBuilds((torch_in(environment(PINNED)),))
    assert status(MISSING, builds, libraries(CUBLAS), NOTHING, gpus(V100), trials) is Status.OK


def test_a_file_that_could_not_be_read_is_unknown_for_its_environment() -> None:
    builds = FrameworkBuilds((torch_in(environment(PINNED)),))
    broken = FrameworkLibraries((), ((PREFIX, "/x.so is no ELF file"),))
    outcome = outcome_of(MISSING, builds, broken, NOTHING, gpus(V100))
    assert (outcome.status, outcome.reason, outcome.matters) == (Status.UNKNOWN, "/x.so is no ELF file", True)
    assert status(MISSING, FrameworkBuilds(()), broken, NOTHING) is Status.OK
    assert status(MISSING, builds, NOTHING) is Status.UNKNOWN
