"""onnxruntime and onnxruntime-gpu in one environment, and the package for the CPU alone."""

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
from gpudoctor.facts.wheel_files import Collision, Incomplete, Untold, WheelFiles
from gpudoctor.testing import outcome_of

CPU, GPU = distribution("onnxruntime", "1.32.0"), distribution("onnxruntime-gpu", "1.31.1")
READER = distribution("rapidocr", "3.0", "onnxruntime>=1.7", "onnxruntime-gpu; extra == 'gpu'")
NEW, OLD = driver("580.95.05", (13, 0)), driver("535.309.01", (12, 2))
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
