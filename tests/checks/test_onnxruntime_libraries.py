"""The CUDA and the cuDNN that onnxruntime-gpu needs."""

import pytest
from framework_environments import (
    RTX_4090,
    build,
    distribution,
    driver,
    environment,
    gpus,
    use,
)

from gpudoctor import Severity
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.testing import outcome_of

NEW = driver("580.95.05", (13, 0))
NO_CACHE = LoaderCache(b"")
LOST = tuple(use("onnxruntime", f"lib{name}") for name in ("cublasLt.so.13", "cublas.so.13", "cudart.so.13"))


def needs(check, version, cuda, uses, *members, drivers=NEW, on=RTX_4090, problems=()):
    found = distribution("onnxruntime-gpu", version)
    where = environment(found, *members)
    builds = FrameworkBuilds((build("onnxruntime", found, cuda, where=where, cuda_minor_known=False),))
    known = (gpus(on), builds, FrameworkLibraries(uses, problems), NO_CACHE, drivers)
    return outcome_of(check, *known)


def test_cuda_12_is_there_and_13_is_needed():
    torch = distribution("nvidia-cublas-cu12", "12.8.4.1")
    (finding,) = needs("onnxruntime.cuda-major-mismatch", "1.31.1", (13, 0), LOST, torch).findings
    assert finding.severity is Severity.ERROR
    assert finding.summary == (
        "onnxruntime-gpu 1.31.1 in /home/ada/venv needs libcublasLt.so.13 and 2 more of CUDA 13, and CUDA 12 is there "
        "instead."
    )
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]==1.26.0'`" in finding.remedy
    assert (torch.folder, "nvidia-cublas-cu12 12.8.4.1") in finding.evidence


def test_cuda_13_is_there_and_12_is_needed():
    lost = (use("onnxruntime", "libcublasLt.so.12"),)
    torch = distribution("nvidia-cublas", "13.0.2.14")
    (finding,) = needs("onnxruntime.cuda-major-mismatch", "1.26.0", (12, 0), lost, torch).findings
    assert "'onnxruntime-gpu[cuda,cudnn]==1.31.1'" in finding.remedy


def test_no_cuda_at_all_comes_with_the_extras():
    (finding,) = needs("onnxruntime.cuda-major-mismatch", "1.30.0", (13, 0), LOST).findings
    assert finding.summary.endswith("and there is none.")
    assert "'onnxruntime-gpu[cuda,cudnn]==1.30.0'" in finding.remedy
    assert "preload_dlls()" in finding.remedy


def test_a_release_whose_extras_cannot_be_installed_gives_way():
    (finding,) = needs("onnxruntime.cuda-major-mismatch", "1.27.0", (13, 0), LOST).findings
    assert "==1.27.0" not in finding.remedy
    assert "'onnxruntime-gpu[cuda,cudnn]==1.31.1'" in finding.remedy


def test_a_release_newer_than_the_table_stays():
    (finding,) = needs("onnxruntime.cuda-major-mismatch", "1.99.0", (13, 0), LOST).findings
    assert "'onnxruntime-gpu[cuda,cudnn]==1.99.0'" in finding.remedy


@pytest.mark.parametrize("check", ["onnxruntime.cuda-major-mismatch", "onnxruntime.cudnn-mismatch"])
def test_where_all_is_found_all_is_well(check):
    found = (use("onnxruntime", "libcublas.so.12", "/x"), use("onnxruntime", "libcudnn.so.9", "/y"))
    assert needs(check, "1.26.0", (12, 0), found).status.value == "ok"


def test_files_that_cannot_be_read_leave_it_open():
    outcome = needs(
        "onnxruntime.cuda-major-mismatch", "1.26.0", (12, 0), (), problems=(("/home/ada/venv", "no ELF file"),)
    )
    assert (outcome.status.value, outcome.reason, outcome.matters) == ("unknown", "no ELF file", True)


def test_cudnn_8_does_not_stand_in_for_9():
    lost = (use("onnxruntime", "libcublas.so.12", "/x"), use("onnxruntime", "libcudnn.so.9"))
    old = distribution("nvidia-cudnn-cu12", "8.9.7.29")
    outcome = needs(
        "onnxruntime.cudnn-mismatch", "1.26.0", (12, 0), lost, old, distribution("nvidia-cublas-cu12", "12.8.4.1")
    )
    (finding,) = outcome.findings
    assert finding.summary.endswith("needs libcudnn.so.9, and only nvidia-cudnn-cu12 8.9.7.29 is there.")
    assert "'onnxruntime-gpu[cuda,cudnn]==1.26.0'" in finding.remedy
    assert needs("onnxruntime.cuda-major-mismatch", "1.26.0", (12, 0), lost).status.value == "ok"
