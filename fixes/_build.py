"""Compile the module with DKMS or akmods: steps that several fixes share."""

from collections.abc import Iterator, Sequence

from gpudoctor import Manual, Phase, Risk, Run, Step, Unavailable
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.package_manager import package_name, package_version
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Kernel
from gpudoctor.facts.versions import DriverVersions

from ._modules import name_to_be, source_to_build
from ._proofs import module_for
from ._scope import kernel_release


def can_build(dkms: Dkms, packages: Packages | Unavailable) -> bool:
    """Is there a source of the module, of DKMS or akmods?"""
    return bool(dkms.sources) or bool(akmods_of(packages))


def akmods_of(packages: Packages | Unavailable, version: str = "") -> str:
    """The package from which akmods builds the module, of this driver version if one is given; "" if there is none."""
    found = packages.installed() if isinstance(packages, Packages) else ()
    named = (package for package in found if package.name.startswith("akmod-nvidia"))
    return next((package.name for package in named if version in ("", package.upstream)), "")


def has_headers(kernels: InstalledKernels, release: str) -> bool:
    """Can modules be built for this kernel?"""
    installed = kernels.get(release)
    return installed is not None and installed.headers


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
