"""Give a kernel the NVIDIA module that it lacks: install its headers, compile the module, load it."""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_packages import driver_packages
from gpudoctor.facts.kernel_headers import HeaderPackages, header_packages
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import Argv, PackageManager, install, install_versions, remove
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._build import build_steps, can_build, has_headers
from ._modules import lacking, load, restart
from ._packaging import change, finish_first
from ._proofs import installed, there
from ._scope import by_hand_if_unsafe, own_driver

_FAMILIES = {"apt": "debian", "dnf": "fedora", "zypper": "suse", "pacman": "arch"}


@fix(
    "install-headers",
    cures=["kernel.headers-missing", "kernel.module-missing", "kernel.next-boot-module-missing"],
    effort=Effort.BUILD_MODULE,
)
@by_hand_if_unsafe
def install_headers(
    confinement: Confinement,
    manager: PackageManager,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    dkms: Dkms,
    packages: Packages,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
) -> Iterator[Step]:
    """Install the headers of the kernels that lack them, and build the NVIDIA module."""
    if not own_driver(confinement) or not manager.kind or not can_build(dkms, packages):
        return
    without_module = lacking(kernel, kernels, files)
    without_headers = [release for release in without_module if not has_headers(kernels, release)]
    if not without_headers:
        return
    yield from finish_first(manager, packages)
    for release in without_headers:
        found = header_packages(_FAMILIES[manager.kind], system, release, packages)
        follow = tuple(name for name in found.follow if packages.get(name) is None) if manager.kind == "apt" else ()
        argv = _install_exact(manager, found, follow)
        if argv is None:
            yield Step(
                Manual(f"Install the headers of kernel {release} from where that kernel came."),
                "No installed package tells the version that the headers must have.",
                Phase.INSTALL,
            )
            continue
        yield from change(
            manager,
            argv,
            f"Without its headers no module can be compiled for kernel {release}"
            + (f"; {', '.join(follow)} brings them with every later kernel." if follow else "."),
            there(f"/lib/modules/{release}/build"),
            Run(remove(manager, (*found.exact, *follow))),
        )
    yield from build_steps(without_module, kernel, dkms, files, packages, versions)
    if kernel.release in without_module:
        yield from load(kernel, driver, modules)


def _install_exact(manager: PackageManager, found: HeaderPackages, more: tuple[str, ...] = ()) -> Argv | None:
    """Installs the headers of this very kernel; None where nothing tells their version. Raises UnsafeWord."""
    if not found.exact:
        return None
    if found.version:
        return install_versions(manager, dict.fromkeys(found.exact, found.version))
    return install(manager, (*found.exact, *more))


@fix("install-kernel-with-headers", cures=["kernel.headers-missing"], effort=Effort.BUILD_MODULE)
@by_hand_if_unsafe
def install_kernel_with_headers(
    confinement: Confinement,
    manager: PackageManager,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    dkms: Dkms,
    packages: Packages,
) -> Iterator[Step]:
    """Take the newest kernel together with its headers, where those of the installed kernel are gone."""
    if not own_driver(confinement) or not manager.kind or not can_build(dkms, packages):
        return
    bare = [release for release in lacking(kernel, kernels, files) if not has_headers(kernels, release)]
    for release in bare[-1:]:
        found = header_packages(_FAMILIES[manager.kind], system, release, packages)
        if not found.images or manager.kind == "pacman":
            return
        names = (*found.images, *found.follow)
        yield from finish_first(manager, packages)
        yield from change(
            manager,
            install(manager, names),
            f"Archives drop the headers of older kernels such as {release}; the newest kernel still has its own, and "
            "the module is built for it as it is installed.",
            installed(manager, names),
            Manual("Choose the older kernel in the boot menu, under the advanced options; it stays installed."),
            risk=Risk.HIGH,
        )
        if kernel.running:
            yield restart("The new kernel runs after a restart only.", risk=Risk.HIGH)


@fix(
    "build-module",
    cures=["kernel.module-missing", "kernel.next-boot-module-missing", "kernel.module-build-failed"],
    effort=Effort.BUILD_MODULE,
)
@by_hand_if_unsafe
def build_module(
    confinement: Confinement,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    dkms: Dkms,
    packages: Packages | Unavailable,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
) -> Iterator[Step]:
    """Compile the NVIDIA module for the kernels that lack it and have their headers."""
    if not own_driver(confinement) or not can_build(dkms, packages):
        return
    bare = [release for release in lacking(kernel, kernels, files) if has_headers(kernels, release)]
    if not bare:
        return
    for source in dkms.sources:
        for build in source.builds:
            if build.kernel in bare and build.state == "failed":
                errors = "; ".join(build.errors[:2]) or "no error line"
                yield Step(
                    Manual(f"Read {build.log} ({errors}) and remove the cause first."),
                    "The last build failed, and building again alone will not help if its cause is still there.",
                    Phase.SIMULATE,
                    root=False,
                )
    yield from build_steps(bare, kernel, dkms, files, packages, versions)
    if kernel.release in bare:
        yield from load(kernel, driver, modules)


@fix("rerun-installer", cures=["kernel.module-missing", "kernel.next-boot-module-missing"], effort=Effort.BUILD_MODULE)
@by_hand_if_unsafe
def rerun_installer(
    confinement: Confinement,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    dkms: Dkms,
    packages: Packages | Unavailable,
    runfile: RunfileTraces,
) -> Iterator[Step]:
    """Let NVIDIA's installer compile its module for the kernel that lacks it."""
    if not own_driver(confinement) or not runfile.paths or dkms.sources:
        return
    if isinstance(packages, Packages) and driver_packages(packages):
        return
    for release in lacking(kernel, kernels, files):
        version = runfile.version or "of the same version as before"
        yield Step(
            Manual(
                f"Run NVIDIA's installer {version} again with --kernel-name={release}, and with --dkms so that later "
                f"kernels get their module by themselves; it needs the headers of {release}"
                + ("." if has_headers(kernels, release) else ", which are not installed: install them first.")
            ),
            "The driver was installed by hand, and which file to run is its owner's choice.",
            Phase.BUILD,
        )
