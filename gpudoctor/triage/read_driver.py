"""The driver of a text: what nvidia-smi prints, what other programs say of it, and people's own words."""

import re
from collections.abc import Iterator

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.nvidia_smi import read_nvidia_smi
from gpudoctor.host import Unavailable
from gpudoctor.triage.paste import Line, Paste
from gpudoctor.triage.shown import ShownDriver, Stated

_VERSION = r"(\d{3}\.\d{1,3}(?:\.\d{1,3})?)(?![\d.]*[-\w]*\.(?:run|deb|rpm|tar))"
# Of what somebody needs, not of what is there.
_WANTED = re.compile(
    r">=|≥|at least|or (?:later|newer|higher)|require|need|minimum|up(?:grade|date) to|please (?:up|install)"
    r"|supported through|release notes",
    re.I,
)
_OF_DRIVER = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:Driver|KMD) Version\s*[:=|]\s*{_VERSION}",
        rf"NVIDIA-SMI {_VERSION}",
        rf"Nvidia driver version\s*[:=]\s*{_VERSION}",
        rf"NVRM version:.*Kernel Module(?: for \S+)? +{_VERSION}",
        rf"loading NVIDIA UNIX .*Kernel Module(?: for \S+)? +{_VERSION}",
        rf"\bdriver(?: version| ver\.?| v| is| \(?nvidia\)?)?\W{{0,3}}{_VERSION}",
        rf"\bnvidia\W{_VERSION}",
        rf"NVIDIA UNIX .*Kernel Module(?: for \S+)? +{_VERSION}",
    )
)
_BRANCH = re.compile(r"(?<![-\w])(?:nvidia )?driver(?: version)?[ :=]+(\d{3})\b(?![.\d])", re.IGNORECASE)
_CUDA = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"Driver Version\s*:\s*\S+\s+CUDA (?:UMD )?Version\s*:\s*(\d+\.\d+)",
        r"nvidia-smi\W{1,6}(?:->)?\s*CUDA(?: Version)?\W{1,3}(\d+\.\d+)",
    )
)
_NUMBERED_CUDA = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"driver on your system is too old \(found version (\d{4,5})\)",
        r"CUDA Driver Version\s*:\s*(\d{4,5})\b",
    )
)
_DOTTED_CUDA = re.compile(r"CUDA Driver Version(?: / Runtime Version)?\s*[:=]?\s*(\d+\.\d+)", re.IGNORECASE)
# TensorFlow and XLA, where cuInit fails.
_REPORTED = tuple(
    re.compile(rf"{half} reported version is: {_VERSION}", re.IGNORECASE) for half in ("libcuda", "kernel")
)
_CLIENT = re.compile(rf"client\b.{{0,80}}?has the version {_VERSION}", re.IGNORECASE)
_MODULE_FILE = re.compile(r"^filename: \S{1,200}nvidia\S{0,40}\.ko")
_OF_FILE = re.compile(rf"^version: {_VERSION}$")
_MODULE = re.compile(rf"kernel module has the version {_VERSION}", re.IGNORECASE)


def read_driver(paste: Paste) -> ShownDriver:
    """The first statement of each kind; programs' own words before people's."""
    version = next(_first(paste, _OF_DRIVER), None)
    if version is None:
        version = next((_stated(found[1], line) for line in paste.lines if (found := _is_there(_BRANCH, line))), None)
    return ShownDriver(
        version,
        _cuda(paste),
        _in_flow(paste, _CLIENT) or _in_flow(paste, _REPORTED[0]),
        _in_flow(paste, _MODULE) or _in_flow(paste, _REPORTED[1]),
        _of_module_file(paste),
        _nvml(paste),
    )


def _first(paste: Paste, patterns: tuple[re.Pattern[str], ...]) -> Iterator[Stated]:
    for pattern in patterns:
        for line in paste.lines:
            found = _is_there(pattern, line)
            if found and 300 <= int(found[1].partition(".")[0]) < 1000:
                yield _stated(found[1], line)


def _is_there(pattern: re.Pattern[str], line: Line) -> re.Match[str] | None:
    if "driver" not in line.text.lower() and "nvidia" not in line.text.lower():
        return None
    found = pattern.search(line.text)
    return None if found is None or _WANTED.search(line.text[max(0, found.start() - 40) : found.end() + 12]) else found


def _cuda(paste: Paste) -> Stated | None:
    for line in paste.lines:
        if "cuda" not in line.text.lower() and "too old" not in line.text:
            continue
        for pattern in _CUDA:
            if found := pattern.search(line.text):
                return _stated(found[1], line)
        for pattern in _NUMBERED_CUDA:
            if found := pattern.search(line.text):
                number = int(found[1])
                return _stated(f"{number // 1000}.{number % 1000 // 10}", line)
        if found := _DOTTED_CUDA.search(line.text):
            return _stated(found[1], line)
    return None


def _in_flow(paste: Paste, pattern: re.Pattern[str]) -> Stated | None:
    """Kernel messages are broken into lines."""
    found = pattern.search(paste.flow.text)
    return _stated(found[1], paste.lines[paste.flow.line_at(found.start(1))]) if found else None


def _of_module_file(paste: Paste) -> Stated | None:
    """What modinfo says of a file: its name first, the version a few lines below."""
    left = 0
    for line in paste.lines:
        if _MODULE_FILE.match(line.text):
            left = 12
        elif left and (found := _OF_FILE.match(line.text)):
            return _stated(found[1], line)
        left = max(0, left - 1)
    return None


def _nvml(paste: Paste) -> Nvml | None:
    if (
        "NVIDIA-SMI" not in paste.flow.text
        and "NVML" not in paste.flow.text
        and "nvidia-smi" not in paste.flow.text.lower()
    ):
        return None
    try:
        return read_nvidia_smi(paste.raw, None)
    except Unavailable:
        return None  # no output of nvidia-smi's is a part of the text: an answer as good as any


def _stated(value: str, line: Line) -> Stated:
    return Stated(value, line.number, line.text[:200])
