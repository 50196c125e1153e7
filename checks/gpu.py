"""States of a GPU that only its administrator changes: it waits for a reset, is cut into no instances, forgets."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gpudoctor import (
    Evidence,
    Finding,
    NotApplicable,
    NotRunning,
    Severity,
    Unavailable,
    Undecided,
    check,
    hint,
    likely,
    sure,
)
from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.persistence import PersistenceDaemon
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.xids import RECOVERY, Xid, Xids

from ._gpus import named, nvml_by_address
from ._nvml_gpus import answering, called, on_host, place, processes_on
from ._return_codes import RESET_REQUIRED
from ._scope import own_driver

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
        sure(r"GPU requires reset"),
        sure(r"NVML_ERROR_RESET_REQUIRED"),
        sure(r"NV_ERR_RESET_REQUIRED"),
        sure(r"Xid \(PCI:[0-9a-fA-F:.]+\): 154\b.* to 0x[12467]\b"),
        r"GPU recovery action changed from .* to 0x[12467]\b",
        r"GPU Recovery Action\s*: *(GPU )?(Reset|Reboot|Node Reboot|System Reboot|Drain and Reset|Bus Reset)",
        r"(Reset Required|Drain and Reset Recommended)\s*: *Yes",
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


@check(
    "gpu.mig-no-instances",
    after=["driver.nvml-failed", "gpu.reset-required"],
    symptoms=[
        sure(r"No MIG devices found"),
        sure(r"No (GPU|compute) instances found: Not Found"),
        sure(r"device \d+ has (an invalid MIG configuration|no MIG devices configured)"),
        likely(r"No MIG-supported devices found|No MIG-enabled devices found"),
        sure(
            r"No CUDA GPUs are available|no CUDA-capable device|CUDA_ERROR_NO_DEVICE",
            beside=r"MIG( mode)?( is)? (now )?enabled|Enabled MIG Mode|MIG Mode Current : Enabled|mig\.mode\.current",
        ),
    ],
)
def mig_no_instances(nvml: Nvml, cuda: Cuda | Unavailable, confinement: Confinement) -> Iterator[Finding | Undecided]:
    """A GPU is switched to MIG, but has no instance that a program could use.

    What: In MIG mode a GPU serves programs only through instances, which somebody has to create. Without one
    it is listed as healthy, while CUDA says that there is no device. Instances do not outlive a restart, nor,
    on many GPUs, a reload of the driver; the mode itself mostly does. A container sees the instances that it was given.

    Proof: NVML says that MIG is enabled, and lists no MIG device; `nvidia-smi` says "No MIG devices found".

    Repair: Create instances, each GPU instance with its compute instance (`sudo nvidia-smi mig -cgi PROFILE -C`),
    and let a service do it at every start; or switch MIG off (`sudo nvidia-smi -i N -mig 0`), which needs the GPU
    to be idle, and on some a reset. A process uses one instance only: CUDA_VISIBLE_DEVICES takes its MIG-... UUID.

    Reference: https://docs.nvidia.com/datacenter/tesla/mig-user-guide/
    """
    there = answering(nvml)
    empty = [gpu for gpu in there if gpu.values.get("mig_mode") is True and gpu.values.get("mig_devices") == []]
    computes = isinstance(cuda, Cuda) and cuda.return_code == 0 and cuda.device_count > 0
    # Others may be in use while nobody has cut this one up yet.
    severity = Severity.WARNING if computes or len(empty) < len(there) else Severity.ERROR
    for gpu in empty:
        number = gpu.pci_address or str(gpu.number)
        if confinement.container:
            remedy = (
                "On the host: create instances (`sudo nvidia-smi mig -cgi PROFILE -C`), and start this container with "
                "one of them (NVIDIA_VISIBLE_DEVICES, the CDI device of that instance, or a limit on nvidia.com/mig-*)."
            )
        elif confinement.batch_job:
            remedy = "Ask the batch system for a MIG instance; if there is none, its administrator has to create some."
        else:
            remedy = (
                f"Create instances: `sudo nvidia-smi mig -i {number} -lgip` lists the profiles, `sudo nvidia-smi mig "
                f"-i {number} -cgi PROFILE -C` creates one. Or switch MIG off: `sudo nvidia-smi -i {number} -mig 0`."
            )
        yield Finding(
            f"{called(gpu)} is in MIG mode and has no instance: no program can compute on it.",
            place(gpu),
            (
                Evidence(f"NVML, GPU {gpu.number}", "MIG mode: enabled, MIG devices: none"),
                *([Evidence("cuInit", f"{cuda.return_code} {cuda.return_name}")] if isinstance(cuda, Cuda) else []),
            ),
            remedy,
            severity,
        )
    untold = [gpu for gpu in there if gpu.values.get("mig_mode") is True and gpu.values.get("mig_devices") is None]
    if untold and not computes:
        names = ", ".join(place(gpu) for gpu in untold)
        yield Undecided(f"which MIG instances there are was not told: {names}", matters=False)


@check(
    "gpu.persistence-off",
    severity=Severity.INFO,
    after=["driver.nvml-failed"],
    symptoms=[
        hint(r"nvidia-smi\b.{0,30}\btak(es|ing)\b.{0,20}(\d ?s\b|sec|minute|long)"),
        hint(r"\bfirst (CUDA call|call|cuInit|use of the GPU)\b.{0,30}\btak(es|ing)\b.{0,20}(\d ?s\b|sec|minute|long)"),
        likely(r"driver rpc error: timed out"),
    ],
)
def persistence_off(
    confinement: Confinement,
    nvml: Nvml,
    gpus: PciGpus | Unavailable,
    users: DeviceUsers | Unavailable,
    daemon: PersistenceDaemon | Unavailable,
) -> Iterator[Finding | Undecided]:
    """Nothing keeps several GPUs awake between programs, so that each program has to start them anew.

    What: When the last program ends, the driver shuts the GPUs down; the next one waits until they are up again,
    seconds for each of them. Settings and counters that are not stored are lost, and on machines with NVSwitches
    the links are trained anew. A display, or any program that stays, keeps the driver's state as well; one
    GPU starts fast enough, and a laptop's GPU is meant to sleep: none of these is told.

    Proof: NVML's persistence mode, the unit nvidia-persistenced.service, and that no program holds a GPU.

    Repair: Enable the daemon (`sudo systemctl enable --now nvidia-persistenced`). Some packages start it with
    --no-persistence-mode; then it needs an ExecStart without that. `nvidia-smi -pm 1` does the same until
    the next restart, in a way that the driver calls deprecated.

    Reference: https://docs.nvidia.com/deploy/driver-persistence/
    """
    own_driver(confinement)
    if confinement.batch_job:
        raise NotApplicable("a batch job: how its GPUs are kept is for the administrator")
    there = answering(nvml)
    off = [gpu for gpu in there if gpu.persistence_mode is False]
    if len(off) < 2:
        return
    if any(gpu.values.get("display_active") is True or processes_on(gpu) for gpu in there):
        return
    if isinstance(users, Unavailable):
        raise users
    if isinstance(daemon, Unavailable):
        raise daemon
    # The daemon itself, when it is told to stay passive, keeps nothing awake.
    if daemon.portable or any(holder.command != "nvidia-persiste" for holder in users.holders):
        return
    if users.unreadable:
        yield Undecided("whether a program holds the GPUs could not be seen; as root it can")
        return
    yield Finding(
        f"Persistence mode is off on {len(off)} GPUs, and no program holds them: each one that comes first waits until "
        "they are started.",
        "",
        (
            Evidence("NVML", f"persistence mode disabled: {', '.join(place(gpu) for gpu in off[:8])}"),
            Evidence(daemon.unit or "nvidia-persistenced.service", _daemon_words(daemon)),
        ),
        _how_to_persist(daemon),
        # The links between the GPUs are set up anew each time.
        Severity.WARNING if isinstance(gpus, PciGpus) and gpus.nvswitches else None,
    )


def _daemon_words(daemon: PersistenceDaemon) -> str:
    if not daemon.unit:
        return "no such unit"
    return ("running" if daemon.running else "not running") + (", with --no-persistence-mode" if daemon.passive else "")


def _how_to_persist(daemon: PersistenceDaemon) -> str:
    if not daemon.unit:
        return (
            "Install nvidia-persistenced, which the driver's packages have, and enable it: `sudo systemctl enable "
            "--now nvidia-persistenced`."
        )
    if daemon.passive:
        return (
            "`sudo systemctl edit nvidia-persistenced`: under [Service] an empty `ExecStart=`, then the unit's own "
            "line without --no-persistence-mode; then enable and restart it while no container uses the GPUs."
        )
    return "`sudo systemctl enable --now nvidia-persistenced`, while no container uses the GPUs."
