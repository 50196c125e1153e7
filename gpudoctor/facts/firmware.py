"""GSP firmware files: the open modules, and the proprietary ones on newer GPUs, cannot start without them."""

from collections.abc import Mapping
from typing import NamedTuple


class GspFirmware(NamedTuple):
    """Driver version to the names of its gsp_*.bin files under /lib/firmware/nvidia."""

    files: Mapping[str, tuple[str, ...]]
