"""apt's simulations: what `apt-get -s dist-upgrade`, `apt-get -s upgrade` and `apt-get -s install NAME` print."""

import re
from collections.abc import Mapping

from gpudoctor.preflight.transaction import Change, NoTransaction, Transaction, change

# Inst nvidia-smi [535.261.03-1] (535.309.01-0+deb12u1 Debian-Security:12/oldstable-security [amd64]) []
_INSTALLED = re.compile(r"Inst (\S+)(?: \[([^\]]+)\])? \((\S+)(?: ([^()]*?))?(?: \[([a-z0-9-]+)\])?\)(?: .*)?")
# Remv nvidia-driver [535.261.03-1] [nvidia-smi:amd64 ]
_REMOVED = re.compile(r"(?:Remv|Purg) (\S+)(?: \[([^\]]+)\])?(?: .*)?")
_ACTION = re.compile(r"^(?:Inst|Remv|Purg|Conf) ", re.MULTILINE)
# "24 upgraded, 3 newly installed, 0 to remove and 0 not upgraded."; apt 3: "Upgrading: 24, Installing: 3, Removing: 0"
_COUNTS = re.compile(r"^\d+ upgraded, \d+ newly installed.*$|^ *Upgrading: \d+, Installing: \d+.*$", re.MULTILINE)
_COMING = re.compile(
    r"(\d+) (?:upgraded|newly installed|reinstalled|downgraded)"
    r"|(?<!Not )(?:Upgrad|Install|Reinstall|Downgrad)ing: (\d+)"
)
_GOING = re.compile(r"(\d+) to remove|Removing: (\d+)")
_KEPT_BACK = re.compile(
    r"^(?:The following packages have been kept back|The following upgrades have been deferred due to phasing"
    r"|Not upgrading(?: yet due to phasing)?):\n((?: +\S.*\n)+)",
    re.MULTILINE,
)


def is_apt(text: str) -> bool:
    """Could it be one? Also if apt only says there why it cannot be done."""
    return bool(_ACTION.search(text) or _COUNTS.search(text) or _errors(text))


def read_apt(text: str, source: str) -> Transaction:
    """Raises NoTransaction for what is no simulation, or a damaged one, or one of something that apt could not do."""
    errors = _errors(text)
    if errors:
        raise NoTransaction(f"{source}: apt cannot do this: {errors[0]}")
    counts = _COUNTS.search(text)
    if not (counts or _ACTION.search(text)):
        raise NoTransaction(
            f"{source}: no simulation of apt: no line begins with Inst, and none counts the packages that are upgraded"
        )
    changes: dict[tuple[str, str], Change] = {}
    for line in text.splitlines():
        if line.startswith("Inst "):
            one = _installed(line, source)
        elif line.startswith(("Remv ", "Purg ")):
            one = _removed(line, source)
        else:
            continue
        earlier = changes.get((one.name, one.architecture))
        if earlier and earlier.new not in ("", one.new):
            raise NoTransaction(f"{source}: it says two things of {one.name}: {earlier.new} and {one.new or 'removed'}")
        changes[one.name, one.architecture] = one
    if counts:
        _require_all(counts.group(), changes, source)
    kept = [name for block in _KEPT_BACK.finditer(text) for name in block.group(1).split()]
    return Transaction("dpkg", tuple(changes.values()), tuple(_kept(name, source) for name in kept), source)


def _errors(text: str) -> list[str]:
    """From apt 3 on `apt` writes "Error: ", as dnf does; `apt-get` keeps to "E: "."""
    marks = ("E: ", "Error: ") if "Reading package lists..." in text else ("E: ",)
    return [line.partition(": ")[2].strip() for line in text.splitlines() if line.startswith(marks)]


def _installed(line: str, source: str) -> Change:
    found = _INSTALLED.fullmatch(line.rstrip())
    if found is None:
        raise NoTransaction(f"{source}: a line that apt does not write: {line[:80]!r}")
    full_name, old, new, origin, architecture = found.groups()
    return _checked(source, full_name.partition(":")[0], architecture or "", old or "", new, origin or "")


def _removed(line: str, source: str) -> Change:
    found = _REMOVED.fullmatch(line.rstrip())
    if found is None:
        raise NoTransaction(f"{source}: a line that apt does not write: {line[:80]!r}")
    name, _, architecture = found.group(1).partition(":")
    return _checked(source, name, architecture, found.group(2) or "", "")


def _kept(full_name: str, source: str) -> str:
    return _checked(source, full_name.partition(":")[0], "", "", "").name


def _checked(source: str, name: str, architecture: str, old: str, new: str, origin: str = "") -> Change:
    try:
        return change(name, architecture, old, new, origin)
    except NoTransaction as reason:
        raise NoTransaction(f"{source}: {reason}") from reason


def _require_all(counts: str, changes: Mapping[tuple[str, str], Change], source: str) -> None:
    """apt counts what it names; a simulation that lost lines on its way, or won some, is no basis for a judgement."""
    named = len([one for one in changes.values() if one.new]), len([one for one in changes.values() if not one.new])
    counted = tuple(
        sum(int(number) for found in pattern.findall(counts) for number in found if number)
        for pattern in (_COMING, _GOING)
    )
    if named != counted:
        raise NoTransaction(
            f"{source}: it is cut short or was changed: it counts {counted[0]} packages to install or upgrade and "
            f"{counted[1]} to remove, and names {named[0]} and {named[1]}"
        )
