"""Old copies of the module, in the DKMS tree or in the initramfs, that win over the new one at every boot."""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.package_manager import package_name, package_version
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._build import akmods_of, build_steps, has_headers
from ._modules import after_package_change, main_module, name_to_be, refresh_initramfs
from ._proofs import gone, module_for, there
from ._scope import by_hand_if_unsafe, file_path, kernel_release, own_driver


@fix("rebuild-stale-module", cures=["kernel.module-stale"], effort=Effort.BUILD_MODULE)
@by_hand_if_unsafe
def rebuild_stale_module(
    confinement: Confinement,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    dkms: Dkms,
    packages: Packages | Unavailable,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
) -> Iterator[Step]:
    """Remove older DKMS entries, build the module of the libraries' version, and write the initramfs anew."""
    fitting = next((s for s in dkms.sources if s.version == versions.user_space and s.source_present), None)
    if not own_driver(confinement) or versions.on_disk == versions.user_space:
        return
    if fitting is None:
        if not dkms.sources and akmods_of(packages, versions.user_space) and has_headers(kernels, kernel.release):
            yield from build_steps((kernel.release,), kernel, dkms, files, packages, versions)
            yield from after_package_change(kernel, driver, versions.user_space)
        return
    release = kernel_release(kernel.release)
    yield from _remove_older_sources(dkms, versions)
    for file in files.of(release):
        if file.version not in ("", versions.user_space) and file.origin != "dkms":
            yield Step(
                Manual(
                    f"Find out who put {file.path} there (dpkg -S, rpm -qf, pacman -Qo). If a package: remove the "
                    "package. If none: remove the file, then run depmod."
                ),
                f"It is version {file.version} and may win over the module that is built now.",
                Phase.REMOVE,
                Risk.MEDIUM,
            )
    name = f"{package_name(fitting.module)}/{package_version(fitting.version)}"
    yield Step(
        Run(("dkms", "install", "--force", name, "-k", release)),
        f"The libraries are {versions.user_space}, the module for {release} is {versions.on_disk or 'missing'}: it is "
        "built in the libraries' version.",
        Phase.BUILD,
        Risk.MEDIUM,
        verify=_built(name, release, dkms) or module_for(release, name_to_be(files, dkms)),
        undo=Run(("dkms", "uninstall", name, "-k", release)),
    )
    yield refresh_initramfs(release, system, kernels, None)
    yield from after_package_change(kernel, driver, versions.user_space)


@fix("remove-stale-dkms-entry", cures=["kernel.module-stale"], effort=Effort.BUILD_MODULE)
@by_hand_if_unsafe
def remove_stale_dkms_entry(
    confinement: Confinement,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    dkms: Dkms,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
) -> Iterator[Step]:
    """Remove an older driver from the DKMS tree, so that it is not built and loaded any more."""
    if not own_driver(confinement) or versions.on_disk != versions.user_space:
        return
    older = tuple(_remove_older_sources(dkms, versions))
    if older:
        yield from older
        yield refresh_initramfs(kernel.release, system, kernels, main_module(files, kernel.release))
        yield from after_package_change(kernel, driver, versions.user_space)


@fix("refresh-initramfs", cures=["kernel.module-stale"], effort=Effort.INITRAMFS)
@by_hand_if_unsafe
def refresh_initramfs_only(
    confinement: Confinement,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
) -> Iterator[Step]:
    """Write the initramfs anew: an older copy of the module in it is loaded at every boot."""
    if not own_driver(confinement) or not versions.on_disk or versions.on_disk != versions.user_space:
        return
    if versions.loaded and versions.loaded != versions.on_disk:
        release = kernels.next_boot or kernel.release
        yield refresh_initramfs(release, system, kernels, main_module(files, release))
        yield from after_package_change(kernel, driver, versions.user_space)


def _built(name: str, release: str, dkms: Dkms) -> Run | None:
    """DKMS keeps what it built for a kernel in a folder of its own: modinfo would find an old module just as well."""
    for source in dkms.sources:
        for build in source.builds:
            # /var/lib/dkms/MODULE/VERSION/KERNEL/ARCHITECTURE/log/make.log
            words = build.log.split("/")
            if len(words) == 10 and words[7] and words[8] == "log":
                return there(f"/var/lib/dkms/{name}/{release}/{words[7]}/module")
    return None


def _remove_older_sources(dkms: Dkms, versions: DriverVersions) -> Iterator[Step]:
    for source in dkms.sources:
        # A newer one may be the one that an unfinished upgrade is about to build.
        if not versions.user_space or version_key(source.version) >= version_key(versions.user_space):
            continue
        name = f"{package_name(source.module)}/{package_version(source.version)}"
        yield Step(
            Run(("dkms", "remove", name, "--all")),
            f"DKMS still keeps driver {source.version}, which fits no libraries here and may be loaded in place of "
            f"{versions.user_space}.",
            Phase.REMOVE,
            Risk.MEDIUM,
            verify=gone(file_path(f"/var/lib/dkms/{name}")),
            undo=Run(("dkms", "add", name)),
        )
