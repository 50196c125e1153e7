"""The switches between GPUs (NVLink, NVSwitch): is what sets them up there, does it fit the driver, does it run?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.fabric import LOG, FabricManager, Nvlink5Board, fabric_manager_package
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement

from ._fabric import NOT_READY, signs_of_links
from ._gpus import own_gpus
from ._scope import own_driver

_BUS = "/sys/bus/pci/devices"


@check(
    "fabric.manager-version-mismatch",
    symptoms=[
        likely(r"fabric[- ]?manager\b.{0,60}(\bmust|has to|needs to|n't|not) match", without=r"t match with"),
        sure(r"(interface|fabric-?manager) version \S+ (don|doesn|does no).{0,3}t match (with )?(the )?driver version"),
    ],
)
def version_mismatch(
    confinement: Confinement,
    packages: Packages,
    libraries: DriverLibraries,
    gpus: PciGpus | Unavailable,
    board: Nvlink5Board | Unavailable,
    loaded: LoadedDriver | Unavailable,
    manager: FabricManager | Unavailable,
) -> Iterator[Finding]:
    """The fabric manager is of another version than the driver.

    What: On machines with NVSwitches the fabric manager connects the GPUs, and it starts only with a driver of exactly
    its own version, to the last digit. Where an upgrade moves one of the two alone (the driver came from a .run file,
    one of them is held back), the service ends at once, and every CUDA program fails with error 802.

    Proof: The version of the package nvidia-fabricmanager against the driver's. The service itself says "driver
    interface version A don't match with driver version B".

    Repair: Install the fabric manager of exactly the driver's version and restart its service; from then on hold or
    upgrade both together.

    Reference: https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/index.html;
    https://github.com/NVIDIA/gpu-operator/issues/544
    """
    own_driver(confinement)
    if isinstance(gpus, PciGpus) and not gpus.nvswitches and not (isinstance(board, Nvlink5Board) and board.name):
        return
    in_memory = loaded.version if isinstance(loaded, LoadedDriver) else ""
    driver = libraries.version or in_memory  # after the next start both are what is installed
    package = fabric_manager_package(packages)
    said = manager.said if isinstance(manager, FabricManager) and "match with driver version" in manager.said else ""
    if package is not None:
        subject, own = package.name, package.upstream
        proof = Evidence("installed packages", f"{package.name} {package.version}")
    else:  # it was unpacked by hand: only its own words tell the version, and they may be of an older driver
        words = said.partition("interface version ")[2].split()
        subject, own = "nv-fabricmanager", words[0] if words and in_memory and in_memory in said else ""
        proof = Evidence(LOG, said)
    if not own or not driver or own == driver:
        return
    source = libraries.libraries[0].real_path if libraries.version else "/proc/driver/nvidia/version"
    when = "it does not start" if in_memory == driver else "after the next start it refuses to work"
    yield Finding(
        f"The fabric manager is {own}, the driver is {driver}: {when}, and no program can use the GPUs (error 802).",
        subject,
        (proof, Evidence(source, driver), *([Evidence(LOG, said)] if said and package else [])),
        f"Bring {subject} to {driver} in the same transaction as the driver.",
        # Of a disk nobody knows whether its machine has an NVSwitch.
        None if isinstance(gpus, PciGpus) else Severity.WARNING,
    )


@check(
    "fabric.manager-not-ready",
    after=[
        "fabric.manager-version-mismatch",
        "fabric.nvlink5-modules-missing",
        "driver.library-mismatch",
        "kernel.module-stale",
        "health.fallen-off-bus",
    ],
    symptoms=[
        r"system not yet initialized",
        r"cudaErrorSystemNotReady|CUDA_ERROR_SYSTEM_NOT_READY",
        r"Fabric\s+State\s*: (In Progress|Not Started)",
        r"Unit nvidia-fabricmanager(\.service)? (not found|could not be found)",
        r"Failed to bind NVLink SHARP \(NVLS\) Multicast memory",
        r"transport/nvls\.cc:\d+ NCCL WARN Cuda failure",
        hint(
            r"nvidia-fabricmanager\.service: (Failed|Main process exited)|Failed to start NVIDIA fabric manager",
            without=r"NV_WARN_NOTHING_TO_DO|t match with (the )?driver version",
        ),
        likely(r"\b(error|code|return(s|ed)|cuInit)\W{1,3}802\b|\[802\] Call to cu", beside=r"cuda|cuInit|nvidia"),
        sure(r"the NVLink fabric is not ready"),
        r"Fabric State is (?!Completed)\w|Ensure (that the )?Fabric ?Manager is running",
        r"Fabric Manager \(Cluster UUID: .{1,100}\): (?!Completed)\w",
        r"\bcuInit\S* (failed|returned)\D{0,20}802\b",
        r"Failed to start nvidia-fabricmanager",
        hint(r"MNNVL \(cliqueSize \d+\) is available but not working"),
        hint(r"Job for nvidia-fabricmanager\.service failed"),
    ],
)
def manager_not_ready(
    confinement: Confinement,
    gpus: PciGpus | Unavailable,
    board: Nvlink5Board | Unavailable,
    loaded: LoadedDriver | Unavailable,
    cuda: Cuda | Unavailable,
    nvml: Nvml | Unavailable,
    manager: FabricManager | Unavailable,
    packages: Packages | Unavailable,
) -> Iterator[Finding]:
    """The links between the GPUs are not set up, so that no CUDA program starts (error 802).

    What: The GPUs of an NVSwitch machine wait until the fabric manager has set up the switches between them. Until
    then nvidia-smi looks healthy, and CUDA says "system not yet initialized". Mostly the service nvidia-fabricmanager
    is not installed, not enabled, or has ended with a complaint; or it was restarted while the GPUs kept their state.

    Proof: cuInit's code 802; the GPUs' fabric state (`nvidia-smi -q`); or NVSwitches on the PCI bus while no
    nv-fabricmanager runs. A CUDA that works outranks all three.

    Repair: Install nvidia-fabricmanager of exactly the driver's version and enable its service. In a container this is
    done on the host. A virtual machine that was given one GPU of such a board, and no switch, needs the host's
    fabric manager, or NVLink switched off (NVreg_NvLinkDisable=1).

    Reference: https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/index.html;
    https://github.com/pytorch/pytorch/issues/35710
    """
    if confinement.wsl:
        raise NotApplicable("WSL: its GPUs are not on such boards")
    signs = signs_of_links(cuda, nvml)
    if isinstance(gpus, PciGpus) and not own_gpus(gpus) and not signs:
        return
    works = isinstance(cuda, Cuda) and cuda.return_code == 0
    if isinstance(gpus, Unavailable) and not signs and not works:
        raise gpus
    switches = gpus.nvswitches if isinstance(gpus, PciGpus) else 0
    if not signs and (works or not switches or confinement.container or confinement.driver_container):
        return
    if not signs and isinstance(loaded, LoadedDriver) and not loaded.loaded:
        return  # without a driver there is nothing to set up yet
    if isinstance(manager, Unavailable):
        if not signs:
            raise manager
        manager = FabricManager("", False, None)
    if not signs and manager.process_id is None:
        raise Unavailable("whether the fabric manager runs cannot be told")
    if not signs and manager.process_id:
        return
    evidence = [*signs[:3]]
    evidence += [Evidence(_BUS, f"{switches} NVSwitch{'es' * (switches > 1)}")] if switches else []
    package = fabric_manager_package(packages) if isinstance(packages, Packages) else None
    own = not confinement.container
    if own and manager.process_id == 0 and (switches or manager.unit or package):
        evidence.append(Evidence("nv-fabricmanager", "no such process"))
    evidence += [Evidence(LOG, manager.said)] if own and manager.said else []
    rack = board.rack if isinstance(board, Nvlink5Board) else ""
    on_board = switches > 0 or (isinstance(board, Nvlink5Board) and bool(board.name))
    state, remedy = _what_to_do(manager, package is not None, on_board=on_board, rack=rack, driver=_version(loaded))
    if confinement.container:
        state = ""
        remedy = (
            "On the host: look at `systemctl status nvidia-fabricmanager`. It must be of exactly the driver's version, "
            "enabled and running. A restart of the container changes nothing."
        )
    code = f" (error {NOT_READY})" if any(sign.source == "cuInit" for sign in signs) else ""
    yield Finding(
        f"The links between the GPUs are not set up, and no CUDA program starts{code}{state}.", "", evidence, remedy
    )


def _what_to_do(manager: FabricManager, installed: bool, *, on_board: bool, rack: str, driver: str) -> tuple[str, str]:
    """How the summary ends, and the remedy."""
    if rack:
        return f": this is a node of a {rack}", (
            f"The switches of a {rack} are set up by the fabric manager on the rack's switch trays: ask who runs them. "
            "On this node look at `systemctl status nvidia-imex`."
        )
    there = bool(manager.unit) or installed
    if manager.process_id:
        return ", though the fabric manager runs", (
            f"Look at the end of {LOG} and of `journalctl -u nvidia-fabricmanager`. Then stop all GPU jobs and the "
            "service, reset the GPUs (`sudo nvidia-smi -r`), and start the service again."
        )
    if not on_board and not there:
        return ": this machine sees no NVSwitch", (
            "A virtual machine with one GPU of an NVSwitch board needs the fabric manager of its host, or NVLink "
            "switched off (`options nvidia NVreg_NvLinkDisable=1` in /etc/modprobe.d). In confidential computing the "
            "GPUs must be set ready: `nvidia-smi conf-compute -srs 1`."
        )
    if manager.process_id is None:
        return (
            "",
            "Look at `systemctl status nvidia-fabricmanager`: it must be running, of exactly the driver's version.",
        )
    if not there:
        version = f"{driver}, exactly the driver's version" if driver else "exactly the driver's version"
        return ": the fabric manager is not installed", (
            f"Install nvidia-fabricmanager of {version}, then `sudo systemctl enable --now nvidia-fabricmanager`."
        )
    enabled = "" if manager.enabled else ", and is not enabled"
    return f": the fabric manager does not run{enabled}", (
        "`sudo systemctl enable --now nvidia-fabricmanager`; if it ends again, `journalctl -u nvidia-fabricmanager` "
        "says why."
    )


def _version(loaded: LoadedDriver | Unavailable) -> str:
    return loaded.version if isinstance(loaded, LoadedDriver) else ""


@check(
    "fabric.manager-unneeded",
    severity=Severity.WARNING,
    after=["fabric.nvlink5-modules-missing", "fabric.manager-not-ready", "health.fallen-off-bus", "pci.no-gpu"],
    symptoms=[
        sure(r"NV_WARN_NOTHING_TO_DO"),
        sure(r"request to query NVSwitch device information from NVSwitch driver failed"),
    ],
)
def manager_unneeded(
    confinement: Confinement,
    gpus: PciGpus,
    board: Nvlink5Board | Unavailable,
    manager: FabricManager,
    cuda: Cuda | Unavailable,
    nvml: Nvml | Unavailable,
) -> Iterator[Finding]:
    """The service of the fabric manager is enabled on a machine that has nothing for it to do, and fails at each start.

    What: The fabric manager sets up NVSwitches, which only some servers with eight or sixteen GPUs have. NVLink bridges
    between two cards, and four GPUs on one board, need none. Without a switch the service ends with "Nothing to do":
    the system counts a failed unit, and nothing else is wrong. It is no reason for a GPU that does not work.

    Proof: No NVSwitch (vendor 10de, class 0680) on the PCI bus, no board whose switches are reached over InfiniBand;
    the service is enabled, and no nv-fabricmanager runs.

    Repair: `sudo systemctl --no-reload disable nvidia-fabricmanager`: without the reload, for containers can lose their
    GPU by it. The package does no harm.

    Reference: https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/index.html;
    https://github.com/NVIDIA/gpu-operator/issues/610
    """
    own_driver(confinement)
    if gpus.nvswitches or not gpus.gpus or not manager.enabled or manager.process_id != 0 or signs_of_links(cuda, nvml):
        return
    if isinstance(board, Unavailable):
        raise board
    if board.name or board.rack:
        return
    said = [Evidence(LOG, manager.said)] if "NOTHING_TO_DO" in manager.said else []
    yield Finding(
        "The fabric manager is enabled, and there is no NVSwitch: its service fails at each start, and is not needed.",
        "nvidia-fabricmanager",
        (Evidence(_BUS, "no NVSwitch"), Evidence(manager.unit, "enabled, no such process"), *said),
        "`sudo systemctl --no-reload disable nvidia-fabricmanager`. If your GPUs do not work, this is not why.",
    )
