"""Remove a kernel for which no NVIDIA module can be had before the machine boots it; the running one has its module."""

from collections.abc import Iterator, Sequence

from gpudoctor import Effort, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.package_manager import PackageManager, install, remove
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.system import Confinement, Kernel

from ._packaging import change, targets
from ._proofs import gone
from ._scope import by_hand_if_unsafe, file_path, own_driver


def removable(
    manager: PackageManager | Unavailable,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    packages: Packages | Unavailable,
) -> tuple[Package, ...]:
    """The packages of the kernel that boots next, where it lacks a module that the running one has (apt's systems)."""
    release = kernels.next_boot
    if not isinstance(manager, PackageManager) or manager.kind != "apt" or isinstance(packages, Unavailable):
        return ()
    if not kernel.running or release in ("", kernel.release) or files.of(release) or not files.of(kernel.release):
        return ()
    names = (package for package in packages.installed() if package.name.startswith("linux-"))
    return tuple(package for package in names if package.name.endswith(f"-{release}"))


@fix("remove-kernel-too-new", cures=["kernel.driver-too-old-for-kernel"], effort=Effort.REBOOT)
@by_hand_if_unsafe
def remove_kernel_too_new(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    packages: Packages,
) -> Iterator[Step]:
    """Remove the newer kernel, which this driver does not compile for, and stay with the running one."""
    why = f"This driver does not compile for kernel {kernels.next_boot}, which boots next"
    if own_driver(confinement):
        yield from _removal(why, manager, kernel, kernels, files, packages)


@fix("remove-kernel-without-headers", cures=["kernel.headers-missing"], effort=Effort.FINISH_PACKAGES)
@by_hand_if_unsafe
def remove_kernel_without_headers(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    packages: Packages,
) -> Iterator[Step]:
    """Remove the newer kernel, whose headers cannot be had, and stay with the running one."""
    installed = kernels.get(kernels.next_boot)
    if own_driver(confinement) and installed is not None and not installed.headers:
        why = f"No module can be compiled without the headers of kernel {kernels.next_boot}, which boots next"
        yield from _removal(why, manager, kernel, kernels, files, packages)


def _removal(
    why: str,
    manager: PackageManager,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    packages: Packages,
) -> Iterator[Step]:
    leaving = removable(manager, kernel, kernels, files, packages)
    going = kernels.get(kernels.next_boot)
    if not leaving or going is None:
        return
    names = targets(leaving, packages)
    along = _depending_on(leaving, packages)
    lost = (
        f" {', '.join(along)} {'go' if len(along) > 1 else 'goes'} with it: to be installed again when this is mended."
    )
    yield from change(
        manager,
        remove(manager, names),
        f"{why}; the running {kernel.release} has its module." + (lost if along else ""),
        gone(file_path(going.image)),
        Run(install(manager, (*names, *along))),
        risk=Risk.HIGH,
    )


def _depending_on(leaving: Sequence[Package], packages: Packages) -> tuple[str, ...]:
    """What brings each next kernel depends on the newest one."""
    names = {package.name for package in leaving}
    others = (package for package in packages.installed() if package.name not in names)
    return tuple(
        package.name
        for package in others
        if any(dependency.partition(" ")[0] in names and "|" not in dependency for dependency in package.depends)
    )
