"""Specifications of devices for containers (CDI): which files of the driver a container gets, by name and version.

The form is that of the Container Device Interface, as `nvidia-ctk cdi generate` writes it: YAML of a fixed simple
shape, or JSON.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.host import Host, NotRunning, Unavailable, quietly
from gpudoctor.registry import fact


class CdiContent(NamedTuple):
    """What stands in one file."""

    kind: str  # "nvidia.com/gpu", "" it does not say
    version: str  # of the driver whose libcuda it names, "" it names none
    devices: tuple[str, ...]  # "0", "GPU-...", "all"
    files: tuple[str, ...]  # of the host, that a container gets or a hook runs
    nodes: tuple[str, ...]  # device files: "/dev/nvidia0"


class CdiSpecification(NamedTuple):
    """One file for NVIDIA's devices."""

    path: str  # "/etc/cdi/nvidia.yaml"
    kind: str
    version: str
    devices: tuple[str, ...]
    missing: tuple[str, ...] = ()  # files and device files that it names, and that are not there

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]


class CdiSpecifications(NamedTuple):
    """Those of NVIDIA's devices. `renewed`: a unit of NVIDIA's toolkit writes the one in /run anew."""

    specifications: tuple[CdiSpecification, ...]
    renewed: bool = False
    unread: tuple[str, ...] = ()  # files that could not be read or understood, with the reason


# Of the same device in both, the one in /run counts.
FOLDERS = ("/etc/cdi", "/run/cdi")
_UNITS = ("/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system")
_LIMIT = 1024 * 1024  # bytes; a specification has some ten thousand
_MOST_FILES = 400
# Compiled when they are first used: most machines have no specification.
_LIBRARY = r"libcuda\.so\.(\d{3}\.\d{1,3}(?:\.\d{1,3})?)\b"
_SCALAR = r"""(?:- +)?(kind|name|hostPath|path): +(?:"([^"]*)"|'([^']*)'|(\S+))(?: +#.*)?"""
# These come into being when a program first asks, and no specification is wrong for want of them.
_ON_DEMAND = ("/dev/nvidia-uvm", "/dev/nvidia-modeset", "/dev/nvidiactl")


@fact
def cdi_specifications(host: Host) -> CdiSpecifications:
    """From the folders that container engines read. Raises NotRecorded for machines recorded before this was asked."""
    host.status(FOLDERS[0])  # an old snapshot has nothing of all this
    found: list[CdiSpecification] = []
    unread: list[str] = []
    for path in _paths(host, unread):
        try:
            text = host.read(path, first=_LIMIT) or ""
        except Unavailable as reason:
            unread.append(str(reason))
            continue
        content = read_specification(text)
        if content.kind.partition("/")[0].endswith("nvidia.com") or (content.version and not content.kind):
            missing = tuple(_missing(host, content))
            found.append(CdiSpecification(path, content.kind, content.version, content.devices, missing))
        elif not content.kind and "nvidia" in path:
            unread.append(f"{path} is no specification that can be understood")
    renewed = any(host.status(f"{folder}/nvidia-cdi-refresh.path") for folder in _UNITS)
    return CdiSpecifications(tuple(found), renewed, tuple(unread))


def _paths(host: Host, unread: list[str]) -> Iterator[str]:
    for folder in FOLDERS:
        try:
            names = host.list(folder) or ()
        except NotRunning:
            continue  # /run of a disk is empty, and will be at its start
        except Unavailable as reason:
            unread.append(str(reason))
            continue
        yield from (f"{folder}/{name}" for name in names if name.endswith((".yaml", ".json")))


def _missing(host: Host, content: CdiContent) -> Iterator[str]:
    nodes = [node for node in content.nodes if not any(name in node for name in _ON_DEMAND)]
    if quietly(host.status, "/dev/nvidiactl") is None:  # nobody has asked the driver since it was loaded
        nodes = [node for node in nodes if not node.startswith("/dev/nvidia")]
    for place, path in enumerate(dict.fromkeys((*content.files, *nodes))):
        if place >= _MOST_FILES:
            return
        try:
            if path.startswith("/") and host.status(path) is None:
                yield path
        except Unavailable:  # a disk has no /dev; some folders only root may enter
            continue


def read_specification(text: str) -> CdiContent:
    """What a specification says; of what is none, a kind of ""."""
    pairs = list(_pairs(text))
    version = re.search(_LIBRARY, text)
    hosts = [value for key, value in pairs if key == "hostPath"]
    paths = [value for key, value in pairs if key == "path"]
    # Where the driver lives in a container, the device files of the host are named beside those that a container sees.
    nodes = [path for path in hosts if "/dev/" in path] or [path for path in paths if path.startswith("/dev/")]
    files = [path for path in (*hosts, *paths) if "/dev/" not in path]
    return CdiContent(
        next((value for key, value in pairs if key == "kind"), ""),
        version[1] if version else "",
        tuple(dict.fromkeys(value for key, value in pairs if key == "name")),
        tuple(dict.fromkeys(files)),
        tuple(dict.fromkeys(nodes)),
    )


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """The keys that count, with their texts, in the order of the file."""
    if text.lstrip().startswith("{"):
        try:
            yield from _in_json(json.loads(text))
        except (ValueError, RecursionError):
            return
        return
    for line in text.splitlines():
        if found := re.fullmatch(_SCALAR, line.strip()):
            yield found[1], next(value for value in found.groups()[1:] if value is not None)


def _in_json(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str) and key in ("kind", "name", "hostPath", "path"):
                yield key, item
            else:
                yield from _in_json(item)
    elif isinstance(value, list):
        for item in value:
            yield from _in_json(item)
