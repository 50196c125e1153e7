"""onnxruntime and onnxruntime-gpu in one environment, and the CUDA and cuDNN that onnxruntime-gpu needs."""

import pytest
from framework_environments import (
    RTX_4090,
    SITE,
    V100,
    build,
    distribution,
    driver,
    environment,
    environments,
    gpus,
    use,
)

from gpudoctor import Severity
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.facts.wheel_files import Collision, Incomplete, Untold, WheelFiles
from gpudoctor.testing import outcome_of

CPU, GPU = distribution("onnxruntime", "1.32.0"), distribution("onnxruntime-gpu", "1.31.1")
READER = distribution("rapidocr", "3.0", "onnxruntime>=1.7", "onnxruntime-gpu; extra == 'gpu'")
NEW, OLD = driver("580.95.05", (13, 0)), driver("535.309.01", (12, 2))
NO_CACHE = LoaderCache(b"")
LOST = tuple(use("onnxruntime", f"lib{name}") for name in ("cublasLt.so.13", "cublas.so.13", "cudart.so.13"))
PATH = f"{SITE}/onnxruntime/capi/build_and_package_info.py"


def both(*facts, holder="onnxruntime", members=(CPU, GPU), uses=LOST, **more):
    where = environment(*members, **more)
    files = WheelFiles((Collision(where, "onnxruntime", CPU, GPU, 17, PATH, holder, ""),), ())
    known = (environments(where), files, FrameworkLibraries(uses))
    return outcome_of("onnxruntime.both-packages", *known, *facts)


def test_the_cpu_package_lies_over_the_other():
    (finding,) = both(gpus(RTX_4090), NEW).findings
    assert finding.severity is Severity.ERROR
    assert finding.summary == (
        "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 are both in /home/ada/venv: 17 files of the same name differ, "
        "and those of onnxruntime lie there."
    )
    assert (PATH, "sha256 of onnxruntime's RECORD") in finding.evidence
    assert finding.remedy.startswith(
        "Run `/home/ada/venv/bin/python -m pip uninstall -y onnxruntime onnxruntime-gpu`, then "
        "`/home/ada/venv/bin/python -m pip install 'onnxruntime-gpu[cuda,cudnn]==1.31.1'`."
    )


def test_its_libraries_are_not_asked_for_where_they_are_found():
    found = (use("onnxruntime", "libcublas.so.13", "/usr/local/cuda/lib64/libcublas.so.13"),)
    (finding,) = both(gpus(RTX_4090), NEW, uses=found).findings
    assert "pip install onnxruntime-gpu==1.31.1`" in finding.remedy


def test_without_a_gpu_it_is_damage_but_nothing_fails():
    (finding,) = both(gpus()).findings
    assert finding.severity is Severity.WARNING
    assert "pip install onnxruntime-gpu==1.31.1`" in finding.remedy


def test_where_the_right_files_lie_it_waits_to_happen():
    (finding,) = both(gpus(RTX_4090), NEW, holder="onnxruntime-gpu").findings
    assert finding.severity is Severity.WARNING


def test_an_old_driver_gets_the_release_for_cuda_12_and_an_old_gpu_its_cudnn():
    (finding,) = both(gpus(V100), OLD).findings
    assert "'onnxruntime-gpu[cuda,cudnn]==1.26.0' nvidia-cudnn-cu12==9.10.2.21`" in finding.remedy


def test_who_requires_the_cpu_package_by_name_is_told():
    (finding,) = both(gpus(), members=(CPU, GPU, READER)).findings
    assert "rapidocr requires onnxruntime by name: install or upgrade with --no-deps" in finding.remedy


def test_uv_mends_what_uv_made():
    (finding,) = both(gpus(), uv=True).findings
    assert "`uv pip uninstall --python /home/ada/venv onnxruntime onnxruntime-gpu`" in finding.remedy


def test_without_proof_of_different_files_nothing_is_said():
    where = environment(CPU, GPU)
    known = (environments(where), WheelFiles((), ()), FrameworkLibraries(()), gpus(RTX_4090), NEW)
    assert outcome_of("onnxruntime.both-packages", *known).status.value == "ok"


def test_a_record_that_cannot_be_read_leaves_it_open():
    where, damaged = environment(CPU, GPU), f"{GPU.folder}/RECORD: 3 rows cannot be read"
    files = WheelFiles((), (), (Untold("/home/ada/venv", (GPU.name,), damaged),))
    known = (environments(where), files, FrameworkLibraries(()), gpus(RTX_4090), NEW)
    outcome = outcome_of("onnxruntime.both-packages", *known)
    assert (outcome.status.value, outcome.reason) == ("unknown", damaged)


def test_the_record_of_another_package_says_nothing_of_onnxruntime():
    where = environment(CPU, GPU, distribution("cupy-cuda12x", "13.4.1"))
    files = WheelFiles((), (), (Untold("/home/ada/venv", ("cupy-cuda12x",), "RECORD lists no files"),))
    known = (environments(where), files, FrameworkLibraries(()), gpus(RTX_4090), NEW)
    assert outcome_of("onnxruntime.both-packages", *known).status.value == "ok"


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (GPU, "uninstall -y onnxruntime-gpu`, then `/home/ada/venv/bin/python -m pip install onnxruntime-gpu==1.31.1`"),
        (CPU, "Uninstall onnxruntime, then install it again."),
    ],
)
def test_what_is_left_after_the_other_was_uninstalled(one, wanted):
    gone = "onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so"
    files = WheelFiles((), (Incomplete(environment(one), one, (gone,), 4),))
    known = (environments(environment(one)), files, FrameworkLibraries(()), gpus())
    (finding,) = outcome_of("onnxruntime.both-packages", *known).findings
    assert finding.severity is Severity.ERROR
    assert finding.evidence == ((f"{SITE}/{gone}", "in RECORD, not there"),)
    assert wanted in finding.remedy


def cpu_only(*members, in_use=True):
    where = environment(*members, in_use=in_use)
    builds = FrameworkBuilds(
        tuple(build("onnxruntime", one, None, where=where) for one in members if one.name.startswith("onnx"))
    )
    return outcome_of("onnxruntime.cpu-only", gpus(RTX_4090), NEW, builds)


def test_the_package_for_the_cpu_is_good_to_know():
    (finding,) = cpu_only(CPU).findings
    assert finding.severity is Severity.INFO
    # 1.32.0 exists for the CPU only: the newest release with CUDA takes its place.
    assert "pip uninstall -y onnxruntime`, then" in finding.remedy
    assert "'onnxruntime-gpu[cuda,cudnn]==1.31.1'" in finding.remedy


def test_of_two_packages_only_the_one_that_lost_its_provider_is_told():
    assert [finding.subject for finding in cpu_only(CPU, GPU).findings] == ["onnxruntime-gpu 1.31.1"]


def test_a_provider_that_is_gone_is_a_fault():
    gone = "onnxruntime/capi/libonnxruntime_providers_cuda.so"
    (finding,) = cpu_only(GPU).findings
    assert finding.severity is Severity.ERROR
    assert finding.evidence[0] == (f"{SITE}/{gone}", "not there")
    assert "pip uninstall -y onnxruntime-gpu`, then" in finding.remedy
    (idle,) = cpu_only(GPU, in_use=False).findings
    assert idle.severity is Severity.WARNING


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
