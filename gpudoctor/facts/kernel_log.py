"""The kernel's log since this boot, in the lines that concern NVIDIA devices and modules."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gpudoctor.host import Host, NotRunning, Unavailable
from gpudoctor.registry import fact


class KernelLog(NamedTuple):
    """Lines of interest (NVRM, nvidia, nouveau, module signatures, BARs, suspend), oldest first, without stamps."""

    lines: tuple[str, ...]
    source: str  # "dmesg", "/var/log/kern.log", ...

    def matching(self, *words: str) -> tuple[str, ...]:
        """The lines that contain one of these words (as they stand, case matters)."""
        return tuple(line for line in self.lines if any(word in line for word in words))


_RECORDS = "/dev/kmsg"  # "priority,number,microseconds,flags;message"; a line that starts with a space is an addition
_FILES = ("/var/log/kern.log", "/var/log/syslog", "/var/log/messages")
_TAIL = 1024 * 1024  # bytes
FIRST_LINE = "Linux version "  # what the kernel says first at each boot

_WORDS = (
    "NVRM",
    "nvidia",
    "NVIDIA",
    "nouveau",
    "nova",
    "vfio-pci",
    "Xid",
    "gsp_",
    "module verification",
    "module is rejected",
    "unsigned module",
    "unavailable key",
    "PKCS#7",
    "Lockdown:",
    "PM: suspend",
    "can't assign",  # a BAR
    "failed to assign",
    ": no space for",
    "DMAR: [",  # a fault of Intel's IOMMU; AMD's names the driver
    "dxgk",  # Windows's GPU in WSL
)


@fact
def kernel_log(host: Host) -> KernelLog:
    """From /dev/kmsg; where that is for root alone, from the system's log files, which mostly a group may read.

    Containers have no /dev/kmsg: there dmesg is asked. On a disk nothing tells which boot a log is about:
    NotRunning is raised.
    """
    refusals = []
    try:
        records = host.read(_RECORDS)
        if records:
            messages = (line.partition(";")[2] for line in records.splitlines() if line[:1].isdigit())
            return KernelLog(tuple(_of_interest(messages)), _RECORDS)
        printed = host.run(["dmesg"])
        if printed is not None and printed.exit_code == 0 and _is_log(printed.stdout):
            return KernelLog(tuple(_of_interest(_message(line) for line in printed.stdout.splitlines())), "dmesg")
        refusals.append(_refusal(printed.stderr) if printed is not None else "there is no dmesg")
    except NotRunning:
        raise
    except Unavailable as reason:
        refusals.append(str(reason))
    for path in _FILES:
        try:
            text = host.read(path, last=_TAIL)
        except Unavailable as reason:
            refusals.append(str(reason))
            continue
        if text:
            return KernelLog(tuple(_of_interest(_of_this_boot(text))), path)
    raise Unavailable(f"the kernel's log cannot be read: {'; '.join(refusals)}; as root it can")


def _is_log(text: str) -> bool:
    """Nothing at all, or bytes that are no text, are no log in which nothing of interest stands."""
    return bool(text.strip()) and "\0" not in text


def _refusal(message: str) -> str:
    return message.strip().splitlines()[-1] if message.strip() else "dmesg printed no log"


def concerns_gpu(message: str) -> bool:
    """Is this a message of interest?"""
    return any(word in message for word in _WORDS)


def is_kernel_log(question: str) -> bool:
    """Is this question of a snapshot, "read /dev/kmsg", one for the kernel's log?"""
    return question == "run dmesg" or question.startswith(tuple(f"read {path}" for path in (_RECORDS, *_FILES)))


def _of_interest(messages: Iterable[str]) -> Iterator[str]:
    return (message for message in messages if concerns_gpu(message))


def _of_this_boot(text: str) -> list[str]:
    """The kernel's messages in a file that syslog wrote: "Nov 23 20:01:02 host kernel: [   12.345678] message"."""
    messages: list[str] = []
    for line in text.splitlines():
        _, mark, message = line.partition(" kernel: ")
        message = _message(message)
        if message.startswith(FIRST_LINE):
            messages.clear()
        if mark:
            messages.append(message)
    return messages


def _message(line: str) -> str:
    """Without "<6>", "[   12.345678]" and the caller "[  T123]"; what else stands in brackets, as [drm], stays."""
    if line.startswith("<"):
        line = line.partition(">")[2]
    for _ in range(2):
        stamp, bracket, rest = line.partition("]")
        inside = stamp.removeprefix("[").strip().lstrip("TC").replace(".", "")
        if not (bracket and stamp.startswith("[") and inside.isdigit()):
            break
        line = rest
    return line.strip()
