"""Modes of a GPU that only its administrator sets: it is cut into no instances, or forgets all between programs."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.persistence import PersistenceDaemon
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.system import Confinement

from ._nvml_gpus import answering, called, place, processes_on
from ._scope import own_driver


@check(
    "gpu.mig-no-instances",
    after=["driver.nvml-failed", "gpu.reset-required"],
    symptoms=[
        sure(r"No MIG devices found"),
        sure(r"No (GPU|compute) instances found: Not Found"),
        sure(r"device \d+ has (an invalid MIG configuration|no MIG devices configured)"),
        likely(r"\bMIG( mode)? (is )?enabled\b.{0,30}\b(no|without|zero) (MIG )?(devices|instances)"),
        likely(r"No MIG-supported devices found|No MIG-enabled devices found"),
        sure(
            r"No CUDA GPUs are available|no CUDA-capable device|CUDA_ERROR_NO_DEVICE",
            beside=r"MIG( mode)?( is)? (now )?enabled|Enabled MIG Mode|MIG Mode Current : Enabled|mig\.mode\.current",
        ),
        hint(r"must be configured with the same migEnabled|more than one MIG device type present"),
        hint(r"Unable to create a GPU instance on GPU"),
    ],
)
def mig_no_instances(nvml: Nvml, cuda: Cuda | Unavailable, confinement: Confinement) -> Iterator[Finding | Undecided]:
    """A GPU is switched to MIG, but has no instance that a program could use.

    What: In MIG mode a GPU serves programs only through instances, which somebody has to create. Without one
    it is listed as healthy, while CUDA says that there is no device. Instances do not outlive a restart, nor,
    on many GPUs, a reload of the driver; the mode itself mostly does. A container sees the instances that it was given.

    On some GPUs the mode is switched at the next reset only; until then all looks well.

    Proof: NVML says that MIG is enabled, and lists no MIG device; `nvidia-smi` says "No MIG devices found". Or it says
    that MIG is disabled now, and enabled is pending.

    Repair: Create instances, each GPU instance with its compute instance (`sudo nvidia-smi mig -cgi PROFILE -C`),
    and let a service do it at every start; or switch MIG off (`sudo nvidia-smi -i N -mig 0`), which needs the GPU
    to be idle, and on some a reset. A process uses one instance only: CUDA_VISIBLE_DEVICES takes its MIG-... UUID.

    Reference: https://docs.nvidia.com/datacenter/tesla/mig-user-guide/
    """
    # MIG instances of a host of vGPUs belong to its guests, and have no compute instance here.
    there = [gpu for gpu in answering(nvml) if gpu.values.get("virtualization_mode") != "host_vgpu"]
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
    if not confinement.container and not confinement.batch_job:
        yield from (_mig_to_come(gpu) for gpu in there if _mig_waits(gpu))
    untold = [gpu for gpu in there if gpu.values.get("mig_mode") is True and gpu.values.get("mig_devices") is None]
    if untold and not computes:
        names = ", ".join(place(gpu) for gpu in untold)
        yield Undecided(f"which MIG instances there are was not told: {names}", matters=False)


def _mig_waits(gpu: NvmlGpu) -> bool:
    return gpu.values.get("mig_mode") is False and gpu.values.get("mig_mode_pending") is True


def _mig_to_come(gpu: NvmlGpu) -> Finding:
    number = gpu.pci_address or str(gpu.number)
    return Finding(
        f"{called(gpu)} goes into MIG mode at its next reset or restart: no program can compute on it then, until "
        "somebody creates instances.",
        place(gpu),
        (Evidence(f"NVML, GPU {gpu.number}", "MIG mode: disabled, pending: enabled"),),
        f"If that is meant: stop what uses it, `sudo nvidia-smi -i {number} -r`, create instances (profiles: `sudo "
        f"nvidia-smi mig -i {number} -lgip`). If not: `sudo nvidia-smi -i {number} -mig 0` takes it back.",
        Severity.WARNING,
    )


@check(
    "gpu.persistence-off",
    severity=Severity.INFO,
    after=["driver.nvml-failed"],
    symptoms=[
        hint(r"nvidia-smi\b.{0,30}\btak(es|ing)\b.{0,20}(\d ?s\b|sec|minute|long)"),
        hint(r"\bfirst (CUDA call|call|cuInit|use of the GPU)\b.{0,30}\btak(es|ing)\b.{0,20}(\d ?s\b|sec|minute|long)"),
        likely(r"driver rpc error: timed out"),
        r"Persistence mode for GPU \d+ is disabled",
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
