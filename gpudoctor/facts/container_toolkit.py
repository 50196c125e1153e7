"""NVIDIA's container toolkit: the programs that hand a GPU and the driver's files to containers, and their settings."""

import json
from typing import NamedTuple

from gpudoctor.facts.container_engines import ContainerEngines
from gpudoctor.facts.engine_settings import toml_keys
from gpudoctor.host import Host, Unavailable, quietly
from gpudoctor.registry import fact


class ContainerToolkit(NamedTuple):
    """Paths of its programs; each "" where it is not there."""

    command: str  # nvidia-ctk
    hook: str  # nvidia-container-runtime-hook: what `docker run --gpus` calls
    runtime: str  # nvidia-container-runtime
    config: str  # /etc/nvidia-container-runtime/config.toml
    no_cgroups: bool = False  # containers are not allowed to use the devices that they get: for engines without root
    unread: str = ""  # why the settings could not be understood

    @property
    def present(self) -> bool:
        return bool(self.command or self.hook or self.runtime)


class GpuContainer(NamedTuple):
    """A container of docker's that was made to have a GPU, whether it runs or could not be started."""

    name: str  # the first 12 letters of its id, as `docker ps` shows it
    by: str  # "--gpus" or "--runtime=nvidia"


class GpuContainers(NamedTuple):
    """Those that docker keeps. `unread`: why they are not known."""

    containers: tuple[GpuContainer, ...]
    unread: str = ""


_FOLDERS = ("/usr/bin", "/usr/local/bin", "/usr/local/nvidia/toolkit", "/run/current-system/sw/bin")
_CONFIG = "/etc/nvidia-container-runtime/config.toml"
_CONTAINERS = "/var/lib/docker/containers"
_MOST = 64  # containers that are looked at


@fact
def container_toolkit(host: Host) -> ContainerToolkit:
    """From files. Raises NotRecorded for machines recorded before this was asked."""
    host.status("/usr/bin/nvidia-ctk")  # what is asked quietly below would look absent in an old snapshot
    config, no_cgroups, unread = "", False, ""
    try:
        text = host.read(_CONFIG, first=1 << 20)
    except Unavailable as reason:
        text, unread = None, str(reason)
    if text is not None:
        keys = toml_keys(text)
        config, no_cgroups = _CONFIG, keys.ending("nvidia-container-cli", "no-cgroups") == "true"
        unread = f"a line of {_CONFIG} cannot be understood" if keys.damaged else ""
    # The hook was called as the whole toolkit is until version 1.8.
    hook = _program(host, "nvidia-container-runtime-hook") or _program(host, "nvidia-container-toolkit")
    runtime = _program(host, "nvidia-container-runtime")
    return ContainerToolkit(_program(host, "nvidia-ctk"), hook, runtime, config, no_cgroups, unread)


def _program(host: Host, name: str) -> str:
    paths = (f"{folder}/{name}" for folder in _FOLDERS)
    return next((path for path in paths if quietly(host.status, path) is not None), "")


@fact
def gpu_containers(host: Host, engines: ContainerEngines) -> GpuContainers:
    """From the files in which docker keeps what a container was started with; root alone may read them."""
    if engines.get("docker") is None:
        return GpuContainers(())
    found, unread = [], ""
    try:
        names = host.list(_CONTAINERS) or ()
    except Unavailable as reason:
        return GpuContainers((), str(reason))
    for name in names[:_MOST]:
        try:
            by = asks_for_gpu(host.read(f"{_CONTAINERS}/{name}/hostconfig.json", first=1 << 20) or "")
        except Unavailable as reason:
            unread = str(reason)
            continue
        if by:
            found.append(GpuContainer(name[:12], by))
    return GpuContainers(tuple(found), unread)


def asks_for_gpu(text: str) -> str:
    """How a hostconfig.json asks for a GPU: "--gpus", "--runtime=nvidia", "" not at all."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    if document.get("Runtime") == "nvidia":
        return "--runtime=nvidia"
    requests = document.get("DeviceRequests")
    for request in requests if isinstance(requests, list) else ():
        wishes = request.get("Capabilities") if isinstance(request, dict) else None
        for wish in wishes if isinstance(wishes, list) else ():
            if isinstance(wish, list) and "gpu" in wish:
                return "--gpus"
    return ""
