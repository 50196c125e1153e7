"""A framework gets its cuDNN and NCCL again, and an old GPU the cuDNN that serves it."""

import pytest
from cudnn_findings import JAX, TORCH, VARIABLE, cudnn, framework, nccl, part, used
from framework_environments import PREFIX, V100, distribution, driver, gpus, use

from gpudoctor import Effort, Finding, Findings, Manual, Run, Step
from gpudoctor.facts.framework_cudnn import CudnnPart, FrameworkCudnn, FrameworkCudnns, FrameworkNccl, FrameworkNccls
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.registry import load_plugins, registry
from gpudoctor.testing import steps_of

OLD = "/opt/old/lib"


def asked(id: str, build: FrameworkBuild) -> Findings:
    return Findings(((id, Finding("found", build.words, environment=PREFIX)),))


def reinstalled(id: str, one: FrameworkCudnn) -> tuple[Step, ...]:
    known = (FrameworkBuilds((one.build,)), used(one), FrameworkCudnns((one,)), gpus(V100))
    return steps_of("reinstall-cudnn", asked(id, one.build), *known)


def commands(steps: tuple[Step, ...]) -> list[str]:
    return [" ".join(step.action.argv[3:]) for step in steps if isinstance(step.action, Run)]


def test_the_pin_comes_back_over_an_older_wheel() -> None:
    build = framework(TORCH, distribution("nvidia-cudnn-cu12", "9.1.0.70"))
    made = reinstalled("cudnn.version-mismatch", cudnn(build, part("graph", "9.1.0")))
    assert commands(made) == ["uninstall -y nvidia-cudnn-cu12", "install nvidia-cudnn-cu12==9.10.2.21"]


def test_a_range_is_filled_with_what_serves_the_gpu() -> None:
    made = reinstalled("cudnn.version-mismatch", cudnn(framework(JAX), part("graph", "9.1.0")))
    assert commands(made) == ["install nvidia-cudnn-cu12==9.10.2.21"]


@pytest.mark.parametrize(
    ("id", "graph"),
    [
        ("cudnn.version-mismatch", part("graph", "9.1.0", OLD, VARIABLE)),
        ("cudnn.sublibrary-mix", part("graph", "9.10.2")),
    ],
)
def test_a_variable_is_taken_back_and_nothing_installed(id: str, graph: CudnnPart) -> None:
    (step,) = reinstalled(id, cudnn(framework(TORCH), graph, part("ops", "9.1.0", OLD, VARIABLE)))
    assert step.action == Manual(f"Take {OLD} out of LD_LIBRARY_PATH, where it is set, and log in anew.")


def test_an_old_wheel_is_replaced_whatever_else_the_variable_leads_to() -> None:
    one = cudnn(framework(TORCH), part("graph", "9.1.0"), part("ops", "9.1.0", OLD, VARIABLE))
    assert commands(reinstalled("cudnn.version-mismatch", one)) == ["install nvidia-cudnn-cu12==9.10.2.21"]


def test_a_missing_library_is_installed() -> None:
    build = framework(TORCH, distribution("nvidia-cudnn-cu13", "9.12.0.46"))
    libraries = FrameworkLibraries((use("torch", "libcudnn.so.9"),))
    findings = asked("cudnn.library-missing", build)
    made = steps_of("reinstall-cudnn", findings, FrameworkBuilds((build,)), libraries, FrameworkCudnns(()), gpus(V100))
    assert commands(made) == ["uninstall -y nvidia-cudnn-cu13", "install nvidia-cudnn-cu12==9.10.2.21"]


def older(build: FrameworkBuild) -> tuple[Step, ...]:
    known = (FrameworkBuilds((build,)), driver("580.95.05", (13, 0)), gpus(V100))
    return steps_of("older-cudnn", asked("cudnn.gpu-unsupported", build), *known)


def test_the_last_cudnn_for_volta() -> None:
    (step,) = older(framework(JAX, distribution("nvidia-cudnn-cu12", "9.28.0.42")))
    assert commands((step,)) == ["install nvidia-cudnn-cu12==9.10.2.21"]
    assert isinstance(step.undo, Run)
    assert step.undo.argv[-1] == "nvidia-cudnn-cu12==9.28.0.42"


def test_an_exact_pin_needs_another_build() -> None:
    made = older(framework(distribution("torch", "2.12.0", "nvidia-cudnn-cu12==9.20.0.48")))
    assert made
    assert all("nvidia-cudnn" not in command for command in commands(made))
    assert any("torch==" in command and "cu126" in command for command in commands(made))


def test_nccl() -> None:
    def steps(one: FrameworkNccl) -> tuple[Step, ...]:
        findings = asked("nccl.shadowed", one.build)
        return steps_of("reinstall-nccl", findings, FrameworkBuilds((one.build,)), FrameworkNccls((one,)))

    assert commands(steps(nccl(framework(TORCH), "2.18.3", "/usr/lib", "ld.so.cache"))) == [
        "install nvidia-nccl-cu12==2.27.5"
    ]
    (step,) = steps(nccl(framework(TORCH), "2.18.3", OLD, VARIABLE))
    assert isinstance(step.action, Manual)
    assert f"Take {OLD} out of LD_LIBRARY_PATH" in step.action.instruction


@pytest.mark.parametrize(
    ("fix", "check"),
    [("match-cudnn-header", "cudnn.header-mismatch"), ("correct-nccl-settings", "nccl.init-failed")],
)
def test_what_only_a_person_knows(fix: str, check: str) -> None:
    load_plugins(fixes=True)
    assert registry.fixes[fix].effort is Effort.EXPLAIN
    (step,) = steps_of(fix, Findings(((check, Finding("found", remedy="Unset it.")),)))
    assert step.action == Manual("Unset it.")
    assert steps_of(fix, Findings((("pci.no-gpu", Finding("found", remedy="Unset it.")),))) == ()
