"""The system of a text: distribution, kernel, container, WSL, the kernel's messages, the environment's variables."""

import re

from gpudoctor.facts.environment import is_of_interest
from gpudoctor.facts.kernel_log import concerns_gpu
from gpudoctor.triage.paste import Paste
from gpudoctor.triage.shown import ShownSystem, Stated

_NAMES = (
    *("Ubuntu", "Kubuntu", "Xubuntu", "Debian", "Linux Mint", "Pop!_OS", "Fedora", "CentOS(?: Linux| Stream)?", "RHEL"),
    *("Red Hat Enterprise Linux", "Rocky(?: Linux)?", "AlmaLinux", "openSUSE(?: Leap| Tumbleweed)?", "SLES"),
    *("Arch(?: Linux)?", "Manjaro", "EndeavourOS", "CachyOS", "NixOS", "Void", "Gentoo", "(?:Microsoft )?Windows"),
    *(r"win(?= ?\d)", "macOS", "Mac OS X"),
)
_SYSTEMS = re.compile(rf"\b({'|'.join(_NAMES)})(?![a-z])(?: GNU/Linux)?[ -]?(?:Linux )?v?(\d{{1,2}}(?:\.\d{{1,2}})?)?")
_IDS = {
    "kubuntu": "ubuntu",
    "xubuntu": "ubuntu",
    "linux mint": "linuxmint",
    "pop!_os": "pop",
    "rocky linux": "rocky",
    "red hat enterprise linux": "rhel",
    "arch linux": "arch",
    "win": "windows",
}
_KERNEL = re.compile(
    r"(?:/lib/modules/|Linux-|linux-image-|[Kk]ernel(?: version)?:? (?:Linux )?|Linux (?:version )?|Linux \S+ )"
    r"(\d\.\d{1,2}\.\d{1,3}[\w.+-]*?)(?=[/\s,:)]|-x86_64|-aarch64|$)"
)
_WSL = re.compile(r"microsoft-standard|\bWSL ?2?\b|/usr/lib/wsl|-WSL2\b", re.IGNORECASE)
_CONTAINERS = (
    (
        "kubernetes",
        re.compile(
            r"\bkubectl\b|\bk8s\b|kubernetes|nvidia\.com/gpu:|CrashLoopBackOff|\bpods?\b.{0,40}\b(?:running|pending|node|log)",
            re.I,
        ),
    ),
    ("podman", re.compile(r"\bpodman\b", re.I)),
    (
        "docker",
        re.compile(
            r"root@[0-9a-f]{12}:|inside (?:the|a) (?:\w+ )?container|\(in(?:side)? (?:the |a )?(?:docker|container)",
            re.I,
        ),
    ),
)
# Nothing in brackets: Lightning lists there the GPUs that it takes, whether the variable is set or not.
_VARIABLE = re.compile(
    r"(?:^|[\s(])(?:export |set |ENV |-e )?\$?([A-Z][A-Z0-9_]{2,40})\s?(?:=|: | contains )\s?"
    r"(?![\"']?\[)[\"']?([^\s\"']*)"
)
# Programs name variables in what they advise, as torch does with every CUDA error.
_ADVICE = re.compile(
    r"consider |e\.g\.|you can |please |try (?:to )?set|should |environment variables? ", re.IGNORECASE
)
_ECHO = re.compile(r"echo \"?\$\{?([A-Z][A-Z0-9_]{2,40})\}?\"?\s*$")


def read_system(paste: Paste) -> ShownSystem:
    """The first statement of each kind."""
    wsl = bool(_WSL.search(paste.flow.text))
    name = id = version = kernel = ""
    for line in paste.lines:
        if not id and (found := _SYSTEMS.search(line.text)):
            said = _id_of(found[1].lower())
            if said != "windows" or not wsl:  # there Linux is meant, and Windows is what it runs on
                id, name, version = said, found[0].strip(), found[2] or ""
        if not kernel and (found := _KERNEL.search(line.text)):
            kernel = found[1]
    return ShownSystem(
        name,
        id,
        version,
        kernel,
        "aarch64" if re.search(r"\baarch64\b|\barm64\b|Jetson|DGX Spark", paste.flow.text) else "x86_64",
        next((kind for kind, pattern in _CONTAINERS if pattern.search(paste.flow.text)), ""),
        wsl,
        tuple(line.text for line in paste.lines if concerns_gpu(line.text)),
        _variables(paste),
    )


def _id_of(word: str) -> str:
    """The ID of os-release(5); "windows" and "macos" for those that have none."""
    if "windows" in word:
        return "windows"
    return _IDS.get(word) or ("macos" if word.startswith("mac") else word.split(" ")[0])


def _variables(paste: Paste) -> dict[str, Stated]:
    found: dict[str, Stated] = {}
    for index, line in enumerate(paste.lines):
        for match in () if _ADVICE.search(line.text) else _VARIABLE.finditer(line.text):
            if is_of_interest(match[1], match[2]):
                found[match[1]] = Stated(match[2].rstrip(".,;)"), line.number, line.text[:200])
        asked = _ECHO.search(line.text)
        if asked and is_of_interest(asked[1]) and index + 1 < len(paste.lines):
            answer = paste.lines[index + 1]
            found[asked[1]] = Stated(answer.text, answer.number, answer.text[:200])
    return found
