"""Which GPU on the bus is which in NVML's answer and in the kernel's log, and which driver a GPU can work with."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gpudoctor import Evidence, Severity, Unavailable
from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import GIVEN_AWAY, PciGpu, PciGpus
from gpudoctor.facts.system import Kernel, OperatingSystem


def own_gpus(gpus: PciGpus) -> tuple[PciGpu, ...]:
    """The GPUs that this system itself may use: all but those kept for virtual machines."""
    return tuple(gpu for gpu in gpus.gpus if gpu.driver not in GIVEN_AWAY)


def unless_nobody_computes(expected: ExpectedGpus) -> Severity | None:
    """The severity of what hinders a GPU that none of this machine's users may mean: the check's own, or a remark."""
    return Severity.INFO if expected.number == 0 else None


def named(gpu: PciGpu) -> str:
    """ "GPU 0000:01:00.0 (NVIDIA H200)"."""
    return f"GPU {gpu.address} ({gpu.label})"


def nvml_by_address(gpus: PciGpus, nvml: Nvml) -> Mapping[str, NvmlGpu]:
    """NVML's entries by PCI address.

    A GPU that lost its handle is listed without an address. Where there are as many of those as GPUs that NVML does not
    name, they are the same ones, in the order of the bus; otherwise they are left out.
    """
    found = {gpu.pci_address: gpu for gpu in nvml.gpus if gpu.pci_address}
    nameless = sorted((gpu for gpu in nvml.gpus if not gpu.pci_address), key=lambda gpu: gpu.number)
    missing = sorted(gpu.address for gpu in gpus.gpus if gpu.driver == "nvidia" and gpu.address not in found)
    return {**found, **dict(zip(missing, nameless, strict=True))} if len(missing) == len(nameless) else found


def silent_gpus(gpus: PciGpus, nvml: Nvml | Unavailable) -> tuple[PciGpu, ...]:
    """Own GPUs that NVML does not list as answering; all of them where NVML cannot be asked."""
    if isinstance(nvml, Unavailable):
        return own_gpus(gpus)
    answers = nvml_by_address(gpus, nvml)
    answering = {address for address, answer in answers.items() if answer.return_code == 0}
    # Where the answer is known to be cut short, a GPU that is not listed may well be fine.
    silent = (gpu for gpu in own_gpus(gpus) if gpu.address not in answering)
    return tuple(gpu for gpu in silent if nvml.complete or gpu.address in answers)


def gpu_works(nvml: Nvml | Unavailable, cuda: Cuda | Unavailable) -> bool:
    """Seen, not inferred: both libraries started, and every GPU answered."""
    if isinstance(nvml, Unavailable) or isinstance(cuda, Unavailable) or nvml.return_code or cuda.return_code != 0:
        return False
    return bool(nvml.gpus) and all(gpu.return_code == 0 for gpu in nvml.gpus)


class Driver(NamedTuple):
    """The driver that is loaded, else the one on the disk for the running kernel."""

    version: str
    flavour: str  # "open", "proprietary", "" unknown
    evidence: Evidence

    @property
    def branch(self) -> int:
        return int(self.version.partition(".")[0])

    @property
    def words(self) -> str:
        """ "driver 580.95.05 (open kernel modules)"."""
        return f"driver {self.version}" + (f" ({self.flavour} kernel modules)" if self.flavour else "")


def driver_in_charge(loaded: LoadedDriver, files: ModuleFiles, kernel: Kernel) -> Driver | None:
    """None where there is no driver, or one that does not tell its version."""
    if loaded.version[:1].isdigit():
        # /sys/module/nvidia/version does not tell the flavour; the file of that version does.
        flavours = [file.flavour for file in files.of(kernel.release) if file.version == loaded.version]
        flavour = loaded.flavour or next(iter(flavours), "")
        return Driver(loaded.version, flavour, Evidence(loaded.source, loaded.text))
    for file in files.of(kernel.release)[:1]:
        if file.version[:1].isdigit():
            value = f"{file.version}, {file.flavour} kernel module" if file.flavour else file.version
            return Driver(file.version, file.flavour, Evidence(file.path, value))
    return None


def sentences(log: KernelLog | Unavailable) -> str:
    """The driver's lines joined: it breaks one sentence into several lines that all begin with NVRM."""
    if isinstance(log, Unavailable):
        return ""
    return " ".join(" ".join(line.replace("NVRM:", " ") for line in log.lines).split())


def refused_gpus(log: KernelLog | Unavailable, words: str) -> Mapping[str, Evidence]:
    """By address, what the driver said of GPUs "installed in this system" in a sentence with these words."""
    found: dict[str, Evidence] = {}
    text = sentences(log)
    for part in text.split("The NVIDIA GPU ")[1:]:
        address, _, rest = part.partition(" ")
        sentence, matched, _ = rest.partition(words)
        # Sentences of other GPUs begin anew; what lies this far behind is about something else.
        if matched and len(sentence) < 120 and isinstance(log, KernelLog):
            found[address.lower()] = Evidence(log.source, f"The NVIDIA GPU {address} {sentence}{words}")
    return found


class Need(NamedTuple):
    """What a driver must be to serve some GPUs."""

    flavour: str  # "open", "proprietary", "" either
    oldest: str  # first release, "" any
    newest_branch: int | None  # last branch, None: any

    @property
    def words(self) -> str:
        """ "the proprietary kernel modules, branch 580 or older"; "" if every driver will do."""
        parts = [f"the {self.flavour} kernel modules"] * bool(self.flavour)
        parts += [f"release {self.oldest} or later"] * bool(self.oldest)
        parts += [f"branch {self.newest_branch} or older"] * bool(self.newest_branch)
        return ", ".join(parts)


def need_of(gpus: Iterable[PciGpu]) -> Need | None:
    """What serves all these GPUs at once, None where no driver does."""
    gpus = tuple(gpus)
    flavours = {gpu.module.removesuffix("-only") for gpu in gpus if gpu.module.endswith("-only")}
    newest = min((gpu.last_branch for gpu in gpus if gpu.last_branch), default=None)
    oldest = ""
    for gpu in gpus:
        if gpu.first_driver and (not oldest or is_older(oldest, gpu.first_driver)):
            oldest = gpu.first_driver
    if len(flavours) > 1 or (oldest and newest and int(oldest.partition(".")[0]) > newest):
        return None
    return Need(next(iter(flavours), ""), oldest, newest)


def is_older(version: str, than: str) -> bool:
    """Is this driver release older than that one?"""
    if not all(part.isdecimal() for part in [*version.split("."), *than.split(".")]):
        raise Unavailable(f"driver versions {version!r} and {than!r} cannot be compared")
    return version_key(version) < version_key(than)


def no_common_driver(gpu: PciGpu, gpus: PciGpus) -> str:
    """A sentence that names the GPUs beside this one with which it can share no driver, "" if there are none."""
    rivals = [other for other in own_gpus(gpus) if other.address != gpu.address and need_of((gpu, other)) is None]
    if not rivals:
        return ""
    others = ", ".join(sorted({f"{rival.label} at {rival.address}" for rival in rivals}))
    return (
        f" But no driver serves both it and {others}: decide for one, and take the other out or "
        f"keep it for a virtual machine (vfio-pci)."
    )


def driver_package(system: OperatingSystem, flavour: str, branch: int) -> str:
    """The name of the package that brings this flavour, as a clause: " (nvidia-driver-580-open)", "" if unknown."""
    open_modules = flavour == "open"
    match system.family:
        case "debian" if system.of_debian:
            return " (nvidia-open-kernel-dkms)" if open_modules else " (nvidia-kernel-dkms)"
        case "debian":
            return f" (nvidia-driver-{branch}-open)" if open_modules else f" (nvidia-driver-{branch})"
        case "fedora":
            return " (nvidia-open of NVIDIA's repository)" if open_modules else " (cuda-drivers of NVIDIA's repository)"
        case "suse":
            name = "nvidia-open-driver-G0x-signed-kmp-default" if open_modules else "nvidia-driver-G0x-kmp-default"
            return f" ({name}, with the G0x that is installed)"
        case "arch":
            return " (nvidia-open or nvidia-open-dkms)" if open_modules else f" (nvidia-{branch}xx-dkms of the AUR)"
        case _:
            return ""
