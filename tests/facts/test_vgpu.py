"""What the license service of a vGPU goes by and says, and what the manager on its host says of guests."""

import json
from pathlib import Path

import pytest
from disk_trees import disk

from gpudoctor import Unavailable
from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.nvidia_smi import read_nvidia_smi
from gpudoctor.facts.vgpu import LICENSE_LOG, MANAGER_LOG, VgpuGuests, VgpuLicensing
from gpudoctor.host import Completed
from gpudoctor.redaction.redact import redacted
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost
from gpudoctor.testing import MachineTree

load_plugins()
VGPU = NvmlGpu(0, 0, "", "GRID A100-10C", "", "0000:02:00.0", None, None, None, {}, {"virtualization_mode": "vgpu"})
NVML = Nvml(0, "NVML_SUCCESS", "", "", "", "535.161.08", 12020, (VGPU,))
# The template that the guest driver brings, filled in.
GRIDD = """# /etc/nvidia/gridd.conf.template - Configuration file for NVIDIA Grid Daemon

# Description: Set License Server Address
# Data type: string
# Format:  "<address>"
ServerAddress=license.example.com

#ServerPort=7070

# Data type: integer
# Possible values:
# 0 => for unlicensed state
# 1 => for NVIDIA vGPU
# 2 => for NVIDIA RTX Virtual Workstation
# 4 => for NVIDIA Virtual Compute Server
FeatureType=4
"""
SAID = (
    "Started (2471)\nvGPU Software package (0)\nIgnore service provider and node-locked licensing\nNLS initialized\n"
    "Valid GRID license not found. GPU features and performance are restricted. To enable full functionality please "
    "configure licensing details.\n"
    "Acquiring license. (Info: license.example.com; NVIDIA Virtual Compute Server)\n"
    "Failed to acquire license from 10.20.30.40 (Info: NVIDIA Virtual Compute Server - Error: Could not connect)\n"
)


def machine(folder: Path, **commands: str) -> MachineTree:
    disk(folder, {"/etc/nvidia/gridd.conf": GRIDD, "/etc/nvidia/ClientConfigToken/": ""})
    printed = {
        LICENSE_LOG: commands.get("said", ""),
        ("systemctl", "is-active", "nvidia-gridd"): commands.get("unit", ""),
    }
    return MachineTree(str(folder), commands={argv: Completed(argv, 0, text, "") for argv, text in printed.items()})


def test_how_a_license_is_asked_for(tmp_path: Path) -> None:
    found = Facts(machine(tmp_path, said=SAID, unit="active\n"), {Nvml: NVML}).get(VgpuLicensing)
    assert found[:5] == (True, "4", True, (), "active")
    assert found.said[-1] == (
        "Failed to acquire license from SERVER (Info: NVIDIA Virtual Compute Server - Error: Could not connect)"
    )
    assert len(found.said) == 4


def test_a_snapshot_tells_the_same_and_names_no_server(tmp_path: Path) -> None:
    host = machine(tmp_path, said=SAID, unit="active\n")
    disk(tmp_path, {"/etc/nvidia/ClientConfigToken/client_configuration_token_site-7.tok": "secret"})
    recorder = RecordingHost(host)
    found = Facts(recorder, {Nvml: NVML}).get(VgpuLicensing)
    kept = redacted(recorder.answers)
    text = json.dumps(kept)
    assert not [word for word in ("example.com", "10.20.30.40", "site-7", "secret") if word in text]
    again = Facts(SnapshotHost(kept), {Nvml: NVML}).get(VgpuLicensing)
    assert again._replace(tokens=()) == found._replace(tokens=())
    assert len(again.tokens or ()) == len(found.tokens or ()) == 1


def test_nothing_is_read_where_there_is_no_vgpu() -> None:
    whole = NVML._replace(gpus=(VGPU._replace(values={"virtualization_mode": "none"}),))
    nothing = VgpuLicensing(False, "", False, (), "", ())
    assert Facts(SnapshotHost({}), {Nvml: whole}).get(VgpuLicensing) == nothing
    assert Facts(SnapshotHost({}), {Nvml: Unavailable("hangs")}).get(VgpuLicensing) == nothing


STAMP = "2026-07-19T10:11:58+0000 host1 nvidia-vgpu-mgr[4236]:"
GUESTS = (
    f"{STAMP} notice: vmiop_log: ######## Guest NVIDIA Driver Information: ########\n"
    f"{STAMP} notice: vmiop_log: Driver Version: 582.42\n"
    f"{STAMP} error: vmiop_log: (0x0): Incompatible Guest/Host drivers: Guest VGX version is newer than the maximum "
    "version supported by the Host. Disabling vGPU.\n"
)


def test_what_the_manager_says_of_guests() -> None:
    modules = LoadedModules({"nvidia_vgpu_vfio": (), "nvidia": ("nvidia_vgpu_vfio",)})
    answer = {"exit_code": 0, "stdout": GUESTS, "stderr": ""}
    host = SnapshotHost({" ".join(("run", *MANAGER_LOG)): answer})
    [refusal] = Facts(host, {LoadedModules: modules}).get(VgpuGuests).refusals
    assert refusal.endswith("Disabling vGPU.")
    kept = redacted({" ".join(("run", *MANAGER_LOG)): answer})
    assert "582.42" not in json.dumps(kept)
    assert Facts(SnapshotHost(kept), {LoadedModules: modules}).get(VgpuGuests).refusals == (refusal,)


def test_a_machine_without_the_manager_is_not_asked() -> None:
    facts = Facts(SnapshotHost({}), {LoadedModules: LoadedModules({"nvidia": ()})})
    assert facts.get(VgpuGuests) == VgpuGuests(())


def test_a_managers_log_that_cannot_be_had() -> None:
    facts = Facts(SnapshotHost({}), {LoadedModules: LoadedModules({"nvidia_vgpu_vfio": ()})})
    with pytest.raises(Unavailable):
        facts.get(VgpuGuests)


QUERY = """
==============NVSMI LOG==============

Timestamp                                 : Wed Dec  6 07:40:11 2023
Driver Version                            : 525.105.17
CUDA Version                              : 12.0

Attached GPUs                             : 1
GPU 00000000:02:00.0
    Product Name                          : GRID A100-10C
    Product Brand                         : NVIDIA Virtual Compute Server
    vGPU Software Licensed Product
        Product Name                      : NVIDIA Virtual Compute Server
        License Status                    : Unlicensed (Restricted)
    GPU Virtualization Mode
        Virtualization Mode               : VGPU
        Host VGPU Mode                    : N/A
"""
XML = """<?xml version="1.0" ?>
<nvidia_smi_log>
	<driver_version>580.105.08</driver_version>
	<attached_gpus>1</attached_gpus>
	<gpu id="00000000:00:07.0">
		<product_name>NVIDIA L40S-2Q</product_name>
		<gpu_virtualization_mode>
			<virtualization_mode>VGPU</virtualization_mode>
		</gpu_virtualization_mode>
		<vgpu_software_licensed_product>
			<licensed_product_name>NVIDIA RTX Virtual Workstation</licensed_product_name>
			<license_status>Licensed (Expiry: 2026-7-7 16:1:44 GMT)</license_status>
		</vgpu_software_licensed_product>
	</gpu>
</nvidia_smi_log>
"""


@pytest.mark.parametrize(
    ("text", "state"), [(QUERY, "unlicensed (restricted)"), (XML, "licensed (expiry: 2026-7-7 16:1:44 gmt)")]
)
def test_nvidia_smi_tells_it_too(text: str, state: str) -> None:
    [gpu] = read_nvidia_smi(text, 0).gpus
    assert (gpu.values["virtualization_mode"], gpu.values["license_state"]) == ("vgpu", state)
