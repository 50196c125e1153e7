"""The device nodes /dev/nvidia*, and the major numbers that the kernel gave out for them."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.host import Host
from gpudoctor.registry import fact


class DeviceNode(NamedTuple):
    """One node under /dev."""

    path: str
    mode: int  # permission bits
    user: int
    group: int
    device: tuple[int, int]  # (major, minor)


class DeviceNodes(NamedTuple):
    """All /dev/nvidia* nodes, and what the kernel says of their majors."""

    nodes: tuple[DeviceNode, ...]
    majors: Mapping[str, int]  # character devices of /proc/devices by name: {"nvidia": 195, "nvidia-uvm": 511}
    wsl: bool  # /dev/dxg is there

    def get(self, path: str) -> DeviceNode | None:
        return next((node for node in self.nodes if node.path == path), None)


@fact
def device_nodes(host: Host) -> DeviceNodes:
    """From /dev and the first section of /proc/devices."""
    names = host.list("/dev") or ()
    nodes = []
    for name in names:
        status = host.status(f"/dev/{name}") if name.startswith("nvidia") else None
        if status and status.kind == "character":
            nodes.append(DeviceNode(f"/dev/{name}", status.mode, status.user, status.group, status.device))
    majors = {}
    for line in (host.read("/proc/devices") or "").partition("Block devices:")[0].splitlines():
        number, _, name = line.strip().partition(" ")
        if number.isdigit() and name.startswith("nvidia"):
            majors[name] = int(number)
    return DeviceNodes(tuple(nodes), majors, "dxg" in names)
