"""Facts of a healthy machine with one GPU, and the words for what may be wrong with it."""

import re
from collections.abc import Mapping
from typing import Any

from gpudoctor import NotRunning, Unavailable
from gpudoctor.diagnose import diagnose, run_check
from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.devices import DeviceNode, DeviceNodes
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.firmware import GspFirmware
from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import ModuleFile, ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries, DriverLibrary
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.modprobe import ModprobeConfig
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.system import Boot, Confinement, Identity, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions, DriverWanted
from gpudoctor.findings import Finding, Outcome, Status
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.snapshot import SnapshotHost
from gpudoctor.symptoms import Symptom

RELEASE = "6.8.0-90-generic"
ADDRESS, SECOND = "0000:01:00.0", "0000:02:00.0"
OLD, NEW = "580.82.07", "580.95.05"
FOLDER = "/usr/lib/x86_64-linux-gnu"
BAR = ((0x8200_0000, 16 << 20), (0x60_0000_0000, 64 << 30))

UBUNTU = OperatingSystem("ubuntu", "24.04", "Ubuntu 24.04.3 LTS", "debian")
DEBIAN = OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)", "debian")
DOCKER = Confinement("docker", False)
WSL = Confinement("", True)
JOB = Confinement("", False, batch_job=True)

# What the table of GPUs says: PCI id, name, architecture, module flavour, last branch, first release.
A100 = ("20b2", "NVIDIA A100-SXM4-80GB", "Ampere", "either", None, "")
PASCAL = ("1b80", "NVIDIA GeForce GTX 1080", "Pascal", "proprietary-only", 580, "")
BLACKWELL = ("2c58", "NVIDIA GeForce RTX 5090 Laptop GPU", "Blackwell", "open-only", None, "570.86.16")
ADA = ("2684", "NVIDIA GeForce RTX 4090", "Ada", "either", None, "525.47.11")
UNLISTED = ("ffff", "", "", "", None, "")


def gpu(model: tuple[Any, ...] = A100, address: str = ADDRESS, driver: str = "nvidia", **changes: Any) -> PciGpu:
    device_id, *known = model
    return PciGpu(address, device_id, driver, *known, regions=BAR)._replace(**changes)


TWO = PciGpus((gpu(), gpu(address=SECOND)))


def answer(number: int = 0, address: str = ADDRESS, code: int = 0, name: str = "", **errors: str) -> NvmlGpu:
    """One GPU in NVML's list; with a return code it has no address, as NVML gives no handle for it."""
    place, model = ("", "") if code else (address, "NVIDIA A100-SXM4-80GB")
    return NvmlGpu(number, code, name or "NVML_SUCCESS", model, "GPU-1", place, 80 << 30, (8, 0), True, errors, {})


def told(address: str = ADDRESS, number: int = 0, **values: Any) -> NvmlGpu:
    """A GPU that answers, with these of the probe's values."""
    return answer(number, address)._replace(values=values, persistence_mode=values.get("persistence_mode", True))


def nvml(
    *gpus: NvmlGpu, code: int = 0, name: str = "NVML_SUCCESS", path: str = f"{FOLDER}/libnvidia-ml.so.{NEW}"
) -> Nvml:
    return Nvml(code, name, "said by NVML", path, "13.580.95", NEW if code == 0 else "", 13000, gpus)


def cuda(
    code: int | None = 0, name: str = "CUDA_SUCCESS", path: str = f"{FOLDER}/libcuda.so.{NEW}", error: str = ""
) -> Cuda:
    return Cuda(code, name, "said by CUDA", error, path, 13000, 1 if code == 0 else 0)


def loaded(version: str = NEW, flavour: str = "open", **parameters: str) -> LoadedDriver:
    if not version:
        return LoadedDriver("", "", "", "", {})
    kind = "Open Kernel Module for x86_64" if flavour == "open" else "x86_64 Kernel Module"
    text = f"NVRM version: NVIDIA UNIX {kind}  {version}"
    return LoadedDriver(version, flavour, "/proc/driver/nvidia/version", text, parameters)


def modules_on_disk(version: str = NEW, flavour: str = "open") -> ModuleFiles:
    if not version:
        return ModuleFiles(())
    path = f"/lib/modules/{RELEASE}/updates/dkms/nvidia.ko"
    return ModuleFiles((ModuleFile(RELEASE, path, "dkms", version, flavour, f"{RELEASE} SMP", "", 2000.0),))


def versions(loaded: str = NEW, on_disk: str = NEW, user_space: str = NEW, **changes: str) -> DriverVersions:
    known = DriverVersions(
        loaded,
        on_disk,
        f"/lib/modules/{RELEASE}/updates/dkms/nvidia.ko" if on_disk else "",
        user_space,
        f"{FOLDER}/libcuda.so.{user_space}" if user_space else "",
        user_space,
        "libnvidia-compute-580",
    )
    return known._replace(**changes)


def libraries(version: str = NEW, *sonames: str) -> DriverLibraries:
    return DriverLibraries(
        tuple(
            DriverLibrary(
                soname, f"{FOLDER}/{soname}", f"{FOLDER}/{soname[:-2]}.{version}", version, "ld.so.cache", 2000.0
            )
            for soname in sonames or ("libcuda.so.1", "libnvidia-ml.so.1")
        )
    )


def node(path: str, mode: int = 0o666, group: int = 0, major: int = 195) -> DeviceNode:
    return DeviceNode(path, mode, 0, group, (major, 0))


def nodes(*paths: str, mode: int = 0o666, group: int = 0, uvm_major: int = 511, wsl: bool = False) -> DeviceNodes:
    paths = paths or ("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl")
    found = [node(path, mode, group, uvm_major if "uvm" in path else 195) for path in paths if path != "none"]
    return DeviceNodes(tuple(found), {"nvidia": 195, "nvidia-uvm": 511}, wsl)


def log(*lines: str) -> KernelLog:
    return KernelLog(lines, "dmesg")


def upgraded(package: str = "libnvidia-compute-580", old: str = OLD, new: str = NEW) -> PackageHistory:
    """Unattended upgrades brought the new version after the boot."""
    when, command = "2026-11-22  06:50:11", "/usr/bin/unattended-upgrade"
    event = PackageEvent(
        2000.0,
        when,
        "upgrade",
        package,
        f"{old}-0ubuntu1",
        f"{new}-0ubuntu1",
        command,
        True,
        "/var/log/apt/history.log",
    )
    return PackageHistory((event,))


OURS = ("driver.", "gpu.", "devices.", "pci.", "health.")

HEALTHY: Mapping[type, object] = {
    type(fact): fact
    for fact in (
        UBUNTU,
        Kernel(RELEASE, True, None, ()),
        Boot(1000.0),
        Confinement("", False),
        Identity(1000, (1000,)),
        DriverWanted(("package nvidia-driver-580-open",)),
        ExpectedGpus(None),
        ModprobeConfig((), ""),
        DeviceUsers((), (), 0),
        GspFirmware({NEW: ("gsp_ga10x.bin", "gsp_tu10x.bin")}),
        PackageHistory(()),
        PciGpus((gpu(),)),
        LoadedModules({"nvidia": ("nvidia_uvm",), "nvidia_uvm": ()}),
        loaded(),
        modules_on_disk(),
        versions(),
        libraries(),
        nodes(),
        log(),
        nvml(answer()),
        cuda(),
    )
}


Kinds = tuple[type, ...]


def facts(*changes: object, without: Kinds = (), not_running: Kinds = ()) -> Facts:
    """The healthy machine with these facts in place of its own.

    `without`: facts that cannot be had; `not_running`: those that only a running machine could tell.
    """
    load_plugins()
    unknown = {
        **dict.fromkeys(without, Unavailable("not told")),
        **dict.fromkeys(not_running, NotRunning("the system is not running")),
    }
    return Facts(SnapshotHost({}), {**HEALTHY, **{type(change): change for change in changes}, **unknown})


def outcome(check: str, *changes: object, without: Kinds = (), not_running: Kinds = ()) -> Outcome:
    """What becomes of a check on the changed machine."""
    known = facts(*changes, without=without, not_running=not_running)
    found = run_check(registry.checks[check], known)
    assert found.status is not Status.CRASHED, found.reason
    return found


def findings(check: str, *changes: object, without: Kinds = (), not_running: Kinds = ()) -> tuple[Finding, ...]:
    """What a check finds on the changed machine; fails where it does not find anything."""
    found = outcome(check, *changes, without=without, not_running=not_running)
    assert found.status is Status.FOUND, (found.status, found.reason)
    return found.findings


def finding(check: str, *changes: object, without: Kinds = (), not_running: Kinds = ()) -> Finding:
    """The only thing that a check finds."""
    (only,) = findings(check, *changes, without=without, not_running=not_running)
    return only


def status(check: str, *changes: object, without: Kinds = (), not_running: Kinds = ()) -> Status:
    return outcome(check, *changes, without=without, not_running=not_running).status


def explained(*changes: object, without: Kinds = (), not_running: Kinds = ()) -> dict[str, tuple[str, ...]]:
    """What a report on driver, GPUs and devices of the changed machine names, each with what it explains."""
    known = facts(*changes, without=without, not_running=not_running)
    report = diagnose(known, [registry.checks[id] for id in registry.checks if id.startswith(OURS)])
    return {ranked.check.id: ranked.explains for ranked in report.findings}


def evidence_of(found: Finding) -> str:
    """The proof as one text, a line each."""
    return "\n".join(f"{evidence.source}: {evidence.value}" for evidence in found.evidence)


def ids_for(message: str) -> list[str]:
    """The checks of driver, GPUs and devices to which this message, with nothing around it, leads first."""
    load_plugins()
    told = {
        id: max(found)
        for id, check in registry.checks.items()
        if id.startswith(OURS) and (found := [one.tells for one in check.symptoms if _says(one, message)])
    }
    return sorted(id for id, tells in told.items() if tells == max(told.values()))


def _says(symptom: Symptom, message: str) -> bool:
    def seen(pattern: str) -> bool:
        return re.search(pattern, message, re.IGNORECASE) is not None

    if symptom.beside and not seen(symptom.beside):
        return False
    return seen(symptom) and not (symptom.without and seen(symptom.without))
