"""What the tables of PyTorch and of the packages built against it tell."""

import pytest

from gpudoctor.knowledge.companions import (
    bitsandbytes_cudas,
    bitsandbytes_for,
    companions_of,
    compiled_at_install,
    pins_of,
    ptxas_of,
    ptxas_used,
    releases_for_torch,
    torch_of,
    xformers_build,
)
from gpudoctor.knowledge.torch import default_build, releases, variants


def test_releases_in_their_order() -> None:
    assert len(releases()) == 36
    assert (releases()[0], releases()[-1]) == ("1.10.0", "2.15.0")
    assert releases().index("2.9.1") < releases().index("2.10.0")


def test_a_default_wheel() -> None:
    build = default_build("2.15.0")
    assert build is not None
    assert build.cuda == (13, 2)
    assert build.architectures == ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
    assert build.pythons == ("cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t")
    assert build.requires["nvidia-cudnn-cu13"] == "==9.26.0.51"
    assert build.requires["cuda-toolkit"] == "==13.2.2"
    assert build.requires["triton"] == "~=3.9.0"


def test_requirements_that_several_releases_share() -> None:
    first, last = default_build("2.1.0"), default_build("2.1.2")
    assert first is not None
    assert last is not None
    assert first.requires == last.requires
    assert last.requires["nvidia-cudnn-cu12"] == "==8.9.2.26"


@pytest.mark.parametrize("version", releases())
def test_every_wheel_has_its_facts(version: str) -> None:
    build = default_build(version)
    assert build is not None
    assert build.cuda is not None
    assert build.architectures
    assert build.pythons
    assert bool(build.requires) == (version >= "1.13" or version.startswith("2."))


def test_the_local_part_is_not_looked_at_and_unknown_releases_are_none() -> None:
    assert default_build("2.8.0+cu126") == default_build("2.8.0")
    assert default_build("2.99.0") is None
    assert default_build("") is None
    assert default_build("2.8.0", "ppc64le") is None


def test_arm_wheels_have_cuda_from_2_11_on() -> None:
    cpu, gpu = default_build("2.10.0", "aarch64"), default_build("2.11.0", "aarch64")
    assert cpu is not None
    assert gpu is not None
    assert (cpu.cuda, cpu.architectures) == (None, ())
    assert gpu.cuda == (13, 0)
    assert gpu.architectures == ("sm_80", "sm_90", "sm_100", "sm_110", "sm_120")


def test_variants() -> None:
    found = {variant.cuda: variant for variant in variants("2.8.0")}
    assert list(found) == [(12, 6), (12, 8), (12, 9)]
    assert found[12, 6].index_url == "https://download.pytorch.org/whl/cu126"
    assert found[12, 6].architectures == ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
    assert found[12, 9].architectures[-2:] == ("sm_120", "compute_120")
    assert [variant.default for variant in found.values()] == [False, True, False]
    assert found[12, 8].pythons == ((3, 9), (3, 13))
    assert variants("2.8") == variants("2.8.1")
    assert variants("1.9") == ()


def test_what_is_not_verified_stays_marked() -> None:
    newest = variants("2.15")
    assert [(v.cuda, v.verified) for v in newest] == [
        ((12, 6), True),
        ((13, 0), True),
        ((13, 2), True),
        ((13, 4), False),
    ]
    assert {v.pythons for v in newest} == {None}
    assert [v.architectures for v in variants("1.12")][:2] == [(), ()]


@pytest.mark.parametrize("version", [version for version in releases() if variants(version)])
def test_the_default_variant_is_the_wheel_that_pypi_serves(version: str) -> None:
    build = default_build(version)
    assert build is not None
    (default,) = (variant for variant in variants(version) if variant.default)
    assert default.cuda == build.cuda
    if default.verified and not any(word.startswith("compute") for word in default.architectures):
        assert default.architectures == build.architectures


@pytest.mark.parametrize(
    ("torch", "companions"),
    [
        ("2.8.0", {"torchvision": "0.23.0", "torchaudio": "2.8.0"}),
        ("2.8.0+cu126", {"torchvision": "0.23.0", "torchaudio": "2.8.0"}),
        ("2.0.0", {"torchvision": "0.15.1", "torchaudio": "2.0.1"}),
        ("2.13.0", {"torchvision": "0.28.0", "torchaudio": "2.11.0"}),
        ("2.14.1", {"torchvision": "0.29.2", "torchaudio": "2.11.0"}),
        ("2.15.0", {"torchvision": "0.29.2", "torchaudio": "2.11.0"}),
        ("1.11.0", {"torchvision": "0.12.0"}),
        ("1.4.0", {}),
    ],
)
def test_companions(torch: str, companions: dict[str, str]) -> None:
    assert companions_of(torch) == companions


def test_pins() -> None:
    assert torch_of("torchvision", "0.23.0") == "2.8.0"
    assert torch_of("torchvision", "0.15.0") == "2.0.0"  # pinned with a local part
    assert torch_of("torchvision", "0.29.2") is None  # asks for any from 2.14 on
    assert pins_of("torchvision", "0.29.2") == {"torch": ">=2.14.0"}
    assert pins_of("torchaudio", "2.11.0") == {}
    assert pins_of("torchaudio", "9.9") is None
    assert torch_of("vllm", "0.33.0") == "2.14.0"
    assert (pins_of("vllm", "0.33.0") or {})["torchaudio"] == "==2.11.0"
    assert releases_for_torch("vllm", "2.14.0") == ("0.33.0",)
    assert releases_for_torch("xformers", "2.8.0") == ("0.0.32.post1", "0.0.32.post2")


def test_binaries_inside() -> None:
    built = xformers_build("0.0.31")
    assert built is not None
    assert (built.torch, built.cuda) == ("2.7.1+cu126", (12, 8))
    assert (bitsandbytes_cudas("0.50.2") or ())[-1] == (13, 2)
    assert (12, 9) not in (bitsandbytes_cudas("0.46.0") or ())
    assert bitsandbytes_cudas("9") is None
    assert bitsandbytes_for((13, 2)) == "0.50.2"
    assert bitsandbytes_for((12, 9)) == "0.49.2"
    assert bitsandbytes_for((13, 4)) is None
    assert compiled_at_install("flash-attn")
    assert not compiled_at_install("torchvision")


def test_ptxas_inside_triton() -> None:
    (only,) = ptxas_of("3.5.1")
    assert only.cuda == (12, 8)
    assert [only.knows(c) for c in [(8, 6), (9, 0), (10, 0), (10, 3), (12, 0), (12, 1)]] == [
        *(True, True, True),
        *(False, True, False),
    ]
    old, new = ptxas_used("3.7.1", (7, 0)), ptxas_used("3.7.1", (12, 1))
    assert old is not None
    assert new is not None
    assert (old.file, old.knows((7, 0))) == ("ptxas", True)
    assert (new.file, new.cuda, new.knows((12, 1))) == ("ptxas-blackwell", (13, 1), True)
    before = ptxas_used("3.2.0", (12, 0))
    assert before is not None
    assert not before.knows((12, 0))
    assert ptxas_of("4.0") == ()
    assert ptxas_used("4.0", (9, 0)) is None
