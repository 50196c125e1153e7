"""Which GPUs the checks of health speak of, how they are, and what is to be done with one that must be reset."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from gpudoctor import Evidence, NotRunning, Unavailable
from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.xids import RECOVERY, Xid, Xids
from gpudoctor.knowledge.xid import known_xid

from ._gpus import named, nvml_by_address

GSP = frozenset((119, 120))
CONTAINED = 94  # only the program that had the memory was ended
MEMORY = frozenset((48, CONTAINED, 95, 140, 171, 172))
REMAPPED, REMAP_FAILED, MANY_CORRECTED = 63, 64, 92
RETIREMENT = frozenset((REMAPPED, REMAP_FAILED, MANY_CORRECTED))
LINKS = frozenset((74, 108, 136, 137, *range(144, 151), 155, 166, 170))
_LOST = 79
_CLEARED_AWAY = frozenset((43, 45))  # they only say that a program's work was taken off the GPU
TOLD_ELSEWHERE = frozenset((_LOST, RECOVERY)) | GSP | MEMORY | RETIREMENT | LINKS | _CLEARED_AWAY

_REBOOTS = ("node_reboot", "system_reboot")  # NVML's recovery actions that are more than a reset of the GPU
_MOST_LINES = 3


class Watched(NamedTuple):
    """The GPUs of this system, by address. `only`: a container, or a job, was given these, and is told of no others."""

    answers: Mapping[str, NvmlGpu]
    names: Mapping[str, str]
    nvswitches: int
    only: bool
    confinement: Confinement
    asked: bool  # NVML answered

    def label(self, address: str) -> str:
        """ "GPU 0000:01:00.0 (NVIDIA H200)"."""
        answer = self.answers.get(address)
        own = f"GPU {address} ({answer.name})" if answer is not None and answer.name else f"GPU {address}"
        return self.names.get(address, own)

    def is_well(self, address: str) -> bool:
        """NVML answers for it without an error."""
        answer = self.answers.get(address)
        return answer is not None and answer.return_code == 0 and not answer.field_errors

    def needs_nothing(self, address: str) -> bool:
        """It answers, and its driver (of 2025 or later) says that no reset is due: what was reported is over."""
        return self.is_well(address) and self.value(address, "recovery_action") == "none"

    @property
    def all_well(self) -> bool:
        return self.asked and bool(self.answers) and all(map(self.is_well, self.answers))

    def value(self, address: str, field: str) -> object:
        """What NVML tells of it; None: nothing."""
        answer = self.answers.get(address)
        return None if answer is None else answer.values.get(field)

    def reset(self, address: str, xids: Xids | Unavailable) -> str:
        """A sentence that says how the GPU is reset, least invasive first; what the driver asks for goes before."""
        answer = self.answers.get(address)
        stop = "Stop what uses the GPUs" if self.nvswitches else "Stop what uses the GPU"
        asked = xids.recovery_of(address) if isinstance(xids, Xids) else ""
        if "Reboot" in asked or self.value(address, "recovery_action") in _REBOOTS:
            return self.on_the_host(f"{stop}, and restart the machine: the driver says that a reset is not enough.")
        which = "" if self.nvswitches else f" -i {address if answer is None else answer.number}"
        links = " (all GPUs at once: they share NVSwitches)" if self.nvswitches else ""
        return self.on_the_host(
            f"{stop}, then `sudo nvidia-smi{which} -r`{links}; if that is refused, restart the machine."
        )

    def on_the_host(self, words: str) -> str:
        return f"On the host: {words[0].lower()}{words[1:]}" if self.confinement.container else words


def watched(gpus: PciGpus | Unavailable, nvml: Nvml | Unavailable, confinement: Confinement) -> Watched:
    """Raises NotRunning where there is no driver that GPUs could be sick with."""
    if isinstance(nvml, NotRunning):
        raise nvml
    bus = gpus if isinstance(gpus, PciGpus) else PciGpus(())
    answers = nvml_by_address(bus, nvml) if isinstance(nvml, Nvml) else {}
    only = isinstance(nvml, Nvml) and bool(answers) and (bool(confinement.container) or not nvml.complete)
    names = {gpu.address: named(gpu) for gpu in bus.gpus}
    return Watched(answers, names, bus.nvswitches, only, confinement, isinstance(nvml, Nvml) and not nvml.return_code)


def reported(xids: Xids, numbers: Collection[int], own: Watched) -> Mapping[str, Sequence[Xid]]:
    """What still stands of these numbers by the GPU's address, newest first."""
    found: dict[str, list[Xid]] = {}
    for xid in xids.unsettled(numbers):
        if not own.only or xid.gpu in own.answers:
            found.setdefault(xid.gpu, []).append(xid)
    return dict(sorted(found.items()))


def of_program(number: int) -> bool:
    """Does NVIDIA's catalogue ask no more than to start the program again?"""
    return number in _CLEARED_AWAY or (number not in TOLD_ELSEWHERE and known_xid(number).action == "RESTART_APP")


def lines_of(xids: Xids, reports: Sequence[Xid]) -> tuple[Evidence, ...]:
    """The newest lines, and NVIDIA's own word for the newest number."""
    if not reports:
        return ()
    more = len(reports) - _MOST_LINES
    shown = [Evidence(xids.source, xid.line) for xid in reports[:_MOST_LINES]]
    if more > 0:
        shown.append(Evidence(xids.source, f"and {more} more like them"))
    known = known_xid(reports[0].number)
    if known.mnemonic:
        actions = ", then ".join(dict.fromkeys(word for word in (known.action, known.next_action) if word))
        said = f"{known.mnemonic}" + (f"; NVIDIA's action: {actions}" if actions else "")
        shown.append(Evidence(f"NVIDIA's list of Xids, {known.number}", said))
    needed = xids.recovery_of(reports[0].gpu)
    if needed:
        shown.append(Evidence("the driver's recovery action (Xid 154)", needed))
    return tuple(shown)


def numbered(reports: Sequence[Xid]) -> str:
    """ "Xid 48", "Xids 48 and 94"."""
    numbers = [str(number) for number in sorted({xid.number for xid in reports})]
    return f"Xid {numbers[0]}" if len(numbers) == 1 else f"Xids {', '.join(numbers[:-1])} and {numbers[-1]}"
