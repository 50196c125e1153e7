"""SELinux: is it enforcing, what did it deny on NVIDIA's device nodes, and which switches of its policy are on."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.system import Boot
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact

ENFORCE = "/sys/fs/selinux/enforce"
BOOLEANS = "/sys/fs/selinux/booleans"
LABEL = "/proc/self/attr/current"
AUDIT_LOG = "/var/log/audit/audit.log"
_TAIL = 1024 * 1024  # bytes

# Of container-selinux, the narrower one first: the devices of the X server's label alone, and all devices.
FOR_CONTAINERS = ("container_use_xserver_devices", "container_use_devices")


class Denial(NamedTuple):
    """One refused access to a device node of NVIDIA's."""

    path: str  # "/dev/nvidia0"
    permissions: tuple[str, ...]  # "read", "write", "open", "ioctl", "map"
    command: str  # the program, as the kernel names it
    source: str  # its type: "container_t"
    target: str  # the node's type: "xserver_misc_device_t", or "device_t" where it was never labelled
    text: str  # the line, as evidence
    where: str  # which log: "/dev/kmsg", "/var/log/audit/audit.log"


class Selinux(NamedTuple):
    """What SELinux does here. `mode` is "" where there is none, or where a container is not shown it."""

    mode: str  # "enforcing", "permissive", ""
    label: str  # the type that this process runs under: "container_t", "unconfined_t", "" without SELinux
    booleans: Mapping[str, bool]  # those of FOR_CONTAINERS that the policy has
    denials: tuple[Denial, ...]  # of this boot, oldest first; looked for only where it is enforcing
    unread: str  # why denials may be missing above, "" if none are


@fact
def selinux(host: Host, log: KernelLog | Unavailable, boot: Boot | Unavailable) -> Selinux:
    """From /sys/fs/selinux, the label of this process, and the logs: the kernel's, or auditd's where that runs."""
    enforce = (host.read(ENFORCE) or "").strip()
    label = type_of((host.read(LABEL) or "").strip("\0\n "))
    mode = {"1": "enforcing", "0": "permissive"}.get(enforce, "")
    if mode != "enforcing":
        return Selinux(mode, label, {}, (), "")
    booleans = {}
    for name in FOR_CONTAINERS:
        text = host.read(f"{BOOLEANS}/{name}")  # the value now, and the one that was set and waits to be committed
        if text and text[:1] in "01":
            booleans[name] = text[0] == "1"
    found, unread = [], ""
    if isinstance(log, KernelLog):
        found += denials_in(log.lines, log.source)
    try:
        text = host.read(AUDIT_LOG, last=_TAIL)
        since = boot.time if isinstance(boot, Boot) else 0.0
        found += denials_in((line for line in (text or "").splitlines() if _time_of(line) >= since), AUDIT_LOG)
        if text is None and isinstance(log, Unavailable):
            unread = str(log)  # without auditd the kernel's own log has them
    except Unavailable as reason:
        unread = str(reason)
    return Selinux(mode, label, booleans, tuple(found), unread)


def denials_in(lines: Iterable[str], where: str) -> list[Denial]:
    """The refusals that were carried out, of what a program needs to compute."""
    return [denial for line in lines if "avc:" in line and "nvidia" in line and (denial := _denial(line, where))]


def relevant_audit(text: str) -> str:
    """auditd's log as far as it is judged."""
    return "".join(f"{line}\n" for line in text.splitlines() if denials_in([line], ""))


# Texts, compiled when they are first needed: on most machines nothing is ever denied.
# avc:  denied  { read write } for  pid=1 comm="python" name="nvidia0" dev="devtmpfs" ino=1 scontext=... tcontext=...
_DENIED = r"avc:\s+denied\s+\{ ([a-z_ ]{1,200}) \} for\s"
_FIELD = r'\b(comm|path|name|scontext|tcontext|tclass|permissive)=(?:"([^"]*)"|(\S+))'
_STAMP = r"\baudit\((\d{9,11})\.\d+:\d+\)"
# Looking at a node (getattr) is no use of it; nvidia-modeset and nvidia-drm are the display's.
_USES = ("read", "write", "open", "ioctl", "map")
_NODE = r"/dev/nvidia(?:\d+|ctl|-uvm|-uvm-tools|-caps/\S+)"


def _denial(line: str, where: str) -> Denial | None:
    denied = re.search(_DENIED, line)
    fields = {key: quoted or plain for key, quoted, plain in re.findall(_FIELD, line)}
    if not denied or fields.get("tclass") != "chr_file" or fields.get("permissive") == "1":
        return None
    name = fields.get("path") or f"/dev/{fields.get('name', '')}"
    permissions = tuple(word for word in denied[1].split() if word in _USES)
    if not permissions or not re.fullmatch(_NODE, name):
        return None
    source, target = type_of(fields.get("scontext", "")), type_of(fields.get("tcontext", ""))
    return Denial(name, permissions, fields.get("comm", ""), source, target, line.strip(), where)


def _time_of(line: str) -> float:
    stamp = re.search(_STAMP, line)
    return float(stamp[1]) if stamp else 0.0


def type_of(context: str) -> str:
    """ "container_t" of "system_u:system_r:container_t:s0:c1,c2"; "" for labels of other security modules."""
    words = context.split(":")
    return words[2] if len(words) >= 4 and words[2].endswith("_t") else ""
