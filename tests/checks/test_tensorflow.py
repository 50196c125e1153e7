"""TensorFlow: its CUDA libraries, its code for a GPU, and two of it in one environment."""

import pytest
from framework_environments import (
    A100,
    GTX_1080,
    H200,
    RTX_4090,
    RTX_5090,
    SITE,
    build,
    distribution,
    driver,
    environment,
    environments,
    gpu,
    gpus,
    use,
)

from gpudoctor import Severity
from gpudoctor.facts.conda import CondaPackage
from gpudoctor.facts.deep import DeepTrials, FrameworkTrial
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.wheel_files import Collision, WheelFiles
from gpudoctor.testing import outcome_of

ARCHITECTURES = ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90", "sm_90")  # as the facts give them
FOUND = tuple(
    use("tensorflow", soname, f"{SITE}/nvidia/x/lib/{soname}") for soname in ("libcudart.so.12", "libcublas.so.12")
)
LOST = tuple(use("tensorflow", soname) for soname in ("libcudart.so.12", "libcublas.so.12", "libcudnn.so.9"))
DRIVER = driver("580.95.05", (13, 0))


def tensorflow(version="2.21.0", cuda=(12, 5), *, name="tensorflow", where=None, problem="", **more):
    found = distribution(name, version)
    place = where or environment(found, **more)
    return build("tensorflow", found, cuda, *(ARCHITECTURES if cuda else ()), where=place, problem=problem)


def libraries(built, uses, *facts, on=RTX_4090, problems=()):
    known = (gpus(on), FrameworkBuilds((built,)), FrameworkLibraries(uses, problems), DRIVER)
    return outcome_of("tensorflow.cuda-libraries-missing", *known, *facts)


def test_installed_without_its_extra():
    outcome = libraries(tensorflow(), LOST)
    (finding,) = outcome.findings
    assert outcome.check.severity is Severity.ERROR
    assert finding.severity is Severity.ERROR
    assert finding.summary == (
        "tensorflow 2.21.0 in /home/ada/venv is built for CUDA 12.5, and finds no libcudart.so.12 and 2 more: it "
        "leaves the GPU unused."
    )
    assert "-m pip install 'tensorflow[and-cuda]==2.21.0'`" in finding.remedy
    assert "libcudnn.so.9" in finding.evidence[1].value


def test_where_the_libraries_are_found_all_is_well():
    assert libraries(tensorflow(), FOUND).status.value == "ok"


def test_an_environment_that_nobody_means_now_is_no_error():
    (finding,) = libraries(tensorflow(in_use=False), LOST).findings
    assert finding.severity is Severity.WARNING


def test_without_a_gpu_nothing_is_missed():
    known = (gpus(), FrameworkBuilds((tensorflow(),)), FrameworkLibraries(LOST))
    assert outcome_of("tensorflow.cuda-libraries-missing", *known).status.value == "skipped"


def test_the_old_cudnn_is_asked_for_by_version_where_the_new_one_has_dropped_the_gpu():
    (finding,) = libraries(tensorflow(), LOST, on=GTX_1080).findings
    assert "'tensorflow[and-cuda]==2.21.0' nvidia-cudnn-cu12==9.10.2.21`" in finding.remedy


def test_before_there_was_the_extra_one_upgrades():
    (finding,) = libraries(tensorflow("2.13.0", (11, 8)), LOST).findings
    assert finding.remedy.startswith("Upgrade: from 2.14 on `pip install 'tensorflow[and-cuda]'`")


@pytest.mark.parametrize(
    ("name", "in_use", "severity"),
    [
        ("tensorflow", True, Severity.WARNING),
        ("tensorflow", False, Severity.INFO),
        ("tensorflow-cpu", True, Severity.INFO),  # nobody installs it by mistake
        ("tensorflow-cpu", False, Severity.INFO),
    ],
)
def test_a_build_for_the_cpu_is_told_and_replaced(name, in_use, severity):
    (finding,) = libraries(tensorflow(cuda=None, name=name, in_use=in_use), ()).findings
    assert finding.severity is severity
    assert "is built without CUDA" in finding.summary
    assert name == "tensorflow" or "pip uninstall -y tensorflow-cpu`, then" in finding.remedy
    assert "'tensorflow[and-cuda]==2.21.0'" in finding.remedy


def test_on_aarch64_there_is_no_wheel_with_cuda():
    (finding,) = libraries(tensorflow(cuda=None, machine="aarch64"), ()).findings
    assert "aarch64" in finding.remedy
    assert "pip install" not in finding.remedy


def test_conda_mends_what_conda_installed():
    found = distribution("tensorflow", "2.18.0", installer="conda")
    package = CondaPackage("tensorflow", "2.18.0", "cpu_py311h_0")
    place = environment(found, kind="conda", conda=(package,))
    (finding,) = libraries(build("tensorflow", found, None, where=place), ()).findings
    assert "conda install -y -p /home/ada/venv tensorflow-gpu=2.18.0" in finding.remedy


def test_a_file_that_does_not_tell_leaves_it_open():
    outcome = libraries(tensorflow(problem="build_info.py is not there"), ())
    assert (outcome.status.value, outcome.reason, outcome.matters) == ("unknown", "build_info.py is not there", True)


def test_libraries_that_cannot_be_read_leave_it_open():
    outcome = libraries(tensorflow(), (), problems=(("/home/ada/venv", "x.so: cut short"),))
    assert (outcome.status.value, outcome.reason) == ("unknown", "x.so: cut short")


def test_what_was_seen_to_compute_is_not_suspected():
    trial = FrameworkTrial("tensorflow", "2.21.0", 1, "", "", (), {}, "/home/ada/venv")
    assert libraries(tensorflow(), LOST, DeepTrials((trial,))).status.value == "ok"
    failed = DeepTrials((trial._replace(devices=0, failure="no GPU"),))
    assert libraries(tensorflow(), LOST, failed).status.value == "found"


def kernels(card, built=None, *facts):
    known = (gpus(card), FrameworkBuilds((built or tensorflow(),)), DRIVER)
    return outcome_of("tensorflow.no-kernels-for-gpu", *known, *facts)


@pytest.mark.parametrize("card", [GTX_1080, A100, RTX_4090, H200], ids=lambda card: card.sm)
def test_native_code_also_for_the_architecture_that_is_listed_as_compute(card):
    assert kernels(card).status.value == "ok"


def test_a_newer_gpu_waits_for_the_driver_to_compile():
    (finding,) = kernels(RTX_5090).findings
    assert finding.severity is Severity.WARNING
    assert "no native code for NVIDIA GeForce RTX 5090 (compute capability 12.0)" in finding.summary
    assert "CUDA_CACHE_MAXSIZE=4294967296" in finding.remedy
    (idle,) = kernels(RTX_5090, tensorflow(in_use=False)).findings
    assert idle.severity is Severity.INFO


def test_an_older_gpu_has_nothing_at_all():
    (finding,) = kernels(gpu("GeForce GTX 960", (5, 2))).findings
    assert finding.severity is Severity.ERROR
    assert "has no code at all for GeForce GTX 960" in finding.summary
    assert "tensorflow[and-cuda]==" in finding.remedy
    assert "==2.21.0" not in finding.remedy


def test_an_unknown_gpu_leaves_it_open():
    outcome = kernels(gpu("NVIDIA New", None))
    assert outcome.status.value == "unknown"
    assert "compute capability of NVIDIA New" in outcome.reason


BOTH = (distribution("tensorflow", "2.21.0"), distribution("tensorflow-cpu", "2.21.0"))


def rivals(*facts, members=BOTH, **more):
    return outcome_of("tensorflow.both-packages", environments(environment(*members, **more)), *facts)


def test_two_packages_in_one_environment():
    (finding,) = rivals(gpus()).findings
    assert finding.severity is Severity.WARNING
    assert finding.summary.startswith("tensorflow 2.21.0 and tensorflow-cpu 2.21.0 are both in /home/ada/venv")
    assert finding.remedy == (
        "Run `/home/ada/venv/bin/python -m pip uninstall -y tensorflow tensorflow-cpu`, then "
        "`/home/ada/venv/bin/python -m pip install tensorflow==2.21.0`."
    )


def test_with_a_gpu_and_the_files_of_the_other_it_is_an_error():
    path = f"{SITE}/tensorflow/libtensorflow_cc.so.2"
    collision = Collision(environment(*BOTH), "tensorflow", *BOTH, 900, path, "tensorflow-cpu", "")
    (finding,) = rivals(gpus(RTX_4090), DRIVER, WheelFiles((collision,), ())).findings
    assert finding.severity is Severity.ERROR
    assert finding.summary.endswith("those of tensorflow-cpu lie there now.")
    assert (path, "sha256 of tensorflow-cpu's RECORD") in finding.evidence
    assert "'tensorflow[and-cuda]==2.21.0'" in finding.remedy


@pytest.mark.parametrize(
    "members",
    [
        (distribution("tensorflow", "2.21.0"),),
        (distribution("tensorflow", "2.21.0"), distribution("tensorflow-hub", "0.16.1")),
        (distribution("tensorflow", "2.21.0"), distribution("tensorflow-cpu", "2.21.0", site="/usr/lib/python3")),
    ],
    ids=["alone", "its companions", "another folder"],
)
def test_no_rivals(members):
    assert rivals(gpus(), members=members).status.value == "ok"


def test_a_path_that_cannot_stand_in_a_command_leaves_the_words():
    found = distribution("tensorflow", "2.21.0")
    place = environment(found, prefix="/home/$(ada)")
    built = build("tensorflow", found, None, where=place)
    (finding,) = libraries(built, ()).findings
    assert "By hand: '/home/$(ada)/bin/python' is no plain path" in finding.remedy
