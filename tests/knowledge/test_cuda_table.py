"""What the CUDA tables tell: minimum drivers, driver branches, nvcc, architectures, component wheels."""

import pytest

from gpudoctor.knowledge.cuda import (
    ArchitectureSpan,
    CudaLevel,
    architecture_span,
    branch_of,
    compatibility_package,
    component_pins,
    first_cuda,
    highest_cuda,
    last_cuda,
    library_sonames,
    minimum_driver,
    newest_cuda,
    nvcc_support,
    packaged_driver,
    version_numbers,
)
from gpudoctor.knowledge.wheels import onnxruntime_build


@pytest.mark.parametrize(
    ("cuda", "version", "by_major"),
    [
        ((13, 2), "580.65.06", True),
        ((13, 5), "580.65.06", True),
        ((13, 0), "580.65.06", True),
        ((12, 8), "525.60.13", True),
        ((12, 0), "525.60.13", True),
        ((11, 8), "450.80.02", True),
        ((11, 0), "450.36.06", False),  # its own driver is older than the minimum of its major
        ((10, 2), "440.33", False),
        ((10, 1), "418.39", False),
        ((9, 0), "384.81", False),
        ((8, 0), "375.26", False),
    ],
)
def test_minimum_driver(cuda: tuple[int, int], version: str, by_major: bool) -> None:
    found = minimum_driver(cuda)
    assert found is not None
    assert (found.version, found.cuda, found.minor_version_compatibility) == (version, cuda, by_major)
    assert found.source.startswith("https://docs.nvidia.com/")


@pytest.mark.parametrize("cuda", [(14, 0), (7, 5), (10, 3), (0, 0)])
def test_no_minimum_is_made_up(cuda: tuple[int, int]) -> None:
    assert minimum_driver(cuda) is None


@pytest.mark.parametrize(
    ("branch", "cuda", "certain"),
    [
        (615, (13, 4), True),
        (595, (13, 2), True),
        (580, (13, 0), True),
        (565, (12, 7), True),
        (535, (12, 2), True),
        (470, (11, 4), True),
        (440, (10, 2), True),
        (390, (9, 1), True),
        (620, (13, 4), False),
        (585, (13, 0), False),
        (540, (12, 2), False),
        (430, (10, 1), False),
    ],
)
def test_what_a_branch_serves(branch: int, cuda: tuple[int, int], certain: bool) -> None:
    assert highest_cuda(branch) == CudaLevel(cuda, certain)


def test_a_branch_older_than_the_table_is_unknown() -> None:
    assert highest_cuda(304) is None


@pytest.mark.parametrize(
    ("cuda", "branch"),
    [((13, 4), 615), ((13, 3), 610), ((13, 2), 595), ((12, 8), 570), ((12, 7), 565), ((11, 0), 450), ((13, 5), None)],
)
def test_the_branch_that_compiles_the_ptx(cuda: tuple[int, int], branch: int | None) -> None:
    assert branch_of(cuda) == branch


def test_packaged_drivers() -> None:
    assert packaged_driver("12.4.1") == "550.54.15"
    assert packaged_driver("13.2.2") == "595.71.05"
    assert packaged_driver("12.4.9") is None
    assert newest_cuda() == (13, 4)


def test_nvcc_limits() -> None:
    at_13 = nvcc_support((13, 0))
    assert at_13 is not None
    assert (at_13.gcc_max_major, at_13.clang_max_major, at_13.verified) == (15, 20, True)
    assert at_13.source == "PyPI: nvidia-cuda-nvcc 13.0.88"
    assert "sm_120" in at_13.architectures
    assert "sm_70" not in at_13.architectures
    at_12_2 = nvcc_support((12, 2))
    assert at_12_2 is not None
    assert (at_12_2.gcc_max_major, at_12_2.clang_max_major) == (12, 15)  # of the header itself
    at_11_4 = nvcc_support((11, 4))
    assert at_11_4 is not None
    assert (at_11_4.gcc_max_major, at_11_4.verified) == (11, False)
    assert nvcc_support((12, 7)) is None


@pytest.mark.parametrize(
    ("capability", "span"),
    [
        ((12, 0), ArchitectureSpan((12, 8), None)),
        ((10, 3), ArchitectureSpan((12, 9), None)),
        ((8, 9), ArchitectureSpan((11, 8), None)),
        ((7, 5), ArchitectureSpan((10, 0), None)),
        ((7, 0), ArchitectureSpan(None, (12, 9))),
        ((6, 1), ArchitectureSpan(None, (12, 9))),
        ((3, 7), ArchitectureSpan(None, (11, 8))),
        ((3, 0), ArchitectureSpan(None, (10, 2))),
        ((10, 1), ArchitectureSpan((12, 8), (12, 9))),
        ((14, 0), None),
    ],
)
def test_toolkits_of_an_architecture(capability: tuple[int, int], span: ArchitectureSpan | None) -> None:
    assert architecture_span(capability) == span
    assert first_cuda(capability) == (span.first if span else None)
    assert last_cuda(capability) == (span.last if span else None)


def test_the_spans_agree_with_the_architectures_of_nvcc() -> None:
    minors = [(11, 8), (12, 0), (12, 4), (12, 6), (12, 8), (12, 9), (13, 0), (13, 2), (13, 4), (13, 5)]
    for cuda in minors:
        support = nvcc_support(cuda)
        assert support is not None
        for capability in [(3, 5), (5, 2), (6, 1), (7, 0), (7, 5), (8, 0), (8, 9), (9, 0), (10, 0), (10, 3), (12, 1)]:
            span = architecture_span(capability)
            assert span is not None
            builds = (span.first is None or span.first <= cuda) and (span.last is None or cuda <= span.last)
            assert builds == (f"sm_{capability[0]}{capability[1]}" in support.architectures), (cuda, capability)


def test_component_wheels() -> None:
    pins = component_pins("12.8.1")
    assert pins["nvidia-cufile-cu12"] == "1.13.1.3"
    assert pins["nvidia-nvjitlink-cu12"] == "12.8.93"
    assert component_pins("13.2") == component_pins("13.2.2")
    assert component_pins("13.2.2")["nvidia-cublas"] == "13.4.1.3"
    assert component_pins("12.7.0") == {}
    assert component_pins("1") == {}  # no release, and no prefix of "12.0"


@pytest.mark.parametrize(("cuda", "onnxruntime"), [(11, "1.18.1"), (12, "1.26.0"), (13, "1.27.0")])
def test_library_names_agree_with_what_onnxruntime_needs_of_that_cuda(cuda: int, onnxruntime: str) -> None:
    build = onnxruntime_build(onnxruntime)
    assert build is not None
    assert build.cuda_major == cuda
    needed = {name for name in build.needed if name.startswith(("libcudart", "libcublas", "libcufft"))}
    assert len(needed) == 4
    assert needed <= set(library_sonames(cuda))
    assert library_sonames(14) == ()


def test_the_compatibility_package_is_named_after_the_release() -> None:
    assert compatibility_package((12, 1)) == "cuda-compat-12-1"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("580.95.05", (580, 95, 5)), ("455.32", (455, 32)), ("580", (580,)), ("580.95.05-open", (580, 95, 5)), ("", ())],
)
def test_version_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert version_numbers(text) == numbers
