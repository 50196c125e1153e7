"""Whether all processes of the machine can be seen from here, or only those of a PID namespace or of one user."""

from typing import NamedTuple

from gpudoctor.host import Host
from gpudoctor.registry import fact

# The kernel gives its first PID namespace this number, always (PROC_PID_INIT_INO in include/linux/proc_ns.h).
_FIRST_NAMESPACE = "pid:[4026531836]"


class ProcessView(NamedTuple):
    """What NVML and /proc can show of other processes."""

    whole: bool  # False: those outside of this container, or (mount option hidepid) of other users, are not seen


@fact
def process_view(host: Host) -> ProcessView:
    """By the number of this process's PID namespace, and whether the first process can be seen."""
    return ProcessView(host.link("/proc/self/ns/pid") == _FIRST_NAMESPACE and host.status("/proc/1") is not None)
