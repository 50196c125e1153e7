"""What the driver reported as Xid: of programs, of the GPU's own processor, of its links, and all else."""

from collections.abc import Iterator, Sequence

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
from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.xids import Xid, Xids
from gpudoctor.knowledge.xid import action_words, known_xid

from ._health import GSP, LINKS, TOLD_ELSEWHERE, lines_of, numbered, of_program, reported, watched
from ._surroundings import AFTER_SLEEP

_GRAVE = frozenset(("RESET_GPU", "RESTART_BM", "RESTART_VM"))
_GONE = ("health.fallen-off-bus", "driver.rm-init-failed")


@check(
    "health.gsp-timeout",
    after=[*_GONE, "driver.gsp-firmware-missing"],
    symptoms=[
        sure(r"Timeout after \d+s of waiting for RPC response from GPU\d+ GSP"),
        sure(r"Timeout waiting for RPC from GSP"),
        sure(r"\bXid(?: \([^)]+\)| error| code)?[:=]? ?(119|120)\b"),
        sure(r"GSP_RPC_TIMEOUT"),
        sure(r"_kgspIsHeartbeatTimedOut|GSP RM heartbeat timed out"),
        sure(r"_kgspRpcRecvPoll\b"),
        sure(r"_kgspLogRpcTimeout|\* GSP Timeout \*"),
        r"_issueRpc\w+: rpc\w+ (failed|timedout)",
        r"\bGSP\b.{0,40}\b(timed ?out|heartbeat|not respond)",
        sure(r"=== GSP(-RM| core) unresponsive ==="),
        r"GSP-CrashCat Report|GSP-RISCV instance \d+ .{1,20}fatal error",
    ],
)
def gsp_timeout(
    xids: Xids | Unavailable, nvml: Nvml | Unavailable, gpus: PciGpus | Unavailable, confinement: Confinement
) -> Iterator[Finding | Undecided]:
    """The processor inside the GPU that runs NVIDIA's firmware (GSP) did not answer the driver.

    What: Since Turing a processor in the GPU does most of the driver's work. When it does not answer within seconds,
    programs hang, nvidia-smi hangs or shows errors, and nothing new starts on that GPU. The reason is mostly a
    fault of driver or firmware, sometimes of the hardware below it.

    Proof: Xid 119 (no answer in time) or 120 (it stopped) in the kernel's log, since the driver was loaded.

    Repair: Stop what uses the GPU and reset it; if that is refused, restart the machine, and if that does not help,
    take its power away. If it comes back, update to the newest release of the driver's branch. On GPUs before
    Blackwell the proprietary modules can do without it (NVreg_EnableGpuFirmware=0): a step for a while.

    Reference: https://docs.nvidia.com/deploy/xid-errors/ (Xid 119, 120);
    https://github.com/NVIDIA/open-gpu-kernel-modules/issues/446
    """
    own = watched(gpus, nvml, confinement)
    if isinstance(xids, Unavailable):
        if not own.all_well:  # a GPU that answers NVML has a GSP that answers
            yield _not_told(xids)
        return
    for address, found in reported(xids, GSP, own).items():
        now = " It answers again now." if own.is_well(address) else ""
        yield Finding(
            f"The firmware's processor (GSP) of {own.label(address)} did not answer the driver.{now}",
            address,
            lines_of(xids, found),
            f"{own.reset(address, xids)} If it comes back, update to the newest release of the driver's branch.",
            Severity.INFO if own.needs_nothing(address) else Severity.WARNING if now else None,
        )


@check(
    "health.nvlink-error",
    after=_GONE,
    symptoms=[
        sure(r"\bXid(?: \([^)]+\)| error| code)?[:=]? ?(74|136|137|14[4-9]|150|155)\b"),
        sure(r"NVLink: [Ff]atal error detected on link"),
        sure(r"SXid \([^)]+\): \d+, Fatal"),
        r"\bNvLink (link|port) \d+ is currently down|\bNvLink \d+ is down\b|\bNvLink errors on GPU \d+",  # DCGM
        r"\b(?<!non)fatal (errors on NvSwitch \d+|NvSwitch SXID)|Only \d+ NvLinks are up out of the expected",
        sure(r"CUDA_ERROR_NVLINK_UNCORRECTABLE|cudaErrorNvlinkUncorrectable|uncorrectable NVLink error"),
        sure(r"\bXid(?: \([^)]+\)| error| code)?[:=]? ?(108|166|170)\b"),
        r"NVLink: (Link training failed for link|failed to train link)",
        r"NvLink errors found occur|over NVLink in a peer-to-peer test",
        r"BER \S+ exceeds minimum threshold on GPU|nvidia-uvm: NVLINK error encountered",
        r"Failed to activate link\d+ on GPU\d|FAILED TO TRAIN CPU/SYSMEM LINKS",
    ],
)
def nvlink_error(
    xids: Xids | Unavailable, nvml: Nvml | Unavailable, gpus: PciGpus | Unavailable, confinement: Confinement
) -> Iterator[Finding | Undecided]:
    """A link between GPUs (NVLink) failed.

    What: GPUs of servers speak to each other over NVLink, directly or through NVSwitches. A fatal fault of a link
    ends the programs that use it, and training over several GPUs hangs or stops until both ends are reset. It also
    follows when the GPU at the other end was lost.

    Proof: Xid 74, 136, 144 to 150 or 155 of a GPU, or a fatal SXid of an NVSwitch, in the kernel's log since the
    driver was loaded. Xid 137 alone mostly comes from a program.

    Repair: See whether a GPU at the other end fell off the bus, which comes first. Then stop the programs and reset
    the GPUs of both ends together (on NVSwitch machines all, with nvidia-fabricmanager restarted). If it comes
    back, look at bridges, seat and cables, and keep the log for the vendor.

    Reference: https://docs.nvidia.com/deploy/xid-errors/; NVIDIA Fabric Manager User Guide (SXid),
    https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/
    """
    own = watched(gpus, nvml, confinement)
    if isinstance(xids, Unavailable):
        if isinstance(gpus, PciGpus) and len(gpus.gpus) < 2 and not gpus.nvswitches:
            raise NotApplicable("there are no two GPUs that a link could join")
        yield _not_told(xids)
        return
    remedy = own.on_the_host(
        "See first whether another GPU fell off the bus. Stop the programs, reset the GPUs of both ends together "
        "(`sudo nvidia-smi -r`), and restart nvidia-fabricmanager where there is one; if that is refused, restart the "
        "machine. If it comes back, look at bridges, seat and cables."
    )
    for address, found in reported(xids, LINKS, own).items():
        harmless = all(known_xid(xid.number).action == "IGNORE" for xid in found)
        mild = [xid for xid in found if "Nonfatal" in xid.text or known_xid(xid.number).action == "IGNORE"]
        yield Finding(
            f"{own.label(address)} reported a fault of its links to other GPUs (NVLink): {numbered(found)}.",
            address,
            lines_of(xids, found),
            "Look at the program first: it mostly touched memory of another GPU that it must not. Then as for links: "
            f"{remedy[0].lower()}{remedy[1:]}"
            if harmless
            else remedy,
            Severity.INFO
            if harmless
            else Severity.WARNING
            if own.needs_nothing(address) or len(mild) == len(found)
            else None,
        )
    switches = sorted({fault.switch for fault in xids.switch_faults} if not own.only else ())
    for switch in switches:
        faults = [fault for fault in xids.switch_faults if fault.switch == switch]
        yield Finding(
            f"The NVSwitch at {switch} reported a fatal fault of the links between the GPUs.",
            switch,
            tuple(Evidence(xids.source, fault.line) for fault in faults[:3]),
            remedy,
        )


@check(
    "health.other-xid",
    severity=Severity.WARNING,
    after=[*_GONE, "health.gsp-timeout", "health.ecc-uncorrectable", "health.row-remap", "health.nvlink-error"],
    symptoms=[
        r"\bXid(?: \([^)]+\)| error| code)?[:=]? ?(46|61|62|109|110|143|156|157|158|167|168|169|173|175)\b",
    ],
)
def other_xid(
    xids: Xids, nvml: Nvml | Unavailable, gpus: PciGpus | Unavailable, confinement: Confinement
) -> Iterator[Finding]:
    """The driver reported a fault of a GPU for which NVIDIA asks more than to start the program again.

    What: The driver numbers what goes wrong (Xid), and NVIDIA's catalogue says of each number what is to be done.
    Those of programs, memory, links, firmware and of a lost GPU have checks of their own; this one is for the rest,
    such as a processor of the GPU that stopped (62) or a program that could not be taken off it (109).

    Proof: The line in the kernel's log, since the driver was loaded, and NVIDIA's action for its number.

    Repair: What the catalogue says: mostly a reset of the GPU. If it comes back with programs that are known to be
    good, it is one for the vendor's support.

    Reference: https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html
    """
    own = watched(gpus, nvml, confinement)
    numbers = {xid.number for xid in xids.xids} - TOLD_ELSEWHERE
    wanted = {number for number in numbers if known_xid(number).action not in ("IGNORE", "RESTART_APP")}
    for address, found in reported(xids, wanted, own).items():
        actions = dict.fromkeys(known_xid(xid.number).action for xid in found)
        words = [action_words(action) for action in actions if action != "RESET_GPU" and action_words(action)]
        advice = f"NVIDIA's catalogue says: {', '.join(words)}. " if words else ""
        remedy = f"{advice}Watch whether it comes again."
        if "RESET_GPU" in actions:
            remedy = (
                f"{own.reset(address, xids)} If it comes back with programs that are known to be good, ask the vendor."
            )
        yield Finding(
            f"{own.label(address)} reported {numbered(found)} since the driver was loaded.",
            address,
            lines_of(xids, found),
            remedy,
            Severity.INFO
            if own.needs_nothing(address) or (own.is_well(address) and not actions.keys() & _GRAVE)
            else None,
        )


@check(
    "health.application-xid",
    severity=Severity.INFO,
    after=[
        *_GONE,
        *("health.gsp-timeout", "health.ecc-uncorrectable", "health.row-remap", "health.nvlink-error"),
        "health.other-xid",
    ],
    symptoms=[
        r"\bXid(?: \([^)]+\)| error| code)?[:=]? ?(8|11|13|25|31|32|43|45|68|69|80)\b",
        # Copy engines, video and picture decoders, optical flow.
        r"\bXid(?: \([^)]+\)| error| code)?[:=]? ?(39|4[01]|60|7[0-2]|7[5-7]|8[2-6]|8[89]|9[6-9]|10[0-5])\b",
        r"\bXid(?: \([^)]+\)| error| code)?[:=]? ?(12[6-9]|13[0-5]|139)\b",
        r"an illegal memory access was encountered",
        r"CUDA_ERROR_(ILLEGAL_ADDRESS|LAUNCH_FAILED|MISALIGNED_ADDRESS|ILLEGAL_INSTRUCTION|ASSERT)",
        r"cudaError(IllegalAddress|LaunchFailure|MisalignedAddress|IllegalInstruction)\b",
        likely(r"unspecified launch failure", without=AFTER_SLEEP),
        hint(r"CUDA error:? (misaligned address|an illegal instruction was encountered|hardware stack error)"),
        hint(r"Illegal address in CUDA queue"),
        hint(r"device-side assert triggered", without=r"Assertion `"),  # which says what is wrong in the program
        r"Graphics SM Warp Exception",
        r"MMU Fault: ENGINE \w+",
    ],
)
def application_xid(
    xids: Xids, nvml: Nvml | Unavailable, gpus: PciGpus | Unavailable, confinement: Confinement
) -> Iterator[Finding]:
    """A program made a mistake on the GPU, and the driver ended its work there.

    What: A kernel that reads past its memory, or an instruction that does not exist, ends with an Xid such as 13, 31
    or 43, and the program with "an illegal memory access" or "unspecified launch failure". Xid 45 only says that
    what a program had on the GPU was cleared away. The GPU goes on working: this is information, and no fault of it.

    Proof: The lines in the kernel's log, with the process where the driver knows it; no fault of the hardware
    beside it.

    Repair: Start the program again. If it happens again, look for the mistake in it (`CUDA_LAUNCH_BLOCKING=1`,
    `compute-sanitizer`), and update its framework. Only if programs of several makers fail on this one GPU alone,
    suspect the GPU: `gpudoctor bench` tries it.

    Reference: https://docs.nvidia.com/deploy/xid-errors/ (Xid 13, 31, 43, 45);
    https://docs.nvidia.com/compute-sanitizer/
    """
    own = watched(gpus, nvml, confinement)
    numbers = {xid.number for xid in xids.xids if of_program(xid.number)}
    for address, found in reported(xids, numbers, own).items():
        yield Finding(
            f"A program failed on {own.label(address)} ({numbered(found)}): {_who(found)}. The GPU itself is fine.",
            address,
            lines_of(xids, found),
            "Start the program again. If it fails again, look for the mistake in it (CUDA_LAUNCH_BLOCKING=1, "
            "compute-sanitizer); `gpudoctor bench` tells whether the GPU computes rightly.",
        )


def _who(found: Sequence[Xid]) -> str:
    """ "python3 (4711)", or how often."""
    processes = list(dict.fromkeys(xid.process for xid in found if xid.process))
    if not processes:
        return "the driver does not say which"
    more = f" and {len(processes) - 3} more" if len(processes) > 3 else ""
    return f"{', '.join(processes[:3])}{more}"


def _not_told(reason: Unavailable) -> Undecided:
    """Most users may not read the kernel's log: no reason to call their machine unfit."""
    if isinstance(reason, NotRunning):
        raise reason
    return Undecided(str(reason), matters=False)
