"""Healthy machines that are not one computer with one driver: virtual machines and their hosts, WSL, boards."""

from pathlib import Path

from family_machines import BOOTED, Files
from healthy_debian import JAMMY, NOBLE, noble_desktop, noble_packages
from healthy_machines import AMD, DESKTOP, INTEL, UBUNTU_CORE, Card, Running, answers, bus, listed, running
from healthy_parts import MULTIARCH, gcc, kernel, ld_cache, modules, system
from healthy_rpm import FEDORA, FEDORA_GCC

from gpudoctor.facts.vgpu import MANAGER_LOG
from gpudoctor.host import Completed, FileStatus


def wsl(folder: Path, user: int) -> Running:
    release, version = "6.6.87.2-microsoft-standard-WSL2", "580.102.01"
    files = system(NOBLE, release, "gcc (GCC) 11.2.0", arguments="console=hvc0", user=user)
    files |= {
        "/run/systemd/container": "wsl\n",
        "/dev/kmsg": "4,1,1,-;misc dxg: dxgk: dxgkio_query_adapter_info: -22\n",
    }
    folder_of_windows = "/usr/lib/wsl/lib"
    for name in ("libcuda.so", "libnvidia-ml.so", "libnvidia-ptxjitcompiler.so"):
        files[f"{folder_of_windows}/{name}.1"] = ""
    files[f"{folder_of_windows}/libcuda.so.1"] = "-> libcuda.so.1.1"
    files[f"{folder_of_windows}/libcuda.so.1.1"] = ""
    files["/etc/ld.so.cache"] = ld_cache([f"{folder_of_windows}/{name}.so.1" for name in ("libcuda", "libnvidia-ml")])
    files |= {"/etc/ld.so.conf.d/ld.wsl.conf": f"{folder_of_windows}\n"} | gcc("gcc-13")
    files |= bus([], others={"0001:00:00.0": ("30200", "1414:008E", "dxgkrnl")})
    packages = {
        "cuda-toolkit-13-0": "13.0.2-1",
        "gcc-13": "13.3.0-6ubuntu2~24.04",
        "nvidia-container-toolkit": "1.18.0-1",
    }
    card = Card("0000:01:00.0", "2684", "NVIDIA GeForce RTX 4090")
    said = answers([card], version, folder_of_windows)
    said["nvml"]["driver_version"] = "581.57"
    said["nvml"]["library_path"] = f"{folder_of_windows}/libnvidia-ml.so.1"
    dxg = FileStatus("character", 0o666, 0, 0, 0, BOOTED, (10, 125))
    found = listed(packages, {"": UBUNTU_CORE})
    return running(folder, files, packages=found, said=said, more_nodes={"/dev/dxg": dxg}, user=user)


def wsl_container(folder: Path, user: int) -> Running:
    """Docker in WSL: the marks of both."""
    made = wsl(folder, user)
    (folder / ".dockerenv").touch()
    return made


def noble_dkms(cards: list[Card], user: int, version: str = "580.95.05", **others: tuple[str, str, str]) -> Files:
    """A plain Ubuntu with ready-made modules."""
    files = noble_desktop("6.14.0-37-generic", "6.14.0-37-generic", version, user)
    del files["/etc/prime-discrete"]
    return files | bus(cards, others=others or AMD)


NOBLE_FOUND = listed(noble_packages("580.95.05", "6.14.0-37-generic"), {"": UBUNTU_CORE})


def passthrough_host(folder: Path, user: int) -> Running:
    """One GPU is kept for virtual machines by a setting, the other one computes here."""
    kept = Card("0000:21:00.0", "2331", "NVIDIA H100 PCIe", driver="vfio-pci", listed=False)
    cards = [DESKTOP, kept]
    files = noble_dkms(cards, user)
    files["/etc/modprobe.d/vfio.conf"] = "options vfio-pci ids=10de:2331\nsoftdep nvidia pre: vfio-pci\n"
    said = answers(cards, "580.95.05", MULTIARCH)
    return running(folder, files, packages=NOBLE_FOUND, cards=cards, said=said, user=user)


def libvirt_host(folder: Path, user: int) -> Running:
    """libvirt handed one GPU to a virtual machine that runs now; no file says so."""
    cards = [DESKTOP, DESKTOP._replace(address="0000:21:00.0", driver="vfio-pci", listed=False)]
    said = answers(cards, "580.95.05", MULTIARCH)
    return running(folder, noble_dkms(cards, user), packages=NOBLE_FOUND, cards=cards, said=said, user=user)


def hypervisor(folder: Path, user: int) -> Running:
    """All GPUs are for virtual machines; no driver of NVIDIA's is here."""
    cards = [
        Card(f"0000:{number}:00.0", "2331", "NVIDIA H100 PCIe", driver="vfio-pci", listed=False) for number in (21, 81)
    ]
    release = "6.8.12-15-pve"
    files = system(
        'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        release,
        "gcc (Debian 12.2.0-14+deb12u1) 12.2.0",
        arguments="quiet intel_iommu=on",
        user=user,
    )
    files |= kernel(release, headers="") | bus(cards)
    files["/etc/modprobe.d/vfio.conf"] = "options vfio-pci ids=10de:2331 disable_vga=1\n"
    files["/etc/modprobe.d/pve-blacklist.conf"] = "blacklist nvidiafb\nblacklist nouveau\nblacklist nvidia\n"
    packages = {
        f"proxmox-kernel-{release}-signed": "6.8.12-15",
        "proxmox-default-kernel": "1.1.0",
        "gcc-12": "12.2.0-14",
    }
    found = listed(packages, {"": "Proxmox Support Team <support@proxmox.com>"})
    return running(folder, files, packages=found, cards=cards, user=user)


def vgpu_host(folder: Path, user: int) -> Running:
    """NVIDIA's vGPU manager shares two GPUs out to virtual machines: it brings NVML, and nothing of CUDA."""
    version, release = "580.95.02", "6.14.0-37-generic"
    cards = [Card(f"0000:{number}:00.0", "26b9", "NVIDIA L40S") for number in (21, 81)]
    files = noble_dkms(cards, user, version)
    for path in [path for path in files if path.partition(".so")[0].endswith(("libcuda", "ptxjitcompiler"))]:
        del files[path]
    files["/etc/ld.so.cache"] = ld_cache([f"{MULTIARCH}/libnvidia-ml.so.1"])
    files["/proc/modules"] = (
        "nvidia_vgpu_vfio 122880 9 - Live 0x0 (O)\nnvidia 8699904 12 nvidia_vgpu_vfio, Live 0x0 (O)\n"
    )
    for number in range(4, 8):  # parts of a GPU that are given away one by one
        part = f"/sys/bus/pci/devices/0000:21:00.{number}"
        files |= {
            f"{part}/uevent": "DRIVER=nvidia\nPCI_CLASS=30200\nPCI_ID=10DE:26B9\n",
            f"{part}/physfn": "-> ../0000:21:00.0",
        }
    said = answers(cards, version, MULTIARCH)
    said["cuda"] |= {"return_code": None, "return_name": "", "library_path": None, "device_count": 0}
    said["cuda"]["error"] = "libcuda.so.1: cannot open shared object file: No such file or directory"
    for gpu in said["nvml"]["gpus"]:
        gpu["virtualization_mode"] = "host_vgpu"
    found = listed(
        {f"linux-image-{release}": "6.14.0-37.37", "nvidia-vgpu-ubuntu-580": version}, {"": "NVIDIA Corporation"}
    )
    journal = Completed(MANAGER_LOG, 0, "", "")
    return running(folder, files, packages=found, cards=cards, said=said, user=user, commands={MANAGER_LOG: journal})


def guest(folder: Path, user: int) -> Running:
    """A virtual machine that was given a GPU: an odd address, a short bus, no other graphics than QEMU's."""
    card = Card("0000:06:00.0", "2335", "NVIDIA H200")
    files = noble_dkms([card], user, **{"0000:00:01.0": ("30000", "1234:1111", "bochs-drm")})
    said = answers([card], "580.95.05", MULTIARCH)
    return running(folder, files, packages=NOBLE_FOUND, cards=[card], said=said, user=user)


def amd_display(folder: Path, user: int) -> Running:
    said = answers([DESKTOP], "580.95.05", MULTIARCH)
    return running(folder, noble_dkms([DESKTOP], user), packages=NOBLE_FOUND, cards=[DESKTOP], said=said, user=user)


def intel_only(folder: Path, user: int) -> Running:
    """No GPU of NVIDIA's, no driver: healthy for whoever expects none."""
    release = "6.17.5-200.fc42.x86_64"
    files = system(FEDORA, release, FEDORA_GCC, user=user) | kernel(release, initramfs="initramfs-{}.img", headers="")
    packages = listed(
        {"kernel-core": "6.17.5-200.fc42", "nvidia-gpu-firmware": "20251021-1.fc42"}, {"": "Fedora Project"}
    )
    return running(folder, files | bus([], others=INTEL), manager="rpm", packages=packages, user=user)


def jetson(folder: Path, user: int, *, new: bool) -> Running:
    """Orin: the GPU is a part of the chip, driven by nvgpu. JetPack 6 (new) brings NVML, JetPack 5 does not."""
    release = "5.15.148-tegra" if new else "5.10.120-tegra"
    files = system(JAMMY, release, "aarch64-buildroot-linux-gnu-gcc.br_real (Buildroot 2022.08) 11.3.0", user=user)
    tegra = "/usr/lib/aarch64-linux-gnu"
    own = f"{tegra}/nvidia" if new else f"{tegra}/tegra"
    files |= {
        f"{own}/libcuda.so.1.1": "",
        f"{own}/libcuda.so.1": "-> libcuda.so.1.1",
        f"{tegra}/libcuda.so.1": f"-> {own}/libcuda.so.1.1",
    }
    files["/etc/ld.so.cache"] = ld_cache([f"{tegra}/libcuda.so.1", *([f"{own}/libnvidia-ml.so.1"] if new else [])])
    files["/etc/nv_tegra_release"] = (
        f"# R{36 if new else 35} (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n"
    )
    files["/proc/modules"] = "nvgpu 2654208 23 - Live 0x0\nnvmap 200704 68 nvgpu, Live 0x0 (O)\n"
    if new:
        files[f"{own}/libnvidia-ml.so.1"] = ""
        files["/proc/driver/nvidia/version"] = (
            "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (builder@mobile)\n"
            "GCC version:  collect2: error: ld returned 1 exit status\n"
        )
        files["/proc/modules"] += (
            "nvidia_modeset 1261568 5 - Live 0x0 (O)\nnvidia 1474560 9 nvidia_modeset, Live 0x0 (O)\n"
        )
        files |= modules(release, "updates/opensrc-disp", "540.4.0")
    files["/proc/devices"] = "Character devices:\n195 nvidia\n508 nvgpu\n\nBlock devices:\n"
    files |= bus(
        [], others={"0001:00:00.0": ("60400", "10DE:229E", "pcieport"), "0000:00:00.0": ("60400", "10DE:229A", "")}
    )
    version = "36.4.3-20250107174145" if new else "35.4.1-20230801124926"
    names = ("core", "cuda", "kernel", "kernel-headers", "kernel-oot-modules", "init", "3d-core", "firmware", "tools")
    packages = {f"nvidia-l4t-{name}:arm64": version for name in names}
    packages |= {"nvidia-jetpack:arm64": "6.2+b77", "cuda-toolkit-12-6:arm64": "12.6.11-1", "gcc-11:arm64": "11.4.0-1"}
    card = Card("", "", "Orin (nvgpu)")
    said = answers([card], "540.4.0", own, cuda=12060)
    gpu = said["nvml"]["gpus"]
    assert isinstance(gpu, list)
    gpu[0] |= {"pci_address": None, "pci_device_id": None, "memory_total_bytes": None}
    if not new:
        said["nvml"] |= {
            "return_code": 12,
            "return_name": "NVML_ERROR_LIBRARY_NOT_FOUND",
            "library_path": None,
            "gpus": [],
        }
    names_of_nodes = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-modeset") if new else ("/dev/nvhost-gpu",)
    there = {name: FileStatus("character", 0o666, 0, 44, 0, BOOTED, (195, 0)) for name in names_of_nodes}
    return running(
        folder, files, packages=listed(packages, {"": "NVIDIA Corporation"}), said=said, more_nodes=there, user=user
    )


def jetpack_6(folder: Path, user: int) -> Running:
    return jetson(folder, user, new=True)


def jetpack_5(folder: Path, user: int) -> Running:
    return jetson(folder, user, new=False)
