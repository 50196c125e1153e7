"""Which processes hold the GPUs' device files, and which still run on driver libraries that an upgrade has replaced.

In a child of its own, for reading /proc/PID/maps waits for ever on a process that hangs inside the driver.
"""

import os

from gpudoctor.probes.mappings import Mapping, parse_maps

_DEVICES = "/dev/nvidia"
_DELETED = " (deleted)"
_PF_KTHREAD = 0x00200000

# The driver's own libraries as its README lists them; the container toolkit's share the prefix libnvidia-.
_DRIVER_LIBRARIES = (
    *("libcuda.so.", "libcudadebugger.so.", "libnvcuvid.so.", "libnvidia-", "libnvoptix.so.", "libvdpau_nvidia.so."),
    *("libGLX_nvidia.so.", "libEGL_nvidia.so.", "libGLESv1_CM_nvidia.so.", "libGLESv2_nvidia.so."),
)
_NOT_DRIVER = "libnvidia-container"


def ask_processes(proc: str = "/proc") -> dict[str, object]:
    """All processes of this PID namespace that `proc` shows.

    `holders`: processes with device files of NVIDIA's open or mapped, /dev/nvidia0 and the like in `devices`; not the
    probes that ask NVML and libcuda meanwhile.
    `python`: the prefix of the Python environment whose packages they have loaded, null if none.
    `deleted_libraries`: processes that have driver libraries mapped whose files are gone, in `paths`.
    `command` is the name of the program without its arguments: those can hold secrets.
    `unreadable`: how many processes this user may not, or not wholly, look into.
    `others_hidden`: /proc is mounted with hidepid, so that other users' processes are not even counted.
    """
    pids = sorted(int(name) for name in os.listdir(proc) if name.isascii() and name.isdigit())
    holders: list[dict[str, object]] = []
    deleted_libraries: list[dict[str, object]] = []
    unreadable = 0
    for pid in pids:
        process = f"{proc}/{pid}"
        devices: set[str] = set()
        mappings: list[Mapping] = []
        try:
            try:
                devices = _open_devices(process)
                mappings = list(parse_maps(_text(f"{process}/maps")))
            except PermissionError:
                unreadable += not _is_kernel_thread(process)
            devices |= {mapping.path for mapping in mappings if mapping.path.startswith(_DEVICES)}
            paths = {mapping.path for mapping in mappings if mapping.deleted and _is_driver_library(mapping)}
            if devices and not _is_probe(process):
                python = _python_environment(mappings)
                holders.append({**_identity(process, pid), "devices": sorted(devices), "python": python})
            if paths:
                deleted_libraries.append({**_identity(process, pid), "paths": sorted(paths)})
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    return {
        "holders": holders,
        "deleted_libraries": deleted_libraries,
        "unreadable": unreadable,
        "others_hidden": 1 not in pids,
    }


def _open_devices(process: str) -> set[str]:
    devices = set()
    for descriptor in os.listdir(f"{process}/fd"):
        try:
            target = os.readlink(f"{process}/fd/{descriptor}")
        except FileNotFoundError:
            continue  # closed while we looked
        if target.startswith(_DEVICES):
            devices.add(target.removesuffix(_DELETED))
    return devices


def _python_environment(mappings: list[Mapping]) -> str | None:
    """From where a package with compiled code was loaded: the interpreter's own file is the base Python's."""
    for mapping in mappings:
        before, found, _ = mapping.path.partition("/site-packages/")
        prefix, _, folder = before.rpartition("/lib/python")
        if found and prefix and "/" not in folder:
            return prefix
    return None


def _is_driver_library(mapping: Mapping) -> bool:
    name = mapping.path.rpartition("/")[2]
    return name.startswith(_DRIVER_LIBRARIES) and ".so." in name and not name.startswith(_NOT_DRIVER)


def _identity(process: str, pid: int) -> dict[str, object]:
    """Raises FileNotFoundError or ProcessLookupError if the process has ended."""
    user_ids = next(line for line in _text(f"{process}/status").split("\n") if line.startswith("Uid:"))
    return {"pid": pid, "user_id": int(user_ids.split()[1]), "command": _text(f"{process}/comm").removesuffix("\n")}


def _is_probe(process: str) -> bool:
    """Is it one of gpudoctor's own probes, which open the GPUs for a moment?"""
    try:
        return "from gpudoctor.probes import main" in _text(f"{process}/cmdline")
    except (FileNotFoundError, PermissionError):
        return False


def _is_kernel_thread(process: str) -> bool:
    """Kernel threads have no files and no libraries, yet nobody but root may look for them."""
    after_command = _text(f"{process}/stat").rpartition(")")[2].split()
    return bool(int(after_command[6]) & _PF_KTHREAD)


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
