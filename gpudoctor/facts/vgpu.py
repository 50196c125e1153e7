"""NVIDIA vGPU: how a virtual machine asks for its license, and what the host's manager says of its guests."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.host import Host, Unavailable, quietly
from gpudoctor.registry import fact

SETTINGS = "/etc/nvidia/gridd.conf"
TOKENS = "/etc/nvidia/ClientConfigToken"
LICENSE_LOG = ("journalctl", "--unit=nvidia-gridd", "--boot", "--lines=50", "--no-pager", "--output=cat")
MANAGER_LOG = ("journalctl", "--unit=nvidia-vgpu-mgr", "--boot", "--lines=2000", "--no-pager", "--output=short-iso")

INCOMPATIBLE = "Incompatible Guest/Host drivers"


class VgpuLicensing(NamedTuple):
    """What nvidia-gridd goes by, and what it said. All of it is looked for only where NVML names a vGPU."""

    settings: bool  # gridd.conf is there
    feature_type: str  # of gridd.conf: "1" vGPU, "0" none, "" not set
    server: bool  # gridd.conf names a license server
    tokens: tuple[str, ...] | None  # files with a client configuration token; None: this user may not look
    unit: str  # of nvidia-gridd: "active", "inactive", "failed", "" not known
    said: tuple[str, ...]  # its last messages about the license, oldest first, without names of servers


class VgpuGuests(NamedTuple):
    """What the manager on a host with vGPUs said of drivers in virtual machines that do not fit, oldest first."""

    refusals: tuple[str, ...]


def vgpus_of(nvml: Nvml | Unavailable) -> tuple[int, ...]:
    """NVML's numbers of the GPUs that are virtual ones."""
    if isinstance(nvml, Unavailable):
        return ()
    return tuple(gpu.number for gpu in nvml.gpus if gpu.values.get("virtualization_mode") == "vgpu")


@fact
def vgpu_licensing(host: Host, nvml: Nvml | Unavailable) -> VgpuLicensing:
    """From gridd.conf, the folder of tokens, systemd and its journal."""
    if not vgpus_of(nvml):
        return VgpuLicensing(False, "", False, (), "", ())
    text = host.read(SETTINGS)
    values = dict(_settings(text or ""))
    try:
        tokens = tuple(name for name in host.list(TOKENS) or () if name.endswith(".tok"))
    except Unavailable:
        tokens = None
    server = bool(values.get("ServerAddress") or values.get("PrimaryServerAddress"))
    unit = _printed(host, "systemctl", "is-active", "nvidia-gridd").strip()
    said = tuple(relevant_license_lines(_printed(host, *LICENSE_LOG).splitlines()))
    return VgpuLicensing(text is not None, values.get("FeatureType", ""), server, tokens, unit, said[-6:])


@fact
def vgpu_guests(host: Host, modules: LoadedModules) -> VgpuGuests:
    """From the journal of nvidia-vgpu-mgr, which only a host with vGPUs runs."""
    if not modules.of_vgpu_host:
        return VgpuGuests(())
    done = host.run(MANAGER_LOG)
    if done is None or done.exit_code:
        raise Unavailable("the journal of nvidia-vgpu-mgr cannot be read")
    return VgpuGuests(tuple(relevant_manager_lines(done.stdout.splitlines())))


def _settings(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and not key.lstrip().startswith("#"):
            yield key.strip(), value.strip()


def _printed(host: Host, *argv: str) -> str:
    """Standard output whatever the exit code, "" where there is no such command or no answer."""
    done = quietly(lambda _: host.run(argv), "")
    return done.stdout if done else ""


# What is said of a license, and who is asked for it: "from 10.1.2.3", "(Info: license.example.com, NVIDIA Virtual...".
_LICENSE_WORDS = ("icense", "oken", "onfiguration parameter", "lock", "ertificate", "egister client", "trusted store")
_SERVER = r"(?<=\bfrom )[^\s,;()]+|(?<=\bInfo: )(?!NVIDIA\b)[^\s,;()]+|https?://[^\s,;()]+|\b\d{1,3}(?:\.\d{1,3}){3}\b"


def relevant_license_lines(lines: Iterable[str]) -> list[str]:
    """What nvidia-gridd said of the license, without the names of servers."""
    told = (line for line in lines if any(word in line for word in _LICENSE_WORDS))
    return [re.sub(_SERVER, "SERVER", line.strip()) for line in told]


def relevant_manager_lines(lines: Iterable[str]) -> list[str]:
    """What nvidia-vgpu-mgr said of guests that it does not serve."""
    return [line.strip() for line in lines if INCOMPATIBLE in line]


def relevant_license_settings(text: str) -> str:
    """gridd.conf as far as it is judged: which kind of license, and whether a server is named."""
    kept = []
    for key, value in _settings(text):
        if key == "FeatureType":
            kept.append(f"{key}={value}")
        elif key in ("ServerAddress", "PrimaryServerAddress"):
            kept.append(f"{key}={'SERVER' if value else ''}")
    return "".join(f"{line}\n" for line in kept)
