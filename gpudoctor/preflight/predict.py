"""Facts of this machine as a transaction leaves them: only those that it changes, from what the plan says."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.answers import DriverAnswers
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_packages import as_driver_package, brings_libraries
from gpudoctor.facts.driver_search import Libcuda, LibcudaSearch
from gpudoctor.facts.firmware import GspFirmware
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries, DriverLibrary
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.storage import FreeSpace
from gpudoctor.facts.system import Boot, Kernel, OperatingSystem
from gpudoctor.host import NotRunning, Unavailable, quietly
from gpudoctor.preflight.kernels_after import kernels_after
from gpudoctor.preflight.modules_after import modules_after
from gpudoctor.preflight.modules_built_here import Before
from gpudoctor.preflight.packages_after import events_of, packages_after
from gpudoctor.preflight.transaction import Change, Transaction
from gpudoctor.registry import Facts


class _Step(NamedTuple):
    """A driver version that a package leaves for another."""

    name: str
    old: str  # "" the package is new
    new: str  # "" it goes


def predict(facts: Facts, transaction: Transaction) -> Mapping[type, object]:
    """What is laid over the facts, by type: a fact, or the reason why it cannot be had then.

    `transaction`: as `on_this_machine` gives it. Raises Unavailable if the packages cannot be read.
    """
    packages = facts.get(Packages)
    boot, history = facts.get_or_reason(Boot), facts.get_or_reason(PackageHistory)
    kernel, system = facts.get_or_reason(Kernel), facts.get_or_reason(OperatingSystem)
    running = kernel if isinstance(kernel, Kernel) else None
    known = history.events if isinstance(history, PackageHistory) else ()
    # Later than this boot and than all that was done so far; what the clock will show matters to no check.
    written = 1.0 + max([event.time for event in known[-1:]] + ([boot.time] if isinstance(boot, Boot) else [0.0]))
    after = packages_after(packages, transaction)
    kernels, files = facts.get_or_reason(InstalledKernels), facts.get_or_reason(ModuleFiles)
    dkms = facts.get_or_reason(Dkms)
    laid: dict[type, object] = {
        Packages: after,
        PackageHistory: PackageHistory((*known, *events_of(transaction, written))),
        Kernel: kernel,
        InstalledKernels: kernels,
        ModuleFiles: files,
        Dkms: dkms,
    }
    if isinstance(kernels, InstalledKernels):
        coming = kernels_after(kernels, running, transaction, written)
        laid |= {InstalledKernels: coming, **_room(facts, kernels, coming)}
        if isinstance(files, ModuleFiles) and isinstance(dkms, Dkms):
            known_system = system if isinstance(system, OperatingSystem) else None
            before = Before(packages, kernels, files, dkms, running, known_system)
            laid |= {type(fact): fact for fact in modules_after(before, after, coming, transaction, written)}
    steps = tuple(step for change in transaction.changes if (step := _step(change, transaction.manager)))
    libraries = [step for step in steps if brings_libraries(step.name) or "ptxjitcompiler" in step.name]
    laid |= _libraries(facts, libraries, transaction.manager, written)
    laid |= _firmware(facts, steps, transaction.manager)
    if libraries:
        # What the driver answers today says nothing of the libraries that come.
        laid[DriverAnswers] = NotRunning("the driver can only be asked once the upgrade is done")
        # Who computes on the GPU told which Python environments there are: an upgrade changes neither.
        laid[DeviceUsers] = facts.get_or_reason(DeviceUsers)
    return laid


def _room(facts: Facts, before: InstalledKernels, after: InstalledKernels) -> dict[type, object]:
    """/boot with the new kernels on it: each takes about what the newest of today takes."""
    known = {kernel.release for kernel in before.kernels}
    new = sum(kernel.release not in known for kernel in after.kernels)
    space = facts.get_or_reason(FreeSpace)
    if isinstance(space, Unavailable) or "/boot" not in space.free or not new or not before.kernels:
        return {}
    newest = before.kernels[0]
    found = (quietly(facts.host.status, path) for path in (newest.image, newest.initramfs) if path)
    taken = new * sum(status.size for status in found if status)
    here = space.free["/boot"]  # folders on one file system have the same number
    return {
        FreeSpace: FreeSpace(
            {path: max(0, free - taken) if free == here else free for path, free in space.free.items()}
        )
    }


def _step(change: Change, manager: str) -> _Step | None:
    old, new = (
        Package(change.name, version, change.architecture, "installed", False, "").upstream if version else ""
        for version in (change.old, change.new)
    )
    package = Package(change.name, change.new or change.old, change.architecture, "installed", False, "")
    if old == new or (as_driver_package(package, manager) is None and "firmware" not in change.name):
        return None
    return _Step(change.name, old, new)


def _libraries(facts: Facts, steps: list[_Step], manager: str, written: float) -> dict[type, object]:
    if not steps:
        return {}
    laid: dict[type, object] = {}
    found = facts.get_or_reason(DriverLibraries)
    if isinstance(found, DriverLibraries):
        laid[DriverLibraries] = _libraries_after(found, steps, manager, written)
    search = facts.get_or_reason(LibcudaSearch)
    if isinstance(search, LibcudaSearch):
        taken, by_name = (_libcuda_after(one, steps) for one in search[:2])
        laid[LibcudaSearch] = LibcudaSearch(taken, by_name, search.compat)
    return laid


def _libraries_after(found: DriverLibraries, steps: list[_Step], manager: str, written: float) -> DriverLibraries:
    after = []
    for library in found.libraries:
        step = next(
            (step for step in steps if step.old == library.version and _brings(step.name, library.soname)), None
        )
        new = next((other.new for other in steps if other.new and _brings(other.name, library.soname)), "")
        if step is None or not library.version:
            after.append(library)
        elif step.new or new:
            version = step.new or new
            path = library.real_path.replace(library.version, version)
            after.append(library._replace(real_path=path, version=version, modified=written))
    for step in steps:
        for soname in ("libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1"):
            if step.new and _brings(step.name, soname) and not any(library.soname == soname for library in after):
                folder = (
                    "/usr/lib/x86_64-linux-gnu"
                    if manager == "dpkg"
                    else "/usr/lib64"
                    if manager == "rpm"
                    else "/usr/lib"
                )
                path = f"{folder}/{soname.removesuffix('.1')}.{step.new}"
                after.append(DriverLibrary(soname, f"{folder}/{soname}", path, step.new, folder, written))
    return DriverLibraries(tuple(after))


def _brings(name: str, soname: str) -> bool:
    """Debian packs each library apart; the others have them together."""
    for mark, own in (
        ("cuda1", "libcuda.so.1"),
        ("-ml1", "libnvidia-ml.so.1"),
        ("ptxjit", "libnvidia-ptxjitcompiler.so.1"),
    ):
        if mark in name:
            return soname == own
    return True


def _libcuda_after(taken: Libcuda | None, steps: list[_Step]) -> Libcuda | None:
    if taken is None or not taken.version:
        return taken
    step = next((step for step in steps if step.old == taken.version and _brings(step.name, "libcuda.so.1")), None)
    if step is None:
        return taken
    new = step.new or next((other.new for other in steps if other.new and _brings(other.name, "libcuda.so.1")), "")
    if not new:
        return None
    return taken._replace(version=new, real_path=taken.real_path.replace(taken.version, new))


def _firmware(facts: Facts, steps: tuple[_Step, ...], manager: str) -> dict[type, object]:
    found = facts.get_or_reason(GspFirmware)
    # With rpm and pacman the firmware lies in packages that no name tells; they move on as one.
    own = [step for step in steps if "firmware" in step.name or manager != "dpkg"]
    if isinstance(found, Unavailable) or not own:
        return {}
    files = dict(found.files)
    for step in own:
        names = files.pop(step.old, None) or next(iter(files.values()), ())
        if step.new:
            files[step.new] = files.get(step.new) or names or ("gsp_ga10x.bin", "gsp_tu10x.bin")
    return {GspFirmware: GspFirmware(files)}
