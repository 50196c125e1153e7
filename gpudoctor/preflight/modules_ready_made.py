"""NVIDIA modules that come ready-made in packages, of Ubuntu, Arch, RHEL and SUSE, as a transaction leaves them."""

from collections.abc import Mapping

from gpudoctor.facts.driver_packages import Part, as_driver_package, as_ubuntu_modules
from gpudoctor.facts.driver_version import newest
from gpudoctor.facts.installed_kernels import InstalledKernels
from gpudoctor.facts.kernels import ModuleFile
from gpudoctor.facts.packages import Packages
from gpudoctor.preflight.kernel_packages import arch_release
from gpudoctor.preflight.modules_built_here import Before, is_built_here, is_dkms
from gpudoctor.preflight.transaction import Transaction


def after_ubuntu(
    transaction: Transaction, packages: Packages, files: list[ModuleFile], written: float
) -> list[ModuleFile]:
    """Ubuntu's signed modules, a package for each kernel."""
    for change in transaction.changes:
        modules = as_ubuntu_modules(change.name)
        if modules is None or not modules.kernel:
            continue
        files = [file for file in files if not (file.kernel == modules.kernel and file.origin == "prebuilt")]
        if change.new:
            branch = modules.series.partition("-")[0]
            flavour = "open" if "open" in modules.series.split("-") else "proprietary"
            path = f"/lib/modules/{modules.kernel}/kernel/nvidia-{modules.series}/nvidia.ko"
            # Its package's version is the kernel's; its dependencies, which apt has solved, tie it to these libraries.
            version = _libraries_of(branch, packages)
            files.append(
                ModuleFile(modules.kernel, path, "prebuilt", version, flavour, modules.kernel, "signed", written)
            )
    return files


def _libraries_of(branch: str, packages: Packages) -> str:
    for package in packages.installed():
        member = as_driver_package(package, packages.manager)
        if member and member.part is Part.LIBRARY and member.version.startswith(f"{branch}."):
            return member.version
    return ""


# Arch's packages of ready-made modules, and the kernel that each is built for.
_ARCH_MODULES: Mapping[str, str] = {
    "nvidia": "linux",
    "nvidia-open": "linux",
    "nvidia-lts": "linux-lts",
    "nvidia-open-lts": "linux-lts",
}


def after_arch(
    transaction: Transaction, packages: Packages, files: list[ModuleFile], written: float
) -> list[ModuleFile]:
    """Arch's modules, made for exactly one build of the kernel."""
    changes = {change.name: change for change in transaction.changes}
    for name, kernel_name in _ARCH_MODULES.items():
        package, kernel, change = packages.get(name), packages.get(kernel_name), changes.get(name)
        if kernel is None or change is None:
            continue  # a module that does not come along with a new kernel is none for it
        release = arch_release(kernel_name, kernel.version)
        files = [file for file in files if not (file.kernel == release and file.origin == "prebuilt")]
        if package is not None:
            flavour = "open" if "open" in name else "proprietary"
            path = f"/lib/modules/{release}/extramodules/nvidia.ko.zst"
            files.append(ModuleFile(release, path, "prebuilt", package.upstream, flavour, release, "", written))
    return files


def after_packaged(
    before: Before, packages: Packages, kernels: InstalledKernels, files: list[ModuleFile], written: float
) -> list[ModuleFile]:
    """Modules out of rpm packages: on RHEL and its likes one serves later kernels of its series too, through links."""
    was, will_be = _packaged_versions(before.packages), _packaged_versions(packages)
    gone, new = was - will_be, newest(will_be - was)
    files = [
        file._replace(version=new, modified=written) if file.version in gone and _is_packaged(file, before) else file
        for file in files
        if new or not (file.version in gone and _is_packaged(file, before))
    ]
    known = {kernel.release for kernel in before.kernels.kernels}
    linked = []
    for kernel in kernels.kernels if before.system and before.system.id != "fedora" else ():
        series = kernel.release.partition("-")[0]
        if kernel.release not in known and not any(file.kernel == kernel.release for file in files):
            alike = [file for file in files if file.kernel.partition("-")[0] == series and _is_packaged(file, before)]
            path = f"/lib/modules/{kernel.release}/weak-updates/nvidia/nvidia.ko"
            linked += [file._replace(kernel=kernel.release, path=path, origin="weak-updates") for file in alike[:1]]
    return files + linked


def _packaged_versions(packages: Packages) -> set[str]:
    """Driver versions of the packages that hold a module: kmod-nvidia, also with a kernel in its name, and SUSE's."""
    modules = (
        package
        for package in packages.installed()
        if (package.name.startswith("kmod-nvidia") or "-kmp-" in package.name) and not is_dkms(package.name)
    )
    return {package.upstream for package in modules} - {""}


def _is_packaged(file: ModuleFile, before: Before) -> bool:
    return file.origin in ("extra", "updates", "weak-updates") and not is_built_here(file, before)
