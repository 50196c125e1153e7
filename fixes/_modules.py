"""Steps with the kernel modules that many fixes share: load, restart, write the initramfs anew."""

from collections.abc import Iterator, Sequence

from gpudoctor import Manual, Phase, Reboot, Risk, Run, Step, Unavailable, WriteFile
from gpudoctor.facts.dkms import Dkms, DkmsSource
from gpudoctor.facts.kernels import InstalledKernels, ModuleFile, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.system import Kernel, OperatingSystem

from ._proofs import gone, has_line, loaded, loaded_version, newer
from ._scope import file_path, kernel_release

NO_NOUVEAU = "/etc/modprobe.d/gpudoctor-nouveau.conf"
UVM = "/dev/nvidia-uvm"
RIVALS = ("nouveau", "nova_core", "nova_drm")
_PARTS = ("-uvm", "-drm", "-modeset", "-peermem")


def lacking(kernel: Kernel, kernels: InstalledKernels, files: ModuleFiles) -> tuple[str, ...]:
    """Of the running kernel and the one that boots next, those without an NVIDIA module. Raises UnsafeWord.

    A kernel whose own files an upgrade has removed is not among them: nothing can be built for it any more.
    """
    wanted = dict.fromkeys((kernel.release, kernels.next_boot))
    return tuple(
        kernel_release(release)
        for release in wanted
        if release and kernels.get(release) is not None and not files.of(release)
    )


def main_module(files: ModuleFiles, release: str) -> ModuleFile | None:
    """The file of nvidia.ko itself (Debian: nvidia-current.ko) that modprobe would load for a kernel."""
    return next((file for file in files.of(release) if not module_name(file).endswith(_PARTS)), None)


def module_name(file: ModuleFile) -> str:
    """ "nvidia-current" of ".../updates/dkms/nvidia-current.ko.xz"."""
    return file.path.rpartition("/")[2].partition(".ko")[0].replace("_", "-")


def name_to_be(files: ModuleFiles, dkms: Dkms) -> str:
    """The name that the module will have: the one it has for other kernels, else the one of its DKMS source.

    Debian's packages name the file after the source (nvidia-current, nvidia-tesla-470), all others "nvidia".
    """
    known = {module_name(file) for file in files.files if not module_name(file).endswith(_PARTS)}
    for source in dkms.sources:
        if source.module in known or source.module.startswith(("nvidia-current", "nvidia-tesla", "nvidia-legacy")):
            return source.module
    return next(iter(sorted(known)), "nvidia")


def source_to_build(dkms: Dkms, version: str) -> DkmsSource | None:
    """The DKMS source of this driver version, else any whose files are there."""
    able = [source for source in dkms.sources if source.source_present]
    return next((source for source in able if source.version == version), next(iter(able), None))


def load(
    kernel: Kernel, driver: LoadedDriver | Unavailable, modules: LoadedModules | Unavailable, version: str = ""
) -> Iterator[Step]:
    """Load the driver now, or restart where another driver is in its place; nothing on a mounted disk.

    `version`: of the module on the disk, where that is known; a driver of this version that is loaded goes on.
    """
    if not kernel.running:
        return
    if isinstance(driver, LoadedDriver) and driver.loaded:
        if driver.version == version:
            return
        yield restart("Another version of the driver is loaded; the new one takes its place at the next start.")
    elif isinstance(modules, LoadedModules) and any(rival in modules.users for rival in RIVALS):
        yield restart("nouveau holds the GPU now; after a restart the NVIDIA module takes it.")
    else:
        yield Step(
            # -a: without it the second word would be taken for a parameter of the first module.
            Run(("modprobe", "-a", "nvidia", "nvidia_uvm")),
            "The module is there now and can be loaded; no restart is needed.",
            Phase.RELOAD,
            Risk.LOW,
            verify=loaded_version(""),
            undo=Run(("modprobe", "-r", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia")),
        )


def restart(why: str, version: str = "", risk: Risk = Risk.MEDIUM) -> Step:
    """Restart the machine. `version`: of the driver that is to be loaded afterwards, "" any."""
    return Step(Reboot(), why, Phase.REBOOT, risk, verify=loaded_version(version))


def after_package_change(kernel: Kernel, driver: LoadedDriver | Unavailable, version: str = "") -> Iterator[Step]:
    """What brings a changed driver into use: a restart where an old one is loaded; nothing on a mounted disk."""
    if kernel.running and isinstance(driver, LoadedDriver) and driver.loaded:
        yield restart("The old module stays in memory until the machine is restarted.", version)


def uvm_is_free(modules: LoadedModules | Unavailable, users: DeviceUsers | Unavailable) -> bool:
    """Is nvidia_uvm loaded, and does certainly nothing use it?"""
    if isinstance(modules, Unavailable) or isinstance(users, Unavailable) or users.unreadable:
        return False
    busy = any(UVM in device for holder in users.holders for device in holder.devices)
    return modules.users.get("nvidia_uvm") == () and not busy


def exchange_uvm(why: str) -> Iterator[Step]:
    """Take nvidia_uvm out and load it anew; `why`: what is different afterwards. Only where it is free."""
    out, back = ("modprobe", "-r", "nvidia_uvm"), ("modprobe", "nvidia_uvm")
    reason = f"No process has {UVM} open, so the module can be taken out; the display is not touched."
    yield Step(Run(out), reason, Phase.RELOAD, Risk.LOW, verify=gone("/sys/module/nvidia_uvm"), undo=Run(back))
    yield Step(Run(back), why, Phase.RELOAD, Risk.LOW, verify=loaded("nvidia_uvm"), undo=Run(out))


def forbid(names: Sequence[str], why: str) -> Step:
    """Keep these modules from taking the GPU before NVIDIA's does."""
    lines = [f"blacklist {name}" for name in names]
    lines += ["options nouveau modeset=0"] if "nouveau" in names else []
    return Step(
        WriteFile(NO_NOUVEAU, "".join(f"{line}\n" for line in lines)),
        why,
        Phase.CONFIGURE,
        Risk.MEDIUM,
        verify=has_line(NO_NOUVEAU, lines[0]),
    )


def refresh_initramfs(
    release: str, system: OperatingSystem, kernels: InstalledKernels, file: ModuleFile | None
) -> Step:
    """Write a kernel's initramfs anew, so that no old module or setting in it is used at boot. Raises UnsafeWord."""
    match system.family:
        case "debian":
            argv: tuple[str, ...] = ("update-initramfs", "-u", "-k", kernel_release(release))
        case "arch":
            argv = ("mkinitcpio", "-P")
        case "fedora" | "suse":
            argv = ("dracut", "--force", "--kver", kernel_release(release))
        case _:
            return Step(
                Manual(f"Write the initramfs of kernel {release} anew, with your distribution's tool for it."),
                "The initramfs may hold an old module or setting, and how it is made here is not known.",
                Phase.REBUILD,
            )
    installed = kernels.get(release)
    written = newer(installed.initramfs, file.path) if installed and installed.initramfs and file else None
    if installed and installed.initramfs and written is None:
        written = Run(("test", "-s", file_path(installed.initramfs)))
    return Step(
        Run(argv),
        f"The initramfs of kernel {release} is written anew, for what lies in it is used before the disk is read."
        + ("" if written else " Its exit status is the proof."),
        Phase.REBUILD,
        Risk.MEDIUM,
        verify=written,
        undo=Run(argv),
    )
