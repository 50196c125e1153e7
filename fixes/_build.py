"""Compile the module with DKMS or akmods, and the headers that it takes: steps that several fixes share."""

from collections.abc import Iterator, Sequence

from gpudoctor import Manual, Phase, Risk, Run, Step, Unavailable
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernel_headers import HeaderPackages, header_packages
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.package_manager import (
    Argv,
    PackageManager,
    install,
    install_versions,
    package_name,
    package_version,
    remove,
)
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._modules import name_to_be, refresh_initramfs, source_to_build
from ._packaging import change
from ._proofs import module_for, there
from ._scope import kernel_release

FAMILIES = {"apt": "debian", "dnf": "fedora", "zypper": "suse", "pacman": "arch"}


def can_build(dkms: Dkms, packages: Packages | Unavailable) -> bool:
    """Is there a source of the module, of DKMS or akmods?"""
    return bool(dkms.sources) or bool(akmods_of(packages))


def akmods_of(packages: Packages | Unavailable, version: str = "") -> str:
    """The package from which akmods builds the module, of this driver version if one is given; "" if there is none."""
    found = packages.installed() if isinstance(packages, Packages) else ()
    named = (package for package in found if package.name.startswith("akmod-nvidia"))
    return next((package.name for package in named if version in ("", package.upstream)), "")


def version_to_build(dkms: Dkms, packages: Packages | Unavailable, versions: DriverVersions) -> str:
    """The driver version of the module that `build_steps` compiles, "" if that cannot be told."""
    source = source_to_build(dkms, versions.user_space)
    if source is not None:
        return source.version
    name = akmods_of(packages)
    package = packages.get(name) if name and isinstance(packages, Packages) else None
    return package.upstream if package else ""


def has_headers(kernels: InstalledKernels, release: str) -> bool:
    """Can modules be built for this kernel?"""
    installed = kernels.get(release)
    return installed is not None and installed.headers


def header_steps(
    releases: Sequence[str], manager: PackageManager, system: OperatingSystem, packages: Packages
) -> Iterator[Step]:
    """Install the headers of these kernels, and what brings them with every later one. Raises UnsafeWord."""
    for release in releases:
        found = header_packages(FAMILIES[manager.kind], system, release, packages)
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


def _install_exact(manager: PackageManager, found: HeaderPackages, more: tuple[str, ...] = ()) -> Argv | None:
    """Installs the headers of this very kernel; None where nothing tells their version. Raises UnsafeWord."""
    if not found.exact:
        return None
    if found.version:
        return install_versions(manager, dict.fromkeys(found.exact, found.version))
    return install(manager, (*found.exact, *more))


def module_steps(
    module: str, by: str, releases: Sequence[str], kernels: InstalledKernels, system: OperatingSystem
) -> Iterator[Step]:
    """After the packages: the module for each kernel that must have it, proved, and the initramfs of each.

    `by`: "dkms" or "akmods", "" where the module comes ready made. Raises UnsafeWord.
    """
    words = {"dkms": ("dkms", "autoinstall", "-k"), "akmods": ("akmods", "--force", "--kernels")}
    for release in releases:
        if by:
            build = Run((*words[by], kernel_release(release)))
            yield Step(
                build,
                f"The package has its module compiled as it comes; where that went wrong for kernel {release}, or is "
                "not at its end, this compiles it now, or says why not.",
                Phase.BUILD,
                Risk.LOW,
                verify=module_for(release, module),
                undo=build,
            )
        yield refresh_initramfs(release, system, kernels, None)


def build_steps(
    releases: Sequence[str],
    kernel: Kernel,
    dkms: Dkms,
    files: ModuleFiles,
    packages: Packages | Unavailable,
    versions: DriverVersions,
) -> Iterator[Step]:
    """Compile the module for these kernels. Raises UnsafeWord."""
    source = source_to_build(dkms, versions.user_space)
    for release in releases:
        release = kernel_release(release)
        which = "the running kernel" if release == kernel.release and kernel.running else "kernel"
        why = f"Compiles the driver's module for {which} {release}; the driver itself stays as it is."
        proof = module_for(release, name_to_be(files, dkms))
        if source is not None:
            name = f"{package_name(source.module)}/{package_version(source.version)}"
            built = any(build.kernel == release and build.state == "built" for build in source.builds)
            argv: tuple[str, ...] = ("dkms", "autoinstall", "-k", release)
            if built:
                argv = ("dkms", "install", "--force", name, "-k", release)
                why = f"DKMS takes the module of kernel {release} for installed, but its file is gone, so force it."
            undo: Run | Manual = Run(("dkms", "uninstall", name, "-k", release))
        elif akmods_of(packages):
            argv = ("akmods", "--force", "--kernels", release)
            undo = Manual(f"Remove the package of the name kmod-nvidia that was built for {release}.")
        else:
            return
        yield Step(Run(argv), why, Phase.BUILD, Risk.LOW, verify=proof, undo=undo)
