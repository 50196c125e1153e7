"""Compiled packages beside torch that were made for another one, and bitsandbytes without a library."""

import pytest
from framework_environments import PREFIX, RTX_4090, SITE, build, distribution, environment, gpus

from gpudoctor import Severity
from gpudoctor.facts.environment import Environment, Setting
from gpudoctor.facts.extensions import Extension, QuantisationLibraries, TorchExtensions, TorchInstallation, read_build
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.findings import Outcome, Status
from gpudoctor.testing import outcome_of

ABI, BITSANDBYTES = "python.extension-abi", "bitsandbytes.no-binary"


def beside(
    version_of_torch: str,
    cuda: tuple[int, int],
    name: str,
    version: str,
    *requires: str,
    local: str = "",
    **said: object,
) -> Outcome:
    """An extension that says `local` of itself, beside a torch."""
    own, other = distribution("torch", version_of_torch), distribution(name, version, *requires)
    built = build("torch", own, cuda, where=environment(own, other), version=version_of_torch)
    made_for, made_cuda, abi = read_build(local)
    nothing = Extension(PREFIX, other, made_for, made_cuda, abi, f"{other.folder}/METADATA", version, False, None)
    known = TorchExtensions(
        (nothing._replace(**said),),  # type: ignore[arg-type]
        (TorchInstallation(PREFIX, True, 2_000_000.0),),
        (),
        (),
    )
    return outcome_of(ABI, FrameworkBuilds((built,)), known)


def test_wheel_for_another_torch() -> None:
    local = "cu12torch2.4cxx11abiFALSE"
    (found,) = beside("2.6.0", (12, 4), "flash-attn", f"2.7.4.post1+{local}", local=local).findings
    assert found.severity is Severity.ERROR
    assert found.summary == (
        f"flash-attn 2.7.4.post1+{local} in {PREFIX} was compiled for torch 2.4; torch 2.6.0 is there."
    )
    assert found.evidence[0].value == f"2.7.4.post1+{local}"
    assert found.remedy == (
        f"Install flash-attn for torch 2.6.0: `{PREFIX}/bin/python -m pip install --no-build-isolation --no-cache-dir "
        "--force-reinstall --no-deps flash-attn===2.7.4.post1`."
    )


def test_old_abi_beside_the_new_one() -> None:
    local = "cu12torch2.7cxx11abiFALSE"
    (found,) = beside("2.7.1", (12, 6), "flash-attn", "2.8.3", local=local).findings
    assert "was compiled with the old C++ ABI, and torch with the other" in found.summary


def test_another_cuda_major() -> None:
    (found,) = beside("2.4.0", (12, 1), "torch-scatter", "2.1.2", local="pt24cu118").findings
    assert "was compiled for CUDA 11, and torch for CUDA 12.1" in found.summary


def test_xformers_gets_the_release_for_this_torch() -> None:
    (found,) = beside(
        "2.8.0", (12, 8), "xformers", "0.0.31", "torch==2.7.1", torch=("2.7",), value='"torch": "2.7.1+cu126"'
    ).findings
    assert found.remedy == (
        f"Install xformers for torch 2.8.0: `{PREFIX}/bin/python -m pip install xformers==0.0.32.post2`."
    )


def test_compiled_before_torch_came_is_a_suspicion() -> None:
    outcome = beside("2.9.1", (12, 8), "flash-attn", "2.8.3", compiled_here=True, installed=1_000_000.0)
    (found,) = outcome.findings
    assert found.severity is Severity.WARNING
    assert found.summary.endswith("torch 2.9.1 is there, and may not fit.")
    assert "16666 minutes older" in found.evidence[0].value


@pytest.mark.parametrize(
    ("torch", "cuda", "name", "requires", "said"),
    [
        ("2.4.1+cu121", (12, 1), "flash-attn", (), {"local": "cu12torch2.4cxx11abiTRUE"}),
        ("2.8.0", (12, 8), "xformers", ("torch==2.8.0",), {"torch": ("2.8",)}),
        # It keeps to torch's stable ABI, and says so by asking for a least version.
        ("2.14.1", (13, 0), "xformers", ("torch>=2.10",), {"torch": ("2.10",)}),
        ("2.10.0", (12, 8), "torch-scatter", (), {"local": "pt210cu128"}),
        ("2.1.2", (12, 1), "natten", (), {"local": "torch210cu121"}),
        ("2.9.1", (12, 8), "flash-attn", (), {"compiled_here": True, "installed": 1_999_900.0}),  # at once
        ("2.9.1", (12, 8), "flash-attn", (), {"compiled_here": True, "installed": 2_100_000.0}),  # afterwards
        ("2.9.1", (12, 8), "flash-attn", (), {"compiled_here": True, "installed": None}),
    ],
)
def test_extensions_that_fit(
    torch: str, cuda: tuple[int, int], name: str, requires: tuple[str, ...], said: dict[str, object]
) -> None:
    assert beside(torch, cuda, name, "1.0", *requires, **said).status is Status.OK  # type: ignore[arg-type]


def test_damaged_file_is_unknown() -> None:
    own = distribution("torch", "2.8.0")
    built = build("torch", own, (12, 8), where=environment(own), version="2.8.0")
    problem = (PREFIX, "xformers", "/x/cpp_lib.json does not tell which torch it was built with")
    outcome = outcome_of(ABI, FrameworkBuilds((built,)), TorchExtensions((), (), (), (), (problem,)))
    assert (outcome.status, outcome.matters) == (Status.UNKNOWN, True)


# bitsandbytes


def quantisation(
    cuda: tuple[int, int], *cudas: tuple[int, int], falls_back: bool = False, variable: str = "", in_use: bool = True
) -> Outcome:
    own, other = distribution("torch", "2.9.1"), distribution("bitsandbytes", "0.45.0")
    built = build("torch", own, cuda, where=environment(own, other, in_use=in_use), version="2.9.1")
    libraries = QuantisationLibraries(PREFIX, other, f"{SITE}/bitsandbytes", cudas, falls_back)
    variables = {"BNB_CUDA_VERSION": variable} if variable else {}
    line = Setting("BNB_CUDA_VERSION", variable, "/home/ada/.bashrc", 7, f"export BNB_CUDA_VERSION={variable}")
    return outcome_of(
        BITSANDBYTES,
        FrameworkBuilds((built,)),
        TorchExtensions((), (), (), (libraries,)),
        gpus(RTX_4090),
        Environment(variables, (line,) if variable else ()),
    )


def test_no_library_for_torchs_cuda() -> None:
    (found,) = quantisation((13, 0), (11, 8), (12, 6), (12, 8)).findings
    assert found.severity is Severity.ERROR
    assert "bitsandbytes 0.45.0 in /home/ada/venv has no library for CUDA 13.0" in found.summary
    assert found.evidence[0] == (f"{SITE}/bitsandbytes", "cuda118, cuda126, cuda128")
    assert "-m pip install bitsandbytes==" in found.remedy


def test_newer_releases_take_another_minor_release_but_no_other_major() -> None:
    assert quantisation((12, 9), (12, 8), falls_back=True).status is Status.OK
    assert quantisation((12, 9), (12, 8)).status is Status.FOUND
    assert quantisation((13, 0), (12, 8), falls_back=True).status is Status.FOUND


def test_package_without_any_library() -> None:
    assert quantisation((12, 8)).findings[0].evidence[0].value == "no library for CUDA"


def test_cuda_that_no_release_serves() -> None:
    (found,) = quantisation((13, 9), (13, 0)).findings
    assert "take torch for another CUDA" in found.remedy


def test_variable_that_names_a_library_which_is_not_there() -> None:
    (found,) = quantisation((12, 8), (12, 8), variable="124").findings
    assert found.subject == "BNB_CUDA_VERSION"
    assert "load libbitsandbytes_cuda124.so, which is not part of bitsandbytes 0.45.0" in found.summary
    assert found.remedy.startswith("`unset BNB_CUDA_VERSION` (set in /home/ada/.bashrc, line 7)")


def test_variable_that_names_another_major() -> None:
    (found,) = quantisation((12, 8), (12, 8), (11, 8), variable="118").findings
    assert "is for another CUDA than torch 2.9.1" in found.summary


def test_variable_that_fits() -> None:
    assert quantisation((12, 8), (12, 6), (12, 8), variable="126").status is Status.OK


def test_fitting_library() -> None:
    assert quantisation((12, 8), (12, 6), (12, 8)).status is Status.OK


def test_without_a_gpu_nobody_misses_it() -> None:
    assert (
        outcome_of(BITSANDBYTES, FrameworkBuilds(()), TorchExtensions((), (), (), ()), gpus()).status is Status.SKIPPED
    )


def test_where_nobody_computes_it_is_a_warning() -> None:
    assert quantisation((13, 0), (12, 8), in_use=False).findings[0].severity is Severity.WARNING


def test_a_pin_that_takes_torch_back_to_what_it_was_compiled_for() -> None:
    own, other = distribution("torch", "2.9.1"), distribution("flash-attn", "2.8.3")
    vllm = distribution("vllm", "0.11.0", "torch==2.8.0")
    built = build("torch", own, (12, 8), where=environment(own, other, vllm), version="2.9.1")

    def remedy(made_for: str) -> str:
        said = Extension(PREFIX, other, (made_for,), "12", None, "x", "x", False, None)
        return outcome_of(ABI, FrameworkBuilds((built,)), TorchExtensions((said,), (), (), ())).findings[0].remedy

    assert remedy("2.8") == (
        f"Take torch back, for vllm 0.11.0 asks for torch==2.8.0: `{PREFIX}/bin/python -m pip install torch==2.8.0`."
    )
    assert remedy("2.4").startswith("Install flash-attn for torch 2.9.1: ")
