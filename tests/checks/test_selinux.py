"""SELinux keeps programs from the GPU's device nodes."""

import re

import pytest
from gpu_machines import (
    DOCKER,
    WSL,
    answer,
    cuda,
    evidence_of,
    explained,
    finding,
    loaded,
    nodes,
    nvml,
    outcome,
    status,
)

from gpudoctor import Severity
from gpudoctor.facts.selinux import Selinux, denials_in
from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Status
from gpudoctor.registry import load_plugins, registry

ID = "devices.selinux-denied"
AVC = (
    'type=AVC msg=audit(1684465329.146:352): avc:  denied  { read write } for  pid=11032 comm="python" '
    'path="/dev/nvidia0" dev="devtmpfs" ino=892 scontext=system_u:system_r:container_t:s0:c380,c597 '
    "tcontext=system_u:object_r:xserver_misc_device_t:s0 tclass=chr_file permissive=0"
)
UNLABELLED = AVC.replace("xserver_misc_device_t", "device_t").replace('path="/dev/nvidia0"', 'name="nvidia-uvm"')
SERVICE = AVC.replace("container_t", "httpd_t")
OFF = {"container_use_xserver_devices": False, "container_use_devices": False}
PODMAN = Confinement("podman", False)
REFUSED = nvml(code=4, name="NVML_ERROR_NO_PERMISSION")
FAILS = (REFUSED, cuda(100, "CUDA_ERROR_NO_DEVICE"))


def selinux(*lines: str, mode: str = "enforcing", booleans: dict[str, bool] = OFF, unread: str = "") -> Selinux:
    return Selinux(mode, "unconfined_t", booleans, tuple(denials_in(lines, "/var/log/audit/audit.log")), unread)


def test_enforcing_and_nothing_denied() -> None:
    assert status(ID, selinux()) is Status.OK


@pytest.mark.parametrize("mode", ["permissive", ""])
def test_nothing_is_denied_where_it_does_not_enforce(mode: str) -> None:
    assert status(ID, selinux(AVC, mode=mode)) is Status.SKIPPED


def test_wsl_has_no_nodes() -> None:
    assert status(ID, WSL, selinux()) is Status.SKIPPED


def test_without_a_driver_there_is_nothing_to_deny() -> None:
    assert status(ID, loaded(""), nodes("none"), selinux(unread="closed"), *FAILS) is Status.OK


def test_a_container_is_kept_out() -> None:
    found = finding(ID, selinux(AVC, AVC))
    assert found.summary == "SELinux keeps containers (container_t) from /dev/nvidia0: read, write denied."
    assert found.severity is Severity.WARNING  # the machine itself reaches its GPU
    told = evidence_of(found)
    assert "(such lines: 2)" in told
    assert "/sys/fs/selinux/booleans/container_use_xserver_devices: off" in told
    assert "--security-opt label=disable" in found.remedy
    assert "setsebool -P container_use_xserver_devices on" in found.remedy
    assert "setenforce" not in found.remedy


def test_an_older_policy_has_the_wider_boolean() -> None:
    assert (
        "setsebool -P container_use_devices on"
        in finding(ID, selinux(AVC, booleans={"container_use_devices": False})).remedy
    )
    assert "setsebool" not in finding(ID, selinux(AVC, booleans={})).remedy


def test_a_boolean_that_was_switched_on() -> None:
    told = outcome(ID, selinux(AVC, booleans={**OFF, "container_use_devices": True}))
    assert told.status is Status.UNKNOWN
    assert not told.matters
    assert "before container_use_devices was switched on" in told.reason


def test_nodes_without_their_label() -> None:
    found = finding(ID, selinux(UNLABELLED), *FAILS)
    assert found.subject == "/dev/nvidia-uvm"
    assert found.severity is None
    assert "restorecon -v /dev/nvidia*" in found.remedy


def test_a_service_is_kept_out() -> None:
    found = finding(ID, selinux(SERVICE))
    assert "SELinux keeps python (httpd_t)" in found.summary
    assert "audit2allow" in found.remedy


def test_logs_that_cannot_be_read_matter_only_where_the_gpu_does_not_answer() -> None:
    closed = selinux(unread="/var/log/audit/audit.log: Permission denied")
    assert status(ID, closed) is Status.OK
    told = outcome(ID, closed, *FAILS)
    assert (told.status, told.matters) == (Status.UNKNOWN, False)


def test_machines_that_were_recorded_before() -> None:
    assert status(ID, without=(Selinux,)) is Status.OK
    told = outcome(ID, *FAILS, without=(Selinux,))
    assert (told.status, told.matters) == (Status.UNKNOWN, False)
    assert status(ID, not_running=(Selinux,)) is Status.UNKNOWN


def inside(label: str = "container_t") -> Selinux:
    return Selinux("", label, {}, (), "")


def test_from_inside_a_container() -> None:
    found = finding(ID, PODMAN, inside(), *FAILS)
    assert found.summary.startswith("SELinux keeps this podman container from the GPU")
    assert "/proc/self/attr/current: container_t" in evidence_of(found)
    assert found.remedy.startswith("On the host: start the container with `--security-opt label=disable`")


def test_containers_that_are_not_kept_out() -> None:
    assert status(ID, PODMAN, inside("spc_t"), *FAILS) is Status.OK
    assert status(ID, PODMAN, inside(), nvml(answer())) is Status.OK
    assert status(ID, DOCKER, inside(""), *FAILS) is Status.OK
    assert status(ID, PODMAN, inside(), nodes(mode=0o660), *FAILS) is Status.OK  # the modes forbid it
    assert status(ID, PODMAN, inside(), nodes("none"), *FAILS) is Status.OK  # it was given none


def test_it_explains_what_nvml_and_cuda_say() -> None:
    told = explained(PODMAN, inside(), *FAILS)
    assert {"devices.permission-denied", "driver.cuda-init-failed"} <= set(told[ID])


@pytest.mark.parametrize(
    "message",
    [
        AVC,
        'audit: type=1400 audit(1:2): avc:  denied  { open } for  pid=1 comm="x" path="/dev/nvidiactl" dev="devtmpfs" '
        "ino=1 scontext=system_u:system_r:container_t:s0 tcontext=system_u:object_r:device_t:s0 tclass=chr_file",
        "SELinux is preventing python from read, write access on the chr_file nvidia0.",
        "SELinux is preventing /usr/bin/nvidia-smi from 'read, write' accesses on the chr_file /dev/nvidiactl.",
    ],
)
def test_messages_that_people_paste(message: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message) for pattern in registry.checks[ID].symptoms)
