"""Links with fewer lanes than there are, and what stands between two GPUs."""

import re
from typing import Any

import pytest
from gpu_machines import (
    A100,
    ADA,
    ADDRESS,
    DOCKER,
    answer,
    evidence_of,
    finding,
    findings,
    gpu,
    log,
    nvml,
    outcome,
    status,
    told,
)

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.pci_links import PciLink, PciLinks, PeerPath, PeerPaths
from gpudoctor.findings import Severity, Status
from gpudoctor.registry import load_plugins, registry

LINK, PEERS = "pci.link-degraded", "pci.p2p-blocked"
SECOND = "0000:07:00.0"
TWO = PciGpus((gpu(), gpu(address=SECOND)))


def links(width: int | None, gpu_max: int | None = 16, slot: int | None = 16) -> PciLinks:
    return PciLinks((PciLink(ADDRESS, width, gpu_max, "0000:00:01.0" if slot else "", slot),))


# pci.link-degraded


def test_fewer_lanes_than_gpu_and_slot_have() -> None:
    found = finding(LINK, links(8))
    assert found.summary == f"GPU {ADDRESS} (NVIDIA A100-SXM4-80GB) is linked to the machine by 8 of 16 lanes."
    assert found.subject == ADDRESS
    assert "current_link_width 8, max_link_width 16" in evidence_of(found)
    assert "0000:00:01.0: max_link_width 16 (the slot)" in evidence_of(found)
    assert "clean the contacts" in found.remedy
    assert finding(LINK, links(8), DOCKER).remedy.startswith("On the host: power off")


@pytest.mark.parametrize("fine", [links(16), links(4, 4), links(8, 16, 8), links(1, 16, 1)])
def test_link_as_wide_as_it_can_be(fine: PciLinks) -> None:
    assert status(LINK, fine) is Status.OK


@pytest.mark.parametrize("silent", [links(None), links(8, None)])
def test_link_that_nobody_tells_of(silent: PciLinks) -> None:
    found = outcome(LINK, silent)
    assert (found.status, found.matters) == (Status.UNKNOWN, False)
    assert status(LINK, silent, nvml(told(**AT_WORK))) is Status.FOUND


def test_nvml_knows_of_a_narrower_system() -> None:
    assert status(LINK, links(8), nvml(told(pcie_link_width_max=8))) is Status.OK
    assert status(LINK, links(8), nvml(told(pcie_link_width_max=16))) is Status.FOUND
    assert status(LINK, links(8), without=(Nvml,)) is Status.FOUND


def test_slot_that_cannot_be_seen() -> None:
    found = outcome(LINK, links(8, slot=None))
    assert (found.status, found.matters) == (Status.UNKNOWN, False)
    assert "8 of its 16 lanes" in found.reason


def test_laptops_are_wired_as_their_makers_liked() -> None:
    laptop = ("2c58", "NVIDIA GeForce RTX 5090 Laptop GPU", *ADA[2:])
    assert status(LINK, links(8), PciGpus((gpu(laptop),))) is Status.OK
    assert status(LINK, links(8), PciGpus((gpu(A100, driver="vfio-pci"),))) is Status.OK


AT_WORK = {"performance_state": 0, "utilization_percent": 98, "pcie_link_generation": 1, "pcie_link_generation_max": 4}


def test_slow_link_of_a_gpu_at_work() -> None:
    found = finding(LINK, links(16), nvml(told(**AT_WORK)))
    assert found.summary.endswith("is at work, and its link runs at PCIe generation 1 of 4.")
    assert "98% busy in P0" in evidence_of(found)


@pytest.mark.parametrize(
    "values",
    [
        AT_WORK | {"performance_state": 8},
        AT_WORK | {"utilization_percent": 0},
        AT_WORK | {"utilization_percent": None},
        AT_WORK | {"performance_state": None},
        AT_WORK | {"pcie_link_generation": 4},
        AT_WORK | {"pcie_link_generation_max": None},
        {},
    ],
)
def test_slow_link_of_an_idle_gpu_is_normal(values: dict[str, Any]) -> None:
    assert status(LINK, links(16), nvml(told(**values))) is Status.OK


def test_links_that_cannot_be_read() -> None:
    assert status(LINK, without=(PciLinks,)) is Status.UNKNOWN
    assert status(LINK, not_running=(PciLinks,)) is Status.UNKNOWN


# pci.p2p-blocked


def paths(iommu: str = "", *bridges: str) -> PeerPaths:
    return PeerPaths(tuple(PeerPath(address, iommu, bridges) for address in (ADDRESS, SECOND)), acs_read=True)


BY_PCI = nvml(told(pci_peers=[1]), told(SECOND, 1, pci_peers=[0]))
BY_NVLINK = nvml(told(pci_peers=[]), told(SECOND, 1, pci_peers=[]))
AMD_FAULT = "nvidia 0000:07:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003 address=0x80000040 flags=0x0020]"
INTEL_FAULT = (
    "DMAR: [DMA Read NO_PASID] Request device [07:00.0] fault addr 0x6f000000 [fault reason 0x06] PTE Read access"
)
OLD_INTEL_FAULT = (
    "DMAR: [DMA Write] Request device [0x07:0x00.0] fault addr c0000000 [fault reason 05] PTE Write access"
)


@pytest.mark.parametrize("line", [AMD_FAULT, INTEL_FAULT, OLD_INTEL_FAULT])
def test_faults_of_the_iommu(line: str) -> None:
    found = finding(PEERS, TWO, paths("DMA-FQ"), BY_PCI, log(line))
    assert found.subject == SECOND
    assert f"dmesg: {line}" in evidence_of(found)
    assert "DMA-FQ: addresses are translated" in evidence_of(found)
    assert "iommu=pt" in found.remedy
    assert "NCCL_P2P_DISABLE=1" in found.remedy
    assert found.severity is None
    assert finding(PEERS, TWO, paths("DMA"), BY_PCI, log(line), DOCKER).remedy.startswith("On the host: ")


def test_faults_of_other_devices_and_of_a_single_gpu() -> None:
    other = log(AMD_FAULT.replace("07:00.0", "42:00.0"))
    assert status(PEERS, TWO, paths("identity"), BY_PCI, other) is Status.OK
    assert status(PEERS, PeerPaths((), False), log(AMD_FAULT)) is Status.OK


@pytest.mark.parametrize("way", [paths("DMA-FQ"), paths("identity", "0000:00:01.0"), paths("DMA", "0000:00:01.0")])
def test_obstacles_without_faults_are_told_and_no_fault(way: PeerPaths) -> None:
    (found,) = findings(PEERS, TWO, way, BY_PCI)
    assert found.severity is Severity.INFO
    assert "processor" in found.summary


def test_gpus_that_do_not_go_that_way() -> None:
    assert status(PEERS, TWO, paths("identity"), BY_PCI) is Status.OK
    assert status(PEERS, TWO, paths(), without=(Nvml,)) is Status.OK
    assert status(PEERS, TWO, paths("DMA"), BY_NVLINK) is Status.OK
    assert status(PEERS, TWO._replace(nvswitches=6), paths("DMA"), BY_PCI) is Status.OK


def test_what_is_not_told() -> None:
    assert status(PEERS, TWO, paths("DMA"), without=(Nvml,)) is Status.UNKNOWN
    assert status(PEERS, TWO, paths("DMA"), nvml(answer(), answer(1, SECOND))) is Status.UNKNOWN
    assert status(PEERS, without=(PeerPaths,)) is Status.UNKNOWN
    assert status(PEERS, TWO, paths("DMA"), BY_NVLINK, without=(KernelLog,)) is Status.OK


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("\t\tLnkSta:\tSpeed 16GT/s, Width x8 (downgraded)", LINK),
        (
            "pci 0000:01:00.0: 31.504 Gb/s available PCIe bandwidth, limited by 8.0 GT/s PCIe x4 link at 0000:00:1d.0 "
            "(capable of 252.048 Gb/s with 16.0 GT/s PCIe x16 link)",
            LINK,
        ),
        ("nvidia 0000:01:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)", LINK),
        ("pcieport 0000:00:1c.0: AER: PCIe Bus Error: severity=Corrected, type=Data Link Layer, (Transmitter", LINK),
        (AMD_FAULT, PEERS),
        (INTEL_FAULT, PEERS),
        (OLD_INTEL_FAULT, PEERS),
        ("NCCL WARN P2P is disabled between connected GPUs 1 and 0.", PEERS),
        ("ACSCtl: SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-", PEERS),
    ],
)
def test_messages_lead_to_the_check(message: str, check: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message) for pattern in registry.checks[check].symptoms)


@pytest.mark.parametrize(
    "message",
    [
        "\t\tLnkSta:\tSpeed 2.5GT/s (downgraded), Width x16",
        "ACSCtl: SrcValid- TransBlk- ReqRedir- CmpltRedir- UpstreamFwd- EgressCtrl- DirectTrans-",
        "DMAR: IOMMU enabled",
    ],
)
def test_messages_of_healthy_machines(message: str) -> None:
    load_plugins()
    assert not any(re.search(pattern, message) for id in (LINK, PEERS) for pattern in registry.checks[id].symptoms)
