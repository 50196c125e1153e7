"""Parts of healthy running machines, as true to life as they can be laid out: bus, modules, libraries, packages."""

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import elf_files
from disk_trees import disk
from driver_answers import Answers
from family_machines import BOOTED, Files, Machine
from package_databases import database

from gpudoctor.facts.packages import Package
from gpudoctor.host import Completed, FileStatus, Unavailable

MODULES = ("nvidia", "nvidia-drm", "nvidia-modeset", "nvidia-peermem", "nvidia-uvm")
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


def bus(cards: Iterable[Card], *, nvswitches: int = 0, others: Mapping[str, tuple[str, str, str]] | None = None) -> Files:
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
            + "0x0000000000000000 0x0000000000000000 0x0000000000000000\n" * 9
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


def system(os_release: str, kernel: str, compiler: str, *, arguments: str = "ro quiet splash", user: int = 0) -> Files:
    """What each Linux shows under /proc and /etc."""
    return {
        "/etc/os-release": os_release,
        "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000:Ada:/home/ada:/bin/bash\n",
        "/etc/group": "root:x:0:\nvideo:x:44:ada\nada:x:1000:\n",
        "/proc/sys/kernel/osrelease": f"{kernel}\n",
        "/proc/version": f"Linux version {kernel} (builder@example.org) ({compiler}, GNU ld 2.42) #37 SMP\n",
        "/proc/cmdline": f"BOOT_IMAGE=/boot/vmlinuz-{kernel} root=UUID=0a1b2c {arguments}\n",
        "/proc/stat": f"cpu 1 2 3\nbtime {BOOTED}\n",
        "/proc/self/status": f"Name:\tpython3\nUid:\t{user}\t{user}\t{user}\t{user}\nGid:\t{user}\t{user}\t{user}\t{user}\n"
        f"Groups:\t{user}\n",
        "/proc/self/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
        "/proc/modules": "ext4 1 1 - Live 0x0\n",
        "/proc/devices": "Character devices:\n  1 mem\n\nBlock devices:\n  8 sd\n",
        "/sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
        "/sys/bus/pci/devices/": "",
        "/dev/kmsg": "6,0,0,-;Linux version\n",
        "/var/": "",
        "/usr/lib/": "",
        "/lib": "-> usr/lib",
        "/boot/": "",
    }


def kernel(release: str, *, initramfs: str = "initrd.img-{}", headers: str = "/usr/src/linux-headers-{}") -> Files:
    """An installed kernel; `headers`: where its build link leads to, "" for none."""
    files: Files = {
        f"/boot/vmlinuz-{release}": "",
        f"/boot/{initramfs.format(release)}": "initramfs",
        f"/lib/modules/{release}/kernel/fs/ext4/ext4.ko.zst": "",
    }
    if headers:
        files[f"/lib/modules/{release}/build"] = f"-> {headers.format(release)}"
        files[f"{headers.format(release)}/Makefile"] = ""
    return files


def modules(
    release: str,
    folder: str,
    version: str,
    *,
    is_open: bool = True,
    suffix: str = "",
    signed: bool = False,
    built_for: str = "",
    prefix: str = "nvidia",
    base: str = "/lib/modules",
) -> Files:
    """All modules of a driver below /lib/modules/RELEASE, with depmod's index. `folder` "": in none."""
    licences = {"nvidia": "NVIDIA", "nvidia-drm": "MIT", "nvidia-modeset": "NVIDIA"}
    files: Files = {}
    index = ""
    for name in MODULES:
        words = {
            **({"version": version} if name != "nvidia-peermem" else {}),
            "license": "Dual MIT/GPL" if is_open or name not in licences else licences[name],
            "name": name.replace("-", "_"),
            "vermagic": f"{built_for or release} SMP preempt mod_unload modversions ",
        }
        plain = elf_files.module(words, signature=b"signed by the distribution" if signed else b"")
        path = f"{folder}/{prefix}{name.removeprefix('nvidia')}.ko{suffix}"
        files[f"{base}/{release}/{path}"] = elf_files.compressed(plain, suffix)
        index += f"{path}:\n"
    files[f"{base}/{release}/modules.dep"] = f"kernel/fs/ext4/ext4.ko.zst:\n{index}"
    return files


def loaded(version: str, *, is_open: bool = True, compiler: str, uvm: int = 507) -> Files:
    """The driver in memory."""
    if is_open:
        line = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (dvs-builder@U22)  "
    else:
        line = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Tue Sep 23 10:11:16 UTC 2025"
    mark = "O" if is_open else "PO"
    return {
        "/proc/driver/nvidia/version": f"{line}\nGCC version:  {compiler}\n",
        "/proc/driver/nvidia/params": "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileUID: 0\n"
        'DeviceFileGID: 0\nDeviceFileMode: 438\nDynamicPowerManagement: 3\nRegistryDwords: ""\n',
        "/sys/module/nvidia/version": f"{version}\n",
        "/proc/modules": f"ext4 1 1 - Live 0x0\nnvidia_uvm 2076672 0 - Live 0x0 ({mark})\nnvidia_drm 135168 4 - Live 0x0 "
        f"({mark})\nnvidia_modeset 1638400 3 nvidia_drm, Live 0x0 ({mark})\nnvidia 104091648 42 "
        f"nvidia_uvm,nvidia_modeset, Live 0x0 ({mark})\nvideo 77824 2 i915,nvidia_modeset, Live 0x0\n",
        "/proc/devices": f"Character devices:\n  1 mem\n195 nvidia\n195 nvidia-modeset\n195 nvidiactl\n{uvm} nvidia-uvm\n"
        "510 nvidia-nvlink\n511 nvidia-caps\n\nBlock devices:\n  8 sd\n",
        "/dev/kmsg": _boot_log(version),
    }


def _boot_log(version: str) -> str:
    """What a sound driver prints at boot, with what else often stands there and is no sickness of a GPU."""
    lines = (
        "Linux version",
        "pci 0000:00:1c.0: BAR 13 [io  size 0x1000]: can't assign; no space",
        "nvidia: loading out-of-tree module taints kernel.",
        "nvidia: module verification failed: signature and/or required key missing - tainting kernel",
        "nvidia-nvlink: Nvlink Core is being initialized, major device number 510",
        "nvidia 0000:01:00.0: enabling device (0006 -> 0007)",
        "nvidia 0000:01:00.0: vgaarb: VGA decodes changed: olddecodes=io+mem,decodes=none:owns=none",
        f"NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (dvs-builder@U22)",
        f"nvidia-modeset: Loading NVIDIA UNIX Open Kernel Mode Setting Driver for x86_64  {version}  Release Build",
        "[drm] [nvidia-drm] [GPU ID 0x00000100] Loading driver",
        "[drm] Initialized nvidia-drm 0.0.0 for 0000:01:00.0 on minor 1",
        "nvidia-uvm: Loaded the UVM driver, major device number 507.",
        "NVRM: Xid (PCI:0000:01:00): 31, pid=4242, name=python3, Ch 00000008, intr 00000000. MMU Fault",
        "PM: suspend entry (deep)",
        "PM: suspend exit",
        "NVRM: GPU at PCI:0000:01:00: GPU-5f7a3a0e-1111-2222-3333-444455556666",
    )
    return "".join(f"4,{number},{number},-;{line}\n" for number, line in enumerate(lines))


LIBRARIES = ("libcuda", "libnvidia-ml", "libnvidia-ptxjitcompiler", "libnvidia-opencl", "libnvidia-cfg")


def libraries(version: str, folder: str = "/usr/lib/x86_64-linux-gnu", *, cached: Sequence[str] | None = None) -> Files:
    """The driver's user space, and a loader's cache that knows it; `cached`: the folders that this one lists."""
    files: Files = {}
    for name in LIBRARIES:
        files[f"{folder}/{name}.so.{version}"] = ""
        files[f"{folder}/{name}.so.1"] = f"-> {name}.so.{version}"
    folders = [folder] if cached is None else cached
    if folders:
        files["/etc/ld.so.cache"] = ld_cache([f"{place}/{name}.so.1" for place in folders for name in LIBRARIES])
    return files


def ld_cache(paths: Sequence[str]) -> bytes:
    """As ldconfig writes it, with the 32-bit libc that desktops have."""
    entries = [(0x0003, "libc.so.6", "/lib/i386-linux-gnu/libc.so.6")]
    entries += [(0x0003 if "i386" in path else 0x0303, path.rpartition("/")[2], path) for path in paths]
    strings, table = b"", b""
    start = 48 + 24 * len(entries)
    for flags, soname, path in entries:
        key = start + len(strings)
        strings += soname.encode() + b"\0"
        value = start + len(strings)
        strings += path.encode() + b"\0"
        table += struct.pack("=iIIIQ", flags, key, value, 0, 0)
    return b"glibc-ld.so.cache1.1" + struct.pack("=II5I", len(entries), len(strings), 0, 0, 0, 0, 0) + table + strings


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


def secure_boot(*, own_key: bytes = b"", enrolled: bool = True) -> Files:
    """Switched on; `own_key`: of the machine's owner, in the list of enrolled ones."""
    variables = "/sys/firmware/efi/efivars"
    return {
        f"{variables}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\6\0\0\0\1",
        f"{variables}/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f": b"\6\0\0\0Microsoft",
        f"{variables}/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23": b"\6\0\0\0Canonical" + own_key * enrolled,
        "/sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
        "/proc/sys/kernel/tainted": "4096\n",
    }


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
        "persistence_mode": False,
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


