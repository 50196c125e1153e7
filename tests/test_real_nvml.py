"""The probes against NVIDIA's own libraries, from Debian's non-free archive: what they say on a sick machine."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from live_machines import UPGRADED, DriverOnly, debian
from probe_children import ask

from gpudoctor.cli.check import diagnose_with
from gpudoctor.findings import Severity
from gpudoctor.registry import Facts

if TYPE_CHECKING:
    from native_libraries import NativeLibraries

pytest_plugins = ["native_libraries"]
pytestmark = pytest.mark.slow


def debian_release() -> str:
    """The code name of this machine's Debian, which its package sources are written in terms of."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    facts = dict(line.split("=", 1) for line in lines if "=" in line)
    release = facts.get("VERSION_CODENAME", "").strip('"')
    if facts.get("ID") != "debian" or not release or shutil.which("apt-get") is None:
        pytest.skip("needs Debian, with apt")
    return release


def configured_sources() -> Iterator[tuple[str, str, str]]:
    """Options ("[signed-by=...]" or ""), address and suite of each package source of this machine, in both formats."""
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if path.suffix == ".list":
            for line in text.splitlines():
                if line.startswith("deb "):
                    options, _, rest = line[4:].lstrip().rpartition("] ")
                    address, suite = rest.split()[:2]
                    yield f"{options}]" if options else "", address, suite
        elif path.suffix == ".sources":
            for stanza in text.split("\n\n"):
                fields = dict(
                    line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] not in "# "
                )
                keys = fields.get("Signed-By", "").strip()
                for address in fields.get("URIs", "").split():
                    for suite in fields.get("Suites", "").split():
                        yield f"[signed-by={keys}]" if keys else "", address, suite


@pytest.fixture(scope="module")
def nvidia_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the real libnvidia-ml.so.1 and libcuda.so.1, unpacked; nothing of this machine's apt is touched."""
    if Path("/sys/module/nvidia").exists():
        pytest.skip("this machine has a driver")
    release = debian_release()
    home = tmp_path_factory.mktemp("apt")
    for folder in ("lists/partial", "cache/archives/partial"):
        (home / folder).mkdir(parents=True)
    # Suites of this release alone: for others nobody knows whether they have the component.
    sources = [source for source in configured_sources() if source[2].split("-")[0] == release]
    lines = [" ".join(("deb", *filter(None, source), "non-free")) for source in sources]
    (home / "sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    # How this machine reaches its mirror (proxies and the like) stays; its hooks do not run.
    acquire = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
    own = {
        "Dir::State::lists": home / "lists",
        "Dir::Cache": home / "cache",
        "Dir::Etc::sourcelist": home / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::main": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    settings = acquire + "".join(f'{name} "{value}";\n' for name, value in own.items())
    (home / "apt.conf").write_text(settings, encoding="utf-8")
    for command in (["apt-get", "update"], ["apt-get", "download", "libnvidia-ml1", "libcuda1"]):
        result = subprocess.run(
            command, cwd=home, env={**os.environ, "APT_CONFIG": str(home / "apt.conf")}, capture_output=True, text=True
        )
        if result.returncode != 0:
            pytest.skip(f"{' '.join(command)}: {result.stderr.strip()}")
    for package in home.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, home / "root"], check=True)
    [library] = home.glob("root/**/libnvidia-ml.so.1")
    return library.parent


def beside(libraries: Path, **variables: str) -> dict[str, str]:
    """The variables for a child that loads these libraries."""
    return {**os.environ, "LD_LIBRARY_PATH": str(libraries), **variables}


def version_of(library: str, folder: Path) -> str:
    """The driver release in the name of the library's file: libcuda.so.535.261.03."""
    [path] = folder.glob(f"{library}.*.*")
    return path.name.removeprefix(f"{library}.")


def test_nvml_without_a_driver(nvidia_libraries: Path) -> None:
    nodes = sorted(Path("/dev").glob("nvidia*"))
    answer = ask("nvml", beside(nvidia_libraries))
    version = version_of("libnvidia-ml.so", nvidia_libraries)
    assert answer == {
        "return_code": 9,
        "return_name": "NVML_ERROR_DRIVER_NOT_LOADED",
        "message": "Driver Not Loaded",
        "error": None,
        "library_path": f"{nvidia_libraries}/libnvidia-ml.so.{version}",
        "nvml_version": answer["nvml_version"],
        "driver_version": None,
        "cuda_driver_version": None,
        "field_errors": {},
        "gpus": [],
    }
    assert answer["nvml_version"].endswith(f".{version}")
    assert sorted(Path("/dev").glob("nvidia*")) == nodes  # root's libnvidia-ml would have made /dev/nvidiactl


def test_nvml_of_another_version_than_the_module(nvidia_libraries: Path, native_libraries: "NativeLibraries") -> None:
    preload = str(native_libraries.fake_control_device)
    answer = ask("nvml", beside(nvidia_libraries, LD_PRELOAD=preload, FAKE_KMOD="525.147.05"))
    assert answer["return_code"] == 18
    assert answer["return_name"] == "NVML_ERROR_LIB_RM_VERSION_MISMATCH"
    assert answer["message"] == "Driver/library version mismatch"
    assert (answer["driver_version"], answer["gpus"]) == (None, [])


def test_the_genuine_mismatch_is_diagnosed_as_a_pending_reload(
    nvidia_libraries: Path, native_libraries: "NativeLibraries", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real library against another module: one finding, and the remedy is to reload or reboot, not to reinstall."""
    installed, loaded = version_of("libnvidia-ml.so", nvidia_libraries), "525.147.05"
    preload = str(native_libraries.fake_control_device)
    for name, value in beside(nvidia_libraries, LD_PRELOAD=preload, FAKE_KMOD=loaded).items():
        monkeypatch.setenv(name, value)
    tree = debian(
        tmp_path,
        loaded=loaded,
        on_disk=installed,
        user_space=installed,
        packaged=installed,
        built_at=UPGRADED,
        probes=DriverOnly(),
    )
    report = diagnose_with(Facts(tree))
    red = [ranked for ranked in report.findings if ranked.severity is Severity.ERROR]
    assert [ranked.check.id for ranked in red] == ["driver.library-mismatch"]
    assert "driver.nvml-failed" in red[0].explains
    assert loaded in red[0].finding.summary
    assert "reboot" in red[0].finding.remedy.lower()
    assert "reload" in red[0].finding.remedy.lower()
    assert any("18" in evidence.value for evidence in red[0].finding.evidence)


def test_nvml_of_the_version_of_the_module_gets_past_the_check(
    nvidia_libraries: Path, native_libraries: "NativeLibraries"
) -> None:
    preload = str(native_libraries.fake_control_device)
    version = version_of("libnvidia-ml.so", nvidia_libraries)
    answer = ask("nvml", beside(nvidia_libraries, LD_PRELOAD=preload, FAKE_KMOD=version))
    assert answer["return_code"] == 9  # no further question to the module is answered


def test_cuda_without_a_driver(nvidia_libraries: Path) -> None:
    nodes = sorted(Path("/dev").glob("nvidia*"))
    answer = ask("cuda", beside(nvidia_libraries))
    version = version_of("libcuda.so", nvidia_libraries)
    assert answer["library_path"] == f"{nvidia_libraries}/libcuda.so.{version}"
    assert (answer["return_code"], answer["return_name"]) == (100, "CUDA_ERROR_NO_DEVICE")
    assert answer["message"] == "no CUDA-capable device is detected"
    assert answer["driver_version"] >= 11000  # what the library supports, told without a driver
    assert (answer["device_count"], answer["devices"]) == (None, [])
    assert sorted(Path("/dev").glob("nvidia*")) == nodes
