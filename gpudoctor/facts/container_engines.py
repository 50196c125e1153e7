"""The engines that start containers on this machine, and whether they are told to give them GPUs."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from gpudoctor.facts.engine_settings import (
    DAEMON_JSON,
    EngineSettings,
    containerd_settings,
    crio_settings,
    docker_context,
    docker_flags,
    docker_settings,
)
from gpudoctor.facts.environment import Environment
from gpudoctor.host import Host, NotRunning, Unavailable, quietly
from gpudoctor.registry import fact


class Engine(NamedTuple):
    """One that is installed on the machine itself."""

    kind: str  # "docker", "containerd", "crio", "podman"
    path: str  # of its program
    in_use: bool  # it runs, or is started at boot; podman always is, it needs no service
    config: str  # the file that decides, "" there is none
    settings: EngineSettings
    runtime_missing: bool = False  # the program of its runtime called nvidia is not there
    text: str = ""  # of docker's file, for repairs


class ContainerEngines(NamedTuple):
    """All of them, with what stands beside them."""

    engines: tuple[Engine, ...]
    kubelet: bool = False  # Kubernetes starts containers here
    rootless_docker: str = ""  # a file of docker's that runs without root's rights, "" there is none
    docker_snap: str = ""  # the folder of docker as a snap
    snap_runtime: bool = False  # that snap has a runtime called nvidia
    docker_desktop: str = ""  # the folder of Docker Desktop
    desktop_contexts: tuple[str, ...] = ()  # files of users whose `docker` talks to Docker Desktop
    oci_hook: str = ""  # NVIDIA's hook for podman and CRI-O, "" there is none

    def get(self, kind: str) -> Engine | None:
        return next((engine for engine in self.engines if engine.kind == kind), None)


_FOLDERS = ("/usr/bin", "/usr/local/bin", "/usr/sbin", "/run/current-system/sw/bin")
_RUNTIME_FOLDERS = (*_FOLDERS, "/usr/local/nvidia/toolkit")
# Where a service has its control group as long as it runs, and the links that start it at boot.
_GROUPS = ("/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice", "/sys/fs/cgroup/unified/system.slice")
_WANTS = (
    "/etc/systemd/system/multi-user.target.wants/{}.service",
    "/etc/systemd/system/sockets.target.wants/{}.socket",
)
_DOCKER_UNIT = "/etc/systemd/system/docker.service.d/*"
_SNAP = "/snap/docker/current"
_SNAP_CONFIG = "/var/snap/docker/current/config/daemon.json"
_DESKTOP = "/opt/docker-desktop"
_HOOKS = ("/usr/share/containers/oci/hooks.d/oci-nvidia-hook.json", "/etc/containers/oci/hooks.d/oci-nvidia-hook.json")
# k3s and RKE2 bring a containerd of their own, and write its file anew at each start.
_OWN_CONTAINERD = ("/var/lib/rancher/k3s/agent", "/var/lib/rancher/rke2/agent")
_LIMIT = 1024 * 1024  # bytes of a settings file
_MOST_HOMES = 32


@fact
def container_engines(host: Host, environment: Environment | Unavailable) -> ContainerEngines:
    """From programs, services and settings files. Raises NotRecorded for machines recorded before this was asked."""
    host.status("/usr/bin/dockerd")  # what is asked quietly below would look absent in an old snapshot
    home = environment.variables.get("HOME", "") if isinstance(environment, Environment) else ""
    desktop = _DESKTOP if _is(host, _DESKTOP) else ""
    rootless = f"{home.rstrip('/')}/.config/systemd/user/docker.service" if home else ""
    snap = _SNAP if _is(host, _SNAP) else ""
    snap_text = quietly(host.read, _SNAP_CONFIG) if snap else None
    return ContainerEngines(
        tuple(_engines(host)),
        bool(_program(host, "kubelet")) or any(_is(host, folder) for folder in _OWN_CONTAINERD),
        rootless if rootless and _is(host, rootless) else "",
        snap,
        bool(snap_text and docker_settings(snap_text).runtime),
        desktop,
        tuple(_desktop_contexts(host, home)) if desktop else (),
        next((hook for hook in _HOOKS if _is(host, hook)), ""),
    )


def _engines(host: Host) -> Iterator[Engine]:
    if path := _program(host, "dockerd"):
        text, settings = _settings(host, DAEMON_JSON, docker_settings)
        for unit in _matching(host, _DOCKER_UNIT):
            settings = _over(settings, _settings(host, unit, docker_flags)[1])
        yield _engine(host, "docker", path, DAEMON_JSON if text is not None else "", settings, text or "")
    if found := next((f"{folder}/etc/containerd/config.toml" for folder in _OWN_CONTAINERD if _is(host, folder)), ""):
        _, settings = _settings(host, found, containerd_settings)
        yield _engine(host, "containerd", found, found, settings)._replace(in_use=True)
    elif path := _program(host, "containerd"):
        config, settings = _containerd(host)
        yield _engine(host, "containerd", path, config, settings)
    if path := _program(host, "crio"):
        config, settings = _crio(host)
        yield _engine(host, "crio", path, config, settings)
    if path := _program(host, "podman"):
        yield Engine("podman", path, True, "", EngineSettings(cdi=True))


def _engine(host: Host, kind: str, path: str, config: str, settings: EngineSettings, text: str = "") -> Engine:
    program = settings.runtime
    if "/" in program:
        missing = not _is(host, program)
    else:
        missing = bool(program) and not any(_is(host, f"{folder}/{program}") for folder in _RUNTIME_FOLDERS)
    return Engine(kind, path, _in_use(host, kind), config, settings, missing, text)


def _settings(host: Host, path: str, read: Callable[[str], EngineSettings]) -> tuple[str | None, EngineSettings]:
    """The text and what it says; what may not be read is damaged for us."""
    try:
        text = host.read(path, first=_LIMIT)
    except Unavailable as reason:
        return "", EngineSettings(damaged=str(reason))
    return text, EngineSettings() if text is None else read(text)


def _containerd(host: Host) -> tuple[str, EngineSettings]:
    path = "/etc/containerd/config.toml"
    text, settings = _settings(host, path, containerd_settings)
    if text is None:
        return "", EngineSettings(damaged=f"there is no {path}: containerd goes by what is built into it")
    for pattern in settings.imports:
        if not pattern.startswith("/etc/containerd/"):
            settings = _over(settings, EngineSettings(damaged=f"it imports {pattern}, which was not read"))
        for name in _matching(host, pattern):
            _, other = _settings(host, name, containerd_settings)
            path, settings = (name if other.runtime else path), _over(settings, other)
    return path, settings


def _crio(host: Host) -> tuple[str, EngineSettings]:
    path, settings = "", EngineSettings(cdi=True)
    for name in ("/etc/crio/crio.conf", *_matching(host, "/etc/crio/crio.conf.d/*")):
        text, other = _settings(host, name, crio_settings)
        if text is not None:
            path, settings = (name if other.runtime or not path else path), _over(settings, other)
    return path, settings


def _over(settings: EngineSettings, later: EngineSettings) -> EngineSettings:
    """What a later file says counts."""
    return EngineSettings(
        later.runtime or settings.runtime,
        later.default or settings.default,
        later.cdi or settings.cdi,
        settings.imports,
        settings.damaged or later.damaged,
    )


def _matching(host: Host, pattern: str) -> list[str]:
    folder, _, name = pattern.rpartition("/")
    if not folder.startswith(("/etc/containerd", "/etc/crio", "/etc/systemd")):
        return []
    start, _, end = name.partition("*")
    return [
        f"{folder}/{one}" for one in quietly(host.list, folder) or () if one.startswith(start) and one.endswith(end)
    ]


def _desktop_contexts(host: Host, home: str) -> Iterator[str]:
    others = [f"/home/{name}" for name in (quietly(host.list, "/home") or ())[:_MOST_HOMES]]
    for folder in dict.fromkeys([*([home.rstrip("/")] if home else []), *others]):
        path = f"{folder}/.docker/config.json"
        text = quietly(host.read, path)
        if text and docker_context(text).startswith("desktop"):
            yield path


def _program(host: Host, name: str) -> str:
    return next((path for path in (f"{folder}/{name}" for folder in _FOLDERS) if _is(host, path)), "")


def _is(host: Host, path: str) -> bool:
    return quietly(host.status, path) is not None


def _in_use(host: Host, service: str) -> bool:
    """Does it run, or is it started at boot? One that is broken by its settings does not run."""
    try:
        if any(host.status(f"{group}/{service}.service") for group in _GROUPS):
            return True
    except NotRunning:
        pass
    return any(quietly(host.link, path.format(service)) for path in _WANTS)
