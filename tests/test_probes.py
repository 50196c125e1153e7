"""What all probes of the driver owe the doctor, whatever the libraries do: a pure answer, and an untouched machine."""

import ctypes.util
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from imaginary_machines import Environment, eight_gpus
from probe_children import ask, run_probe, run_python

pytest_plugins = ["native_libraries"]


@pytest.mark.parametrize(("probe", "entry"), [("nvml", "nvmlInit"), ("cuda", "cuInit")])
def test_junk_that_a_library_prints_stays_out_of_the_answer(environment: Environment, probe: str, entry: str) -> None:
    result = run_probe(probe, environment(eight_gpus(**{entry: "junk"})))
    assert json.loads(result.stdout)["return_code"] == 0
    assert result.stderr == "?" * (10 << 20)


@pytest.mark.parametrize(("probe", "entry"), [("nvml", "nvmlInit"), ("cuda", "cuInit")])
@pytest.mark.parametrize(
    ("death", "exit_code"), [("abort", -signal.SIGABRT), ("segfault", -signal.SIGSEGV), ("exit", 0)]
)
def test_library_that_ends_the_process(
    environment: Environment, probe: str, entry: str, death: str, exit_code: int
) -> None:
    result = run_probe(probe, environment(eight_gpus(**{entry: death})))
    assert (result.returncode, result.stdout) == (exit_code, "")


LIBRARIES = pytest.mark.parametrize(
    ("probe", "library", "code"), [("nvml", "libnvidia-ml.so.1", 12), ("cuda", "libcuda.so.1", None)]
)


@LIBRARIES
def test_no_library(probe: str, library: str, code: int | None) -> None:
    if ctypes.util.find_library(library.removeprefix("lib").removesuffix(".so.1")):
        pytest.skip(f"this machine has {library}")
    plain = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    answer = ask(probe, plain)
    assert answer["error"] == f"{library}: cannot open shared object file: No such file or directory"
    assert (answer["return_code"], answer["library_path"], answer["driver_version"]) == (code, None, None)


@LIBRARIES
def test_truncated_library(tmp_path: Path, probe: str, library: str, code: int | None) -> None:
    (tmp_path / library).write_bytes(b"\x7fELF")
    answer = ask(probe, {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert answer["error"] == f"{tmp_path}/{library}: file too short"
    assert (answer["return_code"], answer["library_path"]) == (code, None)


def test_unknown_probe() -> None:
    command = [sys.executable, "-m", "gpudoctor.probes", "telepathy"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == "no probe is called 'telepathy'; there are nvml, cuda, processes\n"


def test_missing_pynvml_is_told_in_a_line() -> None:
    result = run_python("import sys; sys.modules['pynvml'] = None; from gpudoctor.probes import main; main('nvml')")
    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr.startswith("the probe nvml cannot start: ")
    assert result.stderr.count("\n") == 1


def test_asking_leaves_the_driver_unloaded_and_makes_no_device_nodes(tmp_path: Path) -> None:
    if os.path.exists("/sys/module/nvidia"):
        pytest.skip("NVIDIA's kernel module is loaded on this machine")
    node = tmp_path / "node"
    try:
        os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(195, 255))
    except PermissionError:
        pytest.skip("only root can make device nodes")
    node.unlink()
    make_node = f"import os, stat; os.mknod({str(node)!r}, stat.S_IFCHR | 0o600, os.makedev(195, 255))"
    result = run_python(f"""
import subprocess, sys
from gpudoctor.probes.restraint import leave_driver_unloaded
leave_driver_unloaded()
print(subprocess.run([sys.executable, "-c", {make_node!r}], stderr=subprocess.DEVNULL).returncode)
try:
    exec({make_node!r})
except PermissionError:
    print("refused")
""")
    assert result.stdout == "1\nrefused\n"
    assert not node.exists()
