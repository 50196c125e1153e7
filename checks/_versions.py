"""Reads the four driver versions together: which one is behind, and so whether a reboot or a rebuild is the cure.

kernel.module-stale and driver.library-mismatch both decide by `verdict_on`, so they never claim the same machine.
"""

import enum

from gpudoctor import Unavailable
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.system import Boot, Kernel
from gpudoctor.facts.versions import DriverVersions

# Logs write local time without a zone; when another machine reads them, they may be off by as much.
CLOCK_DOUBT = 14 * 3600.0


class Verdict(enum.Enum):
    FINE = "the loaded module (on a disk: the one that will be loaded) and user space are of one version"
    RELOAD_PENDING = "what the next boot loads fits user space, the loaded module does not yet: reload it, or reboot"
    STALE_MODULE = "what is on the disk would bring the mismatch back after a reboot: rebuild, or remove the old copy"
    NOT_LOADED = "a module for this kernel is on the disk and is not loaded: loading it failed, or was not tried"
    MISSING = "no module for this kernel, neither loaded nor on the disk: it has to be built or installed"
    UNKNOWN = "there is no user space to compare with, or a module that does not tell its version"


def verdict(
    versions: DriverVersions, boot_time: float | None, upgrade_time: float | None, *, running: bool = True
) -> Verdict:
    """One row of the table of versions.

    `boot_time` and `upgrade_time`: seconds since the epoch, None if unknown; the upgrade is the one that brought
    today's user space and module. `running`: False on a disk, where nothing can be loaded.
    """
    loaded, on_disk, user_space = versions.loaded, versions.on_disk, versions.user_space
    if not loaded:
        if not versions.on_disk_path:
            return Verdict.MISSING
        if running:
            return Verdict.NOT_LOADED
        loaded = on_disk
    if not user_space or not loaded:
        return Verdict.UNKNOWN
    if loaded == user_space:
        return Verdict.FINE
    if running and versions.next_boot == user_space:
        return Verdict.RELOAD_PENDING  # another kernel boots next, and its module fits
    if not versions.on_disk_path or on_disk not in (user_space, ""):
        return Verdict.STALE_MODULE
    booted_since = boot_time is not None and upgrade_time is not None and upgrade_time < boot_time
    # The new module was there at boot and an older one was loaded: there is another copy, mostly in the initramfs.
    return Verdict.STALE_MODULE if booted_since else Verdict.RELOAD_PENDING


def upgrade_time(
    kernel: Kernel, versions: DriverVersions, files: ModuleFiles, history: PackageHistory | Unavailable
) -> float | None:
    """When today's driver came, as late as the traces allow; None if nothing tells.

    A module that was built here bears the true time. Files out of a package bear the time when the package was made,
    so for them only the package manager's log tells.
    """
    for file in files.of(kernel.release)[:1]:
        if file.origin == "dkms" and file.modified:
            return file.modified
    if isinstance(history, Unavailable) or not versions.user_space:
        return None
    times = [event.time + CLOCK_DOUBT for event in history.events if versions.user_space in event.new]
    return max(times, default=None)


def verdict_on(
    kernel: Kernel,
    versions: DriverVersions,
    files: ModuleFiles,
    boot: Boot | Unavailable,
    history: PackageHistory | Unavailable,
) -> Verdict:
    """The verdict on a machine from its facts; not for containers, whose module files are the host's."""
    if "/compat" in versions.user_space_path:
        # CUDA's forward compatibility package puts a newer libcuda beside an older driver on purpose.
        versions = versions._replace(user_space="")
    boot_time = boot.time if isinstance(boot, Boot) else None
    return verdict(versions, boot_time, upgrade_time(kernel, versions, files, history), running=kernel.running)
