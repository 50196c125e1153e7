"""Exchange a loaded module of the driver for the one on the disk, without a restart, where nothing would notice."""

from collections.abc import Iterator

from gpudoctor import Effort, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.processes import DeviceUsers, Holder
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.facts.versions import DriverVersions

from ._modules import exchange_uvm, uvm_is_free
from ._proofs import gone, loaded_version
from ._scope import by_hand_if_unsafe, own_driver

# The driver's own modules. Another that uses them (nvidia_fs, gdrdrv) has users that /dev/nvidia* does not show.
OWN = ("nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia_peermem", "nvidia")

# Services of the driver by the program that holds the GPU; the kernel cuts names to 15 characters.
SERVICES = {
    "nvidia-persiste": "nvidia-persistenced.service",
    "nvidia-powerd": "nvidia-powerd.service",
    "nv-fabricmanage": "nvidia-fabricmanager.service",
    "nv-hostengine": "nvidia-dcgm.service",
}


@fix("reload-driver", cures=["driver.library-mismatch"], effort=Effort.RELOAD)
@by_hand_if_unsafe
def reload_driver(
    confinement: Confinement,
    kernel: Kernel,
    versions: DriverVersions,
    modules: LoadedModules,
    users: DeviceUsers,
    gpus: PciGpus | Unavailable,
) -> Iterator[Step]:
    """Unload the driver's modules and load the ones from the disk, while nothing holds the GPU."""
    if not own_driver(confinement) or not kernel.running:
        return
    # The driver waits for a GPU that has fallen off the bus; unloading may then never end.
    if isinstance(gpus, PciGpus) and not all(gpu.readable for gpu in gpus.gpus):
        return
    order = unload_order(modules)
    if order is None or not versions.on_disk or versions.on_disk != versions.user_space or versions.only_after_restart:
        return
    services = services_of(users)
    # One process that cannot be looked into may be the display server.
    if services is None or users.unreadable:
        return
    back = order[::-1]
    yield from (_stop(holder, unit) for holder, unit in services)
    yield Step(
        Run(("modprobe", "-r", *order)),
        f"Nothing but the driver's own services holds the GPU, so the loaded module {versions.loaded} can be taken out "
        "in the order in which its parts use each other.",
        Phase.RELOAD,
        Risk.MEDIUM,
        verify=gone("/sys/module/nvidia"),
        undo=Run(("modprobe", "-a", *back)),
    )
    yield Step(
        # -a: without it the second word would be taken for a parameter of the first module.
        Run(("modprobe", "-a", *back)),
        f"Loads the module {versions.on_disk} from the disk, which fits the libraries.",
        Phase.RELOAD,
        Risk.MEDIUM,
        verify=loaded_version(versions.on_disk),
        undo=Run(("modprobe", "-r", *order)),
    )
    yield from (_start(unit) for _, unit in reversed(services))


@fix("reload-uvm", cures=["kernel.uvm-wedged"], effort=Effort.RELOAD)
@by_hand_if_unsafe
def reload_uvm(confinement: Confinement, kernel: Kernel, modules: LoadedModules, users: DeviceUsers) -> Iterator[Step]:
    """Unload the module that CUDA's memory goes through and load it anew, while no process uses it."""
    if own_driver(confinement) and kernel.running and uvm_is_free(modules, users):
        yield from exchange_uvm("Loaded anew it forgets what went wrong, mostly in a suspend and resume.")


def unload_order(modules: LoadedModules) -> tuple[str, ...] | None:
    """The driver's loaded modules, each before those that it uses; None if they cannot all be taken out."""
    left = [name for name in OWN if name in modules.users]
    if "nvidia" not in left:
        return None
    order: list[str] = []
    while left:
        free = [name for name in left if set(modules.users[name]) <= set(order)]
        if not free:
            return None  # a module that is not the driver's own uses it
        order.append(free[0])
        left.remove(free[0])
    return tuple(order)


def services_of(users: DeviceUsers) -> tuple[tuple[Holder, str], ...] | None:
    """The holders and their systemd units, if every holder is a service of the driver; None otherwise."""
    known = [(holder, SERVICES.get(holder.command.rpartition("/")[2][:15], "")) for holder in users.holders]
    return tuple(known) if all(unit for _, unit in known) else None


def _stop(holder: Holder, unit: str) -> Step:
    return Step(
        Run(("systemctl", "stop", unit)),
        f"{unit} holds the GPU (process {holder.process_id}); it is started again in the end.",
        Phase.RELOAD,
        Risk.MEDIUM,
        verify=gone(f"/proc/{holder.process_id}"),
        undo=Run(("systemctl", "start", unit)),
    )


def _start(unit: str) -> Step:
    return Step(
        Run(("systemctl", "start", unit)),
        f"{unit} was stopped for the exchange.",
        Phase.RELOAD,
        Risk.LOW,
        verify=Run(("systemctl", "is-active", "--quiet", unit)),
        undo=Run(("systemctl", "stop", unit)),
    )
