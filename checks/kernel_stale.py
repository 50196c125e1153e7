"""Does the NVIDIA module fit the driver's user space, and will it still after the next reboot?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.kernels import InstalledKernels, ModuleFile, ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Boot, Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._boot import refresh_initramfs
from ._kernels import ModuleSource, module_source
from ._scope import own_driver
from ._surroundings import REBOOTED
from ._versions import Verdict, verdict_on


@check(
    "kernel.module-stale",
    severity=Severity.ERROR,
    after=[
        "packages.runfile-and-packages",
        "packages.partial-upgrade",
        "packages.two-branches",
        "packages.half-configured",
        "kernel.headers-missing",
        "kernel.prebuilt-module-missing",
        "kernel.compiler-mismatch",
        "kernel.driver-too-old-for-kernel",
        "kernel.module-build-failed",
    ],
    symptoms=[
        sure(r"Version mismatch: nvidia(-modeset)?\.ko\(\S+\) nvidia-(modeset|drm)(\.ko)?\("),
        likely(r"Driver/library version mismatch", beside=REBOOTED),
        likely(r"API mismatch: the client", beside=REBOOTED),
        hint(r"Driver/library version mismatch"),
        hint(r"API mismatch: the client"),
        r"\bnvidia\w*: (disagrees about version of symbol|Unknown symbol) (?!module_layout)(nv[A-Z_]|rm_|nvidia_)\w+",
    ],
)
def module_stale(
    confinement: Confinement,
    kernel: Kernel,
    versions: DriverVersions,
    files: ModuleFiles,
    boot: Boot | Unavailable,
    history: PackageHistory | Unavailable,
    kernels: InstalledKernels | Unavailable,
    dkms: Dkms | Unavailable,
    packages: Packages | Unavailable,
    system: OperatingSystem,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """The NVIDIA module that this kernel gets does not fit the driver's user space, and a reboot will not change that.

    What: module and libraries of the driver must be of one version. Here the libraries were
    replaced, and the module for this kernel was not: it was not built anew, an older copy of it
    lies in front of the new one, or the initramfs holds an older copy and loads it at boot. Every
    GPU program fails with a version mismatch, whatever is rebooted.

    Proof: four versions side by side: of the loaded module (/proc/driver/nvidia/version), of the
    module file that modprobe takes under /lib/modules/KERNEL, of libcuda, and of the packages;
    and where the initramfs is to blame, that the machine was started after the right module was
    written.

    Repair: build the module of the libraries' version for this kernel, or remove the older copy;
    refresh the initramfs and reboot. If it is the libraries that are behind, finish their upgrade
    instead. Do not reinstall the driver.

    Reference: https://github.com/illinois-scicomp/machine-shop-maintenance/issues/70; NVIDIA
    driver README.
    """
    own_driver(confinement)
    works = isinstance(nvml, Nvml) and nvml.return_code == 0 and isinstance(cuda, Cuda) and cuda.return_code == 0
    verdict = verdict_on(kernel, versions, files, boot, history)
    others = tuple(file for file in files.of(kernel.release) if file.version != versions.user_space)
    facts, ready = _evidence(kernel, versions, others), _ready_module(kernel, packages)
    source = module_source(dkms if isinstance(dkms, Dkms) else Dkms(False, ()), packages, versions)
    if verdict is Verdict.FINE and kernel.running and versions.on_disk not in ("", versions.user_space):
        if versions.loaded not in [file.version for file in files.of(kernel.release)]:
            yield Finding(
                f"The loaded NVIDIA module {versions.loaded} fits user space, the one on disk for kernel "
                f"{kernel.release} is {versions.on_disk}: they work until the next reboot.",
                kernel.release,
                facts,
                _rebuild(kernel, versions, others, dkms, source, ready, "before the next reboot"),
                Severity.WARNING,
            )
    elif works:
        return  # whichever library was taken for the one in use: the driver answers
    elif verdict is Verdict.STALE_MODULE and not versions.on_disk_path:
        yield Finding(
            f"The loaded NVIDIA module is {versions.loaded}, user space is {versions.user_space}, and there is no "
            f"module for kernel {kernel.release} on the disk: a reboot alone will not help.",
            kernel.release,
            facts,
            _rebuild(kernel, versions, others, dkms, source, ready, "then reboot"),
        )
    elif verdict is Verdict.STALE_MODULE and versions.on_disk != versions.user_space:
        akmods = source is not None and source.tool == "akmods" and source.version == versions.user_space
        # akmods builds at boot what it has not built before.
        hope = "the new one is not built yet." if akmods else "a reboot alone will not help."
        loaded = f", {versions.loaded} is loaded: {hope}" if versions.loaded else ""
        yield Finding(
            f"The NVIDIA module on disk for kernel {kernel.release} is {versions.on_disk}, user space is "
            f"{versions.user_space}{loaded or ': the GPU will not work when this system boots.'}",
            kernel.release,
            facts,
            _rebuild(kernel, versions, others, dkms, source, ready, "then reboot"),
        )
    elif verdict is Verdict.STALE_MODULE:
        yield Finding(
            f"The loaded NVIDIA module is {versions.loaded}, though {versions.on_disk} was on the disk for kernel "
            f"{kernel.release} when this machine was started: an older copy is loaded at boot.",
            kernel.release,
            (*facts, *_initramfs(kernel, kernels)),
            _remove_old_copy(kernel, others, dkms, system),
        )


def _evidence(kernel: Kernel, versions: DriverVersions, others: tuple[ModuleFile, ...]) -> tuple[Evidence, ...]:
    loaded = (Evidence("/proc/driver/nvidia/version", versions.loaded),) if versions.loaded else ()
    on_disk = Evidence(
        versions.on_disk_path or f"/lib/modules/{kernel.release}", versions.on_disk or "no NVIDIA module"
    )
    packaged = (Evidence(f"package {versions.packaged_name}", versions.packaged),) if versions.packaged else ()
    more = tuple(Evidence(file.path, file.version) for file in others if file.path != versions.on_disk_path)
    return (*loaded, on_disk, *more, Evidence(versions.user_space_path, versions.user_space), *packaged)


def _rebuild(
    kernel: Kernel,
    versions: DriverVersions,
    others: tuple[ModuleFile, ...],
    dkms: Dkms | Unavailable,
    source: ModuleSource | None,
    ready: str,
    when: str,
) -> str:
    """How module and user space come together again, least first; `when` the reboot comes in."""
    if source and source.tool == "akmods" and source.version == versions.user_space:
        return (
            f"{source.name} is of the libraries' version and has not built its module yet: "
            f"`{source.build_command(kernel.release)}` (it takes minutes), {when}."
        )
    if ready:
        return (
            f"Upgrade the package of the ready-made module, which was left behind: `apt install {ready}`, {when}. If "
            f"the archive has no newer one for this kernel, `apt full-upgrade` brings the kernel that has it."
        )
    sources = dkms.sources if isinstance(dkms, Dkms) else ()
    fitting = next((source for source in sources if source.version == versions.user_space), None)
    if versions.packaged and versions.packaged != versions.user_space and versions.packaged == versions.on_disk:
        return (
            f"The module is of the packages' version, the libraries are not: find who put {versions.user_space_path} "
            f"there, and bring user space to {versions.packaged} with the package manager, {when}."
        )
    if fitting is not None:
        old = [source for source in sources if source.version in [file.version for file in others]]
        remove = "".join(f"`dkms remove {source.module}/{source.version} --all`, " for source in old)
        return (
            f"Rebuild the module: {remove}`dkms install --force {fitting.module}/{fitting.version} "
            f"-k {kernel.release}`, `depmod -a {kernel.release}`, {when}."
        )
    if version_key(versions.on_disk) > version_key(versions.user_space):
        return f"User space is behind the module: finish its upgrade to {versions.on_disk} by package, {when}."
    return (
        f"Rebuild or install the kernel module in version {versions.user_space} for {kernel.release} with the package "
        f"manager that brought user space (an upgrade that was held back or not finished), {when}."
    )


def _ready_module(kernel: Kernel, packages: Packages | Unavailable) -> str:
    """The package of Ubuntu's ready-made module for this kernel, "" if there is none."""
    found = packages.installed() if isinstance(packages, Packages) else ()
    names = (package.name for package in found if package.name.startswith("linux-modules-nvidia-"))
    return next((name for name in names if name.endswith(f"-{kernel.release}")), "")


def _remove_old_copy(
    kernel: Kernel, others: tuple[ModuleFile, ...], dkms: Dkms | Unavailable, system: OperatingSystem
) -> str:
    remove = ""
    for file in others:
        for source in dkms.sources if isinstance(dkms, Dkms) else ():
            if file.origin == "dkms" and source.version == file.version:
                remove += f"Remove the older module with `dkms remove {source.module}/{source.version} --all`. "
                break
        else:
            remove += f"Remove the older module {file.path} (by its package, if one owns it), then `depmod -a`. "
    return f"{remove}Refresh the initramfs{refresh_initramfs(system, kernel.release)}, then reboot."


def _initramfs(kernel: Kernel, kernels: InstalledKernels | Unavailable) -> tuple[Evidence, ...]:
    installed = kernels.get(kernel.release) if isinstance(kernels, InstalledKernels) else None
    if installed is None or not installed.initramfs or installed.initramfs_modified is None:
        return ()
    from time import gmtime, strftime  # here for start-up: only this finding shows a time

    written = strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(installed.initramfs_modified))
    return (Evidence(installed.initramfs, f"written {written}"),)
