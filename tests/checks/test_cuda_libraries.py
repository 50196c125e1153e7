"""libcuda from the wrong place, and CUDA libraries that a framework needs and does not find."""

import pytest
from framework_environments import (
    A100,
    PREFIX,
    RTX_4090,
    SITE,
    V100,
    build,
    distribution,
    driver,
    environment,
    gpu,
    gpus,
    use,
)
from outcomes import only, status

from gpudoctor import Severity
from gpudoctor.facts.answers import Cuda
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.deep import DeepTrials, FrameworkTrial
from gpudoctor.facts.driver_search import Libcuda, LibcudaSearch
from gpudoctor.facts.environment import Environment, Setting
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import LoaderCache, LoaderConfig, LoaderFolder
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.findings import Status
from gpudoctor.testing import outcome_of

STUB, MISMATCH = "cuda.stub-library", "cuda.forward-compat-mismatch"
UNSUPPORTED, MISSING, MAJOR = "cuda.forward-compat-unsupported", "cuda.library-missing", "python.cuda-major-mismatch"
STUBS = "/usr/local/cuda-12.4/lib64/stubs"
COMPAT = "/usr/local/cuda-12.4/compat"
DRIVER = driver("535.309.01", (12, 2))
NOTHING = LoaderCache(b"")
BASHRC = Setting(
    "LD_LIBRARY_PATH",
    f"{STUBS}:$LD_LIBRARY_PATH",
    "/home/ada/.bashrc",
    120,
    f"export LD_LIBRARY_PATH={STUBS}:$LD_LIBRARY_PATH",
)
SHELL = Environment({"LD_LIBRARY_PATH": STUBS}, (BASHRC,))


def libcuda(folder: str, version: str = "", by: str = "LD_LIBRARY_PATH", name: str = "libcuda.so.1") -> Libcuda:
    return Libcuda(
        f"{folder}/{name}", f"{folder}/libcuda.so.{version}" if version else f"{folder}/libcuda.so", version, by
    )


def search(one: Libcuda | None, by_name: Libcuda | None = None) -> LibcudaSearch:
    return LibcudaSearch(one, by_name, ())


def cuda(code: int, name: str = "CUDA_SUCCESS") -> Cuda:
    return Cuda(code, name, "", "", f"{COMPAT}/libcuda.so.1", 12040, 1)


# cuda.stub-library


def test_stub_through_the_library_path() -> None:
    found = only(STUB, search(libcuda(STUBS)), gpus(RTX_4090), SHELL)
    assert (
        found.summary
        == f"Programs that ask for libcuda.so.1 get the toolkit's stub {STUBS}/libcuda.so.1, not the driver's library."
    )
    assert found.severity is Severity.ERROR
    assert ("/home/ada/.bashrc:120", BASHRC.text) in found.evidence
    assert "/home/ada/.bashrc (line 120)" in found.remedy


def test_stub_through_ld_so_conf() -> None:
    config = LoaderConfig((LoaderFolder(STUBS, "/etc/ld.so.conf.d/cuda.conf", 2),))
    found = only(STUB, search(libcuda(STUBS, by="ld.so.cache")), gpus(RTX_4090), config)
    assert ("/etc/ld.so.conf.d/cuda.conf:2", STUBS) in found.evidence
    assert found.remedy == f"Take {STUBS} out of /etc/ld.so.conf.d/cuda.conf (line 2), then `sudo ldconfig`."


def test_stub_for_those_only_who_ask_for_libcuda_so() -> None:
    healthy = libcuda("/usr/lib/x86_64-linux-gnu", "535.309.01", "ld.so.cache")
    found = only(STUB, search(healthy, libcuda(STUBS, name="libcuda.so")), gpus(RTX_4090), cuda(0))
    assert found.severity is Severity.WARNING


def test_no_stub() -> None:
    healthy = libcuda("/usr/lib/x86_64-linux-gnu", "535.309.01", "ld.so.cache")
    assert status(STUB, search(healthy, healthy), gpus(RTX_4090)) is Status.OK
    assert status(STUB, search(None), gpus(RTX_4090)) is Status.OK
    assert status(STUB, search(libcuda(STUBS)), ComputeGpus(())) is Status.SKIPPED  # where programs are only built
    assert status(STUB, search(libcuda(STUBS)), gpus(RTX_4090), cuda(0)) is Status.OK  # seen to work
    assert status(STUB, gpus(RTX_4090)) is Status.UNKNOWN


# cuda.forward-compat-mismatch


def test_compat_older_than_the_driver() -> None:
    found = only(
        MISMATCH,
        search(libcuda(COMPAT, "530.30.02")),
        gpus(A100),
        DRIVER,
        cuda(803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
    )
    assert "of driver 530.30.02, stands in for the library of driver 535.309.01" in found.summary
    assert ("cuInit", "803 CUDA_ERROR_SYSTEM_DRIVER_MISMATCH") in found.evidence
    assert "`unset LD_LIBRARY_PATH`" in found.remedy


def test_compat_that_does_not_go_with_the_driver_by_libcuda_s_own_word() -> None:
    one = search(libcuda(COMPAT, "550.54.15"))
    assert status(MISMATCH, one, gpus(A100), DRIVER, cuda(803)) is Status.FOUND
    assert status(MISMATCH, one, gpus(A100), DRIVER, cuda(0)) is Status.OK
    assert status(MISMATCH, one, gpus(A100), DRIVER) is Status.OK


@pytest.mark.parametrize("check", [MISMATCH, UNSUPPORTED])
def test_without_compat(check: str) -> None:
    healthy = libcuda("/usr/lib/x86_64-linux-gnu", "535.309.01", "ld.so.cache")
    assert status(check, search(healthy), gpus(RTX_4090)) is Status.OK
    assert (
        status(check, search(libcuda(COMPAT, "550.54.15")), gpus(RTX_4090)) is Status.UNKNOWN
    )  # the driver is not known
    assert status(check, search(libcuda(COMPAT, "550.54.15")), ComputeGpus(())) is Status.SKIPPED


# cuda.forward-compat-unsupported


def test_compat_on_geforce() -> None:
    found = only(UNSUPPORTED, search(libcuda(COMPAT, "550.54.15")), gpus(RTX_4090), DRIVER)
    assert "NVIDIA GeForce RTX 4090 does not allow forward compatibility" in found.summary
    assert status(UNSUPPORTED, search(libcuda(COMPAT, "550.54.15")), gpus(RTX_4090), DRIVER, cuda(0)) is Status.OK


def test_compat_where_it_is_allowed() -> None:
    assert status(UNSUPPORTED, search(libcuda(COMPAT, "550.54.15")), gpus(A100), DRIVER) is Status.OK
    assert status(UNSUPPORTED, search(libcuda(COMPAT, "535.309.01")), gpus(RTX_4090), DRIVER) is Status.OK  # the same


def test_compat_on_a_card_that_nobody_knows() -> None:
    odd = gpus(gpu("NVIDIA RTX 6000 Ada Generation", (8, 9), data_centre=None))
    one = search(libcuda(COMPAT, "550.54.15"))
    assert status(UNSUPPORTED, one, odd, DRIVER) is Status.UNKNOWN
    assert status(UNSUPPORTED, one, odd, DRIVER, cuda(804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE")) is Status.FOUND


# cuda.library-missing, python.cuda-major-mismatch


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
    trials = DeepTrials((FrameworkTrial("torch", "2.9.1", 1, "", "", (), {}, PREFIX),))
    builds = FrameworkBuilds((torch_in(environment(PINNED)),))
    assert status(MISSING, builds, libraries(CUBLAS), NOTHING, gpus(V100), trials) is Status.OK


def test_a_file_that_could_not_be_read_is_unknown_for_its_environment() -> None:
    builds = FrameworkBuilds((torch_in(environment(PINNED)),))
    broken = FrameworkLibraries((), ((PREFIX, "/x.so is no ELF file"),))
    outcome = outcome_of(MISSING, builds, broken, NOTHING, gpus(V100))
    assert (outcome.status, outcome.reason, outcome.matters) == (Status.UNKNOWN, "/x.so is no ELF file", True)
    assert status(MISSING, FrameworkBuilds(()), broken, NOTHING) is Status.OK
    assert status(MISSING, builds, NOTHING) is Status.UNKNOWN
