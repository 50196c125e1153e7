"""What sets up the NVLink switches between GPUs: NVIDIA's fabric manager, and what it needs on the newest boards."""

from typing import NamedTuple

from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Kernel
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact

SERVICE = "nvidia-fabricmanager.service"
LOG = "/var/log/fabricmanager.log"


class FabricManager(NamedTuple):
    """The fabric manager as it is installed and as it runs. All is empty on a machine without GPUs."""

    unit: str = ""  # file of its service, "" there is none
    enabled: bool = False  # systemd starts it at boot
    process_id: int | None = 0  # 0 it does not run, None it cannot be told
    said: str = ""  # the last complaint in its own log, "" none, or nobody but root may read it


class Nvlink5Board(NamedTuple):
    """For GPUs whose switches are reached over InfiniBand. `name` is "" on all other machines."""

    name: str = ""  # "HGX B200"
    rack: str = ""  # "GB200 NVL72": the switches are set up elsewhere
    modules: tuple[str, ...] = ()  # of the kernel, which it needs
    loadable: tuple[str, ...] = ()  # those of them that lie on the disk for the running kernel
    subnet_manager: str = ""  # the program that it needs
    subnet_manager_there: bool = True


_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_ENABLED = "/etc/systemd/system/multi-user.target.wants/" + SERVICE
_PID = "/run/nvidia-fabricmanager/nv-fabricmanager.pid"  # PIDFile= of the unit
_GROUPS = ("/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice")  # cgroups v2, v1
_PROGRAM = "nv-fabricmanage"  # the kernel cuts names to 15 characters
_TAIL = 16 * 1024  # bytes
_COMPLAINTS = ("[ERROR]", "don't match with driver version", "NV_WARN_NOTHING_TO_DO", "has not been loaded")


@fact
def fabric_manager(host: Host, gpus: PciGpus) -> FabricManager:
    """From systemd's files and the process that runs; of a disk only a running machine could tell."""
    if not gpus.gpus:
        return FabricManager()
    unit = next((f"{folder}/{SERVICE}" for folder in _UNITS if host.status(f"{folder}/{SERVICE}")), "")
    process_id = _process(host)
    if not unit and not process_id:
        return FabricManager("", False, process_id)
    enabled = host.link(_ENABLED) is not None or host.status(_ENABLED) is not None
    return FabricManager(unit, enabled, process_id, "" if process_id else _last_complaint(host))


def _process(host: Host) -> int | None:
    try:
        for path in (_PID, *(f"{group}/{SERVICE}/cgroup.procs" for group in _GROUPS)):
            # A control group lists the helpers of a service, too; a pid file may be left over.
            for word in (host.read(path) or "").split()[:16]:
                if word.isdecimal() and (host.read(f"/proc/{word}/comm") or "").startswith(_PROGRAM):
                    return int(word)
    except Unavailable:
        return None
    return 0


def _last_complaint(host: Host) -> str:
    """A line "[Nov 05 2024 13:55:26] [ERROR] [tid 104230] fabric manager ... don't match with driver version ...."."""
    try:
        lines = complaints(host.read(LOG, last=_TAIL) or "")
    except Unavailable:
        return ""
    return lines[-1].strip()[:300] if lines else ""


def complaints(text: str) -> list[str]:
    """The lines of the fabric manager's log that say what it lacks."""
    return [line for line in text.splitlines() if any(word in line for word in _COMPLAINTS)]


@fact
def nvlink5_board(host: Host, gpus: PciGpus, kernel: Kernel) -> Nvlink5Board:
    """By the GPUs' device ids; the kernel's own list of modules is read on such boards alone."""
    if not any(gpu.architecture == "Blackwell" for gpu in gpus.gpus):
        return Nvlink5Board()
    from gpudoctor.knowledge.nvlink import nvlink5  # here for start-up: few machines have such a board

    table = nvlink5()
    ids = [gpu.device_id for gpu in gpus.gpus]
    rack = next((table.in_a_rack[id] for id in ids if id in table.in_a_rack), "")
    name = next((table.over_infiniband[id] for id in ids if id in table.over_infiniband), "")
    if not name:
        return Nvlink5Board(rack=rack)
    listed = host.read(f"/lib/modules/{kernel.release}/modules.dep") or ""
    loadable = tuple(module for module in table.modules if f"/{module}.ko" in listed)
    there = host.status(table.subnet_manager) is not None
    return Nvlink5Board(name, rack, table.modules, loadable, table.subnet_manager, there)


def fabric_manager_package(packages: Packages) -> Package | None:
    """The installed one, by the names of NVIDIA, Ubuntu, Red Hat's streams and the AUR; not its headers."""
    for package in packages.installed():
        name = package.name
        if name.startswith(("nvidia-fabricmanager", "nvidia-fabric-manager")) and "dev" not in name:
            return package
    return None
