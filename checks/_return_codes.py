"""What the return codes of NVML and libcuda mean, and what to do, in words for the user."""

from typing import NamedTuple

VERSION_MISMATCH = 18  # NVML_ERROR_LIB_RM_VERSION_MISMATCH
LIBRARY_NOT_FOUND = 12  # NVML_ERROR_LIBRARY_NOT_FOUND
GPU_IS_LOST = 15  # NVML_ERROR_GPU_IS_LOST
RESET_REQUIRED = 16  # NVML_ERROR_RESET_REQUIRED
NO_PERMISSION = 4  # NVML_ERROR_NO_PERMISSION


class Meaning(NamedTuple):
    """`words` follow "NVML cannot start: " or "CUDA cannot start: "; `remedy` is one or two sentences."""

    words: str
    remedy: str


SEE_LOG = "Read the kernel's log (`sudo dmesg | grep -E 'NVRM|Xid'`): the line before the first failure names the cause"

_NVML = {
    NO_PERMISSION: Meaning(
        "this user may not use the GPU",
        "Look at the owner and group of /dev/nvidia*, and join that group; if they allow it, SELinux or a device "
        "cgroup forbids it (`ausearch -m avc`).",
    ),
    6: Meaning("it finds no GPU to speak of", f"{SEE_LOG}."),
    8: Meaning(
        "a GPU lacks power: its supply cables are not attached",
        "Power the machine off and attach the GPU's own power cables.",
    ),
    9: Meaning(
        "it finds no loaded driver",
        "`sudo modprobe nvidia`: the message, and the kernel's log, say why it is not loaded.",
    ),
    10: Meaning("the driver did not answer it in time", f"{SEE_LOG}. Then reboot."),
    11: Meaning(
        "the kernel sees a fault in a GPU's interrupts", f"{SEE_LOG}. Then reboot; next look at the firmware setup."
    ),
    LIBRARY_NOT_FOUND: Meaning(
        "libnvidia-ml.so.1 cannot be loaded", "Install the package that brings it, at the version of the loaded driver."
    ),
    13: Meaning(
        "the library lacks functions that its own driver should have",
        "Reinstall the package of libnvidia-ml.so.1 at the version of the loaded driver.",
    ),
    GPU_IS_LOST: Meaning(
        "a GPU is lost: it has fallen off the bus", "Power the machine off completely, then on; a reset is not enough."
    ),
    RESET_REQUIRED: Meaning(
        "a GPU must be reset first",
        "Stop what uses the GPU, then `sudo nvidia-smi -r`; if it refuses, reboot the machine.",
    ),
    17: Meaning(
        "the operating system denies access to the GPU",
        "A device cgroup, a sandbox or a batch system forbids it: ask there for the GPU.",
    ),
    VERSION_MISMATCH: Meaning(
        "the library and the loaded driver are of different versions", "Reboot, so that both are of the same version."
    ),
    23: Meaning("the system lacks memory or file handles for it", "Free memory, then try again."),
    999: Meaning(
        "the driver fails in a way it has no name for", f"{SEE_LOG}. Then reboot, which clears most such states."
    ),
}

_CUDA = {
    2: Meaning("the GPU or the system has no memory left for it", "See with nvidia-smi who holds the memory."),
    34: Meaning(
        "it is the stub that the toolkit has for linking, not the driver's library",
        "Take the toolkit's stubs folder out of LD_LIBRARY_PATH and /etc/ld.so.conf.d.",
    ),
    46: Meaning(
        "the GPU is busy or set to serve one process only",
        "See with `nvidia-smi -q -d COMPUTE` who holds it; if its owner agrees, `sudo nvidia-smi -c 0`.",
    ),
    100: Meaning(
        "it sees no GPU",
        "Look at CUDA_VISIBLE_DEVICES (empty or wrong hides every GPU), at /dev/nvidia*, and at MIG instances.",
    ),
    101: Meaning("it is asked for a GPU that is not there", "Correct CUDA_VISIBLE_DEVICES: no such index or UUID."),
    304: Meaning(
        "a call to the operating system failed", "Look at /dev/nvidia-uvm, and at memory limits (`ulimit -a`)."
    ),
    802: Meaning(
        "the links between the GPUs are not up yet",
        "On NVSwitch machines start nvidia-fabricmanager, of exactly the driver's version: `systemctl status "
        "nvidia-fabricmanager` says what it lacks.",
    ),
    803: Meaning(
        "this libcuda does not fit the loaded driver",
        "If the library lies in a compat folder, take that out of LD_LIBRARY_PATH and /etc/ld.so.conf.d, or update the "
        "driver; else install libcuda at the driver's version.",
    ),
    804: Meaning(
        "CUDA's forward compatibility libraries do not work on this GPU",
        "Take the compat folder out of LD_LIBRARY_PATH and /etc/ld.so.conf.d: they serve data centre GPUs only.",
    ),
    999: Meaning(
        "the driver fails in a way it has no name for",
        "After a suspend, reload nvidia_uvm (`sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm`); else reboot.",
    ),
}


def nvml_meaning(code: int) -> Meaning:
    """Of an nvmlReturn_t."""
    return _NVML.get(code, Meaning("an error that is seldom seen", f"{SEE_LOG}."))


def cuda_meaning(code: int) -> Meaning:
    """Of a CUresult."""
    return _CUDA.get(code, Meaning("an error that is seldom seen", f"{SEE_LOG}."))
