"""Everything that a text states, reader by reader."""

import re

from gpudoctor.triage.paste import Paste
from gpudoctor.triage.read_driver import read_driver
from gpudoctor.triage.read_gpus import read_gpus
from gpudoctor.triage.read_packages import read_packages
from gpudoctor.triage.read_python import read_python
from gpudoctor.triage.read_system import read_system
from gpudoctor.triage.shown import Shown

# collect_env writes "No CUDA" for all of a GPU, a driver and a toolkit where it finds none of them.
_NO_GPU = re.compile(
    r"GPU models and configuration: No CUDA|\b(?:no|without (?:a|any)) (?:nvidia )?gpu in (?:this|my|the) "
    r"|\bhave no gpu\b|\bapple (?:m\d|silicon)\b|device='?mps|\brunner without (?:a|any) gpu",
    re.IGNORECASE,
)
_OF_AMD = re.compile(r"\+rocm\d|\bAMD (?:Radeon|Instinct)|ROCM used to build PyTorch: \d", re.IGNORECASE)
_GPU_WORDS = ("nvidia", "cuda", "nvcc", "gpu")


def read_shown(paste: Paste) -> Shown:
    """Everything that the readers find."""
    system, gpus = read_system(paste), read_gpus(paste)
    lowered = paste.flow.text.lower()
    return Shown(
        system,
        read_packages(paste),
        read_driver(paste),
        gpus,
        read_python(paste),
        system.id == "macos"
        or _NO_GPU.search(paste.flow.text) is not None
        or (not gpus and _OF_AMD.search(paste.flow.text) is not None),
        any(word in lowered for word in _GPU_WORDS),
    )
