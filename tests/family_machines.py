"""Running machines of each family of distributions, laid out in folders as their package managers lay them out."""

import base64
import os
import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import elf_files
from disk_trees import disk

from gpudoctor.facts.packages import Package
from gpudoctor.host import FileStatus, ProbeAnswer, RootHost
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


class Gpu(NamedTuple):
    """One GPU on the bus, and what NVML says of it."""

    device_id: str = "20B2"
    driver: str = "nvidia"
    answer: int | None = 0  # NVML's return code for it; None: NVML does not list it
    gone: bool = False  # its configuration space reads as all ones


class Module(NamedTuple):
    """An NVIDIA module on the disk."""

    version: str
    place: str = "updates/dkms"  # folder below /lib/modules/KERNEL
    open: bool = False
    signed: bool = False
    written: float = BEFORE
    name: str = "nvidia"


class Answers(RootHost):
    """What NVML and libcuda answer, as their probes print it."""

    def __init__(self, root: str, answers: Mapping[str, dict[str, object]]) -> None:
        super().__init__(root)
        self.answers = answers

    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        return {name: ProbeAnswer(self.answers[name], "") for name in names}


class Machine(MachineTree):
    """With room on its disks as given, and with plenty elsewhere."""

    free: Mapping[str, int] = {}

    def free_bytes(self, path: str) -> int | None:
        return self.free.get(path, 40_000_000_000) if self.status(path) else None


NVML = {
    0: "NVML_SUCCESS",
    4: "NVML_ERROR_NO_PERMISSION",
    9: "NVML_ERROR_DRIVER_NOT_LOADED",
    12: "NVML_ERROR_LIBRARY_NOT_FOUND",
    15: "NVML_ERROR_GPU_IS_LOST",
    18: "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
}
CUDA = {
    0: "CUDA_SUCCESS",
    100: "CUDA_ERROR_NO_DEVICE",
    803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    999: "CUDA_ERROR_UNKNOWN",
}


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
        **_database(family, packages, folder),
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
    for number, gpu in enumerate(gpus):
        every |= _gpu(_address(number), gpu)
    every.update(files or {})
    disk(folder, {path: content for path, content in every.items() if path not in without})
    for release, there in (modules or {}).items():
        for module in there:
            path = folder / f"lib/modules/{release}/{module.place}/{module.name}.ko"
            os.utime(path, (module.written, module.written))
    held = sum(gpu.driver == "nvidia" for gpu in gpus)
    answers = Answers(str(folder), _answers(loaded, user_space, gpus, nvml, cuda))
    made = Machine(str(folder), nodes=_nodes(held, mode) if loaded and held else {}, probes=answers)
    made.free = free or {}
    return made


def _address(number: int) -> str:
    return f"0000:{number + 1:02x}:00.0"


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
    files[f"/boot/{family.initramfs.format(release)}"] = "initramfs"
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
        "/proc/modules": "nvidia_uvm 1 0 - Live 0x0\nnvidia_drm 1 0 - Live 0x0\nnvidia_modeset 1 1 nvidia_drm, Live 0x0\n"
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


def _answers(
    loaded: str, user_space: str, gpus: Sequence[Gpu], nvml: int | None, cuda: int | None
) -> dict[str, dict[str, object]]:
    fits = bool(loaded) and loaded == user_space
    listed = [(number, gpu) for number, gpu in enumerate(gpus) if gpu.driver == "nvidia" and gpu.answer is not None]
    if nvml is None:
        nvml = 0 if fits else 18 if loaded and user_space else 12 if not user_space else 9
    if cuda is None:
        cuda = 0 if fits and any(gpu.answer == 0 for _, gpu in listed) else 803 if loaded and user_space else 100
        cuda = 100 if fits and cuda else cuda
    told: list[dict[str, object]] = [
        {
            "index": index,
            "return_code": gpu.answer,
            "return_name": NVML[gpu.answer or 0],
            "name": "NVIDIA GPU" if not gpu.answer else None,
            "uuid": f"GPU-{number}" if not gpu.answer else None,
            "pci_address": _address(number) if not gpu.answer else None,
            "field_errors": {},
        }
        for index, (number, gpu) in enumerate(listed)
    ]
    return {
        "nvml": {
            "return_code": nvml,
            "return_name": NVML[nvml],
            "message": "",
            "library_path": "libnvidia-ml.so.1",
            "nvml_version": f"13.{user_space}",
            "driver_version": loaded,
            "cuda_driver_version": 13000,
            "gpus": told if nvml == 0 else [],
        },
        "cuda": {
            "return_code": cuda if user_space else None,
            "return_name": CUDA[cuda] if user_space else "",
            "message": "",
            "error": "" if user_space else "libcuda.so.1: cannot open shared object file",
            "library_path": "libcuda.so.1",
            "driver_version": 13000,
            "device_count": sum(gpu.answer == 0 for _, gpu in listed) if cuda == 0 else 0,
        },
        "processes": {"holders": [], "deleted_libraries": [], "unreadable": 0},
    }


def _database(family: Family, packages: Iterable[Package], folder: Path) -> Files:
    match family.manager:
        case "dpkg":
            return {"/var/lib/dpkg/status": "\n".join(_stanza(package) for package in packages)}
        case "pacman":
            return {"/var/lib/pacman/local/ALPM_DB_VERSION": "9\n"} | {
                f"/var/lib/pacman/local/{package.name}-{package.version}/desc": _description(package)
                for package in packages
            }
        case _:
            _rpm_database(folder / "usr/lib/sysimage/rpm/rpmdb.sqlite", packages)
            return {}


def _stanza(package: Package) -> str:
    wish = "hold" if package.hold else "deinstall" if package.state == "removed" else "install"
    state = {"removed": "config-files"}.get(package.state, package.state)
    depends = f"Depends: {', '.join(package.depends)}\n" if package.depends else ""
    return (
        f"Package: {package.name}\nStatus: {wish} ok {state}\nMaintainer: {package.vendor}\n"
        f"Architecture: {package.architecture}\nVersion: {package.version}\n{depends}"
    )


def _description(package: Package) -> str:
    depends = "".join(f"{word.replace(' (', '').replace(')', '').replace(' ', '')}\n" for word in package.depends)
    return (
        f"%NAME%\n{package.name}\n\n%VERSION%\n{package.version}\n\n%ARCH%\nx86_64\n\n"
        f"%PACKAGER%\n{package.vendor}\n\n%DEPENDS%\n{depends}\n"
    )


def _rpm_database(path: Path, packages: Iterable[Package]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        connection.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        connection.execute("CREATE TABLE Basenames (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        for number, package in enumerate(packages, 1):
            connection.execute("INSERT INTO Packages VALUES (?, ?)", (number, _header(package)))
            connection.execute("INSERT INTO Name VALUES (?, ?, 0)", (package.name, number))
    connection.close()


def _header(package: Package) -> bytes:
    """As rpm stores it: counts, entries (tag, type, offset, count), data."""
    epoch, _, rest = package.version.rpartition(":")
    version, _, release = rest.partition("-")
    words = {1000: package.name, 1001: version, 1002: release, 1011: package.vendor, 1022: package.architecture}
    entries, data = b"", b""
    for tag, word in words.items():
        entries += struct.pack(">IIII", tag, 6, len(data), 1)
        data += word.encode() + b"\0"
    count = len(words)
    if epoch:
        data += b"\0" * (-len(data) % 4)
        entries += struct.pack(">IIII", 1003, 4, len(data), 1)
        data += struct.pack(">I", int(epoch))
        count += 1
    return struct.pack(">II", count, len(data)) + entries + data


def dnf_history(path: Path, runs: Sequence[tuple[int, str, Sequence[tuple[str, str, str, str]]]]) -> None:
    """dnf 5's database: (begin, command line, ((name, epoch:version-release that came, action, what left), ...))."""
    path.parent.mkdir(parents=True, exist_ok=True)
    actions = ["Install", "Upgrade", "Remove", "Replaced"]
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trans (id INTEGER, dt_begin INTEGER, dt_end INTEGER, description TEXT)")
        connection.execute(
            "CREATE TABLE trans_item (id INTEGER PRIMARY KEY, trans_id INTEGER, item_id INTEGER, action_id INTEGER)"
        )
        connection.execute(
            "CREATE TABLE rpm (item_id INTEGER PRIMARY KEY, name_id INTEGER, epoch INTEGER, version TEXT,"
            " release TEXT, arch_id INTEGER)"
        )
        for table in ("pkg_name", "arch", "trans_item_action"):
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO arch VALUES (1, 'x86_64')")
        connection.executemany("INSERT INTO trans_item_action VALUES (?, ?)", enumerate(actions, 1))
        for number, (begin, command, items) in enumerate(runs, 1):
            connection.execute("INSERT INTO trans VALUES (?, ?, ?, ?)", (number, begin, begin + 60, command))
            for name, came, action, left in items:
                for full, what in ((came, action), (left, "Replaced")):
                    if not full:
                        continue
                    epoch, _, rest = full.rpartition(":")
                    version, _, release = rest.partition("-")
                    key = connection.execute("INSERT INTO pkg_name (name) VALUES (?)", (name,)).lastrowid
                    item = connection.execute(
                        "INSERT INTO rpm (name_id, epoch, version, release, arch_id) VALUES (?, ?, ?, ?, 1)",
                        (key, int(epoch or 0), version, release),
                    ).lastrowid
                    connection.execute(
                        "INSERT INTO trans_item (trans_id, item_id, action_id) VALUES (?, ?, ?)",
                        (number, item, actions.index(what) + 1),
                    )
    connection.close()


def apt_history(when: str, command: str, *changes: str, ended: bool = True) -> str:
    """One run: changes like "Upgrade: libnvidia-compute-580:amd64 (580.82.07-0ubuntu0.24.04.1, 580.95.05-...)"."""
    day, clock = when.split()
    lines = [f"Start-Date: {day}  {clock}", f"Commandline: {command}", *changes]
    return "\n" + "\n".join([*lines, *([f"End-Date: {day}  {clock[:3]}59:59"] if ended else [])]) + "\n"
