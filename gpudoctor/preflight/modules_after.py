"""The NVIDIA modules of this machine as a transaction leaves them: built here, or brought ready-made, or neither."""

from collections.abc import Iterable
from typing import NamedTuple

from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.installed_kernels import InstalledKernels
from gpudoctor.facts.kernels import ModuleFile, ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.preflight.modules_built_here import Before, after_akmods, after_dkms
from gpudoctor.preflight.modules_ready_made import after_arch, after_packaged, after_ubuntu
from gpudoctor.preflight.transaction import Transaction


class ModulesAfter(NamedTuple):
    files: ModuleFiles
    dkms: Dkms


def modules_after(
    before: Before, packages: Packages, kernels: InstalledKernels, transaction: Transaction, written: float
) -> ModulesAfter:
    """`packages`, `kernels`: as they will be. `written`: when the new modules come, seconds since the epoch.

    A build is taken to succeed where headers and DKMS are there, unless it failed on a kernel as new already: whether
    a driver compiles with a kernel that it has never met stands in no plan.
    """
    left = {kernel.release for kernel in kernels.kernels}
    if before.running and before.kernels.get(before.running.release) is None:
        left.add(before.running.release)  # its image was gone before; what is left of it stays
    files = [file for file in before.files.files if file.kernel in left]
    dkms, files = after_dkms(before, transaction, packages, kernels, files, written)
    files = after_akmods(before, transaction, packages, kernels, files, written)
    match transaction.manager:
        case "dpkg":
            files = after_ubuntu(transaction, packages, files, written)
        case "pacman":
            files = after_arch(transaction, packages, files, written)
        case "rpm":
            files = after_packaged(before, packages, kernels, files, written)
    return ModulesAfter(ModuleFiles(tuple(_in_order(files, before.files))), dkms)


# As facts.module_files has it: what modprobe takes first.
_ORIGINS = ("dkms", "updates", "extra", "weak-updates", "prebuilt")


def _in_order(files: Iterable[ModuleFile], before: ModuleFiles) -> list[ModuleFile]:
    """Those that stay in the order they had, each new one before what modprobe likes less on the same kernel."""
    files = tuple(files)
    found = [file for file in files if file in before.files]
    for file in files:
        if file not in before.files:
            behind = (n for n, other in enumerate(found) if other.kernel == file.kernel and _rank(other) > _rank(file))
            found.insert(next(behind, len(found)), file)
    return found


def _rank(file: ModuleFile) -> int:
    return _ORIGINS.index(file.origin) if file.origin in _ORIGINS else len(_ORIGINS)
