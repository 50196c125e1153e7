"""What the driver reported as Xid since this boot: which GPU, which number, and what it said."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.registry import fact


class XidLine(NamedTuple):
    """One line of the log in which the driver reported something, as it stands there."""

    address: str  # of the PCI bus, "0000:04:00.0"; its domain is 0000 where the driver names none
    domain_named: bool  # False: old drivers leave the domain out
    number: int  # 79
    text: str  # "GPU has fallen off the bus."
    process: str  # "python3 (4711)", "" where the driver does not know it
    line: str  # as the log has it
    of_switch: bool = False  # an SXid: the address is an NVSwitch's

    def may_be_of(self, gpu: str) -> bool:
        """Is it of the GPU with this address? Also where the driver names no domain, and the rest is the same."""
        if self.of_switch:
            return False
        own, asked = (address.lower().partition(".")[0] for address in (self.address, gpu))
        return own == asked or (not self.domain_named and own.partition(":")[2] == asked.partition(":")[2])


class Xid(NamedTuple):
    """One report. `settled`: later the driver was loaded anew, or said that this GPU needs no recovery."""

    gpu: str  # its PCI address, "0000:04:00.0"
    number: int  # 79
    text: str  # "GPU has fallen off the bus."
    process: str  # "python3 (4711)", "" where the driver does not know it
    line: str  # as the log has it
    settled: bool = False


class SwitchFault(NamedTuple):
    """A fatal report (SXid) of an NVSwitch."""

    switch: str  # its PCI address
    number: int
    line: str


class Xids(NamedTuple):
    """All reports, newest first."""

    xids: tuple[Xid, ...]
    switch_faults: tuple[SwitchFault, ...]
    source: str  # of the log: "dmesg", "/dev/kmsg"

    def unsettled(self, numbers: Collection[int]) -> tuple[Xid, ...]:
        """Those of these numbers that still stand."""
        return tuple(xid for xid in self.xids if xid.number in numbers and not xid.settled)

    def recovery_of(self, gpu: str) -> str:
        """What the driver itself says that this GPU needs ("GPU Reset Required"), "" nothing."""
        newest = next((xid for xid in self.xids if xid.number == RECOVERY and xid.gpu == gpu), None)
        return "" if newest is None or newest.settled else _recovery_in(newest.text)


RECOVERY = 154  # "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"
_NONE = "None"
_LOADED = "NVRM: loading NVIDIA UNIX"

# "NVRM: Xid (PCI:0000:3b:00 GPU-I:05): 94, pid=7194, name=python3, Contained: ..."; old drivers leave out "PCI:", or
# the domain. What an NVSwitch says begins alike: "nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 20034, Fatal, Link 30".
# Patterns as texts: they are compiled with the first Xid, which most machines never see.
_XID = (
    r"(?i)(S?)Xid \((?:PCI:)?((?:[0-9a-f]{4,8}:)?[0-9a-f]{2,4}:[0-9a-f]{2}(?:\.[0-7])?)[^)]{0,40}\):"
    r" ?(\d{1,6})\b,? ?(.*)"
)
_PROCESS = r"pid=([^,]{1,40})(?:, name=([^,]{0,40}))?(?:, |$)"


def xid_lines(lines: Iterable[str]) -> Iterator[XidLine]:
    """What is reported in these lines of the kernel's log, in their order; other lines are passed over."""
    for line in lines:
        found = re.search(_XID, line) if "Xid (" in line else None
        if found is None:
            continue
        of_switch, place, number, text = found.groups()
        known = None if of_switch else re.match(_PROCESS, text)
        yield XidLine(
            _address(place),
            place.count(":") == 2,
            int(number),
            (text[known.end() :] if known else text).strip(),
            _process(known) if known else "",
            line,
            bool(of_switch),
        )


@fact
def xids(log: KernelLog) -> Xids:
    """From the kernel's log. The lines of each GPU are in the order in which the driver wrote them."""
    reports: list[Xid] = []
    faults: list[SwitchFault] = []
    settled: set[str] = set()
    loaded = max((place for place, line in enumerate(log.lines) if _LOADED in line), default=0)
    rows = [(row, True) for row in xid_lines(log.lines[:loaded])]
    rows += [(row, False) for row in xid_lines(log.lines[loaded:])]
    for row, before in reversed(rows):
        if row.of_switch:
            if row.text.startswith("Fatal") and not before:
                faults.append(SwitchFault(row.address, row.number, row.line))
            continue
        if row.number == RECOVERY and _recovery_in(row.text) == _NONE:
            settled.add(row.address)
        stands_no_more = before or row.address in settled
        reports.append(Xid(row.address, row.number, row.text, row.process, row.line, stands_no_more))
    return Xids(tuple(reports), tuple(faults), log.source)


def _recovery_in(text: str) -> str:
    """ "GPU Reset Required" of "... to 0x1 (GPU Reset Required)"."""
    return text.rpartition("(")[2].partition(")")[0]


def _address(place: str) -> str:
    """As in /sys/bus/pci/devices: 0000:04:00.0 for "0000:04:00", "00000000:04:00.0", and "0004:00" of old drivers."""
    slot, _, function = place.lower().partition(".")
    *domain, bus, device = slot.split(":")
    if not domain:
        domain, bus = ["0"], bus[-2:]
    return f"{int(domain[-1] or '0', 16):04x}:{bus.zfill(2)}:{device.zfill(2)}.{function or '0'}"


def _process(known: re.Match[str]) -> str:
    number, name = known[1].strip("'\""), (known[2] or "").strip()
    if not number.isdigit():
        return ""
    return f"{name} ({number})" if name and name != "<unknown>" else number
