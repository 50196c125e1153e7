"""What the tables of cuDNN, TensorFlow, JAX, onnxruntime, CuPy and of colliding wheels tell."""

import pytest

from gpudoctor.knowledge.cudnn import (
    cudnn_line,
    cudnn_wheels,
    faulty_cudnn,
    newest_cudnn_wheel,
    numbered_release,
    wheel_release,
)
from gpudoctor.knowledge.wheels import (
    collision_families,
    cupy_cuda,
    cupy_packages,
    cupy_releases,
    jax_minimum,
    jax_plugin,
    jax_release,
    jax_releases,
    onnxruntime_build,
    onnxruntime_releases,
    shared_files,
    tensorflow_build,
    tensorflow_releases,
)


@pytest.mark.parametrize(
    ("version", "soname", "cuda_12", "verified"),
    [
        ((8, 0), "libcudnn.so.8", (5, 0), True),
        ((8, 9, 7), "libcudnn.so.8", (5, 0), True),
        ((9, 0, 0), "libcudnn.so.9", (5, 0), True),
        ((9, 10, 2), "libcudnn.so.9", (5, 0), True),
        ((9, 11, 0), "libcudnn.so.9", (7, 5), False),
        ((9, 28, 0), "libcudnn.so.9", (7, 5), False),
    ],
)
def test_cudnn_lines(version: tuple[int, ...], soname: str, cuda_12: tuple[int, int], verified: bool) -> None:
    line = cudnn_line(version)
    assert line is not None
    assert (line.soname, line.minimum_capability(12), line.verified) == (soname, cuda_12, verified)


def test_cudnn_that_is_not_in_the_table() -> None:
    assert cudnn_line((7, 6, 5)) is None
    assert cudnn_line((10, 0, 0)) is None
    line = cudnn_line((9, 12, 0))
    assert line is not None
    assert line.minimum_capability(11) is None  # no wheel for CUDA 11 after 9.10.2


def test_cudnn_sublibraries() -> None:
    eight, nine, newest = cudnn_line((8, 9, 7)), cudnn_line((9, 10, 2)), cudnn_line((9, 28, 0))
    assert eight is not None
    assert nine is not None
    assert newest is not None
    assert "ops_infer" in eight.sublibraries
    assert "graph" in nine.sublibraries
    assert set(newest.sublibraries) - set(nine.sublibraries) == {"engines_tensor_ir", "ext"}


def test_cudnn_wheels_for_old_gpus() -> None:
    assert newest_cudnn_wheel(12, (7, 0)) == "9.10.2.21"
    assert newest_cudnn_wheel(12, (6, 1)) == "9.10.2.21"
    assert newest_cudnn_wheel(12, (7, 5)) == "9.28.0.42"
    assert newest_cudnn_wheel(13, (7, 0)) is None
    assert newest_cudnn_wheel(11, (3, 7)) == "8.9.6.50"
    assert newest_cudnn_wheel(14, (9, 0)) is None
    assert cudnn_wheels(11)[-1] == "9.10.2.21"


def test_cudnn_numbers() -> None:
    assert wheel_release("9.10.2.21") == (9, 10, 2)
    assert numbered_release(8902) == (8, 9, 2)
    assert numbered_release(91002) == (9, 10, 2)
    assert faulty_cudnn((9, 10, 0)) != ""
    assert faulty_cudnn((9, 10, 2)) == ""


def test_tensorflow() -> None:
    build = tensorflow_build("2.19.1")
    assert build is not None
    assert (build.cuda, build.cudnn_major, build.tested_cudnn) == ((12, 5), 9, "9.3")
    # TensorFlow's "compute_90" asks for native code, too.
    assert build.architectures == ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90", "sm_90")
    assert build.cuda_requires["nvidia-cudnn-cu12"] == "==9.3.0.75"
    assert build.numpy == "<2.2.0,>=1.26.0"
    old = tensorflow_build("2.13.1")
    assert old is not None
    assert (old.cuda, old.cudnn_major, dict(old.cuda_requires)) == ((11, 8), 8, {})
    assert tensorflow_build("2.99.0") is None
    assert len(tensorflow_releases()) == 47
    assert all(tensorflow_build(version) for version in tensorflow_releases())


def test_jax() -> None:
    release = jax_release("0.12.0")
    assert release is not None
    assert (release.least_jaxlib, release.jaxlib) == ("0.11.2", "<=0.12.0,>=0.11.2")
    assert set(release.plugins) == {"cuda12", "cuda13"}
    assert release.python == ">=3.12"
    assert jax_release("9.9") is None
    assert len(jax_releases()) == 49
    plugin = jax_plugin("jax-cuda12-plugin", "0.12.0.1")
    assert plugin is not None
    assert plugin.cuda_requires["nvidia-cudnn-cu12"] == "<10.0,>=9.10.2.21"
    assert {"cp312", "cp313", "cp314", "cp314t"} <= set(plugin.pythons)
    newer = jax_plugin("jax-cuda13-plugin", "0.9.2")
    assert newer is not None
    assert newer.cuda_requires["nvidia-cudnn-cu13"] == "<10.0,>=9.12.0.46"
    assert jax_plugin("jax-cuda13-plugin", "0.4.30") is None
    minimums = [jax_minimum(major) for major in (12, 13)]
    assert [(m.plugin, m.driver_branch, m.capability) for m in minimums if m] == [
        ("jax-cuda12-plugin", 525, (5, 2)),
        ("jax-cuda13-plugin", 580, (7, 5)),
    ]
    assert jax_minimum(11) is None


@pytest.mark.parametrize("version", onnxruntime_releases())
def test_onnxruntime_majors(version: str) -> None:
    build = onnxruntime_build(version)
    assert build is not None
    minor = int(version.split(".")[1])
    expected = (11, 8) if minor <= 18 else (12, 9) if minor <= 26 else (13, 9)
    assert (build.cuda_major, build.cudnn_major) == expected
    assert build.needed


def test_onnxruntime_extras() -> None:
    broken, mended = onnxruntime_build("1.27.0"), onnxruntime_build("1.31.1")
    assert broken is not None
    assert mended is not None
    assert "nvidia-cuda-runtime-cu13" in broken.extras
    assert broken.extras_problem != ""
    assert mended.extras["nvidia-cudnn-cu13"] == "~=9.0"
    assert mended.extras_problem == ""
    assert "libcublasLt.so.13" in mended.needed
    assert onnxruntime_build("0.1") is None


def test_cupy() -> None:
    assert cupy_cuda("cupy-cuda12x") == (12, None)
    assert cupy_cuda("cupy-cuda117") == (11, 7)
    assert cupy_cuda("cupy") is None
    newest = cupy_releases("cupy-cuda13x")[-1]
    assert newest == ("cupy-cuda13x", "14.2.0", "cp310", "cp314", "<2.6,>=2.0")
    assert cupy_releases("cupy") == ()
    assert len(cupy_packages()) == 11


def test_collisions() -> None:
    families = {family.name: family for family in collision_families()}
    cudnn = families["nvidia-cudnn"]
    assert cudnn.members == ("nvidia-cudnn-cu11", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13")
    assert cudnn.measured == 3
    ort = families["onnxruntime"]
    assert ort.members[: ort.measured] == ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
    assert set(cupy_packages()) <= set(families["cupy"].members)
    assert "nvidia/nccl/lib/libnccl.so.2" in shared_files("nvidia-nccl-cu13", "nvidia-nccl-cu12")
    assert shared_files("torch", "numpy") == ()
    members = [member for family in families.values() for member in family.members]
    assert len(members) == len(set(members))
