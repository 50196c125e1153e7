"""cuDNN in the folders of the system, of toolkits, of Python wheels and of conda."""

from pathlib import Path

import pytest
from disk_trees import disk
from healthy_parts import ld_cache

from gpudoctor.facts.cudnn import CudnnLibraries, cudnn_in
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost
from gpudoctor.testing import MachineTree

Files = dict[str, str | bytes]

load_plugins()

MULTIARCH = "/usr/lib/x86_64-linux-gnu"
PARTS_9 = ("", "_adv", "_cnn", "_engines_precompiled", "_engines_runtime_compiled", "_graph", "_heuristic", "_ops")
PARTS_8 = ("", "_adv_infer", "_adv_train", "_cnn_infer", "_cnn_train", "_ops_infer", "_ops_train")


def libraries(folder: str, version: str, parts: tuple[str, ...] = PARTS_9) -> Files:
    """As NVIDIA's packages lay them out: a file with the whole version, a link by soname."""
    major = version.partition(".")[0]
    files: Files = {}
    for part in parts:
        files[f"{folder}/libcudnn{part}.so.{version}"] = f"{part} {version}"
        files[f"{folder}/libcudnn{part}.so.{major}"] = f"-> libcudnn{part}.so.{version}"
    return files


def header(version: str) -> str:
    major, minor, patch = version.split(".")
    return (
        "#ifndef CUDNN_VERSION_H_\n#define CUDNN_VERSION_H_\n\n"
        f"#define CUDNN_MAJOR {major}\n#define CUDNN_MINOR {minor}\n#define CUDNN_PATCHLEVEL {patch}\n\n"
        "#define CUDNN_VERSION (CUDNN_MAJOR * 10000 + CUDNN_MINOR * 100 + CUDNN_PATCHLEVEL)\n"
    )


def test_debian_with_two_major_versions(tmp_path: Path) -> None:
    files: Files = {
        "/proc/self/environ": "PATH=/usr/bin\0",
        **libraries(MULTIARCH, "9.10.2"),
        **libraries(MULTIARCH, "8.9.7", PARTS_8),
        f"{MULTIARCH}/libcudnn.so": "-> /etc/alternatives/libcudnn_so",
        "/etc/alternatives/libcudnn_so": f"-> {MULTIARCH}/libcudnn.so.8.9.7",
        "/usr/include/cudnn_version.h": "-> /etc/alternatives/cudnn_version_h",
        "/etc/alternatives/cudnn_version_h": "-> /usr/include/x86_64-linux-gnu/cudnn_version_v8.h",
        "/usr/include/x86_64-linux-gnu/cudnn_version_v8.h": header("8.9.7"),
        "/usr/include/x86_64-linux-gnu/cudnn_version_v9.h": header("9.10.2"),
        "/etc/ld.so.cache": ld_cache([f"{MULTIARCH}/libcudnn.so.9", f"{MULTIARCH}/libcudnn.so.8"]),
    }
    disk(tmp_path, files)
    recording = RecordingHost(MachineTree(str(tmp_path)))
    packages = Packages(
        "dpkg",
        tuple(
            Package(name, version, "amd64", "installed", False, "")
            for name, version in (("libcudnn9-cuda-12", "9.10.2.21-1"), ("libcudnn8", "8.9.7.29-1"), ("gcc", "4:12.2"))
        ),
    )
    found = Facts(recording).with_known(packages).get(CudnnLibraries)
    (folder,) = found.folders
    assert folder.majors == (8, 9)
    assert {library.version for library in folder.of(9)} == {"9.10.2"}
    assert [library.soname for library in folder.of(8)] == sorted(f"libcudnn{part}.so.8" for part in PARTS_8)
    assert found.headers == (
        ("/usr/include/cudnn_version.h", "/usr/include/x86_64-linux-gnu/cudnn_version_v8.h", "8.9.7"),
    )
    assert [(one.soname, one.real_path, one.version) for one in found.taken] == [
        ("libcudnn.so.8", f"{MULTIARCH}/libcudnn.so.8.9.7", "8.9.7"),
        ("libcudnn.so.9", f"{MULTIARCH}/libcudnn.so.9.10.2", "9.10.2"),
    ]
    assert [package.name for package in found.packages] == ["libcudnn9-cuda-12", "libcudnn8"]
    assert found.folder(MULTIARCH) == folder
    assert Facts(SnapshotHost(recording.answers)).with_known(packages).get(CudnnLibraries) == found


def test_library_path_before_the_cache(tmp_path: Path) -> None:
    files: Files = {
        "/proc/self/environ": "LD_LIBRARY_PATH=/nowhere:/opt/cudnn/lib:\0",
        **libraries(MULTIARCH, "9.10.2"),
        **libraries("/opt/cudnn/lib", "9.1.0"),
        "/opt/cudnn/include/cudnn_version.h": header("9.1.0"),
        "/etc/ld.so.cache": ld_cache([f"{MULTIARCH}/libcudnn.so.9"]),
    }
    disk(tmp_path, files)
    found = Facts(MachineTree(str(tmp_path))).get(CudnnLibraries)
    assert [(folder.folder, folder.version(9)) for folder in found.folders] == [
        ("/opt/cudnn/lib", "9.1.0"),
        (MULTIARCH, "9.10.2"),
    ]
    assert [(one.path, one.version) for one in found.taken] == [("/opt/cudnn/lib/libcudnn.so.9", "9.1.0")]


def test_each_major_version_by_its_own_entry_of_the_cache(tmp_path: Path) -> None:
    files: Files = {
        **libraries("/opt/a", "8.9.7", PARTS_8),
        **libraries("/opt/a", "9.1.0"),
        **libraries("/opt/b", "9.10.2"),
        "/etc/ld.so.cache": ld_cache(["/opt/a/libcudnn.so.8", "/opt/b/libcudnn.so.9"]),
    }
    found = Facts(disk(tmp_path, files)).get(CudnnLibraries)
    assert [folder.folder for folder in found.folders] == ["/opt/a", "/opt/b"]
    assert [(one.path, one.version) for one in found.taken] == [
        ("/opt/a/libcudnn.so.8", "8.9.7"),
        ("/opt/b/libcudnn.so.9", "9.10.2"),
    ]


def test_copied_by_hand_into_a_toolkit(tmp_path: Path) -> None:
    """`cp` without -P makes a file of every link; the loader does not look there without ld.so.conf."""
    folder = "/usr/local/cuda-12.4/targets/x86_64-linux"
    files: Files = {
        "/usr/local/cuda-12.4/bin/nvcc": "",
        "/usr/local/cuda-12.4/lib64": "-> targets/x86_64-linux/lib",
        "/usr/local/cuda-12.4/include": "-> targets/x86_64-linux/include",
        f"{folder}/include/cudnn.h": "#define CUDNN_MAJOR 7\n#define CUDNN_MINOR 6\n#define CUDNN_PATCHLEVEL 5\n",
        f"{folder}/lib/libcudnn.so.7": "the library",
        f"{folder}/lib/libcudnn.so.7.6.5": "the library",
        f"{folder}/lib/libcudnn.so.7.6": "another",
    }
    found = Facts(disk(tmp_path, files)).get(CudnnLibraries)
    (here,) = found.folders
    assert (here.folder, here.real_folder) == ("/usr/local/cuda-12.4/lib64", f"{folder}/lib")
    assert [(one.soname, one.version) for one in here.libraries] == [("libcudnn.so.7", "7.6.5")]
    assert here.header is not None
    assert (here.header.path, here.header.version) == ("/usr/local/cuda-12.4/include/cudnn.h", "7.6.5")
    assert [one.real_path for one in found.headers] == [f"{folder}/include/cudnn.h"]
    assert found.taken == ()


def test_a_wheel_whose_file_names_tell_no_version(tmp_path: Path) -> None:
    folder = "/home/ada/venv/lib/python3.12/site-packages/nvidia/cudnn"
    files: Files = {f"{folder}/lib/libcudnn{part}.so.9": part for part in PARTS_9}
    files[f"{folder}/include/cudnn_version.h"] = header("9.10.2")
    here = cudnn_in(disk(tmp_path, files), f"{folder}/lib")
    assert here is not None
    assert len(here.libraries) == len(PARTS_9)
    assert {library.version for library in here.libraries} == {""}
    assert (here.version(9), here.version(8)) == ("9.10.2", "")


def test_a_header_of_another_major_version_tells_nothing(tmp_path: Path) -> None:
    files: Files = {"/opt/conda/lib/libcudnn.so.8": "", "/opt/conda/include/cudnn_version.h": header("9.10.2")}
    here = cudnn_in(disk(tmp_path, files), "/opt/conda/lib")
    assert here is not None
    assert (here.majors, here.version(8)) == ((8,), "")
    assert here.header is not None


def test_mixed_sub_libraries_in_conda(tmp_path: Path) -> None:
    files = {**libraries("/opt/conda/lib", "9.10.2"), **libraries("/opt/conda/lib", "9.3.0", ("_ops",))}
    here = cudnn_in(disk(tmp_path, files), "/opt/conda/lib")
    assert here is not None
    assert {one.version for one in here.of(9)} == {"9.10.2", "9.3.0"}
    assert next(one.version for one in here.of(9) if one.soname == "libcudnn_ops.so.9") == "9.3.0"


def test_two_copies_of_one_size_tell_no_version(tmp_path: Path) -> None:
    files: Files = {f"/opt/lib/libcudnn.so.{number}": "same size" for number in ("9", "9.1.0", "9.1.1")}
    here = cudnn_in(disk(tmp_path, files), "/opt/lib")
    assert here is not None
    assert [one.version for one in here.libraries] == [""]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"/opt/lib/": ""},
        {"/opt/lib/libcudnn.so": "", "/opt/lib/libcudnn_static.a": "", "/opt/lib/libcudart.so.12": ""},
        {"/opt/lib/libcudnn.so.9": "-> libcudnn.so.9.10.2"},
    ],
)
def test_no_cudnn(files: Files, tmp_path: Path) -> None:
    host = disk(tmp_path, files)
    assert cudnn_in(host, "/opt/lib") is None
    assert Facts(host).get(CudnnLibraries) == ((), (), (), (), ())


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    files: Files = {"/proc/self/environ": "LD_LIBRARY_PATH=/opt/loop\0", "/opt/loop": "-> loop"}
    host = disk(tmp_path, files)
    with pytest.raises(Unavailable):
        cudnn_in(host, "/opt/loop")
    (reason,) = Facts(MachineTree(str(tmp_path))).get(CudnnLibraries).unread
    assert reason.startswith("/opt/loop: ")
