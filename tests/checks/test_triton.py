"""triton whose assembler does not know the GPU, or that lacks a compiler."""

import pytest
from framework_environments import (
    GTX_1080,
    PREFIX,
    RTX_4090,
    RTX_5090,
    distribution,
    environment,
    environments,
    gpu,
    gpus,
)

from gpudoctor import Severity
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.interpreters import Interpreter, Interpreters
from gpudoctor.facts.toolkits import CudaToolkits, Toolkit
from gpudoctor.findings import Outcome, Status
from gpudoctor.testing import outcome_of

PTXAS, TOOLCHAIN = "triton.ptxas-too-old", "triton.toolchain-missing"
GB10, B300 = gpu("NVIDIA GB10", (12, 1)), gpu("NVIDIA B300", (10, 3))
PATH, BLACKWELL = "TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"


def toolkit(version: str) -> Toolkit:
    folder = f"/usr/local/cuda-{version}"
    return Toolkit(
        folder, folder, version, f"{folder}/version.json", f"{folder}/bin/nvcc", "", "", 14, 19, "", "local", ()
    )


def ptxas(
    triton: str,
    *cards: object,
    installer: str = "pip",
    variables: dict[str, str] | None = None,
    gone: tuple[tuple[str, str], ...] = (),
    toolkits: tuple[Toolkit, ...] = (),
    in_use: bool = True,
) -> Outcome:
    place = environment(
        distribution("torch", "2.9.1"), distribution("triton", triton, installer=installer), in_use=in_use
    )
    return outcome_of(
        PTXAS,
        environments(place),
        gpus(*cards),  # type: ignore[arg-type]
        Environment(variables or {}, ()),
        CudaToolkits(toolkits, None, None, (), ()),
        Interpreters((), "/usr/bin/gcc", gone),
    )


@pytest.mark.parametrize(
    ("triton", "card", "name"),
    [
        ("3.5.1", GB10, "ptxas"),
        ("3.4.0", B300, "ptxas"),
        ("3.2.0", RTX_5090, "ptxas"),
        ("3.3.1", GB10, "ptxas-blackwell"),
    ],
)
def test_gpu_that_came_later(triton: str, card: object, name: str) -> None:
    (found,) = ptxas(triton, card).findings
    assert found.severity is Severity.WARNING
    assert found.summary.startswith(f"The {name} of CUDA 12.")
    assert f"in triton {triton} in {PREFIX} does not know " in found.summary
    assert found.evidence[0].source == f"table of triton {triton}, {name}"
    assert "and later bring a triton that knows it" in found.remedy


@pytest.mark.parametrize(
    ("triton", "card"),
    [
        ("3.6.0", GB10),
        ("3.3.0", RTX_5090),
        ("2.1.0", RTX_4090),
        ("3.9.0", B300),
        ("3.9.0", GTX_1080),
        ("3.1.0", GTX_1080),
    ],
)
def test_gpu_that_it_knows(triton: str, card: object) -> None:
    assert ptxas(triton, card).status is Status.OK


def test_toolkit_that_knows_the_gpu_is_offered() -> None:
    remedy = ptxas("3.5.1", GB10, toolkits=(toolkit("12.4"), toolkit("13.0"))).findings[0].remedy
    assert remedy.startswith("`export TRITON_PTXAS_PATH=/usr/local/cuda-13.0/bin/ptxas` takes the toolkit's own")
    remedy = ptxas("3.3.1", GB10, toolkits=(toolkit("13.0"),)).findings[0].remedy
    assert remedy.startswith("`export TRITON_PTXAS_BLACKWELL_PATH=/usr/local/cuda-13.0/bin/ptxas`")


def test_variable_names_another_program() -> None:
    def named(version: str, variable: str = PATH) -> Outcome:
        path = f"/usr/local/cuda-{version}/bin/ptxas"
        return ptxas("3.5.1", GB10, variables={variable: path}, toolkits=(toolkit("12.4"), toolkit("13.0")))

    assert named("13.0").status is Status.OK
    assert "cuda-12.4/bin/ptxas of CUDA 12.4, which TRITON_PTXAS_PATH names," in named("12.4").findings[0].summary
    assert named("12.9").status is Status.UNKNOWN  # no toolkit that is known
    assert named("13.0", BLACKWELL).status is Status.FOUND  # this triton asks for the other one


def test_variable_names_a_program_that_is_gone() -> None:
    path = "/opt/ptxas"
    (found,) = ptxas("3.9.0", RTX_4090, variables={PATH: path}, gone=((PATH, path),)).findings
    assert found.summary == (
        f"/opt/ptxas, which TRITON_PTXAS_PATH names, is not there, and triton in {PREFIX} wants to compile with it."
    )
    assert found.remedy.startswith("`unset TRITON_PTXAS_PATH`")


@pytest.mark.parametrize(
    ("triton", "installer", "card"),
    [("3.99.0", "pip", RTX_4090), ("3.5.1", "conda", GB10), ("3.5.1", "pip", gpu("NVIDIA Device 1", None))],
)
def test_what_cannot_be_told_is_unknown(triton: str, installer: str, card: object) -> None:
    outcome = ptxas(triton, card, installer=installer)
    assert (outcome.status, outcome.matters) == (Status.UNKNOWN, False)


def test_where_nobody_computes_it_is_a_note() -> None:
    assert ptxas("3.5.1", GB10, in_use=False).findings[0].severity is Severity.INFO


def test_without_a_gpu_it_is_not_judged() -> None:
    assert ptxas("3.5.1").status is Status.SKIPPED


# triton.toolchain-missing


def toolchain(compiler: str, header: str, *, real: str = "/usr/bin/python3.11", in_use: bool = True) -> Outcome:
    place = environment(distribution("torch", "2.9.1"), distribution("triton", "3.5.1"), in_use=in_use)
    found = Interpreter(PREFIX, f"{PREFIX}/bin/python", real, real, "3.11", header, "/usr/include/python3.11")
    return outcome_of(TOOLCHAIN, environments(place), gpus(RTX_4090), Interpreters((found,), compiler))


def test_no_compiler_and_no_headers_are_a_note() -> None:
    (found,) = toolchain("", "").findings
    assert found.severity is None  # the check's own: INFO
    assert "does not find a C compiler and the headers of Python 3.11" in found.summary
    assert found.evidence == (("PATH", "no gcc, no clang"), ("/usr/include/python3.11/Python.h", "not there"))
    assert "install gcc and python3.11-dev (python3-devel)" in found.remedy


def test_either_is_enough_to_say_so() -> None:
    assert "a C compiler:" in toolchain("", "/usr/include/python3.11/Python.h").findings[0].summary
    assert "install python3.11-dev" in toolchain("/usr/bin/gcc", "").findings[0].remedy
    own = toolchain("/usr/bin/gcc", "", real="/opt/python/bin/python3.11")
    assert "take a Python that brings its headers" in own.findings[0].remedy


def test_complete_toolchain() -> None:
    assert toolchain("/usr/bin/gcc", "/usr/include/python3.11/Python.h").status is Status.OK
    assert toolchain("", "", in_use=False).status is Status.OK
    assert toolchain("", "", real="").status is Status.OK  # python.interpreter-missing


def test_without_triton_nobody_needs_it() -> None:
    place = environment(distribution("torch", "2.13.0+cpu"))
    outcome = outcome_of(TOOLCHAIN, environments(place), gpus(RTX_4090), Interpreters((), ""))
    assert outcome.status is Status.SKIPPED
