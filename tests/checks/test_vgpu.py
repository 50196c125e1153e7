"""NVIDIA vGPU: without a license, and with drivers inside and outside that do not fit."""

from typing import Any

import pytest
from gpu_machines import (
    ADDRESS,
    DOCKER,
    answer,
    cuda,
    evidence_of,
    explained,
    finding,
    log,
    nvml,
    outcome,
    status,
)

from gpudoctor import Severity
from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.vgpu import VgpuGuests, VgpuLicensing
from gpudoctor.findings import Status

UNLICENSED, MISMATCH = "driver.vgpu-unlicensed", "driver.vgpu-guest-host-mismatch"
REFUSED = "Failed to acquire license from SERVER - Info: NVIDIA Virtual Compute Server - Error: Generic network error"
NO_TOKEN = VgpuLicensing(True, "1", False, (), "active", (REFUSED,))
WELL_SET = NO_TOKEN._replace(tokens=("client_configuration_token_01.tok",))


def vgpu(state: object = "unlicensed", mode: str = "vgpu", **more: Any) -> Nvml:
    values = {"virtualization_mode": mode, "license_state": state, **more}
    return nvml(answer()._replace(name="GRID A100-10C", values=values))


def test_a_licensed_vgpu_is_fine() -> None:
    assert status(UNLICENSED, vgpu("licensed"), WELL_SET) is Status.OK
    assert status(UNLICENSED, vgpu("licensed (expiry: 2026-7-7 16:1:44 gmt)"), WELL_SET) is Status.OK


@pytest.mark.parametrize("mode", ["none", "passthrough", "host_vgpu"])
def test_whole_gpus_need_no_license(mode: str) -> None:
    assert status(UNLICENSED, vgpu("unlicensed", mode), WELL_SET) is Status.SKIPPED


def test_machines_that_were_recorded_before() -> None:
    assert status(UNLICENSED) is Status.SKIPPED
    assert status(UNLICENSED, without=(Nvml,)) is Status.UNKNOWN


def test_a_license_that_is_not_told() -> None:
    assert "whether vGPU 0 is licensed" in outcome(UNLICENSED, vgpu(None), WELL_SET).reason


def test_unlicensed_without_a_token() -> None:
    found = finding(UNLICENSED, vgpu(license_product="NVIDIA Virtual Compute Server"), NO_TOKEN)
    assert found.summary == "GRID A100-10C is a virtual GPU without a license: it is slowed down, and CUDA ends."
    assert found.subject == ADDRESS
    told = evidence_of(found)
    assert "NVML, GPU 0: vGPU, unlicensed (NVIDIA Virtual Compute Server)" in told
    assert "/etc/nvidia/gridd.conf: FeatureType=1, no server is named" in told
    assert "/etc/nvidia/ClientConfigToken: no token" in told
    assert f"journalctl -u nvidia-gridd: {REFUSED}" in told
    assert found.remedy.startswith("Put a client configuration token of your license server into /etc/nvidia/")
    assert "Do not reinstall the driver" in found.remedy


@pytest.mark.parametrize(
    ("licensing", "words"),
    [
        (WELL_SET, "that the clock is right"),
        (WELL_SET._replace(feature_type="0"), "Set FeatureType=1"),
        (WELL_SET._replace(unit="failed"), "nvidia-gridd is failed"),
        (NO_TOKEN._replace(server=True), "that the clock is right"),
        (NO_TOKEN._replace(tokens=None), "that the clock is right"),
    ],
)
def test_the_remedy_is_what_is_missing(licensing: VgpuLicensing, words: str) -> None:
    assert words in finding(UNLICENSED, vgpu(), licensing).remedy


def test_unlicensed_while_the_settings_cannot_be_read() -> None:
    assert "journalctl -u nvidia-gridd" in finding(UNLICENSED, vgpu(), without=(VgpuLicensing,)).remedy


def test_nothing_is_held_back_in_the_first_minutes() -> None:
    assert finding(UNLICENSED, vgpu("unlicensed (unrestricted)"), WELL_SET).severity is Severity.WARNING
    assert finding(UNLICENSED, vgpu("unlicensed (restricted)"), WELL_SET).severity is None


def test_a_container_is_not_where_licenses_are_fetched() -> None:
    assert finding(UNLICENSED, vgpu(), WELL_SET, DOCKER).remedy.startswith("In the virtual machine itself: look into")


def test_the_missing_license_explains_that_cuda_fails() -> None:
    assert explained(vgpu(), WELL_SET, cuda(46, "CUDA_ERROR_DEVICE_UNAVAILABLE"), VgpuGuests(())) == {
        UNLICENSED: ("driver.cuda-init-failed",)
    }


# driver.vgpu-guest-host-mismatch

TOO_OLD = (
    "NVRM: rpcSetGuestSystemInfo_v03_00: NVRM_RPC: SetGuestSystemInfo: The host version (21.7) is too old.",
    "NVRM_RPC: SetGuestSystemInfo: Minimum required host version is 23.0.",
)
NONE = nvml()
GUEST = (
    "2026-07-19T10:12:01+0000 host nvidia-vgpu-mgr[4236]: error: vmiop_log: (0x0): Incompatible Guest/Host drivers: "
    "Guest VGX version is newer than the maximum version supported by the Host. Disabling vGPU."
)


def test_drivers_that_fit() -> None:
    assert status(MISMATCH, VgpuGuests(())) is Status.OK
    assert status(MISMATCH, VgpuGuests(()), NONE) is Status.OK  # other causes keep GPUs silent, too
    assert status(MISMATCH, VgpuGuests(()), log(*TOO_OLD)) is Status.OK  # it answers now
    assert status(MISMATCH, DOCKER, VgpuGuests(())) is Status.SKIPPED


def test_a_guest_whose_host_is_too_old() -> None:
    found = finding(MISMATCH, VgpuGuests(()), log(*TOO_OLD), NONE)
    assert found.subject == ADDRESS
    assert "is too old" in evidence_of(found)
    assert "guest driver of the vGPU release that the host runs" in found.remedy


def test_the_guest_is_judged_while_the_hosts_log_is_not_there() -> None:
    assert status(MISMATCH, log(*TOO_OLD), NONE, without=(VgpuGuests,)) is Status.FOUND
    assert status(MISMATCH, NONE, without=(VgpuGuests, KernelLog)) is Status.UNKNOWN  # as driver.rm-init-failed is then


def test_a_host_with_a_guest_that_does_not_fit() -> None:
    found = finding(MISMATCH, VgpuGuests((GUEST,)))
    assert found.severity is Severity.WARNING
    assert found.summary == (
        "A virtual machine's driver does not fit this host's vGPU manager: "
        "Guest VGX version is newer than the maximum version supported by the Host."
    )
    assert "(such lines: 1)" in evidence_of(found)


def test_the_mismatch_explains_that_the_gpu_does_not_start() -> None:
    failed = f"NVRM: GPU {ADDRESS}: RmInitAdapter failed! (0x26:0xffff:1463)"
    told = explained(VgpuGuests(()), log(*TOO_OLD, failed), NONE, cuda(100, "CUDA_ERROR_NO_DEVICE"))
    assert {"driver.rm-init-failed", "driver.cuda-init-failed"} <= set(told[MISMATCH])


def test_a_journal_that_cannot_be_read_is_not_one_without_refusals() -> None:
    seen = outcome(MISMATCH, without=(VgpuGuests,))
    assert (seen.status, seen.matters, seen.reason) == (Status.UNKNOWN, False, "not told")
