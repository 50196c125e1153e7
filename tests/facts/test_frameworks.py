"""For which CUDA the installed frameworks were built, and which libraries they would load from where."""

from pathlib import Path

import pytest
from disk_trees import disk
from python_trees import Files, site_of, torch_wheel, venv, wheel
from shared_objects import fat_binary, shared_object

from gpudoctor.facts.framework_libraries import BY_WHEELS, FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.testing import MachineTree

VENV = "/home/ada/venv"
SITE = site_of(VENV)


def facts_of(folder: Path, *wheels: Files, **variables: str) -> Facts:
    environ = "\0".join(f"{name}={value}" for name, value in {"VIRTUAL_ENV": VENV, **variables}.items())
    disk(folder, {"/proc/self/environ": environ, **venv(VENV, *wheels)})
    load_plugins()
    return Facts(MachineTree(str(folder)), {DeviceUsers: DeviceUsers((), (), 0)})


def builds_of(folder: Path, *wheels: Files) -> tuple[FrameworkBuild, ...]:
    return facts_of(folder, *wheels).get(FrameworkBuilds).builds


@pytest.mark.parametrize(
    ("version", "cuda", "architectures", "source"),
    [
        ("2.9.1+cu128", (12, 8), "sm_70 sm_75 sm_80 sm_86 sm_90 sm_100 sm_120", "table of torch 2.9.1"),
        ("2.8.0+cu126", (12, 6), "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90", "table of torch 2.8.0, variant cu126"),
        ("2.13.0+cpu", None, "", ""),
    ],
)
def test_torch(tmp_path: Path, version: str, cuda: tuple[int, int] | None, architectures: str, source: str) -> None:
    text = f"{cuda[0]}.{cuda[1]}" if cuda else None
    (build,) = builds_of(tmp_path, torch_wheel(SITE, version, text))
    assert (build.framework, build.version, build.cuda) == ("torch", version, cuda)
    assert " ".join(build.architectures) == architectures
    assert build.architectures_source == source
    assert build.source == f"{SITE}/torch/version.py"
    assert build.value == f"__version__ = '{version}', cuda = {text!r}"
    assert build.problem == ""


def test_a_torch_that_no_table_knows_is_asked_for_its_own_code(tmp_path: Path) -> None:
    code = shared_object(sections={".nv_fatbin": fat_binary(("sm_87", 64), ("sm_87", 64), ("compute_87", 64))})
    files = torch_wheel(SITE, "2.9.0a0+git5c48869", "12.6")
    (build,) = builds_of(tmp_path, files, {f"{SITE}/torch/lib/libtorch_cuda.so": code})
    assert build.architectures == ("sm_87", "compute_87")
    assert build.architectures_source == f"{SITE}/torch/lib/libtorch_cuda.so"


@pytest.mark.parametrize(
    ("text", "cuda", "problem"),
    [
        (None, (12, 8), "is not there"),
        ("__version__ = '2.9.1+cu128'\n", None, "does not tell the CUDA version"),
        (b"\xff\xfe\0\0", None, "does not tell the CUDA version"),
        ("__version__ = '2.9.1'\ncuda = None\n", None, ""),
        ("__version__ = '2.9.1'\ncuda: str | None = '12.8'\n", (12, 8), ""),
    ],
)
def test_a_damaged_version_file(
    tmp_path: Path, text: str | bytes | None, cuda: tuple[int, int] | None, problem: str
) -> None:
    files: Files = wheel(SITE, "torch", "2.9.1+cu128")
    if text is not None:
        files[f"{SITE}/torch/version.py"] = text
    (build,) = builds_of(tmp_path, files)
    assert build.cuda == cuda
    assert problem in build.problem
    assert bool(problem) == bool(build.problem)


BUILD_INFO = (
    "import collections\n\nbuild_info = collections.OrderedDict([('cpu_compiler', 'clang'),"
    " ('cuda_compute_capabilities', ['sm_60', 'sm_70', 'sm_80', 'sm_89', 'compute_90']), ('cuda_version', '12.5.1'),"
    " ('cudnn_version', '9'), ('is_cuda_build', True), ('is_rocm_build', False)])\n"
)
OLDER_BUILD_INFO = "build_info = {'cuda_version': '11.2', 'cudnn_version': '8', 'is_cuda_build': True}\n"
CPU_BUILD_INFO = "build_info = collections.OrderedDict([('is_cuda_build', False), ('is_rocm_build', False)])\n"


@pytest.mark.parametrize(
    ("text", "cuda", "cudnn", "architectures"),
    [
        (BUILD_INFO, (12, 5), "9", ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90", "sm_90")),
        (OLDER_BUILD_INFO, (11, 2), "8", ()),
        (CPU_BUILD_INFO, None, "", ()),
    ],
)
def test_tensorflow(
    tmp_path: Path, text: str, cuda: tuple[int, int] | None, cudnn: str, architectures: tuple[str, ...]
) -> None:
    path = "tensorflow/python/platform/build_info.py"
    (build,) = builds_of(tmp_path, wheel(SITE, "tensorflow", "2.21.0", files={path: text}))
    assert (build.cuda, build.cudnn, build.architectures, build.problem) == (cuda, cudnn, architectures, "")


def test_jax_and_its_plugin(tmp_path: Path) -> None:
    wheels = [wheel(SITE, name, "0.6.2") for name in ("jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda12-pjrt")]
    found = {build.distribution.name: build for build in builds_of(tmp_path, *wheels)}
    assert found.keys() == {"jaxlib", "jax-cuda12-plugin"}
    assert found["jaxlib"].cuda is None
    assert (found["jax-cuda12-plugin"].cuda, found["jax-cuda12-plugin"].cuda_words) == ((12, 0), "CUDA 12")


def test_jaxlib_before_there_were_plugins(tmp_path: Path) -> None:
    (build,) = builds_of(tmp_path, wheel(SITE, "jaxlib", "0.4.16+cuda11.cudnn86"))
    assert build.cuda == (11, 0)


def test_onnxruntime(tmp_path: Path) -> None:
    capi = "onnxruntime/capi"
    about = "package_name = 'onnxruntime-gpu'\n__version__ = '1.31.1'\ncuda_version = '13.0'\n"
    files: dict[str, str | bytes] = {f"{capi}/build_and_package_info.py": about}
    provider = {f"{capi}/libonnxruntime_providers_cuda.so": b""}
    (build,) = builds_of(tmp_path / "gpu", wheel(SITE, "onnxruntime-gpu", "1.31.1", files={**files, **provider}))
    assert (build.cuda, build.cuda_words) == ((13, 0), "CUDA 13.0")
    (build,) = builds_of(tmp_path / "gone", wheel(SITE, "onnxruntime-gpu", "1.31.1", files=files))
    assert build.cuda is None  # the files of the CPU package lie there
    (build,) = builds_of(tmp_path / "cpu", wheel(SITE, "onnxruntime", "1.32.0"))
    assert build.cuda is None


@pytest.mark.parametrize(
    ("name", "cuda", "words"),
    [
        ("cupy-cuda12x", (12, 0), "CUDA 12"),
        ("cupy-cuda117", (11, 7), "CUDA 11.7"),
        ("cupy-cuda110", (11, 0), "CUDA 11.0"),
    ],
)
def test_cupy(tmp_path: Path, name: str, cuda: tuple[int, int], words: str) -> None:
    (build,) = builds_of(tmp_path, wheel(SITE, name, "13.6.0", files={"cupy/.data/_wheel.json": '{"cuda": "12.x"}'}))
    assert (build.cuda, build.cuda_words) == (cuda, words)


NVIDIA = f"{SITE}/nvidia"
TORCH_CUDA = f"{SITE}/torch/lib/libtorch_cuda.so"


def torch_with_libraries(*, rpath: str = "", runpath: str = "", spare: tuple[str, ...] = ()) -> Files:
    """torch that needs cuSPARSE, which needs nvJitLink, as in the wheels for CUDA 12."""
    files: Files = torch_wheel(SITE, "2.9.1+cu128", "12.8")
    files[TORCH_CUDA] = shared_object(
        needed=["libcusparse.so.12", "libc10.so", "libcuda.so.1"], rpath=rpath, runpath=runpath
    )
    own = {
        "cusparse/lib/libcusparse.so.12": shared_object(
            soname="libcusparse.so.12", needed=["libnvJitLink.so.12"], runpath="$ORIGIN/../../nvjitlink/lib"
        ),
        "nvjitlink/lib/libnvJitLink.so.12": shared_object(soname="libnvJitLink.so.12"),
    }
    return files | {f"{NVIDIA}/{path}": data for path, data in own.items() if path.partition("/")[0] not in spare}


def test_libraries_are_followed_through_their_needs(tmp_path: Path) -> None:
    libraries = facts_of(tmp_path, torch_with_libraries(rpath="$ORIGIN/../../nvidia/cusparse/lib")).get(
        FrameworkLibraries
    )
    assert {use.soname: use.found and use.found.real_path for use in libraries.uses} == {
        "libcusparse.so.12": f"{NVIDIA}/cusparse/lib/libcusparse.so.12",
        "libnvJitLink.so.12": f"{NVIDIA}/nvjitlink/lib/libnvJitLink.so.12",
    }
    assert libraries.uses[1].wanted_by == f"{NVIDIA}/cusparse/lib/libcusparse.so.12"
    assert not any(use.shadowed for use in libraries.uses)
    assert libraries.problems == ()


def test_the_variable_shadows_what_has_a_runpath_and_not_what_has_an_rpath(tmp_path: Path) -> None:
    toolkit: Files = {
        f"/usr/local/cuda/lib64/{name}": shared_object(soname=name)
        for name in ("libcusparse.so.12", "libnvJitLink.so.12")
    }
    torch = torch_with_libraries(rpath="$ORIGIN/../../nvidia/cusparse/lib")
    facts = facts_of(tmp_path, torch, toolkit, LD_LIBRARY_PATH="/usr/local/cuda/lib64")
    shadowed = {use.soname: use.shadowed for use in facts.get(FrameworkLibraries).uses}
    assert shadowed == {"libcusparse.so.12": False, "libnvJitLink.so.12": True}


def test_what_is_nowhere_is_missing_and_wheels_help_out(tmp_path: Path) -> None:
    uses = facts_of(tmp_path / "a", torch_with_libraries(spare=("cusparse", "nvjitlink"))).get(FrameworkLibraries).uses
    assert [(use.soname, use.found) for use in uses] == [("libcusparse.so.12", None)]
    # torch looks into the wheels by itself where its own paths lead to nothing.
    uses = facts_of(tmp_path / "b", torch_with_libraries()).get(FrameworkLibraries).uses
    assert uses[0].found is not None
    assert uses[0].found.by == BY_WHEELS


def test_a_damaged_library_is_a_problem_of_its_own(tmp_path: Path) -> None:
    files = torch_with_libraries(rpath="$ORIGIN/../../nvidia/cusparse/lib")
    files[f"{NVIDIA}/cusparse/lib/libcusparse.so.12"] = b"\x7fELF garbage"
    libraries = facts_of(tmp_path, files).get(FrameworkLibraries)
    assert [use.soname for use in libraries.uses] == ["libcusparse.so.12"]
    ((prefix, problem),) = libraries.problems
    assert prefix == VENV
    assert "libcusparse.so.12" in problem


def test_tensorflow_opens_its_libraries_by_name(tmp_path: Path) -> None:
    files = wheel(SITE, "tensorflow", "2.21.0", files={"tensorflow/python/platform/build_info.py": BUILD_INFO})
    files[f"{SITE}/tensorflow/libtensorflow_cc.so.2"] = shared_object(runpath="$ORIGIN/../nvidia/cusolver/lib")
    files[f"{SITE}/tensorflow/libtensorflow_framework.so.2"] = shared_object(runpath="$ORIGIN/../nvidia/cudnn/lib")
    files[f"{NVIDIA}/cudnn/lib/libcudnn.so.9"] = shared_object(soname="libcudnn.so.9")
    files[f"{NVIDIA}/cusolver/lib/libcusolver.so.11"] = shared_object(soname="libcusolver.so.11")
    uses = facts_of(tmp_path, files).get(FrameworkLibraries).uses
    # Each of its two libraries knows the folders of some wheels only.
    assert {use.soname for use in uses if use.found} == {"libcudnn.so.9", "libcusolver.so.11"}
    assert {"libcublas.so.12", "libcufft.so.11"} <= {use.soname for use in uses if not use.found}
