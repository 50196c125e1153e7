"""Healthy machines with Fedora, Rocky Linux and openSUSE."""

from pathlib import Path

from family_machines import dkms
from healthy_machines import DESKTOP, T4, Running, answers, bus, listed, rpm_answer, running
from healthy_parts import gsp, kernel, libraries, loaded, modules, secure_boot, system

from gpudoctor.facts.package_names import globs
from gpudoctor.facts.rpm import QUERY_FORMAT
from gpudoctor.host import Completed

FEDORA = 'ID=fedora\nVERSION_ID=42\nPRETTY_NAME="Fedora Linux 42 (Workstation Edition)"\n'
ROCKY = 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"\nPRETTY_NAME="Rocky Linux 9.6 (Blue Onyx)"\n'
LEAP = 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\nPRETTY_NAME="openSUSE Leap 15.6"\n'
TUMBLEWEED = (
    'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\nVERSION_ID="20251103"\nPRETTY_NAME="openSUSE Tumbleweed"\n'
)
FEDORA_GCC = "gcc (GCC) 15.2.1 20250808 (Red Hat 15.2.1-1)"


def fedora_akmods(folder: Path, user: int) -> Running:
    release, older, version = "6.17.5-200.fc42.x86_64", "6.17.4-200.fc42.x86_64", "580.95.05"
    files = system(
        FEDORA,
        release,
        FEDORA_GCC,
        arguments="ro rhgb quiet rd.driver.blacklist=nouveau,nova_core modprobe.blacklist=nouveau,nova_core",
        user=user,
    )
    files["/proc/cmdline"] = str(files["/proc/cmdline"]).replace("/boot/", "(hd0,gpt2)/")
    for number in (release, older):
        files |= kernel(number, initramfs="initramfs-{}.img", headers="/usr/src/kernels/{}")
        files |= modules(number, "extra/nvidia", version, suffix=".xz", is_open=False)
        files[f"/boot/loader/entries/0123456789abcdef0123456789abcdef-{number}.conf"] = (
            f"title Fedora Linux ({number}) 42 (Workstation Edition)\nversion {number}\nlinux /vmlinuz-{number}\n"
        )
    files |= {
        "/boot/vmlinuz-0-rescue-0123456789abcdef0123456789abcdef": "",
        "/boot/grub2/grub.cfg": 'insmod blscfg\nblscfg\nset default="${saved_entry}"\n',
        "/boot/grub2/grubenv": f"# GRUB Environment Block\nsaved_entry=0123456789abcdef0123456789abcdef-{release}\n",
        "/etc/default/grub": "GRUB_DEFAULT=saved\nGRUB_ENABLE_BLSCFG=true\n",
        "/usr/lib/modprobe.d/nvidia-uvm.conf": "softdep nvidia post: nvidia-uvm\n",
        "/usr/lib/modprobe.d/nvidia-power-management.conf": "options nvidia NVreg_TemporaryFilePath=/var/tmp\n",
        "/usr/bin/gcc": "",
        "/usr/sbin/akmods": "",
        "/usr/src/akmods/nvidia-kmod.latest": "-> nvidia-kmod-580.95.05-1.fc42.src.rpm",
    }
    files |= loaded(version, is_open=False, compiler="gcc version 15.2.1 20250808 (Red Hat 15.2.1-1) (GCC)")
    files |= libraries(version, "/usr/lib64") | gsp(version, "/usr/lib/firmware/nvidia") | bus([DESKTOP])
    own = f"3:{version}-1.fc42"
    names = (
        *("nvidia-modprobe", "xorg-x11-drv-nvidia-cuda-libs", "nvidia-persistenced", "xorg-x11-drv-nvidia-libs"),
        *("xorg-x11-drv-nvidia-kmodsrc", "akmod-nvidia", "nvidia-settings", "xorg-x11-drv-nvidia"),
        *("xorg-x11-drv-nvidia-cuda", "xorg-x11-drv-nvidia-power", "xorg-x11-drv-nvidia-cuda-libs#i686"),
        *(f"kmod-nvidia-{release}", f"kmod-nvidia-{older}"),
    )
    packages = dict.fromkeys(names, own) | {"nvidia-gpu-firmware": "20251021-1.fc42", "akmods": "0.6.0-11.fc42"}
    for number, mark in ((release, ""), (older, "#2")):
        kernels = (
            "kernel",
            "kernel-core",
            "kernel-modules",
            "kernel-modules-core",
            "kernel-devel",
            "kernel-devel-matched",
        )
        packages |= {f"{name}{mark}": number.removesuffix(".x86_64") for name in kernels}
    packages |= {"kernel-headers": "6.17.0-63.fc42", "gcc": "15.2.1-1.fc42", "egl-wayland": "1.1.20-3.fc42"}
    fusion = dict.fromkeys(("nvidia", "xorg-x11-drv-nvidia", "akmod-nvidia", "kmod-nvidia"), "RPM Fusion")
    vendors = {"": "Fedora Project", "nvidia-gpu": "Fedora Project", **fusion}
    found = listed(packages, vendors)
    return running(
        folder,
        files,
        manager="rpm",
        packages=found,
        cards=[DESKTOP],
        said=answers([DESKTOP], version, "/usr/lib64"),
        user=user,
    )


def silverblue(folder: Path, user: int) -> Running:
    """Fedora as one image: kernels lie with their modules, /boot has copies under other names."""
    release, version = "6.17.5-200.fc42.x86_64", "580.95.05"
    files = system(FEDORA.replace("Workstation", "Silverblue"), release, FEDORA_GCC, user=user)
    files |= {
        f"/lib/modules/{release}/vmlinuz": "",
        f"/lib/modules/{release}/initramfs.img": "",
        "/ostree/repo/config": "",
    }
    files |= {f"/boot/ostree/fedora-0a1b2c/vmlinuz-{release}": "", "/usr/bin/gcc": ""}
    files |= modules(release, "extra/nvidia", version, suffix=".xz", signed=True) | libraries(version, "/usr/lib64")
    files |= (
        loaded(version, compiler="gcc version 15.2.1 (GCC)") | gsp(version, "/usr/lib/firmware/nvidia") | bus([DESKTOP])
    )
    own = f"3:{version}-1.fc42"
    names = (
        "xorg-x11-drv-nvidia",
        "xorg-x11-drv-nvidia-cuda",
        "xorg-x11-drv-nvidia-cuda-libs",
        "xorg-x11-drv-nvidia-libs",
    )
    packages = dict.fromkeys((*names, f"kmod-nvidia-{release}", "nvidia-modprobe"), own)
    packages |= {"kernel-core": "6.17.5-200.fc42", "kernel-devel": "6.17.5-200.fc42"}
    found = listed(packages, {"": "RPM Fusion", "kernel": "Fedora Project"})
    said = answers([DESKTOP], version, "/usr/lib64")
    return running(folder, files, manager="rpm", packages=found, cards=[DESKTOP], said=said, user=user)


def rocky(folder: Path, user: int, *, precompiled: bool) -> Running:
    """NVIDIA's repository for RHEL 9: from DKMS, or precompiled for one kernel, which its successors use by a link."""
    release, built, version = "5.14.0-570.55.1.el9_6.x86_64", "5.14.0-570.12.1.el9_6.x86_64", "580.95.05"
    red_hat_gcc = "gcc (GCC) 11.5.0 20240719 (Red Hat 11.5.0-5)"
    files = system(
        ROCKY, release, red_hat_gcc, arguments="ro crashkernel=1G-4G:192M rd.driver.blacklist=nouveau", user=user
    )
    for number in (release, built):
        files |= kernel(number, initramfs="initramfs-{}.img", headers="/usr/src/kernels/{}" if not precompiled else "")
    if precompiled:
        files |= modules(built, "extra/drivers/video/nvidia", version, signed=True)
        links = modules(release, "weak-updates/drivers/video/nvidia", version)
        for path in links:
            target = path.replace(f"{release}/weak-updates", f"{built}/extra")
            files[path] = f"-> {target}" if path.endswith(".ko") else links[path]
    else:
        files |= modules(release, "extra", version, suffix=".xz") | modules(built, "extra", version, suffix=".xz")
        files |= dkms("nvidia-open", version, built=[release, built])
    files |= {"/boot/loader/entries/0123-5.14.conf": f"title Rocky Linux ({release})\n", "/usr/bin/gcc": ""}
    files |= {
        "/boot/grub2/grub.cfg": "blscfg\n",
        "/boot/grub2/grubenv": f"saved_entry=0123456789abcdef0123456789abcdef-{release}\n",
    }
    files |= loaded(version, compiler="gcc version 11.5.0 20240719 (Red Hat 11.5.0-5) (GCC)") | bus([T4])
    files |= libraries(version, "/usr/lib64") | gsp(version)
    files["/etc/modprobe.d/nvidia.conf"] = "options nvidia NVreg_PreserveVideoMemoryAllocations=1\n"
    own = f"3:{version}-1.el9"
    names = (
        *("nvidia-driver", "nvidia-driver-libs", "nvidia-driver-cuda", "nvidia-driver-cuda-libs", "libnvidia-ml"),
        *("nvidia-kmod-common", "nvidia-modprobe", "nvidia-persistenced", "nvidia-settings", "libnvidia-cfg"),
        *("libnvidia-fbc", "libnvidia-gpucomp", "nvidia-libXNVCtrl", "nvidia-xconfig", "xorg-x11-nvidia"),
        *(("cuda-drivers",) if precompiled else ("nvidia-open", "kmod-nvidia-open-dkms")),
    )
    packages = dict.fromkeys(names, own) | {"cuda-toolkit-13-0": "13.0.2-1", "nvidia-container-toolkit": "1.18.0-1"}
    if precompiled:
        packages["kmod-nvidia-580.95.05-570.12.1"] = "3:580.95.05-3.el9_6"
    else:
        packages["dkms"] = "3.2.2-1.el9"
    for number, mark in ((release, ""), (built, "#2")):
        for name in ("kernel", "kernel-core", "kernel-modules", "kernel-devel"):
            packages[f"{name}{mark}"] = number.removesuffix(".x86_64")
    vendors = dict.fromkeys(("nvidia", "libnvidia", "cuda", "kmod-nvidia", "xorg-x11-nvidia"), "NVIDIA Corporation")
    found = listed(packages, {"": "Rocky Enterprise Software Foundation", **vendors})
    return running(
        folder, files, manager="rpm", packages=found, cards=[T4], said=answers([T4], version, "/usr/lib64"), user=user
    )


def rocky_dkms(folder: Path, user: int) -> Running:
    return rocky(folder, user, precompiled=False)


def rocky_precompiled(folder: Path, user: int) -> Running:
    return rocky(folder, user, precompiled=True)


def suse(folder: Path, user: int, os_release: str, release: str, built: str, version: str) -> Running:
    """SUSE's signed module beside NVIDIA's libraries; rpm's own kind of database, which only rpm can read."""
    compiler = "gcc (SUSE Linux) 7.5.0" if "Leap" in os_release else "gcc (SUSE Linux) 15.2.0"
    files = system(os_release, release, compiler, arguments="splash=silent quiet security=apparmor", user=user)
    for number in (release, built):
        files |= kernel(number, initramfs="initrd-{}", headers="")
    files |= modules(built, "updates", version, suffix=".zst" if "Leap" not in os_release else "", signed=True)
    if release != built:
        links = modules(release, "weak-updates/updates", version)
        for path in links:
            target = path.replace(f"{release}/weak-updates/updates", f"{built}/updates")
            files[path] = f"-> {target}" if path.endswith(".ko") else links[path]
    files |= {"/boot/vmlinuz": f"-> vmlinuz-{release}", "/etc/default/grub": "GRUB_DEFAULT=saved\n"}
    files |= {"/boot/grub2/grub.cfg": f"menuentry 'openSUSE' {{\n linux /boot/vmlinuz-{release} root=UUID=0a\n}}\n"}
    files |= {"/usr/lib/sysimage/rpm/Packages.db": b"RpmP", "/var/lib/rpm": "-> ../../usr/lib/sysimage/rpm"}
    files |= loaded(version, compiler=f"{compiler.replace('gcc', 'gcc version', 1)}") | bus([DESKTOP])
    files |= libraries(version, "/usr/lib64") | gsp(version) | secure_boot(own_key=b"SUSE key")
    files["/usr/share/nvidia-pubkeys/MOK-nvidia-driver-G06.der"] = b"SUSE key"
    files["/usr/lib/modprobe.d/nvidia-default.conf"] = "blacklist nouveau\noptions nvidia_drm modeset=1 fbdev=1\n"
    number = release.removesuffix("-default")
    names = (
        *("nvidia-compute-G06", "nvidia-compute-G06-32bit", "nvidia-compute-utils-G06", "nvidia-gl-G06"),
        *("nvidia-gl-G06-32bit", "nvidia-video-G06", "nvidia-video-G06-32bit", "nvidia-common-G06"),
        *("nvidia-modprobe", "nvidia-persistenced", "nvidia-settings", "nvidia-libXNVCtrl", "nvidia-drivers-G06"),
    )
    packages = dict.fromkeys(names, f"{version}-30.1")
    packages["nvidia-open-driver-G06-signed-kmp-default"] = (
        f"{version}_k{built.removesuffix('-default').replace('-', '_')}-150600.3.63.1"
    )
    packages |= {"kernel-firmware-nvidia": "20240728-150600.1.1", "kernel-firmware-nvidia-gsp-G06": f"{version}-1.1"}
    packages |= {"kernel-default": f"{number}.1", "kernel-default#2": f"{built.removesuffix('-default')}.1"}
    packages |= {
        "kernel-default-devel": f"{number}.1",
        "openSUSE-repos-Leap-NVIDIA": "20250303.f74564e-1.1",
        "gcc": "7-3.9",
    }
    vendors = {"": "openSUSE", "nvidia": "NVIDIA Corporation", "nvidia-open": "SUSE LLC <https://www.suse.com/>"}
    printed = rpm_answer(listed(packages, vendors))
    words = ("rpm", "-qa", "--queryformat", QUERY_FORMAT, *globs())
    commands = {words: Completed(words, 0, printed, "")}
    return running(
        folder,
        files,
        manager="",
        cards=[DESKTOP],
        said=answers([DESKTOP], version, "/usr/lib64"),
        commands=commands,
        user=user,
    )


def opensuse_leap(folder: Path, user: int) -> Running:
    return suse(folder, user, LEAP, "6.4.0-150600.23.73-default", "6.4.0-150600.23.65-default", "580.82.07")


def opensuse_tumbleweed(folder: Path, user: int) -> Running:
    return suse(folder, user, TUMBLEWEED, "6.17.6-1-default", "6.17.6-1-default", "580.95.05")
