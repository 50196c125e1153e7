"""The names of GPUs in a text."""

import re
from collections.abc import Iterator

from gpudoctor.knowledge.gpu_names import gpus_called
from gpudoctor.triage.paste import Paste
from gpudoctor.triage.shown import Stated

_BRANDS = ("NVIDIA", "GeForce", "Tesla", "Quadro", "TITAN", "GRID")
_NO_NAMES = "driver|kernel|UNIX|Corporation|Driver|GPU|CUDA|Docker"  # what else follows a brand
# Names that stand alone: of data centres' GPUs.
_ALONE = (
    *("A100X?", "A800", "H100", "H200", "H800", "H20", "B200", "B300", "V100S?", "P100", "T4G?", "L4", "L40S?"),
    *("A10G?", "A16", "A2", "A30", "A40", "K80", "K40m?", "M40", "M60", "P40", "P4", "GB200", "GB300", "GH200", "GB10"),
)
# What may follow a name and belongs to it.
_MORE = (
    *(
        "Ti",
        "SUPER",
        "Super",
        "Xp",
        "XP",
        "[VX]",
        "RTX",
        "GTX",
        "PRO",
        r"\d{3,4}\w{0,2}",
        r"A\d{3,4}",
        "Ada",
        "Generation",
    ),
    *("Laptop", "PCIe", "PCIE", r"\d{1,3}GB?", r"HBM\w{1,2}", r"SXM\d?", "NVL", "Blackwell", "Workstation", "Edition"),
    *("Max-Q", "Server", "Mobile", "D", "Black", "Z", "GPU"),
)
_NAMES = re.compile(
    rf"\b(?:(?:(?:{'|'.join(_BRANDS)}) )+(?!{_NO_NAMES})\w[\w-]*"
    r"|(?:RTX|GTX|MX)[ -]?(?:PRO |A)?\d{3,4}\w{0,2}"
    rf"|(?:{'|'.join(_ALONE)})(?=$|[\s,;:.)\]|-]))"
    rf"(?:[ -](?:{'|'.join(_MORE)}))*"
)
_OF_GPUS = re.compile(r"gpu|nvidia|cuda|tesla|driver|vram|card|\dx |x ?\d|node|cluster", re.IGNORECASE)
_JETSON = re.compile(r"\bDGX Spark\b|\bNVIDIA Thor\b", re.IGNORECASE)
_AKA = {"dgx spark": "NVIDIA GB10"}
_MOST = 64


def read_gpus(paste: Paste) -> tuple[Stated, ...]:
    """Names that the GPU table knows, each as often as a list of the machine's GPUs has it."""
    found = list(_found(paste))
    listed = [one for one in found if re.match(r"(?:\|\s*)?(?:GPU|Device)?\s*\d+\s*[:| ]", one.words)]
    once = {one.value: one for one in reversed(found)}
    return tuple(listed or reversed(once.values()))[:_MOST]


def _found(paste: Paste) -> Iterator[Stated]:
    known: dict[str, str] = {}
    for line in paste.lines:
        text = line.text
        for match in _NAMES.finditer(text):
            if len(match[0]) < 4 and not _OF_GPUS.search(text):
                continue  # "A40" and "L4" are sheets of paper and lines of code as well
            if match[0] not in known:
                known[match[0]] = _known(match[0])
            if known[match[0]]:
                yield Stated(known[match[0]], line.number, text[:200])
        for match in _JETSON.finditer(text):
            if match[0].lower() in _AKA:
                yield Stated(_AKA[match[0].lower()], line.number, text[:200])


def _known(name: str) -> str:
    """The longest beginning of the words that the table knows, "" if it knows none."""
    words = name.split(" ")
    while words and not (len(words) == 1 and words[0] in _BRANDS):
        if gpus_called(" ".join(words)):
            return " ".join(words)
        words.pop()
    return ""
