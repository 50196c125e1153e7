"""The header scan of METADATA: what concerns the GPU, from real and from damaged files."""

from pathlib import Path

import pytest
from disk_trees import disk
from python_trees import wheel

from gpudoctor.facts.distributions import Distribution, distributions_in, metadata_head, site_packages

SITE = "/site"


def scanned(folder: Path, *wheels: dict[str, str | bytes]) -> tuple[Distribution, ...]:
    files: dict[str, str | bytes] = {f"{SITE}/": ""}
    for one in wheels:
        files |= one
    host = disk(folder, files)
    site = site_packages(host, SITE)
    assert site is not None
    assert len(site.folders) == len(wheels)
    return distributions_in(host, site)


def test_what_concerns_the_gpu(tmp_path: Path) -> None:
    requires = ("torch==2.9.1 ; extra == 'x'", "requests>=2", "Nvidia_CUDNN.cu12 (==9.10.2.21)")
    found = scanned(
        tmp_path,
        wheel(SITE, "torch", "2.9.1+cu128", installer="uv"),
        wheel(SITE, "my-model", "1.0", requires=requires),
        wheel(SITE, "requests", "2.32.0"),
    )
    by_name = {one.name: one for one in found}
    assert by_name.keys() == {"torch", "my-model"}
    assert (by_name["torch"].version, by_name["torch"].release, by_name["torch"].installer) == (
        "2.9.1+cu128",
        "2.9.1",
        "uv",
    )
    # The description below the blank line is nobody's requirement.
    assert by_name["my-model"].requires == (requires[0], requires[2])


def test_whether_a_folder_has_a_framework_is_told_by_names(tmp_path: Path) -> None:
    host = disk(tmp_path, {**wheel("/a", "numpy", "2.1.0"), **wheel("/b", "nvidia-cudnn-cu12", "9.10.2.21")})
    without, beside = site_packages(host, "/a"), site_packages(host, "/b")
    assert without is not None
    assert beside is not None
    assert (without.has_framework, beside.has_framework) == (False, True)
    assert site_packages(host, "/c") is None


@pytest.mark.parametrize(
    ("content", "version", "problem"),
    [
        ("Metadata-Version: 2.1\nName: torch\n\ntext", "2.9.1", "METADATA tells no version"),
        (None, "2.9.1", "has no METADATA"),
        ("", "2.9.1", ""),
        ("Name: torch\r\nVersion: 2.9.1+cu128\r\n\r\nText", "2.9.1+cu128", ""),
        (b"\xff\xfe\x00garbage", "2.9.1", "METADATA tells no version"),
    ],
)
def test_damaged_metadata(tmp_path: Path, content: str | bytes | None, version: str, problem: str) -> None:
    files = wheel(SITE, "torch", "2.9.1")
    path = f"{SITE}/torch-2.9.1.dist-info/METADATA"
    del files[path]
    if content is not None:
        files[path] = content
    (torch,) = scanned(tmp_path, files)
    assert (torch.name, torch.version) == ("torch", version)
    assert problem in torch.problem


def test_a_header_longer_than_the_first_piece(tmp_path: Path) -> None:
    many = [f"package-{number}>=1.0 ; extra == 'e{number}'" for number in range(400)]
    found = scanned(tmp_path, wheel(SITE, "vllm", "0.33.0", requires=[*many, "torch==2.14.0"]))
    assert found[0].requires == ("torch==2.14.0",)


def test_egg_info_as_a_folder_and_as_a_file(tmp_path: Path) -> None:
    text = "Metadata-Version: 1.0\nName: {}\nVersion: 1.2\n\n"
    found = scanned(
        tmp_path,
        {f"{SITE}/apex-0.1-py3.11.egg-info/PKG-INFO": text.format("apex")},
        {f"{SITE}/PyCUDA-2024.1.egg-info": text.format("PyCUDA")},
    )
    assert {(one.name, one.version) for one in found} == {("apex", "1.2"), ("pycuda", "1.2")}


def test_a_snapshot_keeps_what_is_judged_and_no_more() -> None:
    text = "Name: x\nAuthor: Somebody\nVersion: 1\nRequires-Dist: torch>=2\nRequires-Dist: secret\n\nSECRET"
    assert metadata_head(text) == "Name: x\nVersion: 1\nRequires-Dist: torch>=2\n\n"
    piece = "Name: x\nVersion: 1\n"  # the rest of the header was asked for in a second question
    assert metadata_head(piece) == piece
