"""Settings that keep the NVIDIA module out, or let another driver in."""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.modprobe import ModprobeConfig
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem

from ._modules import RIVALS, forbid, load, refresh_initramfs, restart
from ._proofs import has_line
from ._scope import by_hand_if_unsafe, kernel_release, own_driver

_COMMAND_LINES = {
    "debian": "GRUB_CMDLINE_LINUX in /etc/default/grub, then `update-grub`",
    "fedora": "`grubby --update-kernel=ALL --remove-args=...`",
    "suse": "GRUB_CMDLINE_LINUX in /etc/default/grub, then `grub2-mkconfig -o /boot/grub2/grub.cfg`",
    "arch": "GRUB_CMDLINE_LINUX in /etc/default/grub, then `grub-mkconfig -o /boot/grub/grub.cfg`",
}


@fix("load-module", cures=["kernel.module-not-loaded"], effort=Effort.RELOAD)
@by_hand_if_unsafe
def load_module(
    confinement: Confinement,
    kernel: Kernel,
    files: ModuleFiles,
    driver: LoadedDriver,
    modules: LoadedModules | Unavailable,
) -> Iterator[Step]:
    """Load the NVIDIA module that lies ready on the disk."""
    ready = files.of(kernel.release)
    if own_driver(confinement) and ready and not driver.loaded and not files.only_after_restart(ready[0]):
        yield from load(kernel, driver, modules)


@fix("restore-nouveau-blacklist", cures=["kernel.nouveau-bound"], effort=Effort.INITRAMFS)
@by_hand_if_unsafe
def restore_nouveau_blacklist(
    confinement: Confinement,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    gpus: PciGpus,
    config: ModprobeConfig | Unavailable,
) -> Iterator[Step]:
    """Forbid nouveau again, so that at the next start the NVIDIA module gets the GPU."""
    release = kernels.next_boot or kernel.release
    rivals = dict.fromkeys(gpu.driver for gpu in gpus.gpus if gpu.driver in (*RIVALS, "nova"))
    # Without a module of NVIDIA's the machine would have no display driver at all.
    if not own_driver(confinement) or not rivals or not files.of(release):
        return
    names = [name for rival in rivals for name in (("nova_core", "nova_drm") if rival != "nouveau" else (rival,))]
    allowed = [name for name in names if not (isinstance(config, ModprobeConfig) and config.blacklisting(name))]
    if allowed:
        yield forbid(names, f"Nothing keeps {' and '.join(allowed)} from taking the GPU first.")
    yield refresh_initramfs(release, system, kernels, None)
    if kernel.running:
        yield restart(
            f"{' and '.join(rivals)} holds the GPU and shows the screen; only a restart takes it away safely.",
            risk=Risk.HIGH,
        )


@fix("allow-module", cures=["kernel.module-blacklisted"], effort=Effort.INITRAMFS)
@by_hand_if_unsafe
def allow_module(
    confinement: Confinement,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    config: ModprobeConfig,
) -> Iterator[Step]:
    """Let the NVIDIA module be loaded again: undo what forbids it."""
    if not own_driver(confinement):
        return
    if config.prime == "off":
        yield Step(
            Run(("prime-select", "on-demand")),
            "The NVIDIA GPU was switched off with prime-select; on demand the other GPU keeps showing the screen.",
            Phase.CONFIGURE,
            Risk.MEDIUM,
            verify=has_line("/etc/prime-discrete", "on-demand"),
            undo=Run(("prime-select", "intel")),
        )
        if kernel.running:
            yield restart("The setting counts from the next start on.")
        return
    release = kernel_release(kernels.next_boot or kernel.release)
    for line in config.blacklisting("nvidia"):
        if line.path == "/proc/cmdline":
            way = _COMMAND_LINES.get(system.family, "in the boot loader's settings")
            how = f"take `{line.words}` out of the kernel's command line ({way})"
        else:
            shown = refresh_initramfs(release, system, kernels, None).action
            how = (
                f"take `{line.words}` out of {line.path} (dpkg -S, rpm -qf, pacman -Qo name its package), then: {shown}"
            )
        yield Step(
            Manual(f"Find out who forbade the module and why, {how}; and restart."),
            "Somebody, or a package, has forbidden the module on purpose, and only its owner knows whether that still "
            "holds.",
            Phase.CONFIGURE,
            Risk.MEDIUM,
        )


@fix("explain-other-driver", cures=["kernel.other-driver-bound"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def explain_other_driver(confinement: Confinement, gpus: PciGpus) -> Iterator[Step]:
    """Decide whether the GPU is meant for virtual machines or for this system."""
    if not own_driver(confinement):
        return
    for gpu in gpus.gpus:
        if gpu.driver not in ("", "nvidia", "nouveau"):
            yield Step(
                Manual(
                    f"If {gpu.label} ({gpu.address}) is meant for a virtual machine, all is well. If not: take its id "
                    f"(10de:{gpu.device_id}) out of the options of {gpu.driver} in modprobe.d and on the kernel's "
                    "command line, write the initramfs anew, and restart."
                ),
                f"{gpu.driver} holds the GPU, mostly on purpose; nobody but its owner can tell.",
                Phase.AFTERWARDS,
            )
