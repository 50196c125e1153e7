"""Healthy running machines put together: GPUs on the bus, what the driver answers, what is installed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from disk_trees import disk
from family_machines import BOOTED, Answers, Files, Machine
from package_databases import database

from gpudoctor.facts.packages import Package
from gpudoctor.host import Completed, FileStatus, Unavailable

# What only root may read; the paths of some distributions are the same.
FOR_ROOT = (
    *("/dev/kmsg", "/var/log/kern.log", "/var/log/syslog", "/var/log/messages", "/var/log/apt/term.log"),
    *("/boot/grub/grub.cfg", "/boot/grub2", "/boot/loader", "/boot/efi", "/efi", "/root", "/var/lib/nvidia"),
    *("/etc/pki/akmods/private", "/var/log/dnf5.log", "/var/log/zypp", "/var/log/nvidia-installer.log"),
)


class Running(Machine):
    """Refuses what the user may not read, with everything below it."""

    refused: Collection[str] = ()

    def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
        self._ask_permission(path)
        return super().read_bytes(path, limit, offset=offset)

    def list(self, path: str) -> tuple[str, ...] | None:
        self._ask_permission(path)
        return super().list(path)

    def _ask_permission(self, path: str) -> None:
        if any(f"{path}/".startswith(f"{refused}/") for refused in self.refused) and super().exists(path):
            raise Unavailable(f"{path}: Permission denied")


class Card(NamedTuple):
    """A GPU as the bus shows it, and as NVML names it."""

    address: str
    device_id: str
    name: str
    driver: str = "nvidia"
    display: bool = False  # class 0300: it has outputs
    asleep: bool = False
    listed: bool = True  # in NVML: it is this machine's (this container's) to use


LAPTOP = Card("0000:01:00.0", "28e0", "NVIDIA GeForce RTX 4060 Laptop GPU", display=True, asleep=True)
DESKTOP = Card("0000:01:00.0", "2684", "NVIDIA GeForce RTX 4090", display=True)
T4 = Card("0000:3b:00.0", "1eb8", "Tesla T4")
L40S = Card("0000:41:00.0", "26b9", "NVIDIA L40S")
H200 = tuple(
    Card(f"0000:{bus_number}:00.0", "2335", "NVIDIA H200", listed=place == 3)
    for place, bus_number in enumerate(("18", "2a", "3a", "5d", "9a", "ab", "ba", "db"))
)
EIGHT = tuple(card._replace(listed=True) for card in H200)
INTEL = {"0000:00:02.0": ("30000", "8086:A7A0", "i915")}
AMD = {"0000:0c:00.0": ("30000", "1002:744C", "amdgpu")}


def bus(
    cards: Iterable[Card], *, nvswitches: int = 0, others: Mapping[str, tuple[str, str, str]] | None = None
) -> Files:
    """A bridge, an SSD, and these; `others`: address to (class, vendor:device, driver)."""
    devices = {"0000:00:00.0": ("60000", "8086:4660", ""), "0000:02:00.0": ("10802", "144D:A80C", "nvme")}
    files: Files = {}
    for card in cards:
        kind = "30000" if card.display else "30200"
        devices[card.address] = (kind, f"10DE:{card.device_id.upper()}", card.driver)
        folder = f"/sys/bus/pci/devices/{card.address}"
        files[f"{folder}/resource"] = (
            "0x00000000de000000 0x00000000deffffff 0x0000000000040200\n"
            "0x0000002000000000 0x0000003fffffffff 0x000000000014220c\n"
            "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
            "0x0000004000000000 0x0000004001ffffff 0x000000000014220c\n"
            + "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
            * 9
        )
        files[f"{folder}/config"] = b"\xde\x10" + bytes.fromhex(card.device_id)[::-1] + b"\x07\x04\x10\x00"
        files[f"{folder}/power/runtime_status"] = "suspended\n" if card.asleep else "active\n"
        if card.display:
            devices[card.address.replace(".0", ".1")] = ("40300", "10DE:22BE", "snd_hda_intel")
    devices |= {f"0000:{number:02x}:00.0": ("68000", "10DE:22A3", "") for number in range(5, 5 + nvswitches)}
    for address, (kind, number, driver) in (devices | dict(others or {})).items():
        bound = f"DRIVER={driver}\n" if driver else ""
        text = f"{bound}PCI_CLASS={kind}\nPCI_ID={number}\nPCI_SUBSYS_ID=1043:22E2\nPCI_SLOT_NAME={address}\n"
        files[f"/sys/bus/pci/devices/{address}/uevent"] = f"{text}MODALIAS=pci:v0000{number[:4]}\n"
    return files


def listed(
    packages: Mapping[str, str],
    makers: Mapping[str, str],
    *,
    removed: Mapping[str, str] | None = None,
    depends: Mapping[str, Sequence[str]] | None = None,
) -> list[Package]:
    """Packages from NAME (or NAME:ARCHITECTURE, or NAME#2 for a second of the name) to version.

    `makers`: the beginning of a name to who made it, "" for the others; `removed`: only their settings are left.
    """
    found = []
    for state, there in (("installed", packages), ("removed", removed or {})):
        for entry, version in there.items():
            name, _, architecture = entry.partition("#")[0].partition(":")
            maker = next(makers[start] for start in sorted(makers, key=len, reverse=True) if name.startswith(start))
            needs = tuple((depends or {}).get(name, ()))
            found.append(Package(name, version, architecture or "amd64", state, False, maker, needs))
    return found


def rpm_answer(packages: Iterable[Package]) -> str:
    """What `rpm -qa` prints in the form that it is asked for."""
    return "".join(f"{p.name}\t{p.version}\t{p.architecture}\t{p.vendor}\t(none)\t\n" for p in packages)


def nodes(cards: Iterable[int], *, uvm: int = 507) -> dict[str, FileStatus]:
    """Device files of these minors, and those of the whole driver."""
    numbers = {f"/dev/nvidia{card}": (195, card) for card in cards}
    numbers |= {"/dev/nvidiactl": (195, 255), "/dev/nvidia-modeset": (195, 254)}
    numbers |= {"/dev/nvidia-uvm": (uvm, 0), "/dev/nvidia-uvm-tools": (uvm, 1)}
    return {path: FileStatus("character", 0o666, 0, 0, 0, BOOTED, device) for path, device in numbers.items()}


def answers(
    cards: Iterable[Card], version: str, folder: str, *, cuda: int = 13000, unreadable: int = 0
) -> dict[str, dict[str, object]]:
    """What NVML and libcuda say where all is well."""
    told = [_told(number, card) for number, card in enumerate(card for card in cards if card.listed)]
    success: dict[str, object] = {"return_code": 0, "error": None}
    return {
        "nvml": success
        | {
            "return_name": "NVML_SUCCESS",
            "message": "The operation was successful",
            "library_path": f"{folder}/libnvidia-ml.so.{version}",
            "nvml_version": f"{cuda // 1000}.{version}",
            "driver_version": version,
            "cuda_driver_version": cuda,
            "field_errors": {},
            "gpus": told,
        },
        "cuda": success
        | {
            "return_name": "CUDA_SUCCESS",
            "message": "no error",
            "library_path": f"{folder}/libcuda.so.{version}",
            "driver_version": cuda,
            "device_count": len(told),
            "devices": [],
        },
        "processes": {"holders": [], "deleted_libraries": [], "unreadable": unreadable},
    }


def _told(number: int, card: Card) -> dict[str, object]:
    return {
        "index": number,
        "return_code": 0,
        "return_name": "NVML_SUCCESS",
        "message": "The operation was successful",
        "pci_address": card.address,
        "pci_device_id": f"10de:{card.device_id}",
        "name": card.name,
        "uuid": f"GPU-5f7a3a0e-1111-2222-3333-44445555666{number}",
        "serial": None,
        "compute_capability": [8, 9],
        "memory_total_bytes": 24 << 30,
        "persistence_mode": not card.display,  # servers run nvidia-persistenced
        "ecc_mode": None,
        "field_errors": {},
    }


def running(
    folder: Path,
    files: Files,
    *,
    manager: str = "dpkg",
    packages: Iterable[Package] = (),
    cards: Sequence[Card] = (),
    said: dict[str, dict[str, object]] | None = None,
    minors: Iterable[int] | None = None,
    more_nodes: Mapping[str, FileStatus] | None = None,
    commands: Mapping[tuple[str, ...], Completed] | None = None,
    user: int = 0,
) -> Running:
    """The machine. `user`: 0 root, else one who may read the world's files only; `said`: None where nobody answers."""
    disk(folder, {**files, **(database(manager, packages, folder) if manager else {})})
    held = range(sum(card.driver == "nvidia" for card in cards)) if minors is None else minors
    there = nodes(held) if "/proc/driver/nvidia/version" in files and held else {}
    made = Running(
        str(folder),
        nodes={**there, **(more_nodes or {})},
        commands=commands,
        probes=Answers(str(folder), said) if said else None,
        no_answer="nobody answers on this machine",
    )
    made.refused = FOR_ROOT if user else ()
    return made


UBUNTU_CORE = "Ubuntu Core Developers <ubuntu-devel-discuss@lists.ubuntu.com>"
