"""libcuda from the wrong place: a stub, or a forward compatibility library that does not go with the driver."""

import pytest
from framework_environments import (
    A100,
    RTX_4090,
    driver,
    gpu,
    gpus,
)
from outcomes import only, status

from gpudoctor import Severity
from gpudoctor.facts.answers import Cuda
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.driver_search import Libcuda, LibcudaSearch
from gpudoctor.facts.environment import Environment, Setting
from gpudoctor.facts.loader import LoaderConfig, LoaderFolder
from gpudoctor.findings import Status

STUB, MISMATCH = "cuda.stub-library", "cuda.forward-compat-mismatch"
UNSUPPORTED = "cuda.forward-compat-unsupported"
STUBS = "/usr/local/cuda-12.4/lib64/stubs"
COMPAT = "/usr/local/cuda-12.4/compat"
DRIVER = driver("535.309.01", (12, 2))
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
