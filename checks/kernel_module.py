"""Is there an NVIDIA module on the disk for the kernel that runs, and for the one that boots next?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.kernels import InstalledKernels
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement, OperatingSystem
from gpudoctor.facts.versions import DriverVersions, DriverWanted

from ._gpus import unless_nobody_computes
from ._kernels import KernelsWithoutModule, ModuleSource, module_source
from ._module_remedy import remedy
from ._package_words import WHOLE_IMAGE, install_headers
from ._scope import own_driver
from ._surroundings import NEW_KERNEL, SECURE_BOOT_OFF, UNREACHABLE, WSL


@check(
    "kernel.headers-missing",
    severity=Severity.ERROR,
    symptoms=[
        sure(r"kernel headers for (kernel )?\d\S* (cannot|can't) be found"),
        sure(r"kernel headers for this kernel do(es)? not seem to be installed"),
        sure(r"Missing \S+ kernel headers for module nvidia"),
        sure(r"[Pp]lease install the linux-headers-\S+ package"),
        sure(r"[Uu]nable to find the kernel source tree for the currently running kernel"),
        sure(r"kernel header file '?\S+' does not exist"),
        sure(r"Neither the '\S+' nor the '\S+' kernel header file exists"),
        sure(r"kernel source path '\S+' (does not exist|is invalid)"),
        # The driver's container, which installs them for the kernel of the node.
        r"Could not (resolve|locate) Linux kernel version",
        r"Unable to find a match: .{0,80}kernel-(headers|devel)",
        sure(r"Could not find files needed to compile modules for"),
        r"The Module\.symvers file is missing",
        r"package '?(kernel(-default)?-devel|linux-headers)\S* is not installed",
        r"/lib/modules/\S+/(build|source): No such file or directory",
        r"/build/include/(linux|generated)/\S+: No such file or directory",
        r"Unable to locate package linux-headers-",
        likely(r"\bkernel headers\b.{0,40}(n't|not|never) (be )?(installed|found|there)", beside=r"nvidia|dkms"),
        r"(No match for argument|No package|package not found): ?kernel-(default-)?devel",
        r"target not found: linux\S*-headers",
        likely(r"Bad return status for module build on kernel", beside=r"(/build|autoconf\.h): No such file"),
        hint(r"NVIDIA-SMI has failed because", beside=r"(install|miss|without|no)\w* (the )?(kernel|linux).headers"),
        sure(r"kernel source for this kernel does not seem to be installed"),
        r"The kernel output path '\S+' does not exist",
        r"include/generated/autoconf\.h or include/config/auto\.conf (is|are) missing",
    ],
)
def headers_missing(
    confinement: Confinement,
    without: KernelsWithoutModule,
    versions: DriverVersions,
    dkms: Dkms,
    system: OperatingSystem,
    packages: Packages | Unavailable,
) -> Iterator[Finding]:
    """A kernel came without its headers, so the NVIDIA module could not be built for it.

    What: DKMS (or akmods) compiles the driver's module anew for every kernel, and needs that
    kernel's headers to do so. Where a kernel arrives without them, the build is skipped with one
    line in a log, the upgrade ends without an error, and `dpkg --audit` and `dkms status` stay
    silent. The GPU is gone after the next reboot.

    Proof: /lib/modules/KERNEL/build is missing or leads nowhere; no nvidia*.ko under
    /lib/modules/KERNEL; a source in /var/lib/dkms (or the package akmod-nvidia) that was built
    for other kernels only; the package manager's log tells which upgrade brought the kernel.

    Repair: install the headers of that kernel; DKMS then builds the module, without a reboot and
    without touching the driver. Install the package that brings headers along with every later
    kernel, or it happens again. Older kernels' headers may be gone from the archive: then take
    the newest kernel together with its headers. Do not reinstall the driver: nothing is wrong
    with it.

    Reference: NVIDIA driver README, chapter "Common Problems"
    (https://download.nvidia.com/XFree86/Linux-x86_64/550.163.01/README/commonproblems.html);
    dkms(8).
    """
    own_driver(confinement)
    source = module_source(dkms, packages, versions)
    if source is None:
        return
    for bare in without.kernels:
        if bare.installed is None or bare.installed.headers:
            continue
        link, command = bare.installed.headers_link, source.build_command(bare.release)
        where = f"leads to {link}, which is not there" if link else "not there"
        yield Finding(
            f"The headers of {bare.words} are not installed, so {source.tool} could not build the NVIDIA module "
            f"{source.version} for it: {bare.consequence}.",
            bare.release,
            (
                Evidence(f"/lib/modules/{bare.release}/build", where),
                *bare.evidence,
                source.evidence,
            ),
            WHOLE_IMAGE
            if system.ostree
            else f"{install_headers(bare.release, system, packages)} If that does not build the module by itself, run "
            f"`{command}`{bare.load}.",
            bare.severity,
        )


@check(
    "kernel.module-missing",
    severity=Severity.ERROR,
    after=[
        "kernel.headers-missing",
        "kernel.prebuilt-module-missing",
        "kernel.compiler-mismatch",
        "kernel.driver-too-old-for-kernel",
        "kernel.module-build-failed",
        "packages.half-configured",
        "packages.driver-removed",
        "driver.not-installed",
        "pci.no-gpu",
    ],
    symptoms=[
        r"Module nvidia(?!fb|[-_\w]*uvm)[-_\w]* not found",
        r"\bnvidia[-_](?!uvm|\w*[-_]uvm)\w+ not found in directory /lib/modules",
        r"could not find module by name='?nvidia(?!\w*[-_]uvm)",
        r"could not find module by name 'nvidia",
        r"Failed to find module 'nvidia",
        hint(r"module not found: '?nvidia"),
        likely(
            r"NVIDIA kernel module (missing|not found)\. Falling back to nouveau",
            beside=rf"{NEW_KERNEL}|{SECURE_BOOT_OFF}",
        ),
        hint(r"NVIDIA kernel module (missing|not found)\. Falling back to nouveau"),
        likely(UNREACHABLE, beside=NEW_KERNEL),
        hint(UNREACHABLE),
        hint(r"NVML_?ERROR_DRIVER_?NOT_?LOADED|nvml error: driver not loaded|NVML: Driver Not Loaded", without=WSL),
        hint(r"nvml vram init failure: 9\b"),
        hint(r"Failed to (load|initialize) the NVIDIA kernel module"),
        hint(r"(ERROR_|NVMLError_)DRIVER_?NOT_?LOADED|nvmlInit\S* failed: Driver Not Loaded"),
        hint(r"NVIDIA driver is not (loaded|running)|/proc/driver/nvidia\S*: no such file"),
    ],
)
def module_missing(
    confinement: Confinement,
    without: KernelsWithoutModule,
    versions: DriverVersions,
    wanted: DriverWanted,
    kernels: InstalledKernels,
    dkms: Dkms,
    packages: Packages | Unavailable,
    runfile: RunfileTraces | Unavailable,
    system: OperatingSystem,
    expected: ExpectedGpus,
) -> Iterator[Finding]:
    """There is no NVIDIA module for this kernel.

    What: the driver is a module of the kernel, and has to be built or installed for each kernel
    anew. User space is installed here, and the running kernel has no module to load, so nothing
    can talk to the GPU. Mostly an upgrade brought a new kernel, or a build was never run.

    Proof: no nvidia module is loaded, no nvidia*.ko lies under /lib/modules/KERNEL, and a driver
    is wanted here: driver packages, a DKMS source, or traces of NVIDIA's installer.

    Repair: build or install the module for this kernel, then `modprobe nvidia`; or boot a kernel
    that has one. No reinstallation of the driver is needed. If the running kernel's own files are
    gone, a reboot into the installed kernel comes first.

    Reference: NVIDIA driver README, chapter "Common Problems"
    (https://download.nvidia.com/XFree86/Linux-x86_64/550.163.01/README/commonproblems.html);
    dkms(8).
    """
    own_driver(confinement)
    if versions.loaded or not wanted.reasons:
        return
    for bare in without.kernels:
        if not bare.next_boot:
            source = module_source(dkms, packages, versions)
            summary = (
                f"There is no NVIDIA module for {bare.words}, though a driver is wanted here ({wanted.reasons[0]}): "
                f"{bare.consequence}."
            )
            if bare.installed is None and kernels.kernels:
                summary = (
                    f"An upgrade has removed the files of the running kernel {bare.release}, the NVIDIA module among "
                    f"them: {bare.consequence} until a reboot."
                )
            yield Finding(
                summary,
                bare.release,
                (*bare.evidence, Evidence("driver wanted", ", ".join(wanted.reasons)), *_of(source)),
                remedy(bare, source, kernels, versions, dkms, packages, runfile, system),
                unless_nobody_computes(expected),
            )


@check(
    "kernel.next-boot-module-missing",
    severity=Severity.WARNING,
    after=[
        "kernel.headers-missing",
        "kernel.prebuilt-module-missing",
        "kernel.compiler-mismatch",
        "kernel.driver-too-old-for-kernel",
        "kernel.module-build-failed",
        "packages.half-configured",
    ],
    no_symptom="everything works until the next reboot",
)
def next_boot_module_missing(
    confinement: Confinement,
    without: KernelsWithoutModule,
    versions: DriverVersions,
    wanted: DriverWanted,
    kernels: InstalledKernels,
    dkms: Dkms,
    packages: Packages | Unavailable,
    runfile: RunfileTraces | Unavailable,
    system: OperatingSystem,
    expected: ExpectedGpus,
) -> Iterator[Finding]:
    """The kernel that boots next has no NVIDIA module.

    What: no NVIDIA module lies on the disk for the kernel that is the boot loader's choice: a
    newer one than the running one, or the running one, whose file was deleted from under the
    loaded driver. All is well until the next reboot, be it planned or a power cut; then the GPU
    is gone.

    Proof: what the boot loader takes next (/vmlinuz, or GRUB's settings), and no nvidia*.ko under
    /lib/modules/KERNEL of that kernel.

    Repair: build or install the module for that kernel now, while the GPU works; this touches
    neither the loaded driver nor running jobs.

    Reference: dkms(8); https://lists.ubuntu.com/archives/kernel-team/2021-March/117894.html
    (Ubuntu's modules)
    """
    own_driver(confinement)
    if not wanted.reasons:
        return
    if not kernels.next_boot:
        raise Unavailable("which kernel boots next cannot be told")
    for bare in without.kernels:
        source = module_source(dkms, packages, versions)
        built_at_boot = source is not None and source.tool == "akmods" and bare.installed and bare.installed.headers
        # The running kernel is mostly the one that boots next as well, and its file may be gone from under the driver.
        next_boot = bare.next_boot or (bare.release == kernels.next_boot and versions.loaded)
        if next_boot and not built_at_boot:
            yield Finding(
                f"Kernel {bare.release} boots next, and there is no NVIDIA module for it: {bare.consequence}.",
                bare.release,
                (*bare.evidence, *_of(source)),
                remedy(bare, source, kernels, versions, dkms, packages, runfile, system),
                unless_nobody_computes(expected) if bare.severity < Severity.ERROR else None,
            )


def _of(source: ModuleSource | None) -> tuple[Evidence, ...]:
    return (source.evidence,) if source else ()
