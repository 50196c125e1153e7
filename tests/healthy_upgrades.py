"""Machines between two states: a restart is due, or an upgrade is running this minute."""

from pathlib import Path

from healthy_debian import NOBLE_HISTORY, noble_desktop, noble_packages
from healthy_machines import INTEL, LAPTOP, UBUNTU_CORE, Running, answers, bus, listed, running
from healthy_parts import MULTIARCH, libraries, modules


def reboot_pending(folder: Path, user: int) -> Running:
    """A newer kernel came with its module; the system asks for a restart when it suits."""
    old, new = "6.14.0-36-generic", "6.14.0-37-generic"
    files = noble_desktop(old, new, user=user) | bus([LAPTOP], others=INTEL)
    files |= {"/run/reboot-required": "*** System restart required ***\n"}
    files["/run/reboot-required.pkgs"] = f"linux-image-{new}\nlinux-base\n"
    packages = listed(noble_packages("580.95.05", new, old), {"": UBUNTU_CORE})
    said = answers([LAPTOP], "580.95.05", MULTIARCH)
    return running(folder, files, packages=packages, cards=[LAPTOP], said=said, user=user)


def upgrade_running(folder: Path, user: int) -> Running:
    """unattended-upgrade is unpacking a new driver this minute; the old one is loaded and worked a moment ago."""
    old, new, release = "580.82.07", "580.95.05", "6.14.0-37-generic"
    files = noble_desktop(release, release, old, user) | bus([LAPTOP], others=INTEL)
    files = {path: content for path, content in files.items() if not path.startswith(MULTIARCH)}
    files |= libraries(new) | modules(release, "kernel/nvidia-580-open", new, suffix=".zst", signed=True)
    files["/var/log/apt/history.log"] = NOBLE_HISTORY.rpartition("End-Date")[0]
    files |= {
        "/proc/locks": "1: FLOCK  ADVISORY  WRITE 914 00:1a:1021 0 EOF\n"
        "2: POSIX  ADVISORY  WRITE 2811 fd:01:1180313 0 EOF\n2: -> POSIX  ADVISORY  WRITE 2990 fd:01:1180313 0 EOF\n"
    }
    files |= {"/proc/914/comm": "cron\n", "/proc/2811/comm": "unattended-upgr\n"}
    packages = listed(noble_packages(old, release), {"": UBUNTU_CORE})
    fresh = ("libnvidia-compute-580", "libnvidia-gl-580", "nvidia-kernel-common-580", "nvidia-utils-580")
    packages = [
        package._replace(version=package.version.replace(old, new), state="unpacked")
        if package.name in fresh
        else package
        for package in packages
    ]
    said = answers([LAPTOP], old, MULTIARCH)
    said["nvml"] |= {"return_code": 18, "return_name": "NVML_ERROR_LIB_RM_VERSION_MISMATCH", "gpus": []}
    said["cuda"] |= {"return_code": 803, "return_name": "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "device_count": 0}
    return running(folder, files, packages=packages, cards=[LAPTOP], said=said, user=user)
