"""Is there an NVIDIA module on the disk for the kernel that runs, and for the one that boots next?"""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor import Evidence, Finding, Severity, Unavailable, check
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions, DriverWanted

from ._headers import flavour_to_follow, install_headers
from ._kernels import (
    KernelWithoutModule,
    arrival_evidence,
    arrival_words,
    fallback,
    module_source,
    no_module_evidence,
    without_module,
)
from ._scope import own_driver


@check(
    "kernel.headers-missing",
    severity=Severity.ERROR,
    symptoms=[
        r"[Yy]our kernel headers for kernel \S+ cannot be found",
        r"was skipped since the\s+kernel headers for this kernel do not seem to be installed",
        r"Bad return status for module build on kernel",
        r"[Uu]nable to find the kernel source tree for the currently running kernel",
    ],
)
def headers_missing(
    confinement: Confinement,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    versions: DriverVersions,
    dkms: Dkms,
    system: OperatingSystem,
    packages: Packages | Unavailable,
    history: PackageHistory | Unavailable,
    gpus: PciGpus | Unavailable,
) -> Iterator[Finding]:
    """A kernel came without its headers, so the NVIDIA module could not be built for it.

    What: DKMS (or akmods) compiles the driver's module anew for every kernel, and needs that kernel's headers to do
    so. Where a kernel arrives without them, the build is skipped with one line in a log, the upgrade ends without an
    error, and `dpkg --audit` and `dkms status` stay silent. The GPU is gone after the next reboot.

    Proof: /lib/modules/KERNEL/build is missing or leads nowhere; no nvidia*.ko under /lib/modules/KERNEL; a source in
    /var/lib/dkms (or the package akmod-nvidia) that was built for other kernels only; the package manager's log tells
    which upgrade brought the kernel.

    Repair: install the headers of that kernel; DKMS then builds the module, without a reboot and without touching the
    driver. Install the package that brings headers along with every later kernel, or it happens again. Older kernels'
    headers may be gone from the archive: then take the newest kernel together with its headers. Do not reinstall
    the driver: nothing is wrong with it.

    Reference: NVIDIA driver README, chapter "Common Problems"
    (https://download.nvidia.com/XFree86/Linux-x86_64/550.163.01/README/commonproblems.html); dkms(8).
    """
    own_driver(confinement)
    source = module_source(dkms, packages, versions)
    if source is None:
        return
    for bare in without_module(kernel, kernels, files, versions, gpus):
        found = kernels.get(bare.release)
        if found is None or found.headers:
            continue
        link = f"leads to {found.headers_link}, which is not there" if found.headers_link else "not there"
        yield Finding(
            f"The headers of {bare.words} are not installed, so {source.tool} could not build the NVIDIA module "
            f"{source.version} for it: {bare.consequence}{arrival_words(bare.release, history)}.",
            bare.release,
            (
                Evidence(f"/lib/modules/{bare.release}/build", link),
                no_module_evidence(bare, files),
                source.evidence,
                *_next_boot(bare, kernels),
                *arrival_evidence(bare.release, history),
            ),
            f"{install_headers(bare.release, system, packages)} {_then_build(bare, source.build_command(bare.release))}",
            bare.severity,
        )


def _then_build(bare: KernelWithoutModule, command: str) -> str:
    load = "" if bare.next_boot or bare.severity is not Severity.ERROR else ", then load it with `modprobe nvidia`"
    return f"Unless that builds the module by itself, run `{command}`{load}; the driver need not be reinstalled."


def _next_boot(bare: KernelWithoutModule, kernels: InstalledKernels) -> tuple[Evidence, ...]:
    return (Evidence(kernels.next_boot_source, f"boots next: {kernels.next_boot}"),) if bare.next_boot else ()


class UbuntuModules(NamedTuple):
    """An Ubuntu package of ready-made modules: linux-modules-nvidia-BRANCH[-server][-open]-KERNEL or -FLAVOUR."""

    name: str
    series: str  # "580-server-open"
    kernel: str  # release, "" for the package that follows a flavour
    flavour: str  # "generic-hwe-24.04", "" for the one of a kernel


def ubuntu_modules(packages: Packages) -> Iterator[UbuntuModules]:
    """Those that are installed."""
    prefix = "linux-modules-nvidia-"
    for package in packages.installed():
        if not package.name.startswith(prefix):
            continue
        words = package.name.removeprefix(prefix).split("-")
        split = 1
        while split < len(words) and words[split] in ("server", "open"):
            split += 1
        series, rest = "-".join(words[:split]), "-".join(words[split:])
        own = rest[:1].isdigit()
        yield UbuntuModules(package.name, series, rest if own else "", "" if own else rest)


@check(
    "kernel.prebuilt-module-missing",
    severity=Severity.ERROR,
    no_symptom="users see the message of kernel.module-missing; only the installed packages tell this cause",
)
def prebuilt_module_missing(
    confinement: Confinement,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    versions: DriverVersions,
    dkms: Dkms,
    packages: Packages,
    history: PackageHistory | Unavailable,
    gpus: PciGpus | Unavailable,
) -> Iterator[Finding]:
    """Ubuntu's ready-made NVIDIA modules are installed for other kernels, not for this one.

    What: Ubuntu brings signed modules in packages named after one kernel each (linux-modules-nvidia-580-KERNEL). Only
    the package named after a kernel flavour (linux-modules-nvidia-580-generic) pulls the next one in with every new
    kernel. Without it, or when a kernel of another flavour is booted, the new kernel has no module.

    Proof: linux-modules-nvidia-* packages are installed for other kernels only, no NVIDIA module lies under
    /lib/modules/KERNEL, and no DKMS source is there that could have built one.

    Repair: install the package of the same branch for the kernel's flavour, and reboot if the kernel changes with it.
    Do not add nvidia-dkms besides: two sources of one module drift apart at the next kernel.

    Reference: Ubuntu kernel team, https://lists.ubuntu.com/archives/kernel-team/2021-March/117894.html
    """
    own_driver(confinement)
    installed = tuple(ubuntu_modules(packages))
    if not installed or dkms.sources:
        return
    branch = versions.user_space.partition(".")[0]
    series = min((package.series for package in installed), key=lambda series: not series.startswith(branch))
    elsewhere = ", ".join(package.kernel for package in installed if package.kernel)
    for bare in without_module(kernel, kernels, files, versions, gpus):
        if any(package.kernel == bare.release for package in installed):
            continue  # the package is there and its module is not: kernel.module-missing tells that
        exact = f"linux-modules-nvidia-{series}-{bare.release}"
        follow = f"linux-modules-nvidia-{series}-{flavour_to_follow(bare.release, packages)}"
        state = "is" if packages.get(follow) else "is not"
        yield Finding(
            f"Ubuntu's ready-made NVIDIA modules are installed for {elsewhere or 'no kernel'}, not for {bare.words}: "
            f"{bare.consequence}{arrival_words(bare.release, history)}.",
            bare.release,
            (
                Evidence("packages", ", ".join(package.name for package in installed)),
                Evidence("package that brings modules with every kernel", f"{follow} {state} installed"),
                no_module_evidence(bare, files),
                *_next_boot(bare, kernels),
                *arrival_evidence(bare.release, history),
            ),
            f"Install {exact} and {follow} (`apt install {exact} {follow}`): the second one brings modules along with "
            f"every later kernel. Do not add nvidia-dkms besides.{fallback(kernels, files, versions, bare.release)}",
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
        r"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
        r"Module nvidia(-current)? not found in directory",
        r"NVIDIA kernel module missing\. Falling back to nouveau",
    ],
)
def module_missing(
    confinement: Confinement,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    versions: DriverVersions,
    wanted: DriverWanted,
    dkms: Dkms,
    packages: Packages | Unavailable,
    history: PackageHistory | Unavailable,
    gpus: PciGpus | Unavailable,
) -> Iterator[Finding]:
    """There is no NVIDIA module for this kernel.

    What: the driver is a module of the kernel, and has to be built or installed for each kernel anew. User space is
    installed here, and the running kernel has no module to load, so nothing can talk to the GPU. Mostly an upgrade
    brought a new kernel, or a build was never run.

    Proof: no nvidia module is loaded, no nvidia*.ko lies under /lib/modules/KERNEL, and a driver is wanted here:
    driver packages, a DKMS source, or traces of NVIDIA's installer.

    Repair: build or install the module for this kernel, then `modprobe nvidia`; or boot a kernel that has one. No
    reinstallation of the driver is needed. If the running kernel's own files are gone, a reboot into the installed
    kernel comes first.

    Reference: NVIDIA driver README, chapter "Common Problems"
    (https://download.nvidia.com/XFree86/Linux-x86_64/550.163.01/README/commonproblems.html); dkms(8).
    """
    own_driver(confinement)
    if versions.loaded or not wanted.reasons:
        return
    for bare in without_module(kernel, kernels, files, versions, gpus):
        if not bare.next_boot:
            yield Finding(
                f"{bare.words[:1].upper()}{bare.words[1:]} has no NVIDIA module, though a driver is wanted here "
                f"({wanted.reasons[0]}): {bare.consequence}{arrival_words(bare.release, history)}.",
                bare.release,
                (
                    no_module_evidence(bare, files),
                    Evidence("driver wanted", ", ".join(wanted.reasons)),
                    *((source.evidence,) if (source := module_source(dkms, packages, versions)) else ()),
                    *arrival_evidence(bare.release, history),
                ),
                _remedy(bare, kernel, kernels, files, versions, dkms, packages),
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
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    versions: DriverVersions,
    wanted: DriverWanted,
    dkms: Dkms,
    packages: Packages | Unavailable,
    history: PackageHistory | Unavailable,
    gpus: PciGpus | Unavailable,
) -> Iterator[Finding]:
    """The kernel that boots next has no NVIDIA module.

    What: another kernel than the running one is the boot loader's choice, and no NVIDIA module lies on the disk for
    it. All is well until the next reboot, be it planned or a power cut; then the GPU is gone.

    Proof: what the boot loader takes next (/vmlinuz, or GRUB's settings), and no nvidia*.ko under
    /lib/modules/KERNEL of that kernel.

    Repair: build or install the module for that kernel now, while the GPU works; this touches neither the loaded
    driver nor running jobs.

    Reference: dkms(8); https://lists.ubuntu.com/archives/kernel-team/2021-March/117894.html (Ubuntu's ready-made modules)
    """
    own_driver(confinement)
    if not wanted.reasons:
        return
    if not kernels.next_boot:
        raise Unavailable("which kernel boots next cannot be told")
    for bare in without_module(kernel, kernels, files, versions, gpus):
        if bare.next_boot:
            yield Finding(
                f"Kernel {bare.release} boots next and has no NVIDIA module: {bare.consequence}"
                f"{arrival_words(bare.release, history)}.",
                bare.release,
                (*_next_boot(bare, kernels), no_module_evidence(bare, files), *arrival_evidence(bare.release, history)),
                _remedy(bare, kernel, kernels, files, versions, dkms, packages),
            )


def _remedy(
    bare: KernelWithoutModule,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    versions: DriverVersions,
    dkms: Dkms,
    packages: Packages | Unavailable,
) -> str:
    """The least that gives this kernel a module."""
    release = bare.release
    if kernels.get(release) is None and kernel.running and kernels.kernels:
        others = ", ".join(kernel.release for kernel in kernels.kernels)
        return f"The files of the running kernel were removed by an upgrade: reboot into an installed one ({others})."
    load = "" if bare.next_boot else ", then `modprobe nvidia`; no reboot is needed"
    source = module_source(dkms, packages, versions)
    if source is None:
        version = versions.user_space or versions.packaged
        return (
            f"Install the kernel module of the driver that is here ({version or 'see its packages'}), of the same "
            f"version and from the same origin as its other packages{load}.{fallback(kernels, files, versions, release)}"
        )
    for one in dkms.sources:
        if any(build.kernel == release and build.state == "built" for build in one.builds):
            # DKMS believes that the module is installed, so `dkms autoinstall` would do nothing.
            command = f"dkms install --force {one.module}/{one.version} -k {release}"
            return f"DKMS built the module and its file is gone: run `{command}`{load}."
    return (
        f"Run `{source.build_command(release)}` to build the module that {source.name} has the source of{load}."
        + fallback(kernels, files, versions, release)
    )
