"""The distribution's packages in a text: lists of dpkg, rpm and pacman, mostly those lines that grep let through."""

import re

from gpudoctor.facts.package_names import is_of_interest
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.triage.paste import Paste

# dpkg -l: what is wanted, what is there, whether that went wrong. "ii", "rc", "iU", "iF", "hi".
_DPKG = re.compile(r"^([uihrp])([ncHUFWti])R? ([a-z0-9][a-z0-9.+-]+)(?::([a-z0-9]+))? (\d\S*)(?: ([a-z0-9-]+))?(?: |$)")
_STATES = {
    "i": "installed",
    "c": "removed",
    "U": "unpacked",
    "F": "half-configured",
    "H": "half-installed",
    "W": "triggers",
    "t": "triggers",
}
_RPM = re.compile(r"^([a-zA-Z][\w.+-]*?)-((?:\d+:)?\d[\w.~^+]*-\d[\w.~^+]*)\.(x86_64|aarch64|noarch|i686)$")
# "pacman -Q", and what people cut out of other lists.
_NAME_AND_VERSION = re.compile(
    r"^(?:local/|extra/)?((?:nvidia|lib32-nvidia|libnvidia|linux|cuda|cudnn|libcudnn|dkms)[a-z0-9.+-]*)(?::[a-z0-9]+)?"
    r" ((?:\d+:)?\d[\w.+~]*-\d[\w.+~]*)$"
)
_OF_DEBIAN = re.compile(r"ubuntu|deb\d|~|\+\d+$")


def read_packages(paste: Paste) -> Packages | None:
    """None where no list is shown. What is not in it may be installed all the same."""
    found: dict[tuple[str, str], Package] = {}
    managers = []
    for line in paste.lines:
        for manager, package in _of(line.text):
            if is_of_interest(package.name):
                found.setdefault((package.name, package.architecture), package)
                managers.append(manager)
    return Packages(managers[0], tuple(found.values())) if found else None


def _of(text: str) -> list[tuple[str, Package]]:
    if match := _DPKG.match(text):
        want, state, name, foreign, version, architecture = match.groups()
        if state in _STATES:
            gone = state == "c"
            known = Package(name, version, foreign or architecture or "", _STATES[state], want == "h", "", (), gone)
            return [("dpkg", known)]
    if match := _RPM.match(text):
        return [("rpm", Package(match[1], match[2], match[3], "installed", False, ""))]
    if match := _NAME_AND_VERSION.match(text):
        manager = "dpkg" if _OF_DEBIAN.search(match[2]) else "pacman"
        return [(manager, Package(match[1], match[2], "", "installed", False, ""))]
    return []
