"""The driver gave a GPU up, and waits until somebody resets it or restarts the machine."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gpudoctor import Evidence, Finding, NotRunning, Severity, Unavailable, check, sure
from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.xids import RECOVERY, Xid, Xids

from ._gpus import named, nvml_by_address
from ._nvml_gpus import called, on_host, place
from ._return_codes import RESET_REQUIRED

# NVML's names of what the driver wants done, and the numbers that its line in the kernel's log has for them. To end
# peer traffic (3) and to recover an IMEX domain (5) are matters of the links.
_ACTIONS = {1: "gpu_reset", 2: "node_reboot", 4: "drain_and_reset", 6: "bus_reset", 7: "system_reboot"}
_REBOOTS = ("node_reboot", "system_reboot")


@check(
    "gpu.reset-required",
    after=[
        "driver.nvml-failed",
        "health.fallen-off-bus",
        "health.gsp-timeout",
        "health.ecc-uncorrectable",
        "health.nvlink-error",
        "health.other-xid",
    ],
    symptoms=[
        sure(r"GPU (\d+ )?requires (a )?(reset|restart)"),
        sure(r"NVML_ERROR_RESET_REQUIRED"),
        sure(r"NV_ERR_RESET_REQUIRED"),
        sure(r"Xid \(PCI:[0-9a-fA-F:.]+\): 154\b.* to 0x[12467]\b"),
        r"GPU recovery action changed from .* to 0x[12467]\b",
        r"GPU Recovery Action\s*: *(GPU )?(Reset|Reboot|Node Reboot|System Reboot|Drain and Reset|Bus Reset)",
        r"(Reset Required|Drain and Reset Recommended)\s*: *Yes",
        sure(r"Recovery action: \d+ \((GPU_RESET|DRAIN_AND_RESET|NODE_REBOOT|DRAIN_P2P)\)"),
        r"MIG mode is in pending (enable|disable) state",
    ],
)
def reset_required(
    nvml: Nvml | Unavailable, gpus: PciGpus | Unavailable, xids: Xids | Unavailable, confinement: Confinement
) -> Iterator[Finding]:
    """The driver says that a GPU must be reset, or the machine restarted, before it works again.

    What: After some faults (a memory error that spread, an engine or the firmware that hangs) the driver gives
    the GPU up and waits for a reset. It may still be listed, with all counters at zero, while every program that
    wants to compute on it is told that the device is busy or unavailable. The other GPUs go on.

    Proof: NVML's return code 16, its field "GPU Recovery Action", or the driver's last line with Xid 154 in the
    kernel's log. What NVML says now outranks a line of before.

    Repair: Stop what uses the GPU, and what watches it, then `sudo nvidia-smi -i N -r`; with NVSwitches stop the
    fabric manager and reset all GPUs at once. If it refuses, or the driver asks for it, restart the machine.

    Reference: https://docs.nvidia.com/deploy/xid-errors/ (Xid 154); nvml.h, nvmlDeviceGpuRecoveryAction_t
    """
    if isinstance(nvml, NotRunning):
        raise nvml
    bus = gpus if isinstance(gpus, PciGpus) else PciGpus(())
    answers = nvml_by_address(bus, nvml) if isinstance(nvml, Nvml) else {}
    waiting: dict[str, _Waiting] = {}
    if isinstance(nvml, Nvml):
        if nvml.return_code == RESET_REQUIRED:
            yield _must_be_reset(_Waiting("A GPU", "", (Evidence("nvmlInit", _code(nvml)),)), bus, confinement)
        for gpu in nvml.gpus:
            at = next((address for address, known in answers.items() if known is gpu), place(gpu))
            action = str(gpu.values.get("recovery_action"))
            told = [_code(gpu)] if gpu.return_code == RESET_REQUIRED else []
            told += [f"recovery action: {action.replace('_', ' ')}"] if action in _ACTIONS.values() else []
            if told:
                waiting[at] = _Waiting(
                    _name_of(at, gpu, bus), action, tuple(Evidence(f"NVML, GPU {gpu.number}", one) for one in told)
                )
    for at, xid in _reported(xids).items():
        known = answers.get(at)
        well = known is not None and known.return_code == 0
        # A GPU that says that there is nothing to do was reset since; older drivers do not tell.
        if well and known is not None and known.values.get("recovery_action") == "none":
            continue
        line = Evidence(xids.source if isinstance(xids, Xids) else "", xid.line)
        before = waiting.get(at)
        if before is None:
            action = _ACTIONS[_number(xid)]
            waiting[at] = _Waiting(_name_of(at, known, bus), action, (line,), Severity.WARNING if well else None)
        else:
            waiting[at] = before._replace(evidence=(*before.evidence, line))
    for at, one in waiting.items():
        yield _must_be_reset(one, bus, confinement, at)
    if not waiting and isinstance(nvml, Unavailable):
        raise nvml


class _Waiting(NamedTuple):
    """A GPU that the driver gave up."""

    name: str
    action: str  # what the driver wants done, as NVML names it
    evidence: tuple[Evidence, ...]
    severity: Severity | None = None


def _code(answer: Nvml | NvmlGpu) -> str:
    return f"{answer.return_code} {answer.return_name}"


def _name_of(at: str, gpu: NvmlGpu | None, bus: PciGpus) -> str:
    if gpu is not None and gpu.name:
        return called(gpu)
    known = next((named(one) for one in bus.gpus if one.address == at), "")
    return known or (at if at.startswith("GPU") else f"GPU {at}")


def _reported(xids: Xids | Unavailable) -> Mapping[str, Xid]:
    """By address, the driver's last word on what must be done, where that still stands: "GPU recovery action changed
    from 0x0 (None) to 0x1 (GPU Reset Required)". The words in parentheses differ between releases, the numbers do not.
    """
    found: dict[str, Xid] = {}
    for xid in xids.unsettled((RECOVERY,)) if isinstance(xids, Xids) else ():
        found.setdefault(xid.gpu, xid)  # the newest comes first
    return {at: xid for at, xid in found.items() if _number(xid) in _ACTIONS}


def _number(xid: Xid) -> int:
    number = xid.text.rpartition(" to 0x")[2][:1]
    return int(number) if number.isdecimal() else 0


def _must_be_reset(one: _Waiting, bus: PciGpus, confinement: Confinement, at: str = "") -> Finding:
    if one.action in _REBOOTS:
        summary = f"{one.name} works again only after a restart of the machine: so says the driver."
        remedy = "Save the work on all GPUs, then restart the machine; if it comes back, take the power off."
    else:
        summary = f"{one.name} must be reset before it works again: so says the driver."
        which = f" -i {at}" if at and not at.startswith("GPU") else ""
        remedy = f"Stop what uses it, then `sudo nvidia-smi{which} -r`; if that is refused, restart the machine."
        if bus.nvswitches:
            remedy = (
                "Stop what uses any GPU, and nvidia-fabricmanager, then `sudo nvidia-smi -r`, which resets all GPUs; "
                "if that is refused, restart the machine."
            )
    return Finding(summary, at, one.evidence[-4:], on_host(remedy, confinement.container), one.severity)
