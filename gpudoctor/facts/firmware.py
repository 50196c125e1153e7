"""GSP firmware files: the open modules, and the proprietary ones on newer GPUs, cannot start without them."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.driver_version import is_driver_version
from gpudoctor.host import Host
from gpudoctor.registry import fact


class GspFirmware(NamedTuple):
    """Driver version to the names of its gsp_*.bin files under /lib/firmware/nvidia."""

    files: Mapping[str, tuple[str, ...]]


@fact
def gsp_firmware(host: Host) -> GspFirmware:
    """From the folders that are named after driver versions; nouveau's lie beside them, named after chips.

    A version whose folder holds no such file is there with an empty tuple. Names may end in .xz or .zst.
    """
    for folder in ("/lib/firmware/nvidia", "/usr/lib/firmware/nvidia"):
        names = host.list(folder)
        if names is not None:
            return GspFirmware(
                {
                    version: tuple(name for name in host.list(f"{folder}/{version}") or () if _is_gsp(name))
                    for version in names
                    if is_driver_version(version)
                }
            )
    return GspFirmware({})


def _is_gsp(name: str) -> bool:
    return name.startswith("gsp_") and name.removesuffix(".xz").removesuffix(".zst").endswith(".bin")
