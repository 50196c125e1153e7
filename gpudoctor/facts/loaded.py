"""The driver that is loaded now: modules in the kernel, and the version the NVIDIA module says of itself."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.driver_version import is_driver_version
from gpudoctor.host import Host
from gpudoctor.registry import fact


class LoadedModules(NamedTuple):
    """Kernel modules from /proc/modules: name to the names of the modules that use it."""

    users: Mapping[str, tuple[str, ...]]

    def __contains__(self, name: object) -> bool:
        return name in self.users

    @property
    def of_tegra(self) -> bool:
        """Is the GPU a part of NVIDIA's own chip (Jetson)? It is no PCI device, and has a driver of its own."""
        return "nvgpu" in self.users

    @property
    def of_vgpu_host(self) -> bool:
        """Do GPUs serve virtual machines as vGPUs here? NVIDIA's manager has a module of its own for that."""
        return any(name.startswith("nvidia_vgpu_vfio") for name in self.users)


class LoadedDriver(NamedTuple):
    """The NVIDIA kernel module in memory (L of the four versions); version "" if none is loaded."""

    version: str  # "580.95.05"
    flavour: str  # "open", "proprietary", "" unknown or not loaded
    source: str  # where the version stood: /proc/driver/nvidia/version or /sys/module/nvidia/version
    text: str  # that line, as evidence
    parameters: Mapping[str, str]  # of /proc/driver/nvidia/params: "DeviceFileMode": "438"

    @property
    def loaded(self) -> bool:
        return bool(self.version)


@fact
def loaded_modules(host: Host) -> LoadedModules:
    """From /proc/modules: name, size, use count, users."""
    users = {}
    for line in (host.read("/proc/modules") or "").splitlines():
        words = line.split()
        if len(words) >= 4:
            users[words[0]] = tuple(user for user in words[3].split(",") if user not in ("", "-"))
    return LoadedModules(users)


@fact
def loaded_driver(host: Host) -> LoadedDriver:
    """From /proc/driver/nvidia/version, or /sys/module/nvidia/version where a container hides the former."""
    text = next((line for line in (host.read("/proc/driver/nvidia/version") or "").splitlines() if "NVRM" in line), "")
    source = "/proc/driver/nvidia/version"
    if not text:
        text = (host.read("/sys/module/nvidia/version") or "").strip()
        source = "/sys/module/nvidia/version"
    version = next((word for word in text.split() if is_driver_version(word)), "")
    flavour = "" if "NVRM" not in text else "open" if "Open Kernel Module" in text else "proprietary"
    parameters = {}
    for line in (host.read("/proc/driver/nvidia/params") or "").splitlines() if version else ():
        name, separator, value = line.partition(":")
        if separator:
            parameters[name.strip()] = value.strip()
    return LoadedDriver(version, flavour, source if version else "", text.strip(), parameters)
