"""Another driver than NVIDIA's holds the GPU: the kernel's own, or one that keeps it for a virtual machine."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.modprobe import ModprobeConfig
from gpudoctor.facts.pci import FREE_DRIVERS, GIVEN_AWAY, PciGpu, PciGpus
from gpudoctor.facts.system import Boot, Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverWanted

from ._boot import refresh_initramfs
from ._gpus import own_gpus, unless_nobody_computes
from ._scope import own_driver


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
        r"configuration files to disable Nouveau are already present",
        likely(r"\bdriver[:=] ?nouveau\b", beside=r"NVIDIA"),  # of inxi and lshw
        likely(r"^nouveau \d{6,} \d", beside=r"could not insert '?nvidia\S*: No such device"),
        hint(r"^nouveau \d{6,} \d"),
        hint(r"\bnouveau (is|was) (still )?the (kernel )?driver in use"),
        hint(r"\bnouveau\b.{0,40} instead of (the )?nvidia"),
        hint(r"\bnouveau (gets|is|was|keeps) (being )?(re)?load"),
        hint(
            r"\bnouveau( [0-9a-f:.]+|\d*): *(\w+: )?(fifo|gr|bus|DRM|pmu|disp|gsp|timeout|unknown chipset|probe with)"
        ),
        hint(r"The NVIDIA probe routine was not called for \d+ device"),
        r"Nouveau can usually be disabled by adding files|while Nouveau is loaded\. Would you like to continue",
        r"Unable to alter the nouveau modprobe configuration|Please disable Nouveau manually",
        r"\bnova_core [0-9a-f:.]+: NVIDIA \(Chipset",
        hint(r"Try unloading the conflicting kernel module"),
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
    files: ModuleFiles | Unavailable,
    expected: ExpectedGpus,
) -> Iterator[Finding]:
    """The free driver nouveau (or nova) holds the GPU, so the NVIDIA driver cannot.

    What: a GPU has one driver at a time. An NVIDIA driver is installed here, but the kernel's own
    nouveau (or its successor nova) was loaded first and took the GPU; CUDA does not work with it.
    Either nothing forbids nouveau, or the initramfs was made before it was forbidden and still
    loads it.

    Proof: /sys/bus/pci/devices/ADDRESS/driver leads to nouveau; the files in modprobe.d that
    forbid it, or their absence.

    Repair: let the driver's package put its blacklist file back, refresh the initramfs, and
    reboot. Do not unbind the GPU by hand: it may be the one that shows the screen. Where that
    is all it is meant for, nothing is to be repaired: say so with --expect-gpus 0.

    Reference: https://github.com/NVIDIA/open-gpu-kernel-modules (kernel-open/nvidia/nv-pci.c);
    NVIDIA driver README.
    """
    own_driver(confinement)
    if not wanted.reasons:
        return
    refresh = refresh_initramfs(system, kernel.release)
    for gpu in gpus.gpus:
        if gpu.driver not in FREE_DRIVERS:
            continue
        lines = config.blacklisting(gpu.driver) if isinstance(config, ModprobeConfig) else ()
        installed = kernels.get(kernel.release) if isinstance(kernels, InstalledKernels) else None
        evidence = [_bound(gpu), Evidence("driver wanted", ", ".join(wanted.reasons))]
        evidence += [Evidence(line.path, line.words) for line in lines]
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
        if isinstance(files, ModuleFiles) and not files.of(kernel.release):
            # Of NVIDIA's driver there may be no more than a library, which another package brought along.
            remedy += " If nobody means to compute on this GPU, `gpudoctor check --expect-gpus 0` says so."
        yield Finding(
            f"{gpu.label} at {gpu.address} is held by {gpu.driver}, so the NVIDIA driver cannot use it.",
            gpu.address,
            tuple(evidence),
            remedy,
            unless_nobody_computes(expected),
        )


@check(
    "kernel.other-driver-bound",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"is already bound to (?!nouveau|nova|nvidia)\w"),
        r"Kernel driver in use: (vfio-pci|pci-stub)",
        hint(r"\b(bound|attached|assigned) to (vfio|pci-stub)", beside=r"nvidia-smi"),
        likely(r"The NVIDIA probe routine was not called for \d+ device", beside=r"vfio|pci-stub"),
        hint(r"The NVIDIA probe routine was not called for \d+ device"),
        hint(r"\bvfio-pci\.ids=\S*10de|options vfio-pci ids=\S*10de"),
        hint(r"No devices were found"),
        r"NVRM: request_mem_region failed for",
        hint(r"Try unloading the conflicting kernel module"),
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
        settings += [
            Evidence(line.path, line.words) for line in config.lines if line.module in ("vfio_pci", "pci_stub")
        ]
    # A host of virtual machines: it keeps another GPU for itself, or was never meant to use one.
    spare = bool(own_gpus(gpus)) or (isinstance(wanted, DriverWanted) and not wanted.reasons)
    for gpu in gpus.gpus:
        if gpu.driver in ("", "nvidia", *FREE_DRIVERS):
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


def _bound(gpu: PciGpu) -> Evidence:
    return Evidence(f"/sys/bus/pci/devices/{gpu.address}/driver", gpu.driver)
