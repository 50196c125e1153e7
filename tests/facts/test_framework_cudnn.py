"""Which cuDNN and NCCL a framework would load, followed through ELF files on a disk."""

from pathlib import Path

import pytest
from disk_trees import disk
from framework_environments import PREFIX, SITE, build, distribution, environment, environments
from shared_objects import shared_object

from gpudoctor.facts.environment import Environment
from gpudoctor.facts.framework_cudnn import (
    BundledCudnns,
    FrameworkCudnn,
    FrameworkCudnns,
    FrameworkNccls,
    minor,
)
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.registry import Facts, load_plugins

load_plugins()

Files = dict[str, str | bytes]

PARTS = ("adv", "cnn", "engines_precompiled", "engines_runtime_compiled", "graph", "heuristic", "ops")
WHEEL = f"{SITE}/nvidia/cudnn/lib"
TORCH = distribution("torch", "2.9.1", "nvidia-cudnn-cu12==9.10.2.21", "nvidia-nccl-cu12==2.27.5")
ELF = shared_object()
NCCL_HEADER = "#define NCCL_MAJOR 2\n#define NCCL_MINOR 27\n#define NCCL_PATCH 3\n"


def cudnn(folder: str, *parts: str, version: str = "", main: bytes = shared_object(runpath="$ORIGIN")) -> Files:
    """The main library and its parts; with a version as NVIDIA's system packages have it, else as the wheels."""
    files: Files = {}
    for name, content in {"": main, **{f"_{part}": ELF for part in parts}}.items():
        files[f"{folder}/libcudnn{name}.so.{version or '9'}"] = content
        if version:
            files[f"{folder}/libcudnn{name}.so.9"] = f"-> libcudnn{name}.so.{version}"
    return files


def header(version: str) -> str:
    names = ("MAJOR", "MINOR", "PATCHLEVEL")
    return "".join(f"#define CUDNN_{n} {v}\n" for n, v in zip(names, version.split("."), strict=True))


def facts(folder: Path, files: Files, *wheels: str, library_path: str = "", rpath: str = "") -> Facts:
    """torch 2.9.1 in a venv with these wheels ("nvidia-cudnn-cu12 9.10.2.21") and files."""
    members = [distribution(*wheel.split()) for wheel in wheels]
    where = environment(TORCH, *members)
    files = {
        f"{SITE}/torch/lib/libtorch_cuda.so": shared_object(
            needed=("libcudnn.so.9", "libnccl.so.2"),
            rpath=rpath or "$ORIGIN/../../nvidia/cudnn/lib:$ORIGIN/../../nvidia/nccl/lib",
        ),
        **files,
    }
    builds = FrameworkBuilds((build("torch", TORCH, (12, 8), where=where),))
    variables = {"LD_LIBRARY_PATH": library_path} if library_path else {}
    return Facts(disk(folder, files)).with_known(
        builds, environments(where), Environment(variables, ()), LoaderCache(b"")
    )


def found(known: Facts) -> FrameworkCudnn:
    (one,) = known.get(FrameworkCudnns).cudnns
    return one


def test_a_wheel_alone(tmp_path: Path) -> None:
    files = {**cudnn(WHEEL, *PARTS), f"{SITE}/nvidia/cudnn/include/cudnn_version.h": header("9.10.2")}
    one = found(facts(tmp_path, files, "nvidia-cudnn-cu12 9.10.2.21"))
    assert [part.soname for part in one.parts] == [f"libcudnn_{name}.so.9" for name in PARTS]
    assert {part.version for part in (one.main, *one.parts)} == {"9.10.2"}
    assert one.acting.soname == "libcudnn_graph.so.9"
    assert one.acting.source == f"{SITE}/nvidia/cudnn/include/cudnn_version.h"
    assert one.mixed == ()


def test_jaxlib_beside_its_plugin_has_no_cudnn(tmp_path: Path) -> None:
    known = facts(tmp_path, cudnn(WHEEL, *PARTS), "nvidia-cudnn-cu12 9.10.2.21")
    (one,) = known.get(FrameworkBuilds).builds
    beside = FrameworkBuilds((one, one._replace(distribution=distribution("torch-cpu", "2.9.1"), cuda=None)))
    assert [found.build for found in known.with_known(beside).get(FrameworkCudnns).cudnns] == [one]


def test_a_wheel_without_headers_tells_by_its_name(tmp_path: Path) -> None:
    one = found(facts(tmp_path, cudnn(WHEEL, *PARTS), "nvidia-cudnn-cu12 9.10.2.21"))
    assert (one.acting.version, one.acting.source[-8:]) == ("9.10.2.21", "METADATA")


def test_of_two_wheels_without_headers_nothing_tells(tmp_path: Path) -> None:
    files = cudnn(WHEEL, *PARTS)
    one = found(facts(tmp_path, files, "nvidia-cudnn-cu12 9.10.2.21", "nvidia-cudnn-cu13 9.12.0.46"))
    assert (one.acting.version, one.acting.source) == ("", "")


def test_the_sub_libraries_of_a_folder_of_the_variable_act(tmp_path: Path) -> None:
    """As seen with cuDNN 9.6 and 9.12: cudnnGetVersion told 9.6 out of a main library of 9.12."""
    other = cudnn("/opt/cudnn/lib", *PARTS, version="9.6.0")
    files = {**cudnn(WHEEL, *PARTS), **other}
    one = found(facts(tmp_path, files, "nvidia-cudnn-cu12 9.10.2.21", library_path="/opt/cudnn/lib"))
    assert (one.main.found.path, one.main.version) == (f"{WHEEL}/libcudnn.so.9", "9.10.2.21")
    assert {(part.found.by, part.version) for part in one.parts} == {("LD_LIBRARY_PATH", "9.6.0")}
    assert one.acting.version == "9.6.0"
    assert one.mixed == ()  # all of one release


def test_an_rpath_comes_before_the_variable(tmp_path: Path) -> None:
    """Newer wheels have one: as seen with cuDNN 9.24."""
    main = shared_object(rpath="$ORIGIN")
    files = {**cudnn(WHEEL, *PARTS, main=main), **cudnn("/opt/cudnn/lib", *PARTS, version="9.6.0")}
    one = found(facts(tmp_path, files, "nvidia-cudnn-cu12 9.10.2.21", library_path="/opt/cudnn/lib"))
    assert {part.version for part in one.parts} == {"9.10.2.21"}


def test_a_single_part_from_elsewhere_is_a_mixture(tmp_path: Path) -> None:
    files = {**cudnn(WHEEL, *PARTS), **cudnn("/opt/odd", "ops", version="9.6.0")}
    one = found(facts(tmp_path, files, "nvidia-cudnn-cu12 9.10.2.21", library_path="/opt/odd"))
    assert [(part.soname, part.version) for part in one.mixed] == [
        ("libcudnn_ops.so.9", "9.6.0"),
        ("libcudnn_adv.so.9", "9.10.2.21"),
    ]


def test_a_link_to_a_part_of_another_wheel(tmp_path: Path) -> None:
    files = {**cudnn(WHEEL, *PARTS), **cudnn("/opt/w/lib", "ops"), "/opt/w/include/cudnn_version.h": header("9.6.0")}
    files["/opt/odd/libcudnn_ops.so.9"] = "-> ../w/lib/libcudnn_ops.so.9"
    one = found(facts(tmp_path, files, "nvidia-cudnn-cu12 9.10.2.21", library_path="/opt/odd"))
    assert [part.version for part in one.mixed] == ["9.6.0", "9.10.2.21"]


def test_parts_of_two_releases_in_one_folder(tmp_path: Path) -> None:
    folder = "/usr/lib/x86_64-linux-gnu"
    files = cudnn(folder, *PARTS, version="9.10.2")
    files[f"{folder}/libcudnn_cnn.so.9"] = "-> libcudnn_cnn.so.9.1.0"
    files[f"{folder}/libcudnn_cnn.so.9.1.0"] = ELF
    one = found(facts(tmp_path, files, rpath="/nowhere"))
    assert [part.version for part in one.mixed] == ["9.1.0", "9.10.2"]


def test_what_a_newer_release_left_behind_is_not_opened(tmp_path: Path) -> None:
    folder = "/usr/lib/x86_64-linux-gnu"
    files = cudnn(folder, *PARTS, version="9.10.2")
    files[f"{folder}/libcudnn_engines_tensor_ir.so.9"] = "-> libcudnn_engines_tensor_ir.so.9.22.0"
    files[f"{folder}/libcudnn_engines_tensor_ir.so.9.22.0"] = ELF
    assert found(facts(tmp_path, files, rpath="/nowhere")).mixed == ()


def test_patches_of_one_minor_version_are_no_mixture(tmp_path: Path) -> None:
    files = {**cudnn(WHEEL, *PARTS), **cudnn("/opt/odd", "ops", version="9.10.1")}
    assert found(facts(tmp_path, files, "nvidia-cudnn-cu12 9.10.2.21", library_path="/opt/odd")).mixed == ()


def test_a_damaged_main_library_is_a_problem_of_its_build(tmp_path: Path) -> None:
    files = cudnn(WHEEL, *PARTS, main=b"\x7fELF\x02\x01\x01" + b"\xff" * 500)
    known = facts(tmp_path, files, "nvidia-cudnn-cu12 9.10.2.21").get(FrameworkCudnns)
    assert known.cudnns == ()
    assert [(one.environment.prefix, "libcudnn.so.9" in reason) for one, reason in known.problems] == [(PREFIX, True)]


@pytest.mark.parametrize(
    ("files", "wheels", "told"),
    [
        ({f"{SITE}/nvidia/nccl/lib/libnccl.so.2": ELF}, ("nvidia-nccl-cu12 2.27.5",), ("2.27.5", "METADATA")),
        (
            {
                f"{SITE}/nvidia/nccl/lib/libnccl.so.2": ELF,
                f"{SITE}/nvidia/nccl/include/nccl.h": NCCL_HEADER,
            },
            (),
            ("2.27.3", "libnccl.so.2"),
        ),
        (
            {"/usr/lib/libnccl.so.2": "-> libnccl.so.2.18.3", "/usr/lib/libnccl.so.2.18.3": ELF},
            (),
            ("2.18.3", "libnccl.so.2.18.3"),
        ),
        ({f"{SITE}/nvidia/nccl/lib/libnccl.so.2": ELF}, (), ("", "")),
    ],
)
def test_nccl(tmp_path: Path, files: Files, wheels: tuple[str, ...], told: tuple[str, str]) -> None:
    (one,) = facts(tmp_path, files, *wheels).get(FrameworkNccls).nccls
    assert (one.version, one.source.rpartition("/")[2]) == told


def test_what_ctranslate2_brings_and_what_it_opens(tmp_path: Path) -> None:
    where = environment(distribution("ctranslate2", "4.4.0"))
    path = f"{SITE}/ctranslate2.libs/libcudnn-463fd6d5.so.8.9.7"
    files: Files = {
        path: shared_object(rpath="ctranslate2.libs"),
        f"{SITE}/ctranslate2.libs/libgomp-a34b3233.so.1": ELF,
    }

    def look(more: Files) -> tuple[str, int, str]:
        known = Facts(disk(tmp_path, files | more)).with_known(
            environments(where), Environment({}, ()), LoaderCache(b"")
        )
        (one,) = known.get(BundledCudnns).found
        return one.soname, one.major, one.found

    assert look({}) == ("libcudnn_ops_infer.so.8", 8, "")
    assert look({f"{WHEEL}/libcudnn_ops_infer.so.8": ELF})[2] == f"{WHEEL}/libcudnn_ops_infer.so.8"
    assert look({"/usr/lib/libcudnn_ops_infer.so.8": ELF})[2] == "/usr/lib/libcudnn_ops_infer.so.8"


@pytest.mark.parametrize(("text", "pair"), [("9.10.2.21", (9, 10)), ("8.9", (8, 9)), ("9", ()), ("", ()), ("a.b", ())])
def test_minor_versions(text: str, pair: tuple[int, ...]) -> None:
    assert minor(text) == pair
