"""Restart the machine, where everything for it is in place and only the old state in memory is wrong."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Step, Unavailable, fix
from gpudoctor.facts.answers import Cuda
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.reboot import RebootRequired
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._modules import main_module, restart
from ._scope import by_hand_if_unsafe, file_path, own_driver
from .remove_kernel import removable

# Not initialised fabric, libraries that do not fit the driver, forward compatibility: a restart changes none of them.
NOT_BY_RESTART = (802, 803, 804)


@fix("reboot", cures=["driver.library-mismatch", "packages.reboot-required"], effort=Effort.REBOOT)
@by_hand_if_unsafe
def reboot(
    confinement: Confinement,
    kernel: Kernel,
    kernels: InstalledKernels | Unavailable,
    files: ModuleFiles,
    versions: DriverVersions,
    required: RebootRequired | Unavailable,
    findings: Findings,
) -> Iterator[Step]:
    """Restart, so that the driver that is installed is also the one in memory."""
    if not own_driver(confinement) or not kernel.running:
        return
    release = _next(kernel, kernels)
    ready = main_module(files, release)
    if "driver.library-mismatch" in {id for id, _ in findings.items} and versions.loaded:
        why = f"The module in memory is {versions.loaded}, libraries and module on the disk are {versions.user_space}."
    elif isinstance(required, RebootRequired) and required.packages:
        why = f"These packages ask for a restart: {', '.join(required.packages[:6])}."
    else:
        why = "The system itself asks for a restart."
    if not versions.user_space or (ready and ready.version in ("", versions.user_space)):
        yield restart(why, ready.version if ready and versions.user_space else "")
    else:
        # Unless another repair sees to that kernel first, this restart would take the GPU away.
        state = f"has the module {ready.version}" if ready else "has no NVIDIA module"
        yield restart(f"{why} But kernel {release} boots next and {state}: see to that first.", "", Risk.HIGH)


@fix("boot-kernel-with-module", cures=["kernel.module-missing", "kernel.module-stale"], effort=Effort.REBOOT)
@by_hand_if_unsafe
def boot_kernel_with_module(
    confinement: Confinement,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    versions: DriverVersions,
) -> Iterator[Step]:
    """Restart into the kernel that boots next: it has the module that the running one lacks."""
    if not own_driver(confinement) or not kernel.running or kernels.next_boot in ("", kernel.release):
        return
    ready = main_module(files, kernels.next_boot)
    if ready and not files.of(kernel.release) and versions.user_space in ("", ready.version):
        yield restart(
            f"Kernel {kernels.next_boot} boots next ({kernels.next_boot_source}) and has the NVIDIA module "
            f"{ready.version}; the running {kernel.release} has none.",
            ready.version,
        )


@fix("boot-new-generation", cures=["kernel.module-not-loaded"], effort=Effort.REBOOT)
@by_hand_if_unsafe
def boot_new_generation(confinement: Confinement, kernel: Kernel, files: ModuleFiles) -> Iterator[Step]:
    """Restart into the generation of NixOS that has the module: modprobe does not look there before."""
    ready = main_module(files, kernel.release)
    if own_driver(confinement) and kernel.running and ready and files.only_after_restart(ready):
        yield restart(
            f"The module {ready.version} came with a generation of this system that was not booted yet.", ready.version
        )


@fix(
    "restart-anew",
    cures=["kernel.uvm-wedged", "driver.nvml-failed", "driver.cuda-init-failed", "driver.gpu-missing-in-nvml"],
    effort=Effort.REBOOT,
)
@by_hand_if_unsafe
def restart_anew(
    confinement: Confinement,
    kernel: Kernel,
    kernels: InstalledKernels | Unavailable,
    files: ModuleFiles,
    cuda: Cuda | Unavailable,
    gpus: PciGpus | Unavailable,
    findings: Findings,
) -> Iterator[Step]:
    """Restart, for a driver that fails though everything about it is in order."""
    if not own_driver(confinement) or not kernel.running or not files.of(_next(kernel, kernels)):
        return
    only_cuda = {id for id, _ in findings.items} == {"driver.cuda-init-failed"}
    if only_cuda and isinstance(cuda, Cuda) and (cuda.return_code is None or cuda.return_code in NOT_BY_RESTART):
        return
    unheld = {gpu.address for gpu in gpus.gpus if not gpu.driver} if isinstance(gpus, PciGpus) else set()
    released = [
        found.subject for id, found in findings.items if id == "driver.gpu-missing-in-nvml" and found.subject in unheld
    ]
    if released:
        names = " and ".join(released)
        yield Step(
            Manual(f"If {names} was taken away on purpose (`nvidia-smi drain`), stop here: a restart brings it back."),
            "No driver has this GPU: it could not start it, or was told to let it go, which looks the same.",
            Phase.STOP,
            root=False,
        )
    yield Step(
        Manual("Keep the kernel's log (dmesg) of this failure: after the restart it is gone."),
        "If the failure comes back, the lines with NVRM and Xid tell why.",
        Phase.STOP,
        root=False,
    )
    if len(released) == len(findings.items):
        yield restart("The driver serves other GPUs here, so it is installed rightly; a restart starts all anew.")
    else:
        yield restart("No file or setting explains this failure; what is wrong is the state in memory.")


@fix(
    "boot-previous-kernel",
    cures=["kernel.driver-too-old-for-kernel", "kernel.module-build-failed"],
    effort=Effort.REBOOT,
)
@by_hand_if_unsafe
def boot_previous_kernel(
    confinement: Confinement,
    manager: PackageManager | Unavailable,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    packages: Packages | Unavailable,
    versions: DriverVersions,
    findings: Findings,
) -> Iterator[Step]:
    """Boot an older kernel for which the driver's module is there."""
    too_old = {id for id, _ in findings.items} == {"kernel.driver-too-old-for-kernel"}
    if not own_driver(confinement) or (too_old and removable(manager, kernel, kernels, files, packages)):
        return  # where the running kernel is the good one, remove-kernel-too-new does more
    able = [
        candidate
        for candidate in kernels.kernels
        if any(versions.user_space in ("", file.version) for file in files.of(candidate.release)[:1])
    ]
    if not able:
        return
    good = next((one for one in able if one.release == kernel.release), able[0])
    if system.family == "fedora" and good.image:
        how = f"`grubby --set-default {file_path(good.image)}`"
    else:
        how = "with GRUB_DEFAULT=saved, `grub-reboot` (once) or `grub-set-default`, and the title of its menu entry"
    newest = kernels.get(kernels.next_boot)
    broken = newest is not None and newest is not good and not newest.initramfs
    warning = f" Do not boot {kernels.next_boot}: it has no initramfs." if broken else ""
    yield Step(
        Manual(f"Boot kernel {good.release}: choose it in the boot menu (advanced options), or {how}.{warning}"),
        f"The driver's module is there for {good.release}, and cannot be compiled for the newer kernel; the names of "
        "boot entries differ from machine to machine, so a person chooses.",
        Phase.AFTERWARDS,
        Risk.HIGH,
    )


def _next(kernel: Kernel, kernels: InstalledKernels | Unavailable) -> str:
    """The kernel that a restart brings up, as far as that can be told."""
    return (kernels.next_boot if isinstance(kernels, InstalledKernels) else "") or kernel.release
