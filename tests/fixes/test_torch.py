"""torch, its companions and its extensions brought together again."""

import pytest
from framework_environments import (
    A100,
    GTX_1080,
    PREFIX,
    RTX_5090,
    SITE,
    build,
    distribution,
    driver,
    environment,
    environments,
    gpus,
)

from gpudoctor import Finding, Findings, Manual, Phase, Risk, Run, Severity, Step
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.extensions import Extension, TorchExtensions, TorchInstallation
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.testing import steps_of

R535, R580 = driver("535.309.01", (12, 2)), driver("580.95.05", (13, 0))
PYTHON = f"{PREFIX}/bin/python"


def finding(check: str, subject: str = "", remedy: str = "", severity: Severity = Severity.ERROR) -> Findings:
    return Findings(((check, Finding("It is so.", subject, (), remedy, severity, PREFIX)),))


def builds(*distributions: Distribution, cuda: tuple[int, int] | None = None, **where: object) -> FrameworkBuilds:
    place = environment(*distributions, **where)  # type: ignore[arg-type]
    torch = distributions[0]
    return FrameworkBuilds((build("torch", torch, cuda, where=place, version=torch.version),))


def only(steps: tuple[Step, ...]) -> Step:
    (step,) = steps
    assert step.why.endswith(".")
    return step


# fit-torch


def test_cpu_build_is_replaced_and_can_come_back() -> None:
    found = builds(distribution("torch", "2.13.0+cpu"), distribution("torchvision", "0.28.0+cpu"))
    step = only(steps_of("fit-torch", finding("torch.cpu-only"), found, gpus(GTX_1080), R580))
    index = "https://download.pytorch.org/whl/cu126"
    wanted = ("torch==2.13.0+cu126", "torchvision==0.28.0+cu126")
    assert step.action == Run((PYTHON, "-m", "pip", "install", "--index-url", index, *wanted))
    assert (step.phase, step.risk, step.root) == (Phase.INSTALL, Risk.MEDIUM, False)
    assert step.verify == Run(("test", "-e", f"{SITE}/torch-2.13.0+cu126.dist-info"))
    assert step.undo is not None
    assert "torch==2.13.0+cpu torchvision==0.28.0+cpu" in str(step.undo)


def test_poetry_project_is_left_to_a_person() -> None:
    found = builds(distribution("torch", "2.13.0+cpu"), lock_file="/home/ada/train/poetry.lock")
    step = only(steps_of("fit-torch", finding("torch.cpu-only"), found, gpus(A100), R580))
    assert isinstance(step.action, Manual)
    assert "poetry -C /home/ada/train add" in step.action.instruction


def test_a_mere_note_changes_nothing() -> None:
    found = builds(distribution("torch", "2.13.0+cpu"), in_use=False)
    note = finding("torch.cpu-only", severity=Severity.INFO)
    assert steps_of("fit-torch", note, found, gpus(A100), R580) == ()


def test_only_the_environment_of_the_finding_is_changed() -> None:
    found = builds(distribution("torch", "2.13.0+cpu"), prefix="/opt/other")
    assert steps_of("fit-torch", finding("torch.cpu-only"), found, gpus(A100), R580) == ()


def test_without_a_build_that_fits_a_person_decides() -> None:
    found = builds(distribution("torch", "2.13.0+cpu"), version="3.6")
    step = only(steps_of("fit-torch", finding("torch.cpu-only"), found, gpus(RTX_5090), R580))
    assert isinstance(step.action, Manual)


# align-torch-family


def test_companions_follow_torch() -> None:
    torch, vision = distribution("torch", "2.9.1"), distribution("torchvision", "0.23.0", "torch==2.8.0")
    step = only(
        steps_of("align-torch-family", finding("torch.companion-mismatch"), builds(torch, vision, cuda=(12, 8)))
    )
    assert step.action == Run((PYTHON, "-m", "pip", "install", "torchvision==0.24.1"))
    assert step.verify == Run(("test", "-e", f"{SITE}/torchvision-0.24.1.dist-info"))
    assert step.undo == Run((PYTHON, "-m", "pip", "install", "torchvision==0.23.0"))


# renew-extensions


def extension(name: str, version: str, torch: str, **where: object) -> tuple[Step, ...]:
    own, other = distribution("torch", "2.8.0"), distribution(name, version)
    said = Extension(PREFIX, other, (torch,), "12", None, "x", version, False, None)
    known = TorchExtensions((said,), (TorchInstallation(PREFIX, True, None),), (), ())
    found = builds(own, other, cuda=(12, 8), **where)
    return steps_of("renew-extensions", finding("python.extension-abi"), found, known)


def test_extension_is_compiled_anew() -> None:
    step = only(extension("flash-attn", "2.7.4", "2.4"))
    flags = ("--no-build-isolation", "--no-cache-dir", "--force-reinstall", "--no-deps")
    assert step.action == Run((PYTHON, "-m", "pip", "install", *flags, "flash-attn==2.7.4"))
    assert "exit status is the proof" in step.why
    assert step.undo is not None


def test_uv_has_flags_of_its_own() -> None:
    step = only(extension("flash-attn", "2.7.4", "2.4", uv=True))
    assert str(step.action).startswith(f"uv pip install --no-build-isolation --no-cache --python {PREFIX} ")


def test_xformers_for_this_torch() -> None:
    step = only(extension("xformers", "0.0.31", "2.7"))
    assert str(step.action) == f"{PYTHON} -m pip install xformers==0.0.32.post2"


def test_extension_that_fits_is_left_alone() -> None:
    assert extension("flash-attn", "2.8.3", "2.8") == ()


# bitsandbytes, triton


def test_bitsandbytes_with_a_library() -> None:
    torch, other = distribution("torch", "2.9.1"), distribution("bitsandbytes", "0.42.0")
    subject = finding("bitsandbytes.no-binary", "bitsandbytes 0.42.0")
    step = only(steps_of("renew-bitsandbytes", subject, builds(torch, other, cuda=(13, 0))))
    assert str(step.action).startswith(f"{PYTHON} -m pip install bitsandbytes==0.")
    none = only(steps_of("renew-bitsandbytes", subject, builds(torch, other, cuda=(13, 9))))
    assert isinstance(none.action, Manual)


def test_variable_is_for_a_person() -> None:
    subject = finding("bitsandbytes.no-binary", "BNB_CUDA_VERSION", "`unset BNB_CUDA_VERSION`.")
    step = only(steps_of("renew-bitsandbytes", subject, builds(distribution("torch", "2.9.1"), cuda=(13, 0))))
    assert step.action == Manual("`unset BNB_CUDA_VERSION`.")


@pytest.mark.parametrize("check", ["triton.ptxas-too-old", "triton.toolchain-missing"])
def test_triton_is_for_a_person(check: str) -> None:
    step = only(steps_of("give-triton-its-tools", finding(check, remedy="Do it.", severity=Severity.WARNING)))
    assert step.action == Manual("Do it.")
    assert steps_of("give-triton-its-tools", finding(check, severity=Severity.INFO)) == ()


def test_a_name_that_is_no_name_never_gets_into_a_command() -> None:
    found = builds(distribution("torch", "2.13.0+cpu"), prefix="/home/ada/$(reboot)")
    where = Findings(
        (("torch.cpu-only", Finding("It is so.", severity=Severity.ERROR, environment="/home/ada/$(reboot)")),)
    )
    step = only(steps_of("fit-torch", where, found, gpus(A100), R535))
    assert isinstance(step.action, Manual)
    assert "by hand" in step.action.instruction


def test_two_fixes_that_take_torch_back_are_one_step() -> None:
    vllm = distribution("vllm", "0.11.0", "torch==2.8.0")
    torch, vision = distribution("torch", "2.9.1"), distribution("torchvision", "0.23.0", "torch==2.8.0")
    found = builds(torch, vision, vllm, cuda=(12, 8))
    subject = finding("python.pin-broken", "torch 2.9.1")
    known = environments(found.builds[0].environment)
    aligned = only(steps_of("align-torch-family", finding("torch.companion-mismatch"), found))
    assert only(steps_of("restore-pins", subject, known)) == aligned
    assert str(aligned.action) == f"{PYTHON} -m pip install torch==2.8.0 torchvision==0.23.0"


def test_torch_that_is_asked_for_comes_before_the_same() -> None:
    vllm = distribution("vllm", "0.11.0", "torch==2.8.0")
    found = builds(distribution("torch", "2.13.0+cpu"), vllm)
    step = only(steps_of("fit-torch", finding("torch.cpu-only"), found, gpus(A100), R580))
    assert str(step.action) == f"{PYTHON} -m pip install torch==2.8.0"
