"""Toolkits, links and compilers of people who build CUDA code."""

import pytest
from framework_environments import (
    GTX_1080,
    H200,
    PREFIX,
    RTX_4090,
    RTX_5090,
    V100,
    build,
    distribution,
    driver,
    environment,
    gpu,
    gpus,
)
from outcomes import only, severity_of, status

from gpudoctor import Severity
from gpudoctor.facts.compilers import NvccHostCompiler
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.environment import Environment, Setting
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.toolkits import CudaToolkits, DefaultLink, NamedToolkit, NvccOnPath, Toolkit
from gpudoctor.findings import Status
from gpudoctor.testing import outcome_of

HOME_MISSING, HOME_INVALID, NVCC = "cuda.home-missing", "cuda.home-invalid", "cuda.nvcc-mismatch"
COMPILER, ARCH = "cuda.host-compiler-too-new", "cuda.arch-unsupported-by-nvcc"
LINK, SEVERAL = "cuda.symlink-broken", "cuda.several-toolkits"


def toolkit(version: str, *, folder: str = "", header: str = "", gcc: int | None = None, nvcc: bool = True) -> Toolkit:
    minor = ".".join(version.split(".")[:2])
    folder = folder or f"/usr/local/cuda-{minor}"
    return Toolkit(
        folder,
        folder,
        version,
        f"{folder}/version.json",
        f"{folder}/bin/nvcc" if nvcc else "",
        header or minor,
        f"{folder}/include/cuda.h",
        gcc,
        None,
        f"{folder}/include/crt/host_config.h" if gcc else "",
        "local",
        ("/usr/local",),
    )


def toolkits(
    *members: Toolkit,
    path: Toolkit | None = None,
    home: NamedToolkit | None = None,
    link: DefaultLink | None = None,
    unknown: str = "",
) -> CudaToolkits:
    on_path = NvccOnPath("/usr/local/bin/nvcc", path.nvcc, (), path) if path else None
    return CudaToolkits(members, link, on_path, (home,) if home else (), (), unknown)


def home(toolkit: Toolkit) -> NamedToolkit:
    return NamedToolkit("CUDA_HOME", toolkit.folder, "", toolkit)


def leads_to(toolkit: Toolkit) -> DefaultLink:
    return DefaultLink((("/usr/local/cuda", toolkit.folder),), toolkit.real_folder, toolkit)


def torch_with(
    *names: str, cuda: tuple[int, int] = (12, 8), in_use: bool = True, kind: str = "venv"
) -> FrameworkBuilds:
    members = (distribution("torch", "2.9.1"), *(distribution(name, "1.0") for name in names))
    place = environment(*members, in_use=in_use, kind=kind)
    return FrameworkBuilds(
        (build("torch", members[0], cuda, "sm_90", where=place, version=f"2.9.1+cu{cuda[0]}{cuda[1]}"),)
    )


def cupy(name: str, cuda: tuple[int, int]) -> FrameworkBuild:
    return build("cupy", distribution(name, "14.2.0"), cuda, cuda_minor_known=False)


GCC_12 = NvccHostCompiler("gcc", 12, "/usr/bin/gcc", "/usr/bin/x86_64-linux-gnu-gcc-12", "PATH")
GCC_15 = NvccHostCompiler("gcc", 15, "/usr/bin/gcc", "/usr/bin/x86_64-linux-gnu-gcc-15", "PATH")
CUDA_13, CUDA_12_8, CUDA_11_8 = toolkit("13.0.2", gcc=15), toolkit("12.8.1", gcc=14), toolkit("11.8.0", gcc=11)


@pytest.mark.parametrize("on_path", [CUDA_13, CUDA_12_8])
def test_a_toolkit_in_order(on_path: Toolkit) -> None:
    """nvcc 13.0 or 12.8 with gcc 12 on a machine with torch for the same major: nothing is wrong."""
    facts = (
        toolkits(on_path, path=on_path, link=leads_to(on_path)),
        torch_with("flash-attn", "deepspeed", cuda=(on_path.release or (0, 0))),
        gpus(H200),
        GCC_12,
        Environment({}, ()),
    )
    for check in (HOME_MISSING, HOME_INVALID, NVCC, COMPILER, ARCH, LINK, SEVERAL):
        assert status(check, *facts) is Status.OK, check


def test_no_toolkit_at_all_is_fine() -> None:
    facts = (toolkits(), torch_with(), gpus(H200), GCC_15, Environment({}, ()))
    for check in (HOME_MISSING, HOME_INVALID, NVCC, ARCH, LINK, SEVERAL):
        assert status(check, *facts) is Status.OK, check
    assert status(COMPILER, *facts) is Status.SKIPPED


# cuda.home-missing


def test_deepspeed_without_nvcc() -> None:
    found = only(HOME_MISSING, toolkits(), torch_with("deepspeed"), gpus(H200))
    assert severity_of(HOME_MISSING, found) is Severity.WARNING
    assert found.summary == "deepspeed in /home/ada/venv compiles CUDA code when it is used, and finds no nvcc."
    assert "cuda-toolkit-12-8" in found.remedy
    assert found.environment == PREFIX


def test_what_compiles_only_where_somebody_chooses_it() -> None:
    found = only(HOME_MISSING, toolkits(), torch_with("flashinfer-python"), gpus(H200))
    assert severity_of(HOME_MISSING, found) is Severity.INFO
    assert "compiles CUDA code when it is chosen, and finds no nvcc" in found.summary
    ready = torch_with("flashinfer-python", "flashinfer-jit-cache")
    assert status(HOME_MISSING, toolkits(), ready, gpus(H200)) is Status.OK


def test_a_toolkit_lies_there_and_nothing_names_it() -> None:
    found = only(HOME_MISSING, toolkits(CUDA_13, CUDA_12_8), torch_with("deepspeed"), gpus(H200))
    assert "`export CUDA_HOME=/usr/local/cuda-12.8`" in found.remedy
    conda = only(HOME_MISSING, toolkits(), torch_with("deepspeed", kind="conda"), gpus(H200))
    assert f"`conda install -p {PREFIX} cuda-nvcc=12.8`" in conda.remedy


def test_nobody_needs_nvcc() -> None:
    assert status(HOME_MISSING, toolkits(), torch_with("flash-attn"), gpus(H200)) is Status.OK  # compiled already
    assert status(HOME_MISSING, toolkits(), torch_with("deepspeed", in_use=False), gpus(H200)) is Status.OK
    assert status(HOME_MISSING, toolkits(), torch_with("deepspeed"), ComputeGpus(())) is Status.SKIPPED
    named = toolkits(home=NamedToolkit("CUDA_HOME", "/gone", "there is no such folder", None))
    assert status(HOME_MISSING, named, torch_with("deepspeed"), gpus(H200)) is Status.OK  # cuda.home-invalid says it
    assert status(HOME_MISSING, toolkits(unknown="no /proc"), torch_with("deepspeed"), gpus(H200)) is Status.UNKNOWN


# cuda.home-invalid


@pytest.mark.parametrize(
    ("value", "problem", "severity"),
    [
        ("/usr/local/cuda-11.0", "there is no such folder", Severity.WARNING),
        ("/usr/local/cuda:/usr/local/cuda-11.0", "it is a list of folders", Severity.WARNING),
        ("/opt/conda", "there is no CUDA toolkit in it", Severity.INFO),
    ],
)
def test_home_invalid(value: str, problem: str, severity: Severity) -> None:
    line = f"export CUDA_HOME={value}"
    shell = Environment({"CUDA_HOME": value}, (Setting("CUDA_HOME", value, "/home/ada/.bashrc", 7, line),))
    found = only(HOME_INVALID, toolkits(CUDA_13, home=NamedToolkit("CUDA_HOME", value, problem, None)), shell)
    assert severity_of(HOME_INVALID, found) is severity
    assert problem in found.summary
    assert ("/home/ada/.bashrc:7", line) in found.evidence
    assert "`export CUDA_HOME=/usr/local/cuda-13.0`" in found.remedy


def test_home_that_could_not_be_looked_at() -> None:
    closed = NamedToolkit("CUDA_HOME", "/root/cuda", "/root: permission denied", None)
    outcome = outcome_of(HOME_INVALID, toolkits(home=closed))
    assert (outcome.status, outcome.reason) == (Status.UNKNOWN, "/root: permission denied")
    assert status(HOME_INVALID, toolkits(unknown="nobody knows the variables of a disk")) is Status.UNKNOWN


# cuda.nvcc-mismatch


def test_another_major_matters_to_builds_alone() -> None:
    found = only(NVCC, toolkits(CUDA_11_8, path=CUDA_11_8), torch_with())
    assert found.severity is Severity.INFO
    assert "that counts only where extensions are built" in found.summary
    built = only(NVCC, toolkits(CUDA_11_8, path=CUDA_11_8), torch_with("flash-attn"))
    assert severity_of(NVCC, built) is Severity.INFO  # it is there, and works
    assert "flash-attn could not be compiled anew" in built.summary
    needed = only(NVCC, toolkits(CUDA_11_8, path=CUDA_11_8), torch_with("flash-attn", "deepspeed"))
    assert severity_of(NVCC, needed) is Severity.WARNING
    assert "deepspeed cannot compile its kernels" in needed.summary
    assert "CUDA_HOME=/usr/local/cuda-12.8" in needed.remedy


def test_cuda_home_decides_over_path() -> None:
    both = toolkits(CUDA_11_8, CUDA_12_8, path=CUDA_11_8, home=home(CUDA_12_8))
    assert status(NVCC, both, torch_with("flash-attn")) is Status.OK
    against = toolkits(CUDA_11_8, CUDA_12_8, path=CUDA_12_8, home=home(CUDA_11_8))
    found = only(NVCC, against, torch_with("flash-attn"))
    assert found.summary.startswith("CUDA_HOME leads to nvcc 11.8.0")
    assert "`export CUDA_HOME=/usr/local/cuda-12.8`" in found.remedy


def test_a_mere_minor_is_no_fault() -> None:
    assert status(NVCC, toolkits(CUDA_12_8, path=CUDA_12_8), torch_with("flash-attn", cuda=(12, 1))) is Status.OK
    assert status(NVCC, toolkits(CUDA_11_8, path=CUDA_11_8), torch_with("flash-attn", in_use=False)) is Status.OK
    untold = toolkit("")._replace(version="")
    outcome = outcome_of(NVCC, toolkits(untold, path=untold), torch_with())
    assert (outcome.status, outcome.matters) == (Status.UNKNOWN, False)


# cuda.host-compiler-too-new


def test_gcc_newer_than_nvcc_accepts() -> None:
    found = only(COMPILER, toolkits(CUDA_12_8, path=CUDA_12_8), GCC_15)
    assert found.summary == "nvcc 12.8.1 accepts gcc up to 14, and /usr/bin/gcc is gcc 15."
    assert ("/usr/local/cuda-12.8/include/crt/host_config.h", "gcc up to 14") in found.evidence
    assert "`export NVCC_CCBIN=/usr/bin/g++-14`" in found.remedy


def test_the_table_tells_where_the_header_is_missing() -> None:
    bare = toolkit("12.8.1")
    found = only(COMPILER, toolkits(bare, path=bare), GCC_15)
    assert ("table of nvcc 12.8.1", "gcc up to 14") in found.evidence


def test_compilers_that_are_fine_or_unknown() -> None:
    with_nvcc = toolkits(CUDA_13, path=CUDA_13)
    assert status(COMPILER, with_nvcc, GCC_15) is Status.OK
    assert status(COMPILER, with_nvcc, GCC_12._replace(major=None)) is Status.UNKNOWN
    assert status(COMPILER, with_nvcc, NvccHostCompiler("", None, "", "", "PATH")) is Status.OK  # none: no build at all
    newer = toolkit("99.0.1")
    assert status(COMPILER, toolkits(newer, path=newer), GCC_15) is Status.UNKNOWN


# cuda.arch-unsupported-by-nvcc


@pytest.mark.parametrize(
    ("nvcc", "card", "severity"),
    [
        (CUDA_13, GTX_1080, Severity.WARNING),  # given up: nothing that it builds runs
        (CUDA_13, V100, Severity.WARNING),
        (CUDA_11_8, RTX_5090, Severity.INFO),  # its PTX would run
        (toolkit("11.0.3"), gpu("NVIDIA RTX A6000", (8, 6)), Severity.INFO),  # code for sm_80 runs
    ],
)
def test_nvcc_does_not_build_for_the_gpu(nvcc: Toolkit, card: object, severity: Severity) -> None:
    found = only(ARCH, toolkits(nvcc, path=nvcc), gpus(card), FrameworkBuilds(()))  # type: ignore[arg-type]
    assert severity_of(ARCH, found) is severity
    assert found.subject == nvcc.nvcc


def test_what_would_build() -> None:
    there = toolkits(CUDA_13, CUDA_12_8, path=CUDA_13)
    assert "`export CUDA_HOME=/usr/local/cuda-12.8`" in only(ARCH, there, gpus(V100), FrameworkBuilds(())).remedy
    assert "CUDA 12.9" in only(ARCH, toolkits(CUDA_13, path=CUDA_13), gpus(V100), FrameworkBuilds(())).remedy
    old = only(ARCH, toolkits(CUDA_11_8, path=CUDA_11_8), gpus(RTX_5090), torch_with("deepspeed"))
    assert severity_of(ARCH, old) is Severity.WARNING
    assert "CUDA 12.8 or newer" in old.remedy


@pytest.mark.parametrize("card", [RTX_4090, RTX_5090, H200])
def test_nvcc_that_builds(card: object) -> None:
    assert status(ARCH, toolkits(CUDA_12_8, path=CUDA_12_8), gpus(card), FrameworkBuilds(())) is Status.OK  # type: ignore[arg-type]


def test_cupy_13_on_a_gpu_that_cuda_13_gave_up() -> None:
    facts = (toolkits(), gpus(V100), driver("580.95.05", (13, 0)))
    found = only(ARCH, *facts, FrameworkBuilds((cupy("cupy-cuda13x", (13, 0)),)))
    assert found.severity is Severity.ERROR
    assert "CUDA 12.9" in found.summary
    assert "cupy-cuda12x" in found.remedy
    assert status(ARCH, *facts, FrameworkBuilds((cupy("cupy-cuda12x", (12, 0)),))) is Status.OK


def test_an_nvcc_that_no_table_knows() -> None:
    newer = toolkit("99.0.1")
    outcome = outcome_of(ARCH, toolkits(newer, path=newer), gpus(V100), FrameworkBuilds(()))
    assert (outcome.status, outcome.matters) == (Status.UNKNOWN, False)
    assert status(ARCH, toolkits(newer, path=newer), ComputeGpus(()), FrameworkBuilds(())) is Status.SKIPPED


# cuda.symlink-broken, cuda.several-toolkits


@pytest.mark.parametrize(
    ("links", "members", "remedy"),
    [
        (
            (("/usr/local/cuda", "/etc/alternatives/cuda"), ("/etc/alternatives/cuda", "/usr/local/cuda-12.4")),
            (CUDA_12_8,),
            "`sudo update-alternatives --auto cuda`",
        ),
        (
            (("/usr/local/cuda", "/usr/local/cuda-12.4"),),
            (CUDA_12_8,),
            "`sudo ln -sfn /usr/local/cuda-12.8 /usr/local/cuda`",
        ),
        ((("/usr/local/cuda", "cuda-12.4"),), (), "`sudo rm /usr/local/cuda`"),
    ],
)
def test_broken_link(links: tuple, members: tuple, remedy: str) -> None:
    found = only(LINK, toolkits(*members, link=DefaultLink(links, "", None)))
    assert severity_of(LINK, found) is Severity.WARNING
    assert found.evidence == links
    assert remedy in found.remedy


def test_path_and_home_disagree() -> None:
    found = only(SEVERAL, toolkits(CUDA_13, CUDA_12_8, path=CUDA_13, home=home(CUDA_12_8)))
    assert severity_of(SEVERAL, found) is Severity.INFO  # it may well be meant so
    assert "nvcc on PATH is of CUDA 13.0.2, and CUDA_HOME names CUDA 12.8.1" in found.summary


def test_headers_of_another_release() -> None:
    found = only(SEVERAL, toolkits(toolkit("12.8.1", header="12.4")))
    assert found.severity is Severity.WARNING
    assert ("/usr/local/cuda-12.8/include/cuda.h", "12.4") in found.evidence


def test_several_toolkits_are_fine_in_themselves() -> None:
    assert status(SEVERAL, toolkits(CUDA_13, CUDA_12_8, CUDA_11_8, path=CUDA_13, link=leads_to(CUDA_12_8))) is Status.OK
    assert status(SEVERAL, toolkits(CUDA_13, path=CUDA_13, home=home(CUDA_13))) is Status.OK
    assert status(SEVERAL, toolkits(toolkit("12.8.1")._replace(header_version="", header=""))) is Status.OK
