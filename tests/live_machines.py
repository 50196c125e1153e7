"""Running machines laid out in folders, as Debian lays them out: the four driver versions can be set one by one."""

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import elf_files
from disk_trees import disk

from gpudoctor.host import FileStatus, Host, ProbeAnswer
from gpudoctor.machine import LiveHost
from gpudoctor.testing import MachineTree

KERNEL = "6.1.0-50-amd64"
OLD, NEW = "535.261.03", "535.309.01"
BOOTED = 1_795_300_000  # 2026-11-21
UPGRADED = BOOTED + 86_400  # the day after

_HISTORY = """
Start-Date: 2026-11-22  22:06:40
Commandline: /usr/bin/unattended-upgrade
Upgrade: libcuda1:amd64 ({old}-1, {new}-0+deb12u1), nvidia-kernel-dkms:amd64 ({old}-1, {new}-0+deb12u1)
End-Date: 2026-11-22  22:08:01
"""


class DriverOnly(LiveHost):
    """Really asks NVML and libcuda; the processes of the machine that the tests run on are not the imaginary one's."""

    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        nobody = ProbeAnswer({"holders": [], "deleted_libraries": [], "unreadable": 0}, "")
        return {**super().probe([name for name in names if name != "processes"]), "processes": nobody}


def debian(
    folder: Path,
    *,
    loaded: str = NEW,
    on_disk: str = NEW,
    user_space: str = NEW,
    packaged: str = NEW,
    built_at: float = BOOTED - 86_400,
    upgraded: bool = False,
    gpus: int = 1,
    driver: str = "nvidia",
    kernel_log: str = "",
    probes: Host | None = None,
    no_answer: str = "not asked in this test",
    extra: Mapping[str, str | bytes] | None = None,
) -> MachineTree:
    """A Debian 12 with A100s. "" leaves a version away: no module loaded, none on disk, no libraries, no packages."""
    modules = f"/lib/modules/{KERNEL}"
    files: dict[str, str | bytes] = {
        "/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "/proc/sys/kernel/osrelease": f"{KERNEL}\n",
        "/proc/version": f"Linux version {KERNEL} (debian-kernel@lists.debian.org)"
        " (gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40) #1 SMP\n",
        "/proc/cmdline": f"BOOT_IMAGE=/boot/vmlinuz-{KERNEL} root=/dev/sda1 ro quiet\n",
        "/proc/stat": f"cpu 1 2 3\nbtime {BOOTED}\n",
        "/proc/self/status": "Name:\tpython3\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0\n",
        "/proc/self/cgroup": "0::/init.scope\n",
        "/proc/modules": "ext4 1 1 - Live 0x0\n" + _loaded_modules(loaded),
        "/proc/devices": "Character devices:\n  1 mem\n"
        + ("195 nvidia\n511 nvidia-uvm\n" if loaded else "\nBlock devices:\n"),
        "/sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
        f"/boot/vmlinuz-{KERNEL}": "",
        f"/boot/initrd.img-{KERNEL}": "",
        "/vmlinuz": f"-> boot/vmlinuz-{KERNEL}",
        f"/usr/src/linux-headers-{KERNEL}/": "",
        f"{modules}/build": f"-> /usr/src/linux-headers-{KERNEL}",
        f"{modules}/modules.dep": "updates/dkms/nvidia-current.ko:\n" if on_disk else "",
        "/usr/bin/gcc": "-> gcc-12",
        "/usr/bin/gcc-12": "",
        "/usr/bin/dkms": "",
        "/usr/sbin/dkms": "",
        "/var/lib/dpkg/status": _status(packaged),
        "/dev/kmsg": "6,0,0,-;Linux version 6.1.0\n SUBSYSTEM=x\n"
        + "".join(f"4,1,1,-;{line}\n" for line in kernel_log.splitlines()),
        "/etc/modprobe.d/nvidia-blacklists-nouveau.conf": "blacklist nouveau\n",
        "/sys/bus/pci/devices/": "",
        **(extra or {}),
    }
    if loaded:
        line = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {loaded}  Mon Jun 23 16:07:21 UTC 2025\n"
        files["/proc/driver/nvidia/version"] = line
        files["/proc/driver/nvidia/params"] = "DeviceFileMode: 438\nModifyDeviceFiles: 1\n"
        files["/sys/module/nvidia/version"] = f"{loaded}\n"
    if on_disk:
        words = {**elf_files.NVIDIA, "version": on_disk, "vermagic": f"{KERNEL} SMP preempt mod_unload modversions "}
        files[f"{modules}/updates/dkms/nvidia-current.ko"] = elf_files.module(words)
        built = f"/var/lib/dkms/nvidia-current/{on_disk}/{KERNEL}/x86_64"
        files[f"{built}/log/make.log"] = "make: ok\n"
        files[f"{built}/module/nvidia-current.ko"] = ""
        files[f"/var/lib/dkms/nvidia-current/kernel-{KERNEL}-x86_64"] = f"-> {on_disk}/{KERNEL}/x86_64"
    for version in {on_disk, packaged} - {""}:  # a package registers its source, whether or not it is built
        files[f"/usr/src/nvidia-current-{version}/dkms.conf"] = "PACKAGE_NAME=nvidia-current\n"
        files[f"/var/lib/dkms/nvidia-current/{version}/source"] = f"-> /usr/src/nvidia-current-{version}"
    if user_space:
        for name in ("libcuda", "libnvidia-ml", "libnvidia-ptxjitcompiler"):
            files[f"/usr/lib/x86_64-linux-gnu/{name}.so.{user_space}"] = ""
            files[f"/usr/lib/x86_64-linux-gnu/{name}.so.1"] = f"-> {name}.so.{user_space}"
    if upgraded:
        files["/var/log/apt/history.log"] = _HISTORY.format(old=OLD, new=NEW)
    for number in range(gpus):
        files |= _gpu(f"0000:{7 + number:02x}:00.0", driver)
    disk(folder, files)
    for path in (folder / modules.lstrip("/")).rglob("nvidia-current.ko"):
        os.utime(path, (built_at, built_at))
    nodes = _nodes(gpus) if loaded else {}
    return MachineTree(str(folder), nodes=nodes, probes=probes, no_answer=no_answer)


def _loaded_modules(version: str) -> str:
    if not version:
        return ""
    return "nvidia_uvm 1 0 - Live 0x0\nnvidia_drm 1 0 - Live 0x0\nnvidia 9 2 nvidia_uvm,nvidia_drm, Live 0x0\n"


def _gpu(address: str, driver: str) -> dict[str, str | bytes]:
    folder = f"/sys/bus/pci/devices/{address}"
    bound = f"DRIVER={driver}\n" if driver else ""
    return {
        f"{folder}/uevent": f"{bound}PCI_CLASS=30200\nPCI_ID=10DE:20B2\nPCI_SLOT_NAME={address}\n",
        f"{folder}/resource": "0xc0000000 0xc0ffffff 0x40200\n0x2000000000 0x3fffffffff 0x14220c\n",
        f"{folder}/config": base64.b64decode("3hCyIA=="),
        f"{folder}/power/runtime_status": "active\n",
    }


def _nodes(gpus: int) -> dict[str, FileStatus]:
    numbers = {f"/dev/nvidia{number}": (195, number) for number in range(gpus)}
    numbers |= {"/dev/nvidiactl": (195, 255), "/dev/nvidia-uvm": (511, 0)}
    return {path: FileStatus("character", 0o666, 0, 0, 0, BOOTED, device) for path, device in numbers.items()}


def _status(version: str) -> str:
    packages = {
        "dkms": "3.0.10-8+deb12u1",
        "gcc-12": "12.2.0-14+deb12u1",
        "linux-image-amd64": "6.1.176-1",
        "linux-headers-amd64": "6.1.176-1",
        f"linux-image-{KERNEL}": "6.1.176-1",
        f"linux-headers-{KERNEL}": "6.1.176-1",
    }
    if version:
        names = (
            "libcuda1",
            "libnvidia-ml1",
            "nvidia-kernel-dkms",
            "nvidia-smi",
            "firmware-nvidia-gsp",
            "nvidia-alternative",
        )
        packages |= dict.fromkeys(names, f"{version}-0+deb12u1")
        packages["nvidia-modprobe"] = "535.161.07-1~deb12u1"
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nMaintainer: Debian NVIDIA Maintainers"
        f" <pkg-nvidia-devel@lists.alioth.debian.org>\nArchitecture: amd64\nVersion: {number}\n"
        for name, number in packages.items()
    )
