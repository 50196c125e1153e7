"""What the PCI bus shows: GPUs that are not there, have no memory window, or have gone."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, NotRunning, Unavailable, check, hint, likely, sure
from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.facts.xids import xid_lines

from ._causes import WHY_NVML_FAILS
from ._gpus import named, nvml_by_address, silent_gpus
from ._return_codes import GPU_IS_LOST

_BUS = "/sys/bus/pci/devices"
_FALLEN_OFF = 79  # as an Xid


@check(
    "pci.no-gpu",
    symptoms=[
        r"Unable to find any NVIDIA (GPU|device)s?",
        r"No supported GPU\(s\) detected",
        r"lspci.{0,50}((shows?|prints?|gives?|lists?|finds?|returns?) nothing|no output|is empty)",
        r"lspci.{0,50}(doesn't|does not|didn't) (show|list)",
        r"lspci.{0,30} (shows|lists|has|finds) no NVIDIA",
        likely(
            r"could not insert '?nvidia\S*: No such device",
            without=r"Legacy drivers|already bound|not supported by|^nouveau \d{6,} \d",
        ),
        hint(r"NVRM: No NVIDIA GPU found"),
        hint(r"You do not appear to have an NVIDIA GPU"),
        hint(r"No devices were found"),
        r"NVRM: No NVIDIA PCI devices found|NVIDIA: no NVIDIA devices found",
        likely(
            r"Failed to insert module 'nvidia\S*: No such device",
            without=r"Legacy drivers|already bound|not supported by",
        ),
    ],
)
def no_gpu(
    gpus: PciGpus,
    expected: ExpectedGpus,
    confinement: Confinement,
    modules: LoadedModules | Unavailable,
    nvml: Nvml | Unavailable,
    kernel: Kernel | Unavailable,
) -> Iterator[Finding]:
    """The machine shows no NVIDIA GPU on its PCI bus.

    What: Software cannot use a GPU that the machine itself does not see. The GPU is not there, has no power,
    sits loose in its slot, is switched off in the firmware setup, or was not given to this virtual
    machine or container.

    Proof: /sys/bus/pci/devices has no display or 3D controller of NVIDIA (vendor 10de).

    Repair: On real hardware: power off, check seat, riser and power cables, and the slot in the firmware setup. On
    a virtual machine: give it a GPU (instance type, passthrough). No driver can help here. Where no
    GPU is meant to be, say so with --expect-gpus 0. On a Jetson the GPU is no PCI device: load nvgpu.

    Reference: Linux kernel documentation, sysfs-bus-pci,
    https://docs.kernel.org/PCI/sysfs-pci.html
    """
    if confinement.wsl:
        raise NotApplicable("WSL: GPUs are not on its PCI bus, but reached through /dev/dxg")
    if isinstance(modules, LoadedModules) and modules.of_tegra and not gpus.gpus:
        raise NotApplicable("Tegra board (Jetson): its GPU is a part of the chip, and not on the PCI bus")
    # Boards without a PCI bus have NVIDIA GPUs, too; NVML then knows better.
    if gpus.gpus or expected.number == 0 or (isinstance(nvml, Nvml) and nvml.gpus):
        return
    if isinstance(kernel, Kernel) and kernel.release.endswith("-tegra") and not confinement.container:
        yield Finding(
            "The GPU of this board (Tegra, Jetson) is a part of the chip, and its driver nvgpu is not loaded.",
            "nvgpu",
            (Evidence("/proc/modules", "no nvgpu"), Evidence(_BUS, "no device of vendor 10de with a display class")),
            "`sudo modprobe nvgpu`, and read what it answers; `sudo dmesg | grep -i nvgpu` has the reason if it "
            "fails. The packages nvidia-l4t-* must all be of one release, the one of this kernel.",
        )
        return
    switches = f"; {gpus.nvswitches} NVSwitches are there" if gpus.nvswitches else ""
    remedy = (
        "On real hardware check seat, power cables and slot of the GPU; a virtual machine must be given one. If none "
        "is meant to be here, `gpudoctor check --expect-gpus 0` says so."
    )
    if confinement.container:
        remedy = (
            "Run gpudoctor on the host: a container mostly sees all GPUs of its host on the bus, and this one sees "
            "none. If none is meant to be here, `gpudoctor check --expect-gpus 0` says so."
        )
    if gpus.of_amd:
        remedy = f"gpudoctor looks after NVIDIA's GPUs alone, and this machine has AMD's. {remedy}"
    others = f"; of AMD: {', '.join(gpus.of_amd)}" if gpus.of_amd else ""
    yield Finding(
        "There is no NVIDIA GPU on the PCI bus.",
        "",
        (Evidence(_BUS, f"no device of vendor 10de with a display class{switches}{others}"),),
        remedy,
    )


@check(
    "pci.bar-unassigned",
    symptoms=[
        sure(r"This PCI I/O region assigned to your NVIDIA device is invalid"),
        sure(r"BAR\d is \d+M @ 0x0\b"),
        r"Can't find an IRQ for your NVIDIA card",
        sure(r"The system BIOS may have misconfigured your (GPU|graphics card)"),
        hint(r"BAR \d+\b.{0,60}(can't assign; no space|no space for|failed to assign)", beside=r"nvidia|NVRM"),
        sure(r"nvidia [0-9a-f:.]+: .{0,40}can't enable device[:;] BAR \d+ .{1,60}not (assigned|claimed)"),
        r"Failed to re-allocate BAR1|Fatal Error while attempting to resize PCIe BARs",
        r"\[Plug & Play OS\] should be set to NO|\[Assign IRQ to VGA\] should be set to YES",
        r"nvidia\b.{0,30}Tried to get IRQ \d+, but another driver",
        r"No interrupts of any type are available\. Cannot use this GPU",
        hint(r"NVRM: pci_enable_device failed, aborting"),
        hint(r"NVRM: No address space to allocate resized BAR1"),
    ],
)
def bar_unassigned(gpus: PciGpus, nvml: Nvml | Unavailable, log: KernelLog | Unavailable) -> Iterator[Finding]:
    """The firmware gave a GPU no address range for its memory, so the driver cannot reach it.

    What: A GPU asks for a range of addresses through which its memory is seen, today often as large as the
    memory itself. Old firmware, or firmware set up for old systems, has no room below 4 GB and leaves
    the range out. It also happens in virtual machines with too small a window.

    Proof: The GPU's file `resource` in /sys/bus/pci/devices has no memory range, or the driver says
    "BAR1 is 0M" in the kernel's log.

    Repair: In the firmware setup (BIOS) switch "Above 4G Decoding" on, and CSM off; update the firmware. For a
    virtual machine enlarge its 64-bit MMIO window. The kernel parameter pci=realloc is the second
    thing to try. Not a matter of driver packages.

    Reference: https://github.com/NVIDIA/open-gpu-kernel-modules (nv-pci.c);
    https://docs.kernel.org/admin-guide/kernel-parameters.html (pci=realloc)
    """
    for gpu in silent_gpus(gpus, nvml):
        # Its registers alone are 16 MiB; a smaller region is one of ports, which says nothing.
        assigned = [size for _, size in gpu.regions if size >= 1 << 20]
        lines = log.lines if isinstance(log, KernelLog) else ()
        said = [line for line in lines if " is 0M @ 0x0" in line and _names(line, gpu.address)]
        if assigned and not gpu.unassigned and not said:
            continue
        missing = ", ".join(f"BAR{number}" for number in gpu.unassigned)
        resource = f"{missing}: no address" if missing else "no memory region is assigned"
        evidence = [] if assigned and not missing else [Evidence(f"{_BUS}/{gpu.address}/resource", resource)]
        evidence += [Evidence(log.source, line) for line in said[-2:] if isinstance(log, KernelLog)]
        yield Finding(
            f"{named(gpu)} was given no address range for its memory (BAR).",
            gpu.address,
            tuple(evidence),
            'Switch "Above 4G Decoding" on in the firmware setup of the machine (for a virtual machine: enlarge its '
            "64-bit MMIO window); if that does not help, try the kernel parameter pci=realloc.",
        )


@check(
    "health.fallen-off-bus",
    symptoms=[
        sure(r"\bfallen off (of )?the bus"),
        likely(r"\b(falls?|falling|fell) off (of )?the (pcie? )?bus"),
        # What answers 0xff to everything: gone, or switched off to save power as in laptops.
        likely(r"NVIDIA Corporation .{1,100}\(rev ff\)", without=r"bbswitch|bumblebee|optimus|\bprime|laptop|D3cold"),
        sure(r"\bXid(?: \([^)]+\)| error| code)?[:=]? ?79\b"),
        sure(r"\bGPU is lost\b"),
        sure(r"NVML_ERROR_GPU_IS_LOST|NVMLError_GpuIsLost"),
        r"Unable to determine the device handle for GPU ?[0-9a-fA-F:.]+: (Unknown Error|GPU is lost)",
        r"Unable to determine the device handle for gpu ?.{1,30}: Unknown Error",
        r"nvidia [0-9a-f:.]+: Unable to change power state from D3(cold|hot) to D0",
        hint(r"pciehp: Slot\(\S+\): (Link Down|Card not present)", beside=r"nvidia|NVRM"),
        r"A GPU crash dump has been created\. If possible, please run",
        hint(r"Attempting to remove device [0-9a-f:.]+ with non-zero usage count"),
    ],
)
def fallen_off_bus(
    gpus: PciGpus, nvml: Nvml | Unavailable, log: KernelLog | Unavailable, confinement: Confinement
) -> Iterator[Finding]:
    """A GPU has stopped answering on the PCI bus: it has fallen off the bus.

    What: The GPU worked, and then the machine could not reach it any more. Mostly it is power (a cable, a weak
    supply, a peak of load), heat, a loose seat or riser, or a dying GPU. The other GPUs go on, but
    programs that used this one hang or stop.

    Proof: NVML's return code 15 (GPU is lost), Xid 79 in the kernel's log, or a PCI configuration space that
    reads as ones only. Any one of them is enough.

    Repair: Save what can be saved, then switch the machine off completely and on again: a warm restart often
    does not bring the GPU back. If it happens again: power cables and supply, seat and riser,
    temperatures, firmware; lower clocks for a test (`nvidia-smi -lgc`); then the GPU in another
    machine. It is no matter of packages: do not reinstall the driver.

    Reference: https://docs.nvidia.com/deploy/xid-errors/ (Xid 79);
    https://github.com/NVIDIA/open-gpu-kernel-modules/issues/507
    """
    answers = nvml_by_address(gpus, nvml) if isinstance(nvml, Nvml) else {}
    well = {address for address, answer in answers.items() if answer.return_code == 0 and not answer.field_errors}
    proofs: dict[str, list[Evidence]] = {}
    for gpu in gpus.gpus:
        if not gpu.readable:
            config = Evidence(f"{_BUS}/{gpu.address}/config", "reads as ff ff ff ff: nobody answers")
            proofs.setdefault(gpu.address, []).append(config)
    lost = [answer for answer in nvml.gpus if answer.return_code == GPU_IS_LOST] if isinstance(nvml, Nvml) else []
    for answer in lost:
        place = next((address for address, known in answers.items() if known is answer), f"GPU {answer.number}")
        code = Evidence("NVML", f"GPU {answer.number}: {answer.return_code} {answer.return_name}")
        proofs.setdefault(place, []).append(code)
    if isinstance(log, KernelLog):
        # Also from before the driver was loaded anew: that brings no GPU back, and NVML says which are well.
        for told in xid_lines(log.lines):
            if told.number == _FALLEN_OFF and not told.of_switch:
                proofs.setdefault(told.address, []).append(Evidence(log.source, told.line))
    names = {gpu.address: named(gpu) for gpu in gpus.gpus}
    where = "On the host: save" if confinement.container else "Save"
    for place, evidence in sorted(proofs.items()):
        if place not in well:
            yield Finding(
                f"{names.get(place) or (place if place.startswith('GPU') else f'GPU {place}')} has fallen off the bus: "
                "the machine cannot reach it any more.",
                place,
                tuple(evidence[:5]),
                f"{where} your work, switch the machine off completely, then on (a warm restart is not enough). If it "
                "happens again, check power cables and supply, seat and temperature; do not reinstall the driver.",
            )


def _names(line: str, address: str) -> bool:
    """Does the driver's line speak of this GPU? It writes (PCI:0000:01:00.0), and (PCI:0001:00.0) in old releases."""
    place = line.rpartition("(PCI:")[2].partition(")")[0].lower()
    return place == address or place == f"00{address.partition(':')[2]}"


@check(
    "gpu.count-unexpected",
    after=("health.fallen-off-bus", "driver.nvml-failed", "driver.gpu-missing-in-nvml", *WHY_NVML_FAILS),
    no_symptom="it is told only to those who asked with --expect-gpus",
)
def count_unexpected(
    expected: ExpectedGpus, gpus: PciGpus, loaded: LoadedDriver, nvml: Nvml | Unavailable, confinement: Confinement
) -> Iterator[Finding]:
    """The number of usable GPUs is not the one that --expect-gpus gives.

    What: Whoever runs this machine said how many GPUs it has. NVML lists another number that answer.
    Schedulers and training runs that count on all of them will fail or wait.

    Proof: NVML's list, against the number given.

    Repair: See which address is missing on the bus or in NVML's list; the other findings say why. If the
    machine was changed on purpose, change the number.

    Reference: `gpudoctor check --help`
    """
    if expected.number is None:
        return
    if isinstance(nvml, Nvml):
        usable = sum(gpu.return_code == 0 for gpu in nvml.gpus) if nvml.return_code == 0 else 0
        answers = ", ".join(gpu.pci_address or str(gpu.number) for gpu in nvml.gpus if gpu.return_code == 0)
        told = Evidence("NVML", answers or f"none ({nvml.return_code} {nvml.return_name})")
    elif isinstance(nvml, NotRunning) and not loaded.loaded and not confinement.wsl:
        usable, told = 0, Evidence("/proc/modules", "no NVIDIA driver is loaded")
    else:
        raise nvml
    if usable == expected.number:
        return
    bus = ", ".join(f"{gpu.address} ({gpu.driver or 'no driver'})" for gpu in gpus.gpus)
    count = f"{usable} GPU answers" if usable == 1 else f"{usable} GPUs answer"
    yield Finding(
        f"{count}, {expected.number} {'is' if expected.number == 1 else 'are'} expected.",
        "",
        (Evidence("--expect-gpus", str(expected.number)), told, Evidence(_BUS, bus or "no NVIDIA GPU")),
        "For a GPU that the bus lacks, look at power, seat and slot; for one that does not answer, at the kernel's log."
        if usable < expected.number
        else "If the machine was changed on purpose, change the number that is expected.",
    )
