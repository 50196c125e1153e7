"""Give a kernel the NVIDIA module that it lacks: install its headers, compile the module, load it."""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Risk, Step, Unavailable, fix
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_packages import driver_packages
from gpudoctor.facts.headers_on_offer import HeadersOnOffer
from gpudoctor.facts.kernel_headers import header_packages
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import PackageManager, install
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._build import FAMILIES, build_steps, can_build, has_headers, header_steps, version_to_build
from ._modules import lacking, load, restart
from ._packaging import change, configure_all, finish_first, waiting
from ._proofs import installed
from ._scope import by_hand_if_unsafe, own_driver


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
    offer: HeadersOnOffer | Unavailable,
) -> Iterator[Step]:
    """Install the headers of the kernels that lack them, and build the NVIDIA module."""
    if not own_driver(confinement) or not manager.kind or not can_build(dkms, packages):
        return
    without_module = lacking(kernel, kernels, files)
    without_headers = [release for release in without_module if not has_headers(kernels, release)]
    gone = isinstance(offer, HeadersOnOffer) and not {*without_headers} <= {*offer.releases}
    if not without_headers or gone:
        return
    yield from finish_first(manager, packages)
    yield from header_steps(without_headers, manager, system, packages)
    yield from build_steps(without_module, kernel, dkms, files, packages, versions)
    if kernel.release in without_module:
        yield from load(kernel, driver, modules, version_to_build(dkms, packages, versions))


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
        found = header_packages(FAMILIES[manager.kind], system, release, packages)
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
        if kernel.running and kernel.release in bare:
            yield restart("The new kernel runs after a restart only.", risk=Risk.HIGH)


@fix(
    "build-module",
    cures=["kernel.module-missing", "kernel.next-boot-module-missing", "kernel.module-build-failed"],
    effort=Effort.BUILD_MODULE,
)
@by_hand_if_unsafe
def build_module(
    confinement: Confinement,
    manager: PackageManager | Unavailable,
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
            # Without an error it was interrupted, and nothing stands in its way.
            if build.kernel in bare and build.state == "failed" and build.errors:
                yield Step(
                    Manual(f"Read {build.log} ({'; '.join(build.errors[:2])}) and remove the cause first."),
                    "The last build failed, and building again alone will not help if its cause is still there.",
                    Phase.SIMULATE,
                    root=False,
                )
    apt = isinstance(manager, PackageManager) and manager.kind == "apt"
    if apt and isinstance(packages, Packages) and waiting(packages):
        # The package that ran the build is left half configured by it, and builds as it is finished.
        yield configure_all(packages)._replace(phase=Phase.CONFIGURE)
    yield from build_steps(bare, kernel, dkms, files, packages, versions)
    if kernel.release in bare:
        yield from load(kernel, driver, modules, version_to_build(dkms, packages, versions))


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
