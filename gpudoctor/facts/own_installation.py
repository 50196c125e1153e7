"""gpudoctor itself: where its program lies, and what it can prove with the packages beside it."""

import os
import sys
from importlib.util import find_spec
from typing import NamedTuple

from gpudoctor.host import Host
from gpudoctor.registry import fact


class OwnInstallation(NamedTuple):
    """Of the gpudoctor that runs."""

    program: str  # "/home/ada/.venv/bin/gpudoctor"; "" where there is none beside its interpreter
    cupy: bool  # so that `gpudoctor bench` can use the GPU


@fact
def own_installation(host: Host) -> OwnInstallation:
    """From its own interpreter, whatever machine is diagnosed."""
    places = (f"{os.path.dirname(sys.executable)}/gpudoctor", "/usr/local/bin/gpudoctor")
    program = next((place for place in places if os.path.isfile(place)), "")
    return OwnInstallation(program, find_spec("cupy") is not None)
