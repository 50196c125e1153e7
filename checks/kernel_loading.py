"""The NVIDIA module is on the disk and no other driver holds the GPU: what keeps the module from being loaded?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.modprobe import ModprobeConfig
from gpudoctor.facts.pci import FREE_DRIVERS, PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._boot import refresh_initramfs
from ._known import known
from ._scope import own_driver
from ._surroundings import UNREACHABLE, WSL


@check(
    "kernel.module-blacklisted",
    severity=Severity.ERROR,
    symptoms=[
        sure(r"Module '?nvidia\w*'? is (blacklisted|deny-listed)"),
        sure(r"Error running install command '\S*false'? for module nvidia"),
        sure(r"\binstall nvidia \S*/(false|true)"),
        sure(r"\bmodule_blacklist=\S*\bnvidia(?!fb)"),
        sure(r"\bmodprobe\.blacklist=\S*\bnvidia(?!fb)"),
        r"(^|:)\s*blacklist nvidia([-_](current|drm|modeset|uvm))?$",
        r"\balias nvidia off",
        likely(r"prime-select query\W{1,12}intel\b", beside=UNREACHABLE),
        hint(r"prime-select (query )?intel|prime-select query .{0,12}\bintel"),
        r"Is nvidia blacklisted\? yes",
    ],
)
def module_blacklisted(
    confinement: Confinement,
    kernel: Kernel,
    gpus: PciGpus | Unavailable,
    versions: DriverVersions,
    modprobe: ModprobeConfig | Unavailable,
    system: OperatingSystem,
) -> Iterator[Finding]:
    """A setting keeps the NVIDIA module from being loaded.

    What: the module is on the disk, and modprobe.d, the kernel's command line, or Ubuntu's
    prime-select (set to the Intel GPU) forbids to load it, so the GPU stays without a driver.

    Proof: the file and line that forbid it, or /etc/prime-discrete; no nvidia module is loaded.

    Repair: `prime-select nvidia` or `prime-select on-demand` where prime-select did it. Otherwise
    remove that one line or boot parameter, refresh the initramfs, and reboot. Lines about nouveau
    are right and stay.

    Reference: modprobe.d(5), https://man7.org/linux/man-pages/man5/modprobe.d.5.html
    """
    own_driver(confinement)
    if versions.loaded or not versions.on_disk_path:
        return
    if not any(gpu.driver in ("", *FREE_DRIVERS) for gpu in known(gpus).gpus):
        return
    config = known(modprobe)
    lines = config.blacklisting("nvidia")
    proof = [Evidence(line.path, line.words) for line in lines]
    if config.prime == "off":
        proof.insert(0, Evidence("/etc/prime-discrete", "off"))
        remedy = "Switch the NVIDIA GPU on with `prime-select on-demand` (or `prime-select nvidia`), and reboot."
        summary = "prime-select is set to the Intel GPU, so the NVIDIA module is not loaded."
    elif any(line.path == "/proc/cmdline" for line in lines):
        remedy = f"Remove `{lines[-1].words}` from the kernel's command line (in the boot loader), and reboot."
        summary = "The kernel's command line forbids the NVIDIA module."
    elif lines:
        first = lines[0]
        remedy = f"Remove the line `{first.words}` from {first.path}"
        remedy += f", refresh the initramfs{refresh_initramfs(system, kernel.release)}, and reboot."
        summary = f"{first.path} forbids to load the NVIDIA module (`{first.words}`)."
    else:
        return
    module = Evidence(versions.on_disk_path, versions.on_disk or "on the disk")
    yield Finding(summary, "nvidia", (*proof, module, Evidence("/proc/modules", "no nvidia")), remedy)


@check(
    "kernel.module-not-loaded",
    severity=Severity.ERROR,
    after=[
        "kernel.module-missing",
        "kernel.secure-boot-blocks-module",
        "kernel.mok-enrolment-pending",
        "kernel.nouveau-bound",
        "kernel.other-driver-bound",
        "kernel.module-blacklisted",
        "driver.gpu-needs-legacy-branch",
        "driver.open-module-unsupported",
        "driver.gpu-newer-than-driver",
        "pci.no-gpu",
        "pci.bar-unassigned",
    ],
    symptoms=[
        r"could not insert '?nvidia([-_](current|drm|modeset)\S*)?'?: (?!Key was rejected|Required key|No such device)",
        hint(r"could not insert '?nvidia\S*: No such device"),
        r"could not insert module \S*nvidia\S*: (Invalid module format|Unknown symbol|Invalid argument|No such file)",
        r"\bnvidia\w*: (disagrees about version of symbol module_layout|Unknown symbol (drm|vm|pci|dma|acpi)_\w+)",
        r"nvidia: disagrees about version of symbol",
        r"\bnvidia\w*: version magic .* should be",
        r"ERROR: NVIDIA driver is not loaded",
        hint(
            r"kernel driver does not appear to be running on this host", without=r"docker|podman|kubernetes|\bpods?\b"
        ),
        hint(r"NVRM: No NVIDIA (GPU|graphics adapter|devices?) (found|probed)"),
        hint(r"could(n't| not) communicate with the NVIDIA driver"),
        hint(r"NVML_?ERROR_DRIVER_?NOT_?LOADED|nvml error: driver not loaded|NVML: Driver Not Loaded", without=WSL),
        hint(r"Failed to (load|initialize) the NVIDIA kernel module"),
        hint(
            r"Unable to load the (kernel module 'nvidia|'nvidia\S* kernel module)|could not load kernel module nvidia$"
        ),
        hint(r"Failed to query NVIDIA devices\. Please ensure that the NVIDIA device files"),
        hint(r"Failed to start NVIDIA Persistence Daemon"),
        hint(r"Unable to load the 'nvidia-drm' kernel module"),
        r"(Failed to insert module|can't insert|can't load module) '?nvidia.{0,60}: (?!Key|Required|No such)",
        likely(r"section size must match the kernel's built struct module size", beside=r"nvidia"),
        hint(r"Is nvidia loaded\? no"),
    ],
)
def module_not_loaded(
    confinement: Confinement,
    kernel: Kernel,
    gpus: PciGpus | Unavailable,
    versions: DriverVersions,
    files: ModuleFiles,
    log: KernelLog | Unavailable,
) -> Iterator[Finding]:
    """The NVIDIA module is on the disk and is not loaded.

    What: a GPU is there, a module for this kernel is there, and the module is not in the kernel:
    loading it failed, or nobody has tried since the machine was started. Until it is loaded,
    nothing can use the GPU.

    Proof: no nvidia in /proc/modules, the module file with its version, and what the kernel's log
    says of it.

    Repair: `modprobe nvidia`, and read what it answers; the kernel's log (`dmesg`) has the reason
    of a failure. Where the module was built for another kernel, build it again. No reinstallation
    of the driver is needed.

    Reference: NVIDIA driver README, chapter "Common Problems"
    (https://download.nvidia.com/XFree86/Linux-x86_64/550.163.01/README/commonproblems.html).
    """
    own_driver(confinement)
    if versions.loaded or not versions.on_disk_path:
        return
    free = [gpu for gpu in known(gpus).gpus if gpu.driver == ""]
    if not free:
        return
    lines = log.matching("NVRM", "nvidia")[-3:] if isinstance(log, KernelLog) else ()
    proof = [Evidence("/proc/modules", "no nvidia"), Evidence(versions.on_disk_path, versions.on_disk or "on the disk")]
    proof += [Evidence(log.source, line) for line in lines if isinstance(log, KernelLog)]
    module = files.of(kernel.release)[0]
    built_for = module.vermagic.partition(" ")[0]
    # In the other folders modules of a sibling kernel are usual, where kernels keep their interface (RHEL, SUSE).
    alien = module.origin in ("dkms", "prebuilt") and built_for not in ("", kernel.release)
    reason = "nobody has tried, or the reason is in the kernel's log"
    remedy = "Run `modprobe nvidia` and read what it answers; `dmesg | grep -i nvidia` has the reason of a failure."
    if alien or any("disagrees about version" in line or "version magic" in line for line in lines):
        reason = f"the file was built for kernel {built_for}" if alien else "the file was built for another kernel"
        remedy = f"Build the module again for {kernel.release} (DKMS, or its package), then `modprobe nvidia`."
        proof.insert(1, Evidence(f"vermagic of {module.path}", module.vermagic))
    elif files.only_after_restart(module):
        reason = "it came with a generation of this system that was not booted yet"
        remedy = "Reboot: until then modprobe goes on with the modules of the generation that was booted."
        proof += [Evidence(file.path, file.version or "on the disk") for file in (files.booted or ())[:1]] or [
            Evidence(f"/run/booted-system/kernel-modules/lib/modules/{kernel.release}", "no NVIDIA module")
        ]
    elif lines:
        reason = f"the kernel's log says: {lines[-1]}"
    yield Finding(
        f"The NVIDIA module {versions.on_disk} is on the disk and is not loaded, so {free[0].label} at "
        f"{free[0].address} cannot be used; {reason}.",
        "nvidia",
        tuple(proof),
        remedy,
    )
