"""The NVIDIA module is on the disk: what keeps it from being loaded, or from getting the GPU?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.modprobe import ModprobeConfig, ModprobeLine
from gpudoctor.facts.pci import GIVEN_AWAY, PciGpu, PciGpus
from gpudoctor.facts.system import Boot, Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions, DriverWanted

from ._boot import refresh_initramfs
from ._gpus import own_gpus
from ._known import known
from ._scope import own_driver
from ._surroundings import WSL

RIVALS = ("nouveau", "nova_core", "nova")  # the kernel's own drivers for NVIDIA GPUs


@check(
    "kernel.nouveau-bound",
    severity=Severity.ERROR,
    symptoms=[
        sure(r"is already bound to (nouveau|NovaCore|nova)"),
        sure(r"Nouveau kernel driver is currently in use"),
        sure(
            r"a driver such as:? *(NVRM: )?(nouveau|rivafb|nvidiafb).{0,60}obtained ownership",
            without=r"in use: (vfio-pci|pci-stub)",
        ),
        likely(r"another driver was loaded and\s*(NVRM:\s*)?obtained ownership", without=r"vfio|pci-stub"),
        likely(r"The NVIDIA probe routine was not called for \d+ device", without=r"vfio|pci-stub"),
        r"Kernel driver in use: (nouveau|nova)",
        hint(r"^nouveau \d{6,} \d"),
        hint(r"\bnouveau (gets|is|was|keeps) (being )?(re)?load"),
        hint(r"\bnouveau( [0-9a-f:.]+|\d*): *(\w+: )?(fifo|gr|bus|DRM|pmu|disp|timeout|unknown chipset)"),
        hint(r"The NVIDIA probe routine was not called for \d+ device"),
    ],
)
def nouveau_bound(
    confinement: Confinement,
    kernel: Kernel,
    gpus: PciGpus,
    wanted: DriverWanted,
    config: ModprobeConfig | Unavailable,
    kernels: InstalledKernels | Unavailable,
    system: OperatingSystem,
    boot: Boot | Unavailable,
) -> Iterator[Finding]:
    """The free driver nouveau (or nova) holds the GPU, so the NVIDIA driver cannot.

    What: a GPU has one driver at a time. An NVIDIA driver is installed here, but the kernel's own
    nouveau (or its successor nova) was loaded first and took the GPU; CUDA does not work with it.
    Either nothing forbids nouveau, or the initramfs was made before it was forbidden and still
    loads it.

    Proof: /sys/bus/pci/devices/ADDRESS/driver leads to nouveau; the files in modprobe.d that
    forbid it, or their absence.

    Repair: let the driver's package put its blacklist file back, refresh the initramfs, and
    reboot. Do not unbind the GPU by hand: it may be the one that shows the screen.

    Reference: https://github.com/NVIDIA/open-gpu-kernel-modules (kernel-open/nvidia/nv-pci.c);
    NVIDIA driver README.
    """
    own_driver(confinement)
    if not wanted.reasons:
        return
    refresh = refresh_initramfs(system, kernel.release)
    for gpu in gpus.gpus:
        if gpu.driver not in RIVALS:
            continue
        lines = config.blacklisting(gpu.driver) if isinstance(config, ModprobeConfig) else ()
        installed = kernels.get(kernel.release) if isinstance(kernels, InstalledKernels) else None
        evidence = [_bound(gpu), Evidence("driver wanted", ", ".join(wanted.reasons))]
        evidence += [_line(line) for line in lines]
        if lines:
            evidence += [Evidence("initramfs", installed.initramfs)] if installed and installed.initramfs else []
            remedy = (
                f"{gpu.driver} is forbidden: it was loaded before that, or the initramfs still loads it. Refresh that"
                f"{refresh}, and reboot."
            )
            written = installed.initramfs_modified if installed else None
            if isinstance(boot, Boot) and written and written > boot.time:
                evidence.append(Evidence("initramfs", "written anew since this machine was started"))
                remedy = (
                    f"Reboot: {gpu.driver} was forbidden after it had been loaded, and the next start keeps it out."
                )
        elif isinstance(config, ModprobeConfig):
            evidence.append(Evidence("modprobe.d", f"nothing forbids {gpu.driver}"))
            remedy = (
                f"Restore the blacklist file of the driver's package, or write `blacklist {gpu.driver}` into "
                f"/etc/modprobe.d/blacklist-{gpu.driver}.conf; refresh the initramfs{refresh}, and reboot."
            )
        else:
            remedy = f"See that modprobe.d forbids {gpu.driver}, refresh the initramfs{refresh}, and reboot."
        yield Finding(
            f"{gpu.label} at {gpu.address} is held by {gpu.driver}, so the NVIDIA driver cannot use it.",
            gpu.address,
            tuple(evidence),
            remedy,
        )


@check(
    "kernel.other-driver-bound",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"is already bound to (?!nouveau|nova|nvidia)\w"),
        r"Kernel driver in use: (vfio-pci|pci-stub)",
        likely(r"The NVIDIA probe routine was not called for \d+ device", beside=r"vfio|pci-stub"),
        hint(r"The NVIDIA probe routine was not called for \d+ device"),
        hint(r"\bvfio-pci\.ids=\S*10de|options vfio-pci ids=\S*10de"),
        hint(r"No devices were found"),
    ],
)
def other_driver_bound(
    confinement: Confinement,
    kernel: Kernel,
    gpus: PciGpus,
    wanted: DriverWanted | Unavailable,
    config: ModprobeConfig | Unavailable,
) -> Iterator[Finding]:
    """Another driver than NVIDIA's holds the GPU, mostly to hand it to a virtual machine.

    What: vfio-pci (or pci-stub) keeps a device free for a virtual machine. While it holds the
    GPU, nothing on this machine can use it, and nvidia-smi does not list it. That is mostly meant
    so.

    Proof: /sys/bus/pci/devices/ADDRESS/driver, and the setting that gave the GPU away:
    vfio-pci.ids= on the kernel's command line or in modprobe.d.

    Repair: none, where the GPU is meant for a virtual machine. To have it back, remove that
    setting and reboot; do not unbind it while a virtual machine may be using it.

    Reference: https://docs.kernel.org/driver-api/vfio.html
    """
    own_driver(confinement)
    given_away = ("vfio-pci.ids=", "vfio_pci.ids=", "pci-stub.ids=")
    settings = [Evidence("/proc/cmdline", word) for word in kernel.command_line if word.startswith(given_away)]
    if isinstance(config, ModprobeConfig):
        settings += [_line(line) for line in config.lines if line.module in ("vfio_pci", "pci_stub")]
    # A host of virtual machines: it keeps another GPU for itself, or was never meant to use one.
    spare = bool(own_gpus(gpus)) or (isinstance(wanted, DriverWanted) and not wanted.reasons)
    for gpu in gpus.gpus:
        if gpu.driver in ("", "nvidia", *RIVALS):
            continue
        own = [setting for setting in settings if gpu.device_id in setting.value.lower()]
        where = f" in {own[0].source}" if own else ""
        yield Finding(
            f"{gpu.label} at {gpu.address} is held by {gpu.driver}, so this machine cannot use it.",
            gpu.address,
            (_bound(gpu), *own),
            f"Nothing, if it is meant for a virtual machine. Otherwise remove the setting{where} that gives it to "
            f"{gpu.driver}, and reboot.",
            Severity.INFO if spare and gpu.driver in GIVEN_AWAY else None,
        )


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
        hint(r"prime-select (query )?intel|prime-select query .{0,12}\bintel"),
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
    if not any(gpu.driver in ("", *RIVALS) for gpu in known(gpus).gpus):
        return
    config = known(modprobe)
    lines = config.blacklisting("nvidia")
    proof = [_line(line) for line in lines]
    if config.prime == "off":
        proof.insert(0, Evidence("/etc/prime-discrete", "off"))
        remedy = "Switch the NVIDIA GPU on with `prime-select on-demand` (or `prime-select nvidia`), and reboot."
        summary = "prime-select is set to the Intel GPU, so the NVIDIA module is not loaded."
    elif any(line.path == "/proc/cmdline" for line in lines):
        remedy = f"Remove `{_words(lines[-1])}` from the kernel's command line (in the boot loader), and reboot."
        summary = "The kernel's command line forbids the NVIDIA module."
    elif lines:
        first = lines[0]
        remedy = f"Remove the line `{_words(first)}` from {first.path}"
        remedy += f", refresh the initramfs{refresh_initramfs(system, kernel.release)}, and reboot."
        summary = f"{first.path} forbids to load the NVIDIA module (`{_words(first)}`)."
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
        r"nvidia: disagrees about version of symbol",
        r"nvidia: version magic .* should be",
        r"ERROR: NVIDIA driver is not loaded",
        hint(r"NVRM: No NVIDIA (GPU|graphics adapter|devices?) (found|probed)"),
        hint(r"could(n't| not) communicate with the NVIDIA driver"),
        hint(r"NVML_ERROR_DRIVER_NOT_LOADED|nvml error: driver not loaded|NVML: Driver Not Loaded", without=WSL),
        hint(r"Failed to load the NVIDIA kernel module"),
        hint(r"Unable to load the kernel module 'nvidia"),
        hint(r"Failed to query NVIDIA devices\. Please ensure that the NVIDIA device files"),
        hint(r"Failed to start NVIDIA Persistence Daemon"),
        hint(r"Unable to load the 'nvidia-drm' kernel module"),
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
    elif lines:
        reason = f"the kernel's log says: {lines[-1]}"
    yield Finding(
        f"The NVIDIA module {versions.on_disk} is on the disk and is not loaded, so {free[0].label} at "
        f"{free[0].address} cannot be used; {reason}.",
        "nvidia",
        tuple(proof),
        remedy,
    )


def _bound(gpu: PciGpu) -> Evidence:
    return Evidence(f"/sys/bus/pci/devices/{gpu.address}/driver", gpu.driver)


def _line(line: ModprobeLine) -> Evidence:
    return Evidence(line.path, _words(line))


def _words(line: ModprobeLine) -> str:
    if line.path == "/proc/cmdline":
        return f"{line.directive}={line.module}"
    return f"{line.directive} {line.module} {line.rest}".strip()
