"""The rules of driver, CUDA and GPU: the pairs that matter by name, then every torch on every driver and GPU."""

import re

import pytest

from gpudoctor.compatibility import (
    Coverage,
    Fit,
    Forward,
    Verdict,
    can_jit,
    coverage,
    cudnn_serves,
    driver_runs,
    forward_compatible,
    judge,
    read_architecture,
)
from gpudoctor.knowledge import is_data_centre
from gpudoctor.knowledge.torch import default_build, releases, variants


@pytest.mark.parametrize(
    ("driver", "cuda", "fit"),
    [
        ("580.95.05", (13, 2), Fit.RUNS),  # a newer minor of the same major
        ("580", (13, 2), Fit.RUNS),
        ("580.65.06", (13, 0), Fit.RUNS),
        ("580.10", (13, 0), Fit.TOO_OLD),  # the branch is right, the driver older than the minimum
        ("575.57.08", (13, 0), Fit.TOO_OLD),
        ("535.183.01", (12, 8), Fit.RUNS),
        ("535", (12, 8), Fit.RUNS),
        ("525.60.13", (12, 9), Fit.RUNS),
        ("525.60.11", (12, 0), Fit.TOO_OLD),
        ("470.256.02", (12, 1), Fit.TOO_OLD),
        ("470", (12, 1), Fit.TOO_OLD),
        ("470.256.02", (11, 8), Fit.RUNS),
        ("450.80.02", (11, 8), Fit.RUNS),
        ("450.51.06", (11, 8), Fit.TOO_OLD),
        ("450.51.06", (11, 0), Fit.RUNS),  # the driver of that toolkit
        ("440.33", (10, 2), Fit.RUNS),
        ("418.39", (10, 2), Fit.TOO_OLD),
        ("610.43.02", (11, 8), Fit.RUNS),  # a newer driver runs older programs
        ("610.43.02", (9, 0), Fit.RUNS),
        ("700.10.01", (12, 8), Fit.RUNS),
        ("580.95.05", (14, 0), Fit.TOO_OLD),  # another major
        ("620.10", (14, 0), Fit.UNKNOWN),  # newer than the table, on both sides
        ("610.43.02", (7, 5), Fit.RUNS),
        ("304.137", (7, 5), Fit.UNKNOWN),
        ("", (12, 8), Fit.UNKNOWN),
        ("unknown", (12, 8), Fit.UNKNOWN),
    ],
)
def test_driver_runs(driver: str, cuda: tuple[int, int], fit: Fit) -> None:
    assert driver_runs(driver, cuda) is fit


@pytest.mark.parametrize(
    ("architectures", "capability", "expected"),
    [
        (["sm_80", "sm_86"], (8, 9), Coverage.NATIVE),
        (["sm_86"], (8, 6), Coverage.NATIVE),
        (["sm_86"], (8, 0), Coverage.NONE),  # a lower minor
        (["sm_80", "sm_90"], (12, 0), Coverage.NONE),
        (["sm_90"], (10, 0), Coverage.NONE),
        (["sm_120"], (12, 1), Coverage.NATIVE),
        (["sm_90a"], (9, 0), Coverage.NATIVE),
        (["sm_100a"], (10, 3), Coverage.NONE),
        (["sm_100f"], (10, 3), Coverage.NATIVE),
        (["sm_103f"], (10, 0), Coverage.NONE),
        (["sm_100f"], (12, 0), Coverage.NONE),
        (["sm_80", "compute_90"], (12, 0), Coverage.PTX),
        (["compute_90"], (9, 0), Coverage.PTX),
        (["compute_90"], (8, 9), Coverage.NONE),
        (["compute_90a"], (10, 0), Coverage.NONE),
        (["compute_90a"], (9, 0), Coverage.PTX),
        (["compute_100f"], (10, 3), Coverage.PTX),
        (["compute_100f"], (12, 0), Coverage.NONE),
        (["compute_50", "sm_86"], (8, 6), Coverage.NATIVE),
        (["gfx90a", "sm_86"], (8, 6), Coverage.NATIVE),
        (["gfx90a"], (8, 6), Coverage.UNKNOWN),
        ([], (8, 6), Coverage.UNKNOWN),
    ],
)
def test_coverage(architectures: list[str], capability: tuple[int, int], expected: Coverage) -> None:
    assert coverage(architectures, capability) is expected
    assert coverage(reversed(architectures), capability) is expected


@pytest.mark.parametrize("word", ["", "sm_", "sm_9", "sm_90b", "sm_90af", "sm90", "SM_90", "compute_", "sm_9x", "9.0"])
def test_words_that_are_no_architecture(word: str) -> None:
    assert read_architecture(word) is None


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((7, 0), Coverage.NONE),  # older than all: PTX would not help
        ((11, 0), Coverage.NONE),  # PTX is made for the newest only
        ((12, 1), Coverage.NATIVE),
        ((13, 0), Coverage.UNKNOWN),
    ],
)
def test_a_list_that_may_leave_out_ptx(capability: tuple[int, int], expected: Coverage) -> None:
    build = default_build("2.11.0")
    assert build is not None
    assert not build.ptx_told
    assert coverage(build.architectures, capability, ptx_told=build.ptx_told) is expected


def test_a_list_that_names_its_ptx() -> None:
    build = default_build("2.7.1")
    assert build is not None
    assert build.ptx_told
    assert coverage(build.architectures, (12, 0), ptx_told=build.ptx_told) is Coverage.NONE


def test_ptx_needs_the_driver_of_its_toolkit() -> None:
    assert can_jit((13, 2), (13, 2))
    assert can_jit((13, 0), (12, 8))
    assert not can_jit((13, 0), (13, 2))


@pytest.mark.parametrize(
    ("gpu", "driver", "cuda", "expected"),
    [
        ("NVIDIA GeForce RTX 3090", "470.256.02", (12, 1), Forward.REFUSED),
        ("NVIDIA A100-SXM4-40GB", "470.256.02", (12, 1), Forward.ALLOWED),
        ("NVIDIA RTX A6000", "470.256.02", (12, 1), Forward.UNKNOWN),
        ("NVIDIA A100-SXM4-40GB", "535.183.01", (12, 1), Forward.NOT_NEEDED),
        ("NVIDIA GeForce RTX 3090", "535.183.01", (12, 8), Forward.NOT_NEEDED),
        ("NVIDIA H200", "", (13, 0), Forward.UNKNOWN),
    ],
)
def test_forward_compatibility(gpu: str, driver: str, cuda: tuple[int, int], expected: Forward) -> None:
    assert forward_compatible(is_data_centre(gpu), driver, cuda) is expected


def test_cudnn_serves_what_was_compiled_against_an_older_minor() -> None:
    assert cudnn_serves((9, 10, 2), (9, 1, 0))
    assert cudnn_serves((9, 1, 0), (9, 1, 1))
    assert not cudnn_serves((9, 0, 0), (9, 1, 1))
    assert not cudnn_serves((8, 9, 7), (9, 1, 0))
    assert not cudnn_serves((9, 1, 0), (8, 9, 7))


def test_pascal_with_the_default_wheel_of_torch_2_8_and_its_variant() -> None:
    default = default_build("2.8.0")
    assert default is not None
    assert default.cuda is not None
    assert coverage(default.architectures, (6, 1)) is Coverage.NONE
    assert judge(default.cuda, default.architectures, "580.95.05", (6, 1)) is Verdict.NO_KERNELS
    fitting = [v.cuda for v in variants("2.8.0") if judge(v.cuda, v.architectures, "580.95.05", (6, 1)) is Verdict.RUNS]
    assert fitting == [(12, 6)]


def test_ptx_from_a_newer_toolkit() -> None:
    ptx = ["sm_90", "compute_90"]
    assert judge((13, 2), ptx, "580.95.05", (12, 0)) is Verdict.PTX_TOO_NEW
    assert judge((13, 2), ptx, "595.45.04", (12, 0)) is Verdict.RUNS
    assert judge((13, 2), ptx, "580.95.05", (9, 0)) is Verdict.RUNS
    assert judge((13, 5), ptx, "615.10", (12, 0)) is Verdict.PTX_TOO_NEW
    assert judge((13, 5), ptx, "620.10", (12, 0)) is Verdict.UNKNOWN
    assert judge((12, 8), [], "580.95.05", (9, 0)) is Verdict.UNKNOWN
    assert judge((12, 8), ptx, "", (9, 0)) is Verdict.UNKNOWN


# The rules once more, spelled out apart from the code and its tables.
LEAST_BRANCH = {13: 580, 12: 525, 11: 450, 10: 440}  # 10: every torch for CUDA 10 is built with 10.2
BRANCHES = {
    **{390: "9.1", 410: "10.0", 418: "10.1", 440: "10.2", 450: "11.0", 455: "11.1", 460: "11.2", 465: "11.3"},
    **{470: "11.4", 495: "11.5", 510: "11.6", 515: "11.7", 520: "11.8", 525: "12.0", 530: "12.1", 535: "12.2"},
    **{545: "12.3", 550: "12.4", 555: "12.5", 560: "12.6", 565: "12.7", 570: "12.8", 575: "12.9", 580: "13.0"},
    **{590: "13.1", 595: "13.2", 610: "13.3", 615: "13.4"},
}
CAPABILITIES = (
    *((3, 0), (3, 5), (3, 7), (5, 0), (5, 2), (5, 3), (6, 0), (6, 1), (6, 2), (7, 0), (7, 2), (7, 5)),
    *((8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (10, 3), (10, 7), (11, 0), (12, 0), (12, 1)),
    (13, 0),  # a GPU that is yet to come: only PTX can serve it
)


# The minor releases with a variant that carries PTX, made by a toolkit newer than drivers that run the variant.
PTX_NEWER_THAN_A_DRIVER_THAT_RUNS_IT = [["2", str(minor)] for minor in (7, 8, 12, 13, 14, 15)]


def verdict_by_the_rules(
    cuda: tuple[int, int], words: tuple[str, ...], branch: int, capability: tuple[int, int]
) -> Verdict:
    if branch < LEAST_BRANCH[cuda[0]]:
        return Verdict.DRIVER_TOO_OLD
    major, minor = capability
    built = [re.fullmatch(r"(sm|compute)_(\d+)(\d)", word) for word in words]
    native = [(int(b[2]), int(b[3])) for b in built if b and b[1] == "sm"]
    ptx = [(int(b[2]), int(b[3])) for b in built if b and b[1] == "compute"]
    if any(m == major and n <= minor for m, n in native):
        return Verdict.RUNS
    if not any(made <= capability for made in ptx):
        return Verdict.NO_KERNELS
    level = tuple(map(int, BRANCHES[branch].split(".")))
    return Verdict.RUNS if level >= cuda else Verdict.PTX_TOO_NEW


def builds_of(version: str) -> dict[str, tuple[tuple[int, int], tuple[str, ...]]]:
    found = {}
    for machine in ("x86_64", "aarch64"):
        build = default_build(version, machine)
        if build and build.cuda:
            found[machine] = build.cuda, build.architectures
    for variant in variants(version):
        if variant.architectures:
            found[f"variant {variant.cuda}"] = variant.cuda, variant.architectures
    return found


@pytest.mark.parametrize("version", releases())
def test_every_torch_on_every_driver_and_gpu(version: str) -> None:
    met = set()
    for name, (cuda, architectures) in builds_of(version).items():
        for branch in BRANCHES:
            driver = f"{branch}.120.05"  # newer than the minimum of each branch
            for capability in CAPABILITIES:
                expected = verdict_by_the_rules(cuda, architectures, branch, capability)
                met.add(expected)
                assert judge(cuda, architectures, driver, capability) is expected, (name, branch, capability)
    assert met >= {Verdict.RUNS, Verdict.DRIVER_TOO_OLD, Verdict.NO_KERNELS}
    assert (Verdict.PTX_TOO_NEW in met) == (version.split(".")[:2] in PTX_NEWER_THAN_A_DRIVER_THAT_RUNS_IT)
