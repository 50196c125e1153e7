"""The device nodes: missing, leading nowhere, or closed to this user."""

import pytest
from gpu_machines import (
    DOCKER,
    NEW,
    SECOND,
    TWO,
    WSL,
    answer,
    cuda,
    evidence_of,
    finding,
    gpu,
    ids_for,
    loaded,
    node,
    nodes,
    nvml,
    status,
)

from gpudoctor import Severity
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.modprobe import ModprobeConfig, ModprobeLine
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Identity
from gpudoctor.findings import Status

MISSING, UVM, DENIED = "devices.nodes-missing", "devices.uvm-node-missing", "devices.permission-denied"
REFUSED = nvml(code=4, name="NVML_ERROR_NO_PERMISSION")


@pytest.mark.parametrize("check", [MISSING, UVM, DENIED])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check) is Status.OK


@pytest.mark.parametrize("check", [MISSING, UVM, DENIED])
def test_windows_has_no_such_nodes(check: str) -> None:
    assert status(check, WSL, nodes("none", wsl=True)) is Status.SKIPPED


@pytest.mark.parametrize("check", [MISSING, UVM, DENIED])
def test_needs_the_nodes(check: str) -> None:
    assert status(check, without=(DeviceNodes,)) is Status.UNKNOWN


# devices.nodes-missing


def test_no_nodes_at_all() -> None:
    found = finding(MISSING, nodes("none"), nvml(code=9, name="NVML_ERROR_DRIVER_NOT_LOADED"))
    assert found.summary == (
        f"Driver {NEW} is loaded, but not all of its device nodes are there: no /dev/nvidiactl and no /dev/nvidia0."
    )
    assert found.subject == "/dev/nvidiactl"
    assert "/dev: no nvidia nodes" in evidence_of(found)
    assert "nvidia-modprobe -c0 -u" in found.remedy


def test_a_node_for_each_gpu() -> None:
    found = finding(MISSING, TWO, nvml(answer()))
    assert found.summary.endswith("no /dev/nvidiaN for 1 of 2 GPUs.")
    given_away = PciGpus((gpu(), gpu(address=SECOND, driver="vfio-pci")))
    assert status(MISSING, given_away, nvml(code=999)) is Status.OK


def test_nodes_are_judged_by_files_when_nvml_hangs() -> None:
    assert status(MISSING, nodes("/dev/nvidiactl"), without=(Nvml,)) is Status.FOUND
    assert status(MISSING, without=(Nvml,)) is Status.OK


def test_nodes_that_came_into_being_when_nvml_asked() -> None:
    assert status(MISSING, nodes("none"), nvml(answer())) is Status.OK


def test_nodes_of_a_container() -> None:
    found = finding(MISSING, DOCKER, TWO, nodes("none"), nvml(code=9))
    assert found.remedy.startswith("On the host, start the container with its GPU")
    assert "--gpus all" in found.remedy
    assert "nvidia.com/gpu=all" in found.remedy
    # One GPU of two was given to it, which is as many as it is to have.
    assert status(MISSING, DOCKER, TWO, nodes("/dev/nvidiactl", "/dev/nvidia1"), nvml(code=999)) is Status.OK


def test_no_driver_no_nodes() -> None:
    assert status(MISSING, nodes("none"), loaded(""), without=(Nvml,)) is Status.OK


@pytest.mark.parametrize("fact", [LoadedDriver, PciGpus])
def test_nodes_missing_needs(fact: type) -> None:
    assert status(MISSING, without=(fact,)) is Status.UNKNOWN


# devices.uvm-node-missing

NO_UVM = nodes("/dev/nvidia0", "/dev/nvidiactl")
FAILS = cuda(999, "CUDA_ERROR_UNKNOWN")


def test_no_uvm_node() -> None:
    found = finding(UVM, NO_UVM, FAILS)
    assert found.summary == "The module nvidia_uvm is loaded, but /dev/nvidia-uvm, which CUDA needs, is missing."
    assert found.severity is Severity.ERROR
    told = evidence_of(found)
    assert "/dev: /dev/nvidia0, /dev/nvidiactl" in told
    assert "/proc/devices: 511 nvidia-uvm" in told
    assert "cuInit: 999 CUDA_ERROR_UNKNOWN" in told
    assert "nvidia-modprobe -c0 -u" in found.remedy


def test_uvm_node_with_an_old_number() -> None:
    found = finding(UVM, nodes(uvm_major=237), FAILS)
    assert found.summary == (
        "/dev/nvidia-uvm has major number 237, but the kernel gave 511 to nvidia-uvm: it leads nowhere."
    )
    assert found.remedy.startswith("`sudo rm /dev/nvidia-uvm`")


def test_uvm_node_while_cuda_does_not_answer() -> None:
    assert finding(UVM, NO_UVM, without=(Cuda,)).severity is Severity.WARNING


def test_uvm_node_that_is_not_missed() -> None:
    assert status(UVM, NO_UVM, cuda()) is Status.OK  # made when cuInit asked for it
    assert status(UVM, NO_UVM, FAILS, LoadedModules({"nvidia": ()})) is Status.OK  # kernel.uvm-not-loaded
    assert status(UVM, nodes(), FAILS) is Status.OK


def test_uvm_node_of_a_container() -> None:
    assert "--gpus all" in finding(UVM, DOCKER, NO_UVM, FAILS).remedy


def test_uvm_needs_the_modules() -> None:
    assert status(UVM, without=(LoadedModules,)) is Status.UNKNOWN


# devices.permission-denied

VIDEO = 44
CLOSED = nodes(mode=0o660, group=VIDEO)


def test_user_outside_the_group() -> None:
    options = ModprobeLine(
        "/etc/modprobe.d/nvidia-options.conf",
        "options",
        "nvidia_current",
        "NVreg_DeviceFileGID=44 NVreg_DeviceFileMode=0660",
    )
    driver = loaded(DeviceFileMode="432", DeviceFileUID="0", DeviceFileGID="44")
    found = finding(DENIED, CLOSED, driver, ModprobeConfig((options,), ""), REFUSED, cuda(100))
    assert found.summary == (
        "User 1000 may not use /dev/nvidia-uvm (and 2 more): it belongs to user 0, group 44, mode 0660."
    )
    told = evidence_of(found)
    assert "/proc/self/status: user 1000, groups 1000" in told
    assert "/proc/driver/nvidia/params: DeviceFileMode 0660, DeviceFileUID 0, DeviceFileGID 44" in told
    assert "/etc/modprobe.d/nvidia-options.conf: options nvidia_current NVreg_DeviceFileGID=44" in told
    assert "nvmlInit: 4 NVML_ERROR_NO_PERMISSION" in told
    assert 'usermod -aG "$(getent group 44' in found.remedy
    assert "log out" in found.remedy


@pytest.mark.parametrize(
    ("who", "mode", "group", "wanted"),
    [
        (Identity(1000, (44, 1000)), 0o660, 44, Status.OK),
        (Identity(0, (0,)), 0o000, 44, Status.OK),  # modes do not bind root
        (Identity(1000, (1000,)), 0o666, 0, Status.OK),
        (Identity(1000, (1000,)), 0o664, 44, Status.FOUND),  # reading alone is not enough
        (Identity(1000, (44, 1000)), 0o606, 44, Status.FOUND),  # what is for others is not for the group
        (Identity(1000, (44, 1000)), 0o640, 44, Status.FOUND),
    ],
)
def test_who_may_open_the_nodes(who: Identity, mode: int, group: int, wanted: Status) -> None:
    assert status(DENIED, who, nodes(mode=mode, group=group), without=(Nvml, Cuda, ModprobeConfig)) is wanted


def test_nobody_is_told_to_join_the_group_of_root_or_to_chmod() -> None:
    remedy = finding(DENIED, nodes(mode=0o660, group=0), REFUSED, cuda(100)).remedy
    assert "usermod" not in remedy
    assert "chmod" not in remedy
    assert "NVreg_DeviceFileGID" in remedy


def test_access_list_that_allows_what_the_mode_forbids() -> None:
    assert status(DENIED, CLOSED, nvml(answer()), cuda()) is Status.OK


def test_only_the_uvm_node_is_closed() -> None:
    mixed = nodes()._replace(
        nodes=(*nodes("/dev/nvidia0", "/dev/nvidiactl").nodes, node("/dev/nvidia-uvm", 0o660, 44, 511))
    )
    assert finding(DENIED, mixed, nvml(answer()), cuda(999)).subject == "/dev/nvidia-uvm"
    assert status(DENIED, mixed, nvml(answer()), cuda()) is Status.OK


def test_some_gpus_belong_to_others() -> None:
    own = nodes("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm").nodes
    shared = DeviceNodes((*own, node("/dev/nvidia1", 0o660, 44)), {"nvidia-uvm": 511}, False)
    assert finding(DENIED, shared, TWO, nvml(answer())).subject == "/dev/nvidia1"


def test_refused_though_the_modes_allow_it() -> None:
    found = finding(DENIED, REFUSED, cuda(100))
    assert "though the modes of /dev/nvidia* allow it" in found.summary
    assert "ausearch -m avc" in found.remedy
    assert status(DENIED, REFUSED, Identity(0, (0,))) is Status.FOUND


def test_permission_in_a_container() -> None:
    remedy = finding(DENIED, DOCKER, CLOSED, REFUSED, cuda(100)).remedy
    assert remedy.startswith("On the host")
    assert "--group-add 44" in remedy


def test_permission_needs_to_know_the_user() -> None:
    assert status(DENIED, without=(Identity,)) is Status.UNKNOWN


# symptoms


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("Failed to initialize NVML: Insufficient Permissions", DENIED),
        ("NVIDIA: could not open the device file /dev/nvidiactl (Permission denied).", DENIED),
        ("NVIDIA: could not open the device file /dev/nvidia0 (Operation not permitted).", DENIED),
        ('failed to stat CDI host device "/dev/nvidia-uvm": no such file or directory', UVM),
        (
            'error gathering device information while adding custom device "/dev/nvidia-uvm-tools": no such file or '
            "directory",
            UVM,
        ),
        ('failed to stat CDI host device "/dev/nvidia0": no such file or directory', MISSING),
        ("lstat /dev/nvidiactl: no such file or directory", MISSING),
    ],
)
def test_message_belongs_to_one_check(message: str, check: str) -> None:
    assert ids_for(message) == [check]
