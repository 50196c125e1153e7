"""torch without CUDA, without code for the GPU, or with companions of another torch."""

import pytest
from framework_environments import (
    A100,
    GTX_1080,
    PREFIX,
    RTX_4090,
    RTX_5090,
    SITE,
    V100,
    build,
    distribution,
    driver,
    environment,
    gpu,
    gpus,
    torch,
)

from gpudoctor import Severity
from gpudoctor.facts.conda import CondaPackage
from gpudoctor.facts.deep import DeepTrials, FrameworkTrial
from gpudoctor.facts.extensions import Companion, TorchExtensions
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.findings import Outcome, Status
from gpudoctor.testing import outcome_of

CPU_ONLY, NO_KERNELS, COMPANION = "torch.cpu-only", "torch.no-kernels-for-gpu", "torch.companion-mismatch"
R470, R535, R580 = driver("470.256.02", (11, 4)), driver("535.309.01", (12, 2)), driver("580.95.05", (13, 0))
TORCH_28 = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
TORCH_24 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")


def judged(check: str, built: FrameworkBuild, *facts: object) -> Outcome:
    return outcome_of(check, FrameworkBuilds((built,)), *facts)


def alone(version: str, cuda: tuple[int, int] | None, *architectures: str, **where: object) -> FrameworkBuild:
    """torch with its whole version in its dist-info, as the wheels of variants have it."""
    found = distribution("torch", version)
    return build("torch", found, cuda, *architectures, where=environment(found, **where), version=version)  # type: ignore[arg-type]


# torch.cpu-only


def test_cpu_build_beside_a_gpu() -> None:
    outcome = judged(CPU_ONLY, alone("2.13.0+cpu", None), gpus(RTX_4090), R580)
    (found,) = outcome.findings
    assert found.severity is Severity.ERROR
    assert found.environment == PREFIX
    assert found.summary == (
        f"torch 2.13.0+cpu in {PREFIX} is built without CUDA, and NVIDIA GeForce RTX 4090 (compute capability 8.9) "
        "is here."
    )
    assert found.evidence[0].value == "__version__ = '2.13.0+cpu', cuda = None"
    # "==2.13.0" would count as met by 2.13.0+cpu.
    assert found.remedy == (
        f"Install torch 2.13.0 with CUDA 13.0: `{PREFIX}/bin/python -m pip install torch===2.13.0`."
    )


@pytest.mark.parametrize(
    ("card", "known", "command"),
    [
        (A100, R535, "--index-url https://download.pytorch.org/whl/cu126 torch==2.13.0+cu126"),
        (GTX_1080, R580, "--index-url https://download.pytorch.org/whl/cu126 torch==2.13.0+cu126"),
        (A100, R470, "--index-url https://download.pytorch.org/whl/cu118 torch==2.7.1+cu118"),
    ],
)
def test_the_command_fits_driver_and_gpu(card: object, known: object, command: str) -> None:
    (found,) = judged(CPU_ONLY, alone("2.13.0+cpu", None), gpus(card), known).findings  # type: ignore[arg-type]
    assert f"`{PREFIX}/bin/python -m pip install {command}`" in found.remedy


def test_companions_that_are_there_come_along_and_no_others() -> None:
    found = (distribution("torch", "2.8.0+cpu"), distribution("torchvision", "0.23.0+cpu"))
    built = build("torch", found[0], None, where=environment(*found), version="2.8.0+cpu")
    remedy = judged(CPU_ONLY, built, gpus(V100), R535).findings[0].remedy
    assert "install torch===2.8.0 torchvision===0.23.0`" in remedy


def test_packages_that_pin_another_torch_are_named() -> None:
    found = (distribution("torch", "2.13.0+cpu"), distribution("vllm", "0.30.0", "torch==2.13.0"))
    built = build("torch", found[0], None, where=environment(*found), version="2.13.0+cpu")
    remedy = judged(CPU_ONLY, built, gpus(A100), R470).findings[0].remedy
    assert remedy.endswith("What asks for another torch must change with it: vllm 0.30.0 (torch==2.13.0).")


def test_uv_environment_gets_its_own_tool() -> None:
    remedy = judged(CPU_ONLY, alone("2.13.0+cpu", None, uv=True), gpus(A100), R580).findings[0].remedy
    assert f"`uv pip install --python {PREFIX} torch===2.13.0`" in remedy


def test_cpu_build_where_nobody_computes_is_a_note() -> None:
    (found,) = judged(CPU_ONLY, alone("2.13.0+cpu", None, in_use=False), gpus(RTX_4090), R580).findings
    assert found.severity is Severity.INFO


def test_conda_build_string_is_evidence() -> None:
    package = CondaPackage("pytorch", "2.5.1", "cpu_generic_py312h1")
    (found,) = judged(CPU_ONLY, alone("2.5.1", None, conda=(package,), kind="conda"), gpus(A100), R580).findings
    assert (f"{PREFIX}/conda-meta", "pytorch-2.5.1-cpu_generic_py312h1") in found.evidence


def test_without_a_driver_the_build_is_not_guessed() -> None:
    (found,) = judged(CPU_ONLY, alone("2.13.0+cpu", None), gpus(RTX_4090)).findings
    assert "pip install" not in found.remedy
    assert "gpudoctor recommend torch" in found.remedy


def test_cpu_build_is_not_judged_without_a_gpu() -> None:
    assert judged(CPU_ONLY, alone("2.13.0+cpu", None), gpus(), R580).status is Status.SKIPPED


def test_cuda_build_is_fine() -> None:
    assert judged(CPU_ONLY, alone("2.8.0", (12, 8), *TORCH_28), gpus(RTX_4090), R580).status is Status.OK


def test_unreadable_version_is_not_called_cpu_only() -> None:
    built = alone("2.8.0", None)._replace(problem="torch/version.py does not tell the CUDA version")
    outcome = judged(CPU_ONLY, built, gpus(RTX_4090), R580)
    assert (outcome.status, outcome.matters) == (Status.UNKNOWN, True)
    assert "does not tell" in outcome.reason


def test_one_damaged_environment_does_not_hide_the_others() -> None:
    damaged = alone("2.8.0", None, prefix="/x")._replace(problem="damaged")
    outcome = outcome_of(CPU_ONLY, FrameworkBuilds((damaged, alone("2.13.0+cpu", None))), gpus(RTX_4090), R580)
    assert outcome.status is Status.FOUND
    assert outcome.reason == "damaged"


# torch.no-kernels-for-gpu


def test_old_gpu_gets_the_same_torch_for_an_older_cuda() -> None:
    (found,) = judged(NO_KERNELS, torch("2.8.0+cu128", (12, 8), *TORCH_28), gpus(GTX_1080), R580).findings
    assert found.severity is Severity.ERROR
    assert "has no code for NVIDIA GeForce GTX 1080 (compute capability 6.1)" in found.summary
    assert found.evidence[0].value == " ".join(TORCH_28)
    assert "https://download.pytorch.org/whl/cu126 torch==2.8.0+cu126" in found.remedy


def test_new_gpu_gets_a_newer_torch() -> None:
    (found,) = judged(NO_KERNELS, torch("2.4.0+cu121", (12, 1), *TORCH_24), gpus(RTX_5090), R580).findings
    assert found.remedy.startswith("Install torch 2.1")
    assert "pip install torch==2.1" in found.remedy


@pytest.mark.parametrize(
    ("architectures", "card"),
    [
        (TORCH_24, RTX_4090),  # sm_86 serves 8.9
        (TORCH_24, GTX_1080),  # sm_60 serves 6.1
        (TORCH_28, RTX_5090),
        ((*TORCH_24, "compute_90"), RTX_5090),  # PTX, which another check judges
    ],
)
def test_code_that_serves_the_gpu(architectures: tuple[str, ...], card: object) -> None:
    assert judged(NO_KERNELS, torch("2.4.0", (12, 4), *architectures), gpus(card), R580).status is Status.OK  # type: ignore[arg-type]


def test_a_second_gpu_without_code_is_a_warning() -> None:
    (found,) = judged(NO_KERNELS, torch("2.8.0", (12, 8), *TORCH_28), gpus(RTX_4090, GTX_1080), R580).findings
    assert found.severity is Severity.WARNING
    assert "RTX 4090" not in found.summary


def test_environment_that_nobody_uses_is_a_warning() -> None:
    built = torch("2.8.0", (12, 8), *TORCH_28, in_use=False)
    assert judged(NO_KERNELS, built, gpus(GTX_1080), R580).findings[0].severity is Severity.WARNING


def test_observed_success_outranks_the_table() -> None:
    trial = FrameworkTrial("torch", "2.8.0", 1, "", "", (), {}, PREFIX)
    built = torch("2.8.0", (12, 8), *TORCH_28)
    assert judged(NO_KERNELS, built, gpus(GTX_1080), R580, DeepTrials((trial,))).status is Status.OK


@pytest.mark.parametrize(
    ("built", "card", "reason"),
    [
        (torch("2.99.0", (13, 4)), RTX_4090, "for which GPUs torch 2.99.0 was built is not known"),
        (torch("2.8.0", (12, 8), *TORCH_28), gpu("NVIDIA Device 3333", None), "is not known (NVML)"),
        (torch("2.8.0", (12, 8), *TORCH_28)._replace(ptx_told=False), gpu("Future", (13, 0)), "has PTX"),
    ],
)
def test_what_cannot_be_told_is_unknown(built: FrameworkBuild, card: object, reason: str) -> None:
    outcome = judged(NO_KERNELS, built, gpus(card), R580)  # type: ignore[arg-type]
    assert (outcome.status, outcome.matters) == (Status.UNKNOWN, True)
    assert reason in outcome.reason


# torch.companion-mismatch


def with_companion(
    torch_version: str,
    cuda: tuple[int, int] | None,
    companion: str,
    says: str,
    *requires: str,
    name: str = "torchvision",
    others: tuple[object, ...] = (),
    **where: object,
) -> Outcome:
    own, other = distribution("torch", torch_version), distribution(name, companion, *requires)
    place = environment(own, other, *others, **where)  # type: ignore[arg-type]
    built = build("torch", own, cuda, where=place, version=torch_version)
    path = f"{other.location}/{name}/version.py"
    known = Companion(PREFIX, other, says, path, f"__version__ = '{says}'")
    return outcome_of(COMPANION, FrameworkBuilds((built,)), TorchExtensions((), (), (known,), ()))


def test_companion_of_another_torch() -> None:
    (found,) = with_companion("2.9.1+cu126", (12, 6), "0.23.0", "0.23.0+cu128", "torch==2.8.0").findings
    assert found.severity is Severity.ERROR
    assert found.summary == f"torchvision 0.23.0+cu128 asks for torch==2.8.0; torch 2.9.1+cu126 is in {PREFIX}."
    assert found.evidence[0].value == "Requires-Dist: torch==2.8.0"
    assert found.remedy == (
        f"Install what belongs to torch 2.9.1+cu126: `{PREFIX}/bin/python -m pip install --index-url "
        "https://download.pytorch.org/whl/cu126 torchvision==0.24.1+cu126`."
    )


def test_companion_that_tells_no_torch_is_looked_up() -> None:
    (found,) = with_companion("2.9.1", (12, 8), "0.23.0", "0.23.0", "torch", kind="conda").findings
    assert found.evidence[0] == ("table of torchvision 0.23.0", "torch==2.8.0")


@pytest.mark.parametrize(("installer", "site"), [("conda", SITE), ("", "/usr/lib/python3/dist-packages")])
def test_companion_that_a_distribution_compiled_for_its_own_torch(installer: str, site: str) -> None:
    own, other = (
        distribution(name, version, "torch", installer=installer, site=site)
        for name, version in (("torch", "2.9.1"), ("torchvision", "0.23.0"))
    )
    built = build("torch", own, (12, 8), where=environment(own, other, kind="conda"), version="2.9.1")
    known = Companion(PREFIX, other, "0.23.0", f"{site}/torchvision/version.py", "__version__ = '0.23.0'")
    assert outcome_of(COMPANION, FrameworkBuilds((built,)), TorchExtensions((), (), (known,), ())).status is Status.OK


def test_companion_of_a_sibling_release_is_a_warning() -> None:
    (found,) = with_companion("2.9.1", (12, 8), "0.24.0", "0.24.0+cu128", "torch==2.9.0").findings
    assert found.severity is Severity.WARNING


def test_companion_for_another_cuda() -> None:
    (found,) = with_companion("2.14.1+cu126", (12, 6), "0.29.1", "0.29.1+cu130", "torch>=2.14.0").findings
    assert found.severity is Severity.ERROR
    assert "is built for CUDA 13, and torch for CUDA 12.6" in found.summary
    assert "torchvision==0.29.1+cu126`" in found.remedy


def test_companion_for_the_cpu_beside_cuda() -> None:
    (found,) = with_companion("2.8.0", (12, 8), "0.23.0+cpu", "0.23.0+cpu", "torch==2.8.0").findings
    assert found.severity is Severity.WARNING
    assert found.remedy.endswith("python -m pip install torchvision===0.23.0`.")


def test_companion_for_cuda_beside_a_cpu_torch() -> None:
    (found,) = with_companion("2.8.0+cpu", None, "0.23.0+cu128", "0.23.0+cu128", "torch==2.8.0").findings
    assert "for no CUDA" in found.summary
    assert "https://download.pytorch.org/whl/cpu torchvision==0.23.0+cpu" in found.remedy


def test_a_pin_of_another_package_takes_torch_back_instead() -> None:
    vllm = distribution("vllm", "0.11.0", "torch==2.8.0", "torchvision==0.23.0")
    (found,) = with_companion("2.9.1", (12, 8), "0.23.0", "0.23.0+cu128", "torch==2.8.0", others=(vllm,)).findings
    assert found.remedy.startswith("Take torch and its family back, for vllm 0.11.0 asks for torch==2.8.0: ")
    assert "install torch==2.8.0 torchvision==0.23.0`" in found.remedy


@pytest.mark.parametrize(
    ("torch_version", "cuda", "companion", "says", "requires"),
    [
        ("2.4.0+cu121", (12, 1), "0.19.0+cu121", "0.19.0+cu121", "torch==2.4.0"),
        ("2.14.1", (13, 0), "0.29.1", "0.29.1+cu130", "torch (>=2.14.0)"),
        ("2.9.1", (12, 8), "0.24.1", "0.24.1+cu126", "torch==2.9.1"),  # one CUDA major is enough
        ("2.5.0a0+872d972e41.nv24.8", (12, 6), "0.20.0a0", "0.20.0a0", "torch"),  # NVIDIA's containers
        ("2.5.1", (12, 4), "0.20.1", "0.20.1a0+3ac97aa", "torch"),  # conda's own build
        ("2.8.0+rocm6.4", None, "0.23.0+rocm6.4", "0.23.0+rocm6.4", "torch==2.8.0"),
    ],
)
def test_companions_that_belong_together(
    torch_version: str, cuda: tuple[int, int] | None, companion: str, says: str, requires: str
) -> None:
    assert with_companion(torch_version, cuda, companion, says, requires).status is Status.OK


def test_torchaudio_that_pins_no_torch_is_fine() -> None:
    assert with_companion("2.14.1", (13, 0), "2.11.0", "2.11.0+cu130", name="torchaudio").status is Status.OK


def test_unreadable_companion_is_unknown() -> None:
    built = torch("2.8.0", (12, 8), *TORCH_28)
    problem = (PREFIX, "torchvision", "/x/version.py: permission denied")
    outcome = outcome_of(COMPANION, FrameworkBuilds((built,)), TorchExtensions((), (), (), (), (problem,)))
    assert (outcome.status, outcome.reason) == (Status.UNKNOWN, "/x/version.py: permission denied")


def test_torch_with_a_version_of_its_makers_own_kind() -> None:
    (found,) = with_companion("nightly", (12, 8), "0.23.0+cu118", "0.23.0+cu118", "torch").findings
    assert found.remedy == f"Install what belongs to torch nightly: `{PREFIX}/bin/python -m pip install torchvision`."
