"""What only hands can do: power, seat, firmware settings; and what belongs to somebody else's machine."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Step, Unavailable, fix
from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.system import Confinement

from ._scope import by_hand_if_unsafe, own_driver


@fix("look-for-gpu", cures=["pci.no-gpu", "gpu.count-unexpected"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def look_for_gpu(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Look after a GPU that the machine does not see."""
    # A Jetson's GPU is a part of its chip, and has no seat.
    if own_driver(confinement) and all(finding.subject != "nvgpu" for _, finding in findings.items):
        yield _by_hand(
            "If a GPU is meant to be here: power the machine off and look at the GPU's seat, power cables, riser and "
            "slot, and at the slot's setting in the firmware. In a virtual machine: look whether a GPU is assigned.",
            "A GPU that the bus does not show cannot be reached by any driver.",
        )


@fix("power-cycle", cures=["health.fallen-off-bus", "driver.rm-init-failed"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def power_cycle(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Take the power away from the GPU, and look why it stopped answering."""
    if not own_driver(confinement):
        return
    subjects = ", ".join(dict.fromkeys(finding.subject for _, finding in findings.items if finding.subject))
    yield _by_hand(
        f"{subjects or 'The GPU'}: stop the jobs, shut down, take the power off for half a minute, and start again; "
        "a warm restart is often not enough. If it comes back, look at power cables and supply, temperature, seat and "
        "riser, then at the firmware of board and GPU; keep the kernel's log for the vendor.",
        "The GPU's own state is lost, and software cannot restore it.",
    )


@fix("set-firmware-bars", cures=["pci.bar-unassigned"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def set_firmware_bars(confinement: Confinement) -> Iterator[Step]:
    """Let the firmware give the GPU its address space."""
    if own_driver(confinement):
        yield _by_hand(
            "In the firmware's setup switch on Above 4G Decoding (and Resizable BAR), switch off CSM, and update the "
            "firmware if that is not enough. Only then try pci=realloc on the kernel's command line. In a virtual "
            "machine: give it a larger 64-bit PCI window.",
            "The GPU's memory window did not fit into the addresses that the firmware handed out.",
        )


@fix("reset-gpu", cures=["driver.gpu-missing-in-nvml"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def reset_gpu(confinement: Confinement, gpus: PciGpus, nvml: Nvml, users: DeviceUsers | Unavailable) -> Iterator[Step]:
    """Reset the GPU that answers with an error."""
    sick = [gpu for gpu in nvml.gpus if gpu.return_code]
    if not own_driver(confinement) or not sick:
        return
    holders = users.holders if isinstance(users, DeviceUsers) else ()
    names = ", ".join(f"{holder.command} ({holder.process_id})" for holder in holders[:6])
    stop = f"Stop what uses it ({names}). " if names else ""
    links = " On this machine with NVSwitches all GPUs are reset together, without -i." if gpus.nvswitches else ""
    yield _by_hand(
        f"{stop}Run `nvidia-smi -i {sick[0].pci_address or sick[0].index} -r`.{links} If that is refused, restart; if "
        "the error comes back, take the power off.",
        f"This GPU answers with {sick[0].return_name}, and a reset ends every job on it.",
    )


@fix("restart-processes", cures=["driver.deleted-libraries-in-use"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def restart_processes(confinement: Confinement, users: DeviceUsers) -> Iterator[Step]:
    """Restart the programs that run on libraries which an upgrade has replaced."""
    if not own_driver(confinement) or not users.stale:
        return
    shown = ", ".join(f"{process.command} ({process.process_id})" for process in users.stale[:10])
    more = f" and {len(users.stale) - 10} more" if len(users.stale) > 10 else ""
    yield _by_hand(
        f"Restart these when their work allows it: {shown}{more}.",
        "They still run on the old driver's libraries; what they start anew gets the new ones, and the two differ.",
        Risk.LOW,
    )


@fix(
    "repair-the-host",
    cures=[
        "driver.library-mismatch",
        "driver.library-missing",
        "driver.nvml-failed",
        "driver.cuda-init-failed",
        "driver.gpu-missing-in-nvml",
        "devices.nodes-missing",
        "devices.uvm-node-missing",
        "devices.permission-denied",
        "kernel.uvm-not-loaded",
        "kernel.uvm-wedged",
        "pci.no-gpu",
        "gpu.count-unexpected",
        "gpu.reset-required",
        "gpu.mig-no-instances",
        "gpu.compute-mode-exclusive",
        "gpu.mps-stale",
        "health.fallen-off-bus",
        "fabric.manager-not-ready",
        "fabric.nvlink5-modules-missing",
        "pci.link-degraded",
        "pci.p2p-blocked",
    ],
    effort=Effort.EXPLAIN,
)
@by_hand_if_unsafe
def repair_the_host(confinement: Confinement) -> Iterator[Step]:
    """Do the repair on the host, to which the driver belongs."""
    if confinement.wsl:
        yield _by_hand(
            "Update the NVIDIA driver of Windows, run `wsl --update`, then `wsl --shutdown`. Install no Linux driver "
            "in WSL.",
            "In WSL the driver is the one of Windows.",
            Risk.LOW,
        )
    elif confinement.container:
        yield _by_hand(
            f"Run gpudoctor on the host of this {confinement.container} container and repair it there; then start the "
            "container anew with its GPUs (`--gpus all`, `--device nvidia.com/gpu=all`, or a limit on nvidia.com/gpu). "
            "Install no driver in the container's image.",
            "A container uses the host's kernel module, and its driver libraries are handed in from the host.",
            Risk.LOW,
        )


def _by_hand(instruction: str, why: str, risk: Risk = Risk.MEDIUM) -> Step:
    return Step(Manual(instruction), why, Phase.AFTERWARDS, risk, root=False)
