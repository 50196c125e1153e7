"""Versions that packages ask for restored, NumPy taken back, environments made anew."""

import pytest
from framework_environments import PREFIX, SITE, distribution, environment, environments

from gpudoctor import Finding, Findings, Manual, Run, Severity, Step
from gpudoctor.facts.distributions import Distribution
from gpudoctor.testing import steps_of

PYTHON = f"{PREFIX}/bin/python"


def steps(fix: str, check: str, *distributions: Distribution, subject: str = "", **where: object) -> tuple[Step, ...]:
    found = Finding("It is so.", subject, (), "Do it.", Severity.WARNING, PREFIX)
    return steps_of(fix, Findings(((check, found),)), environments(environment(*distributions, **where)))  # type: ignore[arg-type]


def pins(*distributions: Distribution, subject: str = "torch 2.9.1", **where: object) -> tuple[Step, ...]:
    return steps("restore-pins", "python.pin-broken", *distributions, subject=subject, **where)


def test_torch_goes_back_to_what_is_asked_for() -> None:
    (step,) = pins(
        distribution("torch", "2.9.1"),
        distribution("torchvision", "0.24.1", "torch==2.9.1"),
        distribution("vllm", "0.11.0", "torch==2.8.0"),
    )
    assert step.action == Run((PYTHON, "-m", "pip", "install", "torch==2.8.0", "torchvision==0.23.0"))
    assert step.verify == Run(("test", "-e", f"{SITE}/torch-2.8.0.dist-info"))
    assert step.undo == Run((PYTHON, "-m", "pip", "install", "torch==2.9.1", "torchvision==0.24.1"))
    assert step.why == f"vllm 0.11.0 asks for torch==2.8.0, and torch 2.9.1 is in {PREFIX}."


def test_only_what_was_found_is_changed() -> None:
    packages = (distribution("torch", "2.9.1", "triton==3.5.1"), distribution("triton", "3.4.0"))
    assert pins(*packages, distribution("vllm", "0.11.0", "torch==2.8.0"), subject="numpy 1.26.4") == ()
    (step,) = pins(*packages, distribution("vllm", "0.11.0", "torch==2.8.0"), subject="triton 3.4.0")
    assert str(step.action) == f"{PYTHON} -m pip install triton==3.5.1"


def test_contradiction_is_for_a_person() -> None:
    (step,) = pins(
        distribution("torch", "2.9.1"), distribution("a", "1", "torch==2.8.0"), distribution("b", "1", "torch==2.9.1")
    )
    assert isinstance(step.action, Manual)


def test_pip_leaves_the_systems_python_alone() -> None:
    (step,) = pins(
        distribution("torch", "2.9.1"),
        distribution("vllm", "0.11.0", "torch==2.8.0"),
        managed="/usr/lib/python3.11/EXTERNALLY-MANAGED",
        kind="system",
    )
    assert isinstance(step.action, Manual)
    assert "venv" in step.action.instruction


def test_numpy_is_taken_back() -> None:
    packages = (distribution("numpy", "2.4.6"), distribution("torch", "2.2.2"))
    (step,) = steps("take-numpy-back", "python.numpy-abi", *packages)
    assert step.action == Run((PYTHON, "-m", "pip", "install", "numpy<2"))
    assert step.undo == Run((PYTHON, "-m", "pip", "install", "numpy==2.4.6"))
    assert "exit status is the proof" in step.why
    (step,) = steps("take-numpy-back", "python.numpy-abi", *packages, distribution("x", "1", "numpy>=2"))
    assert isinstance(step.action, Manual)
    assert steps("take-numpy-back", "python.numpy-abi", distribution("numpy", "2.4.6")) == ()


@pytest.mark.parametrize("check", ["python.interpreter-missing", "python.wrong-interpreter", "python.no-wheel"])
def test_interpreters_are_for_a_person(check: str) -> None:
    (step,) = steps("explain-interpreter", check)
    assert step.action == Manual("Do it.")
    assert step.why.endswith(".")
    assert not step.root
