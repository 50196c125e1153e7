"""What the files of compiled packages tell about the torch and the CUDA that they were made for."""

from pathlib import Path

import pytest
from disk_trees import facts_on

from gpudoctor.facts.extensions import TorchExtensions, read_build, wheel_of_address

SITE = "/srv/venv/lib/python3.11/site-packages"
VENV = {
    "/srv/venv/pyvenv.cfg": "home = /usr/bin\nversion = 3.11.2\n",
    "/srv/venv/bin/python": "-> /usr/bin/python3.11",
    "/usr/bin/python3.11": "",
    f"{SITE}/torch-2.8.0.dist-info/METADATA": "Name: torch\nVersion: 2.8.0\n\n",
    f"{SITE}/torch/version.py": "__version__ = '2.8.0+cu128'\ncuda: Optional[str] = '12.8'\n",
    f"{SITE}/torch/share/cmake/Torch/TorchConfig.cmake": 'set(TORCH_CXX_FLAGS "-D_GLIBCXX_USE_CXX11_ABI=1")\n',
}


def extensions(folder: Path, files: dict[str, str]) -> TorchExtensions:
    facts = facts_on(folder, {**VENV, **files})
    facts.host.pythons = ("/srv/venv",)
    return facts.get(TorchExtensions)


def package(name: str, version: str, **files: str) -> dict[str, str]:
    folder = f"{SITE}/{name.replace('-', '_')}-{version}.dist-info"
    return {f"{folder}/METADATA": f"Name: {name}\nVersion: {version}\n\n"} | {
        f"{folder}/{file}": text for file, text in files.items()
    }


@pytest.mark.parametrize(
    ("local", "torch", "cuda", "abi"),
    [
        ("cu12torch2.4cxx11abiFALSE", ("2.4",), "12", False),
        ("cu128torch2.10cxx11abiTRUE", ("2.10",), "12.8", True),
        ("pt24cu121", ("2.4",), "12.1", None),
        ("pt2.4.0cu121", ("2.4",), "12.1", None),
        ("torch240cu121", ("2.40", "2.4"), "12.1", None),
        ("pt210cu128", ("2.10", "2.1"), "12.8", None),
        ("cu121.torch2.4.0", ("2.4",), "12.1", None),
        ("cu121", (), "12.1", None),
        ("git1234567", (), "", None),
        ("", (), "", None),
    ],
)
def test_local_versions(local: str, torch: tuple[str, ...], cuda: str, abi: bool | None) -> None:
    assert read_build(local) == (torch, cuda, abi)


def test_local_version_of_an_installed_wheel(tmp_path: Path) -> None:
    (found,) = extensions(tmp_path, package("torch-scatter", "2.1.2+pt24cu121")).extensions
    assert (found.torch, found.cuda, found.value) == (("2.4",), "12.1", "2.1.2+pt24cu121")


def test_wheel_from_an_address(tmp_path: Path) -> None:
    url = "https://ada:secret@example.com/v2.8.3/flash_attn-2.8.3%2Bcu12torch2.7cxx11abiFALSE-cp311-cp311-linux_x86_64.whl"
    files = package("flash-attn", "2.8.3", **{"direct_url.json": f'{{"archive_info": {{}}, "url": "{url}"}}'})
    (found,) = extensions(tmp_path, files).extensions
    assert (found.torch, found.cuda, found.cxx11_abi) == (("2.7",), "12", False)
    assert found.value == "flash_attn-2.8.3+cu12torch2.7cxx11abiFALSE-cp311-cp311-linux_x86_64.whl"


def test_addresses_lose_their_passwords() -> None:
    text = '{"url": "https://ada:secret@example.com/a/x-1.0-py3-none-any.whl", "archive_info": {}}'
    kept = wheel_of_address(text)
    assert kept == '{"url": "/x-1.0-py3-none-any.whl"}'
    assert wheel_of_address(kept) == kept
    assert wheel_of_address('{"url": "file:///home/ada/project", "dir_info": {}}') == "{}"


def test_source_package_is_known_by_its_library(tmp_path: Path) -> None:
    files = package("flash-attn", "2.8.3", RECORD="flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so,sha256=x,1\n")
    (found,) = extensions(tmp_path, files).extensions
    assert found.compiled_here
    assert found.installed is not None
    assert extensions(tmp_path / "pure", package("flash-attn", "2.8.3", RECORD="flash_attn/x.py,,\n")).extensions == ()


def test_xformers_says_what_it_was_built_with(tmp_path: Path) -> None:
    told = '{"version": {"cuda": 1208, "hip": null, "torch": "2.7.1+cu128", "python": "3.9"}, "env": {}}'
    files = {**package("xformers", "0.0.31"), f"{SITE}/xformers/cpp_lib.json": told}
    (found,) = extensions(tmp_path, files).extensions
    assert (found.torch, found.cuda, found.value) == (("2.7",), "12.8", '"torch": "2.7.1+cu128"')


def test_xformers_without_the_file_is_looked_up(tmp_path: Path) -> None:
    (found,) = extensions(tmp_path, package("xformers", "0.0.34")).extensions
    assert (found.torch, found.source) == (("2.10",), "table of xformers 0.0.34")
    assert extensions(tmp_path / "unknown", package("xformers", "99")).extensions == ()


def test_damaged_file_is_a_problem_of_its_own(tmp_path: Path) -> None:
    files = {
        **package("xformers", "0.0.31"),
        f"{SITE}/xformers/cpp_lib.json": "{",
        **package("torch-sparse", "1+pt28cu128"),
    }
    found = extensions(tmp_path, files)
    assert [one.distribution.name for one in found.extensions] == ["torch-sparse"]
    assert found.problems == (
        ("/srv/venv", "xformers", f"{SITE}/xformers/cpp_lib.json does not tell which torch it was built with"),
    )


def test_companions_by_their_own_file(tmp_path: Path) -> None:
    files = {
        **package("torchvision", "0.23.0"),
        f"{SITE}/torchvision/version.py": "__version__ = '0.23.0+cu126'\ngit_version = 'x'\n",
        **package("torchaudio", "2.8.0"),
    }
    vision, audio = sorted(extensions(tmp_path, files).companions, key=lambda one: one.version)
    assert (vision.version, vision.value) == ("0.23.0+cu126", "__version__ = '0.23.0+cu126'")
    assert audio.version == "2.8.0"


@pytest.mark.parametrize(("chooser", "falls_back"), [("def _find_cuda_libs(): ...", True), ("", False)])
def test_libraries_of_bitsandbytes(tmp_path: Path, chooser: str, falls_back: bool) -> None:
    names = ("cuda118", "cuda128", "cuda117_nocublaslt", "rocm64", "cpu", "cuda")
    files = {f"{SITE}/bitsandbytes/libbitsandbytes_{name}.so": "" for name in names}
    files |= {**package("bitsandbytes", "0.49.0"), f"{SITE}/bitsandbytes/cextension.py": chooser}
    (found,) = extensions(tmp_path, files).bitsandbytes
    assert found.cudas == ((11, 7), (11, 8), (12, 8))
    assert found.same_major_serves is falls_back


def test_folder_that_is_gone_is_a_problem(tmp_path: Path) -> None:
    ((prefix, name, reason),) = extensions(tmp_path, package("bitsandbytes", "0.49.0")).problems
    assert (prefix, name, reason) == ("/srv/venv", "bitsandbytes", f"{SITE}/bitsandbytes is not there")


@pytest.mark.parametrize(
    ("text", "abi"), [("-D_GLIBCXX_USE_CXX11_ABI=0", False), ("-D_GLIBCXX_USE_CXX11_ABI=1", True), ("", True)]
)
def test_abi_of_torch(tmp_path: Path, text: str, abi: bool) -> None:
    found = extensions(tmp_path, {f"{SITE}/torch/share/cmake/Torch/TorchConfig.cmake": text})
    assert found.torches[0].cxx11_abi is abi


def test_without_torch_nothing_is_looked_at(tmp_path: Path) -> None:
    facts = facts_on(tmp_path, {path: text for path, text in VENV.items() if "torch" not in path})
    facts.host.pythons = ("/srv/venv",)
    assert facts.get(TorchExtensions) == TorchExtensions((), (), (), ())
