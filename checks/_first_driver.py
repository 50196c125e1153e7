"""How the first driver comes onto a machine of this distribution, as a clause behind "Install the driver"."""

from gpudoctor import Unavailable
from gpudoctor.facts.kernel_headers import flavour_to_follow
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Kernel, OperatingSystem

from ._gpus import Need

# NVIDIA's repository has streams of modules for these releases; 2023 is Amazon Linux.
_STREAMS = ("8", "9", "2023")
_OF_ONE_IMAGE = {
    "cos": ": `cos-extensions install gpu`; on GKE let the node pool install it",
    "nixos": ': `services.xserver.videoDrivers = [ "nvidia" ];` and `hardware.nvidia.open`, then rebuild and restart',
    "flatcar": ": Flatcar's prebuilt system extension for NVIDIA, or its nvidia.service",
    "bottlerocket": ": start a variant whose name ends in -nvidia",
}


def install_driver(system: OperatingSystem, kernel: Kernel, packages: Packages | Unavailable, need: Need | None) -> str:
    """The sentence; where nothing is known of the distribution, what is right everywhere."""
    if system.id in _OF_ONE_IMAGE:
        return f"Install the driver{_OF_ONE_IMAGE[system.id]}."
    how = _how(system, kernel, packages, need)
    return f"Install the driver from the packages of your distribution{how}; then restart."


def _how(system: OperatingSystem, kernel: Kernel, packages: Packages | Unavailable, need: Need | None) -> str:
    old = need.newest_branch if need else None  # a branch that only legacy packages bring
    match system.family:
        case "debian" if system.of_debian:
            headers = f"linux-headers-{flavour_to_follow(kernel.release, packages)}"
            return f": add non-free to the apt sources, then `apt install {headers} nvidia-driver`"
        case "debian":
            return ": `sudo ubuntu-drivers install` picks the one that fits"
        case "fedora" if system.id == "fedora" or system.ostree:
            names = f"akmod-nvidia-{old}xx xorg-x11-drv-nvidia-{old}xx-cuda" if old else _FUSION
            return f", with RPM Fusion: `{'rpm-ostree' if system.ostree else 'dnf'} install {names}`"
        case "fedora" if system.version.partition(".")[0] in _STREAMS:
            stream = f"{old}-dkms" if old else "open-dkms"
            name = "cuda-drivers" if old else "nvidia-open"
            return f", from NVIDIA's repository: `dnf module enable nvidia-driver:{stream}`, then `dnf install {name}`"
        case "fedora":
            return ", from NVIDIA's repository: `dnf install nvidia-open`" if not old else ""
        case "arch":
            names = f"nvidia-{old}xx-dkms` of the AUR" if old else "pacman -Syu nvidia-open nvidia-utils`"
            return f": `{names}"
        case _:
            return ", from NVIDIA's repository: nvidia-open" if system.id == "azurelinux" else ""


_FUSION = "akmod-nvidia xorg-x11-drv-nvidia-cuda"
