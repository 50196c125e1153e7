"""GPUs on the bus, the loaded driver, its libraries and device nodes: read from files as real machines have them."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.ld_cache import paths_of
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.host import NotRunning, Unavailable
from gpudoctor.machine import LiveHost, RootHost
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import Json, SnapshotHost

load_plugins()


def _facts(answers: dict[str, Json]) -> Facts:
    return Facts(SnapshotHost(answers))


def _device(
    address: str, uevent: str, *, config: str = "3hA1Iw==", resource: str = "", status: str = "active"
) -> dict[str, Json]:
    folder = f"/sys/bus/pci/devices/{address}"
    return {
        f"read {folder}/uevent": uevent,
        f"read {folder}/power/runtime_status": f"{status}\n",
        f"bytes {folder}/config 4": config,
        f"read {folder}/resource": resource,
    }


UNASSIGNED = "0xc0000000 0xc0ffffff 0x40200\n0x0 0x3fffffff 0x2014220c\n0x0 0x0 0x0\n"
H200 = "DRIVER=nvidia\nPCI_CLASS=30200\nPCI_ID=10DE:2335\nPCI_SUBSYS_ID=10DE:18BE\nPCI_SLOT_NAME=0000:19:00.0\n"
RESOURCES = "0x0 0x0 0x0\n0x00002a0000000000 0x00002a3fffffffff 0x000000000014220c\n"


def test_gpus_on_the_bus() -> None:
    answers: dict[str, Json] = {
        "list /sys/bus/pci/devices": [
            *("0000:00:1f.3", "0000:0c:00.0", "0000:19:00.0", "0000:19:00.1", "0000:1a:00.0", "0000:8b:00.0")
        ],
        **_device("0000:00:1f.3", "PCI_CLASS=40300\nPCI_ID=8086:A348\n"),
        **_device("0000:0c:00.0", "DRIVER=amdgpu\nPCI_CLASS=120000\nPCI_ID=1002:74A1\n"),
        **_device("0000:19:00.0", H200, resource=RESOURCES),
        **_device("0000:19:00.1", "DRIVER=snd_hda_intel\nPCI_CLASS=40300\nPCI_ID=10DE:10F0\n"),
        **_device("0000:1a:00.0", "PCI_CLASS=30000\nPCI_ID=10DE:FFFE\n", config="/////w==", resource=UNASSIGNED),
        **_device("0000:8b:00.0", "PCI_CLASS=68000\nPCI_ID=10DE:22A3\n"),
    }
    found = _facts(answers).get(PciGpus)
    assert (found.nvswitches, found.of_amd) == (1, ("0000:0c:00.0",))
    h200, unknown = found.gpus
    assert (h200.name, h200.architecture, h200.module, h200.driver) == ("NVIDIA H200", "Hopper", "either", "nvidia")
    assert h200.regions == ((0x2A0000000000, 0x4000000000),)
    assert h200.readable
    assert h200.unassigned == ()
    assert (unknown.label, unknown.driver, unknown.readable) == ("NVIDIA device fffe", "", False)
    assert (unknown.regions, unknown.unassigned) == (((0xC0000000, 0x1000000),), (1,))


def test_what_is_made_of_a_gpu_for_virtual_machines_is_no_gpu_of_this_one() -> None:
    answers: dict[str, Json] = {
        "list /sys/bus/pci/devices": ["0000:19:00.0", "0000:19:00.4"],
        **_device("0000:19:00.0", H200, resource=RESOURCES),
        **_device("0000:19:00.4", H200, resource=RESOURCES),
        "link /sys/bus/pci/devices/0000:19:00.4/physfn": "../0000:19:00.0",
    }
    assert [gpu.address for gpu in _facts(answers).get(PciGpus).gpus] == ["0000:19:00.0"]


def test_a_sleeping_gpu_is_not_woken_up() -> None:
    answers: dict[str, Json] = {
        "list /sys/bus/pci/devices": ["0000:01:00.0"],
        **_device("0000:01:00.0", H200, status="suspended"),
    }
    del answers["bytes /sys/bus/pci/devices/0000:01:00.0/config 4"]  # asking for it would be Unavailable
    assert _facts(answers).get(PciGpus).gpus[0].readable


def test_no_bus_means_no_gpu_and_a_disk_cannot_tell(tmp_path: Path) -> None:
    assert _facts({"list /sys/bus/pci/devices": None}).get(PciGpus) == PciGpus(())
    (tmp_path / "etc").mkdir()
    with pytest.raises(NotRunning):
        Facts(RootHost(str(tmp_path))).get(PciGpus)


OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\nGCC version: 13\n"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  Mon Jun 23 16:07:21 UTC 2025\n"


@pytest.mark.parametrize(
    ("proc", "sysfs", "version", "flavour"),
    [
        (OPEN, "580.95.05\n", "580.95.05", "open"),
        (CLOSED, "535.261.03\n", "535.261.03", "proprietary"),
        (None, "535.261.03\n", "535.261.03", ""),
        (None, None, "", ""),
        ("\x00\xff garbage", None, "", ""),
    ],
)
def test_the_loaded_driver(proc: str | None, sysfs: str | None, version: str, flavour: str) -> None:
    driver = _facts(
        {
            "read /proc/driver/nvidia/version": proc,
            "read /sys/module/nvidia/version": sysfs,
            "read /proc/driver/nvidia/params": "DeviceFileMode: 432\nModifyDeviceFiles: 1\njunk\n",
        }
    ).get(LoadedDriver)
    assert (driver.version, driver.flavour, driver.loaded) == (version, flavour, bool(version))
    assert driver.parameters == ({"DeviceFileMode": "432", "ModifyDeviceFiles": "1"} if version else {})


def test_loaded_modules() -> None:
    text = "nvidia_uvm 1789952 0 - Live 0x0 (POE)\nnvidia 56807424 12 nvidia_uvm,nvidia_modeset, Live 0x0 (POE)\ncut\n"
    modules = _facts({"read /proc/modules": text}).get(LoadedModules)
    assert modules.users == {"nvidia_uvm": (), "nvidia": ("nvidia_uvm", "nvidia_modeset")}


def _cache(entries: list[tuple[int, str, str]]) -> bytes:
    """A loader cache as ldconfig writes it: header, entries, strings."""
    strings, table = b"", b""
    start = 48 + 24 * len(entries)
    for flags, soname, path in entries:
        key = start + len(strings)
        strings += soname.encode() + b"\0"
        value = start + len(strings)
        strings += path.encode() + b"\0"
        table += struct.pack("=iIIIQ", flags, key, value, 0, 0)
    return b"glibc-ld.so.cache1.1" + struct.pack("=II5I", len(entries), len(strings), 0, 0, 0, 0, 0) + table + strings


def test_the_loader_cache_in_its_own_order_without_32_bit_libraries() -> None:
    cache = _cache(
        [
            (0x0003, "libcuda.so.1", "/usr/lib32/libcuda.so.1"),
            (0x0303, "libcuda.so.1", "/usr/local/lib/libcuda.so.1"),
            (0x0303, "libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1"),
            (0x0303, "libm.so.6", "/lib/x86_64-linux-gnu/libm.so.6"),
        ]
    )
    wanted = ("libcuda.so.1", "libnvidia-ml.so.1")
    assert paths_of(cache, wanted) == {
        "libcuda.so.1": ("/usr/local/lib/libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1")
    }
    for length in range(0, len(cache), 7):
        paths_of(cache[:length], wanted)  # a damaged cache has less to tell, and never raises
    assert paths_of(b"\xff" * 5000 + b"libcuda.so.1\0", wanted) == {}


@pytest.mark.skipif(
    not shutil.which("ldconfig") or not os.path.exists("/etc/ld.so.cache"), reason="no loader cache here"
)
def test_this_machines_own_cache_agrees_with_ldconfig() -> None:
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    said = [line.split() for line in listed.splitlines() if line.strip().startswith("libc.so.6 ") and "64" in line]
    found = paths_of(Path("/etc/ld.so.cache").read_bytes(), ("libc.so.6",))
    assert found["libc.so.6"] == tuple(words[-1] for words in said)


def _install(root: Path, folder: str, version: str) -> None:
    real = root / folder.lstrip("/")
    real.mkdir(parents=True, exist_ok=True)
    (real / f"libcuda.so.{version}").write_text("")
    (real / "libcuda.so.1").symlink_to(f"libcuda.so.{version}")


def test_libraries_from_the_cache_and_from_standard_folders(tmp_path: Path) -> None:
    _install(tmp_path, "/usr/lib/x86_64-linux-gnu", "535.309.01")
    (tmp_path / "etc").mkdir()
    library = Facts(RootHost(str(tmp_path))).get(DriverLibraries).get("libcuda.so.1")
    assert library is not None
    assert (library.version, library.source) == ("535.309.01", "/usr/lib/x86_64-linux-gnu")
    assert library.real_path == "/usr/lib/x86_64-linux-gnu/libcuda.so.535.309.01"

    _install(tmp_path, "/opt/driver", "470.256.02")
    cache = _cache(
        [(0x0303, "libcuda.so.1", "/opt/driver/libcuda.so.1"), (0x0303, "libcuda.so.1", "/gone/libcuda.so.1")]
    )
    (tmp_path / "etc/ld.so.cache").write_bytes(cache)
    libraries = Facts(RootHost(str(tmp_path))).get(DriverLibraries)
    assert [library.version for library in libraries.libraries] == ["470.256.02"]
    assert libraries.version == "470.256.02"


def test_a_mounted_driver_is_found_though_no_cache_knows_it(tmp_path: Path) -> None:
    _install(tmp_path, "/usr/local/nvidia/lib64", "570.124.06")
    assert Facts(RootHost(str(tmp_path))).get(DriverLibraries).version == "570.124.06"


def test_device_nodes() -> None:
    answers: dict[str, Json] = {
        "list /dev": ["null", "nvidia-caps", "nvidia-uvm", "nvidia0", "nvidiactl"],
        "status /dev/nvidia-caps": ["directory", 0o755, 0, 0, 0, 1.0, [0, 0]],
        "status /dev/nvidia-uvm": ["character", 0o666, 0, 0, 0, 1.0, [511, 0]],
        "status /dev/nvidia0": ["character", 0o660, 0, 44, 0, 1.0, [195, 0]],
        "status /dev/nvidiactl": ["character", 0o666, 0, 0, 0, 1.0, [195, 255]],
        "read /proc/devices": "Character devices:\n  1 mem\n195 nvidia\n511 nvidia-uvm\n\nBlock devices:\n  8 sd\n",
    }
    nodes = _facts(answers).get(DeviceNodes)
    assert [node.path for node in nodes.nodes] == ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"]
    gpu = nodes.get("/dev/nvidia0")
    assert gpu is not None
    assert (gpu.mode, gpu.group, gpu.device) == (0o660, 44, (195, 0))
    assert nodes.majors == {"nvidia": 195, "nvidia-uvm": 511}


def _asked(probes: dict[str, Json]) -> Facts:
    unasked: Json = {"failure": "not asked in this test"}
    return _facts(
        {
            "read /proc/driver/nvidia/version": CLOSED,
            "read /proc/driver/nvidia/params": None,
            "read /proc/modules": "nvidia 1 0 - Live 0x0\n",
            "list /dev": [],
            "read /proc/devices": "",
            "read /proc/sys/kernel/osrelease": "6.1.0",
            "read /run/.containerenv": None,
            "read /run/systemd/container": None,
            "read /proc/self/cgroup": "0::/\n",
            "status /var/run/secrets/kubernetes.io": None,
            "status /.dockerenv": None,
            **{f"probe {name}": probes.get(name, unasked) for name in ("nvml", "cuda", "processes")},
        }
    )


def test_answers_become_facts_and_failures_reasons() -> None:
    facts = _asked(
        {
            "nvml": {"answer": {"return_code": 18, "return_name": "NVML_ERROR_LIB_RM_VERSION_MISMATCH", "gpus": []}},
            "cuda": {"failure": "no answer in 10 s"},
            "processes": {
                "answer": {
                    "holders": [{"pid": 7, "user_id": 1000, "command": "python3", "devices": ["/dev/nvidia0"]}],
                    "deleted_libraries": [],
                    "unreadable": 3,
                }
            },
        }
    )
    assert facts.get(Nvml).return_code == 18
    with pytest.raises(Unavailable, match="libcuda: no answer in 10 s"):
        facts.get(Cuda)
    users = facts.get(DeviceUsers)
    assert (users.holders[0].process_id, users.holders[0].command, users.unreadable) == (7, "python3", 3)


@pytest.mark.parametrize(
    "junk", [{}, {"gpus": 3}, {"gpus": [{"index": "x", "compute_capability": [1]}, None]}, {"return_code": "?"}]
)
def test_a_strange_answer_is_none(junk: dict[str, Json]) -> None:
    with pytest.raises(Unavailable, match="NVML: no usable answer"):
        _asked({"nvml": {"answer": junk}}).get(Nvml)


def test_without_a_driver_nobody_is_asked(tmp_path: Path) -> None:
    if os.path.exists("/proc/driver/nvidia/version") or os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg"):
        pytest.skip("this machine has a driver")
    with pytest.raises(NotRunning, match="not asked"):
        Facts(LiveHost()).get(Nvml)
