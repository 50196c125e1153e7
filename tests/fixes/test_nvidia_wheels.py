"""Wheels that overwrote each other come out together, before the right one goes in."""

from framework_environments import PREFIX, SITE, distribution, environment

from gpudoctor import Finding, Findings, Manual, Phase, Risk, Run, Step
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.facts.wheel_files import Collision, Incomplete, WheelFiles
from gpudoctor.testing import steps_of

CU12, CU13 = distribution("nvidia-cudnn-cu12", "9.6.0.74"), distribution("nvidia-cudnn-cu13", "9.12.0.46")
TORCH = distribution("torch", "2.9.1", "nvidia-cudnn-cu12==9.10.2.21")
PYTHON = f"{PREFIX}/bin/python"


def steps(where: PythonEnvironment, *, torn: bool = False, asked: str = PREFIX) -> tuple[Step, ...]:
    path = f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9"
    collision = Collision(where, "nvidia-cudnn", CU12, CU13, 18, path, CU13.name, "")
    files = WheelFiles((), (Incomplete(where, CU13, (path,), 8),)) if torn else WheelFiles((collision,), ())
    findings = Findings((("python.nvidia-wheels-collide", Finding("found", environment=asked)),))
    return steps_of("reinstall-nvidia-wheels", findings, files)


def test_both_go_before_one_comes() -> None:
    out, into = steps(environment(CU12, CU13, TORCH))
    assert out.action == Run((PYTHON, "-m", "pip", "uninstall", "-y", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"))
    assert (out.phase, into.phase) == (Phase.REMOVE, Phase.INSTALL)
    assert isinstance(into.action, Run)
    assert into.action.argv[-1] == "nvidia-cudnn-cu12==9.10.2.21"
    assert into.verify == Run(("test", "-e", f"{SITE}/nvidia_cudnn_cu12-9.10.2.21.dist-info"))
    assert isinstance(out.undo, Run)
    assert out.undo.argv[-2:] == ("nvidia-cudnn-cu12==9.6.0.74", "nvidia-cudnn-cu13==9.12.0.46")
    assert "torch 2.9.1 asks for nvidia-cudnn-cu12==9.10.2.21" in into.why
    assert not out.root
    assert out.risk is into.risk is Risk.MEDIUM


def test_a_torn_wheel_comes_back() -> None:
    out, into = steps(environment(CU13), torn=True)
    assert isinstance(out.action, Run)
    assert isinstance(into.action, Run)
    assert (out.action.argv[-1], into.action.argv[-1]) == ("nvidia-cudnn-cu13", "nvidia-cudnn-cu13==9.12.0.46")


def test_an_environment_that_was_not_asked_for_is_left_alone() -> None:
    assert steps(environment(CU12, CU13), asked="/opt/other") == ()


def test_a_project_with_a_lock_file_is_changed_by_a_person() -> None:
    (step,) = steps(environment(CU12, CU13, TORCH, lock_file="/home/ada/poetry.lock"))
    assert isinstance(step.action, Manual)
    assert "poetry" in step.action.instruction


def test_a_name_that_is_none_leaves_it_to_a_person() -> None:
    odd = distribution("nvidia-cudnn-cu13", "9.12; reboot")
    where = environment(CU12, odd)
    files = WheelFiles((Collision(where, "nvidia-cudnn", CU12, odd, 1, f"{SITE}/x", odd.name, ""),), ())
    findings = Findings((("python.nvidia-wheels-collide", Finding("found", environment=PREFIX)),))
    (step,) = steps_of("reinstall-nvidia-wheels", findings, files)
    assert isinstance(step.action, Manual)
    assert step.action.instruction.startswith("Do this repair by hand")
