"""GSP firmware files: the open modules, and the proprietary ones on newer GPUs, cannot start without them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gpudoctor.facts.driver_version import is_driver_version
from gpudoctor.host import Host, quietly
from gpudoctor.registry import fact


class GspFirmware(NamedTuple):
    """Driver version to the names of its gsp_*.bin files where the kernel looks for firmware."""

    files: Mapping[str, tuple[str, ...]]


# A folder that the kernel searches before its own ones, as NixOS and the installers of GKE set it.
_OWN_FOLDER = "/sys/module/firmware_class/parameters/path"


@fact
def gsp_firmware(host: Host) -> GspFirmware:
    """From the folders that are named after driver versions; nouveau's lie beside them, named after chips.

    A version whose folder holds no such file is there with an empty tuple. Names may end in .xz or .zst.
    """
    found: dict[str, tuple[str, ...]] = {}
    more = (quietly(host.read, _OWN_FOLDER) or "").strip()
    for folder in ("/lib/firmware/nvidia", "/usr/lib/firmware/nvidia"):
        names = host.list(folder)
        if names is not None:
            found |= _by_version(host, folder, names)
            break
    if more.startswith("/"):
        folder = f"{more.rstrip('/')}/nvidia"
        found |= {
            version: names for version, names in _by_version(host, folder, host.list(folder) or ()).items() if names
        }
    return GspFirmware(found)


def _by_version(host: Host, folder: str, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return {
        version: tuple(name for name in host.list(f"{folder}/{version}") or () if _is_gsp(name))
        for version in names
        if is_driver_version(version)
    }


def _is_gsp(name: str) -> bool:
    return name.startswith("gsp_") and name.removesuffix(".xz").removesuffix(".zst").endswith(".bin")
