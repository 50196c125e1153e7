"""Widths of links, bridges above a GPU, and what they and the IOMMU do to traffic between GPUs."""

from pathlib import Path

import pytest
from disk_trees import disk

from gpudoctor.facts.pci_links import PciLink, PciLinks, PeerPath, PeerPaths
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.testing import MachineTree

load_plugins()

BUS, PORT, FIRST, SECOND = "/sys/bus/pci/devices", "0000:00:01.0", "0000:01:00.0", "0000:02:00.0"
ROOT = "/sys/devices/pci0000:00"


class Slots:
    """A machine whose GPUs sit below ports of one root complex, as sysfs lays them out."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, dict[str, str | bytes]()

    def gpu(self, address: str = FIRST, port: str = PORT, width: str = "16", widest: str = "16", **more: str) -> None:
        place = f"{ROOT}/{port}/{address}" if port else f"{ROOT}/{address}"
        self.files[f"{place}/uevent"] = f"DRIVER={more.pop('driver', 'nvidia')}\nPCI_CLASS=30000\nPCI_ID=10DE:2684\n"
        self.files[f"{place}/current_link_width"] = f"{width}\n"
        self.files[f"{place}/max_link_width"] = f"{widest}\n"
        for name, value in more.items():
            self.files[f"{place}/{name.replace('__', '/')}"] = f"{value}\n"
        self.files[f"{BUS}/{address}"] = f"-> ../../../devices/pci0000:00/{port + '/' if port else ''}{address}"

    def port(self, address: str = PORT, width: str = "16", vendor: str = "0x8086", config: bytes = b"") -> None:
        self.files |= {f"{ROOT}/{address}/max_link_width": f"{width}\n", f"{ROOT}/{address}/vendor": f"{vendor}\n"}
        self.files[f"{ROOT}/{address}/config"] = config
        self.files[f"{BUS}/{address}"] = f"-> ../../../devices/pci0000:00/{address}"

    def facts(self) -> Facts:
        disk(self.folder, self.files)
        return Facts(MachineTree(str(self.folder)))


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path)


def test_width_of_gpu_and_slot(slots: Slots) -> None:
    slots.port(width="8")
    slots.gpu(width="8")
    assert slots.facts().get(PciLinks) == PciLinks((PciLink(FIRST, 8, 16, PORT, 8),))


def test_gpu_without_a_bridge_as_in_a_virtual_machine(slots: Slots) -> None:
    slots.gpu(port="", width="8")
    assert slots.facts().get(PciLinks) == PciLinks((PciLink(FIRST, 8, 16, "", None),))


@pytest.mark.parametrize("vendor", ["0x1b36", "0x15ad", "0x1414"])
def test_port_that_a_hypervisor_made_up_tells_nothing_of_the_slot(slots: Slots, vendor: str) -> None:
    slots.port(width="32", vendor=vendor)
    slots.gpu(width="8")
    assert slots.facts().get(PciLinks) == PciLinks((PciLink(FIRST, 8, 16, PORT, None),))


@pytest.mark.parametrize("width", ["63", "0", "", "Unknown"])
def test_width_that_is_none(slots: Slots, width: str) -> None:
    slots.port()
    slots.gpu(width=width)
    (link,) = slots.facts().get(PciLinks).links
    assert link.width is None


def test_sleeping_gpu_is_left_alone(slots: Slots) -> None:
    slots.port()
    slots.gpu(power__runtime_status="suspended")
    assert slots.facts().get(PciLinks) == PciLinks(())


# Between GPUs


def config(*capabilities: tuple[int, bytes], size: int = 4096) -> bytes:
    """A configuration space whose extended capabilities (id, what follows the header) are chained."""
    space, offset = bytearray(size), 256
    for place, (number, body) in enumerate(capabilities):
        following = offset + 32 if place < len(capabilities) - 1 else 0
        space[offset : offset + 4] = (number | 1 << 16 | following << 20).to_bytes(4, "little")
        space[offset + 4 : offset + 4 + len(body)] = body
        offset += 32
    return bytes(space)


ADVANCED_ERRORS = (0x0001, b"")
REDIRECTING, STRAIGHT = (0x000D, b"\x5f\x00\x1d\x00"), (0x000D, b"\x5f\x00\x01\x00")  # ACSCap, ACSCtl as lspci has them


@pytest.mark.parametrize(
    ("space", "redirects", "read"),
    [
        (config(ADVANCED_ERRORS, REDIRECTING), True, True),
        (config(ADVANCED_ERRORS, STRAIGHT), False, True),
        (config(ADVANCED_ERRORS), False, True),
        (config(), False, True),
        (config(size=64), False, False),  # what others than root are given
        (b"\xff" * 4096, False, True),  # a bridge that is gone
    ],
)
def test_bridges_that_send_traffic_round(slots: Slots, space: bytes, redirects: bool, read: bool) -> None:
    slots.port(config=space)
    slots.gpu(iommu_group__type="DMA-FQ")
    slots.gpu(SECOND)
    found = slots.facts().get(PeerPaths)
    bridges = (PORT,) if redirects else ()
    assert found == PeerPaths((PeerPath(FIRST, "DMA-FQ", bridges), PeerPath(SECOND, "", bridges)), read)


def test_chain_of_capabilities_that_is_a_circle(slots: Slots) -> None:
    space = bytearray(config(ADVANCED_ERRORS))
    space[256:260] = (0x0001 | 1 << 16 | 256 << 20).to_bytes(4, "little")
    slots.port(config=bytes(space))
    slots.gpu()
    slots.gpu(SECOND)
    assert slots.facts().get(PeerPaths).paths[0].redirecting == ()


def test_one_gpu_and_gpus_for_virtual_machines_have_no_peers(slots: Slots) -> None:
    slots.port(config=config(REDIRECTING))
    slots.gpu()
    slots.gpu(SECOND, driver="vfio-pci")
    assert slots.facts().get(PeerPaths) == PeerPaths((), False)
