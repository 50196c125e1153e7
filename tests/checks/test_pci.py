"""What the PCI bus shows: no GPU, no memory window, a GPU that has gone, another number than expected."""

import pytest
from gpu_machines import (
    ADDRESS,
    DOCKER,
    WSL,
    answer,
    evidence_of,
    finding,
    findings,
    gpu,
    ids_for,
    loaded,
    log,
    nvml,
    status,
)

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import PciGpus
from gpudoctor.findings import Status

NONE, BAR, LOST, COUNT = "pci.no-gpu", "pci.bar-unassigned", "health.fallen-off-bus", "gpu.count-unexpected"
SECOND = "0000:04:00.0"
TWO = PciGpus((gpu(), gpu(address=SECOND)))
EMPTY = PciGpus(())


@pytest.mark.parametrize("check", [NONE, BAR, LOST, COUNT])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check) is Status.OK


@pytest.mark.parametrize("check", [NONE, BAR, LOST])
def test_needs_the_bus(check: str) -> None:
    assert status(check, without=(PciGpus,)) is Status.UNKNOWN


# pci.no-gpu


def test_no_gpu_on_the_bus() -> None:
    found = finding(NONE, EMPTY, loaded(""), without=(Nvml,))
    assert found.summary == "There is no NVIDIA GPU on the PCI bus."
    assert evidence_of(found) == "/sys/bus/pci/devices: no device of vendor 10de with a display class"
    assert "power cables" in found.remedy
    assert "--expect-gpus 0" in found.remedy


def test_switches_are_no_gpus() -> None:
    assert "6 NVSwitches are there" in evidence_of(finding(NONE, PciGpus((), 6), nvml()))


def test_a_machine_with_gpus_of_amd_alone() -> None:
    found = finding(NONE, PciGpus((), of_amd=("0000:c1:00.0",)), loaded(""), without=(Nvml,))
    assert "of AMD: 0000:c1:00.0" in evidence_of(found)
    assert found.remedy.startswith("gpudoctor looks after NVIDIA's GPUs alone")
    assert "--expect-gpus 0" in found.remedy


def test_no_gpu_in_a_container() -> None:
    assert "on the host" in finding(NONE, EMPTY, DOCKER, nvml()).remedy


def test_no_gpu_where_none_is_to_be_on_the_bus() -> None:
    assert status(NONE, EMPTY, ExpectedGpus(0), nvml()) is Status.OK
    assert status(NONE, EMPTY, nvml(answer())) is Status.OK  # a board without a PCI bus
    assert status(NONE, EMPTY, WSL) is Status.SKIPPED


# pci.bar-unassigned

LOG_BAR = (
    "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:",
    f"NVRM: BAR1 is 0M @ 0x0 (PCI:{ADDRESS})",
)


def test_gpu_without_a_memory_window() -> None:
    # A region of ports may be assigned all the same.
    found = finding(BAR, PciGpus((gpu(regions=((0xE000, 128),)),)), nvml())
    assert found.summary == f"GPU {ADDRESS} (NVIDIA A100-SXM4-80GB) was given no address range for its memory (BAR)."
    assert evidence_of(found) == f"/sys/bus/pci/devices/{ADDRESS}/resource: no memory region is assigned"
    assert "Above 4G Decoding" in found.remedy


@pytest.mark.parametrize("place", [ADDRESS, "0001:00.0"])
def test_window_that_the_driver_misses(place: str) -> None:
    found = finding(BAR, TWO, nvml(answer(0, SECOND)), log(LOG_BAR[0], f"NVRM: BAR1 is 0M @ 0x0 (PCI:{place})"))
    assert found.subject == ADDRESS
    assert evidence_of(found) == f"dmesg: NVRM: BAR1 is 0M @ 0x0 (PCI:{place})"


def test_gpu_that_answers_has_its_window() -> None:
    assert status(BAR, PciGpus((gpu(regions=()),)), log(*LOG_BAR)) is Status.OK
    assert status(BAR, nvml(), without=(KernelLog,)) is Status.OK


# health.fallen-off-bus

XID = "NVRM: Xid (PCI:0000:04:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def test_all_proofs_of_one_gpu_are_one_finding() -> None:
    gone = PciGpus((gpu(), gpu(address=SECOND, readable=False)))
    found = finding(LOST, gone, nvml(answer(), answer(1, code=15, name="NVML_ERROR_GPU_IS_LOST")), log(XID))
    assert found.summary == (
        f"GPU {SECOND} (NVIDIA A100-SXM4-80GB) has fallen off the bus: the machine cannot reach it any more."
    )
    assert found.subject == SECOND
    assert evidence_of(found).splitlines() == [
        f"/sys/bus/pci/devices/{SECOND}/config: reads as ff ff ff ff: nobody answers",
        "NVML: GPU 1: 15 NVML_ERROR_GPU_IS_LOST",
        f"dmesg: {XID}",
    ]
    assert "switch the machine off completely" in found.remedy
    assert "do not reinstall the driver" in found.remedy


@pytest.mark.parametrize(
    "facts",
    [
        (PciGpus((gpu(), gpu(address=SECOND, readable=False))), nvml(answer())),
        (nvml(answer(), answer(1, code=15, name="NVML_ERROR_GPU_IS_LOST")), TWO),
        (log(XID), TWO, nvml(answer())),
        (log(XID), nvml(answer())),
    ],
    ids=["configuration space", "NVML", "log", "log, and gone from the bus"],
)
def test_each_proof_is_enough(facts: tuple[object, ...]) -> None:
    assert finding(LOST, *facts).subject == SECOND


@pytest.mark.parametrize("place", ["PCI:0004:00", "0000:04:00", "PCI:0000:04:00 GPU-I:05", "PCI:00000000:04:00.0"])
def test_a_loss_is_of_the_same_gpu_however_the_driver_writes_its_address(place: str) -> None:
    line = XID.replace("PCI:0000:04:00", place)
    assert finding(LOST, TWO, log(line), nvml(answer())).subject == SECOND
    assert status(LOST, TWO, log(line), nvml(answer(), answer(1, SECOND))) is Status.OK


def test_the_lines_of_a_loss_are_told_in_the_order_of_the_log() -> None:
    again = XID.replace("79, pid='<unknown>', name=<unknown>", "79, pid=7, name=again")
    assert evidence_of(finding(LOST, TWO, log(XID, again))).splitlines() == [f"dmesg: {XID}", f"dmesg: {again}"]


def test_lost_gpu_is_told_when_nvml_hangs() -> None:
    assert finding(LOST, TWO, log(XID), without=(Nvml,)).subject == SECOND


def test_lost_gpus_that_nvml_cannot_place() -> None:
    lost = [answer(number, code=15, name="NVML_ERROR_GPU_IS_LOST") for number in (1, 2)]
    assert [found.subject for found in findings(LOST, nvml(answer(), *lost))] == ["GPU 1", "GPU 2"]


def test_gpu_that_came_back() -> None:
    assert status(LOST, TWO, log(XID), nvml(answer(), answer(1, SECOND))) is Status.OK
    assert status(LOST, TWO, log(XID), nvml(answer(), answer(1, SECOND, uuid="NVML_ERROR_UNKNOWN"))) is Status.FOUND


def test_other_xids_are_no_loss() -> None:
    assert status(LOST, TWO, log(XID.replace("79,", "13,")), nvml()) is Status.OK
    assert status(LOST, TWO, log("NVRM: Xid (PCI:0000:04:00): 119, Timeout after 79 s"), nvml()) is Status.OK
    assert status(LOST, TWO, log(XID.replace("NVRM: Xid", "nvidia-nvswitch0: SXid")), nvml()) is Status.OK


def test_fallen_off_in_a_container() -> None:
    assert finding(LOST, TWO, DOCKER, log(XID), nvml(answer())).remedy.startswith("On the host: ")


# gpu.count-unexpected


def test_fewer_gpus_than_expected() -> None:
    found = finding(COUNT, ExpectedGpus(2), TWO)
    assert found.summary == "1 GPU answers, 2 are expected."
    told = evidence_of(found)
    assert "--expect-gpus: 2" in told
    assert f"NVML: {ADDRESS}" in told
    assert f"{SECOND} (nvidia)" in told


def test_more_gpus_than_expected() -> None:
    found = finding(COUNT, ExpectedGpus(1), TWO, nvml(answer(), answer(1, SECOND)))
    assert found.summary == "2 GPUs answer, 1 is expected."
    assert "change the number" in found.remedy


@pytest.mark.parametrize("expected", [0, 1])
def test_no_driver_is_no_gpu(expected: int) -> None:
    wanted = Status.FOUND if expected else Status.OK
    assert status(COUNT, ExpectedGpus(expected), nvml(code=9, name="NVML_ERROR_DRIVER_NOT_LOADED")) is wanted


def test_expected_gpus_that_cannot_be_counted() -> None:
    assert status(COUNT, ExpectedGpus(1), without=(Nvml,)) is Status.UNKNOWN
    assert status(COUNT, without=(Nvml,)) is Status.OK  # nobody asked
    assert status(COUNT, ExpectedGpus(1), without=(LoadedDriver,)) is Status.UNKNOWN


# symptoms


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("NVRM: Xid (PCI:0000:04:00): 79, GPU has fallen off the bus.", LOST),
        ("Unable to determine the device handle for GPU0000:CB:00.0: Unknown Error", LOST),
        ("Unable to determine the device handle for GPU0: GPU is lost.  Reboot the system to recover this GPU", LOST),
        (
            "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid: NVRM: BAR1 is 0M @ 0x0 "
            "(PCI:0000:01:00.0)",
            BAR,
        ),
    ],
)
def test_message_belongs_to_one_check(message: str, check: str) -> None:
    assert ids_for(message) == [check]
