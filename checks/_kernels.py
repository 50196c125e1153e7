"""Which kernels lack an NVIDIA module, who was to bring it, and the words in which that is told and repaired."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gpudoctor import Evidence, Severity, Unavailable
from gpudoctor.facts.dkms import Dkms, DkmsBuild, DkmsSource
from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Kernel
from gpudoctor.facts.versions import DriverVersions


class KernelWithoutModule(NamedTuple):
    """A kernel for which no NVIDIA module lies on the disk, and how bad that is."""

    release: str
    words: str  # "the running kernel 6.1.0-56-amd64"
    severity: Severity
    consequence: str  # what it means for the user, a clause
    next_boot: bool  # not the running one, but the one that boots next


def without_module(
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    versions: DriverVersions,
    gpus: PciGpus | Unavailable,
) -> Iterator[KernelWithoutModule]:
    """The running kernel and the one that boots next, where they lack a module; none on a machine without a GPU."""
    if isinstance(gpus, PciGpus) and not gpus.gpus:
        return
    release = kernel.release
    if not files.of(release):
        # A loaded module that fits user space goes on working until the machine is started again.
        works = versions.loaded != "" and versions.user_space in ("", versions.loaded)
        if not kernel.running:
            words, consequence = f"kernel {release}", "the GPU will not work when this system boots it"
        elif works:
            words, consequence = f"the running kernel {release}", "the loaded driver works until the next reboot"
        else:
            words, consequence = f"the running kernel {release}", "the GPU cannot be used"
        yield KernelWithoutModule(release, words, Severity.WARNING if works else Severity.ERROR, consequence, False)
    after = kernels.next_boot
    if after and after != release and not files.of(after):
        words = f"kernel {after}, which boots next"
        yield KernelWithoutModule(after, words, Severity.WARNING, "the GPU works until the next reboot", True)


class ModuleSource(NamedTuple):
    """What builds the module on this machine."""

    name: str  # "nvidia-current/535.309.01" or "akmod-nvidia"
    version: str  # of the driver
    tool: str  # "dkms" or "akmods"
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
        return ModuleSource(name, source.version, "dkms", evidence)
    if isinstance(packages, Packages):
        for package in packages.installed():
            if package.name.startswith("akmod-nvidia"):
                evidence = Evidence("package", f"{package.name} {package.version}")
                return ModuleSource(package.name, package.upstream, "akmods", evidence)
    return None


def failed_builds(
    dkms: Dkms, kernels: Iterable[KernelWithoutModule]
) -> Iterator[tuple[KernelWithoutModule, DkmsSource, DkmsBuild]]:
    """The DKMS builds that failed for these kernels."""
    for kernel in kernels:
        for source in dkms.sources:
            for build in source.builds:
                if build.kernel == kernel.release and build.state == "failed":
                    yield kernel, source, build


def fallback(kernels: InstalledKernels, files: ModuleFiles, versions: DriverVersions, but: str) -> str:
    """The newest other kernel that has a module fitting user space, as a sentence; "" if there is none."""
    for kernel in kernels.kernels:
        for file in files.of(kernel.release)[:1]:
            if kernel.release != but and versions.user_space in ("", file.version):
                return f" Until then boot kernel {kernel.release} (advanced options of the boot menu): it has its module."
    return ""


def no_module_evidence(kernel: KernelWithoutModule, files: ModuleFiles) -> Evidence:
    """That nothing lies there, and for which kernels something does."""
    others = sorted({file.kernel for file in files.files})
    return Evidence(
        f"/lib/modules/{kernel.release}",
        "no NVIDIA module" + (f"; there is one for {', '.join(others)}" if others else ", nor for any other kernel"),
    )


def arrival(release: str, history: PackageHistory | Unavailable) -> PackageEvent | None:
    """The run of the package manager that brought a kernel, None if the log does not tell."""
    if isinstance(history, Unavailable):
        return None
    found = None
    for event in history.events:
        if event.action in ("install", "upgrade") and _brings(event, release):
            found = event
    return found


def arrival_words(release: str, history: PackageHistory | Unavailable) -> str:
    """ "; it came on 2026-11-23 20:26:27 by `apt -y upgrade`", "" if the log does not tell."""
    event = arrival(release, history)
    if event is None:
        return ""
    return f"; that kernel came on {' '.join(event.when.split())}" + (f" by `{event.command}`" if event.command else "")


def arrival_evidence(release: str, history: PackageHistory | Unavailable) -> tuple[Evidence, ...]:
    event = arrival(release, history)
    return (event_evidence(event),) if event else ()


def event_evidence(event: PackageEvent) -> Evidence:
    """One line of the package manager's history."""
    change = f"{event.package} {event.old} -> {event.new}" if event.old and event.new else f"{event.package} {event.new}"
    value = f"{' '.join(event.when.split())} {event.command or event.action}: {change.strip()}"
    return Evidence(event.source, value if event.complete else value + " (interrupted)")


def _brings(event: PackageEvent, release: str) -> bool:
    if event.package in (f"linux-image-{release}", f"linux-image-unsigned-{release}"):
        return True
    if event.package not in ("kernel-core", "kernel", "kernel-default", "linux", "linux-lts", "linux-zen", "linux-hardened"):
        return False
    # rpm and pacman keep the release in the version, with other separators and, on SUSE, a rebuild number behind it.
    new = event.new.rpartition(":")[2].replace("-", ".")
    if event.package == "kernel-default":
        new = new.rpartition(".")[0]
    return bool(new) and (release.replace("-", ".") + ".").startswith(new + ".")
