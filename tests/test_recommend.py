"""What is recommended for drivers, GPUs and Pythons, against the tables and the rules."""

import pytest
from framework_environments import A100, GTX_1080, H200, RTX_4090, RTX_5090, V100, driver, environment, gpu, gpus

from gpudoctor.compatibility import Coverage, Fit, Verdict, coverage, driver_runs, judge
from gpudoctor.host import Unavailable
from gpudoctor.knowledge.torch import default_build, releases, variants
from gpudoctor.python.recommend import FRAMEWORKS, Target, recommend, target_of

CU = "https://download.pytorch.org/whl/cu"
TITAN_X = gpu("NVIDIA GeForce GTX TITAN X", (5, 2))


def target(version, *members, python=(3, 12), machine="x86_64"):
    return Target(version, None, members, python, machine)


@pytest.mark.parametrize(
    ("framework", "version", "machine", "requirements", "index"),
    [
        # Driver 580 with a CUDA 13.2 build is fine, 535 with 12.8 too; the wheel of PyPI comes first.
        ("torch", "2.15.0", target("580.95.05", RTX_4090), ["torch==2.15.0"], ""),
        ("torch", "2.9.1", target("535.104.05", RTX_4090), ["torch==2.9.1"], ""),
        ("torch", "2.9", target("535.104.05", RTX_4090), ["torch==2.9.0"], ""),
        # GPUs that the default wheel left out.
        (
            "torch",
            "2.8.0",
            target("580", GTX_1080),
            ["torch==2.8.0+cu126"],
            f"{CU}126",
        ),
        ("torch", "", target("580", TITAN_X), ["torch==2.15.0+cu126"], f"{CU}126"),
        ("torch", "", target("580", V100), ["torch==2.15.0+cu126"], f"{CU}126"),
        # Two kinds of GPU: one build for both.
        ("torch", "2.9.1", target("580", V100, RTX_5090), ["torch==2.9.1"], ""),
        ("torch", "2.8.0", target("535", GTX_1080, A100), None, f"{CU}126"),
        # Old drivers.
        (
            "torch",
            "2.1.0",
            target("470.256.02", RTX_4090, python=(3, 11)),
            ["torch==2.1.0+cu118"],
            f"{CU}118",
        ),
        ("torch", "", target("470.256.02", A100), None, f"{CU}118"),
        # The newest that the driver runs natively comes before what it runs by minor version compatibility.
        ("torch", "2.12.0", target("575.57.08", RTX_4090), None, f"{CU}126"),
        ("torch", "2.11.0", target("570.86.10", RTX_5090), None, f"{CU}128"),
        # A variant by name.
        ("torch", "2.9.1+cu126", target("580", RTX_4090), None, f"{CU}126"),
        # Where there is one, the Python decides too.
        ("torch", "", target("580", RTX_4090, python=(3, 10)), ["torch==2.14.1"], ""),
        ("torch", "", target("580", H200, machine="aarch64"), ["torch==2.15.0"], ""),
        ("tensorflow", "", target("580", RTX_4090), ["tensorflow[and-cuda]==2.21.0"], ""),
        (
            "tensorflow",
            "",
            target("535.183.01", V100),
            ["tensorflow[and-cuda]==2.21.0", "nvidia-cudnn-cu12==9.10.2.21"],
            "",
        ),
        ("tensorflow", "2.13.1", target("535", V100, python=(3, 11)), ["tensorflow==2.13.1"], ""),
        ("jax", "", target("580.65.06", RTX_4090), ["jax[cuda13]==0.12.0.1"], ""),
        ("jax", "", target("570.86.10", RTX_4090), ["jax[cuda12]==0.12.0.1"], ""),
        ("jax", "", target("580", V100), ["jax[cuda12]==0.12.0.1", "nvidia-cudnn-cu12==9.10.2.21"], ""),
        ("jax", "0.7.1", target("580", RTX_4090), ["jax[cuda12]==0.7.1"], ""),  # no plugin for CUDA 13 was made of it
        ("cupy", "", target("580", RTX_4090), ["cupy-cuda13x[ctk]==14.2.0"], ""),
        ("cupy", "", target("580", GTX_1080), ["cupy-cuda12x[ctk]==14.2.0"], ""),
        ("cupy", "", target("550", RTX_4090), ["cupy-cuda12x[ctk]==14.2.0"], ""),
        ("cupy", "", target("470", A100), ["cupy-cuda11x==13.6.0"], ""),
        ("onnxruntime", "", target("580", RTX_4090), ["onnxruntime-gpu[cuda,cudnn]==1.31.1"], ""),
        ("onnxruntime", "", target("570", RTX_4090), ["onnxruntime-gpu[cuda,cudnn]==1.26.0"], ""),
    ],
)
def test_what_fits(framework, version, machine, requirements, index):
    best = recommend(framework, machine, version).best
    assert best is not None
    assert best.index_url == index
    if requirements is not None:
        assert list(best.requirements) == requirements
    assert best.why.endswith(".")


@pytest.mark.parametrize(
    ("framework", "version", "machine", "why", "instead"),
    [
        ("torch", "2.6.0", target("570.86.10", RTX_5090), "no code for NVIDIA GeForce RTX 5090", "torch 2.11.0 would"),
        ("torch", "2.1.0", target("450.51.06", GTX_1080, python=(3, 11)), "450.80.02 or newer", "driver 450.80.02"),
        ("torch", "2.10.0", target("580", H200, machine="aarch64"), "built for the CPU", "torch 2.15.0 would fit"),
        ("torch", "", target("570", H200, machine="aarch64"), "580.65.06 or newer", "With driver 580.65.06"),
        ("torch", "", target("580", GTX_1080, RTX_5090), "no code for NVIDIA GeForce GTX 1080", "RTX 5090 (compute"),
        ("torch", "", target("580", RTX_5090, python=(3, 8)), "no wheel for Python 3.8", "With Python 3.11 to 3.15"),
        ("torch", "", target("470", RTX_5090), "CUDA 13.2 needs driver 580.65.06", "With driver 570 or newer"),
        ("torch", "2.9.1+cu999", target("580", RTX_4090), "no variant of that name", "torch 2.15.0 would fit"),
        ("tensorflow", "", target("470", A100), "525.60.13 or newer", "With driver 525.60.13"),
        ("jax", "0.9.0", target("470", A100), "CUDA 12 needs driver 525.60.13", "With driver 525.60.13"),
        ("onnxruntime", "1.27.0", target("580", RTX_4090), "only placeholders", "onnxruntime 1.31.1 would fit"),
    ],
)
def test_what_does_not_fit_and_what_would(framework, version, machine, why, instead):
    outcome = recommend(framework, machine, version)
    assert outcome.best is None
    assert not outcome.unknown
    assert any(why in one.why for one in outcome.rejected)
    assert any(instead in sentence for sentence in outcome.instead)


def test_every_variant_of_a_pinned_version_is_explained():
    rows = [(one.what, one.why) for one in recommend("torch", target("580", GTX_1080), "2.8.0").rejected]
    assert [what for what, _ in rows] == ["torch 2.8.0 with CUDA 12.8, from PyPI", "torch 2.8.0 with CUDA 12.9"]
    assert all("compute capability 6.1" in why for _, why in rows)
    other = recommend("torch", target("535", RTX_4090), "2.9.1").rejected
    assert [one.why.partition(",")[0] for one in other] == [
        "would run too",
        "CUDA 13.0 needs driver 580.65.06 or newer",
    ]


@pytest.mark.parametrize(
    ("framework", "version", "machine", "words"),
    [
        ("torch", "", target("", RTX_4090), "--driver"),
        ("torch", "", target("340.108", RTX_4090), "--driver"),
        ("torch", "", target("580"), "--gpu"),
        ("torch", "", target("580", gpu("Something", None)), "--gpu"),
        ("torch", "99.0", target("580", RTX_4090), "no 99.0"),
        ("tensorflow", "", target("580", H200, machine="aarch64"), "aarch64"),
        ("torch", "", target("580", RTX_4090, machine="riscv64"), "riscv64"),
    ],
)
def test_what_cannot_be_told(framework, version, machine, words):
    outcome = recommend(framework, machine, version)
    assert outcome.best is None
    assert words in outcome.unknown


def test_frameworks_that_no_table_knows():
    with pytest.raises(ValueError, match="numpy"):
        recommend("numpy", target("580", RTX_4090))


def test_what_was_inferred_is_marked():
    best = recommend("torch", target("520.61.05", A100, python=(3, 10)), "1.12.1+cu116").best
    assert best is not None
    assert "inferred" in best.why


def test_ptx_and_minor_version_compatibility_are_named():
    best = recommend("tensorflow", target("580", RTX_5090), "2.20.0").best
    assert best is not None
    assert "PTX" in best.why
    assert recommend("tensorflow", target("535", RTX_5090), "2.20.0").best is None  # PTX of 12.5, a driver of 12.2
    assert recommend("tensorflow", target("535", H200), "2.20.0").best is not None  # its compute_90 holds sm_90 as well
    assert "minor version compatibility" in str(recommend("torch", target("535", RTX_4090), "2.9.1").best)


def test_companions_that_are_there_change_too():
    best = recommend("torch", target("580", RTX_4090), "2.9.1", installed={"torchvision": "0.20.0"}).best
    assert best is not None
    assert best.requirements == ("torch==2.9.1", "torchvision==0.24.1")
    # The release that is there stays where it was made for this torch, in the variant of the other one.
    best = recommend(
        "torch", target("535", RTX_4090), "2.14.1", installed={"torchvision": "0.29.1", "numpy": "2.1"}
    ).best
    assert best is not None
    assert best.requirements == ("torch==2.14.1+cu126", "torchvision==0.29.1+cu126")


def test_the_machine_as_its_facts_have_it():
    here = target_of(environment(version="3.13"), driver("535.104.05", (12, 2)), gpus(RTX_4090, RTX_4090, V100))
    assert here == Target("535.104.05", (12, 2), (RTX_4090, V100), (3, 13), "x86_64")
    unknown = target_of(None, Unavailable("no driver"), Unavailable("no bus"))
    assert unknown == Target("", None, (), None, "x86_64")


DRIVERS = ("440", "450.80.02", "510", "525.60.13", "550", "570", "580", "595")
CAPABILITIES = ((5, 2), (6, 1), (7, 0), (7, 5), (8, 0), (8, 9), (9, 0), (10, 0), (12, 1))


@pytest.mark.parametrize("release", releases())
def test_every_answer_for_torch_keeps_the_rules(release):
    """And where there is none, no build of the release keeps them."""
    builds = [(v.cuda, v.architectures, v.index_url, True) for v in variants(release) if not v.default]
    default = default_build(release)
    assert default is not None
    assert default.cuda is not None
    builds.append((default.cuda, default.architectures, "", default.ptx_told))
    for version in DRIVERS:
        for capability in CAPABILITIES:
            machine = target(version, gpu("GPU", capability), python=None)
            best = recommend("torch", machine, release).best
            running = [
                (cuda, architectures, index)
                for cuda, architectures, index, ptx_told in builds
                if judge(cuda, architectures, version, capability, ptx_told=ptx_told) is Verdict.RUNS
            ]
            assert bool(best) == bool(running), (version, capability)
            if best:
                cuda, architectures, _ = next(one for one in running if one[2] == best.index_url)
                assert best.cuda == cuda
                assert driver_runs(version, cuda) is Fit.RUNS
                assert coverage(architectures, capability) in (Coverage.NATIVE, Coverage.PTX)
                assert best.index_url == "" or all(index for *_, index in running)  # PyPI's own where it fits


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_all_of_every_table_can_be_asked_for(framework):
    for release in FRAMEWORKS[framework].releases():
        outcome = recommend(framework, target("595", A100, python=None), release)
        assert outcome.best or outcome.rejected, release
        assert not outcome.unknown
