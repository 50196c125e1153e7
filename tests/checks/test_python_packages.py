"""Packages that disagree about versions, NumPy 2 beside code for NumPy 1, Pythons without wheels."""

import pytest
from framework_environments import (
    A100,
    GTX_1080,
    PREFIX,
    RTX_4090,
    RTX_5090,
    build,
    distribution,
    driver,
    environment,
    environments,
    gpus,
)

from gpudoctor import Severity
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.extensions import Extension, TorchExtensions
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.findings import Outcome, Status
from gpudoctor.testing import outcome_of

PIN, NUMPY, NO_WHEEL = "python.pin-broken", "python.numpy-abi", "python.no-wheel"
R535, R580 = driver("535.309.01", (12, 2)), driver("580.95.05", (13, 0))
NOTHING = TorchExtensions((), (), (), ())


def pins(*distributions: Distribution, extensions: TorchExtensions = NOTHING, **where: object) -> Outcome:
    place = environment(*distributions, **where)  # type: ignore[arg-type]
    torch = place.get("torch")
    builds = (build("torch", torch, (12, 8), where=place, version=torch.version),) if torch else ()
    return outcome_of(PIN, environments(place), FrameworkBuilds(builds), extensions)


# python.pin-broken


def test_torch_was_upgraded_under_vllm() -> None:
    (found,) = pins(distribution("torch", "2.9.1"), distribution("vllm", "0.11.0", "torch==2.8.0")).findings
    assert found.severity is Severity.ERROR
    assert found.subject == "torch 2.9.1"
    assert found.summary == f"vllm 0.11.0 asks for torch==2.8.0, and torch 2.9.1 is in {PREFIX}."
    assert found.evidence[0].value == "Requires-Dist: torch==2.8.0"
    assert (
        f"Install what is asked for: `{PREFIX}/bin/python -m pip install torch==2.8.0`; or take vllm " in found.remedy
    )
    assert found.remedy.endswith(", which asks for what is there.")


def test_the_variant_and_the_companions_stay() -> None:
    found = pins(
        distribution("torch", "2.9.1+cu126"),
        distribution("torchvision", "0.24.1+cu126", "torch==2.9.1"),
        distribution("vllm", "0.11.0", "torch==2.8.0"),
    ).findings[0]
    assert "https://download.pytorch.org/whl/cu126 torch==2.8.0+cu126 torchvision==0.23.0+cu126`" in found.remedy


def test_range_of_torch_is_met_by_the_newest_that_fits() -> None:
    (found,) = pins(distribution("torch", "2.9.1"), distribution("lib", "1.0", "torch<2.9,>=2.0")).findings
    assert found.severity is Severity.WARNING
    assert "install torch==2.8.0`" in found.remedy


def test_two_who_contradict_each_other() -> None:
    (found,) = pins(
        distribution("torch", "2.9.1"),
        distribution("vllm", "0.11.0", "torch==2.8.0"),
        distribution("xformers", "0.0.33.post2", "torch==2.9.1"),
    ).findings
    assert found.remedy.startswith(
        "No version of torch satisfies vllm (for torch==2.8.0) and xformers (for torch==2.9.1)"
    )
    assert "environment of its own" in found.remedy


def test_library_that_torch_pins() -> None:
    torch = distribution("torch", "2.9.1", 'nvidia-cudnn-cu12==9.10.2.21; platform_system == "Linux"')
    (found,) = pins(torch, distribution("nvidia-cudnn-cu12", "9.8.0.87")).findings
    assert found.severity is Severity.WARNING
    assert "pip install nvidia-cudnn-cu12==9.10.2.21`" in found.remedy


@pytest.mark.parametrize(
    ("name", "asked", "there", "severity"),
    [
        # torch 2.9's own notes advise this against slow 3D convolutions.
        ("nvidia-cudnn-cu12", "9.10.2.21", "9.20.0.48", Severity.INFO),
        ("nvidia-nccl-cu12", "2.27.5", "2.28.9", Severity.INFO),
        ("nvidia-cublas", "13.1.0.3", "13.2.0.9", Severity.INFO),
        ("nvidia-cudnn-cu12", "8.9.2.26", "9.10.2.21", Severity.WARNING),
        ("nvidia-cusparselt-cu12", "0.7.1", "0.8.1", Severity.WARNING),
        ("nvidia-cutlass-dsl", "4.2.1", "4.3.0", Severity.WARNING),
        ("triton", "3.5.1", "3.6.0", Severity.WARNING),
    ],
)
def test_a_newer_library_of_the_same_major_keeps_its_promises(
    name: str, asked: str, there: str, severity: Severity
) -> None:
    (found,) = pins(distribution("torch", "2.9.1", f"{name}=={asked}"), distribution(name, there)).findings
    assert found.severity is severity


def test_ranges_of_all_who_ask_are_put_together() -> None:
    (found,) = pins(
        distribution("numpy", "2.4.6"),
        distribution("numba", "0.61.0", "numpy<2.2,>=1.24"),
        distribution("jaxlib", "0.6.2", "numpy>=1.25"),
    ).findings
    assert "pip install 'numpy<2.2,>=1.24,>=1.25'`" in found.remedy


def test_extras_that_another_package_asks_for_count() -> None:
    toolkit = distribution("cuda-toolkit", "13.0.3", "nvidia-cublas==13.1.1.3.*; extra == 'cublas'")
    torch = distribution("torch", "2.14.1", "cuda-toolkit[cublas]==13.0.3")
    (found,) = pins(torch, toolkit, distribution("nvidia-cublas", "13.4.0.1")).findings
    assert "pip install '" in found.remedy
    assert "nvidia-cublas~=13.1.1.3.0'`" in found.remedy


@pytest.mark.parametrize(
    ("line", "name", "version"),
    [
        ("torch==2.4.0", "torch", "2.4.0+cu121"),
        ("torch>=2.4", "torch", "2.5.0a0+872d972e41.nv24.8"),
        ("torch==2.5.0", "torch", "2.5.0a0+git1234567"),
        ('torch==2.4.0; python_version < "3.10"', "torch", "2.9.1"),
        ('torch==2.4.0; platform_machine == "aarch64"', "torch", "2.9.1"),
        ('torch==2.4.0; extra == "train"', "torch", "2.9.1"),
        ("torch @ https://example.com/torch.whl", "torch", "2.9.1"),
        ("torch (>=2.0)", "torch", "2.9.1"),
        ("torch", "torch", "2.9.1"),
        ("nvidia-nccl-cu12==2.1", "nvidia-nccl-cu13", "2.30.7"),  # not there at all: another check's
    ],
)
def test_demands_that_are_kept_or_do_not_count(line: str, name: str, version: str) -> None:
    outcome = pins(distribution(name, version), distribution("vllm", "0.1.0", line))
    assert (outcome.status, outcome.reason) == (Status.OK, "")


@pytest.mark.parametrize(
    ("target", "asks"),
    [
        (distribution("torch", "2.9.1"), distribution("torchvision", "0.23.0", "torch==2.8.0")),
        (distribution("numpy", "2.4.6"), distribution("onnxruntime", "1.18.1", "numpy<2.0,>=1.21")),
        (
            distribution("jax-cuda12-pjrt", "0.5.3"),
            distribution("jax-cuda12-plugin", "0.6.2", "jax-cuda12-pjrt==0.6.2"),
        ),
    ],
)
def test_pairs_that_have_a_check_of_their_own(target: Distribution, asks: Distribution) -> None:
    assert pins(target, asks).status is Status.OK


def test_jax_without_a_plugin_is_judged_here() -> None:
    assert pins(distribution("jaxlib", "0.5.3"), distribution("jax", "0.6.2", "jaxlib<=0.6.2,>=0.6.1")).findings


def test_extension_whose_code_does_not_fit_is_told_once() -> None:
    xformers = distribution("xformers", "0.0.31", "torch==2.7.1")
    said = Extension(PREFIX, xformers, ("2.7",), "12.6", None, "cpp_lib.json", "2.7.1", False, None)
    assert (
        pins(distribution("torch", "2.9.1"), xformers, extensions=NOTHING._replace(extensions=(said,))).status
        is Status.OK
    )


def test_damaged_metadata_is_unknown_and_hides_nothing() -> None:
    damaged = distribution("jaxlib", "")._replace(problem="/x/jaxlib.dist-info has no METADATA")
    outcome = pins(damaged, distribution("torch", "2.9.1"), distribution("vllm", "0.11.0", "torch==2.8.0"))
    assert outcome.status is Status.FOUND
    assert outcome.reason == "/x/jaxlib.dist-info has no METADATA"
    assert pins(damaged).status is Status.UNKNOWN


@pytest.mark.parametrize("line", ["torch=>2.0", "torch==2.8.0; nonsense", "torch==2.8.0; platform_release < '6'"])
def test_line_that_cannot_be_judged_is_unknown(line: str) -> None:
    outcome = pins(distribution("torch", "2.9.1"), distribution("vllm", "0.11.0", line))
    assert outcome.status is Status.UNKNOWN
    assert "vllm-0.11.0.dist-info/METADATA" in outcome.reason


def test_version_that_is_none_is_unknown() -> None:
    outcome = pins(distribution("torch", "unknown"), distribution("vllm", "0.11.0", "torch==2.8.0"))
    assert outcome.status is Status.UNKNOWN


def test_lock_file_is_named() -> None:
    distributions = (distribution("torch", "2.9.1"), distribution("lib", "1.0", "torch<2.9"))
    remedy = pins(*distributions, lock_file="/home/ada/poetry.lock").findings[0].remedy
    assert "poetry -C /home/ada add torch==2.8.0" in remedy
    assert "poetry.lock" in remedy


def test_environment_that_nobody_uses() -> None:
    found = pins(distribution("torch", "2.9.1"), distribution("vllm", "0.11.0", "torch==2.8.0"), in_use=False)
    assert found.findings[0].severity is Severity.WARNING


# python.numpy-abi


def numpy(version: str, *others: Distribution, in_use: bool = True) -> Outcome:
    return outcome_of(NUMPY, environments(environment(distribution("numpy", version), *others, in_use=in_use)))


def test_torch_before_2_3_beside_numpy_2() -> None:
    (found,) = numpy("2.2.6", distribution("torch", "2.2.2")).findings
    assert found.severity is Severity.ERROR
    assert found.summary == f"torch 2.2.2 in {PREFIX} is made for NumPy 1, and NumPy 2.2.6 is there."
    assert found.evidence[0] == ("table of NumPy 2, torch", "the first release for NumPy 2 is 2.3.0")
    assert "pip install 'numpy<2'`" in found.remedy


def test_requirement_says_so() -> None:
    (found,) = numpy(
        "2.0.2", distribution("lib", "1.0", "numpy<2,>=1.22"), distribution("x", "1", "numpy>=1.24")
    ).findings
    assert found.severity is Severity.WARNING
    assert found.evidence[0].value == "Requires-Dist: numpy<2,>=1.22"
    assert "'numpy<2,>=1.22,>=1.24'" in found.remedy


def test_others_that_need_numpy_2() -> None:
    (found,) = numpy("2.4.6", distribution("torch", "2.2.2"), distribution("scipyx", "1", "numpy>=2.0")).findings
    assert found.remedy == "Bring torch 2.2.2 to newer releases: other packages here need NumPy 2."


@pytest.mark.parametrize(
    ("version", "other"),
    [
        ("1.26.4", distribution("torch", "2.2.2")),
        ("2.4.6", distribution("torch", "2.3.0+cu121")),
        ("2.4.6", distribution("numba", "0.61.0", "numpy<2.2,>=1.24")),  # of NumPy 2, and another check's
        ("2.4.6", distribution("onnxruntime", "1.32.0", "numpy>=1.21.6")),
        ("", distribution("torch", "2.2.2")),
    ],
)
def test_numpy_that_fits(version: str, other: Distribution) -> None:
    assert numpy(version, other).status is Status.OK


# python.no-wheel


def wheels(version: str, *distributions: Distribution, card: object = RTX_4090, known: object = R580) -> Outcome:
    place = environment(*distributions, version=version)
    torch = place.get("torch")
    local = torch.version.partition("+")[2] if torch else ""
    cuda = None if local == "cpu" else (12, 8)
    names = ("sm_70", "sm_80", "sm_90") if cuda else ()
    builds = (build("torch", torch, cuda, *names, where=place, version=torch.version),) if torch else ()
    return outcome_of(NO_WHEEL, FrameworkBuilds(builds), environments(place), gpus(card), known)  # type: ignore[arg-type]


def test_python_too_old_for_a_torch_that_serves_the_gpu() -> None:
    (found,) = wheels("3.8", distribution("torch", "2.4.1"), card=RTX_5090).findings
    assert found.severity is Severity.ERROR
    assert found.summary.startswith(
        f"Python 3.8 in {PREFIX} has no wheel of a torch that serves NVIDIA GeForce RTX 5090 (compute capability 12.0)"
    )
    assert "wheels that fit are for Python 3.9, 3.10, 3.11" in found.evidence[1].value
    assert "gpudoctor recommend torch --python-version 3." in found.remedy


def test_python_too_new_for_any_torch() -> None:
    (found,) = wheels("3.17", distribution("accelerate", "1.0", "torch>=2.0.0")).findings
    assert found.severity is Severity.INFO
    assert found.summary.endswith("; accelerate 1.0 asks for torch.")


@pytest.mark.parametrize(
    ("version", "distributions", "card"),
    [
        ("3.8", (distribution("torch", "2.4.1"),), A100),  # old, and all is well
        ("3.12", (distribution("torch", "2.13.0+cpu"),), A100),  # torch.cpu-only
        ("3.12", (distribution("torch", "2.4.1"),), GTX_1080),  # torch.no-kernels-for-gpu
        ("3.17", (distribution("lib", "1.0", "torch; extra == 'gpu'"),), A100),
        ("3.17", (distribution("numpy", "2.4.6"),), A100),
    ],
)
def test_pythons_that_have_a_wheel_or_need_none(
    version: str, distributions: tuple[Distribution, ...], card: object
) -> None:
    assert wheels(version, *distributions, card=card).status is Status.OK


def test_companions_that_come_back_with_torch_are_not_told_again() -> None:
    vllm = distribution("vllm", "0.11.0", "torch==2.8.0", "torchvision==0.23.0", "torchaudio==2.8.0")
    packages = (distribution("torchvision", "0.24.1", "torch==2.9.1"), distribution("torchaudio", "2.8.1"), vllm)
    outcome = pins(distribution("torch", "2.9.1"), *packages)
    assert [found.subject for found in outcome.findings] == ["torch 2.9.1"]
    alone = pins(distribution("torch", "2.8.0"), distribution("torchvision", "0.24.1"), vllm)
    assert [found.subject for found in alone.findings] == ["torchvision 0.24.1"]
