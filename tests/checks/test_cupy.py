"""Several CuPy packages in one environment, and what CuPy and numba need to compile kernels."""

import pytest
from framework_environments import (
    PREFIX,
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
from gpudoctor.facts.cuda_parts import CudaPart, CudaParts, KernelCompilers
from gpudoctor.facts.deep import DeepTrials, FrameworkTrial
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.wheel_files import Collision, Incomplete, WheelFiles
from gpudoctor.testing import outcome_of

TWELVE, THIRTEEN = distribution("cupy-cuda12x", "14.2.0"), distribution("cupy-cuda13x", "14.2.0")
NEW, OLD = driver("580.95.05", (13, 0)), driver("535.309.01", (12, 2))
PATH = f"{SITE}/cupy/.data/_wheel.json"


def multiple(*facts, members=(TWELVE, THIRTEEN), files=None):
    where = environment(*members)
    collision = Collision(where, "cupy", *members[:2], 19, PATH, members[0].name, "") if len(members) > 1 else None
    known = (environments(where), files or WheelFiles((collision,) if collision else (), ()), FrameworkLibraries(()))
    return outcome_of("cupy.multiple-packages", *known, *facts)


@pytest.mark.parametrize(
    ("members", "facts", "kept"),
    [
        ((TWELVE, THIRTEEN), (gpus(RTX_4090), OLD), "cupy-cuda12x==14.2.0"),
        ((TWELVE, THIRTEEN), (gpus(RTX_4090), NEW), "cupy-cuda13x==14.2.0"),
        ((TWELVE, THIRTEEN), (gpus(V100), NEW), "cupy-cuda12x==14.2.0"),
        (
            (TWELVE, THIRTEEN, distribution("nvidia-cublas-cu12", "12.8.4.1")),
            (gpus(RTX_4090), NEW),
            "cupy-cuda12x==14.2.0",
        ),
        ((TWELVE, THIRTEEN), (gpus(),), "cupy-cuda13x==14.2.0"),
    ],
    ids=["old driver", "new driver", "old GPU", "beside CUDA 12", "no GPU"],
)
def test_the_one_that_runs_here_is_kept(members, facts, kept):
    (finding,) = multiple(*facts, members=members).findings
    assert finding.severity is Severity.WARNING
    assert finding.summary == (
        "cupy-cuda12x 14.2.0 and cupy-cuda13x 14.2.0 are both in /home/ada/venv, and write the same files: those of "
        "cupy-cuda12x lie there now."
    )
    assert finding.remedy == (
        f"Run `{PREFIX}/bin/python -m pip uninstall -y cupy-cuda12x cupy-cuda13x`, then "
        f"`{PREFIX}/bin/python -m pip install {kept}`."
    )
    assert (PATH, "sha256 of cupy-cuda12x's RECORD") in finding.evidence


def test_libraries_that_are_missing_come_with_it():
    uses = FrameworkLibraries((use("cupy", "libcublas.so.12"),))
    (finding,) = multiple(gpus(RTX_4090), OLD, uses).findings
    assert "'cupy-cuda12x[ctk]==14.2.0'" in finding.remedy


def test_cupy_built_here_beside_a_wheel():
    (finding,) = multiple(gpus(RTX_4090), NEW, members=(distribution("cupy", "14.2.0"), TWELVE)).findings
    assert "uninstall -y cupy cupy-cuda12x`, then" in finding.remedy
    assert "install cupy-cuda12x==14.2.0`" in finding.remedy


def test_what_is_left_after_one_was_uninstalled():
    gone = ("cupy/_core/core.cpython-311-x86_64-linux-gnu.so",)
    files = WheelFiles((), (Incomplete(environment(TWELVE), TWELVE, gone, 31),))
    (finding,) = multiple(gpus(), members=(TWELVE,), files=files).findings
    assert finding.severity is Severity.ERROR
    assert finding.summary == (
        "cupy-cuda12x 14.2.0 in /home/ada/venv lacks 1 of its 31 libraries, as after another package with the "
        "same files was uninstalled."
    )
    assert "uninstall -y cupy-cuda12x`, then" in finding.remedy


def test_one_package_is_as_it_should_be():
    assert multiple(gpus(RTX_4090), members=(TWELVE,)).status.value == "ok"


def parts(*kinds, major=12, origin="wheel", problems=()):
    found = tuple(CudaPart(kind, f"/x/{kind}", origin, major) for kind in kinds)
    return KernelCompilers((CudaParts(PREFIX, found, problems),))


def headers(compilers, *uses, version="14.2.0", cuda=(12, 0), name="cupy-cuda12x", trials=()):
    found = distribution(name, version)
    known = (gpus(RTX_4090), FrameworkBuilds((build("cupy", found, cuda, cuda_minor_known=False),)), compilers)
    return outcome_of("cupy.headers-missing", *known, FrameworkLibraries(uses), OLD, *trials)


def test_no_headers():
    (finding,) = headers(parts("nvrtc")).findings
    assert finding.severity is Severity.ERROR
    assert finding.summary == (
        "cupy-cuda12x 14.2.0 in /home/ada/venv finds no cuda_fp16.h of CUDA 12, and cannot compile or run its kernels."
    )
    assert finding.remedy == f"Run `{PREFIX}/bin/python -m pip install 'cupy-cuda12x[ctk]==14.2.0'`."


def test_headers_of_another_cuda_do_not_count():
    compilers = KernelCompilers(
        (CudaParts(PREFIX, (*parts("nvrtc").environments[0].parts, *parts("headers", major=13).environments[0].parts)),)
    )
    assert "cuda_fp16.h" in headers(compilers).findings[0].summary


def test_before_there_was_the_extra_the_headers_have_a_wheel_of_their_own():
    (finding,) = headers(parts("nvrtc"), version="13.6.0").findings
    assert "pip install cupy-cuda12x==13.6.0 nvidia-cuda-runtime-cu12`" in finding.remedy


def test_no_toolkit_at_all():
    (finding,) = headers(parts(), use("cupy", "libcublas.so.12"), use("cupy", "libcurand.so.10")).findings
    assert "finds no libcublas.so.12 and 3 more of CUDA 12" in finding.summary
    assert [one.value for one in finding.evidence][-2:] == ["libnvrtc.so.12: not found", "cuda_fp16.h: not found"]


def test_what_is_optional_is_not_missed():
    optional = [use("cupy", f"lib{name}") for name in ("cutensor.so.2", "cutensorMg.so.2", "cudnn.so.9", "nccl.so.2")]
    assert headers(parts("nvrtc", "headers"), *optional).status.value == "ok"


def test_cuda_11_brings_its_headers():
    eleven = headers(parts("nvrtc", major=11), name="cupy-cuda11x", version="13.6.0", cuda=(11, 0))
    assert eleven.status.value == "ok"


def test_conda_s_own_cupy_is_not_judged_by_a_wheel_s_rules():
    assert headers(parts(), name="cupy", cuda=None).status.value == "ok"


def test_what_could_not_be_looked_at_leaves_it_open():
    outcome = headers(parts(problems=("/opt/x may not be entered",)))
    assert (outcome.status.value, outcome.reason) == ("unknown", "/opt/x may not be entered")


def test_what_was_seen_to_compute_is_not_suspected():
    trial = FrameworkTrial("cupy", "14.2.0", 1, "", "", (), {}, PREFIX)
    assert headers(parts(), trials=(DeepTrials((trial,)),)).status.value == "ok"


def nvvm(compilers, *members, **more):
    known = (gpus(RTX_4090), environments(environment(*members, **more)), compilers, NEW)
    return outcome_of("numba.nvvm-missing", *known)


NUMBA, NUMBA_CUDA = distribution("numba", "0.68.1"), distribution("numba-cuda", "0.30.4")


def test_numba_for_the_gpu_without_nvvm():
    (finding,) = nvvm(parts("nvrtc"), NUMBA, NUMBA_CUDA).findings
    assert finding.severity is Severity.ERROR
    assert "finds no libnvvm.so and no libdevice.10.bc" in finding.summary
    assert "'numba-cuda[cu13]==0.30.4'" in finding.remedy
    (idle,) = nvvm(parts(), NUMBA, NUMBA_CUDA, in_use=False).findings
    assert idle.severity is Severity.WARNING


def test_numba_alone_mostly_works_for_the_cpu():
    (finding,) = nvvm(parts("nvvm", "libdevice"), NUMBA).findings
    assert finding.severity is Severity.INFO
    assert "'numba-cuda[cu13]'" in finding.remedy


@pytest.mark.parametrize(
    ("origin", "members"), [("wheel", (NUMBA, NUMBA_CUDA)), ("toolkit", (NUMBA,)), ("conda", (NUMBA,))]
)
def test_where_each_looks(origin, members):
    assert nvvm(parts("nvvm", "libdevice", origin=origin), *members).status.value == "ok"


def test_half_of_it_is_not_enough():
    (finding,) = nvvm(parts("nvvm", origin="toolkit"), NUMBA).findings
    assert "finds no libdevice.10.bc" in finding.summary


def test_without_numba_nothing_is_asked():
    assert nvvm(KernelCompilers(()), TWELVE).status.value == "ok"
