"""GPUs that the driver serves but cannot start: firmware files that are missing, and the driver's own failure."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotRunning, Unavailable, check, hint, sure
from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.firmware import GspFirmware
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem

from ._gpus import driver_in_charge, named, silent_gpus
from ._scope import nothing_in_snaps, own_driver


@check(
    "driver.gsp-firmware-missing",
    # An upgrade takes the old version's firmware away from under a driver that has long loaded it.
    after=["driver.library-mismatch", "kernel.module-stale", "kernel.other-driver-bound"],
    symptoms=[
        sure(r"Direct firmware load for nvidia/\S+/gsp\S+ failed"),
        sure(r"gsp\w*\.bin failed with error -2"),
        sure(r"firmware: failed to load nvidia/\S+/gsp"),
        hint(r"Cannot initialize GSP firmware RM"),
        r"RmFetchGspRmImages: No firmware image found",
    ],
)
def gsp_firmware_missing(
    confinement: Confinement,
    gpus: PciGpus | Unavailable,
    loaded: LoadedDriver | Unavailable,
    files: ModuleFiles,
    kernel: Kernel,
    firmware: GspFirmware,
    nvml: Nvml | Unavailable,
    log: KernelLog | Unavailable,
    system: OperatingSystem,
) -> Iterator[Finding]:
    """The driver's firmware for the processor in the GPU (GSP) is not on the disk in the driver's version.

    What: At its start the driver loads a firmware file into the GPU, of exactly its own version. The open
    kernel modules cannot do without it, the proprietary ones only on some GPUs. Distributions put
    these large files into a package of their own, which can be missing or lag behind.

    Proof: /lib/firmware/nvidia/VERSION has no gsp_*.bin; the kernel's log says "Direct firmware load ...
    failed with error -2".

    Repair: Install the firmware package in the driver's version, refresh the initramfs if the driver is
    loaded from there, and reboot.

    Reference: README of the NVIDIA driver, gsp.html;
    https://github.com/NVIDIA/open-gpu-kernel-modules/issues/789
    """
    own_driver(confinement)
    # On a disk nothing is loaded and no bus is seen; the module file and the folder tell enough.
    for fact in (gpus, loaded):
        if isinstance(fact, Unavailable) and (kernel.running or not isinstance(fact, NotRunning)):
            raise fact
    nothing = LoadedDriver("", "", "", "", {})
    driver = driver_in_charge(loaded if isinstance(loaded, LoadedDriver) else nothing, files, kernel)
    if driver is None or firmware.files.get(driver.version):
        return
    waiting: tuple[PciGpu, ...] = ()
    if isinstance(gpus, PciGpus):
        waiting = tuple(gpu for gpu in silent_gpus(gpus, nvml) if gpu.module != "proprietary-only")
        if not waiting:
            return
    lines = log.matching(f"nvidia/{driver.version}/gsp_") if isinstance(log, KernelLog) else ()
    failed = [line for line in lines if "failed with error" in line]
    if driver.flavour != "open" and not failed:
        return
    if not failed:
        nothing_in_snaps(system)
    folder = f"/lib/firmware/nvidia/{driver.version}"
    others = ", ".join(sorted(version for version, names in firmware.files.items() if names))
    who = f" {named(waiting[0])} cannot start." if waiting else " The GPU cannot start."
    yield Finding(
        f"The GSP firmware of {driver.words} is missing.{who}",
        driver.version,
        (
            Evidence(folder, f"no gsp_*.bin; there is firmware of {others}" if others else "no gsp_*.bin"),
            driver.evidence,
            *([Evidence(log.source, failed[-1])] if failed and isinstance(log, KernelLog) else []),
        ),
        f"Install the firmware package of {driver.version}{_firmware_package(system, driver.version)}, then reboot.",
    )


def _firmware_package(system: OperatingSystem, version: str) -> str:
    match system.family:
        case "debian" if system.of_debian:
            return " (firmware-nvidia-gsp)"
        case "debian":
            return f" (nvidia-firmware-{version.partition('.')[0]}-{version})"
        case "fedora":
            return " (NVIDIA's repository: nvidia-kmod-common)"
        case "arch":
            return " (nvidia-utils)"
        case _:
            return ""


@check(
    "driver.rm-init-failed",
    after=[
        "driver.open-module-required",
        "driver.open-module-unsupported",
        "driver.gpu-needs-legacy-branch",
        "driver.gpu-newer-than-driver",
        "driver.gsp-firmware-missing",
        "pci.bar-unassigned",
        "health.fallen-off-bus",
        "driver.library-mismatch",
        "driver.vgpu-guest-host-mismatch",
    ],
    symptoms=[
        r"RmInitAdapter failed!",
        r"NVRM: .{0,30}failed to copy vbios to system memory",
        r"rm_init_adapter(\(\d+\))? failed",
        hint(r"Failed to allocate NvKmsKapiDevice"),
        hint(r"No devices were found"),
        r"bailing out of RmInitAdapter|osVerifySystemEnvironment failed, bailing",
        r"\*\*\* Cannot (attach (bc )?gpu|(pre-)?initialize the device|load state into the device)",
        r"\brm_init_(private_state|rm)\(\) failed",
        r"unexpected WPR2 already up|failed to wait for GFW_BOOT|GSP failed to halt with GFW_BOOT",
        r"the GPU (is likely|may be) in a bad state and may need to be reset",
        r"RmInitAdapter: (Cannot initialize (GSP|DCE) firmware RM|GSP-RM proxy boot command failed)",
        r"cannot bootstrap riscv/gsp",
        r"NVRM: .{0,40}failed to map (GPU )?registers",
        hint(r"None of the NVIDIA (devices|graphics adapters) were initialized"),
        hint(r"The NVIDIA probe routine failed for \d+ device"),
        hint(r"\bnvidia\b.{0,20}: probe (of [0-9a-f:.]+|with driver nvidia) failed with error"),
        r"Failed to boot GSP\.|FSP boot cmds failed|FSP secure boot (GSP prechecks failed|partition timed out)",
        r"Booter failed with non-zero error code|FSP Fuse Check Failure",
    ],
)
def rm_init_failed(
    confinement: Confinement,
    gpus: PciGpus,
    loaded: LoadedDriver,
    nvml: Nvml | Unavailable,
    log: KernelLog | Unavailable,
) -> Iterator[Finding]:
    """The driver serves this GPU, tried to start it, and failed.

    What: The driver found the GPU and could not bring it up: its firmware did not start, its memory did not
    answer, or it was left in a bad state by whoever had it before. nvidia-smi then does not list it.

    Proof: "RmInitAdapter failed!" in the kernel's log, with three numbers, and NVML's list without that GPU.
    The line before it often names the cause.

    Repair: Switch the machine off completely, wait half a minute, and switch it on: a warm restart leaves the
    GPU under power. If it comes back, look at the firmware (BIOS) and at the GPU in another slot. Where
    the driver's versions agree it is no matter of packages: do not reinstall.

    Reference: https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1104 and 326;
    src/nvidia/arch/nvalloc/unix/src/osinit.c there
    """
    own_driver(confinement)
    silent = [gpu for gpu in silent_gpus(gpus, nvml) if gpu.driver in ("nvidia", "")]
    if not loaded.loaded or not silent:
        return
    if isinstance(log, Unavailable):
        raise log
    for gpu in silent:
        told = _failure_of(gpu, log, alone=len(silent) == 1)
        if told:
            words = told[-1].rpartition("NVRM: ")[2].removeprefix(f"GPU {gpu.address}: ")
            yield Finding(
                f"{named(gpu)} could not be started by driver {loaded.version}: {words}",
                gpu.address,
                (*(Evidence(log.source, line) for line in told), Evidence(loaded.source, loaded.text)),
                "Switch the machine off completely, wait half a minute, and switch it on. If that does not help, look "
                "at the machine's firmware (BIOS) and try the GPU in another slot; do not reinstall the driver.",
            )


def _failure_of(gpu: PciGpu, log: KernelLog, *, alone: bool) -> tuple[str, ...]:
    """The last failure of a GPU with the driver's line before it, oldest first; empty if there is none.

    `alone`: no other GPU is silent, so a line that gives only a minor number means this one.
    """
    place = gpu.address.rpartition(".")[0]
    own = [number for number, line in enumerate(log.lines) if "RmInitAdapter failed" in line and place in line]
    bare = [number for number, line in enumerate(log.lines) if "rm_init_adapter" in line and "failed" in line]
    for number in own[-1:] or (bare[-1:] if alone else []):
        before = [line for line in log.lines[:number] if "NVRM" in line and "RmInitAdapter failed" not in line]
        return (*before[-1:], log.lines[number])
    return ()
