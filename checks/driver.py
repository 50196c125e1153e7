"""Is there a driver at all, with both its halves: the kernel module, and the libraries that programs open?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, check, hint, likely
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverWanted

from ._first_driver import install_driver
from ._gpus import need_of, own_gpus
from ._return_codes import LIBRARY_NOT_FOUND
from ._scope import NO_CUDA_ON_VGPU_HOST, driver_for_programs_here, nothing_in_snaps, own_driver
from ._surroundings import CONTAINER, DESKTOP, HOST_WORKS, SNAP, WSL


@check(
    "driver.not-installed",
    after=["packages.driver-removed"],
    symptoms=[
        likely(r"Found no NVIDIA driver on your system", without=CONTAINER),
        likely(r"CUDA driver initialization failed, you might not have a CUDA gpu", without=CONTAINER),
        likely(r"Command 'nvidia-smi' not found, but can be installed with", without=WSL),
        likely(r"nvidia-smi' is not recognized as (an internal|the name)"),
        r"Could not (load dynamic library|find) 'nvcuda\.dll'",
        hint(r"Could not load nvcuda\.dll|nvcuda\.dll (was )?not found"),
        r"Failed to load module \"?nvidia\"? \(module does not exist",
        hint(r"Found no NVIDIA driver on your system"),
        hint(r"nvidia-smi: (command )?not found", without=CONTAINER),
        hint(r"libcuda\.so\.1: cannot open shared object file", without=CONTAINER),
        hint(r"CUDA driver library cannot be found"),
        hint(r"nvidia-container-cli: initialization error: load library failed: libnvidia-ml", without=HOST_WORKS),
        hint(r"failed to find an executable 'nvidia-smi' on the host|failed to locate nvidia-smi"),
        hint(r"error validating driver|failed to validate the driver, retrying"),
    ],
)
def not_installed(
    confinement: Confinement,
    gpus: PciGpus,
    wanted: DriverWanted,
    loaded: LoadedDriver,
    libraries: DriverLibraries,
    kernel: Kernel,
    files: ModuleFiles,
    system: OperatingSystem,
    packages: Packages | Unavailable,
    expected: ExpectedGpus,
) -> Iterator[Finding]:
    """There is an NVIDIA GPU in the machine, and no NVIDIA driver was ever installed.

    What: A GPU cannot compute without NVIDIA's driver: a kernel module and the libraries libcuda
    and libnvidia-ml. Neither is on this system. nouveau, the driver that comes with Linux, shows a
    desktop but cannot run CUDA.

    Proof: /sys/bus/pci/devices shows the GPU; no NVIDIA module is in the kernel or on the disk, no
    library is known to the dynamic loader, no driver package, DKMS source or installer trace is there.

    Repair: Install the driver from your distribution's packages. Do not run NVIDIA's .run file: what
    it installs is overwritten by packages sooner or later. GPUs of the Blackwell generation and later
    work only with the open kernel modules; GPUs before Turing only with the proprietary ones.

    Reference: NVIDIA Driver Installation Guide,
    https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/
    """
    own_driver(confinement)
    mine = own_gpus(gpus)
    if not mine or wanted.reasons or loaded.loaded or libraries.libraries or files.of(kernel.release):
        return
    if expected.number == 0:  # it shows a screen, and nobody means to compute on it
        return
    names = ", ".join(dict.fromkeys(gpu.label for gpu in mine))
    need = need_of(mine)
    if need is None:
        fit = " No single driver serves all GPUs of this machine: decide which of them are to be used."
    else:
        fit = f" These GPUs need {need.words}." if need.words else ""
    yield Finding(
        f"{names}: the GPU is there, and no NVIDIA driver is installed.",
        mine[0].address,
        (
            *(
                Evidence(f"/sys/bus/pci/devices/{gpu.address}", f"{gpu.label}, driver: {gpu.driver or 'none'}")
                for gpu in mine[:2]
            ),
            Evidence("installed packages", "none brings an NVIDIA driver; no DKMS source, no trace of an installer"),
            Evidence("/etc/ld.so.cache", "no libcuda.so.1, no libnvidia-ml.so.1"),
        ),
        f"{install_driver(system, kernel, packages, need)}{fit} If nobody means to compute on it, "
        "`gpudoctor check --expect-gpus 0` says so.",
    )


@check(
    "driver.library-missing",
    after=[
        "packages.half-configured",
        "packages.partial-upgrade",
        "packages.driver-removed",
        "container.no-gpu-requested",
        "container.driver-capabilities",
    ],
    symptoms=[
        likely(r"libcuda\.so(\.1)?: cannot open shared object file", without=CONTAINER),
        likely(r"libnvidia-ml\.so(\.1)?: cannot open shared object file", without=rf"{SNAP}|{DESKTOP}"),
        r"couldn't find libnvidia-ml\.so library",
        r"NVML Shared Library Not Found",
        r"Possible CUDA driver libraries are found but error occurred during load",
        r"Unable to dynamically load the \W{0,2}cuda\W{0,2} shared library",
        hint(r"No functional CUDA driver found|could not find an appropriate CUDA driver"),
        r"Failed to load libcuda\.so\. Check your library paths",
        hint(r"libcuda\.so not found! Do you have a CUDA driver installed"),
        hint(r"libcuda\.so\.1, needed by \S+ not found|undefined reference to .cu(Device|Mem|Init|Ctx|Module)\w+"),
        r"NVML_ERROR_LIBRARY_NOT_FOUND|nvml\w*: ERROR_LIBRARY_NOT_FOUND",
        r"CUDA driver library cannot be found",
        likely(r"Cannot load (lib(cuda|nvidia-encode|nvcuvid)\.so|nvcuda\.dll|nvEncodeAPI)", without=CONTAINER),
        r"lib(nvidia-encode|nvcuvid|nvidia-\w+)\.so\.1: cannot open shared object file",
        r"failed call to cuInit: UNKNOWN ERROR \(303\)",
        hint(r"libcuda\.so(\.1)?: cannot open shared object file"),
        hint(r"libnvidia-ml\.so(\.1)?: cannot open shared object file"),
        hint(r"CUDA Version: (N/A|ERR!)"),
        r"Could not find any nv (files|libraries|binaries) on this host",
        r"failed to locate (driver libraries|libraries for driver version|versioned driver libraries)",
        r"failed to locate \W?lib(cuda|nvidia-ml)\.so",
        r"configured with nvml functionality, but that lib wasn't found",
    ],
)
def library_missing(
    confinement: Confinement,
    loaded: LoadedDriver,
    libraries: DriverLibraries,
    nodes: DeviceNodes,
    system: OperatingSystem,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
    modules: LoadedModules | Unavailable,
) -> Iterator[Finding]:
    """The kernel module is loaded, but a library that programs need to reach it is not there.

    What: libcuda.so.1 is what every CUDA program opens first, libnvidia-ml.so.1 what nvidia-smi and
    monitoring open. Many distributions pack them apart from the rest of the driver, so a desktop
    can work while no program can compute. NVIDIA's vGPU manager has no libcuda at all, and needs none.

    Proof: /etc/ld.so.cache and the standard folders have no such library whose file exists, while
    /proc/driver/nvidia/version shows a loaded driver.

    Repair: Install the package with the compute libraries, from the same origin and at the same version
    as the loaded driver. In a container: ask for the GPU at its start, the container toolkit mounts
    these libraries. Never copy libcuda.so from another machine, nor link the toolkit's stub to its name.

    Reference: NVIDIA Driver Installation Guide, https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/;
    https://github.com/NVIDIA/nvidia-container-toolkit (driver capabilities)
    """
    if confinement.wsl:
        raise NotApplicable("WSL: the driver's libraries are those of Windows")
    driver_for_programs_here(confinement)
    if not loaded.loaded:
        return
    if confinement.container and not nodes.nodes:
        return  # it was started without a GPU, and so without libraries: devices.nodes-missing tells it
    # A program that found the library elsewhere, as on NixOS, proves that it is there.
    found = {
        "libcuda.so.1": isinstance(cuda, Cuda) and cuda.library_path != "",
        "libnvidia-ml.so.1": isinstance(nvml, Nvml)
        and (nvml.library_path != "" or nvml.return_code != LIBRARY_NOT_FOUND),
    }
    missing = [soname for soname, seen in found.items() if not seen and libraries.get(soname) is None]
    if isinstance(modules, LoadedModules) and modules.of_vgpu_host and missing == ["libcuda.so.1"]:
        raise NotApplicable(NO_CUDA_ON_VGPU_HOST)
    if not missing:
        return
    nothing_in_snaps(system)
    lost = {
        "libcuda.so.1": "no program can compute on the GPU",
        "libnvidia-ml.so.1": "nvidia-smi and monitoring cannot see the GPU",
    }
    if confinement.container:
        remedy = (
            "Start the container with its GPU (`docker run --gpus all`, or the CDI device nvidia.com/gpu=all) and "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility: the host's libraries are mounted then. Install none in it."
        )
    elif isinstance(modules, LoadedModules) and modules.of_tegra:
        remedy = "Install the packages nvidia-l4t-* of this board's release again; nvidia-l4t-cuda brings libcuda."
    else:
        package = _library_package(system, loaded)
        remedy = f"Install the package with {' and '.join(missing)} at version {loaded.version}{package}."
    yield Finding(
        f"Driver {loaded.version} is loaded, but {' and '.join(missing)} cannot be found: "
        f"{' and '.join(lost[soname] for soname in missing)}.",
        missing[0],
        (
            Evidence("/etc/ld.so.cache", f"no {' and no '.join(missing)}, nor in the standard library folders"),
            Evidence(loaded.source, loaded.text),
        ),
        remedy,
        Severity.ERROR if "libcuda.so.1" in missing else Severity.WARNING,
    )


def _library_package(system: OperatingSystem, loaded: LoadedDriver) -> str:
    branch = loaded.version.partition(".")[0]
    match system.family:
        case "debian" if system.of_debian:
            return " (libcuda1 and libnvidia-ml1)"
        case "debian":
            return f" (libnvidia-compute-{branch}, or libnvidia-compute-{branch}-server beside a server driver)"
        case "fedora":
            return " (RPM Fusion: xorg-x11-drv-nvidia-cuda; NVIDIA's repository: nvidia-driver-cuda)"
        case "suse":
            return " (nvidia-compute-G0x, with the G0x of the installed kernel module)"
        case "arch":
            return " (nvidia-utils)"
        case _:
            return ""
