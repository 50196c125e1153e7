"""Healthy machines with Arch, Gentoo and NixOS."""

from pathlib import Path

from family_machines import dkms
from healthy_machines import DESKTOP, Running, answers, bus, listed, running
from healthy_parts import gsp, kernel, libraries, loaded, modules, system

ARCH = 'ID=arch\nPRETTY_NAME="Arch Linux"\nBUILD_ID=rolling\n'
NIXOS = 'ID=nixos\nVERSION_ID="25.05"\nPRETTY_NAME="NixOS 25.05 (Warbler)"\n'
HAASE = "Sven-Hendrik Haase <svenstaro@archlinux.org>"


def arch(folder: Path, user: int) -> Running:
    release, version = "6.17.7-arch1-1", "580.95.05"
    files = system(ARCH, release, "gcc (GCC) 15.2.1 20250813", user=user)
    files |= {"/boot/vmlinuz-linux": "", "/boot/initramfs-linux.img": "i", f"/lib/modules/{release}/pkgbase": "linux\n"}
    files |= {f"/lib/modules/{release}/vmlinuz": "", "/lib64": "-> usr/lib", "/usr/lib64": "-> lib"}
    files |= modules(release, "extramodules", version, suffix=".zst") | libraries(version, "/usr/lib")
    files |= loaded(version, compiler="gcc version 15.2.1 20250813 (GCC)") | gsp(version, "/usr/lib/firmware/nvidia")
    files |= {"/usr/lib/modprobe.d/nvidia-utils.conf": "blacklist nouveau\n", "/boot/loader/loader.conf": "timeout 3\n"}
    packages = {"nvidia-open": f"{version}-6", "nvidia-utils": f"{version}-1", "lib32-nvidia-utils": f"{version}-1"}
    packages |= {"linux": "6.17.7.arch1-1", "linux-firmware-nvidia": "20251021-1", "nvidia-settings": f"{version}-1"}
    packages |= {"opencl-nvidia": f"{version}-1", "cuda": "13.0.2-1", "gcc": "15.2.1+r301+gf24307422d1d-1"}
    needs = {
        "nvidia-open": ("linux", f"nvidia-utils (= {version})", "libglvnd"),
        "lib32-nvidia-utils": ("lib32-gcc-libs",),
    }
    found, files = listed(packages, {"": HAASE}, depends=needs), files | bus([DESKTOP])
    return running(
        folder,
        files,
        manager="pacman",
        packages=found,
        cards=[DESKTOP],
        said=answers([DESKTOP], version, "/usr/lib"),
        user=user,
    )


def arch_lts_dkms(folder: Path, user: int) -> Running:
    """Two kernels, the LTS one runs; systemd-boot's default names neither of them clearly to an ordinary user."""
    release, other, version = "6.12.57-1-lts", "6.17.7-arch1-1", "580.95.05"
    files = system(ARCH, release, "gcc (GCC) 15.2.1 20250813", arguments="rw nvidia_drm.modeset=1", user=user)
    for number, name in ((release, "linux-lts"), (other, "linux")):
        files |= {f"/boot/vmlinuz-{name}": "", f"/boot/initramfs-{name}.img": "i"}
        files |= {f"/lib/modules/{number}/pkgbase": f"{name}\n", f"/lib/modules/{number}/vmlinuz": ""}
        files |= {f"/lib/modules/{number}/build/Makefile": ""}
        files |= modules(number, "updates/dkms", version, suffix=".zst")
    files |= dkms("nvidia", version, built=[release, other]) | libraries(version, "/usr/lib") | {"/usr/bin/gcc": ""}
    files |= loaded(version, compiler="gcc version 15.2.1 20250813 (GCC)") | gsp(version, "/usr/lib/firmware/nvidia")
    files |= {"/usr/lib/modprobe.d/nvidia-utils.conf": "blacklist nouveau\n"}
    files |= {"/boot/loader/loader.conf": "default arch-lts.conf\ntimeout 3\n"}
    files["/boot/loader/entries/arch-lts.conf"] = "title Arch (lts)\nlinux /vmlinuz-linux-lts\n"
    packages = {"nvidia-open-dkms": f"{version}-6", "nvidia-utils": f"{version}-1", "dkms": "3.2.2-1"}
    packages |= {"linux-lts": "6.12.57-1", "linux-lts-headers": "6.12.57-1", "linux": "6.17.7.arch1-1"}
    packages |= {"linux-headers": "6.17.7.arch1-1", "egl-wayland": "4:1.1.20-1", "nvidia-prime": "1.0-5"}
    found = listed(packages, {"": HAASE}, depends={"nvidia-open-dkms": ("dkms", f"nvidia-utils (= {version})")})
    files |= bus([DESKTOP])
    return running(
        folder,
        files,
        manager="pacman",
        packages=found,
        cards=[DESKTOP],
        said=answers([DESKTOP], version, "/usr/lib"),
        user=user,
    )


def gentoo(folder: Path, user: int) -> Running:
    """No package manager that gpudoctor knows."""
    release, version = "6.12.57-gentoo-dist", "580.95.05"
    files = system('ID=gentoo\nPRETTY_NAME="Gentoo Linux"\n', release, "gcc (Gentoo 14.3.0 p8) 14.3.0", user=user)
    files |= kernel(release, initramfs="initramfs-{}.img", headers="/usr/src/linux-{}")
    files |= modules(release, "video", version, suffix=".xz") | libraries(version, "/usr/lib64") | {"/usr/bin/gcc": ""}
    files |= loaded(version, compiler="gcc version 14.3.0 (Gentoo 14.3.0 p8)") | gsp(version) | bus([DESKTOP])
    files["/var/db/pkg/x11-drivers/nvidia-drivers-580.95.05/PF"] = "nvidia-drivers-580.95.05\n"
    said = answers([DESKTOP], version, "/usr/lib64")
    return running(folder, files, manager="", cards=[DESKTOP], said=said, user=user)


def nixos(folder: Path, user: int) -> Running:
    """Nothing lies where other distributions have it."""
    release, version, store = "6.12.57", "580.95.05", "/nix/store/0a1b2c3d-nvidia-x11-580.95.05-6.12.57"
    files = system(
        NIXOS, release, "gcc (GCC) 14.3.0", arguments="init=/nix/store/x/init nvidia-drm.modeset=1", user=user
    )
    del files["/lib"], files["/usr/lib/"]
    files |= loaded(version, compiler="gcc version 14.3.0 (GCC)") | bus([DESKTOP])
    for name in ("libcuda", "libnvidia-ml"):
        files[f"{store}/lib/{name}.so.{version}"] = ""
        files[f"/run/opengl-driver/lib/{name}.so.1"] = f"-> {store}/lib/{name}.so.{version}"
    for generation in ("booted-system", "current-system"):
        base = f"/run/{generation}/kernel-modules/lib/modules"
        files |= modules(release, "kernel/drivers/video", version, base=base, suffix=".xz")
    files["/run/current-system/kernel"] = ""
    files["/sys/module/firmware_class/parameters/path"] = "/run/current-system/firmware\n"
    files["/run/current-system/firmware"] = "-> /run/booted-system/firmware"
    files[f"/run/booted-system/firmware/nvidia/{version}/gsp_ga10x.bin"] = ""
    files["/boot/loader/loader.conf"] = "timeout 5\ndefault nixos-generation-42.conf\n"
    files["/boot/EFI/nixos/0a1b-linux-6.12.57-bzImage.efi"] = ""
    files["/etc/modprobe.d/nixos.conf"] = "blacklist nouveau\noptions nvidia-drm modeset=1\n"
    said = answers([DESKTOP], version, f"{store}/lib")
    return running(folder, files, manager="", cards=[DESKTOP], said=said, user=user)
