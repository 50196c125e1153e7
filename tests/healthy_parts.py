"""Files of healthy running machines, as true to life as they can be laid out: kernel, modules, driver, libraries."""

import struct
from collections.abc import Sequence

import elf_files
from family_machines import BOOTED, Files

MODULES = ("nvidia", "nvidia-drm", "nvidia-modeset", "nvidia-peermem", "nvidia-uvm")


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
        "/proc/self/status": f"Name:\tpython3\nUid:\t{user}\t{user}\t{user}\t{user}\n"
        f"Gid:\t{user}\t{user}\t{user}\t{user}\nGroups:\t{user}\n",
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
        "/proc/modules": f"ext4 1 1 - Live 0x0\nnvidia_uvm 2076672 0 - Live 0x0 ({mark})\n"
        f"nvidia_drm 135168 4 - Live 0x0 ({mark})\nnvidia_modeset 1638400 3 nvidia_drm, Live 0x0 ({mark})\n"
        f"nvidia 104091648 42 nvidia_uvm,nvidia_modeset, Live 0x0 ({mark})\nvideo 77824 1 nvidia_modeset, Live 0x0\n",
        "/proc/devices": "Character devices:\n  1 mem\n195 nvidia\n195 nvidia-modeset\n195 nvidiactl\n"
        f"{uvm} nvidia-uvm\n510 nvidia-nvlink\n511 nvidia-caps\n\nBlock devices:\n  8 sd\n",
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


def gcc(name: str) -> Files:
    return {f"/usr/bin/{name}": "", "/usr/bin/gcc": f"-> {name}"}


def gsp(version: str, folder: str = "/lib/firmware/nvidia", suffix: str = "") -> Files:
    """With nouveau's firmware beside it, which is named after chips."""
    chips = {f"{folder}/{chip}/gsp/gsp-535.113.01.bin": "" for chip in ("tu102", "ga102", "ad102")}
    own = {f"{folder}/{version}/gsp_{chip}.bin{suffix}": "" for chip in ("ga10x", "tu10x")}
    return chips | own


BLACKLIST = "# Generated by nvidia-kernel-common-580\nblacklist nouveau\nblacklist lbm-nouveau\nalias nouveau off\n"
MULTIARCH = "/usr/lib/x86_64-linux-gnu"
