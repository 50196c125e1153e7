"""What is left to do where a framework failed and nobody knows why."""

from framework_environments import PREFIX

from gpudoctor import Evidence, Finding, Findings, Manual
from gpudoctor.testing import steps_of


def test_the_plan_repeats_the_message() -> None:
    said = "RuntimeError: CUDA error: no kernel image is available"
    finding = Finding("It failed.", "torch 2.9.1", (Evidence("torch", said),), "See it.", environment=PREFIX)
    (step,) = steps_of("look-into-trial", Findings((("python.framework-trial", finding),)))
    assert isinstance(step.action, Manual)
    assert said in step.action.instruction
