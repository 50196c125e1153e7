"""How a container was set up, seen from inside: what was mounted into it, its control groups and its limits.

Whether this is a container, and of which engine, is `Confinement`'s to say; outside of one nothing is read here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gpudoctor.facts.answers import DriverAnswers, answer_of
from gpudoctor.facts.system import Confinement, pod_mounts, root_mounts
from gpudoctor.host import Host, Unavailable, quietly
from gpudoctor.registry import fact


class Mount(NamedTuple):
    """One line of /proc/self/mountinfo."""

    root: str  # what of the file system is shown: "/usr/lib/x86_64-linux-gnu/libcuda.so.570.195.03" of the host's
    point: str  # where it is shown
    kind: str  # "overlay", "tmpfs", "cgroup2"...
    options: tuple[str, ...]  # of the file system itself: "rw", "size=65536k"
    text: str  # the line, shortened to what the rest of this was read from


class Cgroups(NamedTuple):
    """How the host keeps its control groups."""

    version: int  # 1 or 2, 0 unknown
    systemd: bool | None  # systemd made the container's group, and may rewrite its rules; None: it does not show


class ContainerMounts(NamedTuple):
    """What of the host was put into this container. Nothing is known outside of one, or from an old snapshot."""

    told: bool  # False: the list of mounts is not whole, so that what is missing below may be there
    driver_files: tuple[str, ...]  # files and folders of the driver that were mounted: ".../libcuda.so.570.195.03"
    shared_memory: Mount | None  # /dev/shm
    cgroups: Cgroups

    def brought(self, *paths: str) -> bool:
        """Was one of these files mounted, by itself or with its folder?"""
        return any(path == point or path.startswith(f"{point}/") for path in paths for point in self.driver_files)

    @property
    def shared_memory_bytes(self) -> int | None:
        """The size of /dev/shm, None where no size was set: then half of the machine's memory is."""
        return _size(self.shared_memory.options) if self.shared_memory else None


class ContainerLimits(NamedTuple):
    """What this process may lock in memory, and whether it was given devices that need it."""

    locked_bytes: int | None  # the soft limit; None: unlimited, or the right CAP_IPC_LOCK goes before it
    text: str  # the line of /proc/self/limits
    rdma_devices: tuple[str, ...]  # /dev/infiniband/uverbs*, looked for where the limit is small


class NodeRefusals(NamedTuple):
    """With what error the kernel refused to open device nodes, after NVML had failed: {"/dev/nvidiactl": "EPERM"}."""

    refusals: Mapping[str, str]


_MOUNTS = "/proc/self/mountinfo"
_LIMITS = "/proc/self/limits"
_FOLDERS = ("/usr/local/nvidia", "/.singularity.d/libs")  # of clouds' own device plugins, and of apptainer
_IPC_LOCK = 1 << 14  # CAP_IPC_LOCK
_SMALL = 1 << 30  # bytes; from here on nobody asks for more
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@fact
def container_mounts(host: Host, confinement: Confinement) -> ContainerMounts:
    """From /proc/self/mountinfo, and /proc/self/cgroup where the mounts do not tell of control groups."""
    if not confinement.container:
        return ContainerMounts(False, (), None, Cgroups(0, None))
    mounts = list(_mounts(quietly(host.read, _MOUNTS) or ""))
    files = tuple(mount.point for mount in mounts if _is_driver_file(mount.point))
    shared = next((mount for mount in reversed(mounts) if mount.point == "/dev/shm"), None)  # the last one hides others
    groups = quietly(host.read, "/proc/self/cgroup") or ""
    # Every container has its own /proc; what lacks it was cut short, as older versions did with snapshots.
    told = any(mount.kind == "proc" and mount.point == "/proc" for mount in mounts)
    return ContainerMounts(told, files, shared, _cgroups(mounts, groups))


def _mounts(text: str) -> Iterator[Mount]:
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        words, rest = before.split(" "), after.split(" ")
        if len(words) < 6 or len(rest) < 3:
            continue
        root, point = _plain(words[3]), _plain(words[4])
        yield Mount(root, point, rest[0], tuple(rest[2].split(",")), f"{rest[0]} {rest[1]} {rest[2]}"[:120])


def _is_driver_file(path: str) -> bool:
    named = path.rpartition("/")[2].startswith(("libcuda.so", "libnvidia-ml.so"))
    return named or any(f"{path}/".startswith(f"{folder}/") for folder in _FOLDERS)


def _plain(path: str) -> str:
    """mountinfo writes blanks and the like as octal numbers."""
    if "\\" not in path:
        return path
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _cgroups(mounts: list[Mount], groups: str) -> Cgroups:
    """`groups` is the text of /proc/self/cgroup: "0::/..." of version 2, "4:devices:/..." of version 1."""
    kinds = {mount.kind for mount in mounts if mount.point.startswith("/sys/fs/cgroup")}
    lines = [line.split(":", 2) for line in groups.splitlines() if line.count(":") >= 2]
    devices = [line for line in lines if "devices" in line[1].split(",")]
    if devices or "cgroup" in kinds:  # also where both are mounted: device rules are version 1's then
        version = 1
    elif "cgroup2" in kinds or any(line[0] == "0" and not line[1] for line in lines):
        version = 2
    else:
        version = 0
    paths = [mount.root for mount in mounts if mount.kind in ("cgroup", "cgroup2")] + [line[2] for line in lines]
    if any(
        re.search(r"(?:docker|libpod|crio|cri-containerd|nerdctl)-[0-9a-f]+\.scope|kubepods\S*\.slice", path)
        for path in paths
    ):
        return Cgroups(version, True)
    if any(re.search(r"/(?:docker|libpod_parent|kubepods|default|k8s\.io)/", path) for path in paths):
        return Cgroups(version, False)
    return Cgroups(version, None)


def _size(options: tuple[str, ...]) -> int | None:
    text = next((option[5:] for option in options if option.startswith("size=")), "")
    number = text.rstrip("kmg")
    return int(number) * _UNITS.get(text[len(number) :], 1) if number.isdecimal() and len(number) < 20 else None


def relevant_mounts(text: str) -> str:
    """Of /proc/self/mountinfo the lines that something is read from, for snapshots; no other mounts are shown."""
    kept = {*root_mounts(text), *pod_mounts(text)}
    for line in text.splitlines():
        for mount in _mounts(line):
            own = (mount.kind == "proc" and mount.point == "/proc") or mount.point == "/dev/shm"
            if own or mount.kind in ("cgroup", "cgroup2") or _is_driver_file(mount.point):
                kept.add(line)
    return "".join(f"{line}\n" for line in text.splitlines() if line in kept)


@fact
def container_limits(host: Host, confinement: Confinement) -> ContainerLimits:
    """From /proc/self/limits, and where the limit is small from /proc/self/status and /dev/infiniband."""
    if not confinement.container:
        return ContainerLimits(None, "", ())
    lines = (host.read(_LIMITS) or "").splitlines()
    line = next((line for line in lines if line.startswith("Max locked memory")), "")
    soft = (line.removeprefix("Max locked memory").split() or [""])[0]
    if soft != "unlimited" and not (soft.isdecimal() and len(soft) < 21):
        raise Unavailable(f"{_LIMITS} does not tell how much memory may be locked")
    text = " ".join(line.split())
    if soft == "unlimited" or int(soft) >= _SMALL:
        return ContainerLimits(None if soft == "unlimited" else int(soft), text, ())
    names = host.list("/dev/infiniband") or ()
    devices = tuple(f"/dev/infiniband/{name}" for name in names if name.startswith("uverbs"))
    return ContainerLimits(None if devices and _may_lock(host) else int(soft), text, devices)


def _may_lock(host: Host) -> bool:
    """Does this process have the right that goes before the limit?"""
    for line in (host.read("/proc/self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff" and re.fullmatch(r"\s*[0-9a-f]+\s*", value):
            return bool(int(value, 16) & _IPC_LOCK)
    return False


@fact
def node_refusals(asked: DriverAnswers) -> NodeRefusals:
    """From the probe that asked NVML. Raises Unavailable where it did not look, as in snapshots of older versions."""
    told = answer_of(asked, "nvml", "NVML").get("node_refusals")
    if not isinstance(told, dict):
        raise Unavailable("nobody tried whether the device nodes can be opened")
    return NodeRefusals({str(path): str(name) for path, name in told.items()})
