"""What `bench` says where there is no GPU, a sick one, or one that quietly is the CPU."""

import sys
from types import ModuleType

import numpy
import pytest

from gpudoctor.bench import run
from gpudoctor.bench.backends import cuda_version
from gpudoctor.bench.run import run_bench

INSUFFICIENT = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"


@pytest.mark.parametrize("backend", ["auto", "cupy"])
def test_without_cupy_it_is_skipped_and_names_what_to_install(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    result = run_bench(backend)
    assert (result.status.value, result.exit_code) == ("skipped", 3)
    assert "gpudoctor[cuda12]" in result.reason
    assert "gpudoctor[cuda13]" in result.reason
    assert result.backend == backend
    assert result.device is None
    assert result.losses == []
    assert "cupy" not in result.versions


def test_a_cupy_that_cannot_be_imported_is_skipped_with_the_cause(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text(
        "try:\n    raise ImportError('libcuda.so.1: cannot open shared object file')\n"
        "except ImportError as error:\n    raise ImportError('====\\nFailed to import CuPy.\\n====') from error\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    result = run_bench()
    assert result.exit_code == 3
    assert "cannot be imported: ImportError: libcuda.so.1" in result.reason


def test_no_driver_is_not_called_an_old_driver(install_cupy, errors_like_cupy):
    install_cupy(driver=0, count_error=errors_like_cupy.CUDARuntimeError(INSUFFICIENT))
    result = run_bench()
    assert (result.status.value, result.exit_code) == ("skipped", 3)
    assert "finds no NVIDIA driver" in result.reason
    assert INSUFFICIENT in result.reason
    assert result.versions["cupy"] == "14.2.0"
    assert result.versions["cuda_runtime"] == "13.2"
    assert result.versions["cuda_driver"] is None


def test_a_driver_for_an_older_cuda_names_the_extra_that_fits(install_cupy, errors_like_cupy):
    install_cupy(driver=12040, runtime=13020, count_error=errors_like_cupy.CUDARuntimeError(INSUFFICIENT))
    result = run_bench()
    assert result.exit_code == 3
    assert "CUDA 13.2" in result.reason
    assert "CUDA 12.4" in result.reason
    assert "gpudoctor[cuda12]" in result.reason

    install_cupy(driver=11040, runtime=12090, count_error=errors_like_cupy.CUDARuntimeError(INSUFFICIENT))
    result = run_bench()
    assert result.exit_code == 3
    assert "gpudoctor[" not in result.reason
    assert "newer driver" in result.reason


def test_no_device_passes_on_what_cuda_said(install_cupy, errors_like_cupy):
    answer = "cudaErrorNoDevice: no CUDA-capable device is detected"
    install_cupy(count_error=errors_like_cupy.CUDARuntimeError(answer))
    result = run_bench("cupy")
    assert result.exit_code == 3
    assert answer in result.reason


@pytest.mark.parametrize("kind", ["CUDARuntimeError", "CompileException"])
def test_a_first_kernel_that_fails_is_skipped_with_the_message(kind, install_cupy, errors_like_cupy):
    error = getattr(errors_like_cupy, kind)("no kernel image is available for execution on the device")
    install_cupy(dies_at=1, dies_with=error)
    result = run_bench()
    assert (result.status.value, result.exit_code) == ("skipped", 3)
    assert f"{kind}: no kernel image is available" in result.reason


def test_a_missing_cuda_library_is_skipped_and_names_what_to_install(install_cupy):
    missing = ImportError('Failure finding "libcublasLt.so.13 or libcublasLt.so.12": No such file')
    install_cupy(dies_at=1, dies_with=missing)
    result = run_bench()
    assert result.exit_code == 3
    assert "cuda-toolkit[cublas,cudart,nvrtc]==13.*" in result.reason
    assert "libcublasLt" in result.reason


def test_a_full_gpu_is_skipped_before_and_during_training(install_cupy):
    for product in (1, 2000):
        gpu = install_cupy(dies_at=product, dies_with=MemoryError("Out of memory allocating 1,024 bytes"))
        result = run_bench()
        assert gpu.products == product
        assert (result.status.value, result.exit_code) == ("skipped", 3)
        assert "Out of memory" in result.reason


def test_a_gpu_trains_and_its_arrays_never_leave_it(install_cupy, monkeypatch):
    # The stand-in raises TypeError wherever an array of the device meets one of NumPy.
    gpu = install_cupy()
    result = run_bench()
    assert (result.status.value, result.exit_code) == ("passed", 0), result.reason
    assert result.backend == "cupy"
    assert result.device == "Test GPU (GPU 0, 80 GiB, compute capability 9.0)"
    assert result.versions["cuda_driver"] == "13.2"
    assert result.test_accuracy >= 0.95
    assert "The GPU trains" in result.reason
    assert gpu.products > 1000
    # Rounding apart, the same program on the same numbers.
    monkeypatch.setattr(run, "MOST_EPOCHS", 1)
    assert result.losses[0] == pytest.approx(run_bench("numpy").losses[0], rel=1e-3)


def test_a_gpu_that_dies_in_the_middle_has_failed(install_cupy):
    gpu = install_cupy(dies_at=2500)
    result = run_bench()
    assert gpu.products == 2500
    assert (result.status.value, result.exit_code) == ("failed", 2)
    assert "cudaErrorLaunchFailure: unspecified launch failure" in result.reason
    assert result.device.startswith("Test GPU")
    assert result.untrained_loss is not None


def test_a_gpu_that_multiplies_wrongly_has_failed(install_cupy):
    install_cupy(wrong=True)
    result = run_bench()
    assert (result.status.value, result.exit_code) == ("failed", 2)
    assert "computes wrongly" in result.reason


@pytest.mark.parametrize("name", ["maximum", "exp", "empty_like", "zeros_like"])
def test_a_single_array_on_the_cpu_is_a_failure(name, install_cupy):
    install_cupy(falls_back=(name,))
    result = run_bench("cupy")
    assert (result.status.value, result.exit_code) == ("failed", 2)
    assert "fell back to the CPU" in result.reason
    assert "numpy.ndarray" in result.reason


def test_numpy_under_the_name_of_cupy_is_a_failure(install_cupy, monkeypatch):
    install_cupy()
    disguised = ModuleType("cupy")
    disguised.__dict__.update({name: getattr(numpy, name) for name in ("asarray", "arange", "zeros", "maximum", "exp")})
    disguised.__version__ = "14.2.0"
    disguised.cuda = sys.modules["cupy"].cuda
    monkeypatch.setitem(sys.modules, "cupy", disguised)
    result = run_bench("cupy")
    assert (result.status.value, result.exit_code) == ("failed", 2)
    assert "fell back to the CPU" in result.reason


def test_cuda_versions_are_spelled_as_nvidia_spells_them():
    assert [cuda_version(number) for number in (11080, 12090, 13000, 0)] == ["11.8", "12.9", "13.0", None]


def test_a_real_gpu_trains():
    cupy = pytest.importorskip("cupy")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no GPU: {error}")
    result = run_bench("cupy")
    assert (result.status.value, result.exit_code) == ("passed", 0), result.reason
    assert "GPU 0" in result.device
