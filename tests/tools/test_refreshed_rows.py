"""What tools/refresh_knowledge.py makes of the metadata and the wheels of new releases."""

from pathlib import Path

import pytest
from package_index import PackageIndex
from refresh_runs import add_known_cudnn, add_known_jax, add_new_jax, cudnn_contents, refresh, table

from gpudoctor.knowledge import cuda, torch, wheels


def test_other_libraries_than_the_newest_line_has_are_left_to_a_person(
    index: PackageIndex, knowledge: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_known_cudnn(index, knowledge)
    index.add("nvidia-cudnn-cu12", "99.1.0.7", contents=cudnn_contents("oracle"))
    assert refresh(index, knowledge, "--table", "cudnn") == 1
    kept = [line for line in capsys.readouterr().out.splitlines() if "kept by hand" in line]
    assert len(kept) == 1
    assert "oracle" in kept[0]


def test_metadata_beside_the_wheel_spares_the_wheel(
    index: PackageIndex, knowledge: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_known_jax(index, knowledge)
    requires = (
        "Requires-Dist: jax-cuda13-pjrt==99.0\n"
        'Requires-Dist: nvidia-cublas>=13.9 ; sys_platform == "linux" and extra == "with-cuda"\n'
        'Requires-Dist: nvidia-nvvm ; extra == "with-cuda"\nProvides-Extra: with-cuda\n'
    )
    for python in ("cp313", "cp314"):
        tag = f"{python}-{python}-manylinux_2_27_x86_64"
        path = index.add("jax-cuda13-plugin", "99.0", tag, metadata=requires, beside=True)
    index.add("jax-cuda13-plugin", "99.0", "cp314-cp314t-manylinux_2_27_x86_64", metadata=requires, beside=True)

    assert refresh(index, knowledge, "--table", "jax", "--write") == 0
    asked = [one for one in index.paths() if one.startswith("/files/")]
    assert asked == [f"{path}.metadata"]
    plugin = wheels.jax_plugin("jax-cuda13-plugin", "99.0")
    assert plugin is not None
    assert plugin.pythons == ("cp313", "cp314", "cp314t")
    assert plugin.cuda_requires == {"nvidia-cublas": ">=13.9", "nvidia-nvvm": ""}
    assert "+ plugins[jax-cuda13-plugin 99.0]" in capsys.readouterr().out


def test_without_metadata_beside_it_the_wheel_is_read_in_parts(index: PackageIndex, knowledge: Path) -> None:
    add_known_jax(index, knowledge)
    path = add_new_jax(index)
    assert refresh(index, knowledge, "--table", "jax", "--write") == 0
    assert all(asked.range for asked in index.asked if asked.path == path)
    assert wheels.jax_release("99.0") == wheels.JaxRelease(
        "99.0", "98.5", "<=99.0,>=98.5", {"cuda13": "<=99.0,>=99.0"}, ">=2.4", ">=3.13"
    )


def test_a_server_that_sends_no_parts(index: PackageIndex, knowledge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_known_jax(index, knowledge)
    add_new_jax(index)
    index.add("jax-cuda12-plugin", "99.0", "cp314-cp314-manylinux_2_27_x86_64", metadata="", beside=True)
    index.ranges = False
    before = table(knowledge, "jax")
    assert refresh(index, knowledge, "--table", "jax", "--write") == 0
    out = capsys.readouterr().out
    assert "not refreshed: jax 99.0: jax-99.0-py3-none-any.whl cannot be read in parts" in out
    after = table(knowledge, "jax")
    assert after["jax"] == before["jax"]
    assert len(after["plugins"]) == len(before["plugins"]) + 1
    assert after["date"] == before["date"]  # read in part only


def test_torch_is_told_by_two_files_of_its_wheels(index: PackageIndex, knowledge: Path) -> None:
    told = table(knowledge, "torch")
    for row in told["x86_64"]:
        for tag in row["pythons"]:
            index.add("torch", row["torch"], f"{tag.removesuffix('t')}-{tag}-manylinux_2_28_x86_64")
    for row in told["aarch64"]:
        index.add("torch", row["torch"], "cp312-cp312-manylinux_2_28_aarch64")
    metadata = (
        'Requires-Dist: cuda-toolkit[cublas,cudart]==13.9.1; platform_system == "Linux"\n'
        'Requires-Dist: triton~=9.1; platform_system == "Linux" and platform_machine == "x86_64"\n'
        'Requires-Dist: nvidia-cudnn-cu13==9.40.0.1; platform_system == "Linux"\n'
        'Requires-Dist: nvidia-nothing==1; platform_system == "Windows"\nRequires-Dist: sympy>=1.13.3\n'
    )
    for machine, flags, cuda_told in (("x86_64", b"sm_90 sm_120 compute_120", "'13.9'"), ("aarch64", b"", "None")):
        contents = {
            "torch/version.py": f"__version__ = '99.0+cu139'\ncuda: Optional[str] = {cuda_told}\n",
            "torch/lib/libtorch_python.so": bytes(1 << 20) + b"\0sm_75 \0" + flags + b"\0more",
        }
        index.add("torch", "99.0", f"cp313-cp313-manylinux_2_28_{machine}", contents=contents, metadata=metadata)

    assert refresh(index, knowledge, "--table", "torch", "--write") == 0
    build = torch.default_build("99.0")
    assert build is not None
    assert (build.cuda, build.architectures) == ((13, 9), ("sm_90", "sm_120", "compute_120"))
    assert build.requires == {"cuda-toolkit": "==13.9.1", "triton": "~=9.1", "nvidia-cudnn-cu13": "==9.40.0.1"}
    other = torch.default_build("99.0", "aarch64")
    assert other is not None
    assert (other.cuda, other.architectures) == (None, ())


def test_components_of_a_toolkit_with_a_fourth_number(index: PackageIndex, knowledge: Path) -> None:
    for row in table(knowledge, "cuda_components")["toolkits"]:
        index.add("cuda-toolkit", row["cuda"], "py2.py3-none-any")
    linux = "sys_platform == 'linux' and platform_machine == 'x86_64'"
    metadata = (
        f"Requires-Dist: nvidia-cublas==99.1.0.3.*; ({linux}) and extra == 'all'\n"
        f"Requires-Dist: nvidia-nvjitlink<100,>=99.0; ({linux}) and extra == 'all'\n"
        f"Requires-Dist: nvidia-cufft==12.0; ({linux}) and extra == 'cufft'\n"
    )
    index.add("cuda-toolkit", "99.0.2.0", "py2.py3-none-any", metadata=metadata, beside=True)
    assert refresh(index, knowledge, "--table", "cuda_components", "--write") == 0
    assert cuda.component_pins("99.0.2") == {"nvidia-cublas": "99.1.0.3"}


@pytest.mark.parametrize("damaged", ["Requires-Dist: a b c ===\n", None])
def test_malformed_metadata_leaves_out_that_release(
    index: PackageIndex, knowledge: Path, capsys: pytest.CaptureFixture[str], damaged: str | None
) -> None:
    add_known_jax(index, knowledge)
    path = index.add("jax-cuda13-plugin", "99.0", "cp314-cp314-manylinux_2_27_x86_64", metadata=damaged, beside=True)
    if damaged is None:
        index.answers[f"{path}.metadata"] = "text/plain", b"<html>"
    before = (knowledge / "jax.json").read_text()
    assert refresh(index, knowledge, "--table", "jax", "--write") == 0
    assert "not refreshed: jax-cuda13-plugin 99.0: " in capsys.readouterr().out
    assert (knowledge / "jax.json").read_text() == before
