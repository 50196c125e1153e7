"""The least that gives a kernel its NVIDIA module, by what brings modules on this machine."""

from gpudoctor import Unavailable
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_packages import Part, driver_packages
from gpudoctor.facts.kernels import InstalledKernels
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._kernels import KernelWithoutModule, ModuleSource
from ._package_words import WHOLE_IMAGE, install, install_headers, manager_of, reinstall


def remedy(
    bare: KernelWithoutModule,
    source: ModuleSource | None,
    kernels: InstalledKernels,
    versions: DriverVersions,
    dkms: Dkms,
    packages: Packages | Unavailable,
    runfile: RunfileTraces | Unavailable,
    system: OperatingSystem,
) -> str:
    """What to do, in sentences."""
    if bare.installed is None and kernels.kernels:
        others = ", ".join(kernel.release for kernel in kernels.kernels)
        return f"Reboot into an installed kernel ({others}); for the running one nothing can be built any more."
    if system.ostree:
        return WHOLE_IMAGE
    carriers = _carriers(packages, bare.release)
    if source is None and carriers:
        manager = manager_of(packages, system) if isinstance(packages, Packages) else ""
        how = f"{reinstall(manager, carriers)}{bare.load}"
        if manager == "pacman":
            how = "`pacman -Syu`, then reboot"  # Arch is upgraded as a whole, and has the newest kernel afterwards
        elif manager == "dnf":
            how = f"{install(manager, carriers)}{bare.load}"  # one package for all kernels: only a newer one helps
        return (
            f"Renew the package that brings the module ({', '.join(carriers)}): {how}. If that brings none for the "
            f"kernel, its maker has not released one yet.{bare.fallback}"
        )
    if source is None and isinstance(runfile, RunfileTraces) and runfile.paths:
        version = runfile.version or versions.user_space
        headers = "" if bare.installed and bare.installed.headers else install_headers(bare.release, system, packages)
        return (
            f"{headers} Run NVIDIA's installer{f' {version}' if version else ''} again, as a .run file knows nothing "
            f"of later kernels: `sh NVIDIA-Linux-x86_64-{version or 'VERSION'}.run --kernel-name={bare.release} --dkms`"
            f" (with --dkms the next kernels get their module by themselves){bare.load}.{bare.fallback}"
        ).lstrip()
    if source is None and system.id == "gentoo":
        return f"Build it for this kernel, as after each change of kernels: `emerge @module-rebuild`{bare.load}."
    if source is None:
        version = versions.user_space or versions.packaged
        return (
            f"Install the kernel module of the driver that is here ({version or 'see its packages'}), in the same "
            f"version and from the same origin as its other packages{bare.load}.{bare.fallback}"
        )
    for one in dkms.sources:
        if any(build.kernel == bare.release and build.state == "built" for build in one.builds):
            # DKMS believes that the module is in place, so `dkms autoinstall` would do nothing.
            command = f"dkms install --force {one.module}/{one.version} -k {bare.release}"
            return f"DKMS built the module, and its file is gone since: run `{command}`{bare.load}."
    return f"Build it from {source.name}: `{source.build_command(bare.release)}`{bare.load}.{bare.fallback}"


def _carriers(packages: Packages | Unavailable, release: str) -> list[str]:
    """Packages that bring a ready-made module: named after this kernel, or after none (Arch, SUSE, NVIDIA for RHEL)."""
    members = driver_packages(packages) if isinstance(packages, Packages) else ()
    own = [member.name for member in members if member.part is Part.READY_MODULE and member.name.endswith(release)]
    if own or isinstance(packages, Unavailable) or packages.manager == "dpkg":
        return own
    return [member.name for member in members if member.part is Part.MODULE and "dkms" not in member.name]
