"""CUDA toolkits on disk: versions, compiler limits, and which one PATH, CUDA_HOME and the loader lead to."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from disk_trees import disk
from healthy_parts import ld_cache

from gpudoctor.facts.c_headers import defined, highest_clang, highest_gcc, relevant_header
from gpudoctor.facts.compilers import NvccHostCompiler
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.toolkits import CudaToolkits, Toolkit, toolkit_in
from gpudoctor.machine import LiveHost
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost
from gpudoctor.testing import MachineTree

Files = dict[str, str | bytes]

load_plugins()

# Lines of crt/host_config.h of CUDA 13.0.
HOST_CONFIG_13_0 = """\
#if defined(__GNUC__)

#if __GNUC__ > 15

#error -- unsupported GNU version! gcc versions later than 15 are not supported! The nvcc flag '-allow-unsupported-compiler' can be used to override this version check; however, using an unsupported host compiler may cause compilation failure or incorrect run time execution. Use at your own risk.

#endif /* __GNUC__ > 15 */


#if defined(__HORIZON__)
#if (__clang_major__ >= 21) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))
#error -- unsupported HOS clang version! The version must be must be less than 21 and greater than 3.2 . The nvcc flag '-allow-unsupported-compiler' can be used.
#endif  /* (__clang_major__ >= 21) */
#endif /* __HORIZON__  */

#if (__clang_major__ >= 21) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))
#error -- unsupported clang version! clang version must be less than 21 and greater than 3.2 . The nvcc flag '-allow-unsupported-compiler' can be used to override this version check.
"""  # noqa: E501 - as NVIDIA wrote it
# host_config.h of CUDA 8.0.
HOST_CONFIG_8_0 = """\
#if __GNUC__ > 5

#error -- unsupported GNU version! gcc versions later than 5 are not supported!

#endif /* __GNUC__ > 5 */
"""


def cuda_h(number: int) -> str:
    return (
        "#if !defined(__cuda_cuda_h__)\n/**\n * \\defgroup CUDA_VERSION Version Management\n */\n"
        f"#define CUDA_VERSION {number}\n#define CUDA_VERSION_OLD 7\n"
    )


def toolkit(folder: str, number: int, *, gcc: str = HOST_CONFIG_13_0) -> Files:
    return {
        f"{folder}/bin/nvcc": b"\x7fELF",
        f"{folder}/include/cuda.h": cuda_h(number),
        f"{folder}/include/crt/host_config.h": gcc,
    }


def machine(folder: Path, files: Mapping[str, str | bytes], environ: Mapping[str, str] | None = None) -> Facts:
    """A running machine; every file called nvcc, gcc, g++ or clang is executable."""
    words = {"PATH": "/usr/local/bin:/usr/bin", **(environ or {})}
    disk(folder, {**files, "/proc/self/environ": "".join(f"{name}={value}\0" for name, value in words.items())})
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if any(word in name for word in ("nvcc", "gcc", "g++", "clang")) and not os.path.islink(path):
                os.chmod(path, 0o755)
    return Facts(MachineTree(str(folder)))


def test_numbers_of_headers() -> None:
    assert (highest_gcc(HOST_CONFIG_13_0), highest_clang(HOST_CONFIG_13_0)) == (15, 20)
    assert (highest_gcc(HOST_CONFIG_8_0), highest_clang(HOST_CONFIG_8_0)) == (5, None)
    assert highest_gcc("#error -- unsupported GNU version! gcc versions later than\n") is None
    assert defined(cuda_h(13000), "CUDA_VERSION") == 13000
    assert defined("# define  CUDA_VERSION\t12040 /* 12.4 */", "CUDA_VERSION") == 12040
    assert (
        defined("// #define CUDA_VERSION 1\n#define CUDA_VERSION (12040)\n#define CUDA_VERSION", "CUDA_VERSION") is None
    )
    for text in (HOST_CONFIG_13_0, HOST_CONFIG_8_0):
        trimmed = relevant_header(text)
        assert len(trimmed) < len(text)
        assert (highest_gcc(trimmed), highest_clang(trimmed)) == (highest_gcc(text), highest_clang(text))
    assert relevant_header(cuda_h(12040)) == "#define CUDA_VERSION 12040\n#define CUDA_VERSION_OLD 7\n"


VERSION_JSON = '{\n  "cuda" : {\n    "name" : "CUDA SDK",\n    "version" : "12.4.1"\n  }\n}\n'


@pytest.mark.parametrize(
    ("folder", "files", "version", "source"),
    [
        ("/usr/local/cuda-12.4", {**toolkit("", 12040), "/version.json": VERSION_JSON}, "12.4.1", "/version.json"),
        ("/usr/local/cuda-12.4", {**toolkit("", 12040), "/version.json": "{"}, "12.4", "/include/cuda.h"),
        ("/usr/local/cuda-12.4", {**toolkit("", 12040), "/version.json": "[1]"}, "12.4", "/include/cuda.h"),
        (
            "/usr/local/cuda-10.2",
            {**toolkit("", 10020), "/version.txt": "CUDA Version 10.2.89\n"},
            "10.2.89",
            "/version.txt",
        ),
        ("/usr/local/cuda-12.4", toolkit("", 12060), "12.6", "/include/cuda.h"),
        ("/usr/local/cuda-12.4", {"/bin/nvcc": ""}, "12.4", ""),
        ("/home/ada/mine", {"/bin/nvcc": ""}, "", ""),
        (
            "/usr/local/cuda-12.4",
            {"/lib64/libcudart.so.12": "-> libcudart.so.12.4.127", "/lib64/libcudart.so.12.4.127": ""},
            "12.4",
            "/lib64/libcudart.so.12.4.127",
        ),
        (
            "/opt/conda",
            {"/bin/nvcc": "", "/conda-meta/cuda-nvcc-12.4.131-h02f8991_0.json": "{}"},
            "12.4",
            "/conda-meta/cuda-nvcc-12.4.131-h02f8991_0.json",
        ),
        (
            "/opt/conda",
            {"/targets/x86_64-linux/include/cuda.h": cuda_h(12080), "/conda-meta/": ""},
            "12.8",
            "/targets/x86_64-linux/include/cuda.h",
        ),
    ],
)
def test_versions(folder: str, files: Files, version: str, source: str, tmp_path: Path) -> None:
    host = disk(tmp_path, {f"{folder}{path}": content for path, content in files.items()})
    found = toolkit_in(host, folder, "a test")
    assert found is not None
    assert found.version == version
    assert found.version_source == (f"{folder}{source}" if version else "")
    assert found.release == (tuple(map(int, version.split(".")[:2])) if version else None)


@pytest.mark.parametrize(
    "files",
    [
        {"/usr/local/cuda-12.4/lib64/libcudnn.so.8": ""},
        {"/usr/local/cuda-12.4/conda-meta/cuda-version-12.4-h3060b56_3.json": "{}"},
        {"/usr/local/cuda-12.4/": ""},
        {"/usr/local/cuda-12.4": "a file"},
        {"/usr/local/cuda-12.4": "-> gone"},
        {},
    ],
)
def test_what_is_no_toolkit(files: Files, tmp_path: Path) -> None:
    assert toolkit_in(disk(tmp_path, files), "/usr/local/cuda-12.4", "a test") is None


def test_a_toolkit_behind_a_wrapper_script(tmp_path: Path) -> None:
    """As some machines have it: no version.json, and a script in /usr/local/bin that calls nvcc by its path."""
    files: Files = {
        **toolkit("/usr/local/cuda-13.0", 13000),
        "/usr/local/cuda": "-> /usr/local/cuda-13.0",
        "/usr/local/bin/nvcc": '#!/bin/sh\nexec /usr/local/cuda-13.0/bin/nvcc "$@"\n',
        "/usr/local/cuda-13.0/lib/libcudart.so.13": "",
        "/etc/ld.so.cache": ld_cache(["/usr/local/cuda-13.0/lib/libcudart.so.13", "/usr/lib/libcublas.so.12"]),
        "/usr/bin/gcc": "-> gcc-12",
        "/usr/bin/gcc-12": "",
    }
    machine(tmp_path, files)
    recording = RecordingHost(MachineTree(str(tmp_path)))
    facts = Facts(recording)
    found = facts.get(CudaToolkits)
    expected = Toolkit(
        "/usr/local/cuda-13.0",
        "/usr/local/cuda-13.0",
        "13.0",
        "/usr/local/cuda-13.0/include/cuda.h",
        "/usr/local/cuda-13.0/bin/nvcc",
        "13.0",
        "/usr/local/cuda-13.0/include/cuda.h",
        15,
        20,
        "/usr/local/cuda-13.0/include/crt/host_config.h",
        "local",
        ("/usr/local", "PATH"),
    )
    assert found.toolkits == (expected,)
    assert found.default_link is not None
    assert found.default_link.links == (("/usr/local/cuda", "/usr/local/cuda-13.0"),)
    assert found.default_link.toolkit == expected
    assert not found.default_link.dangling
    assert found.on_path == (
        "/usr/local/bin/nvcc",
        "/usr/local/cuda-13.0/bin/nvcc",
        ("/usr/local/bin/nvcc",),
        expected,
    )
    assert found.by_cuda_home is None
    assert [(one.soname, one.toolkit) for one in found.by_loader] == [("libcudart.so.13", expected)]
    assert (found.unknown, found.unread) == ("", ())
    compiler = facts.get(NvccHostCompiler)
    assert compiler == ("gcc", 12, "/usr/bin/gcc", "/usr/bin/gcc-12", "PATH")
    replay = Facts(SnapshotHost(recording.answers))
    assert (replay.get(CudaToolkits), replay.get(NvccHostCompiler)) == (found, compiler)


DEBIAN_TOOLKIT: Files = {
    "/usr/bin/nvcc": '#!/bin/sh\nexec /usr/lib/nvidia-cuda-toolkit/bin/nvcc "$@"\n',
    "/usr/lib/nvidia-cuda-toolkit/bin/nvcc": b"\x7fELF",
    "/usr/lib/nvidia-cuda-toolkit/bin/gcc": "-> ../../../bin/gcc-11",
    "/usr/bin/gcc-11": "",
    "/usr/bin/gcc-12": "",
    "/usr/bin/gcc": "-> gcc-12",
    "/usr/include/cuda.h": cuda_h(11080),
    "/usr/include/crt/host_config.h": HOST_CONFIG_13_0.replace("later than 15", "later than 11"),
}


@pytest.mark.parametrize("folder", ["/usr/lib/cuda", ""])
def test_the_distribution_s_own_toolkit_beside_another(folder: str, tmp_path: Path) -> None:
    files: Files = {**DEBIAN_TOOLKIT, **toolkit("/usr/local/cuda-12.4", 12040)}
    if folder:
        files[f"{folder}/version.txt"] = "CUDA Version 11.8.89\n"
    facts = machine(tmp_path, files, {"CUDA_HOME": "/usr/local/cuda-12.4/", "CUDA_PATH": "/usr"})
    found = facts.get(CudaToolkits)
    local, packaged = found.toolkits
    assert (local.version, local.origin, local.found_by) == ("12.4", "local", ("/usr/local", "CUDA_HOME"))
    assert (packaged.version, packaged.origin, packaged.gcc_limit) == (
        "11.8.89" if folder else "11.8",
        "distribution",
        11,
    )
    assert packaged.header == "/usr/include/cuda.h"
    assert found.on_path is not None
    assert (found.on_path.leads_to, found.on_path.toolkit) == ("/usr/lib/nvidia-cuda-toolkit/bin/nvcc", packaged)
    assert [(one.variable, one.toolkit, one.problem) for one in found.by_variable] == [
        ("CUDA_HOME", local, ""),
        ("CUDA_PATH", packaged, ""),
    ]
    compiler = facts.get(NvccHostCompiler)
    assert (compiler.major, compiler.source) == (11, "/usr/lib/nvidia-cuda-toolkit/bin")


def test_nvcc_in_usr_bin_that_is_a_link_to_a_local_toolkit(tmp_path: Path) -> None:
    files = {
        **toolkit("/usr/local/cuda-12.4", 12040),
        "/usr/bin/nvcc": "-> /etc/alternatives/nvcc",
        "/etc/alternatives/nvcc": "-> /usr/local/cuda-12.4/bin/nvcc",
    }
    found = machine(tmp_path, files).get(CudaToolkits)
    assert [one.folder for one in found.toolkits] == ["/usr/local/cuda-12.4"]
    assert found.on_path is not None
    assert found.on_path.toolkit == found.toolkits[0]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("/usr/local/cuda-11.8", "there is no such folder"),
        ("/usr/local/cuda-12.4:/usr/local/cuda-11.8", "it is a list of folders"),
        ("/usr/local/cuda-12.4:", "it is a list of folders"),
        ("/usr/local/cuda-12.4/bin", "there is no CUDA toolkit in it"),
        ("/usr/local/cuda-12.4/bin/nvcc", "it is not a folder"),
        ("cuda-12.4", "there is no such folder"),
    ],
)
def test_cuda_home_that_names_no_toolkit(value: str, problem: str, tmp_path: Path) -> None:
    found = machine(tmp_path, toolkit("/usr/local/cuda-12.4", 12040), {"CUDA_HOME": value}).get(CudaToolkits)
    assert found.by_cuda_home == ("CUDA_HOME", value, problem, None)
    assert [one.found_by for one in found.toolkits] == [("/usr/local",)]


@pytest.mark.parametrize(
    ("links", "real"),
    [
        ({"/usr/local/cuda": "-> /etc/alternatives/cuda", "/etc/alternatives/cuda": "-> /usr/local/cuda-12.4"}, True),
        ({"/usr/local/cuda": "-> cuda-12.4"}, True),
        ({"/usr/local/cuda": "-> /etc/alternatives/cuda", "/etc/alternatives/cuda": "-> /usr/local/cuda-11.8"}, False),
        ({"/usr/local/cuda": "-> cuda"}, False),
    ],
)
def test_the_default_link(links: Files, real: bool, tmp_path: Path) -> None:
    found = machine(tmp_path, {**toolkit("/usr/local/cuda-12.4", 12040), **links}).get(CudaToolkits)
    assert found.default_link is not None
    assert found.default_link.dangling is not real
    assert found.default_link.toolkit == (found.toolkits[0] if real else None)
    assert found.default_link.links[0] == ("/usr/local/cuda", str(links["/usr/local/cuda"]).removeprefix("-> "))


def test_one_toolkit_under_two_names_is_listed_by_its_own(tmp_path: Path) -> None:
    files = {**toolkit("/usr/local/cuda-12.4", 12040), "/usr/local/cuda": "-> cuda-12.4"}
    found = machine(tmp_path, files, {"CUDA_HOME": "/usr/local/cuda"}).get(CudaToolkits)
    assert [(one.folder, one.found_by) for one in found.toolkits] == [
        ("/usr/local/cuda-12.4", ("/usr/local", "CUDA_HOME"))
    ]


def test_usr_with_headers_alone_is_no_toolkit(tmp_path: Path) -> None:
    found = machine(tmp_path, {"/usr/include/cuda.h": cuda_h(11080)}, {"CUDA_HOME": "/usr"}).get(CudaToolkits)
    assert found.toolkits == ()
    assert found.by_cuda_home == ("CUDA_HOME", "/usr", "there is no CUDA toolkit in it", None)


def test_a_default_that_is_a_folder_and_none_at_all(tmp_path: Path) -> None:
    found = machine(tmp_path / "folder", toolkit("/usr/local/cuda", 12040)).get(CudaToolkits)
    assert found.default_link == ((), "/usr/local/cuda", found.toolkits[0])
    assert machine(tmp_path / "none", {"/usr/local/bin/": ""}).get(CudaToolkits) == ((), None, None, (), (), "", ())


@pytest.mark.parametrize(
    ("script", "leads_to"),
    [
        ('#!/bin/bash\n# calls nvcc\nexec "${CUDA_HOME}/bin/nvcc" "$@"\n', "/opt/cuda/bin/nvcc"),
        ("#!/bin/sh\n$CUDA_HOME/bin/nvcc $*\n", "/opt/cuda/bin/nvcc"),
        ('#!/bin/sh\nexec "$(dirname "$0")/real/nvcc" "$@"\n', ""),
        ('#!/bin/sh\nexec /usr/local/bin/nvcc "$@"\n', ""),  # calls itself
        ("-> ../../lib/nvcc/ccache", "/opt/cuda/bin/nvcc"),  # runs the next one on PATH
    ],
)
def test_wrappers(script: str, leads_to: str, tmp_path: Path) -> None:
    files = {"/usr/local/bin/nvcc": script, "/usr/bin/nvcc": "-> /opt/cuda/bin/nvcc"}
    disk(tmp_path, {"/usr/lib/nvcc/ccache": ""})
    (tmp_path / "usr/lib/nvcc/ccache").chmod(0o755)
    facts = machine(tmp_path, {**toolkit("/opt/cuda", 13000), **files}, {"CUDA_HOME": "/opt/cuda"})
    found = facts.get(CudaToolkits)
    assert found.on_path is not None
    assert found.on_path.leads_to == leads_to
    assert found.on_path.toolkit == (found.toolkits[0] if leads_to else None)
    assert (found.toolkits[0].origin, found.toolkits[0].release) == ("distribution", (13, 0))


def test_conda_and_wheels(tmp_path: Path) -> None:
    wheel = "/home/ada/venv/lib/python3.12/site-packages/nvidia/cu13"
    files: Files = {
        "/opt/conda/bin/nvcc": "",
        "/opt/conda/conda-meta/cuda-nvcc-12.4.131-h02f8991_0.json": "{}",
        **toolkit(wheel, 13000),
    }
    found = machine(
        tmp_path, files, {"CONDA_PREFIX": "/opt/conda", "PATH": "/opt/conda/bin:/usr/bin", "CUDA_HOME": wheel}
    ).get(CudaToolkits)
    assert [(one.folder, one.origin, one.found_by) for one in found.toolkits] == [
        (wheel, "wheel", ("CUDA_HOME",)),
        ("/opt/conda", "conda", ("CONDA_PREFIX", "PATH")),
    ]
    assert found.on_path is not None
    assert found.on_path.toolkit == found.toolkits[1]


def test_a_disk_knows_no_path(tmp_path: Path) -> None:
    host = disk(tmp_path, {**toolkit("/usr/local/cuda-12.4", 12040), "/usr/local/bin/nvcc": "-> ../cuda-12.4/bin/nvcc"})
    found = Facts(host).get(CudaToolkits)
    assert [one.version for one in found.toolkits] == ["12.4"]
    assert found.on_path is None
    assert "not running" in found.unknown


GCC_PACKAGE = Packages("rpm", (Package("gcc", "15.2.1-3.fc43", "x86_64", "installed", False, ""),))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("gcc", 13, "/usr/bin/gcc", "/usr/bin/x86_64-linux-gnu-gcc-13", "PATH")),
        ({"NVCC_CCBIN": "/usr/bin/g++-12"}, ("g++-12", 12, "/usr/bin/g++-12", "/usr/bin/g++-12", "NVCC_CCBIN")),
        ({"NVCC_CCBIN": "g++-12"}, ("g++-12", 12, "/usr/bin/g++-12", "/usr/bin/g++-12", "NVCC_CCBIN")),
        ({"NVCC_CCBIN": "g++-9"}, ("g++-9", None, "", "", "NVCC_CCBIN")),
        ({"CUDAHOSTCXX": "clang++"}, ("clang++", 14, "/usr/bin/clang++", "/usr/lib/llvm-14/bin/clang", "CUDAHOSTCXX")),
        (
            {"CUDAHOSTCXX": "clang++", "NVCC_CCBIN": "/opt/rh/gcc-toolset-11/root/usr/bin"},
            (
                "gcc",
                11,
                "/opt/rh/gcc-toolset-11/root/usr/bin/gcc",
                "/opt/rh/gcc-toolset-11/root/usr/bin/gcc",
                "NVCC_CCBIN",
            ),
        ),
        (
            {"NVCC_PREPEND_FLAGS": "-ccbin=g++-12 -O2", "NVCC_CCBIN": "clang++"},
            ("g++-12", 12, "/usr/bin/g++-12", "/usr/bin/g++-12", "NVCC_PREPEND_FLAGS"),
        ),
        (
            {"PATH": "/opt/rh/gcc-toolset-11/root/usr/bin:/usr/bin"},
            (
                "gcc",
                11,
                "/opt/rh/gcc-toolset-11/root/usr/bin/gcc",
                "/opt/rh/gcc-toolset-11/root/usr/bin/gcc",
                "PATH",
            ),
        ),
        ({"PATH": "/usr/sbin"}, ("", None, "", "", "PATH")),
    ],
)
def test_the_host_compiler_of_nvcc(environ: dict[str, str], expected: tuple[object, ...], tmp_path: Path) -> None:
    files: Files = {
        "/usr/bin/gcc": "-> gcc-13",
        "/usr/bin/gcc-13": "-> x86_64-linux-gnu-gcc-13",
        "/usr/bin/x86_64-linux-gnu-gcc-13": "",
        "/usr/bin/g++-12": "",
        "/usr/bin/clang++": "-> ../lib/llvm-14/bin/clang++",
        "/usr/lib/llvm-14/bin/clang++": "-> clang",
        "/usr/lib/llvm-14/bin/clang": "",
        "/opt/rh/gcc-toolset-11/root/usr/bin/gcc": "",
        "/opt/rh/gcc-toolset-11/root/usr/lib/gcc/x86_64-redhat-linux/11/": "",
    }
    found = machine(tmp_path, files, environ).get(NvccHostCompiler)
    assert found == expected
    assert found.family == ("clang" if "clang" in found.name else "gcc" if found.name else "")


@pytest.mark.parametrize(
    ("files", "packages", "major"),
    [
        ({"/usr/bin/gcc": ""}, GCC_PACKAGE, 15),
        ({"/usr/bin/gcc": "", "/usr/lib/gcc/x86_64-pc-linux-gnu/14.2.1/": ""}, Packages("pacman", ()), 14),
        (
            {"/usr/bin/gcc": "", "/usr/lib/gcc/x86_64-linux-gnu/12/": "", "/usr/lib/gcc/x86_64-linux-gnu/13/": ""},
            Packages("", ()),
            None,
        ),
    ],
)
def test_gcc_that_is_a_file_of_its_own(files: Files, packages: Packages, major: int | None, tmp_path: Path) -> None:
    found = machine(tmp_path, files).with_known(packages).get(NvccHostCompiler)
    assert (found.major, found.family, found.path) == (major, "gcc", "/usr/bin/gcc")


def said_by(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout


@pytest.mark.skipif(not shutil.which("nvcc") or not shutil.which("gcc"), reason="no nvcc or no gcc on this machine")
def test_files_of_this_machine_tell_what_its_programs_say() -> None:
    recording = RecordingHost(LiveHost())
    facts = Facts(recording)
    found, compiler = facts.get(CudaToolkits), facts.get(NvccHostCompiler)
    assert found.on_path is not None
    assert found.on_path.path == shutil.which("nvcc")
    assert found.on_path.toolkit is not None
    release = said_by("nvcc", "--version").partition("release ")[2].partition(",")[0]
    assert found.on_path.toolkit.release == tuple(map(int, release.split(".")))
    if compiler.source == "PATH":
        assert compiler.path == shutil.which("gcc")
        assert str(compiler.major) == said_by("gcc", "-dumpversion").strip().partition(".")[0]
    replay = Facts(SnapshotHost(recording.answers))
    assert (replay.get(CudaToolkits), replay.get(NvccHostCompiler)) == (found, compiler)
