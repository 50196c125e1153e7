"""How wide the GPUs' links to the machine are and could be, and what stands between two GPUs: IOMMU and ACS."""

from typing import NamedTuple

from gpudoctor.facts.pci import GIVEN_AWAY, PciGpu, PciGpus
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class PciLink(NamedTuple):
    """The link between one GPU and the bridge above it. A width is a number of lanes, None where nobody tells it."""

    address: str
    width: int | None
    width_max: int | None  # of the GPU
    bridge: str  # address of the bridge above it, "" none is seen, as mostly in a virtual machine
    bridge_width_max: int | None  # of the slot


class PciLinks(NamedTuple):
    """Those of the GPUs that are awake and answer."""

    links: tuple[PciLink, ...]


class PeerPath(NamedTuple):
    """What traffic from one GPU to another meets."""

    address: str
    iommu: str  # its group's type: "DMA", "DMA-FQ" (addresses are translated), "identity", "" no IOMMU
    redirecting: tuple[str, ...]  # bridges above it that send all traffic between devices up to the processor (ACS)


class PeerPaths(NamedTuple):
    """One for each GPU of this system. `acs_read`: False where only root could have read the bridges' settings."""

    paths: tuple[PeerPath, ...]
    acs_read: bool


_BUS = "/sys/bus/pci/devices"
_MADE_UP = ("0x1b36", "0x15ad", "0x1414")  # QEMU, VMware, Hyper-V: their ports tell nothing of the slot
_WIDTHS = (1, 2, 4, 8, 12, 16, 32)  # PCI Express; other numbers are what a device that is gone reads as


@fact
def pci_links(host: Host, gpus: PciGpus) -> PciLinks:
    """From sysfs. A sleeping GPU is left alone: to ask it would wake it."""
    return PciLinks(tuple(_link(host, gpu) for gpu in gpus.gpus if gpu.readable and not _asleep(host, gpu)))


def _asleep(host: Host, gpu: PciGpu) -> bool:
    return (host.read(f"{_BUS}/{gpu.address}/power/runtime_status") or "").strip() == "suspended"


def _link(host: Host, gpu: PciGpu) -> PciLink:
    folder = f"{_BUS}/{gpu.address}"
    bridge = next(iter(_bridges(host, gpu.address)), "")
    real = bridge and (host.read(f"{_BUS}/{bridge}/vendor") or "").strip() not in _MADE_UP
    return PciLink(
        gpu.address,
        _lanes(host, f"{folder}/current_link_width"),
        _lanes(host, f"{folder}/max_link_width"),
        bridge,
        _lanes(host, f"{_BUS}/{bridge}/max_link_width") if real else None,
    )


def _lanes(host: Host, path: str) -> int | None:
    try:
        text = (host.read(path) or "").strip()
    except Unavailable:  # the kernel refuses it for a device without a link
        return None
    return int(text) if text.isdecimal() and int(text) in _WIDTHS else None


def _bridges(host: Host, address: str) -> list[str]:
    """The bridges above a device, the nearest first, from /sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0."""
    parts = (host.resolve(f"{_BUS}/{address}") or "").split("/")
    above = parts[: parts.index(address)] if address in parts else []
    return [part for part in reversed(above) if part.count(":") == 2 and part[-2:-1] == "."]


@fact
def peer_paths(host: Host, gpus: PciGpus) -> PeerPaths:
    """Of machines with several GPUs; with fewer nothing is asked."""
    own = [gpu for gpu in gpus.gpus if gpu.driver == "nvidia"]
    if len(own) < 2 or any(gpu.driver in GIVEN_AWAY for gpu in gpus.gpus):
        return PeerPaths((), False)
    redirecting: dict[str, bool | None] = {}
    paths = []
    for gpu in own:
        bridges = _bridges(host, gpu.address)
        for bridge in bridges:
            if bridge not in redirecting:
                redirecting[bridge] = _redirects(host, bridge)
        kind = (host.read(f"{_BUS}/{gpu.address}/iommu_group/type") or "").strip()
        paths.append(PeerPath(gpu.address, kind, tuple(bridge for bridge in bridges if redirecting[bridge])))
    return PeerPaths(tuple(paths), bool(redirecting) and None not in redirecting.values())


_SIZE = 4096  # bytes of a PCI Express device's configuration space; others than root are given 64
_EXTENDED = 256  # where the extended capabilities begin
_ACS = 0x000D  # pci_regs.h: PCI_EXT_CAP_ID_ACS, PCI_ACS_RR, PCI_ACS_CR
_REDIRECT = 0x04 | 0x08


def _redirects(host: Host, bridge: str) -> bool | None:
    """Does it send requests or answers between devices up (ReqRedir+, CmpltRedir+ of lspci)? None: not told.

    The chain of capabilities is followed from one to the next: among them is the serial number, which is not read.
    """
    path, offset = f"{_BUS}/{bridge}/config", _EXTENDED
    try:
        for _ in range(64):  # a damaged chain may be a circle
            header = host.read_bytes(path, 4, offset=offset) or b""
            if len(header) < 4:
                return None if offset == _EXTENDED else False
            value = int.from_bytes(header, "little")
            if value & 0xFFFF == _ACS:
                control = host.read_bytes(path, 2, offset=offset + 6) or b""
                return bool(int.from_bytes(control, "little") & _REDIRECT)
            offset = value >> 20
            if not _EXTENDED < offset <= _SIZE - 8:
                return False
    except Unavailable:
        return None
    return False
