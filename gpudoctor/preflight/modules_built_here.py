"""NVIDIA modules that this machine builds itself, by DKMS or akmods, as a transaction leaves them."""

from collections.abc import Iterable
from typing import NamedTuple

from gpudoctor.facts.dkms import Dkms, DkmsBuild, DkmsSource
from gpudoctor.facts.driver_packages import DriverPackage, Part, as_driver_package
from gpudoctor.facts.installed_kernels import InstalledKernels, release_order
from gpudoctor.facts.kernels import ModuleFile, ModuleFiles
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.system import Kernel, OperatingSystem
from gpudoctor.preflight.transaction import Change, Transaction


class Before(NamedTuple):
    """The machine as it is."""

    packages: Packages
    kernels: InstalledKernels
    files: ModuleFiles
    dkms: Dkms
    running: Kernel | None
    system: OperatingSystem | None


class _Moved(NamedTuple):
    """One package that a module comes from, in a transaction."""

    member: DriverPackage  # as it is afterwards; of one that goes, as it was
    old: str  # driver version, "" it was not installed
    new: str  # "" it goes


def _all_moved(transaction: Transaction) -> list[_Moved]:
    found = (_moved(change, transaction.manager) for change in transaction.changes)
    return [one for one in found if one]


def _moved(change: Change, manager: str) -> _Moved | None:
    states = [
        as_driver_package(Package(change.name, version, change.architecture, "installed", False, ""), manager)
        if version
        else None
        for version in (change.old, change.new)
    ]
    member = states[1] or states[0]
    if member is None or member.part is not Part.MODULE or change.old == change.new:
        return None
    old, new = (state.version if state else "" for state in states)
    return _Moved(member, old, new)


def is_dkms(name: str) -> bool:
    """Is it a package whose source DKMS builds?"""
    return "dkms" in name.split("-")


def after_dkms(
    before: Before,
    transaction: Transaction,
    packages: Packages,
    kernels: InstalledKernels,
    files: list[ModuleFile],
    written: float,
) -> tuple[Dkms, list[ModuleFile]]:
    """What is registered and built, and the files; `packages`, `kernels`: as they will be."""
    moved = [one for one in _all_moved(transaction) if is_dkms(one.member.name)]
    gone = {one.old for one in moved if one.old}
    come = [one for one in moved if one.new]
    dropped = [source for source in before.dkms.sources if source.version in gone]
    kept = [source for source in before.dkms.sources if source.version not in gone]
    installed = packages.get("dkms") is not None or (before.dkms.installed and before.packages.get("dkms") is None)
    template = _template(before, gone or {source.version for source in kept})
    files = [file for file in files if not (file.version in gone and is_built_here(file, before))]
    sources = []
    for source in kept:
        there = {build.kernel for build in source.builds} & {kernel.release for kernel in kernels.kernels}
        builds = [build for build in source.builds if build.kernel in there]
        builds += [
            _built_or_failed(source, one) for one in _to_build(before, kernels) if one not in there and installed
        ]
        sources.append(source._replace(builds=tuple(builds)))
        fresh = {build.kernel for build in builds if build.state == "built"} - {b.kernel for b in source.builds}
        files += [_module(template, release, source.version, "", written, before) for release in sorted(fresh)]
    for one in come:
        name = dropped[0].module if dropped else "nvidia-current" if _is_debian(before) else "nvidia"
        targets = _to_build(before, kernels, anew=True) if installed else []
        flavour = "" if one.old else "open" if "open" in one.member.name else "proprietary"
        sources.append(
            DkmsSource(name, one.new, True, tuple(DkmsBuild(release, "built", "", ()) for release in targets))
        )
        files += [_module(template, release, one.new, flavour, written, before) for release in targets]
    return Dkms(installed, tuple(sources)), files


def _is_debian(before: Before) -> bool:
    return before.system is not None and before.system.of_debian


def is_built_here(file: ModuleFile, before: Before) -> bool:
    """By DKMS, which has places of its own on Debian and not on Fedora."""
    built = {
        build.kernel for source in before.dkms.sources if source.version == file.version for build in source.builds
    }
    return file.origin == "dkms" or (file.origin == "extra" and file.kernel in built)


def _to_build(before: Before, kernels: InstalledKernels, *, anew: bool = False) -> list[str]:
    """Kernels for which DKMS builds: those that are new or whose headers are; for a new driver (`anew`) the running one
    and the newest too, and not the others.
    """
    headers = {kernel.release for kernel in before.kernels.kernels if kernel.headers}
    wanted = {kernel.release for kernel in kernels.kernels} - headers
    if anew:
        wanted |= {kernels.kernels[0].release} if kernels.kernels else set()
        wanted |= {before.running.release} if before.running else set()
    return [kernel.release for kernel in kernels.kernels if kernel.release in wanted and kernel.headers]


def _built_or_failed(source: DkmsSource, release: str) -> DkmsBuild:
    """What failed on a kernel, and has succeeded on none as new, fails on the next one too, by the same error lines."""
    worked = [release_order(build.kernel) for build in source.builds if build.state == "built"]
    for build in source.builds:
        place = release_order(build.kernel)
        if (
            build.state == "failed"
            and build.errors
            and place <= release_order(release)
            and all(w < place for w in worked)
        ):
            return build._replace(kernel=release)
    return DkmsBuild(release, "built", "", ())


def _template(before: Before, versions: Iterable[str]) -> ModuleFile | None:
    """A module that was built here before: the next one will lie in such a place, and be signed as this is."""
    versions = {*versions}
    found = [file for file in before.files.files if is_built_here(file, before)]
    return next((file for file in found if file.version in versions), next(iter(found), None))


def _module(
    template: ModuleFile | None, release: str, version: str, flavour: str, written: float, before: Before
) -> ModuleFile:
    if template is not None:
        return template._replace(
            kernel=release,
            path=template.path.replace(f"/{template.kernel}/", f"/{release}/"),
            version=version,
            flavour=flavour or template.flavour,
            vermagic=f"{release} {template.vermagic.partition(' ')[2]}".strip(),
            modified=written,
        )
    deb = before.packages.manager == "dpkg"
    folder = "updates/dkms" if deb or before.packages.manager == "pacman" else "extra"
    name = "nvidia-current" if _is_debian(before) else "nvidia"
    path = f"/lib/modules/{release}/{folder}/{name}.ko"
    origin = "dkms" if folder == "updates/dkms" else "extra"
    return ModuleFile(release, path, origin, version, flavour, release, "", written)


def after_akmods(
    before: Before,
    transaction: Transaction,
    packages: Packages,
    kernels: InstalledKernels,
    files: list[ModuleFile],
    written: float,
) -> list[ModuleFile]:
    """akmods builds a module at the end of the transaction, or at the next boot: for a reboot that is the same."""
    akmod = next((package for package in packages.installed() if package.name.startswith("akmod-nvidia")), None)
    if akmod is None:
        return files
    anew = any(one.member.name == akmod.name and one.new for one in _all_moved(transaction))
    targets = _to_build(before, kernels, anew=anew)
    template = next((file for file in before.files.files if file.origin == "extra"), None)
    files = [file for file in files if not (file.kernel in targets and file.origin == "extra")]
    return files + [_module(template, release, akmod.upstream, "", written, before) for release in targets]
