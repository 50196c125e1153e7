"""What is said where there is no GPU, a sick one, or one that quietly is the CPU; and what a GPU says of itself."""

import subprocess
import sys
from types import ModuleType

import numpy
import pytest

from gpudoctor.bench.devices.cupy_device import cuda_version, cupy_versions, import_cupy, open_cupy, traits_of, uuid_of
from gpudoctor.bench.devices.device import CannotRun, DoesNotTrain
from gpudoctor.bench.devices.precision import Precision, precisions_of

INSUFFICIENT = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"


def opening(error):
    """The sentence of the error that opening a GPU ends in."""
    with pytest.raises(error) as raised:
        open_cupy(import_cupy())
    return str(raised.value)


def test_without_cupy_the_extras_to_install_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    told = opening(CannotRun)
    assert "gpudoctor[cuda12]" in told
    assert "gpudoctor[cuda13]" in told


def test_a_cupy_that_cannot_be_imported_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text(
        "try:\n    raise ImportError('libcuda.so.1: cannot open shared object file')\n"
        "except ImportError as error:\n    raise ImportError('====\\nFailed to import CuPy.\\n====') from error\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert "cannot be imported: ImportError: libcuda.so.1" in opening(CannotRun)


def test_no_driver_is_not_called_an_old_driver(install_cupy, errors_like_cupy):
    install_cupy(driver=0, count_error=errors_like_cupy.CUDARuntimeError(INSUFFICIENT, 35))
    told = opening(CannotRun)
    assert "finds no NVIDIA driver" in told
    assert INSUFFICIENT in told
    assert cupy_versions(import_cupy()) == {"cupy": "14.2.0", "cuda_runtime": "13.2", "cuda_driver": None}


def test_a_driver_for_an_older_cuda_names_the_extra_that_fits(install_cupy, errors_like_cupy):
    install_cupy(driver=12040, runtime=13020, count_error=errors_like_cupy.CUDARuntimeError(INSUFFICIENT, 35))
    told = opening(CannotRun)
    assert "CUDA 13.2" in told
    assert "CUDA 12.4" in told
    assert "gpudoctor[cuda12]" in told

    install_cupy(driver=11040, runtime=12090, count_error=errors_like_cupy.CUDARuntimeError(INSUFFICIENT, 35))
    told = opening(CannotRun)
    assert "gpudoctor[" not in told
    assert "newer driver" in told


def test_no_device_passes_on_what_cuda_said(install_cupy, errors_like_cupy):
    answer = "cudaErrorNoDevice: no CUDA-capable device is detected"
    install_cupy(count_error=errors_like_cupy.CUDARuntimeError(answer, 100))
    assert answer in opening(CannotRun)


@pytest.mark.parametrize("kind", ["CUDARuntimeError", "CompileException"])
def test_a_first_kernel_that_fails_cannot_run_and_says_why(kind, install_cupy, errors_like_cupy):
    error = getattr(errors_like_cupy, kind)("no kernel image is available for execution on the device")
    install_cupy(dies_at=1, dies_with=error)
    assert f"{kind}: no kernel image is available" in opening(CannotRun)


def test_a_missing_library_of_cuda_is_named_with_what_to_install(install_cupy):
    missing = ImportError('Failure finding "libcublasLt.so.13 or libcublasLt.so.12": No such file')
    install_cupy(dies_at=1, dies_with=missing)
    told = opening(CannotRun)
    assert "cuda-toolkit[cublas,cudart,nvrtc]==13.*" in told
    assert "libcublasLt" in told
    assert "CuPy 14" not in told
    # CuPy 13 does not look among the wheels that this installs.
    install_cupy(dies_at=1, dies_with=missing, version="13.6.0", runtime=12090)
    told = opening(CannotRun)
    assert "cuda-toolkit[cublas,cudart,nvrtc]==12.*" in told
    assert "CuPy 14 or newer" in told


def test_a_full_gpu_cannot_run(install_cupy, errors_like_cupy):
    for full in (MemoryError("Out of memory allocating 1,024 bytes"), errors_like_cupy.CUBLASError(3)):
        install_cupy(dies_at=1, dies_with=full)
        assert "no memory free" in opening(CannotRun)


def test_a_gpu_that_multiplies_wrongly_does_not_train(install_cupy):
    install_cupy(wrong=True)
    assert "Test GPU (GPU 0, 80 GiB, compute capability 9.0) computes wrongly" in opening(DoesNotTrain)


def test_numpy_under_the_name_of_cupy_does_not_train(install_cupy, monkeypatch):
    install_cupy()
    disguised = ModuleType("cupy")
    disguised.__dict__.update({name: getattr(numpy, name) for name in ("asarray", "ndarray", "matmul", "zeros")})
    disguised.__version__ = "14.2.0"
    disguised.cuda = sys.modules["cupy"].cuda
    monkeypatch.setitem(sys.modules, "cupy", disguised)
    told = opening(DoesNotTrain)
    assert "fell back to the CPU" in told
    assert "numpy.ndarray" in told


def test_an_array_says_where_it_lies(gpu):
    on_device = gpu.xp.zeros(3, dtype="float32")
    assert gpu.place_of(on_device) == gpu.home
    assert gpu.place_of(gpu.to_host(on_device)) == "CPU"
    assert gpu.place_of(numpy.float32(1)) == "CPU"
    assert gpu.place_of([1.0]) == "a list"


def test_a_gpu_says_what_it_is(gpu):
    traits = gpu.traits
    assert traits.name in gpu.text
    assert traits.uuid.startswith(("GPU-", "MIG-"))
    assert traits.sm_count > 0
    assert traits.l2_bytes > 2**20
    assert traits.memory_bytes > 2**30
    assert 10**5 < traits.boost_khz < 10**7
    assert gpu.precisions == precisions_of(traits.capability, traits.name)
    assert 0 < gpu.free_bytes() <= traits.memory_bytes
    assert gpu.versions()["cublas"].count(".") == 2


def test_the_traits_are_read_under_the_names_that_cuda_gives_them(install_cupy):
    install_cupy()
    traits = open_cupy(import_cupy()).traits
    assert traits._asdict() == {
        "name": "Test GPU",
        "uuid": "GPU-11121314-1516-1718-191a-1b1c1d1e1f20",
        "pci_address": "0000:1b:00.0",
        "capability": (9, 0),
        "sm_count": 132,
        "l2_bytes": 50 * 2**20,
        "memory_bytes": 80 * 2**30,
        "boost_khz": 1980000,
        "memory_khz": 2619000,
        "memory_bus_bits": 5120,
    }


@pytest.mark.slow
def test_nvidia_smi_prints_the_same_uuid_and_address(gpu):
    query = ["nvidia-smi", "--query-gpu=uuid,pci.bus_id", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout.lower()
    except FileNotFoundError:
        pytest.skip("no nvidia-smi")
    if gpu.traits.name == "Test GPU":
        pytest.skip("the stand-in")
    assert gpu.traits.uuid.lower() in told
    assert gpu.traits.pci_address in told


def test_a_uuid_that_cupy_cut_at_a_zero_byte_is_taken_from_what_was_asked_for():
    whole = bytes.fromhex("8d3f1c2a4b5e46779a00bbccddeeff01")
    name = "GPU-8d3f1c2a-4b5e-4677-9a00-bbccddeeff01"
    assert uuid_of(whole, "") == name
    # A C string goes on behind the sixteen bytes where none of them is zero.
    assert uuid_of(whole + b"\x07rest", "") == name
    cut = whole[:9]
    assert uuid_of(cut, name) == name
    assert uuid_of(cut, name.replace("GPU-8d", "GPU-8e")) == ""
    assert uuid_of(cut, "GPU-8d3f1c2a") == ""
    assert uuid_of(cut, f"{name},GPU-11111111-1111-1111-1111-111111111111") == ""
    assert uuid_of(cut, "0") == ""
    assert uuid_of(b"", "") == ""


def test_a_slice_of_a_gpu_goes_by_its_own_uuid():
    slice_of_it = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"
    assert uuid_of(bytes(range(1, 17)), slice_of_it) == slice_of_it
    assert uuid_of(bytes(range(1, 17)), f"{slice_of_it},{slice_of_it}").startswith("GPU-")


@pytest.mark.parametrize("runtime", [12090, 13020])
def test_clocks_are_told_by_cuda_13_too_whose_properties_have_none(runtime, install_cupy):
    install_cupy(runtime=runtime, driver=13020)
    traits = open_cupy(import_cupy()).traits
    assert (traits.boost_khz, traits.memory_khz, traits.memory_bus_bits) == (1980000, 2619000, 5120)


def test_what_cuda_does_not_tell_is_unknown():
    properties = {
        **{"name": b"NVIDIA \xff", "major": 7, "minor": 5, "totalGlobalMem": 1, "multiProcessorCount": 40},
        **{"l2CacheSize": 2, "pciDomainID": 0x10000, "pciBusID": 0xAB, "pciDeviceID": 1},
    }
    traits = traits_of(properties, "")
    assert (traits.uuid, traits.boost_khz, traits.memory_khz, traits.memory_bus_bits) == ("", 0, 0, 0)
    assert traits.pci_address == "10000:ab:01.0"
    assert traits.name == "NVIDIA \N{REPLACEMENT CHARACTER}"


def test_only_precisions_that_the_gpu_is_made_for_are_offered(install_cupy):
    for capability, name, wanted in (
        ((12, 0), b"NVIDIA GeForce RTX 5090", ("fp32", "tf32", "fp16", "bf16")),
        ((7, 5), b"Tesla T4", ("fp32", "fp16")),
        ((7, 5), b"NVIDIA GeForce GTX 1660", ("fp32",)),
        ((7, 5), b"NVIDIA T1000 8GB", ("fp32",)),
        ((6, 1), b"NVIDIA GeForce GTX 1080", ("fp32",)),
    ):
        install_cupy(properties={"name": name, "major": capability[0], "minor": capability[1]})
        assert tuple(one.value for one in open_cupy(import_cupy()).precisions) == wanted


def test_bytes_go_to_the_gpu_and_come_back(gpu):
    there = gpu.page_locked(4096)
    assert (there.dtype, there.shape) == ("uint8", (4096,))
    there[:] = numpy.random.default_rng(12).integers(0, 256, 4096)
    back = gpu.page_locked(4096)
    back[:] = 0
    first, second = (gpu.xp.zeros((32, 32), dtype="float32") for _ in range(2))
    gpu.send(first, there)
    gpu.copy_into(second, first)
    gpu.fetch(back, second)
    gpu.synchronize()
    numpy.testing.assert_array_equal(back, there)


def test_a_copy_of_another_size_or_with_gaps_is_refused(gpu):
    host, matrix = gpu.page_locked(4096), gpu.xp.zeros((32, 32), dtype="float32")
    with pytest.raises(ValueError, match="as many"):
        gpu.send(gpu.xp.zeros(1023, dtype="float32"), host)
    with pytest.raises(ValueError, match="without gaps"):
        gpu.fetch(host[:2048], matrix[:, ::2])


def test_a_host_that_locks_no_memory_is_a_memory_error(install_cupy):
    install_cupy(unlockable=True)
    with pytest.raises(MemoryError, match="4,096 bytes"):
        open_cupy(import_cupy()).page_locked(4096)


def test_calls_are_timed_together_by_the_clock_of_the_gpu(gpu):
    one = gpu.xp.ones((256, 256), dtype="float32")
    calls = []

    def work():
        calls.append(1)
        gpu.multiply_into(out, one, one, Precision.FP32)

    out = gpu.xp.zeros((256, 256), dtype="float32")
    assert 0 < gpu.seconds(work, 3) < 10
    assert len(calls) == 3
    numpy.testing.assert_array_equal(gpu.to_host(out), numpy.full((256, 256), 256, "float32"))


def test_cached_memory_is_given_back(install_cupy):
    counted = install_cupy()
    open_cupy(import_cupy()).release()
    assert counted.given_back == 2


def test_cuda_versions_are_spelled_as_nvidia_spells_them():
    assert [cuda_version(number) for number in (11080, 12090, 13000, 0)] == ["11.8", "12.9", "13.0", None]
