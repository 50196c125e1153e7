"""The paths to and between GPUs: links with fewer lanes than there are, and what stands between two GPUs."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, Undecided, check, hint
from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.pci_links import PciLink, PciLinks, PeerPath, PeerPaths
from gpudoctor.facts.system import Confinement

from ._gpus import named, nvml_by_address, own_gpus

_BUS = "/sys/bus/pci/devices"
# Wired by the laptop's maker, with as many lanes as he found enough: nobody can change that.
_SOLDERED = ("Laptop", "Max-Q", "Mobile")


@check(
    "pci.link-degraded",
    severity=Severity.WARNING,
    after=["health.fallen-off-bus", "pci.no-gpu"],
    symptoms=[
        r"LnkSta:.*Width x\d+ \((downgraded|strange)\)",
        r"running at PCI link (generation|width) \d+X?, which is below",
        r"available PCIe bandwidth, limited by .* PCIe x\d+ link",
        r"(nvidia|pcieport) [0-9a-f:.]+: (AER: )?PCIe Bus Error: severity=\w+.*type=(Physical|Data Link) Layer",
        hint(r"\b(at|only) (PCIe )?(\S+ )?x\d+ (instead|rather) (of|than)"),
        r"PCIe replays per minute for GPU|host-side PCIe replay violation",
        r"Bandwidth of GPU \d+ in direction .{1,60} did not exceed",
        hint(r"\bnvidia [0-9a-f:.]+: (AER: )?(PCIe Bus Error: severity=Uncorrect|can't recover)"),
    ],
)
def link_degraded(
    gpus: PciGpus, links: PciLinks, nvml: Nvml | Unavailable, confinement: Confinement
) -> Iterator[Finding | Undecided]:
    """A GPU's link to the machine has fewer lanes, or under load a lower speed, than GPU and slot are able to.

    What: Data come to the GPU over PCI Express lanes. When the two ends agree at the start on fewer than both have,
    a contact is dirty, the card sits loose, or a riser or cable is bad; loading of data is slower by as much. A link
    that is slow while the GPU idles is normal: it saves power, and speeds up with work.

    Proof: current_link_width against max_link_width in sysfs, of the GPU and of the bridge above it, for a slot may
    have no more lanes; for the speed, NVML's generation while the GPU is at work.

    Repair: With the power off: clean the contacts and seat the card again, try it without riser, in another slot. Look
    in the firmware setup whether the slot shares its lanes (bifurcation) or is set to an older generation.

    Reference: https://docs.kernel.org/admin-guide/abi-testing.html (current_link_width);
    nvml.h, nvmlDeviceGetCurrPcieLinkGeneration, https://docs.nvidia.com/deploy/nvml-api/
    """
    known = {gpu.address: gpu for gpu in own_gpus(gpus)}
    answers = nvml_by_address(gpus, nvml) if isinstance(nvml, Nvml) else {}
    hands = (
        "power off, clean the contacts, seat the card again, try it without a riser and in another slot. In the "
        "firmware setup see whether the slot shares its lanes with another; then it is meant so."
    )
    told = [link for link in links.links if link.address in known and (link.width or link.width_max)]
    if known and not told:
        raise NotApplicable("the kernel tells of no PCI Express link of a GPU here")
    for link in told:
        gpu = known[link.address]
        answer = answers.get(link.address)
        remedy = f"On the host: {hands}" if confinement.container else f"{hands[0].upper()}{hands[1:]}"
        narrow = _narrow(gpu, link, answer)
        if narrow is not None:
            yield narrow if isinstance(narrow, Undecided) else narrow._replace(remedy=remedy)
        if not isinstance(narrow, Finding) and answer is not None and (slow := _slow(gpu, answer)) is not None:
            yield slow._replace(remedy=remedy)


def _narrow(gpu: PciGpu, link: PciLink, answer: NvmlGpu | None) -> Finding | Undecided | None:
    """Fewer lanes than GPU and slot have; NVML's own maximum, which counts the system in, may be less."""
    if any(word in gpu.name for word in _SOLDERED):
        return None
    if not link.width or not link.width_max:
        return Undecided(f"how many lanes {named(gpu)} uses is not told here", matters=False)
    if link.width >= link.width_max:
        return None
    if not link.bridge_width_max:
        return Undecided(
            f"{named(gpu)} uses {link.width} of its {link.width_max} lanes; how many its slot has cannot be seen here",
            matters=False,
        )
    told = _number(answer, "pcie_link_width_max")
    able = min(link.width_max, link.bridge_width_max, told or link.width_max)
    if link.width >= able:
        return None
    return Finding(
        f"{named(gpu)} is linked to the machine by {link.width} of {able} lanes.",
        gpu.address,
        (
            Evidence(f"{_BUS}/{gpu.address}", f"current_link_width {link.width}, max_link_width {link.width_max}"),
            Evidence(f"{_BUS}/{link.bridge}", f"max_link_width {link.bridge_width_max} (the slot)"),
        ),
    )


_FULL_PERFORMANCE = (0, 1, 2)  # P0 to P2; CUDA works in P2 on some GPUs
_AT_WORK = 50  # percent


def _slow(gpu: PciGpu, answer: NvmlGpu) -> Finding | None:
    """An older generation than GPU and slot have, while the GPU is at work; while it is not, nothing is judged."""
    now, able = _number(answer, "pcie_link_generation"), _number(answer, "pcie_link_generation_max")
    state, load = _number(answer, "performance_state"), _number(answer, "utilization_percent")
    if not now or not able or now >= able or state not in _FULL_PERFORMANCE or (load or 0) < _AT_WORK:
        return None
    return Finding(
        f"{named(gpu)} is at work, and its link runs at PCIe generation {now} of {able}.",
        gpu.address,
        (Evidence("NVML", f"generation {now}, at most {able}, while it is {load}% busy in P{state}"),),
    )


def _number(answer: NvmlGpu | None, field: str) -> int | None:
    value = answer.values.get(field) if answer is not None else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@check(
    "pci.p2p-blocked",
    severity=Severity.WARNING,
    after=["health.fallen-off-bus"],
    symptoms=[
        r"AMD-Vi: Event logged \[IO_PAGE_FAULT",
        r"DMAR: \[DMA (Read|Write)[^]]*\] Request device \[[0-9a-fx:.]+\].*fault",
        r"P2P is disabled between (NVLINK )?connected GPUs",
        r"ACSCtl:.*(ReqRedir|CmpltRedir)\+",
        r"NCCL_P2P_DISABLE=1\b.{0,60}\b(works?|fix\w*|helps?|solv\w*)\b",
        r"\b(works?|fix\w*|helps?|solv\w*|only)\b.{0,40}\bNCCL_P2P_DISABLE=1",
        r"\b(disabl\w*|turn\w* off)\b.{0,20}\b(IOMMU|ACS)\b.{0,40}\b(works?|fix\w*|helps?|solv\w*)\b",
        r"\b(unless|until|without)\b.{0,20}\bNCCL_P2P_DISABLE=1",
        hint(r"Verification error @ element"),
    ],
)
def p2p_blocked(
    confinement: Confinement,
    gpus: PciGpus,
    paths: PeerPaths,
    nvml: Nvml | Unavailable,
    log: KernelLog | Unavailable,
) -> Iterator[Finding]:
    """What the GPUs of this machine send to each other is held up by the IOMMU, or sent round by the bridges (ACS).

    What: GPUs without NVLink between them exchange data over PCI Express, past the processor. An IOMMU that translates
    addresses may refuse these, and bridges with Access Control Services send them up to the processor and down again.
    Programs on several GPUs then hang in their first exchange (NCCL), copy zeros, or are slow; programs on one GPU are
    fine. CUDA does not support such copies with a translating IOMMU on bare metal.

    Proof: Page faults of the IOMMU for a GPU in the kernel's log. Without those it is only told, and no fault: the
    IOMMU group's type begins with DMA, or a bridge has ReqRedir or CmpltRedir set, while NVML allows such copies.

    Repair: Boot with iommu=pt (or switch the IOMMU off in the firmware setup, where no virtual machine needs it), and
    ACS off there. To be sure that this is it, and until then: NCCL_P2P_DISABLE=1.

    Reference: CUDA Programming Guide, "IOMMU on Linux", https://docs.nvidia.com/cuda/cuda-c-programming-guide/;
    https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html (ACS)
    """
    if len(paths.paths) < 2:
        return
    cure = (
        "boot with the kernel parameter iommu=pt, or switch IOMMU and ACS off in the firmware setup where no virtual "
        "machine needs them. Until then, and to be sure: NCCL_P2P_DISABLE=1."
    )
    remedy = f"On the host: {cure}" if confinement.container else f"{cure[0].upper()}{cure[1:]}"
    faults = _faults(paths, log)
    if faults and isinstance(log, KernelLog):
        for path, lines in faults:
            yield Finding(
                f"The IOMMU refuses what GPU {path.address} sends or is sent: exchange between GPUs hangs or is lost.",
                path.address,
                (*(Evidence(log.source, line) for line in lines[-2:]), *_obstacles(path)),
                remedy,
            )
        return
    held = [path for path in paths.paths if _obstacles(path)]
    if not held or gpus.nvswitches:
        return
    peers = _peers(gpus, nvml)
    for path in held:
        if any(address in peers.get(path.address, ()) for address in (other.address for other in paths.paths)):
            yield Finding(
                f"What GPU {path.address} exchanges with other GPUs over PCI Express takes the way through the "
                "processor, and may be slow or hang.",
                path.address,
                _obstacles(path),
                f"If programs on several GPUs hang or are slow: {remedy[0].lower()}{remedy[1:]}",
                Severity.INFO,
            )
            return  # it is the same for all of them


def _faults(paths: PeerPaths, log: KernelLog | Unavailable) -> list[tuple[PeerPath, list[str]]]:
    """Lines "nvidia 0000:07:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT ..." and "DMAR: [DMA Read NO_PASID] Request
    device [07:00.0] fault addr ...", by GPU.
    """
    lines = log.lines if isinstance(log, KernelLog) else ()
    said = [line for line in lines if "IO_PAGE_FAULT" in line or ("DMAR:" in line and "Request device" in line)]
    found = []
    for path in paths.paths:
        short = path.address.partition(":")[2]
        own = [line for line in said if path.address in line or f"device [{short}]" in line.replace("0x", "")]
        found += [(path, own)] if own else []
    return found


def _obstacles(path: PeerPath) -> tuple[Evidence, ...]:
    found = []
    if path.iommu.startswith("DMA"):
        found.append(Evidence(f"{_BUS}/{path.address}/iommu_group/type", f"{path.iommu}: addresses are translated"))
    if path.redirecting:
        found.append(Evidence(f"{_BUS}/{path.redirecting[0]}/config", "ACS redirects what devices send to each other"))
    return tuple(found)


def _peers(gpus: PciGpus, nvml: Nvml | Unavailable) -> dict[str, tuple[str, ...]]:
    """By a GPU's address those of the GPUs that it may read over PCI Express, and has no NVLink to."""
    if isinstance(nvml, Unavailable):
        raise nvml
    if not any(isinstance(gpu.values.get("pci_peers"), list) for gpu in nvml.gpus):
        raise Unavailable("the driver does not tell which GPUs exchange data over PCI Express")
    places = {gpu.number: address for address, gpu in nvml_by_address(gpus, nvml).items()}
    found = {}
    for gpu in nvml.gpus:
        numbers = gpu.values.get("pci_peers")
        if isinstance(numbers, list) and gpu.number in places:
            found[places[gpu.number]] = tuple(places[number] for number in numbers if number in places)
    return found
