"""Can this driver serve this GPU at all? Flavour and branch against the table of GPUs, and the driver's own word."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Unavailable, check, hint, likely, sure
from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem

from ._gpus import (
    Driver,
    driver_in_charge,
    driver_package,
    is_older,
    named,
    no_common_driver,
    refused_gpus,
    sentences,
    silent_gpus,
)
from ._scope import own_driver
from ._surroundings import UNREACHABLE

_AFTER = ("kernel.other-driver-bound",)
# Who names a GPU before Turing and a driver after branch 580 in one breath, and that nothing works.
_OLD_GPUS = (r"\bGTX ?(745|750|9[5-8]0|10[5-8]0)", r"\bQuadro [MP]\d{3,4}", r"\bMX ?[123][135]0")
_NEW_DRIVER = r"\b(59\d|6[0-4]\d)\.\d{2,3}\b"
_OLD_GPU_NEW_DRIVER = [
    pattern for gpu in _OLD_GPUS for pattern in (rf"{gpu}\b.{{0,300}}{_NEW_DRIVER}", rf"{_NEW_DRIVER}.{{0,300}}{gpu}\b")
]
_REFUSED = rf"{UNREACHABLE}|not supported|no longer (be )?support|No devices were found|No NVIDIA (GPU|device)"


@check(
    "driver.open-module-required",
    after=_AFTER,
    symptoms=[
        sure(r"requires use of the NVIDIA open kernel modules"),
        r"This system requires the open GPU kernel modules",
        r"'(kernel|proprietary)' kernel modules are incompatible with the GPU",
        likely(r"RmInitAdapter failed! \(0x22:0x56:", without=r"kgsp|GSP"),
        likely(r"No devices were found", beside=r"\bRTX 50\d\d\b|\bBlackwell\b|\bB[23]00\b|RTX PRO \d000"),
        hint(r"No devices were found"),
    ],
)
def open_module_required(
    confinement: Confinement,
    gpus: PciGpus,
    loaded: LoadedDriver,
    files: ModuleFiles,
    kernel: Kernel,
    nvml: Nvml | Unavailable,
    log: KernelLog | Unavailable,
    system: OperatingSystem,
) -> Iterator[Finding]:
    """This GPU works only with NVIDIA's open kernel modules, and the proprietary ones are in use.

    What: NVIDIA's driver comes with its kernel part in two flavours of the same version. GPUs of the
    Blackwell generation and later are served by the open flavour only. With the other one the driver
    loads without complaint, but leaves the GPU alone: nvidia-smi says "No devices were found".

    Proof: The line of /proc/driver/nvidia/version ("Open Kernel Module" or "Kernel Module"), or the
    licence of the module file, and the GPU's PCI id; the kernel's log says it in so many words.

    Repair: Install the open modules of the same branch from the same origin, and reboot. Nothing else of the
    driver changes.

    Reference: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/kernel-modules.html;
    README of the NVIDIA driver, kernel_open.html
    """
    own_driver(confinement)
    driver = driver_in_charge(loaded, files, kernel)
    if driver is None or driver.flavour == "open":
        return
    said = refused_gpus(log, "requires use of the NVIDIA open kernel modules")
    for gpu in silent_gpus(gpus, nvml):
        by_table = gpu.module == "open-only" and driver.flavour == "proprietary" and not _too_new(gpu, driver)
        if by_table or gpu.address in said:
            yield Finding(
                f"{named(gpu)} works only with the open kernel modules; {driver.words} is in use.",
                gpu.address,
                (driver.evidence, _table(gpu, "open kernel modules only"), *_said(said.get(gpu.address))),
                f"Install the open kernel modules of branch {driver.branch}"
                f"{driver_package(system, 'open', driver.branch)} from the same origin, then reboot."
                f"{no_common_driver(gpu, gpus)}",
            )


@check(
    "driver.open-module-unsupported",
    after=_AFTER,
    symptoms=[
        sure(r"not supported by open nvidia\.ko"),
        sure(r"does not include the required GPU System Processor"),
        sure(r"nvidia\.ko because it does not include the required GPU"),  # a line alone, as grep lets it through
        r"'(kernel-)?open' kernel modules are incompatible with the GPU",
        r"RmInitAdapter failed! \(0x24:0x72:",
        r"open GPU kernel modules are supported on some GPUs in this system, and unsupported on others",
        r"is unlikely to support the open GPU kernel modules",
    ],
)
def open_module_unsupported(
    confinement: Confinement,
    gpus: PciGpus,
    loaded: LoadedDriver,
    files: ModuleFiles,
    kernel: Kernel,
    nvml: Nvml | Unavailable,
    log: KernelLog | Unavailable,
    system: OperatingSystem,
) -> Iterator[Finding]:
    """This GPU is older than NVIDIA's open kernel modules can serve, and those are in use.

    What: The open kernel modules leave most of the work to a processor in the GPU itself, the GSP, which
    GPUs before the Turing generation do not have. Distributions have begun to install the open
    flavour by default, so an upgrade can bring it to a machine with an older GPU.

    Proof: "Open Kernel Module" in /proc/driver/nvidia/version, or the licence "Dual MIT/GPL" of the module
    file, and the GPU's PCI id; the kernel's log says it in so many words.

    Repair: Install the proprietary modules of a branch that still serves the GPU (580 was the last one for
    Maxwell, Pascal and Volta), hold that branch, and reboot.

    Reference: README of the NVIDIA driver, kernel_open.html;
    https://github.com/NVIDIA/open-gpu-kernel-modules (compatible GPUs)
    """
    own_driver(confinement)
    driver = driver_in_charge(loaded, files, kernel)
    if driver is None or driver.flavour == "proprietary":
        return
    said = refused_gpus(log, "is not supported by open nvidia.ko")
    for gpu in silent_gpus(gpus, nvml):
        by_table = gpu.module == "proprietary-only" and driver.flavour == "open"
        if _too_old(gpu, driver) or not (by_table or gpu.address in said):
            continue
        yield Finding(
            f"{named(gpu)} cannot work with the open kernel modules; {driver.words} is in use.",
            gpu.address,
            (driver.evidence, _table(gpu, "proprietary kernel modules only"), *_said(said.get(gpu.address))),
            f"Install the proprietary kernel modules of branch {driver.branch}"
            f"{driver_package(system, 'proprietary', driver.branch)} from the same origin, then reboot."
            f"{no_common_driver(gpu, gpus)}",
        )


@check(
    "driver.gpu-needs-legacy-branch",
    after=_AFTER,
    symptoms=[
        sure(r"supported through the\s+(NVRM:\s+)?NVIDIA [\d.]+xx Legacy drivers"),
        sure(r"NVIDIA driver will ignore\s+(NVRM:\s+)?this GPU"),
        sure(r"legacy Linux graphics drivers and will be ignored"),
        *(likely(pattern, beside=_REFUSED) for pattern in _OLD_GPU_NEW_DRIVER),
        hint(r"(?<!Unsloth: )No NVIDIA GPU found"),
        hint(r"No NVIDIA graphics adapter found"),
        hint(r"You do not appear to have an NVIDIA GPU supported by"),
        sure(r"NVRM: ignoring the legacy GPU"),
        hint(r"None of the NVIDIA (devices|graphics adapters) were initialized"),
    ],
)
def gpu_needs_legacy_branch(
    confinement: Confinement,
    gpus: PciGpus,
    loaded: LoadedDriver,
    files: ModuleFiles,
    kernel: Kernel,
    nvml: Nvml | Unavailable,
    log: KernelLog | Unavailable,
    system: OperatingSystem,
) -> Iterator[Finding]:
    """The driver is of a branch that no longer serves this GPU.

    What: From time to time NVIDIA drops old GPUs from new branches of the driver, and serves them with an
    older branch for some years more. The new driver loads, and ignores the GPU. It happens after an
    upgrade to a new branch, for instance to 590, which serves nothing before Turing.

    Proof: The version of the driver, and the last branch that serves the GPU's generation; the kernel's log
    names the legacy branch.

    Repair: Install the last branch that serves the GPU, with the proprietary kernel modules, and keep the
    package manager from moving on to a newer branch.

    Reference: https://www.nvidia.com/en-us/drivers/unix/legacy-gpu/;
    https://archlinux.org/news/ (driver 590 drops Pascal)
    """
    own_driver(confinement)
    driver = driver_in_charge(loaded, files, kernel)
    if driver is None:
        return
    for gpu in silent_gpus(gpus, nvml):
        if not _too_old(gpu, driver):
            continue
        branch = gpu.last_branch or 0
        yield Finding(
            f"{named(gpu)} is served by branch {branch} and older ones; {driver.words} ignores it.",
            gpu.address,
            (driver.evidence, _table(gpu, f"last branch {branch}"), *_said(_legacy_line(log))),
            f"Install driver branch {branch} with the proprietary modules{_legacy_package(system, branch)}, and hold "
            f"it there.{no_common_driver(gpu, gpus)}",
        )


@check(
    "driver.gpu-newer-than-driver",
    after=_AFTER,
    symptoms=[
        r"not supported by the\s+(NVRM:\s+)?NVIDIA [\d.]+x? driver release",
        r"not supported by the\s+(NVRM:\s+)?[\d.]+ (NVRM:\s+)?NVIDIA Linux (NVRM:\s+)?(graphics )?driver release",
        hint(r"You do not appear to have an NVIDIA GPU supported by"),
    ],
)
def gpu_newer_than_driver(
    confinement: Confinement,
    gpus: PciGpus,
    loaded: LoadedDriver,
    files: ModuleFiles,
    kernel: Kernel,
    nvml: Nvml | Unavailable,
    log: KernelLog | Unavailable,
) -> Iterator[Finding]:
    """The GPU came out after this driver, which does not know it.

    What: A driver serves the GPUs that were known when it was released. With a newer one it loads, says so in
    the kernel's log, and leaves the GPU alone. Distributions with long support often ship such drivers.

    Proof: The GPU's PCI id is listed by releases of the driver from a certain one on, and the driver in use
    is older; the kernel's log says it in so many words.

    Repair: Install a newer branch, from one origin only: your distribution's backports or newer branch, else
    NVIDIA's repository. Do not mix packages of both.

    Reference: https://github.com/NVIDIA/open-gpu-kernel-modules (README.md, compatible GPUs, by release);
    supported-gpus.json of the driver
    """
    own_driver(confinement)
    driver = driver_in_charge(loaded, files, kernel)
    if driver is None:
        return
    said = refused_gpus(log, f"is not supported by the NVIDIA {driver.version} driver release")
    for gpu in silent_gpus(gpus, nvml):
        if not _too_new(gpu, driver) and gpu.address not in said:
            continue
        known = f" Releases from {gpu.first_driver} on know it." if gpu.first_driver else ""
        open_only = " with the open kernel modules" if gpu.module == "open-only" else ""
        least = f"release {gpu.first_driver} or later" if gpu.first_driver else "a newer branch"
        yield Finding(
            f"{named(gpu)} is newer than {driver.words}, which does not serve it.{known}",
            gpu.address,
            (
                driver.evidence,
                *([_table(gpu, f"first listed in release {gpu.first_driver}")] if gpu.first_driver else []),
                *_said(said.get(gpu.address)),
            ),
            f"Install {least}{open_only}, all of it from one origin: the distribution's newer branch or backports, "
            f"else NVIDIA's repository.{no_common_driver(gpu, gpus)}",
        )


def _too_new(gpu: PciGpu, driver: Driver) -> bool:
    return gpu.first_driver != "" and is_older(driver.version, gpu.first_driver)


def _too_old(gpu: PciGpu, driver: Driver) -> bool:
    return gpu.last_branch is not None and gpu.last_branch < driver.branch


def _table(gpu: PciGpu, value: str) -> Evidence:
    return Evidence(f"GPU table, 10de:{gpu.device_id}", f"{gpu.label}, {gpu.architecture or 'unknown'}: {value}")


def _said(line: Evidence | None) -> tuple[Evidence, ...]:
    return (line,) if line else ()


def _legacy_line(log: KernelLog | Unavailable) -> Evidence | None:
    """The driver names these GPUs by product, without an address."""
    text = sentences(log)
    end = text.find(" Legacy drivers")
    if end < 0 or isinstance(log, Unavailable):
        return None
    return Evidence(log.source, f"{text[max(0, text.rfind('The NVIDIA ', 0, end)) : end]} Legacy drivers")


def _legacy_package(system: OperatingSystem, branch: int) -> str:
    match system.family:
        case "debian" if system.of_debian:
            return " (Debian has older branches that serve it as well: nvidia-driver, nvidia-tesla-470-driver...)"
        case "arch":
            return f" (nvidia-{branch}xx-dkms of the AUR)"
        case "fedora":
            return f" (RPM Fusion: akmod-nvidia-{branch}xx)"
        case "debian":
            return f" (nvidia-driver-{branch})"
        case _:
            return ""
