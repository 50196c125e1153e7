"""NVIDIA's wheels that overwrote each other's files: which one stays, and how bad it is."""

import re

import pytest
from framework_environments import PREFIX, SITE, distribution, environment, environments

from gpudoctor import Evidence, Finding, Severity
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.facts.wheel_files import Collision, Incomplete, Untold, WheelFiles
from gpudoctor.findings import Outcome, Status
from gpudoctor.registry import load_plugins, registry
from gpudoctor.testing import outcome_of

COLLIDE = "python.nvidia-wheels-collide"

CU12 = distribution("nvidia-cudnn-cu12", "9.6.0.74")
CU13 = distribution("nvidia-cudnn-cu13", "9.12.0.46")
TORCH_12 = distribution("torch", "2.6.0", 'nvidia-cudnn-cu12==9.1.0.70; platform_system == "Linux"')
TORCH_13 = distribution("torch", "2.14.1", 'nvidia-cudnn-cu13==9.12.0.46; platform_system == "Linux"')
JAX_12 = distribution("jax-cuda12-plugin", "0.6.2", 'nvidia-cudnn-cu12<10.0,>=9.8; extra == "with-cuda"')
JAX_OLD = distribution("jax-cuda12-plugin", "0.4.30", 'nvidia-cudnn-cu12<10.0,>=9.0; extra == "with-cuda"')


def collision(
    where: PythonEnvironment, one: Distribution, other: Distribution, holder: str = "", family: str = "nvidia-cudnn"
) -> Collision:
    problem = "" if holder else "it was changed since"
    return Collision(where, family, one, other, 18, f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9", holder, problem)


def judged(where: PythonEnvironment, *collisions: Collision, torn: tuple[Incomplete, ...] = ()) -> Outcome:
    return outcome_of(COLLIDE, WheelFiles(collisions, torn), environments(where))


def both(*beside: Distribution, holder: str = CU13.name, in_use: bool = True, uv: bool = False) -> Finding:
    where = environment(CU12, CU13, *beside, in_use=in_use, uv=uv)
    (found,) = judged(where, collision(where, CU12, CU13, holder)).findings
    return found


def test_the_two_alone() -> None:
    found = both()
    assert found.summary == (
        f"nvidia-cudnn-cu12 9.6.0.74 and nvidia-cudnn-cu13 9.12.0.46 in {PREFIX} bring 18 different files of the same "
        "names: those of nvidia-cudnn-cu13 lie there, the others are lost."
    )
    assert (found.severity, found.environment) == (Severity.ERROR, PREFIX)
    assert (
        Evidence(f"{CU12.folder}/RECORD", "nvidia-cudnn-cu12 9.6.0.74: nvidia/cudnn/lib/libcudnn.so.9")
        in found.evidence
    )
    assert (
        f"`{PREFIX}/bin/python -m pip uninstall -y nvidia-cudnn-cu12 nvidia-cudnn-cu13`, then "
        f"`{PREFIX}/bin/python -m pip install --no-deps nvidia-cudnn-cu13==9.12.0.46`."
    ) in found.remedy


@pytest.mark.parametrize(
    ("beside", "kept"),
    [
        ((TORCH_12,), "nvidia-cudnn-cu12==9.1.0.70"),  # its own pin, not what was installed over it
        ((TORCH_13,), "nvidia-cudnn-cu13==9.12.0.46"),
        ((JAX_OLD,), "nvidia-cudnn-cu12==9.6.0.74"),  # what is there is in its range
        ((JAX_12,), "'nvidia-cudnn-cu12<10.0,>=9.8'"),  # what is there is not
        ((JAX_12, TORCH_12), "nvidia-cudnn-cu12==9.1.0.70"),  # torch names one version
    ],
)
def test_the_one_that_the_framework_asks_for_stays(beside: tuple[Distribution, ...], kept: str) -> None:
    for holder in (CU12.name, CU13.name, ""):
        found = both(*beside, holder=holder)
        assert f"pip install --no-deps {kept}`" in found.remedy
        assert f"({beside[-1].name} {beside[-1].version} asks for nvidia-cudnn-cu1" in found.remedy
        assert "environment of its own" not in found.remedy


def test_frameworks_for_two_cuda_majors_need_two_environments() -> None:
    found = both(JAX_12, TORCH_13)
    assert found.severity is Severity.ERROR
    assert "pip install --no-deps nvidia-cudnn-cu13==9.12.0.46`" in found.remedy
    assert found.remedy.endswith("jax-cuda12-plugin 0.6.2 asks for another of them: give it an environment of its own.")
    assert (
        Evidence(f"{JAX_12.folder}/METADATA", "jax-cuda12-plugin 0.6.2 asks for nvidia-cudnn-cu12<10.0,>=9.8")
        in found.evidence
    )


def test_while_the_right_files_lie_there_it_is_a_warning() -> None:
    assert both(TORCH_13, holder=CU13.name).severity is Severity.WARNING
    assert both(TORCH_13, holder=CU12.name).severity is Severity.ERROR
    assert both(TORCH_13, holder="").severity is Severity.ERROR


def test_what_nobody_uses_is_no_error() -> None:
    assert both(in_use=False).severity is Severity.WARNING


def test_whose_files_lie_there_is_not_always_known() -> None:
    found = both(holder="")
    assert "whose lie there cannot be told" in found.summary
    assert "nvidia-cudnn-cu13 is for the newer CUDA" in found.remedy


def test_the_environment_s_own_tool() -> None:
    assert "`uv pip uninstall --python" in both(uv=True).remedy
    assert "`uv pip install --python" in both(uv=True).remedy


def test_three_of_a_family_are_one_finding() -> None:
    cu11 = distribution("nvidia-cudnn-cu11", "9.1.0.70")
    where = environment(cu11, CU12, CU13)
    pairs = ((cu11, CU12, ""), (cu11, CU13, CU13.name), (CU12, CU13, CU13.name))
    (found,) = judged(where, *(collision(where, *pair) for pair in pairs)).findings
    assert "uninstall -y nvidia-cudnn-cu11 nvidia-cudnn-cu12 nvidia-cudnn-cu13`" in found.remedy
    assert "Take all of them out" in found.remedy


def test_each_family_and_each_environment_is_judged() -> None:
    here, there = environment(CU12, CU13), environment(CU12, CU13, prefix="/opt/other", in_use=False)
    nccl = distribution("nvidia-nccl-cu12", "2.27.5"), distribution("nvidia-nccl-cu13", "2.30.7")
    files = WheelFiles(
        (
            collision(here, CU12, CU13, CU13.name),
            collision(here, *nccl, nccl[0].name, family="nvidia-nccl"),
            collision(there, CU12, CU13, CU13.name),
        ),
        (),
    )
    found = outcome_of(COLLIDE, files, environments(here, there)).findings
    assert [(one.environment, "nccl" in one.subject) for one in found] == [
        (PREFIX, False),
        (PREFIX, True),
        ("/opt/other", False),
    ]


def test_faiss_keeps_its_gpu() -> None:
    cpu, gpu = distribution("faiss-cpu", "1.15.1"), distribution("faiss-gpu-cu12", "1.14.1")
    where = environment(cpu, gpu)
    (found,) = judged(where, collision(where, cpu, gpu, cpu.name, family="faiss")).findings
    assert "faiss-gpu-cu12==1.14.1" in found.remedy


def test_the_half_that_an_uninstall_left() -> None:
    where = environment(CU13, TORCH_13)
    torn = Incomplete(where, CU13, ("nvidia/cudnn/lib/libcudnn.so.9", "nvidia/cudnn/lib/libcudnn_ops.so.9"), 8)
    (found,) = judged(where, torn=(torn,)).findings
    assert found.summary.startswith(f"nvidia-cudnn-cu13 9.12.0.46 in {PREFIX} has lost 2 of its 8 libraries")
    assert Evidence(f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9", "not there") in found.evidence
    assert "pip install --no-deps nvidia-cudnn-cu13==9.12.0.46`" in found.remedy


def test_what_a_collision_explains_is_said_once() -> None:
    where = environment(CU12, CU13)
    torn = Incomplete(where, CU12, ("nvidia/cudnn/lib/libcudnn.so.9",), 8)
    assert len(judged(where, collision(where, CU12, CU13, ""), torn=(torn,)).findings) == 1


@pytest.mark.parametrize("family", ["onnxruntime", "cupy", "tensorflow"])
def test_other_families_have_checks_of_their_own(family: str) -> None:
    one, other = distribution(family, "1.0"), distribution(f"{family}-gpu", "1.0")
    where = environment(one, other)
    torn = Incomplete(where, one, ("x.so",), 1)
    assert judged(where, collision(where, one, other, one.name, family=family), torn=(torn,)).status is Status.OK


def test_a_record_that_cannot_be_read_is_said() -> None:
    where = environment(CU12, CU13)
    outcome = outcome_of(
        COLLIDE, WheelFiles((), (), (Untold(PREFIX, (CU12.name,), "RECORD is locked"),)), environments(where)
    )
    assert (outcome.status, outcome.reason, outcome.matters) == (Status.UNKNOWN, "RECORD is locked", True)


def test_a_name_that_is_none_never_gets_into_a_command() -> None:
    odd = distribution("nvidia-cudnn-cu12", "9.6.0;reboot")
    where = environment(odd, CU13)
    (found,) = judged(where, collision(where, odd, CU13, odd.name)).findings
    assert "`" not in found.remedy


@pytest.mark.parametrize(
    "message",
    [
        "ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory",
        "undefined symbol: ncclMemFree",
    ],
)
def test_messages_that_users_see(message: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message) for pattern in registry.checks[COLLIDE].symptoms)
