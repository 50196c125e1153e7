"""Running machines of each family of distributions, laid out in folders as their package managers lay them out."""

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import elf_files
from disk_trees import disk
from driver_answers import Answers, Gpu, address_of, driver_answers
from package_databases import database

from gpudoctor.facts.packages import Package
from gpudoctor.host import FileStatus
from gpudoctor.testing import MachineTree

BOOTED = 1_795_300_000  # 2026-11-21
BEFORE, AFTER = BOOTED - 86_400, BOOTED + 86_400

Files = dict[str, str | bytes]


class Family(NamedTuple):
    """What differs between the families."""

    os_release: str
    manager: str  # "dpkg", "rpm", "pacman"
    libraries: str  # folder of the 64-bit libraries
    headers: str  # where /lib/modules/KERNEL/build leads
    initramfs: str  # name below /boot
    gcc: str  # the compiler in /proc/version; its major is the plain gcc of /usr/bin, too


UBUNTU = Family(
    'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n',
    "dpkg",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/src/linux-headers-{}",
    "initrd.img-{}",
    "x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0",
)
DEBIAN = UBUNTU._replace(
    os_release='ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    gcc="gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0",
)
FEDORA = Family(
    'ID=fedora\nVERSION_ID=42\nPRETTY_NAME="Fedora Linux 42 (Server Edition)"\n',
    "rpm",
    "/usr/lib64",
    "/usr/src/kernels/{}",
    "initramfs-{}.img",
    "gcc (GCC) 15.2.1 20250808 (Red Hat 15.2.1-1)",
)
SUSE = Family(
    'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\nPRETTY_NAME="openSUSE Leap 15.6"\n',
    "rpm",
    "/usr/lib64",
    "/usr/src/linux-{}-obj",
    "initrd-{}",
    "gcc (SUSE Linux) 7.5.0",
)
ARCH = Family(
    'ID=arch\nPRETTY_NAME="Arch Linux"\n',
    "pacman",
    "/usr/lib",
    "/usr/src/linux-{}",
    "initramfs-linux.img",
    "gcc (GCC) 15.2.1 20250813",
)


class Module(NamedTuple):
    """An NVIDIA module on the disk."""

    version: str
    place: str = "updates/dkms"  # folder below /lib/modules/KERNEL
    open: bool = False
    signed: bool = False
    written: float = BEFORE
    name: str = "nvidia"


class Machine(MachineTree):
    """With room on its disks as given, and with plenty elsewhere."""

    free: Mapping[str, int] = {}

    def free_bytes(self, path: str) -> int | None:
        return self.free.get(path, 40_000_000_000) if self.status(path) else None


def machine(
    folder: Path,
    family: Family,
    kernel: str,
    *,
    packages: Iterable[Package],
    others: Sequence[str] = (),
    modules: Mapping[str, Sequence[Module]] | None = None,
    headers: Sequence[str] | None = None,
    loaded: str = "",
    open_module: bool = False,
    user_space: str = "",
    gpus: Sequence[Gpu] = (Gpu(),),
    nvml: int | None = None,
    cuda: int | None = None,
    log: str = "",
    user: tuple[int, int] = (0, 0),
    mode: int = 0o666,
    secure_boot: bool = False,
    files: Mapping[str, str | bytes] | None = None,
    without: Sequence[str] = (),
    free: Mapping[str, int] | None = None,
) -> Machine:
    """A running machine. `others`: installed kernels beside the running one. `headers`: kernels that have theirs,
    all by default. `nvml`, `cuda`: return codes of starting them, by default those that follow from the versions.
    `without`: paths that are taken away again.
    """
    every: Files = {
        "/usr/lib/": "",
        "/lib": "-> usr/lib",
        "/etc/os-release": family.os_release,
        "/proc/sys/kernel/osrelease": f"{kernel}\n",
        "/proc/version": f"Linux version {kernel} (builder@example.org) ({family.gcc}, GNU ld 2.42) #1 SMP\n",
        "/proc/cmdline": f"BOOT_IMAGE=/boot/vmlinuz-{kernel} root=/dev/sda1 ro quiet\n",
        "/proc/stat": f"cpu 1 2 3\nbtime {BOOTED}\n",
        "/proc/self/status": f"Name:\tpython3\nUid:\t{user[0]}\t{user[0]}\t{user[0]}\t{user[0]}\n"
        f"Gid:\t{user[1]}\t{user[1]}\t{user[1]}\t{user[1]}\nGroups:\t{user[1]}\n",
        "/proc/self/cgroup": "0::/init.scope\n",
        "/etc/group": "root:x:0:\nvideo:x:44:\nada:x:1000:\n",
        "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/bash\n",
        "/proc/modules": "ext4 1 1 - Live 0x0\n",
        "/proc/devices": "Character devices:\n  1 mem\n\nBlock devices:\n",
        "/sys/kernel/security/lockdown": "none [integrity] confidentiality\n" if secure_boot else "[none] integrity\n",
        "/dev/kmsg": "6,0,0,-;Linux version\n" + "".join(f"4,1,1,-;{line}\n" for line in log.splitlines()),
        "/sys/bus/pci/devices/": "",
        "/usr/lib/modprobe.d/nvidia-blacklists-nouveau.conf": "blacklist nouveau\noptions nouveau modeset=0\n",
        "/var/": "",
        "/boot/": "",
        **_compiler(family),
        **database(family.manager, packages, folder),
    }
    releases = (kernel, *others)
    for release in releases:
        every |= _kernel(family, release, headers is None or release in headers)
    for release, there in (modules or {}).items():
        every |= _modules(release, there)
    if loaded:
        every |= _loaded(loaded, open_module, any(gpu.driver == "nvidia" for gpu in gpus))
    if user_space:
        for name in ("libcuda", "libnvidia-ml", "libnvidia-ptxjitcompiler"):
            every[f"{family.libraries}/{name}.so.{user_space}"] = ""
            every[f"{family.libraries}/{name}.so.1"] = f"-> {name}.so.{user_space}"
    if secure_boot:
        every["/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"] = b"\6\0\0\0\1"
        every.setdefault("/sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23", b"\6\0\0\0other")
    for version in {loaded, user_space, *(module.version for there in (modules or {}).values() for module in there)}:
        if version:
            every[f"/usr/lib/firmware/nvidia/{version}/gsp_ga10x.bin"] = ""
    for number, gpu in enumerate(gpus):
        every |= _gpu(address_of(number), gpu)
    every.update(files or {})
    disk(folder, {path: content for path, content in every.items() if path not in without})
    for release, there in (modules or {}).items():
        for module in there:
            path = folder / f"lib/modules/{release}/{module.place}/{module.name}.ko"
            os.utime(path, (module.written, module.written))
    for release in releases:
        initramfs = folder / "boot" / family.initramfs.format(release)
        if initramfs.exists():
            os.utime(initramfs, (BEFORE, BEFORE))
    held = sum(gpu.driver == "nvidia" for gpu in gpus)
    answers = Answers(str(folder), driver_answers(loaded, user_space, gpus, nvml, cuda))
    made = Machine(str(folder), nodes=_nodes(held, mode) if loaded and held else {}, probes=answers)
    made.free = free or {}
    return made


def _compiler(family: Family) -> Files:
    if family.manager != "dpkg":
        return {"/usr/bin/gcc": ""}
    name = f"gcc-{family.gcc.partition('gcc-')[2].partition(' ')[0]}"
    return {f"/usr/bin/{name}": "", "/usr/bin/gcc": f"-> {name}"}


def _kernel(family: Family, release: str, headers: bool) -> Files:
    modules = f"/usr/lib/modules/{release}"
    if family.manager == "pacman":
        files: Files = {f"{modules}/pkgbase": "linux\n", "/boot/vmlinuz-linux": "", f"{modules}/vmlinuz": ""}
    else:
        files = {f"/boot/vmlinuz-{release}": "", f"{modules}/modules.dep": ""}
    files[f"/boot/{family.initramfs.format(release)}"] = ""
    target = family.headers.format(release)
    files[f"{modules}/build"] = f"-> {target}"
    if headers:
        files[f"{target}/Makefile"] = ""
    return files


def _modules(release: str, modules: Sequence[Module]) -> Files:
    files: Files = {}
    for module in modules:
        licence = "Dual MIT/GPL" if module.open else "NVIDIA"
        words = {
            "version": module.version,
            "license": licence,
            "name": "nvidia",
            "vermagic": f"{release} SMP preempt mod_unload modversions ",
        }
        path = f"/usr/lib/modules/{release}/{module.place}/{module.name}.ko"
        files[path] = elf_files.module(words, signature=b"signed by someone" if module.signed else b"")
    return files


def dkms(source: str, version: str, built: Sequence[str] = (), log: str = "", kernel: str = "") -> Files:
    """A source in the DKMS tree, the kernels it was built for, and what the last failed build printed."""
    tree = f"/var/lib/dkms/{source}/{version}"
    files: Files = {
        f"/usr/src/{source}-{version}/dkms.conf": f"PACKAGE_NAME={source}\n",
        f"{tree}/source": f"-> /usr/src/{source}-{version}",
        "/usr/sbin/dkms": "",
    }
    for release in built:
        files[f"{tree}/{release}/x86_64/module/nvidia.ko"] = ""
        files[f"/var/lib/dkms/{source}/kernel-{release}-x86_64"] = f"-> {version}/{release}/x86_64"
    if log:
        head = f"DKMS make.log for {source}/{version} for kernel {kernel} (x86_64)\nMon Nov 23 06:50:11 UTC 2026\n"
        files[f"{tree}/build/make.log"] = head + log
    return files


def _loaded(version: str, is_open: bool, bound: bool) -> Files:
    kind = "Open Kernel Module for x86_64" if is_open else "x86_64 Kernel Module"
    files: Files = {
        "/proc/modules": "nvidia_uvm 1 0 - Live 0x0\nnvidia_drm 1 0 - Live 0x0\n"
        "nvidia_modeset 1 1 nvidia_drm, Live 0x0\n"
        "nvidia 9 3 nvidia_uvm,nvidia_drm,nvidia_modeset, Live 0x0\n",
        "/proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX {kind}  {version}  Release Build\n",
        "/proc/driver/nvidia/params": "DeviceFileMode: 438\nDeviceFileUID: 0\nDeviceFileGID: 0\nModifyDeviceFiles: 1\n",
        "/sys/module/nvidia/version": f"{version}\n",
    }
    if bound:
        files["/proc/devices"] = "Character devices:\n195 nvidia\n511 nvidia-uvm\n\nBlock devices:\n"
    return files


def _gpu(address: str, gpu: Gpu) -> Files:
    folder = f"/sys/bus/pci/devices/{address}"
    bound = f"DRIVER={gpu.driver}\n" if gpu.driver else ""
    return {
        f"{folder}/uevent": f"{bound}PCI_CLASS=30000\nPCI_ID=10DE:{gpu.device_id.upper()}\nPCI_SLOT_NAME={address}\n",
        f"{folder}/resource": "0xc0000000 0xc0ffffff 0x40200\n0x2000000000 0x3fffffffff 0x14220c\n",
        f"{folder}/config": b"\xff\xff\xff\xff" if gpu.gone else base64.b64decode("3hCyIA=="),
        f"{folder}/power/runtime_status": "active\n",
    }


def _nodes(gpus: int, mode: int) -> dict[str, FileStatus]:
    numbers = {f"/dev/nvidia{number}": (195, number) for number in range(gpus)}
    numbers |= {"/dev/nvidiactl": (195, 255), "/dev/nvidia-uvm": (511, 0)}
    group = 44 if mode != 0o666 else 0
    return {path: FileStatus("character", mode, 0, group, 0, BOOTED, device) for path, device in numbers.items()}
