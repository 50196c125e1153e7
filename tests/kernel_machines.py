"""Facts of an imaginary Debian machine in good health, to which tests of kernel checks do harm."""

from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.devices import DeviceNode, DeviceNodes
from gpudoctor.facts.dkms import Dkms, DkmsBuild, DkmsSource
from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import InstalledKernel, InstalledKernels, ModuleFile, ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.modprobe import ModprobeConfig, ModprobeLine
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.secure_boot import SecureBoot
from gpudoctor.facts.system import Boot, Compiler, Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions, DriverWanted

OLD, NEW = "6.1.0-50-amd64", "6.1.0-56-amd64"  # the running kernel, and one that an upgrade may bring
BEFORE, AFTER = "535.261.03", "535.309.01"  # driver versions
BOOTED = 1_795_000_000.0  # seconds since the epoch
LIBCUDA = "/usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so."

DEBIAN = OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)", "debian")
UBUNTU = OperatingSystem("ubuntu", "24.04", "Ubuntu 24.04 LTS", "debian")
FEDORA = OperatingSystem("fedora", "42", "Fedora Linux 42", "fedora")
GCC_12 = Compiler("gcc", 12, "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0")
CONTAINER, WSL = Confinement("docker", False), Confinement("", True)


def kernel(release: str = OLD, *, running: bool = True, command_line: tuple[str, ...] = ()) -> Kernel:
    return Kernel(release, running, GCC_12, command_line)


def installed(*releases: str, headers: tuple[str, ...] = (OLD, NEW), next_boot: str = "") -> InstalledKernels:
    """Installed kernels, newest first; those in `headers` have theirs."""
    kernels = [
        InstalledKernel(
            release,
            f"/boot/vmlinuz-{release}",
            release in headers,
            f"/usr/src/linux-headers-{release}",
            f"/boot/initrd.img-{release}",
            BOOTED - 3600,
        )
        for release in releases
    ]
    return InstalledKernels(tuple(kernels), next_boot or (releases or ("",))[0], "/vmlinuz")


def module(release: str = OLD, version: str = BEFORE, origin: str = "dkms", **changes: object) -> ModuleFile:
    folder = {"dkms": "updates/dkms", "prebuilt": "kernel/nvidia-580"}.get(origin, origin)
    path = f"/lib/modules/{release}/{folder}/nvidia.ko"
    file = ModuleFile(release, path, origin, version, "proprietary", f"{release} SMP", "signed", BOOTED - 86400)
    return file._replace(**changes)  # type: ignore[arg-type]


def versions(loaded: str, on_disk: str, user_space: str, **changes: object) -> DriverVersions:
    path = f"/lib/modules/{OLD}/updates/dkms/nvidia.ko" if on_disk else ""
    library = LIBCUDA + user_space if user_space else ""
    found = DriverVersions(loaded, on_disk, path, user_space, library, user_space, "libcuda1" if user_space else "")
    return found._replace(**changes)  # type: ignore[arg-type]


def driver(version: str = BEFORE) -> LoadedDriver:
    return LoadedDriver(version, "proprietary", "/proc/driver/nvidia/version", version, {})


def dkms(*builds: DkmsBuild, version: str = BEFORE, name: str = "nvidia-current") -> Dkms:
    return Dkms(True, (DkmsSource(name, version, True, builds),))


def built(release: str = OLD) -> DkmsBuild:
    return DkmsBuild(release, "built", "", ())


def failed(release: str, *errors: str) -> DkmsBuild:
    return DkmsBuild(release, "failed", "/var/lib/dkms/nvidia-current/535.261.03/build/make.log", errors)


def package(name: str, version: str = f"{BEFORE}-1") -> Package:
    return Package(name, version, "amd64", "installed", False, "Debian NVIDIA Maintainers")


def packages(*names: str) -> Packages:
    return Packages("dpkg", tuple(package(name) for name in names))


def upgrade(
    name: str, new: str, *, old: str = "", time: float = BOOTED + 3600, command: str = "apt -y upgrade"
) -> PackageEvent:
    action = "upgrade" if old else "install"
    return PackageEvent(time, "2026-11-23  20:26:27", action, name, old, new, command, True, "/var/log/apt/history.log")


def gpu(owner: str = "nvidia", address: str = "0000:01:00.0") -> PciGpu:
    return PciGpu(address, "2204", owner, "NVIDIA GeForce RTX 3090", "Ampere", "either", None, "")


def nvml(return_code: int = 0) -> Nvml:
    one = NvmlGpu(0, 0, "NVML_SUCCESS", "NVIDIA GeForce RTX 3090", "GPU-1", "0000:01:00.0", None, None, None, {}, {})
    name = "NVML_SUCCESS" if return_code == 0 else "NVML_ERROR_LIB_RM_VERSION_MISMATCH"
    return Nvml(return_code, name, "", "", "", "", None, (one,) if return_code == 0 else ())


def cuda(return_code: int | None = 0) -> Cuda:
    names = {0: "CUDA_SUCCESS", 999: "CUDA_ERROR_UNKNOWN", 803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", None: ""}
    return Cuda(return_code, names.get(return_code, "CUDA_ERROR"), "", "", "", None, 0)


def uvm_node(major: int = 511) -> DeviceNode:
    return DeviceNode("/dev/nvidia-uvm", 0o666, 0, 0, (major, 0))


def blacklist(name: str, path: str = "/etc/modprobe.d/local.conf", directive: str = "blacklist") -> ModprobeLine:
    return ModprobeLine(path, directive, name, "")


HEALTHY = (
    DEBIAN,
    Confinement("", False),
    kernel(),
    installed(OLD),
    ModuleFiles((module(),)),
    versions(BEFORE, BEFORE, BEFORE),
    DriverWanted(("package libcuda1", "DKMS source nvidia-current/535.261.03")),
    dkms(built()),
    packages("libcuda1", "nvidia-kernel-dkms"),
    PackageHistory(()),
    PciGpus((gpu(),)),
    HostCompilers(12, (12,)),
    Boot(BOOTED),
    ModprobeConfig((blacklist("nouveau", "/etc/modprobe.d/nvidia-blacklists-nouveau.conf"),), ""),
    SecureBoot(False, "none", ()),
    KernelLog((), "dmesg"),
    driver(),
    DriverLibraries(()),
    LoadedModules({"nvidia": ("nvidia_uvm",), "nvidia_uvm": ()}),
    DeviceNodes((uvm_node(),), {"nvidia": 195, "nvidia-uvm": 511}, False),
    nvml(),
    cuda(),
)


def machine(*changes: object, unknown: tuple[type, ...] = ()) -> tuple[object, ...]:
    """The healthy machine's facts, those of `changes` in place of its own, without those that are to be unknown."""
    facts = {type(fact): fact for fact in (*HEALTHY, *changes)}
    return tuple(fact for kind, fact in facts.items() if kind not in unknown)
