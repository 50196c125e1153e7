"""Keeps NVIDIA's libraries from changing the machine while they are asked how it is."""

import ctypes
import os

_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522  # capabilities 0 to 31, then 32 to 63
_CAP_SYS_MODULE = 1 << 16
_CAP_MKNOD = 1 << 27


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def leave_driver_unloaded() -> None:
    """Where NVIDIA's kernel module is not loaded, give up for good every privilege by which this process could load it.

    libnvidia-ml and libcuda, run by root (or through the setuid nvidia-modprobe by anybody), load the module and create
    device nodes: a diagnosis must not. Where the module is loaded they keep their privileges: whether missing device
    nodes come into being on first use is then part of the answer, as every program that computes would get it.
    """
    if os.path.exists("/sys/module/nvidia"):
        return
    libc = ctypes.CDLL(None)
    # Without this, a setuid program, or any program that root starts, would get the privileges back.
    # A sandbox may forbid these calls: then it also forbids what they are to prevent, so their failure changes nothing.
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = _Header(_CAPABILITY_VERSION_3, 0)
    capabilities = (_Capabilities * 2)()
    libc.capget(ctypes.byref(header), capabilities)
    for kind in ("effective", "permitted", "inheritable"):
        setattr(capabilities[0], kind, getattr(capabilities[0], kind) & ~(_CAP_SYS_MODULE | _CAP_MKNOD))
    libc.capset(ctypes.byref(header), capabilities)
