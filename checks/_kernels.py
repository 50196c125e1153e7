"""Which kernels lack an NVIDIA module, who was to bring it, and the words in which that is told and repaired."""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor import Evidence, Severity, Unavailable, fact
from gpudoctor.facts.dkms import Dkms, DkmsBuild, DkmsSource
from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.facts.kernels import InstalledKernel, InstalledKernels, ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Kernel
from gpudoctor.facts.versions import DriverVersions

from ._boot import lacks_initramfs

# Of the distributions whose kernel packages are not named after the release.
KERNEL_PACKAGES = ("kernel-core", "kernel", "kernel-default", "linux", "linux-lts", "linux-zen", "linux-hardened")


class KernelWithoutModule(NamedTuple):
    """A kernel for which no NVIDIA module lies on the disk, and how bad that is."""

    release: str
    installed: InstalledKernel | None  # None: an upgrade removed its files while it runs
    next_boot: bool  # not the running one, but the one that boots next
    severity: Severity
    words: str  # "the running kernel 6.1.0-56-amd64"
    consequence: str  # a clause: what it means for the user, and which upgrade brought the kernel
    evidence: tuple[Evidence, ...]
    fallback: str  # a sentence: which other kernel can be booted meanwhile, "" if none has a module
    load: str  # a clause: what follows once the module is there, "" where nothing can be loaded yet


class KernelsWithoutModule(NamedTuple):
    """The running kernel and the one that boots next, where they lack a module; none on a machine without a GPU."""

    kernels: tuple[KernelWithoutModule, ...]


@fact
def kernels_without_module(
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    versions: DriverVersions,
    gpus: PciGpus | Unavailable,
    history: PackageHistory | Unavailable,
) -> KernelsWithoutModule:
    """By the folders under /lib/modules."""
    if isinstance(gpus, PciGpus) and not gpus.gpus:
        return KernelsWithoutModule(())
    works = versions.loaded != "" and versions.user_space in ("", versions.loaded)
    found = []
    for release in dict.fromkeys((kernel.release, kernels.next_boot)):
        if not release or files.of(release):
            continue
        installed, next_boot = kernels.get(release), release != kernel.release
        severity, load = Severity.ERROR, ""
        if next_boot:
            severity, words = Severity.WARNING, f"the kernel that boots next ({release})"
            consequence = "the GPU works until the next reboot" if works else "the GPU will not work there"
        elif not kernel.running:
            words, consequence = f"kernel {release}", "the GPU will not work when this system boots it"
        elif works:
            if installed is None:
                continue  # an upgrade took its files away; it runs on, and will not be booted again
            severity = Severity.WARNING
            words, consequence = f"the running kernel {release}", "the loaded driver works until the next reboot"
        else:
            words, consequence = f"the running kernel {release}", "the GPU cannot be used"
            load = ", then `modprobe nvidia`; no reboot is needed" if not versions.loaded else ", then reboot"
        # What took the running kernel's files away is the run that brought its successor.
        event = arrival(release if installed else kernels.next_boot, history)
        evidence = [_no_module(release, files)]
        evidence += [Evidence(kernels.next_boot_source, f"boots next: {release}")] if next_boot else []
        evidence += [event_evidence(event)] if event else []
        if installed:
            consequence += _arrived(event)
        if release == kernels.next_boot and lacks_initramfs(release, kernels):
            severity = Severity.ERROR
            warning = "do not restart this machine, for that kernel has" if kernel.running else "it has"
            consequence = f"{warning} no initramfs and will probably not find its disk; {consequence}"
            evidence.append(Evidence("/boot", f"no initramfs of {release}"))
        fallback = _fallback(kernels, files, versions, release)
        found.append(
            KernelWithoutModule(
                *(release, installed, next_boot, severity, words, consequence, tuple(evidence), fallback, load)
            )
        )
    return KernelsWithoutModule(tuple(found))


class ModuleSource(NamedTuple):
    """What builds the module on this machine."""

    name: str  # "nvidia-current/535.309.01" or "akmod-nvidia"
    version: str  # of the driver
    tool: str  # "DKMS" or "akmods"
    evidence: Evidence

    def build_command(self, release: str) -> str:
        if self.tool == "akmods":
            return f"akmods --force --kernels {release}"
        return f"dkms autoinstall -k {release}"


def module_source(dkms: Dkms, packages: Packages | Unavailable, versions: DriverVersions) -> ModuleSource | None:
    """DKMS where it has an NVIDIA source (first one that fits user space), else akmods; None where neither builds."""
    for source in sorted(dkms.sources, key=lambda source: source.version != versions.user_space):
        name = f"{source.module}/{source.version}"
        states = [f"{build.state} for {build.kernel}" for build in source.builds]
        evidence = Evidence(f"/var/lib/dkms/{name}", ", ".join(states) or "added, built for no kernel")
        return ModuleSource(name, source.version, "DKMS", evidence)
    if isinstance(packages, Packages):
        for package in packages.installed():
            if package.name.startswith("akmod-nvidia"):
                evidence = Evidence("package", f"{package.name} {package.version}")
                return ModuleSource(package.name, package.upstream, "akmods", evidence)
    return None


def failed_builds(
    dkms: Dkms, bare: KernelsWithoutModule
) -> Iterator[tuple[KernelWithoutModule, DkmsSource, DkmsBuild]]:
    """The DKMS builds that failed for these kernels."""
    for kernel in bare.kernels:
        for source in dkms.sources:
            for build in source.builds:
                if build.kernel == kernel.release and build.state == "failed":
                    yield kernel, source, build


def _no_module(release: str, files: ModuleFiles) -> Evidence:
    others = ", ".join(sorted({file.kernel for file in files.files}))
    return Evidence(f"/lib/modules/{release}", f"no NVIDIA module, but for {others}" if others else "no NVIDIA module")


def _fallback(kernels: InstalledKernels, files: ModuleFiles, versions: DriverVersions, but: str) -> str:
    for kernel in kernels.kernels:
        for file in files.of(kernel.release)[:1]:
            if kernel.release != but and versions.user_space in ("", file.version):
                return f" Until then boot kernel {kernel.release} (boot menu, advanced options): it has its module."
    return ""


def arrival(release: str, history: PackageHistory | Unavailable) -> PackageEvent | None:
    """The run of the package manager that brought a kernel, None if the log does not tell."""
    if isinstance(history, Unavailable):
        return None
    found = None
    for event in history.events:
        if _brings(event, release):
            found = event
    return found


def _arrived(event: PackageEvent | None) -> str:
    if event is None:
        return ""
    if not event.when:
        return "; this upgrade brings that kernel"
    return f"; that kernel came on {' '.join(event.when.split())}" + (f" by `{event.command}`" if event.command else "")


def event_evidence(event: PackageEvent) -> Evidence:
    """One line of the package manager's history."""
    change = f"{event.old} -> {event.new}" if event.old and event.new else event.new or event.old
    value = f"{' '.join(event.when.split())} {event.command or event.action}: {event.package} {change}".strip()
    return Evidence(event.source, value if event.complete else value + " (interrupted)")


def _brings(event: PackageEvent, release: str) -> bool:
    if event.package in (f"linux-image-{release}", f"linux-image-unsigned-{release}"):
        return event.action == "install"  # an upgrade of it is a later rebuild of the same kernel
    if event.action not in ("install", "upgrade") or event.package not in KERNEL_PACKAGES:
        return False
    # rpm and pacman keep the release in the version, with other separators and, on SUSE, a rebuild number behind it.
    new = event.new.rpartition(":")[2].replace("-", ".")
    if event.package == "kernel-default":
        new = new.rpartition(".")[0]
    return bool(new) and (release.replace("-", ".") + ".").startswith(new + ".")
