"""NVIDIA devices on the PCI bus, whether or not a driver holds them, with what the GPU table knows of them."""

from typing import NamedTuple

from gpudoctor.host import Host, quietly
from gpudoctor.registry import fact

# Who holds these means to hand the GPU to a virtual machine.
GIVEN_AWAY = ("vfio-pci", "pci-stub", "xen-pciback", "pciback")
FREE_DRIVERS = ("nouveau", "nova_core", "nova")  # the kernel's own for NVIDIA GPUs


class PciGpu(NamedTuple):
    """One NVIDIA display or 3D controller. What the table does not know is "" or None."""

    address: str  # "0000:01:00.0"
    device_id: str  # "2c58"
    driver: str  # who owns it: "nvidia", "nouveau", "nova_core", "vfio-pci", "" nobody
    name: str  # "NVIDIA H200", "" if the table has not met it
    architecture: str  # "Hopper"
    module: str  # "open-only", "proprietary-only", "either", "" unknown
    last_branch: int | None  # the last driver branch that serves it, None: still served, or unknown
    first_driver: str  # the first open driver release that lists it: "570.86.16", "" unknown
    regions: tuple[tuple[int, int], ...] = ()  # (start, size) of the assigned memory regions, BAR0 first
    readable: bool = True  # False: its configuration space reads as all ones, the device is gone from the bus
    unassigned: tuple[int, ...] = ()  # numbers of base address registers that want a region and have none

    @property
    def label(self) -> str:
        return self.name or f"NVIDIA device {self.device_id}"


class PciGpus(NamedTuple):
    """All NVIDIA GPUs on the bus, by address, and the number of NVSwitches (class 0680)."""

    gpus: tuple[PciGpu, ...]
    nvswitches: int = 0
    of_amd: tuple[str, ...] = ()  # addresses of AMD's, which are not for us, but tell what kind of machine this is


_BUS = "/sys/bus/pci/devices"
_NVIDIA, _AMD = "10DE", "1002"
_OF_AMD = ("0300", "0380", "1200")  # with outputs, without, and accelerators


@fact
def pci_gpus(host: Host) -> PciGpus:
    """From one uevent file per device; on a machine without a PCI bus there are none."""
    gpus, nvswitches, of_amd = [], 0, []
    for address in host.list(_BUS) or ():
        values = dict(
            line.split("=", 1) for line in (host.read(f"{_BUS}/{address}/uevent") or "").split() if "=" in line
        )
        vendor, _, device = values.get("PCI_ID", "").partition(":")
        device_class = values.get("PCI_CLASS", "").zfill(6)[:4]  # without programming interface: "0300", "0302"
        if vendor == _AMD and device_class in _OF_AMD:
            of_amd.append(address)
        if vendor != _NVIDIA:
            continue
        if device_class == "0680":
            nvswitches += 1
        # A part of a GPU that is made for virtual machines (SR-IOV) leads to the whole, and NVML lists only that.
        elif device_class.startswith("03") and not quietly(host.link, f"{_BUS}/{address}/physfn"):
            gpus.append(_gpu(host, address, device.lower(), values.get("DRIVER", "")))
    return PciGpus(tuple(gpus), nvswitches, tuple(of_amd))


def _gpu(host: Host, address: str, device_id: str, driver: str) -> PciGpu:
    from gpudoctor.knowledge import KnownGpu, known_gpu  # here for start-up: most machines in trouble have one, CI not

    known = known_gpu(device_id) or KnownGpu("", "", "", "", None, "")
    # Reading the configuration space of a sleeping laptop GPU would wake it up.
    asleep = (host.read(f"{_BUS}/{address}/power/runtime_status") or "").strip() == "suspended"
    head = None if asleep else host.read_bytes(f"{_BUS}/{address}/config", 4)
    regions, unassigned = _regions(host.read(f"{_BUS}/{address}/resource") or "")
    return PciGpu(
        address,
        device_id,
        driver,
        known.name,
        known.architecture,
        known.module,
        known.last_branch,
        known.first_driver,
        regions,
        head != b"\xff\xff\xff\xff",
        unassigned,
    )


def _regions(text: str) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Assigned and unassigned ones of the six base address registers: lines "start end flags" in hexadecimal."""
    regions, unassigned = [], []
    for number, line in enumerate(text.splitlines()[:6]):
        try:
            start, end, _ = (int(word, 16) for word in line.split())
        except ValueError:  # not three numbers: no region that could be judged
            continue
        if start:
            regions.append((start, end - start + 1))
        elif end:  # its size is known, its place is not
            unassigned.append(number)
    return tuple(regions), tuple(unassigned)
